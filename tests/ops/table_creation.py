"""The op table: tensors that are made of nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import made
from tests.ops.comparing import Case, integers, random


def creation() -> Iterator[Case]:
    f32 = np.float32
    yield made("zeros", "", lambda: tg.ops.zeros((2, 3)), np.zeros((2, 3), f32))
    yield made("zeros", "int8", lambda: tg.ops.zeros(3, "int8"), np.zeros(3, np.int8))
    yield made("ones", "", lambda: tg.ops.ones((2, 0)), np.ones((2, 0), f32))
    yield made("ones", "bool", lambda: tg.ops.ones((), "bool"), np.array(True))
    yield made(
        "empty", "shape", lambda: tg.ops.zeros_like(tg.ops.empty((2, 3))), np.zeros((2, 3), f32)
    )
    yield made("full", "float", lambda: tg.ops.full((2, 2), 1.5), np.full((2, 2), 1.5, f32))
    yield made("full", "int", lambda: tg.ops.full((17,), -3), np.full(17, -3, np.int32))
    yield made("full", "nan", lambda: tg.ops.full((5,), float("nan")), np.full(5, np.nan, f32))
    yield made("full", "dtype", lambda: tg.ops.full((3,), 300, "uint8"), np.full(3, 44, np.uint8))
    yield Case(
        "full",
        "of a tensor",
        lambda x: tg.ops.full((2, 3), x),
        lambda x: np.full((2, 3), x),
        (random((3,)),),
    )
    for op, oracle in (("zeros_like", np.zeros_like), ("ones_like", np.ones_like)):
        yield Case(op, "", getattr(tg.ops, op), oracle, (integers((2, 3), dtype="int8"),))
    yield Case(
        "full_like",
        "",
        lambda x: tg.ops.full_like(x, 7),
        lambda x: np.full_like(x, 7),
        (random((2, 3)),),
    )
    for args in ((5,), (2, 7), (0, 10, 3), (5, 0, -2), (5, 5), (3, 1), (0,)):
        yield made(
            "arange", str(args), lambda a=args: tg.ops.arange(*a), np.arange(*args, dtype=np.int32)
        )
    yield made("arange", "floats", lambda: tg.ops.arange(0, 1, 0.25), np.arange(0, 1, 0.25, f32))
    yield made(
        "arange", "dtype", lambda: tg.ops.arange(4, dtype="float32"), np.arange(4, dtype=f32)
    )
    for label, options in {
        "5": {"num": 5}, "1": {"num": 1}, "0": {"num": 0}, "open": {"num": 4, "endpoint": False},
    }.items():  # fmt: skip
        yield Case(
            "linspace",
            label,
            lambda o=options: tg.ops.linspace(-1, 2, **o),
            lambda o=options: np.linspace(-1, 2, **o),
            (),
            2,
            scale=lambda: 2.0,
        )
    yield made("linspace", "ends exactly", lambda: tg.ops.linspace(0.1, 0.7, 11)[-1], f32(0.7))
    for args in ((3,), (2, 4), (4, 2), (4, 4, 1), (4, 3, -2)):
        yield made("eye", str(args), lambda a=args: tg.ops.eye(*a), np.eye(*args, dtype=f32))
        yield made("tri", str(args), lambda a=args: tg.ops.tri(*a), np.tri(*args, dtype=f32))


CASES = list(creation())
