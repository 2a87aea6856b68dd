"""`vectorize` beside what its rows in the op table say: against NumPy's, compiled, refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tests.keras_oracle import jax


def scaled(row: Any, by: Any) -> Any:
    return row * by + by * by


ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
FACTORS = np.array([2, -3], np.float32)


def test_gradient_is_that_of_jax() -> None:
    signature = "(n),()->(n)"
    ours = tg.ops.vectorize(scaled, signature=signature)
    theirs = jax.numpy.vectorize(scaled, signature=signature)
    got = tg.grad(lambda x, y: tg.sum(ours(x, y) ** 2), argnums=(0, 1))(
        tg.tensor(ROWS), tg.tensor(FACTORS)
    )
    want = jax.grad(lambda x, y: (theirs(x, y) ** 2).sum(), argnums=(0, 1))(ROWS, FACTORS)
    for mine, other in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(mine), other, rtol=1e-6)


def test_compiled() -> None:
    mapped = tg.ops.vectorize(scaled, signature="(n),()->(n)")
    got = tg.compile(mapped)(tg.tensor(ROWS), tg.tensor(FACTORS))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(mapped(ROWS, FACTORS)))


def test_complex_numbers() -> None:
    x = np.array([1 + 2j, 3 - 1j], np.complex64)
    got = tg.ops.vectorize(lambda z, w: z * w)(tg.tensor(x)[:, None], tg.tensor(x))
    np.testing.assert_allclose(np.asarray(got), x[:, None] * x, rtol=1e-6)


def test_arguments_by_name_are_handed_over() -> None:
    assert tg.ops.vectorize(lambda x, by: x * by)([1, 2], by=3).tolist() == [3, 6]


def test_one_argument_for_all_has_no_axis_inside() -> None:
    seen = []
    tg.ops.vectorize(lambda x, y: seen.append((x.shape, y.shape)) or x)(ROWS, 1.0)
    assert seen == [((), ())]


@pytest.mark.parametrize(
    "signature", ["", "(n)", "n->n", "(n)->", "(n),->(n)", "(n->(n)", "(1+n)->()"]
)
def test_signatures_that_are_none(signature: str) -> None:
    with pytest.raises(ArgumentError, match="signature such as"):
        tg.ops.vectorize(scaled, signature=signature)


def test_what_it_refuses() -> None:
    with pytest.raises(DtypeError, match="expected a function"):
        tg.ops.vectorize(3)
    with pytest.raises(ArgumentError, match="expected 2 arguments"):
        tg.ops.vectorize(scaled, signature="(n),()->(n)")(ROWS)
    with pytest.raises(ShapeError, match="last axes"):
        tg.ops.vectorize(scaled, signature="(n),(n)->(n)")(ROWS, FACTORS)
    with pytest.raises(ShapeError, match="last axes"):
        tg.ops.vectorize(scaled, signature="(n),()->(n)")(1.0, FACTORS)
    with pytest.raises(ShapeError, match="broadcast"):
        tg.ops.vectorize(scaled)(ROWS, FACTORS)
