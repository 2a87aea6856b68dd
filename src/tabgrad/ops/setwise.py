"""Arrays as sets of numbers: union, intersection, difference, each sorted and without repetitions.

How many there are depends on the values, so all of them are for values that exist, except `union1d`
with a size. Distinct elements of one array are in `sets.py`, membership in `order.py`.
"""

from __future__ import annotations

from typing import Any

from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import common
from tabgrad.ops.indexing import getitem
from tabgrad.ops.manipulation import concatenate, ravel
from tabgrad.ops.order import isin
from tabgrad.ops.sets import unique
from tabgrad.tensor import Tensor


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Tensor:
    """What is in one of two arrays, or in both.

    Args:
        ar1: real numbers or bools of any shape.
        ar2: likewise; both are flattened, and their dtypes promoted.
        size: how many to return, for use inside `tg.compile`.
        fill_value: what stands where there are fewer, by default the smallest.

    Example:
        >>> import tabgrad as tg
        >>> tg.union1d([3, 1], [1, 2]).tolist()
        [1, 2, 3]
    """
    one, other = _flat("union1d", ar1, ar2)
    both = unique(concatenate([one, other]), size=size, fill_value=fill_value)
    return both  # type: ignore[no-any-return]


def intersect1d(ar1: Any, ar2: Any) -> Tensor:
    """What is in both of two arrays.

    Args:
        ar1: of any shape.
        ar2: of any shape; both are flattened and promoted.

    Raises:
        CaptureError: inside `tg.compile`, where the number of elements is not known.

    Example:
        >>> import tabgrad as tg
        >>> tg.intersect1d([3, 1, 3], [3, 2]).tolist()
        [3]
    """
    one, other = _flat("intersect1d", ar1, ar2)
    distinct = unique(one)
    return getitem(distinct, isin(distinct, other))


def setdiff1d(ar1: Any, ar2: Any) -> Tensor:
    """What is in the first of two arrays and not in the second.

    Args:
        ar1: of any shape.
        ar2: of any shape; both are flattened and promoted.

    Raises:
        CaptureError: inside `tg.compile`, where the number of elements is not known.

    Example:
        >>> import tabgrad as tg
        >>> tg.setdiff1d([3, 1, 3], [3, 2]).tolist()
        [1]
    """
    one, other = _flat("setdiff1d", ar1, ar2)
    distinct = unique(one)
    return getitem(distinct, e.logical_not(isin(distinct, other)))


def _flat(name: str, *xs: Any) -> list[Tensor]:
    return [ravel(Tensor(node)) for node in common(name, *xs)]
