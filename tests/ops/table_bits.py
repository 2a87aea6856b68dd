"""The op table: bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import INTEGERS, of_integers
from tests.ops.comparing import Case, special_floats, special_integers


def bits() -> Iterator[Case]:
    both = (*INTEGERS, "bool")
    yield from of_integers("bitwise_and", np.bitwise_and, both)
    yield from of_integers("bitwise_or", np.bitwise_or, both)
    yield from of_integers("bitwise_xor", np.bitwise_xor, both)
    yield from of_integers("bitwise_invert", np.invert, both, count=1)
    yield from of_integers("bitwise_not", np.invert, ("int32",), count=1)
    for dtype in INTEGERS:
        values, width = special_integers(dtype), np.iinfo(dtype).bits
        x, y = (a.ravel() for a in np.meshgrid(values, [0, 1, 3, width - 1]))
        x, y = x.astype(dtype), y.astype(dtype)
        yield Case("bitwise_left_shift", dtype, tg.ops.bitwise_left_shift, np.left_shift, (x, y))
        yield Case("bitwise_right_shift", dtype, tg.ops.bitwise_right_shift, np.right_shift, (x, y))
    yield Case(
        "bitcast",
        "float32 to int32",
        lambda x: tg.ops.bitcast(x, "int32"),
        lambda x: x.view(np.int32),
        (special_floats()[:-1],),
    )
    yield Case(
        "bitcast",
        "uint32 to float32",
        lambda x: tg.ops.bitcast(x, "float32"),
        lambda x: x.view(np.float32),
        (np.uint32([0, 0x3F800000, 0x80000000]),),
    )


CASES = list(bits())
