"""Kernels that touch many buffers: cut up for targets that bind few, with the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.ir.kernel import Kernel, kernels_of
from tabgrad.targets.wgsl.shader import MAX_STORAGE
from tabgrad.targets.wgsl.target import WgslTarget
from tests.compiler.programs import traced
from tests.ops.engines import chosen


@pytest.fixture(autouse=True)
def _webgpu() -> Iterator[None]:
    with chosen("webgpu"):
        yield


class _Keeping(WgslTarget):
    def emit(self, plans: Any) -> Any:
        self.plans = plans
        return super().emit(plans)


def kernels(fn: Callable[..., Any], *specs: Any) -> list[Kernel]:
    """The kernels that a function becomes, none of which touches too many buffers."""
    target = _Keeping()
    driver.compile([traced(fn, *specs)], target)
    found = list(kernels_of(target.plans[0].launches))
    for kernel in found:
        touched = {id(b.root) for b in (*kernel.reads(), *kernel.writes())}
        assert len(touched) <= MAX_STORAGE, kernel
    return found


def arrays(count: int, shape: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(count)
    return [rng.uniform(-2, 2, shape).astype(np.float32) for _ in range(count)]


def test_a_sum_of_twenty_inputs() -> None:
    def total(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t):  # type: ignore[no-untyped-def]
        found = tg.sin(a) * b
        for x in (c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t):
            found = found * 0.5 + x
        return found

    assert len(kernels(total, *[((7, 12), "float32")] * 20)) > 1
    given = arrays(20, (7, 12))
    got = tg.compile(total)(*map(tg.tensor, given)).numpy()
    want = np.sin(given[0].astype(np.float64)) * given[1]
    for x in given[2:]:
        want = want * 0.5 + x
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_fold_and_its_epilogue() -> None:
    """A row's sum, then a map of the sum with ten other arrays."""

    def mixed(x, a, b, c, d, e, f, g, h, i, j):  # type: ignore[no-untyped-def]
        found = tg.sum(x * x, axis=1)
        for y in (a, b, c, d, e, f, g, h, i, j):
            found = found * y + 1
        return found

    assert len(kernels(mixed, ((9, 40), "float32"), *[((9,), "float32")] * 10)) > 1
    x, others = arrays(1, (9, 40))[0], arrays(10, (9,))
    got = tg.compile(mixed)(tg.tensor(x), *map(tg.tensor, others)).numpy()
    want = (x.astype(np.float64) ** 2).sum(1)
    for y in others:
        want = want * y + 1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_contraction_of_many_factors() -> None:
    def product(a, b, c, d, e, f, w):  # type: ignore[no-untyped-def]
        return tg.relu((a * b + c * d - e * f) @ w + a[:, :1])

    kernels(product, *[((16, 24), "float32")] * 6, ((24, 8), "float32"))
    given, w = arrays(6, (16, 24)), arrays(1, (24, 8))[0]
    a, b, c, d, e, f = (x.astype(np.float64) for x in given)
    got = tg.compile(product)(*map(tg.tensor, given), tg.tensor(w)).numpy()
    want = np.maximum((a * b + c * d - e * f) @ w + a[:, :1], 0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_states_that_read_each_other_in_place() -> None:
    """Twelve Variables, each becoming a mixture of its neighbours' old values."""
    count = 12
    given = arrays(count, (33,))
    variables = [tg.Variable(x) for x in given]

    @tg.compile
    def turn(x: Any) -> Any:
        old = [v.value for v in variables]
        for i, v in enumerate(variables):
            v.assign(old[i] * 0.5 + old[(i + 1) % count] * old[i - 1] * x)
        return sum(old[1:], old[0])

    want = [x.astype(np.float64) for x in given]
    for step in range(3):
        x = np.float32(0.1 * (step + 1))
        got = turn(tg.tensor(np.full(33, x))).numpy()
        np.testing.assert_allclose(got, sum(want[1:], want[0]), rtol=1e-4, atol=1e-4)
        want = [want[i] * 0.5 + want[(i + 1) % count] * want[i - 1] * x for i in range(count)]
    for v, w in zip(variables, want, strict=True):
        np.testing.assert_allclose(v.numpy(), w, rtol=1e-4, atol=1e-5)


def test_many_results_of_one_map() -> None:
    def many(x, y):  # type: ignore[no-untyped-def]
        return [tg.tanh(x * (i + 1) + y) for i in range(14)]

    assert len(kernels(many, ((50,), "float32"), ((50,), "float32"))) > 1
    x, y = arrays(2, (50,))
    for i, got in enumerate(tg.compile(many)(tg.tensor(x), tg.tensor(y))):
        np.testing.assert_allclose(got.numpy(), np.tanh(x * (i + 1.0) + y), rtol=1e-5, atol=1e-6)


def test_a_running_fold_and_its_epilogue() -> None:
    """What follows a running sum reads ten other arrays: nothing of it can be computed before the
    sum is."""

    def mixed(x, a, b, c, d, e, f, g, h, i, j):  # type: ignore[no-untyped-def]
        found = tg.cumulative_sum(x * x, axis=1)
        for y in (a, b, c, d, e, f, g, h, i, j):
            found = found * y + 1
        return found

    assert len(kernels(mixed, *[((9, 40), "float32")] * 11)) > 1
    given = arrays(11, (9, 40))
    got = tg.compile(mixed)(*map(tg.tensor, given)).numpy()
    want = np.cumsum(given[0].astype(np.float64) ** 2, 1)
    for y in given[1:]:
        want = want * y + 1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
