"""How properties of functions are tried: on how many inputs, and on which arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings

FEW = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def counting(shape: tuple[int, ...], dtype: str = "int32") -> np.ndarray:
    """An array in which every element says where it is."""
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
