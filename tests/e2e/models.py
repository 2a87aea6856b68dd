"""Models and data of these tests, and how they travel between Python and JavaScript."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import tabgrad as tg
from examples import digits
from tabgrad import naming
from tabgrad.formats import safetensors

digits_data = cache(digits.load_data)
"""x and x held out (rows, 8, 8, 1) float32, y and y held out (rows,) int32."""


def digits_model(optimizer: Any) -> tg.Sequential:
    """The classifier of examples/digits.py, to be trained by another optimizer."""
    naming.reset()
    model = digits.make_model()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def smooth_model(optimizer: Any) -> tg.Sequential:
    """A classifier of the digits without ReLU, so that no rounding turns a gradient on or off."""
    naming.reset()
    tg.random.seed(digits.SEED)
    model = tg.Sequential(
        [
            tg.Input((8, 8, 1)),
            tg.layers.Conv2D(16, 3, padding="same", activation="tanh"),
            tg.layers.AveragePooling2D(2),
            tg.layers.Conv2D(32, 3, padding="same", activation="tanh"),
            tg.layers.Flatten(),
            tg.layers.Dropout(0.4),
            tg.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def for_js(array: Any) -> dict[str, Any]:
    """An array as places.js takes it."""
    array = np.ascontiguousarray(array)
    data = base64.b64encode(array.tobytes()).decode()
    return {"data": data, "shape": list(array.shape), "dtype": array.dtype.name}


def from_js(text: str) -> dict[str, Any]:
    """The arrays of a safetensors file from places.js, by name."""
    return {
        name: np.frombuffer(array.data, array.dtype.name).reshape(array.shape)
        for name, array in safetensors.loads(base64.b64decode(text)).items()
    }


def weights_of(model: tg.Model) -> dict[str, Any]:
    """The weights by name, as a page's `saveWeights` has them."""
    return {variable.path: np.asarray(variable.value) for variable in model.weights}


def export(model: tg.Model, folder: Path, *batch_sizes: int, **options: Any) -> Path:
    """Export for these batch sizes, 32 if none, without the report that `tg.export` prints."""
    with redirect_stdout(io.StringIO()):
        tg.export(model, folder, batch_sizes=batch_sizes or [32], **options)
    return folder


def assert_same_bits(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Fail unless all arrays agree in every bit."""
    assert found.keys() == expected.keys(), where
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, (where, name)
        different = np.ascontiguousarray(found[name]).view(np.uint32) != np.ascontiguousarray(
            value
        ).view(np.uint32)
        gap = np.abs(found[name].astype(np.float64) - value).max()
        assert not different.any(), f"{where}: {different.sum()} of {name} differ, by up to {gap}"


def largest_difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest absolute difference of all arrays."""
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name].astype(np.float64) - value).max())
        for name, value in expected.items()
    )


def show_session(folder: Path) -> None:
    """Let a test ask the worker of an exported page for its Session, by `self.session`."""
    worker = folder / "tabgrad" / "worker.js"
    before = worker.read_text()
    after = before.replace("session=await openSession(", "session=self.session=await openSession(")
    assert after != before
    worker.write_text(after)
