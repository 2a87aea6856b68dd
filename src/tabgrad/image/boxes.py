"""Boxes: of those that overlap, keep the one with the highest score.

Semantics are those of `tf.image.non_max_suppression*` (TensorFlow's API documentation); soft
suppression is by Bodla et al., "Soft-NMS: improving object detection with one line of code" (2017).
How many boxes remain depends on values: `non_max_suppression_padded` has a fixed size and works
everywhere, the others only where values can be read.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad import dtypes, ops, realize
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, CaptureError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common
from tabgrad.ops.manipulation import cut
from tabgrad.tensor import Tensor


def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size: int,
    iou_threshold: float = 0.5,
    score_threshold: float = -math.inf,
) -> Tensor:
    """Indices of the boxes to keep, the highest score first.

    Args:
        boxes: (n, 4), two opposite corners [y1, x1, y2, x2] each.
        scores: (n,).
        max_output_size: keep at most so many.
        iou_threshold: drop a box whose intersection with a better one is a larger share of their
            union.
        score_threshold: drop boxes without a score above.

    Returns:
        int32, (m,); m depends on the values.

    Raises:
        CaptureError: while `tg.compile` captures; use `non_max_suppression_padded`.
        ShapeError: shapes that do not fit. ArgumentError: thresholds or sizes out of range.

    Example:
        >>> import tabgrad as tg
        >>> boxes = [[0.0, 0, 1, 1], [0.0, 0, 1, 0.9], [0.0, 2, 1, 3]]
        >>> tg.image.non_max_suppression(boxes, [0.8, 0.9, 0.7], 3).tolist()
        [1, 2]
    """
    picked, _, count = _kept(
        "non_max_suppression", boxes, scores, max_output_size, iou_threshold, score_threshold, 0.0
    )
    return Tensor(cut(picked, 0, 0, _known("non_max_suppression", count)))


def non_max_suppression_with_scores(
    boxes: Any,
    scores: Any,
    max_output_size: int,
    iou_threshold: float = 0.5,
    score_threshold: float = -math.inf,
    soft_nms_sigma: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Indices of the boxes to keep, and their scores.

    Arguments and errors are those of `non_max_suppression`, and:

    Args:
        boxes: (n, 4) of floats: y1, x1, y2, x2.
        scores: (n,) of floats.
        max_output_size: how many to keep at most.
        iou_threshold: boxes that overlap a better one by more are dropped.
        score_threshold: so are boxes with a lower score.
        soft_nms_sigma: above 0, boxes are not dropped for overlapping by iou: their score is
            multiplied by exp(-iou**2 / (2 sigma)), and they compete again.

    Returns:
        Int32 indices and float32 scores of those kept.

    Example:
        >>> import tabgrad as tg
        >>> boxes = [[0.0, 0, 1, 1], [0.0, 0, 1, 1], [0.0, 2, 1, 3]]
        >>> index, score = tg.image.non_max_suppression_with_scores(
        ...     boxes, [0.8, 0.9, 0.7], 3, soft_nms_sigma=0.5
        ... )
        >>> index.tolist(), [round(v, 3) for v in score.tolist()]
        ([1, 2, 0], [0.9, 0.7, 0.294])
    """
    name = "non_max_suppression_with_scores"
    picked, best, count = _kept(
        name, boxes, scores, max_output_size, iou_threshold, score_threshold, soft_nms_sigma
    )
    n = _known(name, count)
    return Tensor(cut(picked, 0, 0, n)), Tensor(cut(best, 0, 0, n))


def non_max_suppression_padded(
    boxes: Any,
    scores: Any,
    max_output_size: int,
    iou_threshold: float = 0.5,
    score_threshold: float = -math.inf,
    soft_nms_sigma: float = 0.0,
    pad_to_max_output_size: bool = True,
) -> tuple[Tensor, Tensor]:
    """Indices of the boxes to keep, filled with 0 to a fixed size, and how many are real.

    Arguments and errors are those of `non_max_suppression_with_scores`, and:

    Args:
        boxes: (n, 4) of floats: y1, x1, y2, x2.
        scores: (n,) of floats.
        max_output_size: how many to keep at most.
        iou_threshold: boxes that overlap a better one by more are dropped.
        score_threshold: so are boxes with a lower score.
        soft_nms_sigma: see `non_max_suppression_with_scores`.
        pad_to_max_output_size: False leaves only the real ones, where values can be read.

    Returns:
        int32 (max_output_size,) and int32 ().

    Example:
        >>> import tabgrad as tg
        >>> boxes = [[0.0, 0, 1, 1], [0.0, 0, 1, 0.9], [0.0, 2, 1, 3]]
        >>> index, count = tg.image.non_max_suppression_padded(boxes, [0.8, 0.9, 0.7], 3)
        >>> index.tolist(), int(count)
        ([1, 2, 0], 2)
    """
    name = "non_max_suppression_padded"
    picked, _, count = _kept(
        name, boxes, scores, max_output_size, iou_threshold, score_threshold, soft_nms_sigma
    )
    if not pad_to_max_output_size:
        picked = cut(picked, 0, 0, _known(name, count))
    return Tensor(picked), Tensor(count)


def _known(name: str, count: Node) -> int:
    if realize.is_abstract(count):
        raise CaptureError(
            f"{name} has a result whose size depends on values, which do not exist while "
            "tg.compile captures. Use non_max_suppression_padded, whose size is max_output_size"
        )
    return int(Tensor(count))


def _kept(
    name: str, boxes: Any, scores: Any, size: int, iou_threshold: float, score_threshold: float,
    sigma: float,
) -> tuple[Node, Node, Node]:  # fmt: skip
    """Indices and scores, filled with 0 to `size`, and how many there are."""
    corners, rank = common(name, boxes, scores, floating=True)
    if len(corners.shape) != 2 or corners.shape[1] != 4 or rank.shape != corners.shape[:1]:
        raise ShapeError(
            f"{name} expected boxes (n, 4) and scores (n,); received {list(corners.shape)} and "
            f"{list(rank.shape)}. "
            "Give each box its two corners and one score"
        )
    if not isinstance(size, int) or size < 0 or not 0 <= iou_threshold <= 1 or sigma < 0:
        raise ArgumentError(
            f"{name} expected max_output_size of at least 0, iou_threshold from 0 to 1 and "
            f"soft_nms_sigma of at least 0; received {size}, {iou_threshold} and {sigma}"
        )
    n, dtype = rank.shape[0], rank.dtype
    if not n or not size:
        return b.full((size,), 0, int32), b.full((size,), 0, dtype), b.const(0, int32)
    edges = [b.reshape(cut(corners, 1, d, d + 1), (n,)) for d in range(4)]
    low = [make("min", edges[d], edges[d + 2]) for d in (0, 1)]
    high = [make("max", edges[d], edges[d + 2]) for d in (0, 1)]
    area = b.mul(b.sub(high[0], low[0]), b.sub(high[1], low[1]))
    never = b.full((n,), -math.inf, dtype)
    fair = b.lt(b.full((n,), score_threshold, dtype), rank)
    rows = [Tensor(v) for v in (*low, *high, area)]

    def step(left: Tensor, _: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Pick the best of what is left, and take from the others what it covers."""
        where = ops.argmax(left)
        best = ops.take(left, where, 0)
        y1, x1, y2, x2, own = (ops.take(row, where, 0) for row in rows)
        wide = ops.maximum(ops.minimum(rows[2], y2) - ops.maximum(rows[0], y1), 0.0)
        high = ops.maximum(ops.minimum(rows[3], x2) - ops.maximum(rows[1], x1), 0.0)
        shared = wide * high
        solid = ops.logical_and(rows[4] > 0.0, own > 0.0)
        iou = ops.where(solid, shared / ops.where(solid, rows[4] + own - shared, 1.0), 0.0)
        if sigma > 0:
            weaker = left * ops.exp(ops.square(iou) * (-0.5 / sigma))
            weaker = ops.where(left > -math.inf, weaker, -math.inf)
        else:
            weaker = ops.where(iou > iou_threshold, -math.inf, left)
        weaker = ops.where(weaker > score_threshold, weaker, -math.inf)
        here = ops.equal(ops.arange(n), where)
        return ops.where(here, -math.inf, weaker), (where, best)

    start = Tensor(b.select(fair, rank, never))
    _, (picked, best) = ops.scan(step, start, None, length=size)
    real = best > -math.inf
    return (
        ops.where(real, picked, 0).node,
        ops.where(real, best, 0.0).node,
        b.cast(ops.sum(ops.cast(real, dtypes.int32)).node, int32),
    )
