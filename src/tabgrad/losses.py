"""Losses, with Keras 3's names, arguments and numbers.

A function gives one value per row; a class reduces them to one number. Every mean is taken by
`ops.mean`, whose divisor stays a node of the graph: a Program that is run with fewer true rows
than its batch size then divides by the true count. No batch size enters arithmetic here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tabgrad import dtypes, naming, ops
from tabgrad.configs import config_of
from tabgrad.errors import ArgumentError, ShapeError, undefined
from tabgrad.ops.arguments import axis_of
from tabgrad.ops.public import publish_classes
from tabgrad.tensor import Tensor

_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss:
    """Base class: `call(y_true, y_pred)` gives values, which are weighted and reduced.

    Args:
        name: the loss's name; by default that of its class.
        reduction: "sum_over_batch_size" or "mean" (the mean of all values),
            "mean_with_sample_weight" (divided by the sum of the weights), "sum", or "none" / None.
        dtype: dtype of the computation.

    Raises:
        ArgumentError: for an unknown reduction.

    Example:
        >>> class Worst(Loss):
        ...     def call(self, y_true, y_pred):
        ...         return ops.max(ops.abs(y_true - y_pred), axis=-1)
        >>> float(Worst()([[0.0, 0.0]], [[1.0, 3.0]]))
        3.0
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ArgumentError(
                f"{type(self).__name__} expected a reduction of {_REDUCTIONS}; received "
                f"{reduction!r}"
            )
        self.name = name or naming.auto_name(type(self).__name__)
        self.reduction = reduction
        self.dtype = dtypes.as_dtype(dtype or "float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of predictions.

        Args:
            y_true: what should have been predicted.
            y_pred: what was predicted, shaped (batch, ...).
            sample_weight: a factor for each row (batch,) or value, or None.

        Returns:
            A 0-d Tensor, or one value per row when `reduction` is "none".

        Raises:
            ShapeError: when targets and predictions do not fit together.
        """
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        values = self.call(y_true, y_pred)
        weight = self._mask_weight(y_true, values)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, dtype=values.dtype)
            if weight is not None:
                weight, given = match_ranks(weight, given)
            weight = given if weight is None else given * weight
        if weight is not None:
            values, weight = match_ranks(values, weight)
            values = values * weight
        if self.reduction in ("none", None):
            return values
        if self.reduction == "sum":
            return ops.sum(values)
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            total = ops.sum(weight)
            return ops.where(total == 0, 0.0, ops.sum(values) / ops.where(total == 0, 1.0, total))
        return ops.mean(values)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The values before weighting and reduction; subclasses define it."""
        raise undefined(self, "call(self, y_true, y_pred)")

    def _mask(self, y_true: Tensor) -> Tensor | None:
        """True where a target counts, shaped like the values; None when all do."""
        return None

    def _mask_weight(self, y_true: Tensor, values: Tensor) -> Tensor | None:
        mask = self._mask(y_true)
        if mask is None:
            return None
        weight = ops.reshape(ops.cast(mask, values.dtype), values.shape)
        if self.reduction not in ("mean", "sum_over_batch_size"):
            return weight
        # Scaled, so that the mean over all places is the mean over those that count.
        valid = ops.sum(weight)
        total = ops.cast(ops.count(weight), values.dtype)
        return weight * ops.where(valid == 0, 0.0, total / ops.where(valid == 0, 1.0, valid))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction, "dtype": self.dtype.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        """The loss that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, reduction={self.reduction}>"


class LossFunctionWrapper(Loss):
    """A Loss made of a function of (y_true, y_pred).

    Args:
        fn: the function.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.
        kwargs: further arguments of the function.
    """

    def __init__(
        self,
        fn: Callable[..., Tensor],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = match_ranks(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._fn_kwargs}


class MeanSquaredError(LossFunctionWrapper):
    """Mean of (y_true - y_pred)².

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Example:
        >>> float(MeanSquaredError()([[0.0, 1.0]], [[0.0, 3.0]]))
        2.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """Mean of |y_true - y_pred|.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Example:
        >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[0.0, 3.0]]))
        1.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross-entropy of labels that are 0 or 1.

    Args:
        from_logits: True when y_pred is before the sigmoid.
        label_smoothing: from 0 to 1; moves the labels that far towards 0.5.
        axis: the axis over which the mean is taken first.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Example:
        >>> round(float(BinaryCrossentropy()([[1.0]], [[0.5]])), 4)
        0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of one-hot labels.

    Args:
        from_logits: True when y_pred is before the softmax.
        label_smoothing: from 0 to 1; the part of a label spread over all classes.
        axis: the axis of the classes.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Example:
        >>> round(float(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 4)
        0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of integer labels.

    Args:
        from_logits: True when y_pred is before the softmax.
        ignore_class: a label whose places cost nothing, or None.
        reduction: see `Loss`.
        axis: the axis of the classes; only the last.
        name: see `Loss`.
        dtype: see `Loss`.

    Example:
        >>> round(float(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]])), 4)
        0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
        self.ignore_class = ignore_class

    def _mask(self, y_true: Tensor) -> Tensor | None:
        return None if self.ignore_class is None else y_true != self.ignore_class


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """Mean of (y_true - y_pred)² over the last axis: (batch, ..., n) gives (batch, ...).

    Example:
        >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]]).tolist()
        [2.0]
    """
    y_true, y_pred = _same_shape("mean_squared_error", y_true, y_pred)
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """Mean of |y_true - y_pred| over the last axis: (batch, ..., n) gives (batch, ...).

    Example:
        >>> mean_absolute_error([[0.0, 1.0]], [[0.0, 3.0]]).tolist()
        [1.0]
    """
    y_true, y_pred = _same_shape("mean_absolute_error", y_true, y_pred)
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Mean over `axis` of the cross-entropy of labels 0 or 1 and probabilities (or logits).

    Example:
        >>> [round(v, 4) for v in binary_crossentropy([[1.0, 0.0]], [[0.5, 0.5]]).tolist()]
        [0.6931]
    """
    y_true, y_pred = _same_shape("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Cross-entropy of one-hot labels and probabilities (or logits); drops `axis`.

    Raises:
        ShapeError: when the shapes differ or there is only one class.

    Example:
        >>> [round(v, 4) for v in categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).tolist()]
        [0.6931]
    """
    y_true, y_pred = _same_shape("categorical_crossentropy", y_true, y_pred)
    axis = axis_of("categorical_crossentropy", axis, len(y_pred.shape))
    classes = y_pred.shape[axis]
    if classes == 1:
        raise ShapeError(
            f"categorical_crossentropy expected two classes or more on axis {axis}; received "
            f"predictions of shape {y_pred.shape}. For one output use binary_crossentropy"
        )
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / classes
    return ops.categorical_crossentropy(y_true, y_pred, from_logits, axis)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Cross-entropy of integer labels and probabilities (or logits); drops the last axis.

    Args:
        y_true: labels 0 .. classes-1, shaped (batch, ...) or (batch, ..., 1).
        y_pred: shaped (batch, ..., classes).
        from_logits: True when y_pred is before the softmax.
        ignore_class: a label whose places cost nothing, or None.
        axis: the axis of the classes; only the last.

    Raises:
        ShapeError: when the shapes do not fit.
        ArgumentError: for another axis than the last.

    Example:
        >>> [round(v, 4) for v in sparse_categorical_crossentropy([1], [[0.5, 0.5]]).tolist()]
        [0.6931]
    """
    y_pred = ops.convert_to_tensor(y_pred)
    labels = ops.cast(ops.convert_to_tensor(y_true), "int32")
    rank = len(y_pred.shape)
    if axis not in (-1, rank - 1):
        raise ArgumentError(
            f"sparse_categorical_crossentropy expected axis -1; received {axis}. Move the classes "
            "to the last axis with tg.moveaxis"
        )
    if len(labels.shape) == rank and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    if labels.shape != y_pred.shape[:-1]:
        raise ShapeError(
            "sparse_categorical_crossentropy expected one integer label for each row of "
            f"predictions: shape {y_pred.shape[:-1]} for predictions of shape {y_pred.shape}; "
            f"received labels of shape {labels.shape}. For one-hot labels use "
            "categorical_crossentropy"
        )
    used = None
    if ignore_class is not None:
        used = labels != ignore_class
        labels = ops.where(used, labels, 0)
    values = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits)
    return values if used is None else ops.where(used, values, 0.0)


def match_ranks(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Drop, or for vectors add, a last axis of size 1 where only one of two Tensors has it.

    Example:
        >>> [t.shape for t in match_ranks(ops.zeros((4,)), ops.zeros((4, 1)))]
        [(4, 1), (4, 1)]
    """
    if len(a.shape) == len(b.shape) + 1 and a.shape[-1] == 1:
        if len(b.shape) == 1:
            return a, ops.expand_dims(b, axis=-1)
        return ops.squeeze(a, axis=-1), b
    if len(b.shape) == len(a.shape) + 1 and b.shape[-1] == 1:
        if len(a.shape) == 1:
            return ops.expand_dims(a, axis=-1), b
        return a, ops.squeeze(b, axis=-1)
    return a, b


def _same_shape(name: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors of y_pred's dtype; ShapeError when they differ in shape.

    Keras would broadcast here, which turns a forgotten axis into a loss of the wrong thing.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    if y_true.dtype is not y_pred.dtype:
        y_true = ops.cast(y_true, y_pred.dtype)
    y_true, y_pred = match_ranks(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{name} expected targets of the shape of the predictions, {y_pred.shape}; received "
            f"targets of shape {y_true.shape}. Reshape one of them: they are not broadcast"
        )
    return y_true, y_pred


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
}
_CLASSES: dict[str, type[Loss]] = {
    "MeanSquaredError": MeanSquaredError,
    "MeanAbsoluteError": MeanAbsoluteError,
    "BinaryCrossentropy": BinaryCrossentropy,
    "CategoricalCrossentropy": CategoricalCrossentropy,
    "SparseCategoricalCrossentropy": SparseCategoricalCrossentropy,
}
_ALIASES = {
    "mse": "mean_squared_error",
    "MSE": "mean_squared_error",
    "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy",
}


def get(identifier: Any) -> Loss | Callable[..., Any] | None:
    """The loss for a name, a config, a Loss, or a function of (y_true, y_pred); None stays None.

    Returns:
        A function for a function's name, a Loss for a class's name or a config.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> get("mse") is mean_squared_error
        True
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        name = _ALIASES.get(identifier, identifier)
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        if name in _CLASSES:
            return _CLASSES[name]()
        raise ArgumentError(
            f"expected a loss of {', '.join(sorted({*_FUNCTIONS, *_ALIASES}))}, or any function of "
            f"(y_true, y_pred); received {identifier!r}"
        )
    if isinstance(identifier, Mapping):
        kind = identifier.get("class_name")
        if kind not in _CLASSES:
            raise ArgumentError(
                f"expected a loss class of {', '.join(_CLASSES)}; received {kind!r}"
            )
        return _CLASSES[kind].from_config(identifier.get("config") or {})
    if inspect.isclass(identifier) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]  # any callable is trusted to be one
    raise ArgumentError(
        "expected a name, a tabgrad.losses.Loss or a function of (y_true, y_pred) as a loss; "
        f"received {identifier!r}"
    )


def serialize(loss: Any) -> Any:
    """The name of a loss function, or the config dict of a Loss in Keras's form."""
    if not isinstance(loss, Loss):
        return loss.__name__
    return config_of(loss, "losses")


__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]

publish_classes(globals())
