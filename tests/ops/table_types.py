"""The op table: casts, and what only hands its argument on. Those of 64 and 16 bits are in
table_dtypes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import INTEGERS, unary
from tests.ops.comparing import Array, Case, integers, special_floats, special_integers


def _saturated(x: Array, dtype: str) -> Array:
    info = np.iinfo(dtype)
    return np.array(
        [
            0 if v != v else info.max if v > info.max else info.min if v < info.min else int(v)
            for v in x.tolist()
        ],
        dtype,
    )


def casts() -> Iterator[Case]:
    for dtype in INTEGERS:
        call = lambda x, d=dtype: tg.ops.cast(x, d)  # noqa: E731
        yield Case(
            "cast",
            f"float32 to {dtype}",
            call,
            lambda x, d=dtype: _saturated(x, d),
            (special_floats(),),
        )
        yield Case(
            "cast",
            f"{dtype} to float32",
            lambda x: tg.ops.cast(x, "float32"),
            lambda x: x.astype(np.float32),
            (special_integers(dtype),),
        )
        yield Case(
            "cast",
            f"{dtype} to bool",
            lambda x: tg.ops.cast(x, "bool"),
            lambda x: x != 0,
            (special_integers(dtype),),
        )
        for source in (*INTEGERS, "bool"):
            yield Case(
                "cast",
                f"{source} to {dtype}",
                call,
                lambda x, d=dtype: x.astype(d),
                (special_integers(source),),
                slow=source not in ("int32", "bool"),
            )
    yield Case(
        "cast",
        "float32 to bool",
        lambda x: tg.ops.cast(x, "bool"),
        lambda x: x != 0,
        (special_floats(),),
    )
    yield Case(
        "cast",
        "bool to float32",
        lambda x: tg.ops.cast(x, "float32"),
        lambda x: x.astype(np.float32),
        (np.array([True, False] * 9),),
    )
    yield Case(
        "convert_to_tensor",
        "with dtype",
        lambda x: tg.ops.convert_to_tensor(x, "float32"),
        lambda x: x.astype(np.float32),
        (integers((3,)),),
    )
    yield from unary("stop_gradient", lambda x: x, None)


CASES = list(casts())
