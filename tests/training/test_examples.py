"""The examples in the docstrings of layers, training and formats are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest

import tabgrad as tg
from tests.keras_oracle import numbers

MODULES = [
    "activations", "callbacks", "data.arrays", "formats.safetensors", "initializers", "layers.base",
    "layers.activation", "layers.convolution", "layers.dense", "layers.normalization",
    "layers.pooling", "layers.regularization", "layers.reshaping", "layers.windows", "losses",
    "metrics", "models", "naming", "nonfinite", "ops.floats", "ops.hyperbolic", "ops.special",
    "optimizers", "run", "steps", "summary", "training",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"tabgrad.{name}")
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save_weights("model.safetensors")
    known: dict[str, Any] = {"model": model, "x": numbers(4, 3), "y": [0, 1, 1, 0]}
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner()
    for test in finder.find(module, extraglobs=known):
        failed, _ = runner.run(test)
        assert not failed, f"{test.name}: see the output above"
