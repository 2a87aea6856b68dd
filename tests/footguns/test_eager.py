"""Long and lazy programs: loops that are never read, scalars that change, values that are not
finite."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops, realize

STATUS = "/proc/self/statm"  # Linux's


def resident() -> int:
    """Bytes of memory that this process has; 0 where it is not known."""
    if not os.path.exists(STATUS):
        return 0
    with open(STATUS) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def compiled() -> Iterator[Callable[[], int]]:
    """compiled() counts the Programs that eager code has compiled in this test so far."""
    engine = realize.make_engine("wasm", True)
    with realize.using(engine):
        yield lambda: sum(key[0] is engine for key in realize.programs._cached)


def test_a_hundred_thousand_additions_never_read(compiled: Callable[[], int]) -> None:
    x = tg.tensor(np.zeros((64, 64), np.float32))
    start = x
    most = before = 0
    for i in range(100_000):
        x = x + 1.0
        if i % 1000 == 0:
            most = max(most, realize.engine().memory_use().live)
        if i == 5000:
            before = resident()
    grown = resident() - before
    assert (x.numpy() == 100_000).all()
    assert (start.numpy() == 0).all()
    print(f"at most {most:,} bytes live, {grown:,} more in Python, {compiled()} Programs")
    assert most < 200_000  # a few times the 16 kB of x
    assert grown < 10_000_000  # a hundred bytes a step
    assert compiled() <= 3


def test_a_long_chain_of_two_values_that_need_each_other() -> None:
    """Each is used twice, so there are more paths through the graph than could be walked."""
    a, b = tg.tensor(np.zeros(8, np.float32)), tg.tensor(np.ones(8, np.float32))
    for _ in range(6_000):
        a, b = b, (a + b) * 0.5
    assert a.tolist() == pytest.approx([2 / 3] * 8)


def test_a_variable_assigned_ten_thousand_times_never_read() -> None:
    v = tg.Variable(np.zeros(100, np.float32))
    for _ in range(10_000):
        v.assign(v + 1)
    assert (v.numpy() == 10_000).all()


def test_many_tensors_that_wait_hold_bounded_memory(compiled: Callable[[], int]) -> None:
    """Pending sums keep their sources: they are computed before they hold too much."""
    total = tg.tensor(np.zeros((512, 512), np.float32))
    for i in range(400):  # 400 MB, were all held
        total = total + tg.tensor(np.full((512, 512), i, np.float32))
    peak = realize.engine().memory_use().peak
    assert (total.numpy() == 399 * 200).all()
    print(f"at most {peak / 2**20:.0f} MB live")
    assert peak < 300 << 20


def test_tensors_that_are_dropped_free_their_memory() -> None:
    engine = realize.engine()
    gc.collect()
    before = engine.memory_use().live
    for _ in range(50):
        x = tg.tensor(np.ones((256, 256), np.float32))
        y = (x @ x).sum(axis=0)
        y.realize()
        del x, y
    gc.collect()
    assert engine.memory_use().live - before < 300_000


def test_a_loop_with_a_scalar_that_changes_compiles_once(compiled: Callable[[], int]) -> None:
    x = tg.tensor([1.0, 2.0])
    total = tg.tensor([0.0, 0.0])
    rate = 0.9
    expected = np.zeros(2)
    for i in range(50):
        total = total + x * rate**i
        total.realize()
        expected += np.array([1.0, 2.0]) * rate**i
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert compiled() == 1
    for i in range(50):
        (x / (i + 1.5) - float(i)).realize()
    assert compiled() == 2
    for i in range(50):  # ints and negative numbers, too
        (x * (i - 25)).realize()
    assert compiled() == 3


def test_special_scalars_use_the_same_program(compiled: Callable[[], int]) -> None:
    """1, 0 and -1 are values like others: nothing is simplified away at their sight."""
    x = tg.tensor([1.0, -2.0, float("inf")])
    for value in (0.5, 1.0, 0.0, -1.0, float("inf"), float("nan"), 1e-40):
        with np.errstate(invalid="ignore"):
            expected = np.array([1, -2, np.inf], np.float32) * np.float32(value)
        np.testing.assert_array_equal((x * value).numpy(), expected)
    assert compiled() == 1


def test_compiled_functions_take_scalars_that_change() -> None:
    calls = []
    v = tg.Variable([1.0, 2.0])

    @tg.compile
    def step(rate: float) -> Any:
        calls.append(rate)
        v.assign(v * rate)
        return v.value

    for rate in (0.5, 2.0, 0.0, 3.0):
        step(rate)
    assert len(calls) == 1
    assert v.tolist() == [0, 0]


def test_small_loops_over_indices_compile_once(compiled: Callable[[], int]) -> None:
    """A row at a place that a tensor says; a place that Python says is part of the Program."""
    x = tg.tensor(np.arange(60, dtype=np.float32).reshape(20, 3))
    for i in range(20):
        assert ops.take(x, tg.tensor(i), axis=0).tolist() == [3 * i, 3 * i + 1, 3 * i + 2]
    assert compiled() == 1


NOT_FINITE = np.array([1.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38], np.float32)


@pytest.mark.parametrize("compiled_too", [False, True])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, o: x * o.zeros_like(x),
        lambda x, o: x * 0.0,
        lambda x, o: x - x,
        lambda x, o: x / x,
        lambda x, o: 0.0 / x,
        lambda x, o: x + 0.0,
        lambda x, o: x * 1.0,
        lambda x, o: x**0.0,
        lambda x, o: o.maximum(x, 0.0),
        lambda x, o: o.minimum(x, 1.0),
        lambda x, o: o.where(x != x, 7.0, x),
        lambda x, o: (x == x) & (x < o.abs(x) + 1.0),
        lambda x, o: o.sum(x * 0.0),
        lambda x, o: o.exp(x) * 0.0,
        lambda x, o: o.sqrt(x * x) - o.abs(x),
        lambda x, o: o.negative(o.negative(x)),
        lambda x, o: 1.0 / (1.0 / x),
        lambda x, o: o.max(x, axis=0) + o.min(x, axis=0),
    ],
)
def test_what_is_not_finite_is_what_numpy_gives(f: Callable[..., Any], compiled_too: bool) -> None:
    """Rewriting never forgets NaN, infinity or the sign of zero."""
    with np.errstate(all="ignore"):
        expected = np.asarray(f(NOT_FINITE, np))
    act = tg.compile(lambda x: f(x, ops)) if compiled_too else lambda x: f(x, ops)
    found = act(tg.tensor(NOT_FINITE)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if expected.dtype == np.float32:
        finite = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[finite], np.signbit(expected)[finite])


def test_zero_times_weights_that_are_not_finite_is_seen_by_a_loss() -> None:
    """A mask that multiplies lets NaN through, one that selects does not; so does its gradient."""
    x = tg.tensor([1.0, float("nan"), float("inf")])
    mask = tg.tensor([1.0, 0.0, 0.0])
    assert np.isnan(float((x * mask).sum()))
    chosen = ops.where(mask > 0, x, 0.0)
    assert float(chosen.sum()) == 1
    slope = tg.grad(lambda x: ops.where(mask > 0, x * x, 0.0).sum())(x)
    assert slope.tolist()[0] == 2


@pytest.mark.slow
def test_a_graph_of_a_hundred_thousand_nodes() -> None:
    """It is compiled in one piece, without recursion and in time that grows with its size."""

    @tg.compile
    def long(x: tg.Tensor) -> tg.Tensor:
        for _ in range(25_000):
            x = tg.sin(x) * 0.5 + tg.cos(x)
        return x

    x = expected = np.linspace(-2, 2, 8, dtype=np.float32)
    for _ in range(200):  # it has come to rest long before
        expected = np.sin(expected) * np.float32(0.5) + np.cos(expected)
    np.testing.assert_allclose(long(tg.tensor(x)).numpy(), expected, rtol=1e-5)
