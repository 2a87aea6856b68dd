"""Metrics, with Keras 3's names, arguments and numbers.

A metric keeps its sums in Variables named "metrics/<name>/total" and ".../count", so that a
compiled training step updates them and any host can read `total / count`. Counts of rows are nodes
of the graph (`ops.count`), never Python numbers: see `losses.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabgrad import dtypes, initializers, losses, naming, ops
from tabgrad.errors import ArgumentError, undefined
from tabgrad.losses import match_ranks
from tabgrad.ops.public import publish_classes
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


class Metric:
    """Base class: Variables that `update_state` changes and `result` makes a number of.

    Args:
        dtype: dtype of the computation.
        name: the metric's name; by default that of its class.

    Example:
        >>> class Largest(Metric):
        ...     def __init__(self, name="largest"):
        ...         super().__init__(name=name)
        ...         self.value = self.add_variable((), "zeros", name="value")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.value.assign(ops.maximum(self.value, ops.max(y_pred)))
        ...     def result(self):
        ...         return self.value.value
    """

    # Whether larger is better: what EarlyStopping(mode="auto") asks. None is not known.
    direction: str | None = None

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or naming.auto_name(type(self).__name__)
        self.dtype = dtypes.as_dtype(dtype or "float32")
        self._variables: list[Variable] = []

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a Variable of this metric, named "metrics/<metric>/<name>"."""
        initialize = initializers.get(initializer)
        assert initialize is not None
        dtype = dtypes.as_dtype(dtype or self.dtype)
        name = name or naming.auto_name("variable")
        value = initialize(tuple(shape), dtype=dtype)
        variable = Variable(value, name=name, trainable=False, dtype=dtype)
        variable.path = f"metrics/{self.name}/{name}"
        self._variables.append(variable)
        return variable

    @property
    def variables(self) -> list[Variable]:
        """The metric's Variables."""
        return list(self._variables)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in a batch; subclasses define it."""
        raise undefined(self, "update_state(self, y_true, y_pred, sample_weight=None)")

    def result(self) -> Any:
        """The value of everything taken in since the last reset, a 0-d Tensor."""
        raise undefined(self, "result(self)")

    def reset_state(self) -> None:
        """Start again."""
        for variable in self._variables:
            # A number is uploaded as it is; zeros would be a Program's work, in every epoch.
            zero = ops.zeros(variable.shape, dtype=variable.dtype) if variable.shape else 0
            variable.assign(zero)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state`, then `result`."""
        self.update_state(*args, **kwargs)
        return self.result()

    def _read(self) -> float:
        """The result as a Python number."""
        return self._number([float(part) for part in self._parts()])

    def _parts(self) -> list[Tensor]:
        """What has to be read to know the result."""
        return [self.result()]

    def _number(self, parts: Sequence[float]) -> float:
        """The result, from what `_parts` gave."""
        return parts[0]

    def _rename(self, name: str) -> None:
        for variable in self._variables:
            variable.path = f"metrics/{name}/{variable.name}"
        self.name = name

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        """The metric that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


class Mean(Metric):
    """The (weighted) mean of values.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> metric = Mean()
        >>> metric.update_state([1.0, 3.0])
        >>> float(metric.result())
        2.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable((), name="total")
        self.count = self.add_variable((), name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values.

        Args:
            values: shaped (batch, ...) or 0-d; a row counts once, by its mean.
            sample_weight: a factor for each row (batch,) or value, or None.
        """
        values = ops.cast(ops.convert_to_tensor(values), self.dtype)
        if sample_weight is not None:
            weight = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
            values, weight = match_ranks(values, weight)
            if len(values.shape) > len(weight.shape):
                values = ops.mean(values, axis=tuple(range(len(weight.shape), len(values.shape))))
            weight = ops.broadcast_to(weight, values.shape)
            values = values * weight
            count = ops.sum(_rowwise(weight))
        elif values.shape:
            count = ops.cast(ops.count(values, axis=0), self.dtype)
        else:
            count = ops.ones((), dtype=self.dtype)
        self.total.assign(self.total.value + ops.sum(_rowwise(values)))
        self.count.assign(self.count.value + count)

    def result(self) -> Tensor:
        """total / count, and 0 before anything was added."""
        none = self.count.value == 0
        return ops.where(none, 0.0, self.total.value / ops.where(none, 1.0, self.count.value))

    def _parts(self) -> list[Tensor]:
        return [self.total.value, self.count.value]

    def _number(self, parts: Sequence[float]) -> float:
        # Divided here in double precision, exactly as the player in a page does.
        total, count = parts
        return total / count if count else 0.0


class MeanMetricWrapper(Mean):
    """The mean of a function of (y_true, y_pred) that gives one value per row.

    Args:
        fn: the function.
        name: the metric's name, by default the function's.
        dtype: dtype of the computation.
        kwargs: further arguments of the function.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self._fn = fn
        self._fn_kwargs = kwargs

    def update_state(  # type: ignore[override]  # as in Keras
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add the predictions of a batch.

        Args:
            y_true: what should have been predicted.
            y_pred: what was predicted, shaped (batch, ...).
            sample_weight: a factor for each row (batch,), or None.
        """
        super().update_state(self._fn(y_true, y_pred, **self._fn_kwargs), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._fn_kwargs}


class Accuracy(MeanMetricWrapper):
    """How often predictions equal labels exactly.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> float(Accuracy()([[1], [2]], [[1], [3]]))
        0.5
    """

    direction = "up"

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often a probability on the right side of `threshold` was predicted for a label 0 or 1.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.
        threshold: a prediction above it counts as 1.

    Example:
        >>> float(BinaryAccuracy()([[1.0], [0.0]], [[0.8], [0.6]]))
        0.5
    """

    direction = "up"

    def __init__(
        self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is the one of a one-hot label.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> float(CategoricalAccuracy()([[0.0, 1.0]], [[0.2, 0.8]]))
        1.0
    """

    direction = "up"

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is the integer label.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> float(SparseCategoricalAccuracy()([1], [[0.2, 0.8]]))
        1.0
    """

    direction = "up"

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class MeanSquaredError(MeanMetricWrapper):
    """The mean of (y_true - y_pred)².

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> float(MeanSquaredError()([[0.0, 1.0]], [[0.0, 3.0]]))
        2.0
    """

    direction = "down"

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of |y_true - y_pred|.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.

    Example:
        >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[0.0, 3.0]]))
        1.0
    """

    direction = "down"

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `losses.binary_crossentropy`.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.
        from_logits: True when y_pred is before the sigmoid.
        label_smoothing: see `losses.BinaryCrossentropy`.
    """

    direction = "down"

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            losses.binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.categorical_crossentropy`.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.
        from_logits: True when y_pred is before the softmax.
        label_smoothing: see `losses.CategoricalCrossentropy`.
        axis: the axis of the classes.
    """

    direction = "down"

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(
            losses.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.sparse_categorical_crossentropy`.

    Args:
        name: the metric's name.
        dtype: dtype of the computation.
        from_logits: True when y_pred is before the softmax.
        axis: the axis of the classes; only the last.
    """

    direction = "down"

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            losses.sparse_categorical_crossentropy, name, dtype, from_logits=from_logits, axis=axis
        )


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1.0 where a prediction equals its label, else 0.0."""
    y_true, y_pred = match_ranks(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
    return ops.cast(ops.cast(y_true, y_pred.dtype) == y_pred, "float32")


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """1.0 where `y_pred > threshold` agrees with the label 0 or 1, else 0.0."""
    y_true, y_pred = match_ranks(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
    return ops.cast(y_true == ops.cast(y_pred > threshold, y_true.dtype), "float32")


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1.0 where the likeliest class of y_pred is that of the one-hot label, else 0.0."""
    return _hits(ops.argmax(ops.convert_to_tensor(y_true), axis=-1), ops.convert_to_tensor(y_pred))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1.0 where the likeliest class of y_pred is the integer label, else 0.0."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    return _hits(ops.cast(y_true, "int32"), y_pred)


def _hits(labels: Tensor, y_pred: Tensor) -> Tensor:
    return ops.cast(labels == ops.argmax(y_pred, axis=-1), "float32")


def _rowwise(values: Tensor) -> Tensor:
    """The mean of each row, so that every row counts once."""
    if len(values.shape) <= 1:
        return values
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


_CLASSES: tuple[type[Metric], ...] = (
    Mean, Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
    MeanSquaredError, MeanAbsoluteError, BinaryCrossentropy, CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)  # fmt: skip
_BY_NAME: dict[str, type[Metric]] = {cls.__name__: cls for cls in _CLASSES}
_BY_NAME |= {naming.to_snake_case(cls.__name__): cls for cls in _CLASSES}
_BY_NAME |= {
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "bce": BinaryCrossentropy,
    "BCE": BinaryCrossentropy,
}


def get(identifier: Any) -> Metric | Callable[..., Any] | None:
    """The metric for a name, a config, a Metric or a function of (y_true, y_pred); None stays None.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> get("mae")
        <MeanAbsoluteError name=mean_absolute_error>
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            raise ArgumentError(
                f"expected a metric of {', '.join(sorted(n for n in _BY_NAME if n == n.lower()))}, "
                f"or any function of (y_true, y_pred); received {identifier!r}"
            )
        return _BY_NAME[identifier]()
    if isinstance(identifier, Mapping):
        name = identifier.get("class_name")
        if name not in _BY_NAME:
            raise ArgumentError(
                f"expected a metric class of {', '.join(_BY_NAME)}; received {name!r}"
            )
        return _BY_NAME[name].from_config(identifier.get("config") or {})
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]  # any callable is trusted to be one
    raise ArgumentError(
        "expected a name, a tabgrad.metrics.Metric or a function of (y_true, y_pred) as a metric; "
        f"received {identifier!r}"
    )


def resolve(identifier: Any, target_shape: Sequence[int], output_shape: Sequence[int]) -> Metric:
    """The metric that `compile(metrics=[identifier])` means.

    "accuracy" is the binary, the sparse or the categorical one, as Keras chooses by the shapes of
    targets and outputs.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> resolve("accuracy", (32,), (32, 10))
        <SparseCategoricalAccuracy name=accuracy>
    """
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        if output_shape[-1] == 1:
            return BinaryAccuracy(name=identifier)
        sparse = len(target_shape) < len(output_shape) or target_shape[-1] == 1
        chosen = SparseCategoricalAccuracy if sparse else CategoricalAccuracy
        return chosen(name=identifier)
    found = get(identifier)
    if found is None:
        raise ArgumentError(
            "expected a name, a tabgrad.metrics.Metric or a function of (y_true, y_pred) as a "
            "metric; received None"
        )
    if not isinstance(found, Metric):
        return MeanMetricWrapper(found)
    if isinstance(identifier, str) and found.name != identifier:
        found._rename(identifier)  # logs carry the name that was asked for, for instance "mae"
    return found


__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "get",
    "resolve",
    "sparse_categorical_accuracy",
]

publish_classes(globals())
