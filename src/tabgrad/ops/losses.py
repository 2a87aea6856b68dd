"""Losses as functions: those of `keras.ops`, one value a place, and those of `tf.losses`, weighted
and reduced. The classes for `compile(loss=...)` are in `tabgrad.losses`.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ops import elementwise as e
from tabgrad.ops import manipulation as m
from tabgrad.ops import reduction as r
from tabgrad.ops.activation import log_softmax, relu, softplus
from tabgrad.ops.arguments import axis_of, broadcast_shapes, common
from tabgrad.ops.creation import ones_like
from tabgrad.ops.embedding import one_hot
from tabgrad.ops.normalization import EPSILON
from tabgrad.tensor import Tensor

REDUCTIONS = ("none", "sum", "mean", "sum_by_nonzero_weights")


def _pair(name: str, first: Any, second: Any, what: str = "predictions") -> tuple[Tensor, Tensor]:
    one, two = common(name, first, second, floating=True)
    if one.shape != two.shape:
        raise ShapeError(
            f"{name} expected labels and {what} of one shape; received {list(one.shape)} and "
            f"{list(two.shape)}. Reshape one of them; nothing is broadcast here"
        )
    return Tensor(one), Tensor(two)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """Cross-entropy of labels from 0 to 1 and probabilities (or logits), element by element.

    Args:
        target: labels of any shape.
        output: probabilities of that shape, kept 1e-7 away from 0 and 1; logits with from_logits.
        from_logits: True when output is before the sigmoid.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that differ.

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 4) for v in tg.nn.binary_crossentropy([1.0, 0.0], [0.5, 0.5]).tolist()]
        [0.6931, 0.6931]
    """
    labels, guess = _pair("binary_crossentropy", target, output, "outputs")
    if from_logits:
        # log(sigmoid(x)) is -softplus(-x), which neither overflows nor rounds to log(0).
        return labels * softplus(-guess) + (1.0 - labels) * softplus(guess)
    p = e.clip(guess, EPSILON, 1.0 - EPSILON)
    return -(labels * e.log(p) + (1.0 - labels) * e.log(1.0 - p))


def _log_probabilities(output: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return log_softmax(output, axis)
    share = output / r.sum(output, axis, True)
    return e.log(e.clip(share, EPSILON, 1.0 - EPSILON))


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Cross-entropy of one-hot labels and probabilities (or logits); drops `axis`.

    Args:
        target: labels, a probability for each class on `axis`.
        output: probabilities of that shape, divided by their sum; logits with from_logits.
        from_logits: True when output is before the softmax.
        axis: the axis of the classes.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that differ, or no axis.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.categorical_crossentropy([0.0, 1.0], [0.5, 0.5])), 4)
        0.6931
    """
    labels, guess = _pair("categorical_crossentropy", target, output, "outputs")
    at = axis_of("categorical_crossentropy", axis, len(guess.shape))
    return -r.sum(labels * _log_probabilities(guess, from_logits, at), at)


def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Cross-entropy of integer labels and probabilities (or logits); drops `axis`.

    Args:
        target: labels 0 .. classes - 1 shaped like output without `axis`, or with a last axis of 1;
            any other label costs 0.
        output: probabilities, divided by their sum; logits with from_logits.
        from_logits: True when output is before the softmax.
        axis: the axis of the classes.

    Raises:
        ShapeError: labels of another shape.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.sparse_categorical_crossentropy([1], [[0.5, 0.5]])[0]), 4)
        0.6931
    """
    name = "sparse_categorical_crossentropy"
    (node,) = common(name, output, floating=True)
    guess, labels = Tensor(node), e.cast(target, "int32")
    at = axis_of(name, axis, len(guess.shape))
    if len(labels.shape) == len(guess.shape) and labels.shape[-1] == 1:
        labels = m.squeeze(labels, -1)
    wanted = guess.shape[:at] + guess.shape[at + 1 :]
    if labels.shape != wanted:
        raise ShapeError(
            f"{name} expected an integer label for each row of output {list(guess.shape)}, shaped "
            f"{list(wanted)}; received {list(labels.shape)}. One-hot labels go to "
            "categorical_crossentropy"
        )
    mine = one_hot(labels, guess.shape[at], at, "bool")
    # Chosen, not multiplied by 0: a class with a score of -inf is none that costs.
    return -r.sum(e.where(mine, _log_probabilities(guess, from_logits, at), 0.0), at)


def psnr(x1: Any, x2: Any, max_val: Any) -> Tensor:
    """Peak signal-to-noise ratio 20 log10(max_val / root mean square of x1 - x2), in decibels.

    Args:
        x1, x2: signals of one shape.
        max_val: the largest value a signal may take.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that differ.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.psnr([0.0, 0.0], [0.1, 0.1], 1.0)), 3)
        20.0
    """
    one, two = _pair("psnr", x1, x2, "signals")
    error = r.mean(e.square(one - two))
    peak = e.log(e.cast(e.convert_to_tensor(max_val), one.dtype))
    return (2.0 * peak - e.log(error)) * (10.0 / math.log(10.0))


def compute_weighted_loss(
    losses: Any, weights: Any = None, reduction: str = "sum_by_nonzero_weights"
) -> Tensor:
    """losses * weights, reduced to one number (`tf.losses.computeWeightedLoss`).

    Args:
        losses: values of any shape.
        weights: factors that broadcast to losses, or None for 1.
        reduction: "none" (keep the shape), "sum", "mean" (divided by the sum of the weights) or
            "sum_by_nonzero_weights" (divided by the number of weights that are not 0). Where there
            is nothing to divide by the result is 0.

    Raises:
        ShapeError: weights that do not broadcast to losses.
        ArgumentError: another reduction.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.compute_weighted_loss([1.0, 2.0, 4.0], [1.0, 2.0, 0.0]))
        2.5
    """
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction expected one of {REDUCTIONS}; received {reduction!r}")
    values = Tensor(common("compute_weighted_loss", losses, floating=True)[0])
    if weights is None:
        factors = ones_like(values)
    else:
        given = e.cast(e.convert_to_tensor(weights), values.dtype)
        if broadcast_shapes("compute_weighted_loss", values.shape, given.shape) != values.shape:
            raise ShapeError(
                "compute_weighted_loss expected weights that broadcast to losses of shape "
                f"{list(values.shape)}; received {list(given.shape)}. "
                "Give weights of samples the axes that follow: weights[:, None]"
            )
        factors = given * ones_like(values)
        values = values * given
    if reduction == "none":
        return values
    total = r.sum(values)
    if reduction == "sum":
        return total
    divisor = r.sum(factors if reduction == "mean" else e.cast(factors != 0, values.dtype))
    empty = e.equal(divisor, 0)
    return e.where(empty, 0.0, total / e.where(empty, 1.0, divisor))


def absolute_difference(
    labels: Any, predictions: Any, weights: Any = None, reduction: str = "sum_by_nonzero_weights"
) -> Tensor:
    """|labels - predictions|, weighted and reduced.

    Args:
        labels, predictions: of one shape.
        weights, reduction: as in `compute_weighted_loss`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.absolute_difference([1.0, 2.0], [1.0, 5.0]))
        1.5
    """
    y, p = _pair("absolute_difference", labels, predictions)
    return compute_weighted_loss(e.abs(y - p), weights, reduction)


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, reduction: str = "sum_by_nonzero_weights"
) -> Tensor:
    """(labels - predictions)**2, weighted and reduced.

    Args:
        labels, predictions: of one shape.
        weights, reduction: as in `compute_weighted_loss`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.mean_squared_error([1.0, 2.0], [1.0, 4.0]))
        2.0
    """
    y, p = _pair("mean_squared_error", labels, predictions)
    return compute_weighted_loss(e.square(y - p), weights, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int,
    weights: Any = None,
    reduction: str = "sum_by_nonzero_weights",
) -> Tensor:
    """1 - sum(labels * predictions) along `axis`, for vectors that have norm 1 already.

    Args:
        labels, predictions: of one shape.
        axis: the axis of the vectors; it stays with size 1 before the reduction.
        weights, reduction: as in `compute_weighted_loss`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.cosine_distance([[1.0, 0.0]], [[0.0, 1.0]], axis=1))
        1.0
    """
    y, p = _pair("cosine_distance", labels, predictions)
    at = axis_of("cosine_distance", axis, len(y.shape))
    return compute_weighted_loss(1.0 - r.sum(y * p, at, True), weights, reduction)


def hinge_loss(
    labels: Any, predictions: Any, weights: Any = None, reduction: str = "sum_by_nonzero_weights"
) -> Tensor:
    """max(0, 1 - (2 labels - 1) * predictions) for labels 0 and 1, weighted and reduced.

    Args:
        labels, predictions: of one shape.
        weights, reduction: as in `compute_weighted_loss`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.hinge_loss([1.0, 0.0], [0.5, 0.5]))
        1.0
    """
    y, p = _pair("hinge_loss", labels, predictions)
    return compute_weighted_loss(relu(1.0 - (2.0 * y - 1.0) * p), weights, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    delta: float = 1.0,
    reduction: str = "sum_by_nonzero_weights",
) -> Tensor:
    """Half the square of the error up to `delta`, linear beyond (Huber, 1964), weighted, reduced.

    Args:
        labels, predictions: of one shape.
        weights, reduction: as in `compute_weighted_loss`.
        delta: where the square ends.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.nn.huber_loss([0.0, 0.0], [1.0, 3.0]))
        1.5
    """
    y, p = _pair("huber_loss", labels, predictions)
    error = e.abs(p - y)
    square = e.minimum(error, delta)
    values = e.square(square) * 0.5 + (error - square) * delta
    return compute_weighted_loss(values, weights, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    epsilon: float = 1e-7,
    reduction: str = "sum_by_nonzero_weights",
) -> Tensor:
    """Cross-entropy of labels from 0 to 1 and probabilities, weighted and reduced.

    Args:
        labels, predictions: of one shape.
        weights, reduction: as in `compute_weighted_loss`.
        epsilon: added before each logarithm.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.log_loss([1.0, 0.0], [0.5, 0.5])), 4)
        0.6931
    """
    y, p = _pair("log_loss", labels, predictions)
    values = -(y * e.log(p + epsilon) + (1.0 - y) * e.log(1.0 - p + epsilon))
    return compute_weighted_loss(values, weights, reduction)


def sigmoid_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "sum_by_nonzero_weights",
) -> Tensor:
    """Cross-entropy of labels from 0 to 1 and logits, weighted and reduced.

    Args:
        labels, logits: of one shape.
        weights, reduction: as in `compute_weighted_loss`.
        label_smoothing: how far labels are moved towards 1/2, from 0 to 1.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.sigmoid_cross_entropy([1.0, 0.0], [0.0, 0.0])), 4)
        0.6931
    """
    y, x = _pair("sigmoid_cross_entropy", labels, logits, "logits")
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return compute_weighted_loss(binary_crossentropy(y, x, from_logits=True), weights, reduction)


def softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "sum_by_nonzero_weights",
) -> Tensor:
    """Cross-entropy of one-hot labels and logits along the last axis, weighted and reduced.

    Args:
        labels, logits: (..., classes).
        weights: factors that broadcast to the leading axes, or None.
        label_smoothing: the part of a label spread over all classes, from 0 to 1.
        reduction: as in `compute_weighted_loss`.

    Returns:
        Of a float dtype, float32 for integers.

    Raises:
        ShapeError: shapes that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> round(float(tg.nn.softmax_cross_entropy([[0.0, 1.0]], [[0.0, 0.0]])), 4)
        0.6931
    """
    y, x = _pair("softmax_cross_entropy", labels, logits, "logits")
    at = axis_of("softmax_cross_entropy", -1, len(x.shape))
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / x.shape[at]
    values = categorical_crossentropy(y, x, from_logits=True, axis=at)
    return compute_weighted_loss(values, weights, reduction)
