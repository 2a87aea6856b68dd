"""The op table: exponentials, logarithms, angles, powers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special

import tabgrad as tg
from tests.ops.building import from_integers, layouts, unary
from tests.ops.comparing import Case, integers, pairs, random


def exponentials() -> Iterator[Case]:
    yield from unary("exp", np.exp, 2, low=-20, high=20)
    yield from unary("expm1", np.expm1, 2)
    yield from unary("log", np.log, 2, low=0.01)
    yield from unary("log1p", np.log1p, 2, low=-0.9)
    yield from unary("log2", np.log2, 2, low=0.01)
    yield from unary("log10", np.log10, 2, low=0.01)
    for op, oracle in (("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt), ("tanh", np.tanh)):
        yield from from_integers(op, oracle, 4)
    yield from unary("sin", np.sin, 2)
    yield from unary("cos", np.cos, 2)
    yield from unary("tan", np.tan, 4)
    yield from unary("tanh", np.tanh, 4)
    yield from unary("sigmoid", special.expit, 4)
    yield from unary("erf", special.erf, 2)
    near = np.float32([0.5, 1, 1.5, 2, 3, 0.1, 10, 0.99, 1.01, 100])
    exponents = np.float32([-2, -1, -0.5, 0, 0.5, 1, 2, 3, 7.5])
    grid = tuple(a.ravel() for a in np.meshgrid(near, exponents))
    yield Case("power", "ordinary", tg.ops.power, np.power, grid, 4)
    odd = np.float32([0, -0.0, 1, -1, 2, -2, np.inf, -np.inf, np.nan, 0.5, -0.5])
    yield Case("power", "special", tg.ops.power, np.power, pairs(odd), 4)
    yield from layouts(
        "power", tg.ops.power, np.power, lambda s: [random(s, 1, 0.1, 3), random(s, 2)], ulp=4
    )
    wide = np.float32([1e-30, 1e-5, 0.3, 7, 1e5, 1e30])
    yield Case(
        "power",
        "wide",
        tg.ops.power,
        np.power,
        tuple(a.ravel() for a in np.meshgrid(wide, np.float32([-1.2, 0.01, 1.1]))),
        4,
    )
    for exponent in (-1, 0.5, 1, 2, 3):
        yield Case(
            "power",
            f"to the {exponent}",
            lambda x, e=exponent: tg.ops.power(x, e),
            lambda x, e=exponent: np.power(x, e),
            (random((9,), low=0.1),),
            2,
        )
    yield Case(
        "power",
        "integers",
        tg.ops.power,
        np.power,
        (np.int32([2, 3, -2, 7, 0, 10]), np.int32([10, 4, 5, 0, 0, 3])),
    )
    yield Case(
        "power",
        "integers to a float",
        lambda x: tg.ops.power(x, 2.0),
        lambda x: np.power(x.astype(np.float64), 2),
        (integers((5,)),),
        1,
    )
    yield Case(
        "arctan2",
        "quadrants",
        tg.ops.arctan2,
        np.arctan2,
        pairs(np.float32([0, -0.0, 1, -1, 0.3, -7, np.inf, -np.inf, np.nan])),
        4,
    )
    yield from layouts(
        "arctan2", tg.ops.arctan2, np.arctan2, lambda s: [random(s, 1), random(s, 2)], ulp=4
    )


CASES = list(exponentials())
