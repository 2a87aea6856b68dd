"""Derivatives of products of every order, wherever factors are zero, against all choices of factors
to leave out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg

SIZES, ORDERS = (1, 2, 3, 4, 5, 7), (1, 2, 3, 4)


def factors(size: int, zeros: int) -> np.ndarray:
    """float64 numbers of which so many are 0, at places spread over them."""
    x = np.random.default_rng(size).uniform(0.5, 2.0, size) * [(-1) ** i for i in range(size)]
    x[np.random.default_rng(zeros).permutation(size)[:zeros]] = 0
    return x


def directions(order: int, shape: Any) -> list[np.ndarray]:
    """What is differentiated along, one after the other."""
    return list(np.random.default_rng(9).standard_normal((order, *np.atleast_1d(shape))))


def directional(order: int, x: np.ndarray, along: list[np.ndarray]) -> np.ndarray:
    """The derivative of the product of x along all directions but the last, and its gradient. The
    derivative by some factors is the product of the rest, and 0 where one is there twice."""
    gradient = np.zeros_like(x)
    for chosen in itertools.permutations(range(len(x)), order):
        *before, last = chosen
        weight = np.prod([along[i][at] for i, at in enumerate(before)])
        gradient[last] += weight * np.prod(np.delete(x, chosen))
    return gradient


def nested(f: Callable[[Any], Any], order: int, along: list[np.ndarray], lib: Any) -> Any:
    """The gradient of the derivative of f along directions, one gradient in another."""
    found = lib.grad(f)
    for v in along[: order - 1]:
        found = lib.grad(lambda x, found=found, v=v: (found(x) * v).sum())
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_every_order_with_any_number_of_zeros(order: int, zeros: int) -> None:
    for size in SIZES:
        x, along = factors(size, min(zeros, size)), directions(order, size)
        f = nested(lambda x: tg.prod(x), order, [tg.tensor(v, dtype="float64") for v in along], tg)
        got = f(tg.tensor(x, dtype="float64")).numpy()
        np.testing.assert_allclose(got, directional(order, x, along), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, (0, 2), None])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_along_axes(axis: Any, order: int) -> None:
    x = np.random.default_rng(0).integers(-2, 3, (3, 4, 2)).astype(np.float32)
    along = [v.astype(np.float32) for v in directions(order, x.shape)]
    got = nested(lambda x: tg.prod(x, axis=axis).sum(), order, along, tg)
    expected = nested(lambda x: jnp.prod(x, axis=axis).sum(), order, along, jax)
    for run in (got, tg.compile(got)):
        np.testing.assert_allclose(run(tg.tensor(x)), expected(x), rtol=1e-4, atol=1e-4)


def test_in_forward_mode_and_mapped() -> None:
    x = np.float32([[2.0, 0.0, 3.0, 0.0], [1.0, 2.0, 0.0, -1.0], [1.0, 2.0, 3.0, 4.0]])
    got = tg.vmap(tg.hessian(lambda row: tg.prod(row)))(tg.tensor(x))
    np.testing.assert_allclose(got, jax.vmap(jax.hessian(jnp.prod))(x), rtol=1e-5, atol=1e-5)
    ours = tg.jacfwd(tg.jacfwd(tg.jacrev(tg.prod)))
    theirs = jax.jacfwd(jax.jacfwd(jax.jacrev(jnp.prod)))
    np.testing.assert_allclose(ours(tg.tensor(x[0])), theirs(x[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [[1e-30, 1e-30, 1.0], [1e30, 1e30, 1e-30], [3e-44, 0.3], [1e-20] * 3])
def test_where_the_whole_product_is_out_of_range(x: list[float]) -> None:
    value = np.float32(x)
    others = [np.prod(np.delete(value.astype(np.float64), i)) for i in range(len(x))]
    with np.errstate(over="ignore"):
        expected = np.float32(others)
    got = tg.grad(lambda x: tg.prod(x))(tg.tensor(value))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1.5e-45)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_other_dtypes_and_no_factors(dtype: str) -> None:
    x = tg.tensor([[0.5, 0.0, 2.0], [1.5, 2.0, 4.0]], dtype=dtype)
    got = tg.grad(lambda x: tg.prod(x, axis=1).sum())(x)
    assert got.dtype is x.dtype
    np.testing.assert_array_equal(got.numpy(), [[0, 1, 0], [8, 6, 3]])
    empty = tg.ones((3, 0), dtype=dtype)
    second = tg.grad(lambda x: tg.grad(lambda y: tg.prod(y, axis=1).sum())(x).sum())(empty)
    assert second.shape == (3, 0)
