"""The op table: colours, filters and thresholds of images.

Oracles: keras.ops.image on JAX, and the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import tabgrad as tg
from tests.ops.building import keras_oracle
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.imaging import keras_near, keras_same, near, same


def colours() -> Iterator[Case]:
    x = random((2, 4, 5, 3), 1, 0, 1)
    x[0, 0] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]
    first = x.transpose(0, 3, 1, 2)
    for op in ("rgb_to_grayscale", "rgb_to_hsv", "hsv_to_rgb"):
        yield keras_near(op, "", x)
        yield keras_near(op, "one image", x[0])
        yield keras_near(op, "channels first", first, data_format="channels_first")
    yield keras_same("rgb_to_grayscale", "integers", integers((3, 4, 3), 0, 0, 255))
    yield keras_same("rgb_to_grayscale", "gray", x[..., :1])
    yield same("grayscale_to_rgb", "", tg.image.grayscale_to_rgb,
               lambda x: np.repeat(x, 3, -1), x[..., :1])  # fmt: skip
    yield near("adjust_brightness", "", lambda x: tg.image.adjust_brightness(x, 0.3),
               lambda x: x + 0.3, x)  # fmt: skip
    yield near(
        "adjust_contrast", "", lambda x: tg.image.adjust_contrast(x, 1.7),
        lambda x: (x - x.mean((1, 2), keepdims=True)) * 1.7 + x.mean((1, 2), keepdims=True), x,
    )  # fmt: skip


def _otsu(gray: Array) -> float:
    """TensorFlow.js's loop over thresholds."""
    counts = np.bincount(np.round(gray).astype(int).ravel(), minlength=256).astype(float)
    best, level = 0.0, -1
    for i in range(255):
        one, two = counts[: i + 1], counts[i + 1 :]
        if one.sum() and two.sum():
            mean_one = (one * np.arange(i + 1)).sum() / one.sum()
            mean_two = (two * np.arange(i + 1, 256)).sum() / two.sum()
            between = one.sum() * two.sum() / counts.sum() ** 2 * (mean_one - mean_two) ** 2
            if between > best:
                best, level = between, i
    return level


def _black_and_white(method: str, inverted: bool, value: float = 0.5) -> Callable[[Array], Array]:
    def oracle(x: Array) -> Array:
        gray = x @ np.float32([0.2989, 0.587, 0.114]) if x.shape[-1] == 3 else x[..., 0]
        out = []
        for one in gray.reshape(-1, *gray.shape[-2:]):
            level = value * 255 if method == "binary" else _otsu(one)
            out.append(one <= level if inverted else one > level)
        return (np.reshape(out, (*gray.shape, 1)) * 255).astype(np.int32)

    return oracle


def filters() -> Iterator[Case]:
    x = random((2, 9, 8, 3))
    for label, options in {
        "": {}, "wide": {"kernel_size": (5, 3), "sigma": (1.5, 0.7)},
        "even": {"kernel_size": (4, 2), "sigma": (1.0, 2.0)},
    }.items():  # fmt: skip
        yield keras_near("gaussian_blur", label, x, data_format="channels_last", **options)
    yield near(
        "gaussian_blur", "sigma in the graph",
        lambda x, s: tg.image.gaussian_blur(x, (5, 5), s),
        lambda x, s: keras_oracle("image.gaussian_blur", (5, 5), np.float32(s), "channels_last")(x),
        x, np.float32([0.8, 1.3]), slow=True,
    )  # fmt: skip
    yield keras_near("gaussian_blur", "channels first", x.transpose(0, 3, 1, 2),
                     data_format="channels_first")  # fmt: skip
    yield keras_near("sobel_edges", "", x, data_format="channels_last")
    yield keras_near("sobel_edges", "channels first", x.transpose(0, 3, 1, 2),
                     data_format="channels_first")  # fmt: skip
    one, two = random((2, 16, 14, 3), 1, 0, 1), random((2, 16, 14, 3), 2, 0, 1)
    yield keras_near("ssim", "", one, two, ulp=256)
    yield keras_near("ssim", "one image", one[0], two[0], filter_size=5, max_val=2.0, ulp=256)
    photo = np.random.default_rng(7).normal(60, 12, (2, 12, 10, 1))
    photo[:, 4:9] += 110
    photo = np.clip(np.round(photo), 0, 255).astype(np.float32)
    coloured = np.random.default_rng(8).integers(0, 256, (6, 7, 3)).astype(np.float32)
    for method in ("binary", "otsu"):
        for inverted in (False, True):
            yield same(
                "threshold", f"{method} {inverted}",
                lambda x, m=method, i=inverted: tg.image.threshold(x, m, i),
                _black_and_white(method, inverted), photo,
            )  # fmt: skip
        yield same("threshold", f"{method} colours", lambda x, m=method: tg.image.threshold(x, m),
                   _black_and_white(method, False), coloured)  # fmt: skip
    yield same("threshold", "value", lambda x: tg.image.threshold(x, thresh_value=0.25),
               _black_and_white("binary", False, 0.25), photo)  # fmt: skip
    yield same("threshold", "nothing to part", lambda x: tg.image.threshold(x, "otsu"),
               _black_and_white("otsu", False), np.full((3, 3, 1), 7, np.float32))  # fmt: skip


CASES = [*colours(), *filters()]
