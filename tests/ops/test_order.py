"""Sorting, running folds, sets and order statistics beside their values, which are in the tables:
gradients against JAX, use inside tg.compile, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops
from tabgrad.errors import (
    ArgumentError,
    CaptureError,
    DtypeError,
    NotSupportedError,
    RangeError,
    ShapeError,
)
from tests.ops.engines import chosen


@pytest.fixture(params=["wasm", pytest.param("reference", marks=pytest.mark.slow)], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param):
        yield request.param


X = np.float32([[0.5, -1.25, 2.0, 0.75], [3.0, 0.1, -0.3, 1.5], [-2.0, 4.0, 0.2, -0.6]])
W = np.float32(np.arange(12).reshape(3, 4) + 1)

SMOOTH: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sort": (lambda x: ops.sort(x, 0), lambda x: jnp.sort(x, 0)),
    "sort descending": (
        lambda x: ops.sort(x, 1, descending=True), lambda x: jnp.sort(x, 1, descending=True)
    ),
    "top_k": (lambda x: ops.top_k(x, 2)[0], lambda x: jax.lax.top_k(x, 2)[0]),
    "cumsum": (lambda x: ops.cumsum(x, 1), lambda x: jnp.cumsum(x, 1)),
    "cumsum backwards": (
        lambda x: ops.cumsum(x, 0, reverse=True), lambda x: jax.lax.cumsum(x, 0, reverse=True)
    ),
    "cumprod": (lambda x: ops.cumprod(x, 1), lambda x: jnp.cumprod(x, 1)),
    "cummax": (lambda x: ops.cummax(x, 1), lambda x: jax.lax.cummax(x, 1)),
    "cummin backwards": (
        lambda x: ops.cummin(x, 0, reverse=True), lambda x: jax.lax.cummin(x, 0, reverse=True)
    ),
    "logcumsumexp": (lambda x: ops.logcumsumexp(x, 1), lambda x: jax.lax.cumlogsumexp(x, 1)),
    "median": (lambda x: ops.median(x, 1), lambda x: jnp.median(x, 1)),
    "quantile": (
        lambda x: ops.quantile(x, [0.2, 0.9], 0),
        lambda x: jnp.quantile(x, jnp.float32([0.2, 0.9]), 0),
    ),
    "nanquantile": (lambda x: ops.nanquantile(x, 0.3, 1), lambda x: jnp.nanquantile(x, 0.3, 1)),
}  # fmt: skip


def weighted(f: Callable[[Any], Any], w: Any) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        y = f(x)
        return (y * y * w[: y.shape[0]].reshape(-1)[: y.size].reshape(y.shape)).sum()

    return total


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_jax(name: str) -> None:
    mine, theirs = SMOOTH[name]
    f, g = weighted(mine, tg.tensor(W)), weighted(theirs, jnp.asarray(W))
    np.testing.assert_allclose(
        tg.compile(tg.grad(f))(tg.tensor(X)), jax.grad(g)(X), rtol=2e-4, atol=1e-4
    )
    t = np.cos(X)
    np.testing.assert_allclose(
        tg.jvp(f, (tg.tensor(X),), (tg.tensor(t),))[1], jax.jvp(g, (X,), (t,))[1], rtol=2e-4
    )
    np.testing.assert_allclose(
        tg.vmap(mine)(tg.tensor(np.stack([X, -X]))), jax.vmap(theirs)(np.stack([X, -X])),
        rtol=2e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (3,), (1, 2), (0, 1, 2, 3)])
def test_a_product_of_zeros_has_a_gradient(zeros: tuple[int, ...]) -> None:
    x = np.float32([2.0, -3.0, 0.5, 4.0])
    x[list(zeros)] = 0
    w = np.float32([1, 2, 3, 4])
    expected = jax.grad(lambda x: (jnp.cumprod(x) * w).sum())(x)
    slope = tg.grad(lambda x: (ops.cumprod(x) * tg.tensor(w)).sum())
    np.testing.assert_allclose(slope(tg.tensor(x)), expected, rtol=1e-5)
    second = jax.grad(lambda x: jax.grad(lambda x: (jnp.cumprod(x) * w).sum())(x)[1])(x)
    np.testing.assert_allclose(tg.grad(lambda x: slope(x)[1])(tg.tensor(x)), second, rtol=1e-5)


def test_an_extremum_belongs_to_the_first_that_set_it() -> None:
    x = tg.tensor([1.0, 3.0, 3.0, 2.0, 5.0, 5.0])
    w = tg.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    slope = tg.grad(lambda x: (ops.cummax(x) * w).sum())(x)
    assert slope.tolist() == [1, 14, 0, 0, 48, 0]


def test_equal_elements_keep_their_order_however_many() -> None:
    keys = np.random.default_rng(0).integers(0, 4, 1000).astype(np.int8)
    for descending in (False, True):
        got = ops.argsort(tg.tensor(keys, dtype="int8"), descending=descending).numpy()
        for key in range(4):
            mine = got[keys[got] == key]
            assert (np.diff(mine) > 0).all()


def test_payloads_that_nobody_reads_are_not_moved() -> None:
    from tabgrad import jit
    from tabgrad.compiler.driver import simplified
    from tabgrad.compiler.plan import plan
    from tabgrad.ir.kernel import Kernel

    made = plan(simplified(jit.trace(ops.sort, [((100,), "float32", False)]).graph))
    sorts = [k for k in made.launches if isinstance(k, Kernel) and k.kind == "sort"]
    assert [len(k.stores) for k in sorts] == [1]


def test_results_of_unknown_size_are_made_eagerly_or_of_a_given_size() -> None:
    x = tg.tensor([0, 3, 0, 4, 3])
    assert tg.compile(lambda x: ops.nonzero(x, size=4, fill_value=9)[0])(x).tolist() == [1, 3, 4, 9]
    found = tg.compile(lambda x: ops.unique(x, return_counts=True, size=4, fill_value=-1))(x)
    assert [v.tolist() for v in found] == [[0, 3, 4, -1], [2, 2, 1, 0]]
    assert tg.compile(lambda x: ops.bincount(x, length=5))(x).tolist() == [2, 0, 0, 2, 1]
    for f in (ops.nonzero, ops.argwhere, ops.unique, ops.unique_all, ops.unique_values):
        with pytest.raises(CaptureError, match=r"size=n"):
            tg.compile(f)(x)
    with pytest.raises(CaptureError, match=r"length=n"):
        tg.compile(ops.bincount)(x)


def test_inside_a_gradient_sizes_can_be_read() -> None:
    def f(x: Any) -> Any:
        (places,) = ops.nonzero(x > 0)
        return (ops.take(x, places) ** 2).sum()

    assert tg.grad(f)(tg.tensor([1.0, -2.0, 3.0])).tolist() == [2, 0, 6]


def test_search_in_a_long_line() -> None:
    """More halvings than one expression may be deep."""
    line = np.sort(np.random.default_rng(0).normal(size=100_000)).astype(np.float32)
    asked = np.random.default_rng(1).normal(size=500).astype(np.float32)
    got = ops.searchsorted(tg.tensor(line), tg.tensor(asked))
    np.testing.assert_array_equal(got, np.searchsorted(line, asked))


V = np.float32([3, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ops.sort(x, 1), RangeError, "sort expected an axis.*received 1"),
        (lambda x: ops.argsort(x[0]), RangeError, "argsort expected a tensor that has axis -1"),
        (lambda x: ops.top_k(x, 4), ShapeError, r"k=4 for shape \[3\]"),
        (lambda x: ops.argpartition(x, 3), RangeError, "kth"),
        (lambda x: ops.in_top_k(x, x, 1), DtypeError, "integer targets; received float32"),
        (lambda x: ops.in_top_k(tg.tensor([1, 2]), x, 1), ShapeError, r"\[3\] and \[2\]"),
        (lambda x: ops.searchsorted(x, x, "middle"), ArgumentError, "'left' or 'right'"),
        (lambda x: ops.searchsorted(tg.ones((2, 2)), x), ShapeError, r"one axis.*\[2, 2\]"),
        (lambda x: ops.searchsorted(x, x, sorter=x), ShapeError, "integer sorter"),
        (lambda x: ops.digitize(x, x[0]), ShapeError, "one axis"),
        (lambda x: ops.lexsort([x, x[:2]]), ShapeError, r"one shape.*\[3\].*\[2\]"),
        (lambda x: ops.cumulative_sum(tg.ones((2, 2))), ShapeError, r"axis.*\[2, 2\]"),
        (lambda x: ops.cumulative_prod(x[0]), ShapeError, "received a scalar"),
        (lambda x: ops.cumsum(x, 1), RangeError, "received 1"),
        (lambda x: ops.cumsum(x, dtype="bool"), DtypeError, "received bool"),
        (lambda x: ops.nonzero(x[0]), ShapeError, "received a scalar"),
        (lambda x: ops.nonzero(x, size=-1), ArgumentError, "size as an integer"),
        (lambda x: ops.quantile(x, 1.5), ArgumentError, "q from 0 to 1; received 1.5"),
        (lambda x: ops.percentile(x, [1, 101]), ArgumentError, "q from 0 to 100"),
        (lambda x: ops.quantile(x, 0.5, method="best"), ArgumentError, "hazen.*'best'"),
        (lambda x: ops.median(x[:0]), ArgumentError, "at least one element"),
        (lambda x: ops.bincount(x), DtypeError, "integers; received float32"),
        (lambda x: ops.bincount(tg.tensor([-1])), ArgumentError, "0 or more; received -1"),
        (lambda x: ops.bincount(tg.tensor([1]), sparse=True), NotSupportedError, "sparse"),
        (lambda x: ops.histogram(x, 0), ArgumentError, "at least one bin"),
        (lambda x: ops.histogram(x, 3, (2, 1)), ArgumentError, "ascends"),
        (lambda x: ops.histogram(x, [1.0]), ShapeError, "two edges"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(tg.tensor(V))
