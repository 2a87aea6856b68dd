"""The op table: what only moves elements, which must be exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import moved
from tests.ops.comparing import Case, integers, random


def movement() -> Iterator[Case]:
    x, cube = random((3, 5)), random((2, 3, 4))
    for shape in ((5, 3), (15,), (-1,), (1, 3, -1), (3, 5)):
        yield from moved(
            "reshape",
            str(shape),
            lambda x, s=shape: tg.ops.reshape(x, s),
            lambda x, s=shape: x.reshape(s),
            x,
        )
    yield from moved(
        "reshape", "()", lambda x: tg.ops.reshape(x, ()), lambda x: x.reshape(()), random((1, 1))
    )
    yield from moved("ravel", "", tg.ops.ravel, np.ravel, cube)
    yield from moved("ravel", "empty", tg.ops.ravel, np.ravel, random((0, 3)))
    yield from moved("transpose", "", tg.ops.transpose, np.transpose, cube)
    for axes in ((0, 2, 1), (2, 0, 1), (1, 2, 0), (-1, 0, 1)):
        yield from moved(
            "transpose",
            str(axes),
            lambda x, a=axes: tg.ops.transpose(x, a),
            lambda x, a=axes: np.transpose(x, a),
            cube,
        )
    yield from moved(
        "permute_dims",
        "",
        lambda x: tg.ops.permute_dims(x, (1, 0, 2)),
        lambda x: np.transpose(x, (1, 0, 2)),
        cube,
    )
    yield from moved("transpose", "[33, 17]", tg.ops.transpose, np.transpose, random((33, 17)))
    yield from moved(
        "matrix_transpose", "", tg.ops.matrix_transpose, lambda x: np.swapaxes(x, -1, -2), cube
    )
    yield from moved(
        "swapaxes", "", lambda x: tg.ops.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), cube
    )
    for source, target in ((0, -1), ((0, 1), (2, 0)), (-1, 0)):
        yield from moved(
            "moveaxis",
            f"{source} {target}",
            lambda x, s=source, t=target: tg.ops.moveaxis(x, s, t),
            lambda x, s=source, t=target: np.moveaxis(x, s, t),
            cube,
        )
    for axis in (0, -1, (0, 2), (1, -1)):
        yield from moved(
            "expand_dims",
            str(axis),
            lambda x, a=axis: tg.ops.expand_dims(x, a),
            lambda x, a=axis: np.expand_dims(x, a),
            x,
        )
    yield from moved("squeeze", "", tg.ops.squeeze, np.squeeze, random((1, 3, 1)))
    yield from moved(
        "squeeze",
        "axis",
        lambda x: tg.ops.squeeze(x, 0),
        lambda x: np.squeeze(x, 0),
        random((1, 3, 1)),
    )
    for old, new in (
        ((3, 1), (3, 4)),
        ((), (2, 2)),
        ((4,), (3, 4)),
        ((1,), (0,)),
        ((1, 3), (2, 3)),
    ):
        yield from moved(
            "broadcast_to",
            f"{old} {new}",
            lambda x, s=new: tg.ops.broadcast_to(x, s),
            lambda x, s=new: np.broadcast_to(x, s),
            random(old),
        )
    for axis in (None, 0, 1, (0, 1)):
        yield from moved(
            "flip",
            str(axis),
            lambda x, a=axis: tg.ops.flip(x, a),
            lambda x, a=axis: np.flip(x, a),
            x,
        )
    for op in ("concatenate", "concat"):
        for axis in (0, 1, -1, None):
            yield from moved(
                op,
                str(axis),
                lambda *xs, a=axis, op=op: getattr(tg.ops, op)(xs, a),
                lambda *xs, a=axis: np.concatenate(xs, a),
                random((3, 2, 2)),
                random((3, 2, 2), 1),
            )
    yield from moved(
        "concatenate",
        "uneven",
        lambda *xs: tg.ops.concatenate(xs, 1),
        lambda *xs: np.concatenate(xs, 1),
        random((3, 1)),
        random((3, 0)),
        random((3, 7)),
        random((3, 17)),
    )
    yield Case(
        "concatenate",
        "promotes",
        lambda *xs: tg.ops.concatenate(xs),
        lambda a, c: np.concatenate([a.astype(np.float32), c]),
        (integers((3,)), random((2,))),
    )
    for axis in (0, 1, -1):
        yield from moved(
            "stack",
            str(axis),
            lambda *xs, a=axis: tg.ops.stack(xs, a),
            lambda *xs, a=axis: np.stack(xs, a),
            x,
            random((3, 5), 1),
        )
    many = tuple(random((1 + i % 3, 2), i) for i in range(300))
    yield Case(
        "concatenate",
        "300 parts",
        lambda *xs: tg.ops.concatenate(xs),
        lambda *xs: np.concatenate(xs),
        many,
    )
    for sections, axis in ((3, 0), (5, 1), ([1, 4], 1), ([2, 2], 0), ([4, 2], 1)):
        yield from moved(
            "split",
            f"{sections} {axis}",
            lambda x, s=sections, a=axis: tg.ops.split(x, s, a),
            lambda x, s=sections, a=axis: np.split(x, s, a),
            x,
        )
    for width in (1, (1, 2), ((1, 0), (0, 2)), ((0, 0), (3, 3))):
        yield from moved(
            "pad",
            str(width),
            lambda x, w=width: tg.ops.pad(x, w),
            lambda x, w=width: np.pad(x, w),
            x,
        )
        for mode in ("edge", "reflect", "symmetric"):
            if width != ((0, 0), (3, 3)) or mode != "edge":
                yield from moved(
                    "pad",
                    f"{width} {mode}",
                    lambda x, w=width, m=mode: tg.ops.pad(x, w, m),
                    lambda x, w=width, m=mode: np.pad(x, w, m),
                    x,
                )
    yield from moved(
        "pad",
        "value",
        lambda x: tg.ops.pad(x, 2, constant_values=-1.5),
        lambda x: np.pad(x, 2, constant_values=-1.5),
        x,
    )
    yield from moved(
        "pad",
        "integers",
        lambda x: tg.ops.pad(x, 2, constant_values=7),
        lambda x: np.pad(x, 2, constant_values=7),
        integers((3, 2), dtype="int8"),
    )
    for repeats, axis in ((2, 0), (3, 1), (2, None), (0, 0)):
        yield from moved(
            "repeat",
            f"{repeats} {axis}",
            lambda x, r=repeats, a=axis: tg.ops.repeat(x, r, a),
            lambda x, r=repeats, a=axis: np.repeat(x, r, a),
            x,
        )
    for repeats in (2, (2, 3), (2, 1, 2), (1,)):
        yield from moved(
            "tile",
            str(repeats),
            lambda x, r=repeats: tg.ops.tile(x, r),
            lambda x, r=repeats: np.tile(x, r),
            x,
        )
    for shift, axis in ((1, 0), (-2, 1), (7, None), (5, 1), (13, 0)):
        yield from moved(
            "roll",
            f"{shift} {axis}",
            lambda x, s=shift, a=axis: tg.ops.roll(x, s, a),
            lambda x, s=shift, a=axis: np.roll(x, s, a),
            x,
        )
    for indexing in ("xy", "ij"):
        yield from moved(
            "meshgrid",
            indexing,
            lambda *xs, i=indexing: tg.ops.meshgrid(*xs, indexing=i),
            lambda *xs, i=indexing: np.meshgrid(*xs, indexing=i),
            random((2,)),
            random((3,), 1),
            random((4,), 2),
        )


CASES = list(movement())
