"""Gradients of tg.linalg: first and second order by finite differences in float64, and against JAX
where matrices are complex, singular or have equal eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.ops.comparing import Array
from tests.ops.engines import chosen

L = tg.linalg


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    with chosen("reference"):
        yield


def _random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def _flat(results: Any) -> list[tg.Tensor]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def _t(x: tg.Tensor) -> tg.Tensor:
    return tg.matrix_transpose(x)


def _symmetric(x: tg.Tensor) -> tg.Tensor:
    return x + _t(x)


def _positive(x: tg.Tensor) -> tg.Tensor:
    return tg.matmul(x, _t(x)) + 0.5 * tg.ops.eye(x.shape[-1], dtype=x.dtype)


def _squares_of(results: Any) -> Any:
    """Of vectors determined up to a sign, what does not depend on it."""
    return [tg.square(y) for y in _flat(results)]


Function = Callable[..., Any]
# Functions of arguments of these shapes; the sizes are small because differences are many.
FUNCTIONS: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "cholesky": (lambda x: L.cholesky(_positive(x)), [(3, 3)]),
    "cholesky of a stack": (lambda x: L.cholesky(_positive(x), upper=True), [(2, 2, 2)]),
    "cholesky_inverse": (lambda x: L.cholesky_inverse(L.cholesky(_positive(x))), [(3, 3)]),
    "solve_triangular": (lambda a, b: L.solve_triangular(a, b, lower=True), [(3, 3), (3, 2)]),
    "solve_triangular upper": (lambda a, b: L.solve_triangular(a, b, trans=1), [(3, 3), (3,)]),
    "solve_triangular unit": (
        lambda a, b: L.solve_triangular(a, b, unit_diagonal=True), [(3, 3), (3, 1)]
    ),
    "solve": (L.solve, [(3, 3), (3, 2)]),
    "solve vector": (L.solve, [(3, 3), (3,)]),
    "solve broadcast": (L.solve, [(2, 1, 2, 2), (2, 2, 1)]),
    "inv": (L.inv, [(3, 3)]),
    "det": (L.det, [(3, 3)]),
    "slogdet": (lambda x: L.slogdet(x)[1], [(2, 3, 3)]),
    "lu": (lambda x: L.lu(x)[1:], [(3, 3)]),
    "lu tall": (lambda x: L.lu(x)[1:], [(4, 2)]),
    "lu wide": (lambda x: L.lu(x)[1:], [(2, 4)]),
    "lu_factor": (lambda x: L.lu_factor(x)[0], [(3, 3)]),
    "qr": (L.qr, [(3, 3)]),
    "qr tall": (L.qr, [(4, 2)]),
    "qr wide": (L.qr, [(2, 4)]),
    "gram_schmidt": (L.gram_schmidt, [(2, 3)]),
    "eigh": (lambda x: _squares_of(L.eigh(_symmetric(x))), [(3, 3)]),
    "eigvalsh": (lambda x: L.eigvalsh(_symmetric(x)), [(2, 3, 3)]),
    "eig": (lambda x: [tg.abs(y) for y in L.eig(x)], [(3, 3)]),
    "eigvals": (lambda x: tg.real(L.eigvals(x) * L.eigvals(x)), [(2, 2, 2)]),
    "svdvals": (L.svdvals, [(3, 2)]),
    "svd": (lambda x: _squares_of(L.svd(x, full_matrices=False)), [(3, 3)]),
    "svd tall": (lambda x: _squares_of(L.svd(x, full_matrices=False)), [(4, 2)]),
    "svd wide": (lambda x: _squares_of(L.svd(x, full_matrices=False)), [(2, 4)]),
    "pinv tall": (L.pinv, [(4, 2)]),
    "pinv wide": (L.pinv, [(2, 4)]),
    "lstsq": (L.lstsq, [(4, 2), (4,)]),
    "lstsq wide": (L.lstsq, [(2, 3), (2, 2)]),
    "matrix_norm": (L.matrix_norm, [(3, 2)]),
    "matrix_norm nuc": (lambda x: L.matrix_norm(x, ord="nuc"), [(3, 2)]),
    "matrix_norm 2": (lambda x: L.matrix_norm(x, ord=2), [(3, 2)]),
    "vector_norm 3": (lambda x: L.vector_norm(x, ord=3), [(4,)]),
    "cond": (L.cond, [(3, 3)]),
    "matrix_power": (lambda x: L.matrix_power(x, 3), [(2, 2)]),
    "matrix_power -2": (lambda x: L.matrix_power(x, -2), [(2, 2)]),
    "expm": (L.expm, [(3, 3)]),
    "trace": (L.trace, [(3, 3)]),
    "band_part": (lambda x: L.band_part(x, 1, 0), [(3, 3)]),
    "multi_dot": (lambda *xs: L.multi_dot(xs), [(2, 3), (3, 2), (2, 2)]),
    "kron": (tg.ops.kron, [(2, 2), (1, 3)]),
    "cross": (L.cross, [(2, 3), (3,)]),
    "einsum": (
        lambda x, y, z: tg.einsum("...ij,jk,kki->...ik", x, y, z), [(2, 2, 3), (3, 2), (2, 2, 2)]
    ),
}  # fmt: skip


def _scalar(function: Function, arrays: list[Array]) -> Function:
    """The function's results weighted at random and summed."""

    def value(*xs: tg.Tensor) -> tg.Tensor:
        total = tg.tensor(0.0, dtype="float64")
        for i, y in enumerate(_flat(function(*xs))):
            weights = tg.tensor(_random(y.shape, 100 + i), dtype="float64")
            total = total + tg.sum(y * weights)
        return total

    return value


def _differences(function: Callable[..., float], arrays: list[Array], step: float = 1e-5) -> Any:
    slopes = []
    for which, x in enumerate(arrays):
        slope = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[which][place] += sign * step
                ends.append(function(*moved))
            slope[place] = (ends[0] - ends[1]) / (2 * step)
        slopes.append(slope)
    return slopes


def _double(x: Array) -> tg.Tensor:
    return tg.tensor(x, dtype="float64")


def _check(scalar: Function, arrays: list[Array], tolerance: float) -> None:
    positions = tuple(range(len(arrays)))
    got = [g.numpy() for g in tg.grad(scalar, argnums=positions)(*map(_double, arrays))]
    expected = _differences(lambda *xs: float(scalar(*map(_double, xs))), arrays)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * abs(theirs).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_order(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    arrays = [_random(shape, i) for i, shape in enumerate(shapes)]
    _check(_scalar(function, arrays), arrays, 1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    arrays = [_random(shape, i) for i, shape in enumerate(shapes)]
    scalar = _scalar(function, arrays)

    def slope(*xs: tg.Tensor) -> tg.Tensor:
        found = tg.grad(scalar, argnums=0)(*xs)
        return tg.sum(found * tg.tensor(_random(found.shape, 99), dtype="float64"))

    _check(slope, arrays, 1e-5)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: tg.matmul(*(lambda q: (q, _t(q)))(L.qr(x, mode="complete").Q[:, 2:])), (4, 2)),
        (lambda x: tg.matmul(*(lambda u: (u, _t(u)))(L.svd(x).U[:, 2:])), (4, 2)),
        (lambda x: tg.matmul(*(lambda v: (_t(v), v))(L.svd(x).Vh[2:])), (2, 4)),
    ],
)
def test_completed_bases(function: Function, shape: tuple[int, ...]) -> None:
    """What complete bases add has a derivative as a space."""
    arrays = [_random(shape, 0)]
    _check(_scalar(function, arrays), arrays, 1e-6)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_determinant_of_singular_matrices(rank: int) -> None:
    """The cofactors, by definition."""
    x = _random((3, rank), 0) @ _random((rank, 3), 1)
    expected = np.array([
        [
            (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(x, i, 0), j, 1))
            for j in range(3)
        ]
        for i in range(3)
    ])  # fmt: skip
    got = tg.grad(L.det)(_double(x)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_second_derivative_of_the_determinant_of_the_identity() -> None:
    """Equal singular values everywhere, and no trouble."""
    slope = tg.grad(lambda x: tg.sum(tg.grad(L.det)(x) * _double(np.ones((3, 3)))))
    expected = 3 * np.eye(3) - np.ones((3, 3))
    np.testing.assert_allclose(slope(_double(np.eye(3))).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("function", [
    lambda x: tg.sum(tg.square(L.eigvalsh(_symmetric(x)))),
    lambda x: tg.sum(tg.square(L.svdvals(x))),
    lambda x: tg.sum(L.expm(x)),
    lambda x: L.matrix_norm(x, ord="nuc"),
])  # fmt: skip
def test_equal_eigenvalues(function: Function) -> None:
    """Functions of all of them together have gradients, and finite ones."""
    _check(function, [np.eye(3) * 2], 1e-6)


def test_zero() -> None:
    for function in (L.norm, L.matrix_norm, L.svdvals, L.expm):
        got = tg.grad(lambda x, f=function: tg.sum(f(x)))(_double(np.zeros((2, 2)))).numpy()
        assert np.isfinite(got).all(), function


COMPLEX: dict[str, Function] = {
    "solve": lambda o, x: o.linalg.solve(x, x[:, :1] + 1),
    "inv": lambda o, x: o.linalg.inv(x),
    "det": lambda o, x: o.linalg.det(x),
    "slogdet": lambda o, x: o.linalg.slogdet(x)[1] * o.linalg.slogdet(x)[0],
    "cholesky": lambda o, x: o.linalg.cholesky(_hermitian(o, x)),
    "eigvalsh": lambda o, x: o.linalg.eigvalsh(_hermitian(o, x)),
    "eigh": lambda o, x: o.abs(o.linalg.eigh(_hermitian(o, x))[1]),
    "qr": lambda o, x: o.linalg.qr(x)[0],
    "svd": lambda o, x: o.abs(o.linalg.svd(x, full_matrices=False)[0]),
    "svd of both": lambda o, x: _pair_of(o, *o.linalg.svd(x, full_matrices=False)),
    "pinv": lambda o, x: o.linalg.pinv(x[:, :2]),
}


def _hermitian(o: Any, x: Any) -> Any:
    eye = tg.ops.eye(3, dtype="float64") if o is tg else np.eye(3)
    return o.matmul(x, o.conj(o.matrix_transpose(x))) + eye


def _pair_of(o: Any, u: Any, s: Any, vh: Any) -> Any:
    """Of U and Vh what does not depend on their phase, with weights on the singular values."""
    return o.matmul(u * s * s, vh)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex(name: str) -> None:
    from tests.keras_oracle import jax

    function = COMPLEX[name]
    re, im = _random((3, 3), 0), _random((3, 3), 1)
    with jax.enable_x64(True):
        import jax.numpy as jnp

        def theirs(x: Any, y: Any) -> Any:
            found = function(jnp, x + 1j * y)
            return jnp.sum(jnp.real(found) * _random(found.shape, 5)) + jnp.sum(
                jnp.imag(found) * _random(found.shape, 6)
            )

        expected = jax.grad(theirs, argnums=(0, 1))(jnp.asarray(re), jnp.asarray(im))

    def mine(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        found = function(tg, tg.complex(x, y))
        weights = [_double(_random(found.shape, seed)) for seed in (5, 6)]
        return tg.sum(tg.real(found) * weights[0]) + tg.sum(tg.imag(found) * weights[1])

    got = tg.grad(mine, argnums=(0, 1))(_double(re), _double(im))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), np.asarray(e), rtol=1e-8, atol=1e-8)
