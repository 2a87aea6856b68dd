"""Metrics against Keras, over several batches of different sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad import metrics
from tabgrad.errors import ArgumentError
from tests.keras_oracle import check, keras, numbers

CLASSES = 4


def _batch(kind: str, rows: int, seed: int) -> tuple[Any, Any]:
    logits = numbers(rows, CLASSES, seed=seed)
    e = np.exp(logits)
    labels = np.random.default_rng(seed).integers(0, CLASSES, rows)
    if kind == "sparse":
        return labels, e / e.sum(-1, keepdims=True)
    if kind == "sparse column":
        return labels[:, None], e / e.sum(-1, keepdims=True)
    if kind == "one hot":
        return np.eye(CLASSES, dtype=np.float32)[labels], e / e.sum(-1, keepdims=True)
    if kind == "binary":
        return (numbers(rows, 1, seed=seed + 50) > 0) * 1.0, 1 / (1 + np.exp(-logits[:, :1]))
    if kind == "binary vector":
        return (numbers(rows, seed=seed + 50) > 0) * 1.0, 1 / (1 + np.exp(-logits[:, :1]))
    if kind == "images":
        return numbers(rows, 3, 2, seed=seed + 50), numbers(rows, 3, 2, seed=seed)
    if kind == "equal":
        return labels[:, None] * 1.0, (labels[:, None] + (logits[:, :1] > 0)) * 1.0
    return numbers(rows, CLASSES, seed=seed + 50), logits


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("Accuracy", {}, "equal"),
    ("BinaryAccuracy", {}, "binary"),
    ("BinaryAccuracy", {"threshold": 0.3}, "binary vector"),
    ("CategoricalAccuracy", {}, "one hot"),
    ("SparseCategoricalAccuracy", {}, "sparse"),
    ("SparseCategoricalAccuracy", {}, "sparse column"),
    ("MeanSquaredError", {}, "plain"),
    ("MeanSquaredError", {}, "images"),
    ("MeanAbsoluteError", {}, "plain"),
    ("BinaryCrossentropy", {}, "binary"),
    ("CategoricalCrossentropy", {}, "one hot"),
    ("SparseCategoricalCrossentropy", {}, "sparse"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[2]}".replace(" ", "-"))
def test_over_batches(case: tuple[str, dict[str, Any], str]) -> None:
    name, kwargs, kind = case
    ours, theirs = getattr(metrics, name)(**kwargs), getattr(keras.metrics, name)(**kwargs)
    assert ours.name == theirs.name
    paths = [v.path for v in ours.variables]
    assert paths == [f"metrics/{ours.name}/total", f"metrics/{ours.name}/count"]
    assert float(ours.result()) == 0.0
    for rows, seed in ((5, 1), (3, 2), (1, 3)):
        y_true, y_pred = _batch(kind, rows, seed)
        y_true, y_pred = y_true.astype(np.float32), y_pred.astype(np.float32)
        ours.update_state(y_true, y_pred)
        theirs.update_state(y_true, y_pred)
        check(ours.result(), theirs.result(), 1e-5)
        check(ours.total.value, theirs.total.value, 1e-5, "total")
        check(ours.count.value, theirs.count.value, 0, "count")
    weight = np.float32([0.5, 2.0, 0.0])
    y_true, y_pred = _batch(kind, 3, 4)
    y_true, y_pred = y_true.astype(np.float32), y_pred.astype(np.float32)
    ours.update_state(y_true, y_pred, sample_weight=weight)
    theirs.update_state(y_true, y_pred, sample_weight=weight)
    check(ours.result(), theirs.result(), 1e-5, "weighted")
    ours.reset_state()
    assert float(ours.result()) == 0.0


def test_mean() -> None:
    ours, theirs = metrics.Mean(), keras.metrics.Mean()
    for values, weight in (
        (np.float32(3.5), None),
        (numbers(4), None),
        (numbers(4, 3), None),
        (numbers(4, 3), np.float32([1, 0, 2, 1])),
        (numbers(4, 3), np.abs(numbers(4, 3, seed=5))),
    ):
        ours.update_state(values, sample_weight=weight)
        theirs.update_state(values, sample_weight=weight)
        check(ours.result(), theirs.result(), 1e-5)
    assert ours(2.0).shape == ()


@pytest.mark.parametrize(
    ("target", "output", "chosen"),
    [
        ((8,), (8, 10), "SparseCategoricalAccuracy"),
        ((8, 1), (8, 10), "SparseCategoricalAccuracy"),
        ((8, 10), (8, 10), "CategoricalAccuracy"),
        ((8, 1), (8, 1), "BinaryAccuracy"),
        ((8,), (8, 1), "BinaryAccuracy"),
        ((None,), (None, 10), "SparseCategoricalAccuracy"),
    ],
)
def test_accuracy_is_chosen_by_shape(target: Any, output: Any, chosen: str) -> None:
    for name in ("accuracy", "acc"):
        found = metrics.resolve(name, target, output)
        assert type(found).__name__ == chosen
        assert found.name == name


def test_names() -> None:
    assert metrics.resolve("mae", (4, 1), (4, 1)).variables[0].path == "metrics/mae/total"
    assert metrics.resolve(metrics.MeanSquaredError(name="e"), (4, 1), (4, 1)).name == "e"

    def farthest(y_true: Any, y_pred: Any) -> Any:
        return abs(y_true - y_pred).max(axis=-1)

    assert metrics.resolve(farthest, (4, 1), (4, 1)).name == "farthest"
    with pytest.raises(ArgumentError, match=r"a metric of .*binary_accuracy.*received 'auc'"):
        metrics.get("auc")
    again = metrics.get({"class_name": "BinaryAccuracy", "config": {"threshold": 0.7}})
    assert isinstance(again, metrics.BinaryAccuracy)
    assert again.threshold == 0.7
