"""The op table: flips, frames and patches of images, and boxes on them.

Oracles: keras.ops.image on JAX, NumPy, and tf.image's definition of non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import Array, Case, random
from tests.ops.imaging import keras_same, near, same


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


CASES = [*framing(), *boxes()]
