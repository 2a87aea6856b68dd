"""What functions of 32-bit numbers are held to on every target: arguments and what they give."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from tests.sweeping import sweep32

INF, NAN = math.inf, math.nan
TINY = float(np.finfo(np.float32).tiny)

UNARY: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "erf": special.erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
}


def numbers() -> Any:
    """All exponents, and the interesting range of most functions once more, densely."""
    return np.concatenate([sweep32(400), np.linspace(-110, 110, 60000, dtype=np.float32)])


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (88.8, INF), (-104.0, 0.0), (NAN, NAN)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (88.8, INF), (NAN, NAN)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (20.0, 1), (NAN, NAN)],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (200.0, 1), (NAN, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (5.0, 1), (NAN, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
}

EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-45, -1e-45, 1e38, -1e38, 2.5, -2.5,
     16777215.0, 16777216.0, -33554432.0, 1.0000001, 0.9999999, TINY, -TINY, INF, -INF, NAN],
    np.float32,
)  # fmt: skip


def pairs(count: int) -> tuple[Any, Any]:
    """All exponents against shuffled ones, moderate numbers, and every edge with every other."""
    random = np.random.default_rng(11)
    wide = sweep32(count)
    near = random.normal(size=(2, 40000), scale=5).astype(np.float32)
    x, y = np.concatenate([wide, near[0]]), np.concatenate([random.permutation(wide), near[1]])
    edges = np.meshgrid(EDGES, EDGES)
    return np.concatenate([x, edges[0].ravel()]), np.concatenate([y, edges[1].ravel()])


def powers() -> tuple[Any, Any, Any]:
    """Bases, exponents and their powers in float64."""
    random = np.random.default_rng(3)
    x, y = pairs(60)
    # Results in range for bases of every size; and whole exponents for negative bases.
    base = np.abs(sweep32(60))
    exponent = random.uniform(-150, 130, base.shape) / np.log2(base)
    whole = random.integers(-20, 20, 20000)
    x = np.concatenate([x, base, random.normal(size=20000, scale=3)]).astype(np.float32)
    y = np.concatenate([y, exponent, whole]).astype(np.float32)
    return x, y, np.power(x.astype(np.float64), y.astype(np.float64))


def angles() -> tuple[Any, Any, Any]:
    """y, x and atan2(y, x) in float64."""
    y, x = pairs(150)
    return y, x, np.arctan2(y.astype(np.float64), x.astype(np.float64))


def quotients() -> tuple[Any, Any, Any, Any]:
    """Dividends, divisors, the floors of the quotients, and what those leave."""
    x, y = pairs(60)
    floor = np.floor_divide(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    floor[~np.isfinite(x)] = NAN
    return x, y, floor, np.mod(x, y)


def truncated(bits: int, signed: bool) -> tuple[Any, Any]:
    """Numbers and the integers they are cast to: the limits for what is beyond, 0 for NaN."""
    limits = [2.0**k + d for k in (7, 8, 15, 16, 24, 25, 31, 32) for d in (-1, -0.5, 0, 0.5, 1)]
    ends = np.float32([*limits, *np.nextafter(np.float32(limits), np.float32(0))])
    x = np.concatenate([sweep32(200), ends, -ends, np.linspace(-300, 300, 1201, dtype=np.float32)])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    finite = np.nan_to_num(x.astype(np.float64), nan=0, posinf=1e300, neginf=-1e300)
    return x, np.trunc(np.clip(finite, low, high)).astype("int32" if signed else "uint32")


def integer_quotients(dtype: str) -> tuple[Any, Any, Any, Any]:
    """Dividends, divisors, the floors of the quotients, and what those leave: 0 for a divisor 0."""
    random, info = np.random.default_rng(2), np.iinfo(dtype)
    least = -9 if info.min else 0
    wide = random.integers(info.min, info.max, (2, 8000), dtype, endpoint=True)
    small = random.integers(least, 20, (2, 8000)).astype(dtype)
    ends = [0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1]
    ends += [-1, -2, -3, -7] if info.min else []
    edges = np.meshgrid(np.array(ends, dtype), np.array(ends, dtype))
    x = np.concatenate([wide[0], wide[1], small[0], edges[0].ravel()])
    y = np.concatenate([wide[1], small[1], small[1], edges[1].ravel()])
    divisor = np.where(y == 0, np.ones_like(y), y)
    return x, y, np.where(y == 0, 0, x // divisor), np.where(y == 0, 0, x % divisor)


THREEFRY = np.array(
    [
        (0, 0, 0, 0, 0x6B200159, 0x99BA4EFE),
        (*[0xFFFFFFFF] * 4, 0x1CB996FC, 0xBB002BE7),
        (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3, 0xC4923A9C, 0x483DF7A0),
    ],
    np.uint32,
).T
"""Keys, counters and random words: Random123's kat_vectors, https://github.com/DEShawResearch/random123."""
