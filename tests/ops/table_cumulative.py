"""The op table: running sums, products and extrema, against NumPy and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

import tabgrad as tg
from tests.ops.comparing import SIZES, VIEWS, Array, Case, integers, random

AXES: tuple[tuple[tuple[int, ...], int | None], ...] = (
    ((1,), 0),
    ((17,), None),
    ((300,), 0),
    ((3, 5), None),
    ((5, 17), 0),
    ((5, 17), 1),
    ((2, 3, 4), 1),
    ((3, 1, 33), 0),
    ((0, 4), 0),
    ((4, 0), 0),
)
FOLDS: dict[str, Any] = {
    "cumsum": np.add,
    "cumprod": np.multiply,
    "cummax": np.maximum,
    "cummin": np.minimum,
}


def accumulated(op: str, axis: int | None, reverse: bool = False) -> Callable[[Array], Array]:
    def oracle(x: Array) -> Array:
        at, line = (0, x.ravel()) if axis is None else (axis, x)
        found = FOLDS[op].accumulate(np.flip(line, at) if reverse else line, at)
        return np.asarray(np.flip(found, at) if reverse else found)

    return oracle


def floats() -> Iterator[Case]:
    for op in FOLDS:
        call = getattr(tg.ops, op)
        pairs = [*AXES, *(((n,), 0) for n in SIZES), *(((n, 3), 0) for n in SIZES)]
        for shape, axis in dict.fromkeys(pairs):
            for view in VIEWS:
                for reverse in (False, True):
                    quick = view == "as given" and (shape, axis) in AXES and not reverse
                    quick |= shape == (5, 17) and view != "as given" and reverse
                    low, high = (0.5, 1.5) if op == "cumprod" else (-3, 3)
                    # A running sum is as accurate as the sum of magnitudes so far.
                    exact = op in ("cummax", "cummin")
                    yield Case(
                        op, f"{list(shape)} axis {axis} reverse {reverse}, {view}",
                        lambda x, call=call, axis=axis, reverse=reverse: call(
                            x, axis, reverse=reverse
                        ),
                        accumulated(op, axis, reverse), (random(shape, 1, low, high),),
                        None if exact else 1 + max(shape) * max(shape[:-1], default=1) / 2,
                        None if exact else lambda x, axis=axis, reverse=reverse, op=op: (
                            accumulated(op, axis, reverse)(np.abs(x))
                        ),
                        view=view, slow=not quick,
                    )  # fmt: skip


def whole() -> Iterator[Case]:
    wide = {"bool": "int32", "int8": "int32", "int16": "int32", "int32": "int32"}
    wide |= {"uint8": "uint32", "uint16": "uint32", "uint32": "uint32"}
    wide |= {"int64": "int64", "uint64": "uint64"}
    for dtype, result in wide.items():
        for op, fold in FOLDS.items():
            own = result if op in ("cumsum", "cumprod") else dtype
            yield Case(
                op, f"{dtype} whole numbers",
                lambda x, op=op: getattr(tg.ops, op)(x, 1),
                lambda x, fold=fold, own=own: np.asarray(
                    fold.accumulate(x.astype(own), 1)
                ).astype(own),
                (integers((3, 9), 2, dtype=dtype),), slow=dtype in ("int16", "uint16", "uint64"),
            )  # fmt: skip


def special() -> Iterator[Case]:
    values = np.float32([[-0.0, -0.0, 1, np.inf, 2], [0.0, -0.0, np.nan, 5, -np.inf]])
    for op in FOLDS:
        yield Case(
            op, "special values", lambda x, op=op: getattr(tg.ops, op)(x, 1),
            accumulated(op, 1), (values,),
        )  # fmt: skip
    zeros = np.float32([-0.0, -0.0])
    yield Case(
        "cumsum", "keeps the sign of zero", lambda x: 1 / tg.ops.cumsum(x),
        lambda x: np.float32([-np.inf, -np.inf]), (zeros,),
    )  # fmt: skip


def standard() -> Iterator[Case]:
    def led(x: Array, fold: Any, axis: int, first: int, dtype: str) -> Array:
        found = fold.accumulate(x, axis, dtype)
        head = np.full([1 if d == axis else n for d, n in enumerate(x.shape)], first, dtype)
        return np.concatenate([head, found], axis)

    for op, fold, first in (("cumulative_sum", np.add, 0), ("cumulative_prod", np.multiply, 1)):
        call = getattr(tg.ops, op)
        for axis in (0, 1):
            yield Case(
                op, f"initial axis {axis}",
                lambda x, call=call, axis=axis: call(x, axis=axis, include_initial=True),
                lambda x, fold=fold, axis=axis, first=first: led(
                    x, fold, axis, first, x.dtype.name
                ),
                (integers((3, 5), 1, -2, 3),),
            )  # fmt: skip
        yield Case(
            op, "one axis needs no axis", lambda x, call=call: call(x, include_initial=True),
            lambda x, fold=fold, first=first: led(x, fold, 0, first, "uint32"),
            (integers((7,), 1, 0, 3, "uint8"),),
        )  # fmt: skip
        yield Case(
            op, "dtype", lambda x, call=call: call(x, dtype="float32"),
            lambda x, fold=fold: fold.accumulate(x.astype("float32")), (integers((6,), 1, 1, 4),),
        )  # fmt: skip
        yield Case(
            op, "complex", lambda x, y, call=call: tg.ops.real(
                call(tg.ops.complex(x, y), axis=1, include_initial=True)
            ),
            lambda x, y, fold=fold, first=first: led(
                x + 1j * y, fold, 1, first, "complex128"
            ).real.astype("float32"),
            (np.float32(integers((2, 4), 1, -2, 3)), np.float32(integers((2, 4), 2, -2, 3))),
        )  # fmt: skip


def with_nans() -> Iterator[Case]:
    values = np.float32([[1, np.nan, 2, 3], [np.nan, 4, np.nan, 1]])
    for axis in (None, 0, 1):
        for op in ("nancumsum", "nancumprod"):
            yield Case(
                op, f"axis {axis}", lambda x, op=op, axis=axis: getattr(tg.ops, op)(x, axis),
                lambda x, op=op, axis=axis: getattr(np, op)(x, axis), (values,),
            )  # fmt: skip
    # Sums that are not exact, which each engine adds in an order of its own.
    broken = random((2, 5), 1)
    broken[0, 2] = np.nan
    yield Case(
        "nancumsum", "what is rounded", tg.ops.nancumsum, np.nancumsum, (broken,),
        1 + broken.size / 2, lambda x: np.nancumsum(np.abs(x)),
    )  # fmt: skip


def logarithms() -> Iterator[Case]:
    for shape, axis in (((1,), 0), ((17,), 0), ((4, 9), 1), ((8, 3), 0)):
        for reverse in (False, True):
            yield Case(
                "logcumsumexp", f"{list(shape)} axis {axis} reverse {reverse}",
                lambda x, axis=axis, reverse=reverse: tg.ops.logcumsumexp(
                    x, axis, reverse=reverse
                ),
                lambda x, axis=axis, reverse=reverse: (
                    np.flip(np.logaddexp.accumulate(np.flip(x, axis), axis), axis)
                    if reverse
                    else np.logaddexp.accumulate(x, axis)
                ),
                (random(shape, 2),), 6, lambda x, axis=axis: 1 + np.abs(x).max(initial=1),
            )  # fmt: skip
    extremes = np.float32([-np.inf, -1e30, 1e30, 3, np.inf, 2])
    yield Case(
        "logcumsumexp", "extremes", tg.ops.logcumsumexp,
        lambda x: np.asarray(jnp.logaddexp.accumulate(jnp.asarray(x))), (extremes,),
    )  # fmt: skip


CASES = [
    case for part in (floats, whole, special, standard, with_nans, logarithms) for case in part()
]
