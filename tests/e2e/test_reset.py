"""`reset` puts back everything that a training changes, and what draws random numbers, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import naming
from tests.e2e.models import assert_same_bits, export, for_js, from_js, weights_of

if TYPE_CHECKING:
    from tests.e2e.conftest import Run

SEED, ROWS = 3, 16
OPTIONS = {"epochs": 2, "batch_size": 8}


class Noisy(tg.Model):  # type: ignore[misc]
    """Draws from the global generator in training, and with dropout from one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = tg.layers.Dense(8, "relu")
        self.dropout = tg.layers.Dropout(0.5)
        self.out = tg.layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.hidden(x)
        if training:
            x = x + 0.1 * tg.random.normal((8,))
        return self.out(self.dropout(x, training=training))

    def get_config(self) -> dict[str, Any]:
        return {}


def made() -> Noisy:
    naming.reset()
    tg.random.seed(SEED)
    model = Noisy()
    model.compile("adam", "mse")
    return model


@pytest.fixture
def data() -> tuple[Any, Any]:
    x = np.random.default_rng(5).standard_normal((ROWS, 4), np.float32)
    return x, x[:, :1] - x[:, 1:2]


def test_training_from_scratch_draws_the_same_numbers_each_time(
    places: dict[str, Run], tmp_path: Path, data: tuple[Any, Any]
) -> None:
    x, y = data
    model = made()
    model.fit(x, y, verbose=0, **OPTIONS)
    expected = weights_of(model)
    tg.random.seed(SEED)  # the first weights of the page are those of the model above
    export(model, tmp_path, 8, deterministic=True)
    fit = {"x": for_js(x), "y": for_js(y), "options": {"epochs": 2, "batchSize": 8}}
    value = {"fits": [fit], "reset": True, "spoiled": True}
    for where, run in places.items():
        found = run(tmp_path, "train", value)
        assert_same_bits(from_js(found["weights"]), expected, where)
