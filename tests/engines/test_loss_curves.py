"""The same seed trains to the same loss curve on every engine of the laptop, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from examples.digits import BATCH_SIZE, load_data, make_model
from tests.ops.engines import chosen

STEPS = 200


def curve(engine: str, optimizer: str) -> Any:
    """The losses of the first steps with the digits' network, its dropout and all."""
    x, _, y, _ = load_data()
    with chosen(engine):
        model = make_model()
        made = {
            "sgd": lambda: tg.optimizers.SGD(learning_rate=0.05, momentum=0.9),
            "adam": lambda: tg.optimizers.Adam(learning_rate=0.003),
        }[optimizer]()
        model.compile(optimizer=made, loss="sparse_categorical_crossentropy")
        losses = []
        for step in range(STEPS):
            at = np.arange(step * BATCH_SIZE, (step + 1) * BATCH_SIZE) % len(x)
            losses.append(float(model.train_on_batch(x[at], y[at])))
    return np.array(losses)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "bound"), [("sgd", 1e-3), ("adam", 5e-3)])
def test_the_gpus_curve_is_that_of_wasm(optimizer: str, bound: float) -> None:
    ours, wasms = curve("webgpu", optimizer), curve("wasm", optimizer)
    assert ours[0] > 2 and ours[-20:].mean() < 0.2, "it learns"
    worst = np.abs(ours - wasms).argmax()
    assert abs(ours[worst] - wasms[worst]) <= bound, (worst, ours[worst], wasms[worst])
