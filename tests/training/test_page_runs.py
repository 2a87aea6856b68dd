"""fit in a page: it starts, trains in slices, and whoever touches the model first waits for it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize, run, training
from tabgrad.engines import faults
from tabgrad.engines.timing import TimedEngine
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.errors import EngineError
from tests.keras_oracle import numbers

X = numbers(16, 3, seed=1)
Y = numbers(16, 1, seed=2)
WARNING = "write `await model.fit"


@pytest.fixture(autouse=True)
def _in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_in_page", lambda: True)
    monkeypatch.setattr(run, "_SLICE_SECONDS", 0.0)  # one step a slice


def _model() -> tg.Sequential:
    tg.random.seed(4)
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(4, "tanh"), tg.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def _trained() -> list[Any]:
    model = _model()
    model.fit(X, Y, batch_size=4, epochs=3, verbose=0)  # no event loop: it runs through
    return model.get_weights()


def _same(a: list[Any], b: list[Any]) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def test_awaiting_fit() -> None:
    expected = _trained()
    model = _model()

    async def main() -> None:
        turns = 0

        async def page() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(page())
        history = model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        assert history.history == {}  # it has only started
        assert await history is history
        beside.cancel()
        assert turns >= 12  # the page had a turn between all steps
        assert len(history.history["loss"]) == 3

    asyncio.run(main())
    _same(model.get_weights(), expected)


TOUCHES: dict[str, Callable[[tg.Sequential], Any]] = {
    "predict": lambda m: m.predict(X, verbose=0),
    "evaluate": lambda m: m.evaluate(X, Y, verbose=0),
    "call": lambda m: m(X),
    "get_weights": lambda m: m.get_weights(),
    "layer.get_weights": lambda m: m.layers[0].get_weights(),
    "variable": lambda m: m.weights[0].tolist(),
    "layer call": lambda m: m.layers[0](X),
    "metric": lambda m: m.metrics[0].result().item(),
    "train_on_batch": lambda m: m.test_on_batch(X, Y),
    "summary": lambda m: m.summary(print_fn=str),
    "entries": lambda m: m._entries(),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_touching_the_model_finishes_the_training(touch: str) -> None:
    expected = _trained()
    model = _model()

    async def main() -> None:
        history = model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        await asyncio.sleep(0)  # one slice
        with pytest.warns(UserWarning, match=WARNING) as caught:
            TOUCHES[touch](model)
        assert len(caught) == 1
        assert len(history.history["loss"]) == 3
        _same(model.get_weights(), expected)  # and now without a warning
        await history

    asyncio.run(main())


def test_a_prediction_is_never_of_half_trained_weights() -> None:
    whole = _model()
    whole.set_weights(_trained())
    expected = np.asarray(whole.predict(X))
    model = _model()

    async def main() -> Any:
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(model.predict(X))

    np.testing.assert_array_equal(asyncio.run(main()), expected)


def test_callbacks_see_the_model_while_it_trains() -> None:
    model = _model()
    seen = []

    class Look(tg.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append((self.model.evaluate(X, Y, verbose=0), self.model.get_weights()))

    async def main() -> None:
        await model.fit(X, Y, epochs=3, verbose=0, callbacks=[Look()])

    asyncio.run(main())
    assert len(seen) == 3
    assert seen[0][0] > seen[1][0] > seen[2][0]


def test_errors_reach_whoever_waits() -> None:
    class Fail(tg.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise RuntimeError("from the callback")

    async def awaiting() -> None:
        with pytest.raises(RuntimeError, match="from the callback"):
            await _model().fit(X, Y, epochs=3, verbose=0, callbacks=[Fail()])

    asyncio.run(awaiting())
    model = _model()

    async def touching() -> None:
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[Fail()])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(RuntimeError, match="from the callback"):
                model.predict(X)
        model.predict(X)  # raised once, then the model is usable

    asyncio.run(touching())


def test_a_second_fit_finishes_the_first() -> None:
    model = _model()

    async def main() -> None:
        first = model.fit(X, Y, epochs=3, verbose=0)
        with pytest.warns(UserWarning, match=WARNING):
            second = model.fit(X, Y, epochs=2, verbose=0)
        assert len(first.history["loss"]) == 3
        await second
        assert len(second.history["loss"]) == 2

    asyncio.run(main())


def test_two_models_train_side_by_side() -> None:
    expected = _trained()
    one, two = _model(), _model()

    async def main() -> None:
        await asyncio.gather(*(
            _wait(m.fit(X, Y, batch_size=4, epochs=3, verbose=0)) for m in (one, two)
        ))  # fmt: skip

    async def _wait(history: Any) -> None:
        await history

    asyncio.run(main())
    _same(one.get_weights(), expected)
    _same(two.get_weights(), expected)


def test_touching_the_model_while_engines_are_timed() -> None:
    expected = _trained()
    model = _model()
    ended = []

    async def timing() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append(True)

    def reconsider(name: str) -> Any:
        if name == "train_step":
            yield timing()

    model._reconsider = reconsider  # type: ignore[method-assign]

    async def main() -> None:
        history = model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        for _ in range(7):
            await asyncio.sleep(0)
        assert not ended
        with pytest.warns(UserWarning, match=WARNING):
            _same(model.get_weights(), expected)
        assert len((await history).history["loss"]) == 3

    asyncio.run(main())
    assert ended


class Awaited(TimedEngine):
    """An engine like a page's GPU: its values have to be awaited, and it may fail."""

    def run(self, loaded: Any, *args: Any) -> None:
        self.inner.run(loaded.inner, *args)

    def read(self, *args: Any) -> bytes:
        raise EngineError("expected `await t.data()`", code="async")

    async def read_async(self, *args: Any) -> bytes:
        await asyncio.sleep(0)
        return bytes(self.inner.read(*args))


def test_an_engine_that_nobody_can_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _trained()
    monkeypatch.setattr(faults, "successors", lambda kind: ("wasm",))
    given = {"batch_size": 4, "epochs": 3, "verbose": 0, "validation_split": 0.0}

    async def main() -> None:
        model = _model()
        history = await model.fit(X, Y, **given, validation_data=(X, Y))
        assert len(history.history["val_loss"]) == 3
        touched = _model()
        history = touched.fit(X, Y, **given)
        for _ in range(4):
            await asyncio.sleep(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(EngineError, match=r"await model\.fit"):
                touched.predict(X)
        assert len((await history).history["loss"]) == 3, "and it went on"
        for one in (model, touched):
            got = [np.array(await w.value.data()) for w in one.weights]
            _same(got, expected)

    with realize.using(Awaited(WasmtimeEngine())):
        asyncio.run(main())
