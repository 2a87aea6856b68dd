"""Batches that the data does not fill: the page pads them, the laptop compiles them exactly.

70 rows in batches of 32 leave 6 for the last batch. In the page that batch runs as 32 rows of
which 26 are repeated and masked: nothing of the network may see them, neither the batch's mean and
variance, nor gradients, metrics or dropout.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.models import (
    assert_same_bits,
    digits_data,
    export,
    for_js,
    from_js,
    largest_difference,
    weights_of,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Run


def make_model(optimizer: Any) -> tg.Sequential:
    tg.random.seed(5)
    model = tg.Sequential(
        [
            tg.Input((8, 8, 1)),
            # A bias that the normalization takes away again would have gradients of pure rounding.
            tg.layers.Conv2D(8, 3, padding="same", use_bias=False),
            tg.layers.BatchNormalization(),
            tg.layers.ReLU(),
            tg.layers.MaxPooling2D(),
            tg.layers.Conv2D(12, 3, activation="relu"),
            tg.layers.Dropout(0.2),
            tg.layers.GlobalAveragePooling2D(),
            tg.layers.BatchNormalization(),
            tg.layers.Dropout(0.3),
            tg.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    "optimizer", [tg.optimizers.SGD(0.05), tg.optimizers.Adam()], ids=["sgd", "adam"]
)
def test_70_rows_in_batches_of_32(optimizer: Any, places: dict[str, Run], tmp_path: Path) -> None:
    x, held_x, y, held_y = digits_data()
    x, y, held_x, held_y = x[:70], y[:70], held_x[:45], held_y[:45]
    model = make_model(optimizer)
    export(model, tmp_path, deterministic=True)
    here = model.fit(
        x, y, 32, epochs=6, seed=2, verbose=0, validation_data=(held_x, held_y)
    ).history
    options = {"epochs": 6, "seed": 2, "validationData": [for_js(held_x), for_js(held_y)]}
    fits = [{"x": for_js(x), "y": for_js(y), "options": options}]
    there: dict[str, Any] = {}
    for where, run in places.items():
        there[where] = run(tmp_path, "train", {"fits": fits})
        history = there[where]["histories"][0]["history"]
        assert history.keys() == here.keys()
        losses = max(np.abs(np.subtract(history[name], here[name])).max() for name in here)
        weights = largest_difference(from_js(there[where]["weights"]), weights_of(model))
        print(f"{where}: weights within {weights:.2g}, history within {losses:.2g}")
        # Sums over 32 rows of which some are masked add up in another order than sums over 6.
        assert weights <= 2e-6
        assert losses <= 2e-6
    weights = [from_js(each["weights"]) for each in there.values()]
    assert_same_bits(weights[0], weights[1], "Node against Chromium")
    assert there["Node"]["histories"] == there["Chromium"]["histories"]
