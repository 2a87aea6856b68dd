"""Arrays that the tests of this folder compute with; not how they are computed (`computing.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def whole_numbers(*shape: int, seed: int = 0, low: int = -8, high: int = 9) -> Array:
    """Small whole numbers as float32: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def any_integers(dtype: str, *shape: int, seed: int = 0) -> Array:
    """Integers of the whole range, the extremes among them."""
    info = np.iinfo(dtype)
    found = np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, True)
    edges = np.array([info.min, info.max, 0, 1, info.max - 1], dtype)
    found.reshape(-1)[: len(edges)] = edges[: found.size]
    return found


def ties_and_nans(*shape: int, seed: int) -> Array:
    """Few different values, so that most extrema are ties; some NaN, some infinite."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(np.float32)
    x[rng.random(shape) < 0.03] = np.nan
    x[rng.random(shape) < 0.02] = np.inf
    x[rng.random(shape) < 0.02] = -np.inf
    return x
