"""Losses against Keras: values for every reduction, gradients, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import losses
from tabgrad.errors import ArgumentError, ShapeError
from tests.keras_oracle import check, jax, keras, numbers

ROWS, CLASSES = 6, 4


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


LOGITS = numbers(ROWS, CLASSES, seed=1, scale=2.0)
PROBABILITIES = _softmax(LOGITS)
UNIT = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[[0, 3, 1, 1, 2, 0]]
SPARSE = np.array([0, 3, 1, 1, 2, 0], np.int32)
BINARY = (numbers(ROWS, CLASSES, seed=2) > 0).astype(np.float32)

CASES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("MeanSquaredError", {}, numbers(ROWS, CLASSES, seed=3), LOGITS),
    ("MeanSquaredError", {}, numbers(ROWS, 3, CLASSES, seed=3), numbers(ROWS, 3, CLASSES, seed=4)),
    ("MeanAbsoluteError", {}, numbers(ROWS, CLASSES, seed=3), LOGITS),
    ("MeanAbsoluteError", {}, numbers(ROWS, seed=3), numbers(ROWS, 1, seed=4)),
    ("BinaryCrossentropy", {}, BINARY, UNIT),
    ("BinaryCrossentropy", {"from_logits": True}, BINARY, LOGITS * 20),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, BINARY, UNIT),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, BINARY, LOGITS),
    ("CategoricalCrossentropy", {}, ONE_HOT, PROBABILITIES),
    ("CategoricalCrossentropy", {"from_logits": True}, ONE_HOT, LOGITS * 20),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, ONE_HOT, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {}, SPARSE, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {}, SPARSE[:, None], PROBABILITIES),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, SPARSE, LOGITS * 20),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, SPARSE, PROBABILITIES),
    (
        "SparseCategoricalCrossentropy",
        {"from_logits": True},
        np.arange(12).reshape(4, 3) % 5,
        numbers(4, 3, 5),
    ),
]


def _id(case: tuple[str, dict[str, Any], Any, Any]) -> str:
    return f"{case[0]}-{case[1]}-{case[2].shape}".replace(" ", "")


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_values_and_gradients(case: tuple[str, dict[str, Any], Any, Any]) -> None:
    name, kwargs, y_true, y_pred = case
    values = getattr(losses, name)(reduction="none", **kwargs)(y_true, y_pred)
    # One weight a row, as a column where there are several values a row.
    weight = np.abs(numbers(len(y_pred), *(1 for _ in values.shape[1:]), seed=9)) + 0.1
    for reduction in ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight"):
        ours = getattr(losses, name)(reduction=reduction, **kwargs)
        theirs = getattr(keras.losses, name)(reduction=reduction, **kwargs)
        assert ours.name == theirs.name
        check(ours(y_true, y_pred), theirs(y_true, y_pred), 1e-5, reduction)
        mine = ours(y_true, y_pred, sample_weight=weight)
        check(mine, theirs(y_true, y_pred, sample_weight=weight), 1e-5, f"weighted {reduction}")
    ours, theirs = getattr(losses, name)(**kwargs), getattr(keras.losses, name)(**kwargs)
    mine = tg.grad(lambda p: ours(y_true, p))(tg.tensor(y_pred))
    other = jax.grad(lambda p: theirs(y_true, p))(jax.numpy.asarray(y_pred))
    check(mine, other, 1e-4, "gradient")


def test_probabilities_of_exactly_0_and_1() -> None:
    y_true = np.float32([[1, 0], [0, 1]])
    y_pred = np.float32([[1, 0], [1, 0]])
    for name in ("BinaryCrossentropy", "CategoricalCrossentropy"):
        check(
            getattr(losses, name)()(y_true, y_pred),
            getattr(keras.losses, name)()(y_true, y_pred),
            1e-5,
            name,
        )


def test_names_and_functions() -> None:
    for name in ("mse", "MSE", "mean_squared_error", "mae", "bce", "BCE"):
        assert losses.get(name).__name__ == keras.losses.get(name).__name__  # type: ignore[union-attr]
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    config = losses.serialize(losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1))
    again = losses.get(config)
    assert isinstance(again, losses.BinaryCrossentropy)
    assert again.get_config() == config["config"]


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"a loss of .*mean_squared_error.*received 'msle'"):
        losses.get("msle")
    with pytest.raises(ArgumentError, match="expected a reduction of"):
        losses.MeanSquaredError(reduction="average")
    with pytest.raises(ShapeError, match=r"\(6, 4\); received targets of shape \(6, 3\)"):
        losses.MeanSquaredError()(numbers(6, 3), LOGITS)
    with pytest.raises(ShapeError, match=r"one integer label for each row.*categorical_cross"):
        losses.SparseCategoricalCrossentropy()(ONE_HOT, PROBABILITIES)
    with pytest.raises(ShapeError, match="binary_crossentropy"):
        losses.CategoricalCrossentropy()(numbers(6, 1), numbers(6, 1))


def test_a_loss_of_ones_own() -> None:
    class Worst(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return tg.ops.max(tg.ops.abs(y_true - y_pred), axis=-1)

    assert float(Worst()([[0, 0], [0, 0]], [[1.0, 3.0], [-5.0, 1.0]])) == 4.0
