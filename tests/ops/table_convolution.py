"""The op table: convolutions, against Keras on JAX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import keras_oracle
from tests.ops.comparing import SIZES, VIEWS, Array, Case, random

FIRST = "channels_first"


def _as_first(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def _conv_case(
    op: str, label: str, shapes: Sequence[tuple[int, ...]], *, slow: bool = False, **options: Any
) -> Iterator[Case]:
    inputs = tuple(random(shape, seed) for seed, shape in enumerate(shapes))
    oracle = keras_oracle(op, **options)
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
        lambda x, w: keras_oracle("conv")(np.pad(x, ((0, 0), (2, 0), (0, 0))), w),
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
    for label, padding in (("output padding", "valid"), ("same, output padding", "same")):
        yield from _conv_case(
            "conv_transpose", label, [(1, 4, 4, 2), (3, 3, 3, 2)], strides=2, padding=padding,
            output_padding=1,
        )  # fmt: skip
    yield from _conv_case(
        "conv_transpose", "dilated", [(1, 4, 4, 2), (3, 3, 3, 2)], padding="valid", dilation_rate=2
    )


def other_convolutions() -> Iterator[Case]:
    image, deep, point = random((2, 6, 7, 3)), random((3, 3, 3, 2), 1), random((1, 1, 6, 4), 2)
    scale: dict[str, Any] = {"ulp": 16, "scale": lambda *xs: 60.0}
    for label, options in (
        ("plain", {}),
        ("same", {"padding": "same"}),
        ("strides", {"strides": 2, "padding": "same"}),
        ("dilated", {"dilation_rate": 2, "padding": "same"}),
    ):
        for view in VIEWS:
            yield Case(
                "separable_conv", f"{label} {view}",
                lambda *xs, o=options: tg.ops.separable_conv(*xs, **o),
                keras_oracle("separable_conv", **options), (image, deep, point), view=view,
                slow=view != "as given", **scale,
            )  # fmt: skip
    yield Case(
        "separable_conv", "channels first",
        lambda *xs: tg.ops.separable_conv(*xs, padding="same", data_format=FIRST),
        keras_oracle("separable_conv", padding="same", data_format=FIRST),
        (_as_first(image), deep, point), **scale,
    )  # fmt: skip
    yield Case(
        "separable_conv", "1d", tg.ops.separable_conv, keras_oracle("separable_conv"),
        (random((2, 9, 3)), random((4, 3, 1), 1), random((1, 3, 5), 2)), **scale,
    )  # fmt: skip
    first = {"data_format": FIRST}
    for op, shapes, options in (
        ("conv", [(2, 3, 9), (3, 3, 4)], {"strides": 2, **first}),
        ("conv", [(1, 2, 4, 5, 3), (2, 2, 2, 2, 3)], {"padding": "same", **first}),
        ("conv", [(2, 4, 6, 6), (3, 2, 2, 6)], {"dilation_rate": 2, **first}),
        ("conv", [(1, 6, 7, 5, 4), (2, 3, 2, 2, 4)], {"strides": (1, 2, 1)}),
        ("depthwise_conv", [(2, 4, 6, 7), (3, 3, 4, 2)], {"padding": "same", **first}),
        ("depthwise_conv", [(2, 9, 3), (4, 3, 2)], {"dilation_rate": 2}),
        ("depthwise_conv", [(1, 4, 5, 4, 2), (2, 2, 2, 2, 1)], {}),
        ("conv_transpose", [(2, 3, 5, 4), (3, 3, 2, 3)], {"strides": 2, **first}),
        ("conv_transpose", [(2, 3, 5, 4), (3, 3, 2, 3)], {"padding": "same", **first}),
        ("conv_transpose", [(2, 5, 3), (4, 2, 3)], {"strides": 3}),
        ("conv_transpose", [(1, 3, 2, 4, 2), (2, 3, 2, 3, 2)], {"strides": 2}),
    ):  # fmt: skip
        inputs = tuple(random(shape, i) for i, shape in enumerate(shapes))
        yield Case(
            op, f"{shapes[0]} {sorted(options)}",
            lambda *xs, op=op, o=options: getattr(tg.ops, op)(*xs, **o),
            keras_oracle(op, **options), inputs, 16,
            lambda *xs, op=op, o=options: keras_oracle(op, **o)(*map(np.abs, xs)),
        )  # fmt: skip
    kernel = random((3, 2, 3, 4), 1)
    for label, given, widths in (
        ("one number", 1, ((1, 1), (1, 1))),
        ("pairs", ((2, 0), (0, 3)), ((2, 0), (0, 3))),
    ):
        yield Case(
            "conv", f"padding by {label}", lambda x, w, p=given: tg.ops.conv(x, w, padding=p),
            lambda x, w, p=widths: keras_oracle("conv")(np.pad(x, ((0, 0), *p, (0, 0))), w),
            (image, kernel), 16, lambda *xs: 60.0,
        )  # fmt: skip


CASES = [*convolutions(), *other_convolutions()]
