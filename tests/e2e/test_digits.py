"""The digits classifier reads at least 98 of 100 images it has not seen right: trained on the
laptop, and trained from scratch inside the page that was exported with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import tabgrad as tg
from examples import digits
from tests.e2e.models import (
    assert_same_bits,
    digits_data,
    export,
    for_js,
    from_js,
    weights_of,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Run


def test_at_least_98_percent_on_the_laptop_and_from_scratch_in_the_page(
    in_chromium: Run, tmp_path: Path
) -> None:
    x, held_x, y, held_y = digits_data()
    assert (len(x), len(held_x)) == (1437, 360)  # a fifth of 1,797 is held out
    model = digits.make_model()
    model.fit(x, y, digits.BATCH_SIZE, digits.EPOCHS, verbose=0)
    here = model.evaluate(held_x, held_y, verbose=0, return_dict=True)["accuracy"]
    assert here >= 0.98

    tg.random.seed(12)  # the page's weights from before any training are then others than here
    export(model, tmp_path, digits.BATCH_SIZE)
    fits = [{"x": for_js(x), "y": for_js(y), "options": {"epochs": digits.EPOCHS}}]
    value = {"fits": fits, "test": {"x": for_js(held_x), "y": for_js(held_y)}, "reset": True}
    found = in_chromium(tmp_path, "train", value)
    there = found["evaluated"]["accuracy"]
    print(f"held-out accuracy: laptop {here:.4f}, page from scratch {there:.4f}")
    assert there >= 0.98
    history = found["histories"][0]["history"]["accuracy"]
    assert history[0] < 0.8 < history[-1], "it did not begin from scratch"
    apart = max(
        np.abs(found - mine).max()
        for found, mine in zip(from_js(found["weights"]).values(), weights_of(model).values())
    )
    assert apart > 0.05, "the weights are those of the laptop"


def test_the_page_trains_the_laptop_s_network(in_chromium: Run, tmp_path: Path) -> None:
    """As examples/digits.py exports it, with its own first weights: the same network again."""
    x, y = digits_data()[0][:1280], digits_data()[2][:1280]  # whole batches
    model = digits.make_model()
    model.fit(x, y, digits.BATCH_SIZE, epochs=2, verbose=0)
    tg.random.seed(digits.SEED)
    export(model, tmp_path, digits.BATCH_SIZE, deterministic=True)
    fits = [{"x": for_js(x), "y": for_js(y), "options": {"epochs": 2}}]
    found = in_chromium(tmp_path, "train", {"fits": fits, "reset": True})
    assert_same_bits(from_js(found["weights"]), weights_of(model), "Chromium")
