"""Integers that do not fit 32 bits: as indices out of range, as values refused; never others."""

from __future__ import annotations

from collections.abc import Callable

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


@pytest.mark.parametrize(
    "make",
    [tg.tensor, tg.asarray, tg.ops.convert_to_tensor, lambda x: tg.tensor([x]), tg.square],
    ids=["tensor", "asarray", "convert_to_tensor", "list", "square"],
)
def test_python_integers_that_do_not_fit_are_refused(make: Callable[[int], tg.Tensor]) -> None:
    with pytest.raises(TypeError, match=r"fits? int32; received 8589934593"):
        make(2**33 + 1)


def test_they_fit_where_a_dtype_is_given() -> None:
    assert tg.cast(2**63, "uint64").tolist() == 2**63
    assert tg.asarray(-(2**40), dtype="int64").tolist() == -(2**40)
    assert tg.cast(2**40, "float64").tolist() == 2.0**40
    assert tg.cast(2**33 + 1, "int32").tolist() == 1  # a cast wraps, as it does for tensors
