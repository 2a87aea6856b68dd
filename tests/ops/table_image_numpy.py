"""The op table: images, against NumPy, SciPy and the standard library's colorsys.

Oracles that are quick, for the quick set; the other tables have the whole product against Keras.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.ndimage

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.imaging import PROJECT, TURN, near, same

KERNELS: dict[str, tuple[Callable[[Array], Array], int]] = {
    "bilinear": (lambda x: np.maximum(0, 1 - x), 1),
    "bicubic": (
        lambda x: np.where(
            x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        ),
        2,
    ),
    "lanczos3": (lambda x: np.sinc(x) * np.sinc(x / 3), 3),
    "lanczos5": (lambda x: np.sinc(x) * np.sinc(x / 5), 5),
}
"""Keys' cubic with a = -0.5 and Lanczos' kernels, as functions of the distance."""


def _matrix(n: int, size: int, kind: str, antialias: bool = False) -> Array:
    """Weights (size, n) of resizing, pixel centres at (i + 0.5) / n."""
    at = (np.arange(size)[:, None] + 0.5) * n / size - 0.5
    if kind == "nearest":
        return np.eye(n)[np.floor(at[:, 0] + 0.5).astype(int)]
    kernel, reach = KERNELS[kind]
    wider = max(1.0, n / size) if antialias else 1.0
    away = np.abs(at - np.arange(n)) / wider
    weights = np.where(away < reach, kernel(away), 0)
    return weights / weights.sum(1, keepdims=True)


def _resized(size: Sequence[int], kind: str, antialias: bool = False) -> Callable[[Array], Array]:
    def oracle(x: Array) -> Array:
        rows = _matrix(x.shape[1], size[0], kind, antialias)
        columns = _matrix(x.shape[2], size[1], kind, antialias)
        return np.einsum("ih,bhwc,jw->bijc", rows, x, columns)

    return oracle


def resizing() -> Iterator[Case]:
    x = random((2, 8, 6, 3))
    for kind in ("nearest", *KERNELS):
        for size in ((16, 12), (3, 4), (5, 13), (8, 6)):
            for antialias in (False, True):
                if kind != "nearest" or not antialias:
                    yield near(
                        "resize", f"NumPy {kind} {size} {antialias}",
                        lambda x, s=size, k=kind, a=antialias: tg.image.resize(x, s, k, a),
                        _resized(size, kind, antialias), x, slow=size == (5, 13) and antialias,
                    )  # fmt: skip
    yield near(
        "resize", "NumPy channels first",
        lambda x: tg.image.resize(x, (5, 9), data_format="channels_first"),
        lambda x: np.moveaxis(_resized((5, 9), "bilinear")(np.moveaxis(x, 1, -1)), -1, 1),
        random((2, 3, 8, 6)),
    )  # fmt: skip
    yield near(
        "resize", "NumPy cropped",
        lambda x: tg.image.resize(x, (4, 8), crop_to_aspect_ratio=True),
        lambda x: _resized((4, 8), "bilinear")(x[:, 2:5]), x,
    )  # fmt: skip
    yield near(
        "resize", "NumPy padded",
        lambda x: tg.image.resize(x, (4, 8), pad_to_aspect_ratio=True, fill_value=2.5),
        lambda x: _resized((4, 8), "bilinear")(
            np.pad(x, ((0, 0), (0, 0), (5, 5), (0, 0)), constant_values=2.5)
        ),
        x,
    )  # fmt: skip
    yield same(
        "resize", "NumPy integers", lambda x: tg.image.resize(x, (3, 3)),
        lambda x: np.round(_resized((3, 3), "bilinear")(x)).astype(np.int32),
        integers((1, 4, 4, 1)) * np.int32(4),
    )  # fmt: skip
    yield near(
        "scale_and_translate", "NumPy moved",
        lambda x: tg.image.scale_and_translate(x, (6, 5), [1.0, 1.0], [2.0, -1.0], (0, 1), "cubic"),
        lambda x: np.pad(x[:4, 1:], ((2, 0), (0, 1))), random((6, 5)),
    )  # fmt: skip
    yield near(
        "scale_and_translate", "NumPy scaled",
        lambda x: tg.image.scale_and_translate(x, (4, 6), [0.5], [0.0], (0,), "lanczos3"),
        lambda x: _matrix(8, 4, "lanczos3", True) @ x, random((8, 6)), ulp=64,
    )  # fmt: skip


SCIPY_MODES = {
    "constant": "grid-constant", "nearest": "nearest", "wrap": "grid-wrap", "mirror": "mirror",
    "reflect": "reflect",
}  # fmt: skip


def places() -> Iterator[Case]:
    at = np.random.default_rng(3).uniform(-9, 12, (2, 3, 7)).astype(np.float32)
    for mode, scipys in SCIPY_MODES.items():
        for order in (0, 1):
            yield near(
                "map_coordinates", f"SciPy {mode} {order}",
                lambda x, c, m=mode, o=order: tg.image.map_coordinates(x, c, o, m, 1.5),
                lambda x, c, m=scipys, o=order: scipy.ndimage.map_coordinates(
                    x, c, order=o, mode=m, cval=1.5
                ),
                random((4, 5)), at,
            )  # fmt: skip
    yield near(
        "map_coordinates", "SciPy three axes", lambda x, c: tg.image.map_coordinates(x, c, 1),
        lambda x, c: scipy.ndimage.map_coordinates(x, c, order=1, mode="grid-constant"),
        random((3, 4, 2)), np.random.default_rng(4).uniform(-1, 4, (3, 11)).astype(np.float32),
    )  # fmt: skip
    yield same(
        "map_coordinates", "halves away from 0",
        lambda x, c: tg.image.map_coordinates(x, c, 0, "nearest"),
        lambda x, c: np.float32([0, 1, 2, 3, 4]), np.arange(5, dtype=np.float32),
        np.float32([[-0.5, 0.5, 1.5, 2.5, 3.5]]),
    )  # fmt: skip


def _mapped(mode: str, fill: float) -> Callable[[Array, Array], Array]:
    """Images read at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) by SciPy."""

    def oracle(x: Array, numbers: Array) -> Array:
        out = np.empty_like(x)
        rows, columns = np.indices(x.shape[1:3])
        for b, c in np.ndindex(x.shape[0], x.shape[3]):
            t = np.broadcast_to(numbers, (x.shape[0], 8))[b]
            k = t[6] * columns + t[7] * rows + 1
            at = [
                (t[3] * columns + t[4] * rows + t[5]) / k,
                (t[0] * columns + t[1] * rows + t[2]) / k,
            ]
            out[b, ..., c] = scipy.ndimage.map_coordinates(
                x[b, ..., c], at, order=1, mode=SCIPY_MODES[mode], cval=fill
            )
        return out

    return oracle


def _homography(start: Array, end: Array) -> Array:
    """The eight numbers of the map that takes the end points to the start points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(start, end, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    return np.linalg.solve(np.array(rows), np.array(values))


def maps() -> Iterator[Case]:
    x = random((2, 6, 7, 3))
    each = np.stack([TURN, np.float32([1, 0, 1.5, 0, 1, -0.5, 0, 0])])
    for mode in SCIPY_MODES:
        yield near(
            "affine_transform", f"SciPy {mode}",
            lambda x, t, m=mode: tg.image.affine_transform(x, t, fill_mode=m, fill_value=0.5),
            _mapped(mode, 0.5), x, each, ulp=64,
        )  # fmt: skip
    yield near(
        "affine_transform", "SciPy all by one map",
        lambda x, t: tg.image.affine_transform(x, t, fill_mode="mirror"),
        _mapped("mirror", 0.0), x, PROJECT, ulp=64,
    )  # fmt: skip
    start = np.float32([[0, 0], [6, 0], [0, 5], [6, 5]])
    end = np.float32([[1, 0.5], [5, 0], [0.5, 5], [6, 4]])
    for label, images in (("a batch", x), ("one image", x[:1])):
        yield near(
            "perspective_transform", f"SciPy {label}",
            lambda x, s, e: tg.image.perspective_transform(x, s, e, fill_value=0.5),
            lambda x, s, e: _mapped("constant", 0.5)(x, _homography(s, e)), images, start, end,
            ulp=512,
        )  # fmt: skip


def _each_colour(function: Callable[..., Any]) -> Callable[[Array], Array]:
    return lambda x: np.array([function(*v) for v in x.reshape(-1, 3)]).reshape(x.shape)


def _saturated(r: float, g: float, b: float) -> tuple[float, float, float]:
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb(h, min(0.6 * s, 1.0), v)


def _turned(r: float, g: float, b: float) -> tuple[float, float, float]:
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb((h + 0.3) % 1.0, s, v)


def colours() -> Iterator[Case]:
    x = random((2, 4, 5, 3), 1, 0, 1)
    x[0, 0] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]
    for op, call, oracle in (
        ("rgb_to_hsv", tg.image.rgb_to_hsv, colorsys.rgb_to_hsv),
        ("hsv_to_rgb", tg.image.hsv_to_rgb, colorsys.hsv_to_rgb),
        ("adjust_saturation", lambda x: tg.image.adjust_saturation(x, 0.6), _saturated),
        ("adjust_hue", lambda x: tg.image.adjust_hue(x, 0.3), _turned),
    ):
        yield near(op, "colorsys", call, _each_colour(oracle), x)
    yield near(
        "rgb_to_grayscale", "NumPy", tg.image.rgb_to_grayscale,
        lambda x: x @ np.array([[0.2989], [0.587], [0.114]]), x,
    )  # fmt: skip


def _gaussian(size: int, sigma: float) -> Array:
    row = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return row / row.sum()


def _correlated(x: Array, down: Array, across: Array) -> Array:
    x = scipy.ndimage.correlate1d(x, down, axis=1, mode="constant")
    return scipy.ndimage.correlate1d(x, across, axis=2, mode="constant")


def _ssim(x: Array, y: Array) -> Array:
    row = _gaussian(11, 1.5)

    def mean(v: Array) -> Array:
        return _correlated(v, row, row)[:, 5:-5, 5:-5]

    xx, yy = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2
    xy = mean(x * y) - mean(x) * mean(y)
    top = (2 * mean(x) * mean(y) + 1e-4) * (2 * xy + 9e-4)
    return (top / ((mean(x) ** 2 + mean(y) ** 2 + 1e-4) * (xx + yy + 9e-4))).mean((1, 2, 3))


def filters() -> Iterator[Case]:
    x = random((2, 9, 8, 3))
    for size, sigma in (((3, 3), (1.0, 1.0)), ((5, 3), (1.5, 0.7))):
        yield near(
            "gaussian_blur", f"SciPy {size}",
            lambda x, n=size, s=sigma: tg.image.gaussian_blur(x, n, s),
            lambda x, n=size, s=sigma: _correlated(
                x, _gaussian(n[1], s[1]), _gaussian(n[0], s[0])
            ),
            x,
        )  # fmt: skip
    yield near(
        "gaussian_blur", "SciPy sigma in the graph",
        lambda x, s: tg.image.gaussian_blur(x, (5, 5), s),
        lambda x, s: _correlated(x, _gaussian(5, s[1]), _gaussian(5, s[0])),
        x, np.float32([0.8, 1.3]),
    )  # fmt: skip
    slope, smooth = np.array([-1.0, 0, 1]), np.array([1.0, 2, 1])
    yield near(
        "sobel_edges", "SciPy", tg.image.sobel_edges,
        lambda x: np.stack([_correlated(x, slope, smooth), _correlated(x, smooth, slope)], -1), x,
    )  # fmt: skip
    yield near(
        "ssim", "SciPy", tg.image.ssim, _ssim, random((2, 16, 14, 3), 1, 0, 1),
        random((2, 16, 14, 3), 2, 0, 1), ulp=256,
    )  # fmt: skip


def _patches(size: Sequence[int], step: int, hole: int, pad: Any) -> Callable[[Array], Array]:
    def oracle(x: Array) -> Array:
        x = np.pad(x, ((0, 0), *pad, (0, 0)))
        n = len(size)
        spans = [(k - 1) * hole + 1 for k in size]
        counts = [(m - s) // step + 1 for m, s in zip(x.shape[1:-1], spans, strict=True)]
        out = np.zeros((x.shape[0], *counts, x.shape[-1] * int(np.prod(size))), x.dtype)
        for at in np.ndindex(*counts):
            where = tuple(
                slice(a * step, a * step + s, hole) for a, s in zip(at, spans, strict=True)
            )
            out[(slice(None), *at)] = x[(slice(None), *where)].reshape(x.shape[0], -1)
        assert out.ndim == n + 2
        return out

    return oracle


def framing() -> Iterator[Case]:
    x = random((2, 6, 5, 3))
    yield same(
        "pad_images", "NumPy", lambda x: tg.image.pad_images(x, 1, 0, 2, target_width=8),
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 8 - x.shape[2]), (0, 0))), x,
    )  # fmt: skip
    yield same(
        "crop_images", "NumPy",
        lambda x: tg.image.crop_images(x, 1, target_height=3, right_cropping=2, target_width=2),
        lambda x: x[:, 1:4, 1:3], x,
    )  # fmt: skip
    none = ((0, 0), (0, 0))
    for label, options, args in (
        ("side by side", {"size": 2}, ((2, 2), 2, 1, none)),
        ("overlapping", {"size": (3, 2), "strides": 1}, ((3, 2), 1, 1, none)),
        ("holes", {"size": 2, "strides": 1, "dilation_rate": 2}, ((2, 2), 1, 2, none)),
        ("same", {"size": 3, "strides": 2, "padding": "same"}, ((3, 3), 2, 1, ((0, 1), (1, 1)))),
    ):
        yield same(
            "extract_patches", f"NumPy {label}",
            lambda x, o=options: tg.image.extract_patches(x, **o), _patches(*args), x,
        )  # fmt: skip
    yield same(
        "extract_patches_3d", "NumPy",
        lambda x: tg.image.extract_patches_3d(x, (2, 3, 1), 1),
        _patches((2, 3, 1), 1, 1, ((0, 0),) * 3), random((1, 4, 5, 4, 2)),
    )  # fmt: skip


CASES = [*resizing(), *places(), *maps(), *colours(), *filters(), *framing()]
