"""The same seed trains to the same loss curve on every engine, step by step.

Adam needs a wider bound than SGD: it divides a gradient by its own size, so that what rounding does
to a small one moves its weight as far as any other. A few times in hundreds of steps an activation
is so near zero that this decides whether ReLU lets it through, and from there curves part.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from examples.digits import BATCH_SIZE, load_data, make_model
from tests.ops.engines import PAGE_ENGINES, chosen

STEPS = 200
PLACES = ("webgpu", *PAGE_ENGINES)


@cache
def curve(place: str, optimizer: str) -> Any:
    """The losses of the first steps with the digits' network, its dropout and all."""
    x, _, y, _ = load_data()
    with chosen(place):
        model = make_model()
        made: tg.optimizers.Optimizer = tg.optimizers.Adam(learning_rate=0.003)
        if optimizer == "sgd":
            made = tg.optimizers.SGD(learning_rate=0.05, momentum=0.9)
        model.compile(optimizer=made, loss="sparse_categorical_crossentropy")
        losses = []
        for step in range(STEPS):
            at = np.arange(step * BATCH_SIZE, (step + 1) * BATCH_SIZE) % len(x)
            losses.append(float(model.train_on_batch(x[at], y[at])))
    return np.array(losses)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("optimizer", "bound"), [("sgd", 1e-3), ("adam", 5e-3)])
def test_the_gpus_curve_is_that_of_wasm(place: str, optimizer: str, bound: float) -> None:
    ours, wasms = curve(place, optimizer), curve("wasm", optimizer)
    assert ours[0] > 2 and ours[-20:].mean() < 0.2, "it learns"
    apart = np.abs(ours - wasms)
    worst = apart.argmax()
    print(
        f"{optimizer} on {place}: at most {apart[worst]:.1e} from WebAssembly's in step {worst}, "
        f"{apart[:100].max():.1e} in the first hundred"
    )
    assert apart[worst] <= bound, (worst, ours[worst], wasms[worst])
    assert apart[:100].max() <= 1e-5
