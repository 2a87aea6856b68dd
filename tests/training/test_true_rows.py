"""A step compiled for 32 rows and run with fewer true ones equals the exact partial batch.

This is what an exported page does with the last batch: it pads with a repeated row and passes the
true count. Nothing a batch size could leak into is left out: means of losses and metrics, batch
statistics, dropout, gradients, optimizers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import jit, realize
from tests.keras_oracle import check, numbers

BATCH = 32
LAYERS = tg.layers


def _cnn() -> tg.Sequential:
    return tg.Sequential([
        tg.Input((6, 6, 2)),
        LAYERS.Conv2D(4, 3, padding="same", activation="relu"),
        LAYERS.BatchNormalization(),
        LAYERS.MaxPooling2D(),
        LAYERS.Dropout(0.3, seed=3),
        LAYERS.Conv2D(3, 2, strides=2, padding="same"),
        LAYERS.AveragePooling2D(2, padding="same", strides=1),
        LAYERS.ReLU(negative_slope=0.1, max_value=4.0),
        LAYERS.Flatten(),
        LAYERS.Dense(5, activation="softmax"),
    ])  # fmt: skip


def _dense() -> tg.Sequential:
    return tg.Sequential([
        tg.Input((6,)),
        LAYERS.Dense(8, "gelu"),
        LAYERS.Reshape((2, 4)),
        LAYERS.Softmax(axis=1),
        LAYERS.BatchNormalization(),
        LAYERS.Flatten(),
        LAYERS.Dense(1, "sigmoid"),
    ])  # fmt: skip


LABELS = np.random.default_rng(0).integers(0, 5, BATCH)
CASES: dict[str, tuple[Any, str, list[Any], Any, Any]] = {
    "cnn": (_cnn, "sparse_categorical_crossentropy", ["accuracy"], numbers(BATCH, 6, 6, 2), LABELS),
    "one hot": (
        _cnn, "categorical_crossentropy", ["accuracy", "mse"], numbers(BATCH, 6, 6, 2),
        np.eye(5)[LABELS],
    ),
    "binary": (
        _dense, "binary_crossentropy", ["accuracy", "mae"], numbers(BATCH, 6),
        (numbers(BATCH, 1, seed=2) > 0) * 1.0,
    ),
    "regression": (_dense, "mean_absolute_error", ["mse"], numbers(BATCH, 6), numbers(BATCH, 1)),
}  # fmt: skip


def _bound(model: tg.Sequential, entry: str) -> jit.Bound:
    point = model._entries()[entry]
    traced = jit.trace(
        point.function, [((BATCH, *s.shape[1:]), s.dtype, True) for s in point.inputs], name=entry
    )
    assert traced.graph.rows == BATCH
    program, loaded = realize.load([traced.graph])
    assert not program.entries[0].exact
    return jit.Bound(traced, program, loaded)


def _padded(array: Any, rows: int, dtype: str) -> bytes:
    last = np.repeat(array[rows - 1 : rows], BATCH - rows, axis=0)
    return np.concatenate([array[:rows], last]).astype(dtype).tobytes()


@pytest.mark.parametrize("rows", [32, 31, 7, 1])
@pytest.mark.parametrize("case", CASES)
def test_a_partial_batch(case: str, rows: int) -> None:
    build, loss, metrics, x, y = CASES[case]

    def make() -> tg.Sequential:
        model = build()
        model.set_weights([
            np.abs(numbers(*v.shape, seed=i, scale=0.4)) + 0.1 if "variance" in v.path
            else numbers(*v.shape, seed=i, scale=0.4)
            for i, v in enumerate(model.weights)
        ])  # fmt: skip
        model.compile(tg.optimizers.SGD(0.1, momentum=0.9), loss, metrics=metrics)
        return model

    exact, padded = make(), make()
    y_dtype = "int32" if loss.startswith("sparse") else "float32"
    padded._ready(padded._likely_target())
    for entry in ("train_step", "train_step", "evaluate"):
        bound = _bound(padded, entry)
        for buffer, array, dtype in zip(bound.inputs, (x, y), ("float32", y_dtype)):
            assert buffer is not None
            bound.engine.write(buffer.handle, _padded(array, rows, dtype))
        padded.reset_metrics()
        bound.run(rows)
        if entry == "evaluate":
            exact.test_on_batch(x[:rows], y[:rows])
        else:
            exact.train_on_batch(x[:rows], y[:rows])
        for (mine, _), (other, _) in zip(padded._state(), exact._state(), strict=True):
            check(mine.value, other.value, 1e-5, f"{mine.path} after {entry}")
