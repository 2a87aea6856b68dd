"""The op table: images.

Oracles: keras.ops.image and jax.image on JAX; for TensorFlow's and TensorFlow.js's functions their
definitions (API documentation of `tf.image`; the CPU kernels of TensorFlow.js) as NumPy loops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, integers, largest, random, remembered

os.environ.setdefault("KERAS_BACKEND", "jax")


def _keras(name: str, *args: Any, **options: Any) -> Callable[..., list[Array]]:
    """keras.ops.image by name, on float32 arrays."""

    def oracle(*xs: Array) -> list[Array]:
        import keras

        given = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in xs]
        result = getattr(keras.ops.image, name)(*given, *args, **options)
        return [np.asarray(result)]

    return oracle


def _largest(oracle: Callable[..., Any]) -> Callable[..., Any]:
    def scale(*xs: Array) -> list[Array]:
        results = oracle(*xs)
        results = results if isinstance(results, list) else [results]
        return [np.full(np.shape(r), largest(r)) for r in results]

    return scale


def near(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    ulp: float = 16, slow: bool = False,
) -> Case:  # fmt: skip
    """Compared in units of the largest magnitude of the result."""
    once = remembered(oracle)
    return Case(f"image.{op}", label, call, once, inputs, ulp, _largest(once), slow=slow)


def same(
    op: str, label: str, call: Callable[..., Any], oracle: Callable[..., Any], *inputs: Array,
    slow: bool = False,
) -> Case:  # fmt: skip
    """Compared exactly."""
    return Case(f"image.{op}", label, call, oracle, inputs, slow=slow)


def keras_near(op: str, label: str, *inputs: Array, ulp: float = 16, **options: Any) -> Case:
    """Against Keras, which compiles each call: not in the quick set, for which
    table_image_numpy.py has oracles of its own."""
    return near(
        op, label, lambda *xs: getattr(tg.image, op)(*xs, **options), _keras(op, **options),
        *inputs, ulp=ulp, slow=True,
    )  # fmt: skip


def keras_same(op: str, label: str, *inputs: Array, **options: Any) -> Case:
    return same(
        op, label, lambda *xs: getattr(tg.image, op)(*xs, **options), _keras(op, **options),
        *inputs, slow=True,
    )  # fmt: skip


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
                lambda x, s, t, o=options: _keras_keywords("scale_and_translate", o)(x, s, t),
                x, scale, move, ulp=64, slow=True,
            )  # fmt: skip
    yield near(
        "scale_and_translate", "one axis",
        lambda x: tg.image.scale_and_translate(x, (8, 5), [0.5], [1.0], (1,), "bilinear"),
        lambda x: _keras_keywords(
            "scale_and_translate",
            {"output_shape": (8, 5), "spatial_dims": (1,), "method": "bilinear"},
        )(x, np.float32([0.5]), np.float32([1.0])),
        random((8, 9)), slow=True,
    )  # fmt: skip


def _keras_keywords(name: str, options: dict[str, Any]) -> Callable[..., list[Array]]:
    def oracle(x: Array, scale: Array, translation: Array) -> list[Array]:
        import keras

        x, scale, translation = (v.astype(np.float32) for v in (x, scale, translation))
        result = getattr(keras.ops.image, name)(x, scale=scale, translation=translation, **options)
        return [np.asarray(result)]

    return oracle


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


MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def places() -> Iterator[Case]:
    grid = random((4, 5))
    at = np.random.default_rng(3).uniform(-9, 12, (2, 3, 7)).astype(np.float32)
    for mode in MODES:
        for order in (0, 1):
            yield near(
                "map_coordinates", f"{mode} {order}",
                lambda x, c, m=mode, o=order: tg.image.map_coordinates(x, c, o, m, 1.5),
                _keras("map_coordinates", order, mode, 1.5), grid, at, slow=True,
            )  # fmt: skip
    yield near(
        "map_coordinates", "three axes", lambda x, c: tg.image.map_coordinates(x, c, 1),
        _keras("map_coordinates", 1), random((3, 4, 2)),
        np.random.default_rng(4).uniform(-1, 4, (3, 11)).astype(np.float32), slow=True,
    )  # fmt: skip
    yield same(
        "map_coordinates", "integers", lambda x, c: tg.image.map_coordinates(x, c, 1),
        _keras("map_coordinates", 1), integers((4, 5), dtype="int32"), at, slow=True,
    )  # fmt: skip
    yield same(
        "map_coordinates", "halves", lambda x, c: tg.image.map_coordinates(x, c, 0, "nearest"),
        _keras("map_coordinates", 0, "nearest"), np.arange(5, dtype=np.float32),
        np.float32([[-0.5, 0.5, 1.5, 2.5, 3.5]]), slow=True,
    )  # fmt: skip


TURN = np.float32([0.9, 0.3, -1.2, -0.25, 1.1, 0.7, 0, 0])
PROJECT = np.float32([0.9, 0.3, -1.2, -0.25, 1.1, 0.7, 0.03, -0.02])


def _projected(mode: str, kind: str, fill: float, size: Any = None) -> Callable[..., Array]:
    """TensorFlow.js's image.transform."""

    def inside(v: float, n: int) -> float:
        if mode == "constant":
            return v
        if mode == "reflect":
            if v < 0:
                v = 2 * n * int(-v / (2 * n)) + v
                v = v + 2 * n if v < -n else -v - 1
            elif v > n - 1:
                v -= 2 * n * int(v / (2 * n))
                v = 2 * n - v - 1 if v >= n else v
        elif mode == "wrap":
            if v < 0:
                v += n * (int(-v / (n - 1)) + 1)
            elif v > n - 1:
                v -= n * int(v / (n - 1))
        return min(max(v, 0), n - 1)

    def oracle(x: Array, numbers: Array) -> Array:
        batch, height, width, channels = x.shape
        out = np.full((batch, *(size or (height, width)), channels), fill)

        def read(b: int, r: int, c: int) -> Any:
            return x[b, r, c] if 0 <= r < height and 0 <= c < width else fill

        for b, i, j in np.ndindex(*out.shape[:3]):
            t = np.broadcast_to(numbers, (batch, 8))[b]
            k = t[6] * j + t[7] * i + 1
            if k == 0:
                continue
            c = inside((t[0] * j + t[1] * i + t[2]) / k, width)
            r = inside((t[3] * j + t[4] * i + t[5]) / k, height)
            if kind == "nearest":
                out[b, i, j] = read(b, int(np.floor(r + 0.5)), int(np.floor(c + 0.5)))
                continue
            r0, c0 = int(np.floor(r)), int(np.floor(c))
            top = (c0 + 1 - c) * read(b, r0, c0) + (c - c0) * read(b, r0, c0 + 1)
            low = (c0 + 1 - c) * read(b, r0 + 1, c0) + (c - c0) * read(b, r0 + 1, c0 + 1)
            out[b, i, j] = (r0 + 1 - r) * top + (r - r0) * low
        return out

    return oracle


def _rotated(angle: float, fill: Any, center: Any) -> Callable[[Array], Array]:
    """TensorFlow.js's image.rotateWithOffset."""

    def oracle(x: Array) -> Array:
        height, width, channels = x.shape[1:]
        cx, cy = (v * n for v, n in zip(np.broadcast_to(center, 2), (width, height), strict=True))
        value = np.broadcast_to(fill, channels) if np.ndim(fill) == 0 else [*fill, 255][:channels]
        out = np.empty_like(x)
        out[:] = value
        for r, c in np.ndindex(height, width):
            u = (c - cx) * np.cos(angle) - (r - cy) * np.sin(angle) + cx
            v = (c - cx) * np.sin(angle) + (r - cy) * np.cos(angle) + cy
            u, v = int(np.floor(u + 0.5)), int(np.floor(v + 0.5))
            if 0 <= u < width and 0 <= v < height:
                out[:, r, c] = x[:, v, u]
        return out

    return oracle


def maps() -> Iterator[Case]:
    x = random((2, 6, 7, 3))
    both = np.stack([TURN, np.float32([1, 0, 1.5, 0, 1, -0.5, 0, 0])])
    for mode in MODES:
        for kind in ("bilinear", "nearest"):
            yield keras_near(
                "affine_transform", f"{mode} {kind}", x, both, interpolation=kind, fill_mode=mode,
                fill_value=0.5, ulp=64,
            )  # fmt: skip
    yield keras_near("affine_transform", "one image", x[0], TURN, ulp=64)
    yield keras_near(
        "affine_transform", "channels first", x.transpose(0, 3, 1, 2), both,
        data_format="channels_first", ulp=64,
    )  # fmt: skip
    yield near(
        "affine_transform", "projective",
        lambda x, t: tg.image.affine_transform(x, t, "bilinear", "constant", 0.5),
        _projected("constant", "bilinear", 0.5), x, PROJECT, ulp=64,
    )  # fmt: skip
    for mode in ("constant", "reflect", "wrap", "nearest"):
        for kind in ("bilinear", "nearest"):
            yield near(
                "transform", f"{mode} {kind}",
                lambda x, t, m=mode, k=kind: tg.image.transform(x, t, k, m, 0.5),
                _projected(mode, kind, 0.5), x, both * np.float32(1.7), ulp=64,
            )  # fmt: skip
    yield near(
        "transform", "output shape",
        lambda x, t: tg.image.transform(x, t, "bilinear", "constant", 0.0, (4, 9)),
        _projected("constant", "bilinear", 0.0, (4, 9)), x, PROJECT, ulp=64,
    )  # fmt: skip
    for label, angle, fill, center in (
        ("a little", 0.3, 0, 0.5), ("a half", 2.9, 0.25, (0.2, 0.7)),
        ("colours", -1.2, (1, 2, 3), 0.5),
    ):  # fmt: skip
        yield same(
            "rotate_with_offset", label,
            lambda x, a=angle, f=fill, c=center: tg.image.rotate_with_offset(x, a, f, c),
            _rotated(angle, fill, center), x,
        )  # fmt: skip
    yield same(
        "rotate_with_offset", "opaque", lambda x: tg.image.rotate_with_offset(x, 1.0, (1, 2, 3)),
        _rotated(1.0, (1, 2, 3), 0.5), random((1, 5, 5, 4)),
    )  # fmt: skip
    start = np.float32([[[0, 0], [6, 0], [0, 5], [6, 5]], [[1, 0], [5, 1], [0, 4], [6, 5]]])
    end = np.float32([[[1, 0.5], [5, 0], [0.5, 5], [6, 4]], [[0, 0], [6, 0], [0, 5], [6, 5]]])
    for kind in ("bilinear", "nearest"):
        yield keras_near(
            "perspective_transform", kind, x, start, end, interpolation=kind, fill_value=0.5,
            ulp=512,
        )  # fmt: skip
    yield keras_near("perspective_transform", "one image", x[0], start[0], end[0], ulp=512)
    yield keras_near(
        "perspective_transform", "channels first", x.transpose(0, 3, 1, 2), start, end,
        data_format="channels_first", ulp=512,
    )  # fmt: skip
    yield near(
        "elastic_transform", "without noise",
        lambda x: tg.image.elastic_transform(x, alpha=0.0, sigma=1.0, seed=3), lambda x: x, x,
        ulp=0,
    )  # fmt: skip
    yield near(
        "elastic_transform", "with noise",
        lambda x: tg.image.elastic_transform(x, 1.5, 1.0, fill_mode="mirror", seed=3),
        _bent(1.5, 1.0, 3), x, ulp=256,
    )  # fmt: skip


def _bent(alpha: float, sigma: float, seed: int) -> Callable[[Array], Array]:
    """By the same normal numbers, blurred and sampled by SciPy."""

    def oracle(x: Array) -> Array:
        import scipy.ndimage

        noise = np.asarray(tg.random.normal((*x.shape[:3], 2), stddev=sigma, seed=seed))
        out = np.empty_like(x)
        for b, c in np.ndindex(x.shape[0], x.shape[3]):
            moved = [
                scipy.ndimage.gaussian_filter(
                    noise[b, ..., d].astype(np.float64), sigma, mode="constant", radius=3
                )
                for d in (0, 1)
            ]
            at = np.indices(x.shape[1:3]) + alpha * np.stack(moved)
            out[b, ..., c] = scipy.ndimage.map_coordinates(x[b, ..., c], at, order=1, mode="mirror")
        return out

    return oracle


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
        lambda x, s: _keras("gaussian_blur", (5, 5), s.astype(np.float32), "channels_last")(x),
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


def framing() -> Iterator[Case]:
    x = random((2, 6, 5, 3))
    yield same("flip_left_right", "", tg.image.flip_left_right, lambda x: x[:, :, ::-1], x)
    yield same("flip_up_down", "", tg.image.flip_up_down, lambda x: x[:, ::-1], x)
    yield same("flip_up_down", "one image", tg.image.flip_up_down, lambda x: x[::-1], x[0])
    for label, options in {
        "both sides": {
            "top_padding": 1, "bottom_padding": 2, "left_padding": 0, "right_padding": 3,
        },
        "targets": {
            "top_padding": 1, "target_height": 9, "right_padding": 2, "target_width": 8,
        },
    }.items():  # fmt: skip
        yield keras_same("pad_images", label, x, **options)
        cropped = {k.replace("padding", "cropping"): v for k, v in options.items()}
        cropped |= {"target_height": 3, "target_width": 2} if label == "targets" else {}
        yield keras_same("crop_images", label, x, **cropped)
    yield keras_same(
        "crop_images", "channels first", x[0].transpose(2, 0, 1), top_cropping=1,
        target_height=2, left_cropping=1, target_width=4, data_format="channels_first",
    )  # fmt: skip
    for label, options in {
        "side by side": {"size": 2}, "overlapping": {"size": (3, 2), "strides": 1},
        "same": {"size": 3, "strides": 2, "padding": "same"},
        "holes": {"size": 2, "strides": 1, "dilation_rate": 2},
        "steps": {"size": 2, "strides": 3},
    }.items():  # fmt: skip
        yield keras_same("extract_patches", label, x, **options)
        yield keras_same("extract_patches", f"{label} first", x[0].transpose(2, 0, 1), **options,
                         data_format="channels_first")  # fmt: skip
    for label, options in {
        "side by side": {"size": 2}, "overlapping": {"size": (2, 3, 1), "strides": 1},
        "same": {"size": 3, "strides": 2, "padding": "same"},
    }.items():  # fmt: skip
        yield keras_same("extract_patches_3d", label, random((1, 4, 5, 4, 2)), **options)
    yield keras_same("extract_patches", "three sizes", random((4, 4, 4, 2)), size=(2, 2, 2))


def _iou(a: Array, b: Array) -> float:
    low, high = np.minimum(a[:2], a[2:]), np.maximum(a[:2], a[2:])
    low_b, high_b = np.minimum(b[:2], b[2:]), np.maximum(b[:2], b[2:])
    own, other = np.prod(high - low), np.prod(high_b - low_b)
    if own <= 0 or other <= 0:
        return 0.0
    shared = np.prod(np.maximum(np.minimum(high, high_b) - np.maximum(low, low_b), 0))
    return float(shared / (own + other - shared))


def _kept(boxes: Array, scores: Array, size: int, iou: float, least: float, sigma: float) -> Any:
    """tf.image.non_max_suppression_with_scores, by picking the best again and again."""
    left = {i: float(s) for i, s in enumerate(scores) if s > least}
    out: list[tuple[int, float]] = []
    while left and len(out) < size:
        best = max(left, key=lambda i: (left[i], -i))
        out.append((best, left.pop(best)))
        for i in list(left):
            overlap = _iou(boxes[i], boxes[best])
            if sigma:
                left[i] *= np.exp(-0.5 * overlap**2 / sigma)
                if left[i] <= least:
                    del left[i]
            elif overlap > iou:
                del left[i]
    return np.int32([i for i, _ in out]), np.float64([s for _, s in out])


def boxes() -> Iterator[Case]:
    rng = np.random.default_rng(11)
    corner = rng.uniform(0, 3, (30, 2))
    many = np.concatenate([corner, corner + rng.uniform(0.3, 2, (30, 2))], 1).astype(np.float32)
    many[::4] = many[::4][:, [2, 3, 0, 1]]
    many[7, 2:] = many[7, :2]
    scores = rng.uniform(0, 1, 30).astype(np.float32)
    scores[20] = scores[3]
    for label, (size, iou, least) in {
        "": (10, 0.5, -np.inf), "strict": (30, 0.1, 0.2), "loose": (4, 0.9, 0.5),
        "none": (5, 0.5, 2.0),
    }.items():  # fmt: skip
        yield same(
            "non_max_suppression", label,
            lambda b, s, o=(size, iou, least): tg.image.non_max_suppression(b, s, *o),
            lambda b, s, o=(size, iou, least): _kept(b, s, *o, 0.0)[0], many, scores,
        )  # fmt: skip

        def padded(b: Array, s: Array, o: Any = (size, iou, least)) -> list[Array]:
            found = _kept(b, s, *o, 0.0)[0]
            return [np.pad(found, (0, o[0] - len(found))), np.int32(len(found))]

        yield same(
            "non_max_suppression_padded", label,
            lambda b, s, o=(size, iou, least): tg.image.non_max_suppression_padded(b, s, *o),
            padded, many, scores,
        )  # fmt: skip
    for sigma in (0.0, 0.5):
        for part in (0, 1):
            options = (12, 0.4, 0.15, sigma)
            call = lambda b, s, o=options, p=part: (  # noqa: E731
                tg.image.non_max_suppression_with_scores(b, s, *o)[p]
            )
            oracle = lambda b, s, o=options, p=part: _kept(b, s, *o)[p]  # noqa: E731
            build = near if part else same
            yield build("non_max_suppression_with_scores", f"sigma {sigma} part {part}", call,
                        oracle, many, scores)  # fmt: skip
    yield same(
        "non_max_suppression_padded", "captured",
        lambda b, s: tg.compile(
            lambda b, s: tg.image.non_max_suppression_padded(b, s, 6, soft_nms_sigma=0.3)[0]
        )(b, s),
        lambda b, s: _kept(b, s, 6, 0.5, -np.inf, 0.3)[0], many, scores,
    )  # fmt: skip


CASES = [
    *resizing(), *crops(), *places(), *maps(), *colours(), *filters(), *framing(), *boxes(),
]  # fmt: skip
