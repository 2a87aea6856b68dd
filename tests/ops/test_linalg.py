"""tg.linalg beyond the table: transformations, sizes, accuracy of large problems, errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.ir.graph import toposort
from tests.ops.comparing import Array
from tests.ops.engines import chosen

L = tg.linalg


def _random(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _positive(x: tg.Tensor) -> tg.Tensor:
    return tg.matmul(x, tg.matrix_transpose(x)) + tg.ops.eye(x.shape[-1])


FUNCTIONS: dict[str, Callable[[tg.Tensor], Any]] = {
    "cholesky": lambda x: L.cholesky(_positive(x)),
    "cond": L.cond,
    "det": L.det,
    "eigvalsh": lambda x: L.eigvalsh(_positive(x)),
    "expm": L.expm,
    "inv": L.inv,
    "lstsq": lambda x: L.lstsq(x[:, :2], x[:, 2:]),
    "lu": lambda x: L.lu(x)[1],
    "lu_factor": lambda x: L.lu_factor(x)[0],
    "matrix_power": lambda x: L.matrix_power(x, 3),
    "matrix_rank": lambda x: tg.ops.cast(L.matrix_rank(x), "float32"),
    "norm": lambda x: L.norm(x, "nuc"),
    "pinv": L.pinv,
    "qr": lambda x: L.qr(x).R,
    "slogdet": lambda x: L.slogdet(x).logabsdet,
    "solve": lambda x: L.solve(x, x[:, :1]),
    "solve_triangular": lambda x: L.solve_triangular(x, x[:, 0]),
    "svd": lambda x: tg.abs(L.svd(x).U),
    "svdvals": L.svdvals,
    "eig": lambda x: tg.abs(L.eig(x).eigenvectors),
    "einsum": lambda x: tg.einsum("ij,jk,ki->i", x, x, x),
    "kron": lambda x: tg.ops.kron(x, x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_is_a_stack(name: str) -> None:
    function, x = FUNCTIONS[name], _random((3, 3, 3))
    got = tg.vmap(function)(tg.tensor(x)).numpy()
    expected = np.stack([function(tg.tensor(row)).numpy() for row in x])
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"matrix_rank"}))
def test_compiled_gradient_and_vmap_of_it(name: str) -> None:
    function, x = FUNCTIONS[name], _random((2, 3, 3))
    slope = tg.grad(lambda m: tg.sum(function(m)))
    expected = np.stack([slope(tg.tensor(row)).numpy() for row in x])
    scale = np.abs(expected).max()
    compiled = np.stack([tg.compile(slope)(tg.tensor(row)).numpy() for row in x])
    np.testing.assert_allclose(compiled, expected, rtol=1e-4, atol=1e-5 * scale)
    mapped = tg.vmap(slope)(tg.tensor(x)).numpy()
    np.testing.assert_allclose(mapped, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"matrix_rank"}))
def test_forward_mode(name: str) -> None:
    """Along a direction: the same as the gradient's product with it."""
    function = FUNCTIONS[name]
    with chosen("reference"):
        x, d = (tg.tensor(_random((3, 3), s).astype(float), dtype="float64") for s in (0, 1))

        def scalar(m: tg.Tensor) -> tg.Tensor:
            return tg.sum(function(m))

        if name in ("cholesky", "eigvalsh"):
            eye = tg.ops.eye(3, dtype="float64")
            inner = {"cholesky": L.cholesky, "eigvalsh": L.eigvalsh}[name]

            def scalar(m: tg.Tensor) -> tg.Tensor:
                return tg.sum(inner(tg.matmul(m, tg.matrix_transpose(m)) + eye))

        _, tangent = tg.jvp(scalar, (x,), (d,))
        expected = float(tg.sum(tg.grad(scalar)(x) * d))
        assert float(tangent) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"matrix_power", "kron", "einsum"}))
def test_graphs_do_not_grow(name: str) -> None:
    function = FUNCTIONS[name]
    counts = [
        len(toposort([function(tg.tensor(_random((n, n)))).node])) for n in (6, 100)
    ]  # fmt: skip
    assert counts[0] == counts[1]


def _error(got: Any, expected: Any, scale: float) -> float:
    """In units of float32's epsilon times a scale."""
    return float(np.abs(np.asarray(got, np.float64) - expected).max() / (scale * 2.0**-23))


@pytest.mark.parametrize("n", [33, 128])
def test_backward_errors(n: int) -> None:
    """Of random matrices, far below the usual bound of 10 n units."""
    x = _random((n, n))
    wide = x.astype(np.float64)
    size = float(np.linalg.norm(wide, 2))
    bound = 2 * n**0.5 + 10
    with chosen("wasm"):
        a = tg.tensor(x)
        p, low, up = (y.numpy().astype(float) for y in L.lu(a))
        assert _error(p @ low @ up, wide, size) < bound
        q, r = (y.numpy().astype(float) for y in L.qr(a))
        assert _error(q @ r, wide, size) < bound
        assert _error(q.T @ q, np.eye(n), 1) < bound
        u, s, vh = (y.numpy().astype(float) for y in L.svd(a))
        assert _error(u * s @ vh, wide, size) < bound
        for basis in (u, vh.T):
            assert _error(basis.T @ basis, np.eye(n), 1) < bound
        symmetric = (x + x.T) / 2
        w, v = (y.numpy().astype(float) for y in L.eigh(tg.tensor(symmetric)))
        assert _error(v * w @ v.T, symmetric, size) < bound
        assert _error(v.T @ v, np.eye(n), 1) < bound
        b = _random((n, 3), 1)
        found = L.solve(a, tg.tensor(b)).numpy().astype(float)
        assert _error(wide @ found, b, size * np.abs(found).max()) < bound


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "seconds"),
    [
        (lambda x: L.solve(x, x), 0.2),
        (L.inv, 0.2),
        (L.det, 0.1),
        (lambda x: L.cholesky(_positive(x)), 0.1),
        (lambda x: L.qr(x).Q, 0.2),
        (lambda x: L.eigh(x).eigenvectors, 2.0),
        (L.svdvals, 2.0),
    ],
)
def test_a_matrix_of_256_rows_takes_no_time(
    function: Callable[[tg.Tensor], tg.Tensor], seconds: float
) -> None:
    with chosen("wasm"):
        compiled, x = tg.compile(function), tg.tensor(_random((256, 256)))
        compiled(x).numpy()
        best = float("inf")
        for _ in range(3):
            begin = time.perf_counter()
            compiled(x).numpy()
            best = min(best, time.perf_counter() - begin)
    assert best < seconds


def test_not_positive_definite_and_singular() -> None:
    assert np.isnan(L.cholesky([[1.0, 2.0], [2.0, 1.0]]).numpy()).any()
    assert not np.isfinite(L.inv([[1.0, 1.0], [1.0, 1.0]]).numpy()).any()
    assert float(L.det(tg.zeros((3, 3)))) == 0
    assert L.slogdet(tg.zeros((2, 2))).logabsdet.tolist() == -np.inf
    assert L.cond([[1.0, 0.0], [0.0, 0.0]]).tolist() == np.inf


@pytest.mark.parametrize("function", [L.svdvals, L.eigvalsh, L.det, L.inv, lambda x: L.qr(x).R])
def test_nan_comes_through(function: Callable[[Any], tg.Tensor]) -> None:
    x = np.eye(4, dtype=np.float32)
    x[2, 1] = np.nan
    assert np.isnan(function(tg.tensor(x)).numpy()).any()


def test_only_the_named_triangle_is_read() -> None:
    x = np.float32([[4, 99], [2, 5]])
    np.testing.assert_allclose(L.cholesky(x).numpy(), np.linalg.cholesky(x), rtol=1e-6)
    np.testing.assert_allclose(L.eigvalsh(x).numpy(), np.linalg.eigvalsh(x), rtol=1e-6)
    expected = np.linalg.cholesky(x.T, upper=True)
    np.testing.assert_allclose(L.cholesky(x.T, upper=True).numpy(), expected, rtol=1e-6)


def test_dtypes() -> None:
    assert L.inv([[2, 0], [0, 4]]).dtype is tg.float32
    half = tg.tensor([[2.0, 1.0], [1.0, 3.0]], dtype="float16")
    with chosen("reference"):
        for y in (*L.svd(half), *L.qr(half), L.solve(half, half), L.det(half), L.norm(half)):
            assert y.dtype is tg.float16
        double = tg.tensor([[2.0, 1.0], [1.0, 3.0]], dtype="float64")
        for y in (*L.svd(double), *L.eigh(double), L.expm(double), L.pinv(double)):
            assert y.dtype is tg.float64
        z = tg.complex(double, double)
        assert L.svd(z).S.dtype is tg.float64
        assert L.svd(z).U.dtype is z.dtype


def test_named_results() -> None:
    x = tg.tensor(_random((2, 2)))
    assert L.svd(x)._fields == ("U", "S", "Vh")
    assert L.qr(x)._fields == ("Q", "R")
    assert L.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert L.slogdet(x)._fields == ("sign", "logabsdet")


WIDE, FLAT = np.ones((2, 3), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: L.inv(WIDE), tg.errors.ShapeError, "square"),
        (lambda: L.det(FLAT), tg.errors.ShapeError, "two axes"),
        (lambda: L.cholesky(WIDE), tg.errors.ShapeError, "square"),
        (lambda: L.solve(np.eye(3), np.ones((2, 2))), tg.errors.ShapeError, "3 rows"),
        (lambda: L.solve_triangular(np.eye(3), np.ones(2)), tg.errors.ShapeError, "3 rows"),
        (lambda: L.lstsq(WIDE, FLAT), tg.errors.ShapeError, "2 rows"),
        (lambda: L.qr(WIDE, mode="full"), tg.errors.ArgumentError, "reduced"),
        (lambda: L.pinv(WIDE, rtol=1e-3, rcond=1e-3), tg.errors.ArgumentError, "received both"),
        (lambda: L.matrix_rank(WIDE, 1e-3, rtol=1e-3), tg.errors.ArgumentError, "received both"),
        (lambda: L.matrix_norm(WIDE, ord=3), tg.errors.ArgumentError, "ord"),
        (lambda: L.vector_norm(FLAT, ord="fro"), tg.errors.ArgumentError, "number as ord"),
        (lambda: L.norm(np.ones((2, 2, 2)), 2), tg.errors.ShapeError, "two for matrices"),
        (lambda: L.matrix_power(np.eye(2), 0.5), tg.errors.ArgumentError, "integer"),
        (lambda: L.multi_dot([WIDE]), tg.errors.ArgumentError, "two arrays"),
        (lambda: L.multi_dot([WIDE, WIDE]), tg.errors.ShapeError, "inner sizes"),
        (lambda: L.cross(WIDE[:, :2], WIDE[:, :2]), tg.errors.ShapeError, "3 elements"),
        (lambda: L.gram_schmidt(np.ones((3, 2))), tg.errors.ShapeError, "no more vectors"),
        (lambda: L.band_part(WIDE, 3, 0), tg.errors.ArgumentError, "at most 2"),
        (lambda: L.trace(FLAT), tg.errors.ShapeError, "two axes"),
        (lambda: L.cond(WIDE, 1), tg.errors.ShapeError, "square"),
        (lambda: tg.tensordot(WIDE, WIDE, 1), tg.errors.ShapeError, "equal sizes"),
        (lambda: tg.tensordot(WIDE, WIDE, 3), tg.errors.ShapeError, "from 0 to 2"),
        (lambda: tg.ops.inner(WIDE, np.ones(2)), tg.errors.ShapeError, "equal last sizes"),
        (lambda: tg.ops.vdot(WIDE, FLAT), tg.errors.ShapeError, "as many elements"),
        (lambda: tg.ops.cross(np.ones(4), np.ones(4)), tg.errors.ShapeError, "2 or 3"),
        (lambda: tg.vecdot(WIDE, np.ones(1)), tg.errors.ShapeError, "equal sizes"),
    ],
)
def test_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
