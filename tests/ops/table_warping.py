"""The op table: images read at other places: affine and projective maps, rotations, deformations.

Oracles: keras.ops.image on JAX, SciPy, TensorFlow.js's kernels as NumPy loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.building import keras_oracle
from tests.ops.comparing import Array, Case, integers, random
from tests.ops.imaging import MODES, PROJECT, TURN, keras_near, near, same


def places() -> Iterator[Case]:
    grid = random((4, 5))
    at = np.random.default_rng(3).uniform(-9, 12, (2, 3, 7)).astype(np.float32)
    for mode in MODES:
        for order in (0, 1):
            yield near(
                "map_coordinates", f"{mode} {order}",
                lambda x, c, m=mode, o=order: tg.image.map_coordinates(x, c, o, m, 1.5),
                keras_oracle("image.map_coordinates", order, mode, 1.5), grid, at, slow=True,
            )  # fmt: skip
    yield near(
        "map_coordinates", "three axes", lambda x, c: tg.image.map_coordinates(x, c, 1),
        keras_oracle("image.map_coordinates", 1), random((3, 4, 2)),
        np.random.default_rng(4).uniform(-1, 4, (3, 11)).astype(np.float32), slow=True,
    )  # fmt: skip
    yield same(
        "map_coordinates", "integers", lambda x, c: tg.image.map_coordinates(x, c, 1),
        keras_oracle("image.map_coordinates", 1), integers((4, 5), dtype="int32"), at, slow=True,
    )  # fmt: skip
    yield same(
        "map_coordinates", "halves", lambda x, c: tg.image.map_coordinates(x, c, 0, "nearest"),
        keras_oracle("image.map_coordinates", 0, "nearest"), np.arange(5, dtype=np.float32),
        np.float32([[-0.5, 0.5, 1.5, 2.5, 3.5]]), slow=True,
    )  # fmt: skip


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


CASES = [*places(), *maps()]
