"""Logarithms of determinants under Keras's names; the elimination is in `linalg`."""

from __future__ import annotations

from typing import Any

from tabgrad.linalg import slogdet
from tabgrad.tensor import Tensor


def logdet(x: Any) -> Tensor:
    """The logarithm of the determinant of positive definite matrices.

    Args:
        x: (..., n, n), float. Of other matrices it is the logarithm of the determinant's magnitude.

    Returns:
        (...): -inf where x is singular.

    Raises:
        ShapeError: matrices that are not square.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.ops.logdet([[2.0, 0.0], [0.0, 0.5]])), 6)
        0.0
    """
    return slogdet(x).logabsdet
