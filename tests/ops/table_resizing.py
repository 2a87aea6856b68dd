"""The op table: resizing, scaling and cropping of images.

Oracles: keras.ops.image on JAX; for TensorFlow's and TensorFlow.js's functions their definitions
(API documentation of `tf.image`; the CPU kernels of TensorFlow.js) as NumPy loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import keras_oracle
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.imaging import keras_near, keras_same, near


def resizing() -> Iterator[Case]:
    x, small = random((2, 8, 6, 3)), random((5, 7, 2))
    for kind in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        for size in ((16, 12), (3, 4), (5, 13), (8, 6), (1, 1)):
            yield keras_near(
                "resize", f"{kind} {size}", x, size=size, interpolation=kind,
            )  # fmt: skip
        if kind != "nearest":
            yield keras_near(
                "resize", f"{kind} antialias", random((1, 23, 17, 2)), size=(5, 6),
                interpolation=kind, antialias=True,
            )  # fmt: skip
    first = {"data_format": "channels_first"}
    for label, options in {
        "crop": {"crop_to_aspect_ratio": True}, "pad": {"pad_to_aspect_ratio": True},
        "pad with": {"pad_to_aspect_ratio": True, "fill_value": 2.5},
    }.items():  # fmt: skip
        for size in ((4, 9), (9, 4)):
            yield keras_near("resize", f"{label} {size}", x, size=size,
                             **options)  # fmt: skip
            yield keras_near(
                "resize", f"{label} {size} first", x.transpose(0, 3, 1, 2), size=size, **first,
                **options,
            )  # fmt: skip
    yield keras_near("resize", "one image", small, size=(10, 3))
    yield keras_same("resize", "integers", integers((4, 4, 1)), size=(7, 3),
                     interpolation="nearest")  # fmt: skip
    # Multiples of 4 whose weighted means never lie halfway between two integers.
    yield keras_same("resize", "integers bilinear", integers((4, 4, 1)) * np.int32(4), size=(3, 3))
    for kind in ("nearest", "bilinear"):
        for corners, half in ((True, False), (False, False), (False, True)):
            for size in ((7, 5), (16, 11), (1, 1)):
                yield near(
                    "resize", f"tfjs {kind} {corners} {half} {size}",
                    lambda x, k=kind, c=corners, h=half, s=size: tg.image.resize(
                        x, s, k, align_corners=c, half_pixel_centers=h
                    ),
                    lambda x, k=kind, c=corners, h=half, s=size: _tfjs_resize(x, s, k, c, h),
                    x, slow=size == (1, 1),
                )  # fmt: skip
    scale, move = np.float32([1.7, 0.6]), np.float32([-1.3, 2.2])
    for method in ("linear", "cubic", "lanczos3", "lanczos5"):
        for antialias in (True, False):
            options = {
                "output_shape": (2, 9, 7, 3), "spatial_dims": (1, 2), "method": method,
                "antialias": antialias,
            }  # fmt: skip
            yield near(
                "scale_and_translate", f"{method} {antialias}",
                lambda x, s, t, o=options: tg.image.scale_and_translate(
                    x, scale=s, translation=t, **o
                ),
                lambda x, s, t, o=options: _moved(x, s, t, o),
                x, scale, move, ulp=64, slow=True,
            )  # fmt: skip
    yield near(
        "scale_and_translate", "one axis",
        lambda x: tg.image.scale_and_translate(x, (8, 5), [0.5], [1.0], (1,), "bilinear"),
        lambda x: _moved(
            x, np.float32([0.5]), np.float32([1.0]),
            {"output_shape": (8, 5), "spatial_dims": (1,), "method": "bilinear"},
        ),
        random((8, 9)), slow=True,
    )  # fmt: skip


def _moved(x: Array, scale: Array, translation: Array, options: dict[str, Any]) -> Array:
    """Keras takes these two by name alone."""
    given = {"scale": scale.astype(np.float32), "translation": translation.astype(np.float32)}
    return keras_oracle("image.scale_and_translate", **given, **options)(x)


def _tfjs_resize(x: Array, size: Any, kind: str, corners: bool, half: bool) -> Array:
    out = np.zeros((x.shape[0], *size, x.shape[3]))
    scales = [
        (n - 1) / (m - 1) if corners and m > 1 else 0.0 if corners else n / m
        for n, m in zip(x.shape[1:3], size, strict=True)
    ]
    for i, j in np.ndindex(*size):
        at = [(k + 0.5) * s - 0.5 if half else k * s for k, s in zip((i, j), scales, strict=True)]
        last = [n - 1 for n in x.shape[1:3]]
        if kind == "nearest":
            shift = 0.5 if corners or half else 0.0
            r, c = (min(int(np.floor(a + shift)), m) for a, m in zip(at, last, strict=True))
            out[:, i, j] = x[:, r, c]
            continue
        at = [max(a, 0.0) for a in at]
        r, c = (int(np.floor(a)) for a in at)
        below, right = min(r + 1, last[0]), min(c + 1, last[1])
        u, v = at[0] - r, at[1] - c
        top = x[:, r, c] * (1 - v) + x[:, r, right] * v
        bottom = x[:, below, c] * (1 - v) + x[:, below, right] * v
        out[:, i, j] = top * (1 - u) + bottom * u
    return out


def _crops(size: Any, method: str, outside: float) -> Callable[..., Array]:
    """tf.image.crop_and_resize."""

    def oracle(x: Array, boxes: Array, which: Array) -> Array:
        out = np.zeros((len(boxes), *size, x.shape[3]))
        for n, (y1, x1, y2, x2) in enumerate(boxes):
            if not 0 <= which[n] < len(x):
                continue
            for i, j in np.ndindex(*size):
                at = [
                    lo * (m - 1) + k * (hi - lo) * (m - 1) / (s - 1)
                    if s > 1 else 0.5 * (lo + hi) * (m - 1)
                    for lo, hi, k, s, m in (
                        (y1, y2, i, size[0], x.shape[1]), (x1, x2, j, size[1], x.shape[2])
                    )
                ]  # fmt: skip
                if any(not 0 <= a <= m - 1 for a, m in zip(at, x.shape[1:3], strict=True)):
                    out[n, i, j] = outside
                elif method == "nearest":
                    r, c = (int(np.floor(a + 0.5)) for a in at)
                    out[n, i, j] = x[which[n], r, c]
                else:
                    r, c = (int(np.floor(a)) for a in at)
                    r1, c1 = (int(np.ceil(a)) for a in at)
                    u, v = at[0] - r, at[1] - c
                    one = x[which[n], r, c] * (1 - v) + x[which[n], r, c1] * v
                    two = x[which[n], r1, c] * (1 - v) + x[which[n], r1, c1] * v
                    out[n, i, j] = one * (1 - u) + two * u
        return out

    return oracle


def crops() -> Iterator[Case]:
    x = random((2, 6, 5, 3))
    boxes = np.float32(
        [[0, 0, 1, 1], [0.13, 0.2, 0.74, 0.9], [-0.3, 0.1, 0.6, 1.4], [0.93, 0.8, 0.2, 0.1]]
    )
    which = np.int32([0, 1, 1, 0])
    for method in ("bilinear", "nearest"):
        for size in ((4, 7), (1, 3)):
            yield near(
                "crop_and_resize", f"{method} {size}",
                lambda x, b, i, m=method, s=size: tg.image.crop_and_resize(x, b, i, s, m, 0.25),
                _crops(size, method, 0.25), x, boxes, which,
            )  # fmt: skip
    yield near(
        "crop_and_resize", "of no image",
        lambda x, b, i: tg.image.crop_and_resize(x, b, i, (2, 2)), _crops((2, 2), "bilinear", 0),
        x, boxes[:2], np.int32([5, 1]),
    )  # fmt: skip


CASES = [*resizing(), *crops()]
