"""The op table: sums, products, quotients, roots, signs, rounding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import INTEGERS, binary, of_integers, unary
from tests.ops.comparing import Array, Case, integers, pairs, random, special_floats


def _python_floor_divide(x: Array, y: Array) -> Array:
    info = np.iinfo(x.dtype)
    span = 2**info.bits
    x, y = np.broadcast_arrays(x, y)
    exact = [int(a) // int(b) if b else 0 for a, b in zip(x.flat, y.flat, strict=True)]
    wrapped = [(v - int(info.min)) % span + int(info.min) for v in exact]
    return np.array(wrapped, x.dtype).reshape(x.shape)


def _python_mod(x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)
    found = [int(a) % int(b) if b else 0 for a, b in zip(x.flat, y.flat, strict=True)]
    return np.array(found, x.dtype).reshape(x.shape)


def arithmetic() -> Iterator[Case]:
    yield from binary("add", np.add, 0.5)
    yield from binary("subtract", np.subtract, 0.5)
    yield from binary("multiply", np.multiply, 0.5)
    yield from binary("divide", np.divide, 0.5)
    yield from of_integers("add", np.add)
    yield from of_integers("subtract", np.subtract)
    yield from of_integers("multiply", np.multiply)
    yield from of_integers("floor_divide", _python_floor_divide)
    yield from of_integers("mod", _python_mod)
    yield from of_integers("remainder", _python_mod, ("int32",))
    yield from of_integers("absolute", np.abs, ("int32",), count=1)
    yield from binary("true_divide", np.divide, 0.5)
    yield from of_integers("maximum", np.maximum, (*INTEGERS, "bool"))
    yield from of_integers("minimum", np.minimum, (*INTEGERS, "bool"))
    yield from of_integers("negative", np.negative, ("int8", "int16", "int32", "int64"), count=1)
    yield from of_integers("abs", np.abs, (*INTEGERS, "bool"), count=1)
    yield from of_integers("sign", np.sign, ("int8", "int32", "uint8"), count=1)
    yield from of_integers("square", np.square, ("int32", "uint8"), count=1)
    # Quotients well away from whole numbers: there a float's rounding decides nothing.
    x = np.float32([7, -7, 7, -7, 5.5, 1.25, 100.3, -0.5, 1e6])
    y = np.float32([3, 3, -3, -3, 2, 0.5, 7, 1, 7])
    yield Case("floor_divide", "floats", tg.ops.floor_divide, np.floor_divide, (x, y), 0)
    yield Case("mod", "floats", tg.ops.mod, np.mod, (x, y), 1)
    yield Case(
        "mod",
        "special",
        tg.ops.mod,
        np.mod,
        (np.float32([np.nan, 1, 1, np.inf, 0]), np.float32([1, np.nan, 0, 2, 3])),
        1,
    )
    # NumPy's own float32 at the edges; only an infinity divided by zero is left open.
    edges = np.float32([0, -0.0, 1, -1, 2.5, -3, 7, 0.1, 0.3, 1e10, 1e-10, 1e38, 1e-40])
    grid = pairs(np.concatenate([edges, np.float32([np.inf, -np.inf, np.nan])]))
    kept = ~(np.isinf(grid[0]) & (grid[1] == 0))
    for op, oracle in (("floor_divide", np.floor_divide), ("mod", np.mod)):
        yield Case(op, "edges", getattr(tg.ops, op), oracle, (grid[0][kept], grid[1][kept]))
    yield from unary("negative", np.negative, None)
    yield from unary("abs", np.abs, None)
    yield from unary("sign", np.sign, 0)
    yield from unary("square", np.square, 0.5)
    yield from unary("reciprocal", np.reciprocal, 0.5)
    yield from unary("sqrt", np.sqrt, 0.5, low=0)
    yield from unary(
        "rsqrt",
        lambda x: 1 / np.sqrt(x),
        2,
        low=0.1,
        values=special_floats()[special_floats() != 0],
    )
    yield from binary("maximum", np.maximum, None)
    yield from binary("minimum", np.minimum, None)
    for op, function in (("add", np.add), ("multiply", np.multiply), ("maximum", np.maximum)):
        call = getattr(tg.ops, op)
        yield Case(
            op,
            "python scalar right",
            lambda x, call=call: call(x, 2),
            lambda x, function=function: function(x, 2),
            (random((5,)),),
            0.5,
        )
        yield Case(
            op,
            "python scalar left",
            lambda x, call=call: call(2, x),
            lambda x, function=function: function(2, x),
            (integers((5,)),),
        )
    yield Case(
        "divide", "integers", tg.ops.divide, np.divide, (integers((9,)), integers((9,), 1)), 0.5
    )
    yield Case(
        "add",
        "bool",
        tg.ops.add,
        lambda x, y: x.astype(np.int32) + y,
        pairs(np.array([False, True])),
    )
    yield Case("add", "int32 with float32", tg.ops.add, np.add, (integers((5,)), random((5,))), 0.5)
    yield Case(
        "add",
        "uint8 with int8",
        tg.ops.add,
        np.add,
        (integers((5,), dtype="uint8"), integers((5,), dtype="int8")),
    )


def rounding() -> Iterator[Case]:
    halves = np.arange(-9, 10, dtype=np.float32) / 2
    values = np.concatenate([special_floats(), halves, np.float32([8388607.5, -8388607.5])])
    for op, oracle in (
        ("floor", np.floor),
        ("ceil", np.ceil),
        ("trunc", np.trunc),
        ("round", np.rint),
    ):
        yield from unary(op, oracle, None, low=-20, high=20, values=values)
        yield Case(op, "integers", getattr(tg.ops, op), lambda x: x, (integers((5,)),))
    yield Case(
        "round",
        "decimals",
        lambda x: tg.ops.round(x, 2),
        lambda x: np.round(x, 2),
        (np.float32([1.234, -5.678, 0.125, 100.0]),),
        2,
    )
    for decimals, x in (
        (-1, np.float32([15, 25, -35.5, 1234567, 2])),
        (1, np.int32([15, -7])),
        (-1, np.int32([15, 25, -35, 1234567, 2])),
        (-2, np.uint8([50, 150, 249])),
    ):
        yield Case(
            "round",
            f"{decimals} decimals of {x.dtype.name}",
            lambda x, d=decimals: tg.ops.round(x, d),
            lambda x, d=decimals: np.round(x, d),
            (x,),
        )


CASES = [*arithmetic(), *rounding()]
