"""What a compiled function takes: static and donated arguments, what it sees around it, and how it
says why it is compiled again."""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config
from tabgrad.errors import ArgumentError, CaptureError

HERE = Path(__file__).name


def line_of(words: str) -> int:
    """The number of the line in this file that ends in these words."""
    lines = Path(__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.rstrip().endswith(words))


# Lines


def test_reading_names_the_line() -> None:
    @tg.compile
    def f(x: tg.Tensor) -> Any:
        y = x * 2
        return y if float(y.sum()) > 0 else -y  # reads here

    with pytest.raises(CaptureError) as caught:
        f(tg.tensor([1.0]))
    assert str(caught.value).endswith(f"{HERE}:{line_of('# reads here')})")


def test_reading_in_a_map_names_the_line_and_the_map() -> None:
    with pytest.raises(CaptureError, match=r"tg\.vmap") as caught:
        tg.vmap(lambda x: float(x))(tg.tensor([1.0]))  # reads in a map
    assert str(caught.value).endswith(f"{HERE}:{line_of('# reads in a map')})")


# Static arguments


def counting() -> tuple[list[int], Any]:
    calls: list[int] = []

    def f(x: tg.Tensor, power: float, mode: Any = "plain") -> Any:
        calls.append(1)
        assert isinstance(power, float)
        return x**power if mode == "plain" else -(x**power)

    return calls, f


@pytest.mark.parametrize("how", [{"static_argnums": 1}, {"static_argnames": "power"}])
def test_static_arguments_are_python_values(how: dict[str, Any]) -> None:
    calls, f = counting()
    g = tg.compile(f, **how)
    x = tg.tensor([2.0, 3.0])
    assert g(x, 2.0).tolist() == [4, 9]
    assert g(x, power=2.0).tolist() == [4, 9]
    assert len(calls) == 2  # by position and by name are two structures
    assert g(x, 3.0).tolist() == [8, 27]
    assert g(x + 1, 3.0).tolist() == [27, 64]
    assert len(calls) == 3


def test_static_containers_and_none() -> None:
    @tg.compile(static_argnums=(1, 2))
    def f(x: tg.Tensor, shape: tuple[int, ...], scale: float | None) -> Any:
        return x.reshape(shape) if scale is None else x.reshape(shape) * scale

    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    assert f(x, (2, 2), None).tolist() == [[1, 2], [3, 4]]
    assert f(x, (4, 1), 2.0).shape == (4, 1)
    assert f(x, (True,) * 0 or (4,), 1).tolist() == f(x, (4,), 1.0).tolist()


def test_static_arguments_must_be_values_that_can_be_told_apart() -> None:
    f = tg.compile(lambda x, k: x, static_argnums=-1)
    with pytest.raises(ArgumentError, match="'k' to be hashable; received list"):
        f(tg.tensor([1.0]), [1, 2])
    with pytest.raises(ArgumentError, match="'k'; received a Tensor"):
        f(tg.tensor([1.0]), tg.tensor(1.0))
    with pytest.raises(ArgumentError, match=r"among \['k', 'x'\]; received \['z'\]"):
        tg.compile(lambda x, k: x, static_argnames="z")
    with pytest.raises(ArgumentError, match="static or donated"):
        tg.compile(lambda x, k: x, static_argnums=0, donate_argnums=0)


# Donated arguments


def test_a_result_takes_the_place_of_a_donated_argument() -> None:
    from tabgrad import realize

    step = tg.compile(lambda w, g: w - 0.5 * g, donate_argnums=0)
    w, g = tg.tensor([1.0, 2.0, 3.0, 4.0]), tg.tensor([2.0, 2.0, 2.0, 2.0])
    handle = realize.handle_of(w.realize().node).handle
    new = step(w, g)
    assert new.tolist() == [0, 1, 2, 3]
    assert realize.handle_of(new.node).handle == handle
    assert g.tolist() == [2, 2, 2, 2]
    for _ in range(3):
        new = step(new, g)
    assert new.tolist() == [-3, -2, -1, 0]
    assert realize.handle_of(new.node).handle == handle


def test_reading_what_was_donated_raises() -> None:
    f = tg.compile(lambda x: x * 2, donate_argnums=(0,))
    x = tg.tensor([1.0, 2.0])
    pending = x + 1
    f(x)
    for use in (x.tolist, lambda: (x * 3).tolist(), lambda: f(x), pending.tolist):
        with pytest.raises(ArgumentError, match=r"float32 \[2\].*donated.*donate_argnums"):
            use()


def test_others_who_hold_the_memory_keep_it() -> None:
    f = tg.compile(lambda x: x * 2, donate_argnums=0)
    v = tg.Variable([1.0, 2.0])
    tg.compile(lambda: v.assign(v + 1))()  # now the Variable has a buffer of its own
    assert f(v.value).tolist() == [4, 6]
    assert v.tolist() == [2, 3]
    assert f(v).tolist() == [4, 6]  # a Variable is read, not given away
    assert v.tolist() == [2, 3]


def test_donated_containers_of_which_some_fit_nothing() -> None:
    @tg.compile(donate_argnums=0)
    def f(p: Any, k: float) -> Any:
        return {"a": p["b"] + k, "b": p["a"] * k, "n": p["c"].sum()}

    p = {"a": tg.tensor([1.0, 2.0]), "b": tg.tensor([3.0, 4.0]), "c": tg.tensor([5.0])}
    out = f(p, 10.0)
    assert (out["a"].tolist(), out["b"].tolist(), float(out["n"])) == ([13, 14], [10, 20], 5)
    for x in p.values():
        with pytest.raises(ArgumentError, match="donated"):
            x.tolist()


def test_a_donated_argument_that_is_returned_and_a_scalar() -> None:
    same = tg.compile(lambda x, y: (y, x), donate_argnums=(0, 1))
    out = same(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    assert [x.tolist() for x in out] == [[3, 4], [1, 2]]
    count = tg.tensor(1.0)
    more = tg.compile(lambda n: n + 1, donate_argnums=0)
    for _ in range(3):
        count = more(count)
    assert float(count) == 4


def test_a_tensor_donated_twice_is_refused() -> None:
    f = tg.compile(lambda x, y: x + y, donate_argnums=0)
    x = tg.tensor([1.0])
    with pytest.raises(ArgumentError, match="one argument only"):
        f(x, x)
    assert x.tolist() == [1]


def test_donating_inside_another_capture_or_gradient_gives_nothing_away() -> None:
    f = tg.compile(lambda x: (x * x).sum(), donate_argnums=0)
    x = tg.tensor([1.0, 2.0])
    assert tg.grad(f)(x).tolist() == [2, 4]
    assert float(tg.compile(lambda x: f(x) + x.sum())(x)) == 8
    assert x.tolist() == [1, 2]


# Methods


class Counter:
    """Compiled methods, one with options that count `self`."""

    def __init__(self, start: float) -> None:
        self.total = tg.Variable(start)
        self.scale = tg.tensor(2.0)

    @tg.compile
    def add(self, x: tg.Tensor) -> Any:
        """Add to the total."""
        self.total.assign(self.total + x.sum() * self.scale)
        return self.total * 1

    @tg.compile(static_argnums=(0, 2), donate_argnums=1)
    def power(self, x: tg.Tensor, n: float) -> Any:
        return x**n


def test_methods_belong_to_their_object() -> None:
    one, two = Counter(0.0), Counter(100.0)
    x = tg.tensor([1.0, 2.0])
    assert (float(one.add(x)), float(two.add(x)), float(one.add(x))) == (6, 106, 12)
    assert one.add is one.add
    one.scale = tg.tensor(0.0)
    assert (float(one.add(x)), float(two.add(x))) == (12, 112)
    assert one.power(x, 2.0).tolist() == [1, 4]
    with pytest.raises(ArgumentError, match="donated"):
        x.tolist()
    watch = ref(one)
    del one
    gc.collect()
    assert watch() is None


# What a function sees around it

SCALE = tg.tensor([2.0])
PARAMETERS: dict[str, Any] = {"w": tg.tensor([1.0])}


def test_a_tensor_that_is_bound_anew_is_noticed() -> None:
    scale = tg.tensor([2.0])
    f = tg.compile(lambda x: x * scale)
    assert f(tg.tensor([3.0])).tolist() == [6]
    scale = tg.tensor([5.0])
    assert f(tg.tensor([3.0])).tolist() == [15]


def test_a_global_and_a_container_are_noticed() -> None:
    global SCALE
    f = tg.compile(lambda x: x * SCALE + PARAMETERS["w"])
    assert f(tg.tensor([3.0])).tolist() == [7]
    SCALE = tg.tensor([5.0])
    assert f(tg.tensor([3.0])).tolist() == [16]
    PARAMETERS["w"] = tg.tensor([100.0])
    assert f(tg.tensor([3.0])).tolist() == [115]
    SCALE = tg.tensor([2.0])


def test_numbers_variables_and_helpers_are_noticed() -> None:
    rate, level = 0.5, tg.Variable([1.0])

    def helper(x: tg.Tensor) -> Any:
        return x * rate

    f = tg.compile(lambda x: helper(x) + level)
    assert f(tg.tensor([4.0])).tolist() == [3]
    rate = 2.0
    assert f(tg.tensor([4.0])).tolist() == [9]
    level.assign([10.0])
    assert f(tg.tensor([4.0])).tolist() == [18]
    level = tg.Variable([100.0])
    assert f(tg.tensor([4.0])).tolist() == [108]


def test_attributes_are_noticed() -> None:
    class Scaler:
        def __init__(self) -> None:
            self.scale = tg.tensor([2.0])
            self.run = tg.compile(self.apply)

        def apply(self, x: tg.Tensor) -> Any:
            return x * self.scale

    one = Scaler()
    assert one.run(tg.tensor([3.0])).tolist() == [6]
    one.scale = tg.tensor([5.0])
    assert one.run(tg.tensor([3.0])).tolist() == [15]
    by_closure = tg.compile(lambda x: x * one.scale)
    assert by_closure(tg.tensor([1.0])).tolist() == [5]
    one.scale = tg.tensor([7.0])
    assert by_closure(tg.tensor([1.0])).tolist() == [7]


def test_elements_assigned_to_a_tensor_are_noticed() -> None:
    """`w[i] = v` lets the same object stand for another value, wherever it is kept."""

    class Holder:
        def __init__(self) -> None:
            self.w = tg.tensor([1.0, 2.0])

    w, kept, pair = tg.ones((2,)), {"w": [tg.ones((2,))]}, (tg.ones((2,)),)
    one, z = Holder(), tg.tensor([1j])

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return x * w + kept["w"][0] + pair[0] + one.w + tg.imag(z)

    x = tg.tensor([1.0, 10.0])
    assert f(x).tolist() == [5, 15]
    for i, held in enumerate((w, kept["w"][0], pair[0], one.w), 1):
        held[0] = 100.0 * i
        assert f(x).tolist()[1] == 15
        assert f(x).tolist()[0] == sum(
            t.tolist()[0] for t in (w, kept["w"][0], pair[0], one.w, tg.imag(z))
        )
    z[0] = 8j
    assert f(x).tolist() == [1008, 22]


CHANGES: dict[str, Any] = {
    "a number in a list": lambda kept: kept["list"].__setitem__(0, 5.0),
    "a number of another type": lambda kept: kept["list"].__setitem__(0, 1),
    "a longer list": lambda kept: kept["list"].append(1.0),
    "a shorter list": lambda kept: kept["list"].pop(),
    "another order": lambda kept: kept["list"].reverse(),
    "a list in a tuple": lambda kept: kept["tuple"][1].append(3.0),
    "a key": lambda kept: kept["dict"].update(c=kept["dict"].pop("b")),
    "the order of keys": lambda kept: kept["dict"].update(a=kept["dict"].pop("a")),
    "one key more": lambda kept: kept["dict"].update(z=0),
    "another list of the same length": lambda kept: kept.update(list=[7.0, 2.0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_in_a_container_is_noticed_and_only_changes_are(change: str) -> None:
    kept: Any = {"list": [1.0, 2.0], "tuple": (0, [1.0, 2.0]), "dict": {"a": 1.0, "b": 2.0}}
    captures = 0

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        nonlocal captures
        captures += 1
        return x + len(kept)

    x = tg.ones((2,))
    for _ in range(3):
        f(x)
        kept["list"] = list(kept["list"])  # equal objects in the place of others
        kept["dict"] = {name: float(repr(v)) for name, v in kept["dict"].items()}
    assert captures == 1
    CHANGES[change](kept)
    for _ in range(3):
        f(x)
    assert captures == 2


def test_nothing_is_compiled_again_while_nothing_changes() -> None:
    captures = 0
    scale, kept = tg.tensor([2.0]), {"w": [tg.tensor([1.0])], "name": "n"}

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        nonlocal captures
        captures += 1
        return x * scale + kept["w"][0]

    for i in range(5):
        assert f(tg.tensor([float(i)])).tolist() == [2 * i + 1]
        (scale + 1).tolist()  # reading it changes nothing
        gc.collect()
    assert captures == 1


def test_containers_of_all_kinds_around_a_function() -> None:
    itself: dict[Any, Any] = {1: "a", "b": 2}
    itself["itself"] = itself
    data = list(range(100_000))
    mixed = {1: tg.tensor([1.0]), "two": (tg.tensor([2.0]), None, object())}

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return x * len(itself) + len(data) + mixed[1] + mixed["two"][0]

    assert f(tg.tensor([0.0])).tolist() == [100_003]
    mixed["two"] = (tg.tensor([20.0]), None, object())
    assert f(tg.tensor([0.0])).tolist() == [100_021]


def test_assigning_state_to_a_name_is_refused() -> None:
    total = tg.tensor([0.0])

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        nonlocal total
        total = total + x
        return total

    with pytest.raises(CaptureError, match=r"'total'.*tg\.Variable"):
        f(tg.tensor([1.0]))


def test_counting_in_a_number_is_refused() -> None:
    total = 0.0

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        nonlocal total
        total = total + x.sum()
        return x

    with pytest.raises(CaptureError, match=r"'total'.*tg\.Variable"):
        f(tg.tensor([1.0]))


def test_assigning_elements_of_a_tensor_outside_is_refused() -> None:
    total, kept = tg.tensor([0.0, 1.0]), [tg.tensor([2.0, 3.0])]
    into_name = tg.compile(lambda x: total.__setitem__(0, x.sum()))
    into_list = tg.compile(lambda x: kept[0].__setitem__(0, x.sum()))
    for f, name in ((into_name, "total"), (into_list, "kept")):
        with pytest.raises(CaptureError, match=rf"'{name}' outside.*\.at\[i\].*tg\.Variable"):
            f(tg.tensor([1.0]))
    assert (total.tolist(), kept[0].tolist()) == ([0, 1], [2, 3])  # and nothing is left behind


def test_leaving_something_to_look_at_is_no_state() -> None:
    class Attention:
        def __init__(self) -> None:
            self.weights: Any = None

        def __call__(self, x: tg.Tensor) -> Any:
            self.weights = tg.ops.softmax(x)
            return self.weights * x

    layer = Attention()
    f = tg.compile(layer.__call__)
    for shape in ((2,), (3,), (2,)):
        layer(tg.ones(shape))
        np.testing.assert_allclose(f(tg.ones(shape)), np.full(shape, 1 / shape[0]), rtol=1e-6)


def test_what_keeps_changing_gets_a_warning() -> None:
    w = tg.tensor([0.0])
    f = tg.compile(lambda x: w + x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(12):
            w = f(tg.tensor([1.0]))
            assert w.tolist() == [i + 1]
    assert ["'w'" in str(one.message) for one in caught] == [True]


# Reasons


def test_the_reason_of_a_recompilation_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    rate = 1.0

    @tg.compile
    def f(x: Any, mode: str = "a", **rest: Any) -> Any:
        first = x["w"][0] if isinstance(x, dict) else x
        return first * rate

    def reason(*args: Any, **kwargs: Any) -> str:
        capsys.readouterr()
        with config.override(debug=1):
            f(*args, **kwargs)
        found = re.findall(r"compiling f again: (.*)", capsys.readouterr().err)
        return found[0] if found else ""

    x = tg.tensor([[1.0, 2.0]])
    assert reason(x) == ""
    assert reason(x) == ""
    assert reason(tg.ones((3, 2))) == "x is float32 [3, 2], was float32 [1, 2]"
    assert reason(tg.ones((3, 2), dtype="int32")) == "x is int32 [3, 2], was float32 [3, 2]"
    assert reason(x, "b") == "the structure of the arguments is another one"
    assert reason(x, "c") == "mode is the static 'c', was the static 'b'"
    assert reason({"w": [x]}) == "the structure of the arguments is another one"
    assert reason({"w": [x[0]]}) == "x['w'][0] is float32 [2], was float32 [1, 2]"
    rate = 2.0
    assert reason(x, "c") == "'rate', which the function uses, is not what it was"


def test_nothing_is_printed_without_debug(capsys: pytest.CaptureFixture[str]) -> None:
    f = tg.compile(lambda x: x + 1)
    f(tg.ones((2,)))
    f(tg.ones((3,)))
    assert capsys.readouterr().err == ""


# Complex numbers


def test_complex_arguments_and_results() -> None:
    z = np.array([1 + 2j, 3 - 1j], np.complex64)
    f = tg.compile(lambda z, k: {"square": z * z * k, "parts": (tg.real(z), tg.imag(z))})
    for given in (z, tg.tensor(z)):
        out = f(given, 2.0)
        np.testing.assert_allclose(out["square"].numpy(), z * z * 2, rtol=1e-6)
        assert out["parts"][1].tolist() == [2, -1]
