"""The op table, part 3: creation, movement, indexing, convolution, pooling and loops.

What only moves elements must be exact. Convolutions are compared with Keras on JAX.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import SIZES, VIEWS, Array, Case, integers, random

os.environ.setdefault("KERAS_BACKEND", "jax")


def _keras(name: str, **options: Any) -> Callable[..., Array]:
    """keras.ops by name, on float32 arrays."""

    def oracle(*xs: Array) -> Array:
        import keras

        arrays = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in xs]
        return np.asarray(getattr(keras.ops, name)(*arrays, **options))

    return oracle


def moved(
    op: str,
    label: str,
    call: Callable[..., Any],
    oracle: Callable[..., Any],
    *inputs: Array,
    slow_views: bool = True,
) -> Iterator[Case]:
    """A call that moves elements: exact, from every view."""
    for view in VIEWS:
        yield Case(
            op,
            f"{label} {view}",
            call,
            oracle,
            inputs,
            view=view,
            slow=slow_views and view not in ("as given", "transposed"),
        )


def made(op: str, label: str, call: Callable[[], Any], expected: Any) -> Case:
    return Case(op, label, call, lambda: expected, ())


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


INDICES: tuple[Any, ...] = (
    0, -1, slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2), slice(3, 1),
    slice(-3, None), (slice(None), 1), (Ellipsis, 0), (0, Ellipsis), None, (slice(None), None, 2),
    (slice(1, None), slice(None, None, -2)), (1, 2, 3), (None, Ellipsis, None), (),
    (slice(5, 100), slice(-100, 2)),
)  # fmt: skip


def indexing() -> Iterator[Case]:
    x = random((6, 7, 4))
    for index in INDICES:
        # Subscripts are the operator of `slice` and `take`, so they stand under their names.
        yield from moved(
            "slice", f"x[{index}]", lambda x, i=index: x[i], lambda x, i=index: x[i], x
        )
    for rows in ([0, 2, -1], [[1, 1], [5, 0]]):
        index = np.array(rows, np.int32)
        yield from moved("take", f"x[{rows}]", lambda x, i: x[i], lambda x, i: x[i], x, index)
        for axis in (0, 1, -1, None):
            yield from moved(
                "take",
                f"{rows} axis {axis}",
                lambda x, i, a=axis: tg.ops.take(x, i, a),
                lambda x, i, a=axis: np.take(
                    x, np.where(i < 0, i + (x.size if a is None else x.shape[a]), i), a
                ),
                random((6, 7, 6)),
                index,
            )
    yield from moved(
        "take",
        "x[:, i, j]",
        lambda x, i, j: x[:, i, j],
        lambda x, i, j: x[:, i, j],
        x,
        np.int32([0, 6, 3]),
        np.int32([1, -1, 0]),
    )
    yield from moved(
        "take", "x[i, 1:3]", lambda x, i: x[i, 1:3], lambda x, i: x[i, 1:3], x, np.int32([5, 0])
    )
    yield Case(
        "take",
        "clamps",
        lambda x, i: tg.ops.take(x, i, 0),
        lambda x, i: x[np.clip(i, 0, 5)],
        (x, np.int32([9, 100, 3])),
    )
    yield Case(
        "take",
        "scalar index",
        lambda x, i: tg.ops.take(x, i, 1),
        lambda x, i: x[:, i],
        (x, np.int32(2)),
    )
    for axis in (0, 1, -1):
        index = np.argsort(x, axis=axis).astype(np.int32)
        yield from moved(
            "take_along_axis",
            str(axis),
            lambda x, i, a=axis: tg.ops.take_along_axis(x, i, a),
            lambda x, i, a=axis: np.take_along_axis(x, i, a),
            x,
            index,
        )
    yield from moved(
        "take_along_axis",
        "one of each",
        lambda x, i: tg.ops.take_along_axis(x, i, 1),
        lambda x, i: np.take_along_axis(x, i, 1),
        random((5, 3)),
        integers((5, 1), low=0, high=3),
    )
    yield Case(
        "take_along_axis",
        "flat",
        lambda x, i: tg.ops.take_along_axis(x, i),
        lambda x, i: x.ravel()[i],
        (random((2, 3)), np.int32([5, 0, 5])),
    )
    for starts in ((0, 0, 0), (2, 3, 1), (5, -4, 99)):
        inside = [min(max(s, 0), n - 2) for s, n in zip(starts, x.shape, strict=True)]
        where = tuple(slice(s, s + 2) for s in inside)
        yield from moved(
            "slice",
            f"at {starts}",
            lambda x, s=starts: tg.ops.slice(x, s, (2, 2, 2)),
            lambda x, w=where: x[w],
            x,
        )

        def updated(x: Array, u: Array, w: Any = where) -> Array:
            x = x.copy()
            x[w] = u
            return x

        yield from moved(
            "slice_update",
            f"at {starts}",
            lambda x, u, s=starts: tg.ops.slice_update(x, s, u),
            updated,
            x,
            random((2, 2, 2), 5),
        )
    yield Case(
        "slice",
        "moving start",
        lambda x, s: tg.ops.slice(x, (s, 0, 0), (2, 7, 4)),
        lambda x, s: x[s : s + 2],
        (x, np.int32(3)),
    )
    for op, add in (("scatter_update", False), ("scatter_add", True)):
        for shape, index in (
            ((6, 3), [[0], [2], [2], [5]]),
            ((4, 5), [[0, 1], [3, 4], [0, 1]]),
            ((9,), [[8], [0]]),
        ):
            at = np.array(index, np.int32)
            target = np.float32(integers(shape, 3))
            u = np.float32(integers((len(index), *shape[at.shape[1] :]), 4))

            def scattered(x: Array, at: Array, u: Array, add: bool = add) -> Array:
                x = x.copy()
                for place, row in zip(at, u, strict=True):
                    x[tuple(place)] = x[tuple(place)] + row if add else row
                return x

            yield from moved(op, f"{shape} {index}", getattr(tg.ops, op), scattered, target, at, u)
    for axis in (-1, 0, 1):
        yield from moved(
            "one_hot",
            str(axis),
            lambda x, a=axis: tg.ops.one_hot(x, 4, a),
            lambda x, a=axis: np.moveaxis(np.eye(4, dtype=np.float32)[x], -1, a),
            integers((3, 5), low=0, high=4),
        )
    yield Case(
        "one_hot",
        "out of range",
        lambda x: tg.ops.one_hot(x, 3, dtype="int32"),
        lambda x: (x[:, None] == np.arange(3)).astype(np.int32),
        (np.int32([-1, 3, 1]),),
    )


def _conv_case(
    op: str, label: str, shapes: Sequence[tuple[int, ...]], *, slow: bool = False, **options: Any
) -> Iterator[Case]:
    inputs = tuple(random(shape, seed) for seed, shape in enumerate(shapes))
    oracle = _keras(op, **options)
    for view in VIEWS:
        yield Case(
            op,
            f"{label} {view}",
            lambda *xs, o=options: getattr(tg.ops, op)(*xs, **o),
            oracle,
            inputs,
            8,
            lambda *xs: oracle(*map(np.abs, xs)),
            view=view,
            slow=slow or (view != "as given" and label != "plain"),
        )


def convolutions() -> Iterator[Case]:
    image, kernel = (2, 8, 9, 3), (3, 3, 3, 4)
    for label, options in {
        "plain": {}, "strides": {"strides": 2}, "uneven strides": {"strides": (2, 3)},
        "same": {"padding": "same"}, "same strides": {"padding": "same", "strides": 2},
        "dilated": {"dilation_rate": 2},
        "same dilated": {"padding": "same", "dilation_rate": (2, 1)},
    }.items():  # fmt: skip
        yield from _conv_case("conv", label, [image, kernel], **options)
    first = {"data_format": "channels_first"}
    yield from _conv_case("conv", "channels first", [(2, 3, 8, 9), kernel], **first)
    yield from _conv_case("conv", "groups", [(2, 6, 6, 4), (3, 2, 2, 6)])
    yield from _conv_case("conv", "depthwise", [(2, 6, 6, 4), (3, 3, 1, 4)], padding="same")
    yield from _conv_case("conv", "1d", [(2, 9, 3), (3, 3, 5)], strides=2, padding="same")
    yield from _conv_case("conv", "3d", [(1, 4, 5, 3, 2), (2, 2, 2, 2, 3)])
    yield from _conv_case("conv", "1 by 1", [(2, 4, 5, 3), (1, 1, 3, 17)])
    yield from _conv_case("conv", "digits", [(4, 8, 8, 1), (3, 3, 1, 16)], padding="same")
    for n in SIZES[1:]:
        yield from _conv_case("conv", f"{n} channels", [(1, 5, 5, 3), (2, 2, 3, n)], slow=n > 5)
        yield from _conv_case("conv", f"of {n} channels", [(1, 4, 4, n), (2, 2, n, 3)], slow=True)
        yield from _conv_case("conv", f"width {n}", [(1, 3, n, 2), (3, 1, 2, 3)], slow=True)
    causal_x, causal_w = random((1, 7, 2)), random((3, 2, 2), 1)
    yield Case(
        "conv",
        "causal",
        lambda x, w: tg.ops.conv(x, w, padding="causal"),
        lambda x, w: _keras("conv")(np.pad(x, ((0, 0), (2, 0), (0, 0))), w),
        (causal_x, causal_w),
        8,
        lambda x, w: 8.0,
    )
    for label, options in {
        "plain": {}, "same": {"padding": "same"}, "strides": {"strides": 2},
    }.items():  # fmt: skip
        yield from _conv_case("depthwise_conv", label, [(2, 6, 7, 4), (3, 3, 4, 2)], **options)
    for padding in ("valid", "same"):
        for strides in (1, 2, 3):
            for size in (1, 2, 3, 4):
                yield from _conv_case(
                    "conv_transpose", f"{padding} {strides} {size}",
                    [(1, 4, 5, 2), (size, size, 3, 2)], padding=padding, strides=strides,
                )  # fmt: skip
    yield from _conv_case(
        "conv_transpose",
        "output padding",
        [(1, 4, 4, 2), (3, 3, 3, 2)],
        strides=2,
        padding="valid",
        output_padding=1,
    )
    yield from _conv_case(
        "conv_transpose",
        "same, output padding",
        [(1, 4, 4, 2), (3, 3, 3, 2)],
        strides=2,
        padding="same",
        output_padding=1,
    )
    yield from _conv_case(
        "conv_transpose", "dilated", [(1, 4, 4, 2), (3, 3, 3, 2)], padding="valid", dilation_rate=2
    )


def pooling() -> Iterator[Case]:
    for op, ulp in (("max_pool", None), ("average_pool", 8.0)):
        for label, shape, options in (
            ("2", (2, 8, 8, 3), {"pool_size": 2}), ("rest", (1, 7, 9, 2), {"pool_size": 2}),
            ("3 by 2", (1, 7, 8, 5), {"pool_size": (3, 2)}),
            ("overlap", (1, 7, 8, 2), {"pool_size": 3, "strides": 2}),
            ("strides 1", (1, 5, 6, 3), {"pool_size": 2, "strides": 1}),
            ("same", (2, 7, 5, 3), {"pool_size": 2, "padding": "same"}),
            ("same overlap", (1, 6, 7, 4), {"pool_size": 3, "strides": 2, "padding": "same"}),
            ("gaps", (1, 7, 7, 2), {"pool_size": 1, "strides": 3}),
            ("channels first", (2, 3, 6, 6),
             {"pool_size": 2, "padding": "same", "data_format": "channels_first"}),
            ("1d", (2, 9, 3), {"pool_size": 3}), ("whole", (2, 4, 4, 3), {"pool_size": 4}),
            ("3d", (1, 4, 4, 4, 2), {"pool_size": 2}),
        ):  # fmt: skip
            for view in VIEWS:
                call = lambda x, o=options, op=op: getattr(tg.ops, op)(x, **o)  # noqa: E731
                yield Case(
                    op,
                    f"{label} {view}",
                    call,
                    _keras(op, **{"strides": options["pool_size"]} | options),
                    (random(shape),),
                    ulp,
                    None if ulp is None else lambda x: 3.0,
                    view=view,
                    slow=view != "as given" and label != "rest",
                )
    x = np.float32(integers((1, 4, 4, 1)))
    x[0, 1, 1, 0] = np.nan
    yield Case(
        "max_pool",
        "nan",
        lambda x: tg.ops.max_pool(x, 2),
        lambda x: x.reshape(1, 2, 2, 2, 2, 1).max(axis=(2, 4)),
        (x,),
    )
    yield Case(
        "max_pool",
        "integers",
        lambda x: tg.ops.max_pool(x, 2, padding="same"),
        lambda x: (
            np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-100)
            .reshape(1, 3, 2, 3, 2, 2)
            .max(axis=(2, 4))
        ),
        (integers((1, 5, 5, 2), dtype="int8"),),
    )


def loops() -> Iterator[Case]:
    def decay(c: Any, x: Any) -> tuple[Any, Any]:
        new = c * 0.5 + x
        return new, new * 2

    def numpy_decay(c: Array, xs: Array, reverse: bool = False) -> list[Array]:
        ys = np.zeros_like(xs)
        for i in reversed(range(len(xs))) if reverse else range(len(xs)):
            c = c * np.float32(0.5) + xs[i]
            ys[i] = c * 2
        return [c, ys]

    start, xs = np.float32(integers((3,))), np.float32(integers((5, 3), 1))
    yield from moved(
        "scan", "forward", lambda c, x: tg.ops.scan(decay, c, x), numpy_decay, start, xs
    )
    yield from moved(
        "scan",
        "reverse",
        lambda c, x: tg.ops.scan(decay, c, x, reverse=True),
        lambda c, x: numpy_decay(c, x, True),
        start,
        xs,
    )
    yield Case(
        "scan",
        "captures",
        lambda c, x, w: tg.ops.scan(lambda c, x: (c + x * w, c), c, x),
        lambda c, x, w: [
            c + (x * w).sum(0),
            np.stack([c + (x[:i] * w).sum(0) for i in range(len(x))]),
        ],
        (start, xs, np.float32([1, 2, 4])),
    )
    yield Case(
        "scan",
        "length only",
        lambda c: tg.ops.scan(lambda c, _: (c * 2, c), c, length=4),
        lambda c: [c * 16, np.stack([c, c * 2, c * 4, c * 8])],
        (start,),
    )


CASES = [
    case for part in (creation, movement, indexing, convolutions, pooling, loops) for case in part()
]
