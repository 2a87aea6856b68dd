"""What a compiled function may not do says so, and does no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops
from tabgrad.errors import CaptureError

READS: dict[str, Callable[[tg.Tensor], Any]] = {
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool(x.sum() > 0),
    "if": lambda x: x if x.sum() > 0 else -x,
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "numpy function": lambda x: np.sin(np.asarray(x)),
    "realize": lambda x: x.realize(),
    "in a list": lambda x: tg.tensor([1.0, x.sum()]),
    "python's max": lambda x: max(x[0], x[1]),
    "while": lambda x: _halve(x),
    "an index": lambda x: [1, 2, 3][ops.argmax(x)],
    "range": lambda x: sum(range(ops.argmax(x))),  # type: ignore[arg-type]
    "of a Variable": lambda x: float(LEVEL.value),
    "of an assigned Variable": lambda x: [LEVEL.assign(x.sum()), float(LEVEL.value)],
    "in a gradient": lambda x: tg.grad(lambda y: (y * float(y.sum())).sum())(x),
    "in a scan": lambda x: ops.scan(lambda c, r: (c + r, float(r)), tg.tensor(0.0), x),
    "in a cond": lambda x: ops.cond(x.sum() > 0, lambda: float(x.sum()), lambda: 0.0),
    "in a while_loop": lambda x: ops.while_loop(lambda v: float(v.sum()) > 1, lambda v: v / 2, x),
}
CAPTURED = ("in a scan", "in a cond", "in a while_loop")  # with or without tg.compile
LEVEL = tg.Variable(1.0, name="level")


def _halve(x: tg.Tensor) -> tg.Tensor:
    while x.sum() > 1:
        x = x / 2
    return x


@pytest.mark.parametrize("name", READS)
def test_reading_a_value_raises(name: str) -> None:
    version, level = LEVEL.version, float(LEVEL.value)
    f = tg.compile(READS[name])
    x = tg.tensor([3.0, 4.0])
    for _ in range(2):  # the second call is no other than the first
        with pytest.raises(CaptureError, match=r"while tg\.compile is capturing.*tg\.where"):
            f(x)
    # Nothing is left behind: neither half an assignment, nor capturing.
    assert (LEVEL.version, float(LEVEL.value)) == (version, level)
    assert x.tolist() == [3, 4]
    if "Variable" not in name and name not in CAPTURED:
        READS[name](x)  # outside it is no problem


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


def test_a_tensor_that_escapes_says_where_it_belongs() -> None:
    """A value of the capture that Python kept is not usable, and says so."""
    kept = []

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        kept.append(x * 2)
        return x

    f(tg.tensor([1.0]))
    with pytest.raises(CaptureError):
        kept[0].tolist()
    assert "captured" in repr(kept[0])


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
