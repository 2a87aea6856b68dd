"""Training on the GPU engines: the digits are learnt, and 10,000 steps leave memory as it was.

That the curves are those of WebAssembly, tests/engines/test_loss_curves.py says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from examples.digits import BATCH_SIZE, load_data, make_model
from tabgrad import realize
from tests.engines.browser import BrowserEngine, gpu_process_memory, heap_size
from tests.ops.engines import PAGE_ENGINES, chosen

GOOD = 0.98
EPOCHS = 20


@pytest.mark.slow
@pytest.mark.parametrize("place", ["webgpu", *PAGE_ENGINES])
def test_digits_are_learnt(place: str) -> None:
    """98 of 100 that were held out; training stops there."""
    x, held_out, y, labels = load_data()
    with chosen(place):
        model = make_model()
        accuracy, epoch = 0.0, 0
        while accuracy < GOOD and epoch < EPOCHS:
            model.fit(x, y, epochs=epoch + 1, initial_epoch=epoch, batch_size=BATCH_SIZE, verbose=0)
            _, accuracy = model.evaluate(held_out, labels, verbose=0)
            epoch += 1
        answers = model.predict(held_out, verbose=0).argmax(axis=1)
    print(f"{place}: {accuracy:.4f} after {epoch} epochs")
    assert accuracy >= GOOD
    assert accuracy == pytest.approx(np.mean(np.asarray(answers.numpy()) == labels))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["webgpu", "webgl"])
def test_10000_steps_leave_memory_as_it_is(kind: str) -> None:
    """A hidden layer, momentum, batches from outside: the engine's buffers, JavaScript's heap and
    the browser's GPU process."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(16, 8)).astype(np.float32)
    y = np.tanh(x.sum(axis=1, keepdims=True))
    engine = BrowserEngine(kind)
    with realize.using(engine):
        tg.random.seed(0)
        model = tg.Sequential(
            [tg.Input((8,)), tg.layers.Dense(16, activation="tanh"), tg.layers.Dense(1)]
        )
        momentum = tg.optimizers.SGD(learning_rate=0.02, momentum=0.9)
        model.compile(optimizer=momentum, loss="mse")

        def steps(count: int) -> float:
            for _ in range(count):
                loss = model.train_on_batch(x, y)
            return float(loss)

        def counted() -> dict[str, Any]:
            counts = engine.evaluate("(engine) => ({ ...engine.counts })")
            made = ("pipelines", "groups", "buffers", "shaders", "textures", "framebuffers")
            return {name: counts[name] for name in made if name in counts}

        steps(500)
        memory, made = engine.memory_use(), counted()
        heap, process = heap_size(), gpu_process_memory()
        last = steps(10_000)
        after, more = engine.memory_use(), counted()
        grown = [(heap_size() - heap) / 2**20, (gpu_process_memory() - process) / 2**20]
    engine.close()
    print(f"{kind}: {grown[0]:.2f} MB of JavaScript, {grown[1]:.2f} MB of the GPU's process more")
    assert last < 1e-4
    assert (after.live, after.peak) == (memory.live, memory.peak)
    assert after.capacity <= memory.capacity + 4096
    assert {name: more[name] - made[name] for name in more if more[name] - made[name] > 4} == {}
    assert grown[0] < 0.5
    assert grown[1] < 20
