"""Products with few rows: streamed row by row of B, or column by column, in every transposition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad.targets.wasm.contraction import SINGLE_BLOCK
from tabgrad.targets.wasm.fewrows import MOST_ROWS, MOST_STREAMED
from tests.targets.wasm.arrays import normal
from tests.targets.wasm.computing import VARIANTS, Given, compute
from tests.targets.wasm.test_contraction import check_products, dot

ROWS = sorted({1, 2, 3, *(n + d for n in (MOST_ROWS, 8, MOST_STREAMED) for d in (-1, 0, 1))})


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", ROWS)
def test_rows(variant: Any, rows: int) -> None:
    check_products(variant, [(rows, 131, 67), (rows, 512, 9), (rows, 1030, 4)])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("columns", [4, 5, 11, 12, 13, 127, 128, 129, 191, 192, 193])
def test_columns(variant: Any, columns: int) -> None:
    check_products(variant, [(1, columns, 33), (3, columns, 18), (6, columns, 7)])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7, 8, 9, 16, 17])
def test_steps(variant: Any, steps: int) -> None:
    check_products(variant, [(1, 600, steps), (2, 300, steps), (5, 200, steps)])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", [6, 7, 9, 15, 16, 17])
def test_more_steps_than_other_products_take_at_once(variant: Any, rows: int) -> None:
    """Streams add up from 0, so they have to go through all steps in one."""
    check_products(variant, [(rows, 131, SINGLE_BLOCK + d) for d in (-1, 0, 1, 513)])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_has_the_same_bits_alone_and_among_many(variant: Any) -> None:
    """Whatever reads B, a sum is made in the order of k."""
    x, y = normal(40, 129, seed=1), normal(129, 260, seed=2)
    for w in (y, y.T.copy()):
        contract = ((1,), (0 if w is y else 1,))
        results = []
        for rows in (1, 2, 4, 5, 16, 40):
            given = Given()
            node = dot(given(x[:rows]), given(w), contract)
            results.append(compute([node], given.arrays, variant)[0])
        for got in results:
            np.testing.assert_array_equal(got, results[-1][: len(got)])
        np.testing.assert_allclose(results[-1], x.astype(float) @ y, rtol=1e-4, atol=1e-4)
