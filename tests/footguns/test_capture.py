"""What a compiled function may not do says so, and does no harm."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops, trees
from tabgrad.errors import CaptureError

HERE = Path(__file__).name

# A function that reads a value while it is captured, and what it should use.
CHOOSE, COUNT, COMPUTE = "tg.where or tg.cond", "tg.fori_loop", "functions of tabgrad"
READS: dict[str, tuple[Callable[[tg.Tensor], Any], str]] = {
    "float": (lambda x: float(x.sum()), COMPUTE),
    "complex": (lambda x: complex(x.sum()), COMPUTE),
    "int": (lambda x: int(x.sum()), COUNT),
    "bool": (lambda x: bool(x.sum() > 0), CHOOSE),
    "if": (lambda x: x if x.sum() > 0 else -x, CHOOSE),
    "and": (lambda x: x.sum() > 0 and x, CHOOSE),
    "not": (lambda x: not x.sum() > 0, CHOOSE),
    "in": (lambda x: 3.0 in x, CHOOSE),
    "item": (lambda x: x.sum().item(), COMPUTE),
    "tolist": (lambda x: x.tolist(), COMPUTE),
    "numpy": (lambda x: x.numpy(), COMPUTE),
    "asarray": (lambda x: np.asarray(x), COMPUTE),
    "numpy function": (lambda x: np.sin(np.asarray(x)), COMPUTE),
    "math function": (lambda x: math.sqrt(x.sum()), COMPUTE),
    "realize": (lambda x: x.realize(), "where the function is called"),
    "in a list": (lambda x: tg.tensor([1.0, x.sum()]), COMPUTE),
    "python's max": (lambda x: max(x[0], x[1]), CHOOSE),
    "while": (lambda x: _halve(x), "tg.while_loop"),
    "an index": (lambda x: [1, 2, 3][ops.argmax(x)], COUNT),
    "range": (lambda x: sum(range(ops.argmax(x))), COUNT),  # type: ignore[arg-type]
    "a loop so often": (lambda x: [x for _ in range(int(x.sum()))], COUNT),
    "a slice": (lambda x: x[: ops.argmax(x)], "static_argnums"),
    "a shape": (lambda x: x.reshape((ops.argmax(x) + 1, -1)), "static_argnums"),
    "of a Variable": (lambda x: float(LEVEL.value), COMPUTE),
    "of an assigned Variable": (lambda x: [LEVEL.assign(x.sum()), float(LEVEL.value)], COMPUTE),
    "in a gradient": (lambda x: tg.grad(lambda y: (y * float(y.sum())).sum())(x), COMPUTE),
    "in a scan": (lambda x: tg.scan(lambda c, r: (c + r, float(r)), tg.tensor(0.0), x), COMPUTE),
    "in a cond": (lambda x: tg.cond(x.sum() > 0, lambda: float(x.sum()), lambda: 0.0), COMPUTE),
    "in a while_loop": (
        lambda x: tg.while_loop(lambda v: float(v.sum()) > 1, lambda v: v / 2, x),
        COMPUTE,
    ),
}
CAPTURES = {"in a scan": "scan", "in a cond": "cond", "in a while_loop": "while_loop"}
LEVEL = tg.Variable(1.0, name="level")


def _halve(x: tg.Tensor) -> tg.Tensor:
    while x.sum() > 1:
        x = x / 2
    return x


def _made_in(message: str) -> int:
    """The line of this file that an error names at its end."""
    found = re.search(rf"\(at .*{HERE}:(\d+)\)$", message)
    assert found is not None, message
    return int(found[1])


def _lines_of(function: Any) -> list[int]:
    """The lines of a function, and of those of this file that it names."""
    inner = [globals()[name] for name in function.__code__.co_names if name in ("_halve",)]
    found: list[int] = []
    for one in (function, *inner):
        lines, first = inspect.getsourcelines(one)
        found += range(first, first + len(lines))
    return found


@pytest.mark.parametrize("name", READS)
def test_reading_a_value_raises(name: str) -> None:
    read, instead = READS[name]
    version, level = LEVEL.version, float(LEVEL.value)
    f = tg.compile(read)
    x = tg.tensor([3.0, 4.0])
    by = rf"while tg\.{CAPTURES.get(name, 'compile')} is capturing.*{re.escape(instead)}"
    for _ in range(2):  # the second call is no other than the first
        with pytest.raises(CaptureError, match=by) as caught:
            f(x)
        assert _made_in(str(caught.value)) in _lines_of(read)
    # Nothing is left behind: neither half an assignment, nor capturing.
    assert (LEVEL.version, float(LEVEL.value)) == (version, level)
    assert x.tolist() == [3, 4]
    if "Variable" not in name and name not in CAPTURES:
        read(x)  # outside it is no problem


# A function whose result has a size that depends on values, and the same of a fixed size.
SIZES: dict[str, tuple[Callable[..., Any], str, Callable[..., Any]]] = {
    "nonzero": (
        lambda x: tg.nonzero(x),
        "tg.nonzero(x, size=n)",
        lambda x: tg.nonzero(x, size=3),
    ),
    "where": (lambda x: tg.where(x), "tg.nonzero(x, size=n)", lambda x: tg.nonzero(x, size=3)),
    "argwhere": (
        lambda x: ops.argwhere(x),
        "size=n",
        lambda x: ops.argwhere(x, size=3),
    ),
    "unique": (lambda x: tg.unique(x), "tg.unique(x, size=n)", lambda x: tg.unique(x, size=3)),
    "unique_values": (
        lambda x: tg.unique_values(x),
        "tg.unique(x, size=n)",
        lambda x: tg.unique(x, size=3),
    ),
    "unique_counts": (
        lambda x: tg.unique_counts(x),
        "tg.unique(x, return_counts=True, size=n)",
        lambda x: tg.unique(x, return_counts=True, size=3),
    ),
    "unique_inverse": (
        lambda x: tg.unique_inverse(x),
        "tg.unique(x, return_inverse=True, size=n)",
        lambda x: tg.unique(x, return_inverse=True, size=3),
    ),
    "unique_all": (
        lambda x: tg.unique_all(x),
        "tg.unique(x, return_index=True, return_inverse=True, return_counts=True, size=n)",
        lambda x: tg.unique(x, return_index=True, return_inverse=True, return_counts=True, size=3),
    ),
    "a mask": (lambda x: x[x > 1], "tg.where(mask, x, other)", lambda x: tg.where(x > 1, x, 0.0)),
    "a mask of a count": (
        lambda x: x[x > 1],
        "tg.nonzero(mask, size=n)",
        lambda x: x[tg.nonzero(x > 1, size=2)],
    ),
    "a value for each place of a mask": (
        lambda x: x.__setitem__(x > 1, tg.ones(2)),
        "tg.where(mask, values, x)",
        lambda x: tg.where(x > 1, tg.ones(x.shape), x),
    ),
    "bincount": (
        lambda x: ops.bincount(tg.astype(x, "int32")),
        "length=n",
        lambda x: ops.bincount(tg.astype(x, "int32"), length=5),
    ),
    "segment sum": (
        lambda x: ops.segment_sum(x, tg.astype(x, "int32")),
        "num_segments",
        lambda x: ops.segment_sum(x, tg.astype(x, "int32"), num_segments=5),
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_size_that_depends_on_values_raises_and_names_what_works(name: str) -> None:
    wrong, instead, right = SIZES[name]
    x = tg.tensor([3.0, 0.0, 4.0])
    with pytest.raises(CaptureError, match=re.escape(instead)) as caught:
        tg.compile(wrong)(x)
    assert _made_in(str(caught.value)) in _lines_of(wrong)
    eager, compiled = (trees.flatten(run(x))[0] for run in (right, tg.compile(right)))
    assert [v.tolist() for v in compiled] == [v.tolist() for v in eager]
    wrong(x)  # outside it is no problem


# Escaping

LEFT: Any = None


def _into_a_global(x: tg.Tensor) -> Any:
    global LEFT
    LEFT = x * 2  # escapes
    return lambda: LEFT


def _into_a_list(x: tg.Tensor) -> Any:
    KEPT.append(x * 2)  # escapes
    return lambda: KEPT[-1]


def _into_an_attribute(x: tg.Tensor) -> Any:
    HOLDER.left = x * 2  # escapes
    return lambda: HOLDER.left


def _into_a_tensor(x: tg.Tensor) -> Any:
    HOLDER.tensor[0] = x[0]
    return x if len(x) > 2 else float(x[0])


def _from_a_loop(x: tg.Tensor) -> Any:
    def body(carry: tg.Tensor, row: tg.Tensor) -> Any:
        KEPT.append(carry * row)  # escapes
        return carry, row

    return tg.scan(body, tg.tensor(0.0), x) and (lambda: KEPT[-1])


class Holder:
    """Something with attributes."""

    def __init__(self) -> None:
        self.left: Any = None
        self.tensor = tg.tensor([0.0, 0.0])


KEPT: list[Any] = []
HOLDER = Holder()
OTHER = tg.Variable([0.0, 0.0])
ESCAPES = {f.__name__[1:]: f for f in (_into_a_global, _into_a_list, _into_an_attribute)}
USES: dict[str, Callable[[Any], Any]] = {
    "tolist": lambda t: t.tolist(),
    "float": lambda t: float(t.sum()),
    "if": lambda t: 1 if t.sum() > 0 else 2,
    "numpy": lambda t: np.asarray(t),
    "computed with": lambda t: (tg.ones((2,)) + t * 3).tolist(),
    "in another function": lambda t: tg.compile(lambda y: y + t)(tg.ones((2,))),
    "read in another function": lambda t: tg.compile(lambda y: y + float(t.sum()))(tg.ones((2,))),
    "as an argument": lambda t: tg.compile(lambda y: y + 1)(t).tolist(),
    "in a gradient": lambda t: tg.grad(lambda y: (y * t).sum())(tg.ones((2,))).tolist(),
    "in a map": lambda t: tg.vmap(lambda y: y + t.sum())(tg.ones((2,))).tolist(),
    "assigned to a Variable": lambda t: OTHER.assign(t).tolist(),
}


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("use", USES)
def test_a_tensor_that_escapes_says_where_it_was_made(escape: str, use: str) -> None:
    reads: list[Any] = []

    @tg.compile
    def step(x: tg.Tensor) -> Any:
        reads.append(ESCAPES[escape](x))
        return x

    assert step(tg.tensor([1.0, 2.0])).tolist() == [1, 2]
    assert "captured" in repr(reads[0]())
    lines, first = inspect.getsourcelines(ESCAPES[escape])
    line = first + next(i for i, text in enumerate(lines) if "# escapes" in text)
    words = (
        rf"expected a tensor with a value; received float32 \[2\] made at .*{HERE}:{line} while "
        r"tg\.compile was capturing 'step'.*Return it.*tg\.Variable"
    )
    for _ in range(2):
        with pytest.raises(CaptureError, match=words) as caught:
            USES[use](reads[0]())
        assert _made_in(str(caught.value)) in _lines_of(USES[use])
    OTHER.assign([0.0, 0.0])


def test_a_tensor_that_escapes_from_a_loop_or_a_map() -> None:
    with pytest.raises(CaptureError, match=r"made at .* while tg\.scan was capturing"):
        _from_a_loop(tg.tensor([1.0, 2.0]))().tolist()
    with pytest.raises(CaptureError, match=r"made at .* while tg\.scan was capturing"):
        tg.compile(lambda x: _from_a_loop(x)() * 2)(tg.tensor([1.0, 2.0]))
    tg.vmap(lambda row: KEPT.append(row * 2) or row)(tg.tensor([1.0, 2.0]))  # type: ignore[func-returns-value]
    with pytest.raises(CaptureError, match=r"made at .* while tg\.vmap was capturing"):
        KEPT[-1].tolist()


def test_assigning_elements_of_an_attribute_is_refused() -> None:
    """Also where the function fails for another reason, nothing of it is left behind."""
    for size, words in ((3, r"'HOLDER\.tensor'.*\.at\[i\]\.set"), (2, COMPUTE)):
        with pytest.raises(CaptureError, match=words):
            tg.compile(_into_a_tensor)(tg.ones((size,)))
        assert HOLDER.tensor.tolist() == [0, 0]


def test_a_variable_is_what_may_be_assigned() -> None:
    step = tg.compile(lambda x: OTHER.assign(x * 2))
    for i in range(3):
        assert step(tg.tensor([1.0, i])).tolist() == OTHER.tolist() == [2, 2 * i]


def test_a_value_that_is_known_can_be_read() -> None:
    """Tensors made outside have values; only what depends on arguments and state has none."""
    table = tg.tensor([1.0, 2.0, 3.0])

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return x * float(table.sum()) + len(x) + x.shape[0] + x.ndim

    assert f(tg.tensor([1.0, 2.0])).tolist() == [11, 17]


def test_shapes_and_names_are_not_values() -> None:
    seen = []

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        seen.append((repr(x), x.shape, x.dtype.name, x.size))
        return x

    f(tg.tensor([[1.0, 2.0]]))
    assert seen == [(seen[0][0], (1, 2), "float32", 2)]
    assert "captured" in seen[0][0]


def test_an_error_in_the_function_changes_no_variable() -> None:
    v = tg.Variable([1.0, 2.0])

    @tg.compile
    def f(x: tg.Tensor) -> None:
        v.assign(v + x)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        f(tg.tensor([1.0, 1.0]))
    assert v.tolist() == [1, 2]
    assert (v * 2).tolist() == [2, 4]


def test_values_a_function_closes_over() -> None:
    """A tensor from outside is what it was at the first call; a Variable is what it is now."""
    scale, level = tg.tensor([2.0]), tg.Variable([10.0])

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return x * scale + level

    assert f(tg.tensor([1.0])).tolist() == [12]
    level.assign([20.0])
    assert f(tg.tensor([1.0])).tolist() == [22]


def test_a_pending_value_a_function_closes_over() -> None:
    base = tg.tensor([1.0, 2.0])
    pending = base * 3 + 1

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return x + pending

    assert f(tg.tensor([0.0, 0.0])).tolist() == [4, 7]
    assert pending.tolist() == [4, 7]
    assert f(tg.tensor([1.0, 1.0])).tolist() == [5, 8]


def test_a_function_on_another_engine_and_back() -> None:
    from tabgrad import realize

    v = tg.Variable([1.0, 2.0])

    @tg.compile
    def step(x: tg.Tensor) -> Any:
        v.assign(v + x)
        return v * 2

    x = tg.tensor([1.0, 1.0])
    assert step(x).tolist() == [4, 6]
    with realize.using(realize.make_engine("reference", False)):
        assert step(x).tolist() == [6, 8]
    assert step(x).tolist() == [8, 10]
    assert v.tolist() == [4, 5]


def test_arguments_of_other_shapes_and_kinds() -> None:
    @tg.compile
    def f(x: Any, scale: float = 1.0, *, negate: bool = False) -> Any:
        total = sum(x.values()) if isinstance(x, dict) else x
        return -total * scale if negate else total * scale

    a, b = tg.tensor([1.0, 2.0]), tg.tensor([[1.0]])
    assert f(a).tolist() == [1, 2]
    assert f(b, 2.0).tolist() == [[2]]
    assert f({"a": a, "b": b}, negate=True).tolist() == [[-2, -3]]
    assert f(np.array([1.0, 2.0]), scale=3.0).tolist() == [3, 6]
    assert f(tg.tensor([1, 2])).tolist() == [1, 2]
