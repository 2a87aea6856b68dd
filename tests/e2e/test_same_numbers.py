"""The same training on the laptop, in Node and in Chromium gives the same numbers.

With the plain kernels every bit is the same. With relaxed SIMD a multiplication and an addition
round once instead of twice, which moves weights a little.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.models import (
    assert_same_bits,
    digits_data,
    digits_model,
    export,
    for_js,
    from_js,
    largest_difference,
    smooth_model,
    weights_of,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Run

# 40 batches an epoch, so 200 steps.
ROWS, BATCH, EPOCHS, SEED = 1280, 32, 5, 3


def fits() -> list[Any]:
    x, _, y, _ = digits_data()
    data = {"x": for_js(x[:ROWS]), "y": for_js(y[:ROWS])}
    return [data | {"options": {"epochs": EPOCHS, "batchSize": BATCH, "seed": SEED}}]


def train_here(model: tg.Model) -> dict[str, list[float]]:
    x, _, y, _ = digits_data()
    return model.fit(x[:ROWS], y[:ROWS], BATCH, EPOCHS, seed=SEED, verbose=0).history


@pytest.mark.parametrize(
    "optimizer",
    [tg.optimizers.SGD(0.05), tg.optimizers.SGD(0.05, 0.9, nesterov=True), tg.optimizers.Adam()],
    ids=["sgd", "momentum", "adam"],
)
def test_200_steps_of_the_digits_model_have_the_same_bits_everywhere(
    optimizer: Any, places: dict[str, Run], tmp_path: Path
) -> None:
    model = digits_model(optimizer)
    export(model, tmp_path, deterministic=True)
    before = weights_of(model)
    history = train_here(model)
    after = weights_of(model)
    assert history["accuracy"][-1] > 0.75
    for where, run in places.items():
        found = run(tmp_path, "train", {"fits": fits()})
        assert found["worker"] == (where == "Chromium")
        assert_same_bits(from_js(found["weights"]), after, where)
        assert found["histories"][0]["history"] == history, where
    print(f"weights moved by up to {largest_difference(after, before):.2g}, the same everywhere")


# ReLU's slope jumps at 0. Once some unit's sum is so close to it that rounding decides, weights
# jump by that unit's gradient, whatever the kernels; until then they differ by rounding alone.
# With SGD's default rate that takes the digits model more than 200 steps.
@pytest.mark.parametrize(
    "make, optimizer",
    [
        (digits_model, tg.optimizers.SGD()),
        (smooth_model, tg.optimizers.SGD(0.1)),
        (digits_model, tg.optimizers.Adam(0.003)),
    ],
    ids=["sgd", "sgd without relu", "adam"],
)
def test_relaxed_simd_in_chromium_stays_close(
    make: Callable[[Any], tg.Sequential], optimizer: Any, in_chromium: Run, tmp_path: Path
) -> None:
    model = make(optimizer)
    export(model, tmp_path)
    history = train_here(model)
    found = in_chromium(tmp_path, "train", {"fits": fits()})
    apart = largest_difference(from_js(found["weights"]), weights_of(model))
    losses = np.abs(np.subtract(found["histories"][0]["history"]["loss"], history["loss"])).max()
    print(f"weights within {apart:.2g}, losses within {losses:.2g}")
    assert apart > 0, "the browser did not run the kernels with relaxed SIMD"
    assert losses <= 5e-3
    if isinstance(optimizer, tg.optimizers.SGD):
        assert apart <= 1e-5
