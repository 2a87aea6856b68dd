"""Indices that do not fit the 32 bits addresses have: out of range, never another place."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg


@pytest.mark.parametrize(
    ("index", "dtype", "element"),
    [
        (2**32 + 1, "int64", 9),
        (-(2**40), "int64", 0),
        (2**32 - 1, "uint32", 9),
        (2**63 + 5, "uint64", 9),
        (-3, "int64", 7),
        (3, "uint64", 3),
    ],
)
def test_wide_indices_do_not_wrap(index: int, dtype: str, element: int) -> None:
    """Like all indices known at run time only, those beyond the ends read the ends."""
    x = tg.arange(10)
    at = tg.tensor(np.array([index], dtype), dtype=dtype)
    assert x[at].tolist() == [element]
    assert tg.compile(lambda i: tg.take(x, i))(at).tolist() == [element]
