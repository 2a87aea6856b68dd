"""The op table: comparison, logic, choosing one of two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import binary, of_integers, unary
from tests.ops.comparing import Case, integers, pairs, random


def choosing() -> Iterator[Case]:
    comparisons = {
        "equal": np.equal, "not_equal": np.not_equal, "less": np.less,
        "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal,
    }  # fmt: skip
    for op, oracle in comparisons.items():
        yield from binary(op, oracle, None)
        yield from of_integers(op, oracle, ("int8", "int32", "uint32", "bool"))
        yield Case(
            op,
            "bool result in [3, 5]",
            getattr(tg.ops, op),
            oracle,
            (integers((3, 5)), integers((5,), 1)),
        )
    for op, oracle in (("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite)):
        yield from unary(op, oracle, None)
        yield Case(op, "integers", getattr(tg.ops, op), oracle, (integers((5,)),))
    for op, oracle in (
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
        ("logical_xor", np.logical_xor),
    ):
        yield from of_integers(op, oracle, ("bool", "int32"))
        yield Case(
            op,
            "floats",
            getattr(tg.ops, op),
            oracle,
            pairs(np.float32([0, -0.0, 1, np.nan, 1e-45])),
        )
    yield from of_integers("logical_not", np.logical_not, ("bool", "int32"), count=1)
    yield Case(
        "logical_not",
        "floats",
        tg.ops.logical_not,
        np.logical_not,
        (np.float32([0, -0.0, 1, np.nan]),),
    )
    condition = np.array([True, False, True, False, True])
    yield Case(
        "where",
        "floats",
        tg.ops.where,
        np.where,
        (condition, np.float32([1, np.nan, np.inf, 2, -0.0]), random((5,))),
    )
    yield Case(
        "where",
        "broadcast",
        tg.ops.where,
        np.where,
        (np.array([[True], [False]]), random((3,)), random((2, 3), 1)),
    )
    yield Case(
        "where",
        "number as condition",
        tg.ops.where,
        lambda c, x, y: np.where(c != 0, x, y),
        (np.int32([0, 2, -1]), integers((3,)), integers((3,), 1)),
    )
    yield Case(
        "where",
        "python scalar",
        lambda c, x: tg.ops.where(c, x, 0.0),
        lambda c, x: np.where(c, x, np.float32(0)),
        (condition, random((5,))),
    )
    yield from unary(
        "clip", lambda x: np.clip(x, -1, 2), None, call=lambda x: tg.ops.clip(x, -1, 2)
    )
    yield Case(
        "clip",
        "integers",
        lambda x: tg.ops.clip(x, -2, 3),
        lambda x: np.clip(x, -2, 3),
        (integers((9,)),),
    )


CASES = list(choosing())
