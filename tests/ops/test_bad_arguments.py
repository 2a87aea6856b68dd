"""Every public function with every argument wrong in turn: what is refused is refused in words.

A call that works is taken from the op table (or from `OTHERS`), one of its arguments is replaced
by something that does not belong there, and whatever comes is fine but for an error of Python's
own, a trap, a recursion, or a message that does not say what was expected and what was received.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import CaptureError, TabgradError
from tests.ops.comparing import Case, as_given, flatten
from tests.ops.engines import chosen
from tests.ops.test_table import CASES
from tests.test_random import DRAWS

PACKAGE = str(Path(tg.__file__).parent)
SPACES = {
    "ops": tg.ops, "nn": tg.nn, "image": tg.image, "signal": tg.signal, "fft": tg.fft,
    "linalg": tg.linalg, "segment": tg.segment, "random": tg.random, "tg": tg,
}  # fmt: skip

ONES = tg.ones((2, 3))
OTHERS: dict[str, Callable[[], Any]] = {
    "ops.convert_to_numpy": lambda: tg.ops.convert_to_numpy(ONES),
    "ops.custom_gradient": lambda: tg.ops.custom_gradient(lambda x: (x, lambda g: g)),
    "ops.dtype": lambda: tg.ops.dtype(ONES),
    "ops.is_tensor": lambda: tg.ops.is_tensor(ONES),
    "ops.ndim": lambda: tg.ops.ndim(ONES),
    "ops.result_type": lambda: tg.ops.result_type(ONES, "int8"),
    "ops.shape": lambda: tg.ops.shape(ONES),
    "ops.size": lambda: tg.ops.size(ONES),
    "ops.scatter_add": lambda: tg.ops.scatter_add(ONES, [[0]], tg.ones((1, 3))),
    "ops.slice": lambda: tg.ops.slice(ONES, (0, 1), (1, 2)),
    "ops.slice_update": lambda: tg.ops.slice_update(ONES, (0, 1), tg.ones((1, 2))),
    "ops.vectorize": lambda: tg.ops.vectorize(lambda x: x),
    "ops.add": lambda: tg.ops.add(ONES, ONES),
    "ops.subtract": lambda: tg.ops.subtract(ONES, ONES),
    "ops.multiply": lambda: tg.ops.multiply(ONES, ONES),
    "ops.divide": lambda: tg.ops.divide(ONES, ONES),
    # One that ends whatever it begins with.
    "ops.while_loop": lambda: tg.ops.while_loop(
        lambda i: i < 3, lambda i: i + 1, (tg.tensor(0),), maximum_iterations=9
    ),
    "random.fold_in": lambda: tg.random.fold_in(1, 2),
    "random.seed": lambda: tg.random.seed(1),
    "random.key": lambda: tg.random.key(1),
    "random.split": lambda: tg.random.split(1, 2),
    "tg.asarray": lambda: tg.asarray([1.0]),
    "tg.astype": lambda: tg.astype(ONES, "int32"),
    "tg.broadcast_arrays": lambda: tg.broadcast_arrays(ONES, ONES),
    "tg.broadcast_shapes": lambda: tg.broadcast_shapes((1,), (2,)),
    "tg.can_cast": lambda: tg.can_cast("int8", "int16"),
    "tg.checkpoint": lambda: tg.checkpoint(lambda x: x),
    "tg.clip": lambda: tg.clip(ONES, 0.0, 1.0),
    "tg.floor_divide": lambda: tg.floor_divide(ONES, 2.0),
    "tg.finfo": lambda: tg.finfo("float32"),
    "tg.from_dlpack": lambda: tg.from_dlpack(np.ones(3, np.float32)),
    "tg.iinfo": lambda: tg.iinfo("int32"),
    "tg.isdtype": lambda: tg.isdtype("int32", "integral"),
    "tg.positive": lambda: tg.positive(ONES),
    "tg.reshape": lambda: tg.reshape(ONES, (3, 2)),
    "tg.take_along_axis": lambda: tg.take_along_axis(ONES, tg.zeros((2, 1), "int32"), axis=1),
    "tg.tensor": lambda: tg.tensor([1.0, 2.0]),
    "tg.unstack": lambda: tg.unstack(ONES, axis=1),
    "tg.linearize": lambda: tg.linearize(tg.sin, ONES),
    "tg.vjp": lambda: tg.vjp(tg.sin, ONES),
    "tg.grad": lambda: tg.grad(tg.sum),
    "tg.value_and_grad": lambda: tg.value_and_grad(tg.sum),
    "tg.jacobian": lambda: tg.jacobian(tg.sin),
    "tg.jacfwd": lambda: tg.jacfwd(tg.sin),
    "tg.jacrev": lambda: tg.jacrev(tg.sin),
    "tg.hessian": lambda: tg.hessian(tg.sum),
    "tg.vmap": lambda: tg.vmap(tg.sin),
    "tg.compile": lambda: tg.compile(tg.sin),
}
"""Calls of functions that the op table has under another name, or not."""

NOT_HERE = {
    # Not functions of arguments that could be wrong, or tested where they belong.
    "random.global_generator", "tg.Input", "tg.__array_namespace_info__", "tg.export", "tg.memory",
    "tg.set_engine", "tg.set_printoptions",
}  # fmt: skip


class Odd:
    """Something that belongs nowhere."""

    def __repr__(self) -> str:
        return "Odd()"


FEW: list[Any] = ["nonsense", Odd(), None, 1.5, -1, True, tg.ones((2, 3, 1, 2, 2))]
MORE: list[Any] = [
    [], {}, 0, 7, -99, float("nan"), tg.ones((0,)), tg.tensor(1.0), tg.ones((7,)),
    tg.complex(tg.ones((3,)), tg.ones((3,))), ["a"], [[1], [1, 2]], (1, 2, 3, 4, 5, 6, 7),
    (-1, -1), tg.ones((3,), dtype="int8"),
]  # fmt: skip


def functions() -> dict[str, Callable[..., Any]]:
    """Every public function once, by the first namespace that has it."""
    found: dict[str, Callable[..., Any]] = {}
    for space, module in SPACES.items():
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.FunctionType) and value not in found.values():
                found[f"{space}.{name}"] = value
    return found


FUNCTIONS = functions()


def calls() -> dict[str, list[Callable[[], Any]]]:
    """What to run so that each function is called, by its name."""
    found: dict[str, list[Callable[[], Any]]] = {}

    def run(case: Case) -> Any:
        return case.call(*map(as_given, case.inputs))

    for case in CASES:
        if not case.slow and all(0 < x.size <= 20_000 for x in case.inputs):
            name = case.op if "." in case.op else f"ops.{case.op}"
            found.setdefault(name, []).append(lambda case=case: run(case))
    for name, draw in DRAWS.items():
        found[f"random.{name}"] = [lambda draw=draw: draw(7)]
    return found | {name: [call] for name, call in OTHERS.items()}


CALLS = calls()


def arguments_of(name: str) -> dict[str, Any]:
    """The arguments of a call that works, as one of `CALLS` makes it."""
    code = inspect.unwrap(FUNCTIONS[name]).__code__
    found: list[dict[str, Any]] = []

    def watch(frame: types.FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is code and not found and not realize.capturing():
            count = code.co_argcount + code.co_kwonlyargcount
            count += bool(code.co_flags & inspect.CO_VARARGS)
            count += bool(code.co_flags & inspect.CO_VARKEYWORDS)
            found.append({key: frame.f_locals[key] for key in code.co_varnames[:count]})

    # A function may be known to the table by another of its names.
    same = [n for n in CALLS if n.split(".")[-1] == name.split(".")[-1]]
    for call in [call for n in dict.fromkeys([name, *same]) for call in CALLS.get(n, [])[:3]]:
        sys.setprofile(watch)
        try:
            call()
        finally:
            sys.setprofile(None)
        if found:
            return found[0]
    raise AssertionError(f"no call of {name} is known: add one to OTHERS")


def called(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The result of a call, read to the end."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            given += arguments[key]
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= arguments[key]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[key] = arguments[key]
        else:
            given.append(arguments[key])
    for result in flatten(function(*given, **named)):
        if isinstance(result, tg.Tensor) and result.size < 10**5:
            np.asarray(result)


def of_a_callback(error: BaseException) -> bool:
    """Whether an error comes from a function of the table that was handed in."""
    trace = error.__traceback__
    files = []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    inside = next((i for i, file in enumerate(files) if file.startswith(PACKAGE)), len(files))
    return any("/tests/" in file for file in files[inside:])


def complaint(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """What is wrong with how a call fails; None where nothing is."""
    try:
        called(function, arguments)
    except CaptureError:
        return None  # a value that is not known yet
    except TabgradError as error:
        said = str(error)
        return None if "expected" in said and "received" in said else repr(error)
    except Exception as error:
        return None if of_a_callback(error) else repr(error)
    return None


@pytest.fixture(scope="module", autouse=True)
def reference() -> Iterator[None]:
    with chosen("reference"):
        yield


def check(name: str, values: list[Any]) -> None:
    function = FUNCTIONS[name]
    arguments = arguments_of(name)
    called(function, arguments)
    found = []
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        for value in values:
            wrong = (
                [value, *arguments[key][1:]]
                if parameter.kind is parameter.VAR_POSITIONAL
                else value
            )
            said = complaint(function, arguments | {key: wrong})
            if said is not None:
                found.append(f"{key}={value!r}: {said}")
    assert not found, "\n".join(found)


def test_every_function_is_called() -> None:
    assert NOT_HERE <= set(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - NOT_HERE))
def test_wrong_arguments(name: str) -> None:
    check(name, FEW)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - NOT_HERE))
def test_more_wrong_arguments(name: str) -> None:
    check(name, MORE)


def test_errors_of_the_caller_pass_as_they_are() -> None:
    """Wrong names of arguments are Python's affair, errors in a loop's body its author's."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'along'"):
        tg.sum(ONES, along=1)
    with pytest.raises(KeyError, match="mine"):
        tg.scan(lambda carry, x: {}["mine"], tg.tensor(0.0), ONES)


@pytest.mark.parametrize(
    "call",
    [
        lambda i: tg.ops.one_hot([1], i(3)),
        lambda i: tg.zeros(i(3)),
        lambda i: tg.zeros((i(2), i(3))),
        lambda i: tg.split(ONES, i(3), axis=i(1))[1],
        lambda i: tg.expand_dims(ONES, axis=i(0)),
        lambda i: tg.ops.max_pool(tg.ones((1, 4, 4, 1)), i(2)),
        lambda i: tg.roll(ONES, i(1), axis=i(0)),
        lambda i: tg.moveaxis(ONES, i(0), i(1)),
        lambda i: tg.signal.frame(tg.ones((9,)), i(3), i(1)),
        lambda i: tg.image.resize(tg.ones((1, 4, 4, 1)), (i(2), i(2))),
        lambda i: tg.random.choice(i(5), (i(2),), seed=1),
        lambda i: tg.random.permutation(i(5), seed=i(1)),
        lambda i: tg.sum(ONES, axis=i(1)),
        lambda i: ONES.sum(axis=(i(0), i(1))),
    ],
)
def test_integers_of_numpy_are_integers(call: Callable[[Any], tg.Tensor]) -> None:
    np.testing.assert_array_equal(call(np.int64).numpy(), call(int).numpy())


def parameters(name: str, *hints: str) -> list[str]:
    """The parameters of a function whose annotations begin with one of these."""
    found = inspect.signature(FUNCTIONS[name]).parameters.values()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in found if str(p.annotation).startswith(hints) and p.kind not in several]


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - NOT_HERE))
def test_true_is_no_size_and_no_axis_and_a_word_no_flag(name: str) -> None:
    arguments = arguments_of(name)
    for wrong, keys in (
        (True, parameters(name, "int", "Axis", "Spatial", "Shape", "Sequence[int]")),
        ("nonsense", parameters(name, "bool")),
        (3, parameters(name, "Callable[", "Function")),
    ):
        for key in keys:
            if wrong is True and "bool" in inspect.unwrap(FUNCTIONS[name]).__annotations__[key]:
                continue
            if "| Any" in inspect.unwrap(FUNCTIONS[name]).__annotations__[key]:
                continue
            with pytest.raises(TabgradError, match=r"(?s)expected.*received"):
                called(FUNCTIONS[name], arguments | {key: wrong})


@pytest.mark.parametrize(
    "call",
    [
        lambda n: tg.zeros(n),
        lambda n: tg.zeros((n, 3)),
        lambda n: tg.full(n, 1.0),
        lambda n: tg.eye(n),
        lambda n: tg.arange(n),
        lambda n: tg.linspace(0, 1, n),
        lambda n: tg.tile(ONES, n),
        lambda n: tg.tile(ONES, (n, 1)),
        lambda n: tg.roll(ONES, n, axis=1),
        lambda n: tg.repeat(ONES, n, axis=0),
        lambda n: tg.pad(ONES, n),
        lambda n: tg.split(ONES, n)[1],
        lambda n: tg.sum(ONES, axis=n - 1),
        lambda n: ONES.sum(axis=n - 1),
        lambda n: tg.reshape(ONES, (n, 3)),
        lambda n: ONES.reshape(n, 3),
        lambda n: tg.broadcast_to(1.0, (n,)),
        lambda n: tg.ops.top_k(ONES, n)[0],
        lambda n: tg.ops.one_hot([1], n),
        lambda n: tg.stack([ONES, ONES], axis=n),
        lambda n: tg.random.normal((n,), seed=1),
        lambda n: tg.signal.frame(tg.ones((9,)), n, 1),
    ],
)
def test_tensors_as_sizes_and_axes(call: Callable[[Any], tg.Tensor]) -> None:
    """They are what NumPy's 0-d arrays are; while capturing it is said that they have no value."""
    np.testing.assert_array_equal(call(tg.tensor(2)).numpy(), call(2).numpy())
    with pytest.raises(CaptureError, match=r"fixed size.*static_argnums"):
        tg.compile(lambda n: call(n))(tg.tensor(2))


def test_numbers_that_are_no_sizes() -> None:
    for shape in (2.0, (2.5,), tg.tensor(2.0), (True,), "ab", [[1], [2, 3]]):
        for make in (tg.zeros, lambda s: tg.reshape(ONES, s), lambda s: ONES.reshape(s)):
            with pytest.raises(TabgradError, match=r"expected.*received"):
                make(shape)


@pytest.mark.parametrize("wrong", [3, None, "sin", ONES])
def test_transformations_of_no_function(wrong: Any) -> None:
    for call in (
        lambda: tg.grad(wrong),
        lambda: tg.value_and_grad(wrong),
        lambda: tg.vjp(wrong, ONES),
        lambda: tg.jvp(wrong, (ONES,), (ONES,)),
        lambda: tg.linearize(wrong, ONES),
        lambda: tg.jacobian(wrong),
        lambda: tg.hessian(wrong),
        lambda: tg.vmap(wrong),
        lambda: tg.compile(3),
        lambda: tg.checkpoint(wrong),
        lambda: tg.custom_gradient(wrong),
        lambda: tg.map(wrong, ONES),
        lambda: tg.scan(wrong, ONES, ONES),
    ):
        with pytest.raises(tg.errors.DtypeError, match=r"expected a function as \w+; received"):
            call()


def test_the_argument_is_named() -> None:
    with pytest.raises(
        tg.errors.DtypeError, match=r"linspace expected num to be int; received 'a'"
    ):
        tg.linspace(0, 1, "a")
    with pytest.raises(
        tg.errors.DtypeError, match=r"expected arguments that fit together; .* xs=float32 \[2, 3\]"
    ):
        tg.scan(lambda carry: carry, tg.tensor(0.0), ONES)
    with pytest.raises(tg.errors.DtypeError, match=r"help\(tabgrad.random.normal\)"):
        tg.random.normal(1.5)
    with pytest.raises(tg.errors.ShapeError, match="integers of at least 0"):
        tg.ops.top_k(ONES, 1.5)
