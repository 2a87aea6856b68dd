"""The op table, linear algebra: decompositions of every shape, norms, inverses.

Results that are determined (singular values, LAPACK's QR, factors) are compared with NumPy and
SciPy. Vectors that are determined up to a sign are put together again. Errors are counted in units
of the last place of the largest value, times what the condition of the problem allows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg

import tabgrad as tg
from tests.ops.comparing import Array, Case, flatten, integers, random

L = tg.linalg
SHAPES = ((1, 1), (2, 2), (3, 3), (5, 3), (3, 5), (2, 4, 4), (0, 0), (3, 0), (0, 3), (2, 0, 3, 3))
SQUARE = ((1, 1), (2, 2), (3, 3), (2, 4, 4), (17, 17), (0, 0), (2, 0, 3, 3))


def _largest(*xs: Array) -> Array:
    return np.asarray(max((float(np.abs(x).max()) for x in xs if x.size), default=1.0))


def close(
    op: str,
    label: str,
    oracle: Callable[..., Any],
    *inputs: Array,
    call: Callable[..., Any] | None = None,
    ulp: float = 8,
    allowance: float | None = None,
    slow: bool = False,
    dtype: str = "float32",
) -> Case:
    """A row whose results are as accurate as `ulp` units of the largest element of each, at least
    of `allowance`."""
    name = op.removeprefix("linalg.")

    def scale(*xs: Array) -> list[Array]:
        return [
            np.maximum(_largest(np.asarray(y)), 0.0 if allowance is None else allowance)
            for y in flatten(oracle(*xs))
        ]

    return Case(op, f"{label} {[list(x.shape) for x in inputs]}", call or getattr(L, name), oracle,
                inputs, ulp=ulp, scale=scale, slow=slow, dtype=dtype)  # fmt: skip


def of_complex(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call on one complex matrix made of two real ones, its results taken apart again."""

    def on_parts(re: tg.Tensor, im: tg.Tensor, *rest: Any) -> list[tg.Tensor]:
        found = flatten(call(tg.complex(re, im), *rest))
        return [part for y in found for part in (tg.real(y), tg.imag(y))]

    return on_parts


def complex_oracle(oracle: Callable[..., Any]) -> Callable[..., Any]:
    def on_parts(re: Array, im: Array, *rest: Any) -> list[Array]:
        found = flatten(oracle(re + 1j * im, *rest))
        return [part for y in found for part in (np.real(y), np.imag(y))]

    return on_parts


def positive(shape: tuple[int, ...], seed: int = 0) -> Array:
    a = random(shape, seed)
    return a @ a.swapaxes(-1, -2) + np.float32(shape[-1]) * np.eye(shape[-1], dtype=np.float32)


def regular(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Random matrices, moderately well conditioned."""
    return random(shape, seed) + np.float32(4) * np.eye(shape[-1], dtype=np.float32)


def rank_one(m: int, n: int) -> Array:
    return np.outer(np.arange(1, m + 1), np.ones(n)).astype(np.float32)


STRANGE = {
    "zero": np.zeros((4, 3), np.float32),
    "ones": np.ones((3, 4), np.float32),
    "identity": np.eye(5, dtype=np.float32),
    "rank one": rank_one(9, 7),
    "huge": random((3, 3), 1) * np.float32(1e30),
    "tiny": random((4, 3), 2) * np.float32(1e-30),
    "graded": np.diag(np.float32([1e-9, 1, 0, 1e-3, 1e3])),
    "equal": (np.eye(4) * 2 + np.float32([[0, 1e-7, 0, 0]])).astype(np.float32),
}


def _lower(x: Array) -> Array:
    return np.tril(x) + np.tril(x, -1).swapaxes(-1, -2)


def triangular() -> Iterator[Case]:
    for shape in SQUARE:
        yield close("linalg.cholesky", "", np.linalg.cholesky, positive(shape))
    yield close("linalg.cholesky", "upper", lambda x: np.linalg.cholesky(x, upper=True),
                positive((3, 3)), call=lambda x: L.cholesky(x, upper=True))  # fmt: skip
    yield close("linalg.cholesky", "complex",
                complex_oracle(lambda x: np.linalg.cholesky(_hermitian(x))),
                random((3, 3)), random((3, 3), 1),
                call=of_complex(lambda x: L.cholesky(_hermitian(x))), ulp=30)  # fmt: skip
    yield close("linalg.cholesky_inverse", "",
                lambda x: np.linalg.inv(np.tril(x) @ np.tril(x).conj().T),
                np.tril(regular((4, 4))), ulp=30)  # fmt: skip
    yield close("linalg.cholesky_inverse", "upper",
                lambda x: np.linalg.inv(np.triu(x).conj().T @ np.triu(x)), np.triu(regular((4, 4))),
                call=lambda x: L.cholesky_inverse(x, upper=True), ulp=30)  # fmt: skip
    for lower in (True, False):
        for trans in (0, 1):
            options = {"lower": lower, "trans": trans, "unit_diagonal": trans == 1}
            yield close(
                "linalg.solve_triangular", str(options),
                lambda a, b, o=options: scipy.linalg.solve_triangular(a, b, **o),
                regular((5, 5)), random((5, 3), 1),
                call=lambda a, b, o=options: L.solve_triangular(a, b, **o), ulp=60,
            )  # fmt: skip
    yield close("linalg.solve_triangular", "vector", lambda a, b: np.linalg.solve(np.triu(a), b),
                regular((4, 4)), random((4,)), ulp=60)  # fmt: skip
    yield close("linalg.solve_triangular", "broadcast",
                lambda a, b: np.linalg.solve(np.triu(a), b), regular((2, 1, 3, 3)),
                random((3, 3, 2)), ulp=60)  # fmt: skip


def _hermitian(x: Any) -> Any:
    """x xᴴ + 1, for NumPy and for tensors."""
    if isinstance(x, tg.Tensor):
        return tg.matmul(x, tg.conj(tg.matrix_transpose(x))) + tg.ops.eye(x.shape[-1])
    return x @ x.conj().swapaxes(-1, -2) + np.eye(x.shape[-1])


def elimination() -> Iterator[Case]:
    for shape in SHAPES:
        # For empty matrices SciPy returns factors whose product has another shape.
        if np.prod(shape):
            yield close("linalg.lu", "", scipy.linalg.lu, random(shape), ulp=20)
    empty = [np.eye(3), np.zeros((3, 0)), np.zeros((0, 0))]
    yield close("linalg.lu", "empty", lambda x: empty, random((3, 0)))
    for shape in ((3, 3), (5, 3), (3, 5), (1, 1)):
        yield close("linalg.lu_factor", "", lambda x: _lu_factor(x)[0], random(shape), ulp=20,
                    call=lambda x: L.lu_factor(x)[0])  # fmt: skip
        yield Case("linalg.lu_factor", f"pivots {shape}", lambda x: L.lu_factor(x)[1],
                   lambda x: _lu_factor(x)[1].astype(np.int32), (random(shape),))  # fmt: skip
    yield close("linalg.lu", "singular", scipy.linalg.lu, rank_one(4, 4))
    for shape in SQUARE:
        yield close("linalg.inv", "", np.linalg.inv, regular(shape), ulp=60)
        yield close("linalg.det", "", np.linalg.det, regular(shape), ulp=60)
        yield close("linalg.slogdet", "", lambda x: list(np.linalg.slogdet(x)), regular(shape),
                    ulp=60)  # fmt: skip
    yield close("linalg.det", "singular", lambda x: np.zeros(()), rank_one(3, 3))
    singular = np.zeros((2, 3, 3), np.float32)
    yield Case("linalg.slogdet", "singular", L.slogdet, lambda x: list(np.linalg.slogdet(x)),
               (singular,))  # fmt: skip
    for op in ("det", "inv", "slogdet"):
        oracle = getattr(np.linalg, op)
        yield close(f"linalg.{op}", "complex",
                    complex_oracle(lambda x, f=oracle: list(flatten(f(x)))), regular((2, 3, 3)),
                    random((2, 3, 3), 5), call=of_complex(getattr(L, op)), ulp=60,
                    allowance=1.0)  # fmt: skip
    for left, right in (
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 1, 4, 4), (3, 4, 2)),
        ((17, 17), (17, 1)),
        ((0, 0), (0, 2)),
        ((3, 3), (3, 0)),
    ):
        yield close("linalg.solve", "", np.linalg.solve, regular(left), random(right, 1), ulp=60)
    yield close("linalg.solve", "complex",
                complex_oracle(lambda a, b: np.linalg.solve(a, b)), regular((3, 3)),
                random((3, 3), 1), random((3, 2), 2), call=of_complex(L.solve), ulp=60)  # fmt: skip
    pivots = np.float32([[0, 1, 2], [3, 0, 1], [1e-20, 5, 0]])
    yield close("linalg.solve", "zero on the diagonal", np.linalg.solve, pivots, random((3, 2)))


def _lu_factor(x: Array) -> Any:
    return scipy.linalg.lu_factor(x)


def orthogonal() -> Iterator[Case]:
    for shape in (*SHAPES, (40, 20), (20, 40)):
        for mode in ("reduced", "complete"):
            # The columns that complete the basis are any; NumPy's follow the same reflections.
            yield close("linalg.qr", mode, lambda x, m=mode: list(np.linalg.qr(x, m)),
                        random(shape), call=lambda x, m=mode: L.qr(x, m), ulp=30)  # fmt: skip
    for name, x in STRANGE.items():
        # Columns of Q that belong to no column of x are any.
        yield close("linalg.qr", name, lambda x: [x, _eyes(x, min(x.shape))], x,
                    call=_together_qr, ulp=30)  # fmt: skip
    yield close("linalg.qr", "complex", complex_oracle(lambda x: list(np.linalg.qr(x))),
                random((4, 3)), random((4, 3), 1), call=of_complex(L.qr), ulp=30)  # fmt: skip
    yield close("linalg.gram_schmidt", "", _gram_schmidt, random((3, 5)), ulp=30)
    yield close("linalg.gram_schmidt", "list", lambda x: list(_gram_schmidt(x)), random((3, 4)),
                call=lambda x: L.gram_schmidt([x[0], x[1], x[2]]), ulp=30)  # fmt: skip


def _together_qr(x: tg.Tensor) -> list[tg.Tensor]:
    q, r = L.qr(x)
    return [tg.matmul(q, r), tg.matmul(tg.matrix_transpose(q), q)]


def _gram_schmidt(x: Array) -> Array:
    q, r = np.linalg.qr(x.T)
    return (q * np.sign(np.diagonal(r))).T


def _together_eigh(x: tg.Tensor) -> list[tg.Tensor]:
    w, v = L.eigh(x)
    vh = tg.conj(tg.matrix_transpose(v))
    return [w, tg.matmul(v * tg.expand_dims(w, -2), vh), tg.matmul(vh, v)]


def _apart_eigh(x: Array) -> list[Array]:
    return [np.linalg.eigvalsh(x), _lower_hermitian(x), _eyes(x, x.shape[-1])]


def _lower_hermitian(x: Array) -> Array:
    return np.tril(x) + np.tril(x, -1).conj().swapaxes(-1, -2)


def _eyes(x: Array, n: int) -> Array:
    return np.broadcast_to(np.eye(n, dtype=x.dtype), (*x.shape[:-2], n, n))


def spectral() -> Iterator[Case]:
    for shape in (*SQUARE, (64, 64)):
        yield close("linalg.eigh", "", _apart_eigh, random(shape), call=_together_eigh, ulp=30)
        yield close("linalg.eigvalsh", "", np.linalg.eigvalsh, random(shape), ulp=30)
    for name, x in STRANGE.items():
        n = min(x.shape)
        yield close("linalg.eigh", name, _apart_eigh, _lower(x[:n, :n]), call=_together_eigh,
                    ulp=30)  # fmt: skip
    yield close("linalg.eigh", "complex",
                complex_oracle(lambda x: _apart_eigh(_hermitian(x))), random((2, 5, 5)),
                random((2, 5, 5), 1), call=of_complex(lambda x: _together_eigh(_hermitian(x))),
                ulp=60, allowance=1.0)  # fmt: skip


def _residuals(x: tg.Tensor) -> list[tg.Tensor]:
    """What the eigenvectors leave of x V - V diag(w), and their lengths; how far the sum of the
    eigenvalues is from the trace."""
    w, v = L.eig(x)
    left = tg.matmul(x, v) - v * tg.expand_dims(w, -2)
    length = tg.sum(tg.square(tg.abs(v)), -2)
    return [tg.abs(left), length, tg.abs(tg.sum(w, -1) - L.trace(x))]


def _no_residuals(x: Array) -> list[Array]:
    lead, n = x.shape[:-2], x.shape[-1]
    return [np.zeros(x.shape), np.ones((*lead, n)), np.zeros(lead)]


def general() -> Iterator[Case]:
    for shape in (*SQUARE, (40, 40)):
        yield close("linalg.eig", "", _no_residuals, random(shape), call=_residuals, ulp=60,
                    allowance=float(3 * max(shape[-1], 1) ** 0.5))  # fmt: skip
    for name, x in STRANGE.items():
        n = min(x.shape)
        yield close("linalg.eig", name, _no_residuals, x[:n, :n], call=_residuals, ulp=30,
                    allowance=float(max(np.abs(x).max(), 1)))  # fmt: skip
    jordan = np.eye(4, k=1, dtype=np.float32)
    yield close("linalg.eig", "defective", _no_residuals, jordan, call=_residuals,
                allowance=1.0)  # fmt: skip
    yield close("linalg.eig", "cyclic", _no_residuals, np.roll(np.eye(6, dtype=np.float32), 1, 0),
                call=_residuals, ulp=30, allowance=1.0)  # fmt: skip
    yield close("linalg.eig", "complex", lambda x, y: _no_residuals(x + 1j * y), random((2, 5, 5)),
                random((2, 5, 5), 1), call=lambda x, y: _residuals(tg.complex(x, y)), ulp=60,
                allowance=9.0)  # fmt: skip
    # Those of a real matrix come in pairs, in no order: their magnitudes are compared.
    yield close("linalg.eigvals", "", lambda x: np.sort(np.abs(np.linalg.eigvals(x)), -1),
                random((2, 5, 5)), call=lambda x: tg.ops.sort(tg.abs(L.eigvals(x))),
                ulp=200)  # fmt: skip


def _together_svd(full: bool) -> Callable[[tg.Tensor], list[tg.Tensor]]:
    def call(x: tg.Tensor) -> list[tg.Tensor]:
        u, s, vh = L.svd(x, full_matrices=full)
        k = s.shape[-1]
        product = tg.matmul(u[..., :k] * tg.expand_dims(s, -2), vh[..., :k, :])
        uh, v = tg.conj(tg.matrix_transpose(u)), tg.conj(tg.matrix_transpose(vh))
        return [s, product, tg.matmul(uh, u), tg.matmul(vh, v)]

    return call


def _apart_svd(full: bool) -> Callable[[Array], list[Array]]:
    def oracle(x: Array) -> list[Array]:
        m, n = x.shape[-2:]
        k = min(m, n)
        left, right = (m, n) if full else (k, k)
        s = np.linalg.svd(x, compute_uv=False)
        return [s, x, _eyes(x, left), _eyes(x, right)]

    return oracle


def singular() -> Iterator[Case]:
    for full in (True, False):
        for shape in (*SHAPES, (40, 20), (20, 40)):
            yield close("linalg.svd", f"full {full}", _apart_svd(full), random(shape),
                        call=_together_svd(full), ulp=30)  # fmt: skip
        for name, x in STRANGE.items():
            yield close("linalg.svd", f"full {full} {name}", _apart_svd(full), x,
                        call=_together_svd(full), ulp=30)  # fmt: skip
        yield close("linalg.svd", f"full {full} complex", complex_oracle(_apart_svd(full)),
                    random((5, 3)), random((5, 3), 1), call=of_complex(_together_svd(full)),
                    ulp=30, allowance=1.0)  # fmt: skip
    yield close("linalg.svd", "values", lambda x: np.linalg.svd(x, compute_uv=False),
                random((4, 3)), call=lambda x: L.svd(x, compute_uv=False), ulp=30)  # fmt: skip
    for shape in (*SHAPES, (64, 64)):
        yield close("linalg.svdvals", "", lambda x: np.linalg.svd(x, compute_uv=False),
                    random(shape), ulp=30)  # fmt: skip
    for shape in ((3, 3), (5, 3), (3, 5), (2, 4, 4), (1, 1)):
        yield close("linalg.pinv", "", np.linalg.pinv, random(shape), ulp=200)
    tolerance = 5e-7
    for name in ("zero", "ones", "rank one"):
        yield close("linalg.pinv", name, lambda x: np.linalg.pinv(x, rcond=1e-5), STRANGE[name],
                    ulp=60)  # fmt: skip
    yield close("linalg.pinv", "rtol", lambda x: np.linalg.pinv(x, rcond=0.3), random((4, 4)),
                call=lambda x: L.pinv(x, rtol=0.3), ulp=60)  # fmt: skip
    yield close("linalg.pinv", "complex", complex_oracle(np.linalg.pinv), random((4, 3)),
                random((4, 3), 1), call=of_complex(L.pinv), ulp=60)  # fmt: skip
    for left, right in (((5, 3), (5,)), ((5, 3), (5, 2)), ((3, 5), (3, 2)), ((4, 4), (4,))):
        yield close("linalg.lstsq", "", lambda a, b: np.linalg.lstsq(a, b)[0], random(left),
                    random(right, 1), ulp=200)  # fmt: skip
    yield close("linalg.lstsq", "rank one", lambda a, b: np.linalg.lstsq(a, b, 1e-5)[0],
                rank_one(6, 4), random((6,)), ulp=60)  # fmt: skip
    for name, x in (*STRANGE.items(), ("random", random((2, 5, 3)))):
        yield Case("linalg.matrix_rank", name, L.matrix_rank,
                   lambda x: np.asarray(np.linalg.matrix_rank(x), np.int32), (x,))  # fmt: skip
    yield Case("linalg.matrix_rank", "tol", lambda x: L.matrix_rank(x, 2.0),
               lambda x: np.asarray(np.linalg.matrix_rank(x, 2.0), np.int32),
               (random((2, 4, 4)),))  # fmt: skip
    yield Case("linalg.matrix_rank", "rtol", lambda x: L.matrix_rank(x, rtol=tolerance * 1e6),
               lambda x: np.asarray(np.linalg.matrix_rank(x, rtol=0.5), np.int32),
               (random((2, 4, 4)),))  # fmt: skip
    for p in (None, 2, -2, 1, np.inf, "fro"):
        # A condition number's own condition is that number (Higham, Accuracy and Stability of
        # Numerical Algorithms, 2002, section 15.1).
        oracle = partial(np.linalg.cond, p=p)
        yield Case("linalg.cond", f"{p} [[3, 3]]", lambda x, p=p: L.cond(x, p), oracle,
                   (regular((3, 3)),), ulp=60,
                   scale=lambda x, f=oracle: f(x) * np.maximum(np.linalg.cond(x) / 5, 1)
                   )  # fmt: skip


def norms() -> Iterator[Case]:
    for ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        for keepdims in (False, True):
            options = {"ord": ord, "keepdims": keepdims}
            yield close("linalg.matrix_norm", str(options),
                        lambda x, o=options: np.linalg.matrix_norm(x, **o), random((2, 3, 4)),
                        call=lambda x, o=options: L.matrix_norm(x, **o), ulp=20)  # fmt: skip
        yield close("linalg.matrix_norm", f"complex {ord}",
                    lambda x, y, o=ord: np.linalg.matrix_norm(x + 1j * y, ord=o), random((3, 4)),
                    random((3, 4), 1),
                    call=lambda x, y, o=ord: L.matrix_norm(tg.complex(x, y), ord=o),
                    ulp=20)  # fmt: skip
        yield close("linalg.norm", f"matrix {ord}",
                    lambda x, o=ord: np.linalg.norm(x, o, (2, 0), True), random((3, 2, 4)),
                    call=lambda x, o=ord: L.norm(x, o, (2, 0), True), ulp=20)  # fmt: skip
    for ord in (2, 1, 0, 3, -1, -2, 0.5, np.inf, -np.inf):
        for axis in (None, 1, (0, 2)):
            yield close("linalg.vector_norm", f"{ord} {axis}",
                        lambda x, o=ord, a=axis: np.linalg.vector_norm(x, axis=a, ord=o),
                        random((2, 3, 4)),
                        call=lambda x, o=ord, a=axis: L.vector_norm(x, a, False, o),
                        ulp=20)  # fmt: skip
    yield close("linalg.vector_norm", "complex",
                lambda x, y: np.linalg.vector_norm(x + 1j * y, axis=0), random((3, 4)),
                random((3, 4), 1), call=lambda x, y: L.vector_norm(tg.complex(x, y), 0),
                ulp=8)  # fmt: skip
    yield close("linalg.vector_norm", "empty", np.linalg.vector_norm, random((0,)))
    yield close("linalg.norm", "all", np.linalg.norm, random((2, 3, 4)))
    yield close("linalg.norm", "axis", lambda x: np.linalg.norm(x, 3, 1, True), random((2, 3, 4)),
                call=lambda x: L.norm(x, 3, 1, True))  # fmt: skip
    yield close("linalg.norm", "ord of a matrix", lambda x: np.linalg.norm(x, 1), random((3, 4)),
                call=lambda x: L.norm(x, 1))  # fmt: skip


def functions() -> Iterator[Case]:
    for n in (-3, -1, 0, 1, 2, 3, 7):
        yield close("linalg.matrix_power", str(n), lambda x, n=n: np.linalg.matrix_power(x, n),
                    regular((2, 3, 3)), call=lambda x, n=n: L.matrix_power(x, n),
                    ulp=200)  # fmt: skip
    for size in (0.01, 1, 10, 100):
        x = random((2, 4, 4)) * np.float32(size)
        x = x - x.swapaxes(-1, -2) if size > 1 else x
        yield close("linalg.expm", str(size), scipy.linalg.expm, x, ulp=20 * max(size, 1))
    yield close("linalg.expm", "one", scipy.linalg.expm, random((1, 1)))
    yield close("linalg.expm", "complex", complex_oracle(scipy.linalg.expm), random((3, 3)),
                random((3, 3), 1), call=of_complex(L.expm), ulp=60)  # fmt: skip
    yield close("linalg.multi_dot", "", lambda *xs: np.linalg.multi_dot(xs), random((4,)),
                random((4, 9), 1), random((9, 2), 2), random((2, 5), 3),
                call=lambda *xs: L.multi_dot(xs), ulp=20)  # fmt: skip


def products() -> Iterator[Case]:
    """The functions that are those of the main namespace, and the standard's own cross."""
    for op, shapes in (
        ("matmul", ((3, 4), (4, 2))),
        ("outer", ((3,), (4,))),
        ("tensordot", ((2, 3, 4), (3, 4, 5))),
        ("vecdot", ((2, 3), (3,))),
    ):
        inputs = tuple(integers(shape, seed) for seed, shape in enumerate(shapes))
        yield Case(f"linalg.{op}", "", getattr(L, op), getattr(np, op), inputs)
    for axis, left, right in ((-1, (4, 3), (3,)), (-2, (3, 2), (3, 1))):
        yield Case("linalg.cross", str(axis), lambda x, y, a=axis: L.cross(x, y, axis=a),
                   lambda x, y, a=axis: np.linalg.cross(*np.broadcast_arrays(x, y), axis=a),
                   (integers(left), integers(right, 1)))  # fmt: skip


def views() -> Iterator[Case]:
    for offset in (0, 1, -2, 7, -7):
        for shape in ((3, 4), (2, 4, 3), (0, 3), (3, 0)):
            yield Case("linalg.diagonal", f"{offset} {shape}",
                       lambda x, k=offset: L.diagonal(x, offset=k),
                       lambda x, k=offset: np.linalg.diagonal(x, offset=k),
                       (integers(shape),))  # fmt: skip
        yield Case("linalg.trace", f"{offset}", lambda x, k=offset: L.trace(x, offset=k),
                   lambda x, k=offset: np.linalg.trace(x, offset=k, dtype=np.int32),
                   (integers((2, 3, 4)),))  # fmt: skip
    yield Case("linalg.trace", "dtype", lambda x: L.trace(x, dtype="float32"),
               lambda x: np.linalg.trace(x, dtype=np.float32), (integers((2, 3, 4)),))  # fmt: skip
    for low, high in ((0, 0), (1, 0), (-1, 1), (2, -1), (-1, -1)):
        yield Case("linalg.band_part", f"{low} {high}",
                   lambda x, a=low, c=high: L.band_part(x, a, c),
                   lambda x, a=low, c=high: np.triu(np.tril(x, c if c >= 0 else 9),
                                                    -a if a >= 0 else -9),
                   (integers((2, 4, 3)),))  # fmt: skip
    yield Case("linalg.matrix_transpose", "", L.matrix_transpose, np.matrix_transpose,
               (integers((2, 4, 3)),))  # fmt: skip


def doubles() -> Iterator[Case]:
    """float64, to its own precision."""
    x, y = (random((4, 4), seed).astype(np.float64) / 3 for seed in (1, 2))
    x = x + 2 * np.eye(4)
    for op, oracle, inputs in (
        ("cholesky", lambda a: np.linalg.cholesky(a), (x @ x.T,)),
        ("solve", np.linalg.solve, (x, y)),
        ("inv", np.linalg.inv, (x,)),
        ("det", np.linalg.det, (x,)),
        ("qr", lambda a: list(np.linalg.qr(a)), (x,)),
        ("lu", scipy.linalg.lu, (x,)),
        ("svdvals", lambda a: np.linalg.svd(a, compute_uv=False), (x,)),
        ("eigvalsh", np.linalg.eigvalsh, (x + x.T,)),
        ("pinv", np.linalg.pinv, (x[:, :3],)),
        ("expm", scipy.linalg.expm, (x,)),
        ("norm", np.linalg.norm, (x,)),
    ):
        yield close(f"linalg.{op}", "float64", oracle, *inputs, ulp=60, dtype="float64")


PARTS = (
    triangular,
    elimination,
    orthogonal,
    spectral,
    general,
    singular,
    norms,
    functions,
    products,
    views,
    doubles,
)
CASES = [case for part in PARTS for case in part()]
# keras.ops has these names without `linalg`, too; the function is the same.
KERAS = (
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "lstsq", "lu_factor",
    "matrix_rank", "norm", "pinv", "qr", "solve", "solve_triangular", "svd",
)  # fmt: skip
CASES += [
    dataclasses.replace(next(case for case in CASES if case.op == f"linalg.{name}"), op=name)
    for name in KERAS
    if getattr(tg.ops, name, None) is getattr(L, name)
]
