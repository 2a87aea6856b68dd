"""Memory that is held and given back: by tensors, by loops, by engines no longer current."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops

MEGABYTE = 1 << 20


def live(kind: str = "wasm") -> int:
    gc.collect()
    return tg.memory()[kind].live


def test_what_is_held_is_reported_and_given_back() -> None:
    tg.ones((1,)).realize()
    before = live()
    x = tg.tensor(np.zeros((MEGABYTE // 4,), np.float32))
    assert live() - before == MEGABYTE
    y = (x + 1).realize()
    assert live() - before >= 2 * MEGABYTE
    use = tg.memory()["wasm"]
    assert use.live <= use.peak <= use.capacity
    del x, y
    assert live() - before < MEGABYTE // 2


def test_engines_are_reported_by_kind() -> None:
    x = tg.tensor(np.zeros((1000,), np.float32)).realize()
    try:
        tg.set_engine("reference")
        y = (x + 1).realize()
        assert live("reference") >= 4000
        del y
        assert live("reference") < 8000
    finally:
        tg.set_engine("auto")


def test_an_engine_that_was_current_goes_with_its_last_tensor() -> None:
    def engines() -> int:
        gc.collect()
        return tg.memory()["wasm"].capacity

    tg.set_engine("wasm")
    (tg.ones((3,)) + 2).realize()
    before = engines()
    for _ in range(5):
        tg.set_engine("wasm")
        (tg.ones((3,)) + 2).realize()
    assert engines() <= 2 * before
    tg.set_engine("auto")


@tg.compile
def compiled_step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return ops.softmax(x * 0.9 + y)


def eager_step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return ops.softmax(x * 0.9 + y).realize()


def gradient_step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return x - tg.grad(lambda x: ops.sum(ops.square(x - y)))(x) * 0.1


@pytest.mark.parametrize("step", [compiled_step, eager_step, gradient_step])
def test_loops_hold_memory_flat(step: Callable[[tg.Tensor, tg.Tensor], tg.Tensor]) -> None:
    x, y = tg.tensor(np.zeros((64, 64), np.float32)), tg.tensor(np.ones((64, 64), np.float32))
    found = []
    for i in range(600):
        x = step(x, y)
        if i % 100 == 99:
            x.realize()
            found.append(live())
    assert max(found) - min(found) <= 3 * x.size * 4
    assert found[-1] <= found[0] + x.size * 4


def test_a_tensor_beyond_memory_is_an_error_and_harms_nothing() -> None:
    x = tg.ones((4,)).realize()
    with pytest.raises(tg.TabgradError, match=r"bytes|memory"):
        tg.zeros((1 << 16, 1 << 14), dtype="float64").realize()
    assert (x + 1).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.ones((MEGABYTE // 4,)),
        lambda: tg.zeros((MEGABYTE // 4,)) + 1,
        lambda: tg.arange(MEGABYTE // 4),
        lambda: tg.random.normal((MEGABYTE // 4,), seed=3),
    ],
    ids=["ones", "sum of constants", "arange", "normal"],
)
def test_constants_are_given_back(make: Callable[[], tg.Tensor]) -> None:
    """Equal constants are one node, which no cached Program may keep, nor what it computed."""
    float(make()[1])  # a Program that has it within
    before = live()
    x = make().realize()
    assert live() - before >= MEGABYTE
    float(x[0])
    del x
    assert live() - before < MEGABYTE // 4
    assert make().numpy().size == MEGABYTE // 4


def test_what_failed_holds_nothing() -> None:
    tg.ones((1,)).realize()
    before = live()

    def too_much() -> None:
        first = (tg.tensor(np.zeros((MEGABYTE // 4,), np.float32)) + 1).realize()
        tg.tile(first, (4_100,)).realize()

    with pytest.raises(tg.TabgradError, match=r"bytes|memory"):
        too_much()
    assert live() - before < MEGABYTE // 4


def test_as_many_elements_as_nobody_can_count() -> None:
    """Kernels count in int32: 2**31 elements are refused, not taken for none."""
    with pytest.raises(
        tg.errors.NotSupportedError, match=r"fewer than 2\*\*31 .* int8 \[2147483648"
    ):
        (tg.zeros((2**31,), dtype="int8") + 1).realize()
    with pytest.raises(tg.errors.NotSupportedError, match=r"expected .* received"):
        tg.compile(lambda: tg.zeros((2**16, 2**15)) + tg.random.uniform((2**15,), seed=1))()
    assert (tg.ones((3,)) + 1).tolist() == [2, 2, 2]


@pytest.mark.exhaustive
def test_a_tensor_of_2_gigabytes() -> None:
    """2**31 bytes: half of what a WebAssembly memory has."""
    before = live()
    x = (tg.zeros((2**29,)) + 1).realize()
    assert live() - before == 2**31
    assert [float(x[i]) for i in (0, 2**28 + 3, -1)] == [1, 1, 1]
    assert float(tg.sum(x)) == 2**29
    with pytest.raises(tg.TabgradError, match="bytes"):
        (x + tg.arange(2**29)).realize()
    del x
    assert live() - before < MEGABYTE
