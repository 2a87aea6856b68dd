"""What fails in an engine in the middle of work: the next one goes on, and no weight is lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize, rescue
from tabgrad.engines import faults
from tabgrad.engines.timing import TimedEngine
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.errors import EngineError, EngineWarning
from tests.keras_oracle import numbers
from tools.gpu import provide_adapter

X, Y = numbers(40, 6, seed=1), numbers(40, 1, seed=2)


class Failing(TimedEngine):
    """An engine that can break at any of its runs, as wgpu or a browser's would."""

    def __init__(self, inner: Any, at: int = -1, code: str = "lost") -> None:
        super().__init__(inner)
        self.at, self.code, self.runs, self.closed = at, code, 0, False

    def run(self, loaded: Any, *args: Any) -> None:
        self.runs += 1
        if self.runs == self.at:
            if self.code == "lost":
                self.closed = True
                if isinstance(self.inner, WasmtimeEngine):
                    self.inner.close()
                else:
                    self.inner._device.destroy()
                    self.inner.run(loaded.inner, *args)  # says so
            raise EngineError(f"injected at run {self.at}", code=self.code)
        self.inner.run(loaded.inner, *args)

    def close(self) -> None:
        self.closed = True
        self.inner.close()


def _gpu() -> Any:
    provide_adapter()
    return realize.make_engine("webgpu", False)


def _like_a_gpu(monkeypatch: pytest.MonkeyPatch, after: Callable[[], Any]) -> None:
    """Engines of kind "wasm" may fail, and are followed by those that `after` makes."""
    monkeypatch.setattr(faults, "successors", lambda kind: ("wasm",))
    monkeypatch.setattr(realize.current, "make_engine", lambda name, deterministic: after())


@pytest.fixture(autouse=True)
def _engine_comes_back() -> Iterator[None]:
    with realize.using(realize.engine()):
        yield


def _model(optimizer: str = "adam") -> tg.Sequential:
    tg.random.seed(4)
    model = tg.Sequential(
        [
            tg.Input((6,)),
            tg.layers.Dense(8, "tanh"),
            tg.layers.Dropout(0.3, seed=5),
            tg.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


class Rates(tg.callbacks.Callback):
    """Assigns to the optimizer between steps, which a repetition has to do as well."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.batches.append(batch)
        self.model.optimizer.learning_rate.assign(0.001 * (1 + len(self.batches) % 3))


def _trained(engine: Any, **options: Any) -> tuple[Any, ...]:
    with realize.using(engine):
        model, rates = _model(), Rates()
        given = {"validation_split": 0.25, "verbose": 0, "epochs": 3, "batch_size": 8}
        given |= {"callbacks": [rates]} | options
        history = model.fit(X, Y, **given)
        slots = [v.numpy() for v in model.optimizer.variables]
        return history.history, [*model.get_weights(), *slots], rates.batches, model


def _same(ours: tuple[Any, ...], theirs: tuple[Any, ...], rtol: float = 0, atol: float = 0) -> None:
    assert ours[0].keys() == theirs[0].keys()
    for name, values in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], values, rtol=rtol, atol=atol)
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
    assert ours[2] == theirs[2], "callbacks hear of each batch once"


# Which run of all fails: the first batches, the last, validation, in every epoch.
@pytest.mark.parametrize("code", ["lost", "memory", "compile", "trap", "limit"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.62, 0.8, 0.97])
def test_fit_goes_on_with_the_same_bits(
    code: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    _like_a_gpu(monkeypatch, WasmtimeEngine)
    counted = Failing(WasmtimeEngine())
    expected = _trained(counted)
    at = max(int(counted.runs * share), 2)
    failing = Failing(WasmtimeEngine(), at, code)
    with pytest.warns(EngineWarning) as found:
        _same(_trained(failing), expected)
    assert len(found) == 1
    assert f"injected at run {at}" in str(found[0].message)


def test_every_run_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that come after the first fault: a chain of engines, each of which fails soon."""
    _like_a_gpu(monkeypatch, WasmtimeEngine)
    expected = _trained(WasmtimeEngine())
    made: list[Any] = []

    def after() -> Any:
        made.append(Failing(WasmtimeEngine(), 9) if len(made) < 3 else WasmtimeEngine())
        return made[-1]

    _like_a_gpu(monkeypatch, after)
    with pytest.warns(EngineWarning) as found:
        _same(_trained(Failing(WasmtimeEngine(), 6)), expected)
    assert len(found) == len(made) > 2


def test_copies_in_the_middle_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _trained(WasmtimeEngine())
    _like_a_gpu(monkeypatch, WasmtimeEngine)
    steps: list[int] = []
    original = rescue.Rescue._repeat

    def counting(self: Any) -> Any:
        steps.append(self._done - self._at)
        return original(self)

    monkeypatch.setattr(rescue.Rescue, "_repeat", counting)
    repeated = []
    for seconds in (5.0, 0.0):
        monkeypatch.setattr(rescue, "SECONDS_BETWEEN_COPIES", seconds)
        counted = Failing(WasmtimeEngine())
        _trained(counted)
        with pytest.warns(EngineWarning):
            _same(_trained(Failing(WasmtimeEngine(), counted.runs // 2)), expected)
        repeated.append(steps.pop())
    assert repeated[0] > 0 == repeated[1]


def test_a_lost_gpu() -> None:
    """wgpu's device is destroyed in the middle: wasm goes on from the copy."""
    counted = Failing(_gpu())
    expected = _trained(counted)
    with pytest.warns(EngineWarning, match="'webgpu' lost its device, so 'wasm'") as found:
        ours = _trained(Failing(_gpu(), int(counted.runs * 0.6)))
        assert ours[3].predict(X).shape == (40, 1)
    assert len(found) == 1
    _same(ours, expected, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end", "on_epoch_begin"])
def test_a_callback_that_notices_first(hook: str) -> None:
    expected = _trained(_gpu(), callbacks=[Rates()])
    engine = _gpu()

    class Look(Rates):
        calls = 0

        def lose(self, *args: Any) -> None:
            self.calls += 1
            if self.calls == 2:
                engine._device.destroy()
                assert (tg.tensor([1.0]) + 1).tolist() == [2]

    setattr(Look, hook, Look.lose)
    look = Look()
    with pytest.warns(EngineWarning) as found:
        ours = _trained(engine, callbacks=[look])
    assert len(found) == 1
    _same(ours, expected, rtol=2e-4, atol=2e-6)


def test_a_lost_gpu_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Failing(_gpu())
    expected = _trained(counted)
    first, second = _gpu(), _gpu()
    monkeypatch.setattr(realize.current, "make_engine", lambda name, deterministic: second)
    with pytest.warns(EngineWarning) as found:
        _same(_trained(Failing(first, int(counted.runs * 0.6))), expected)
    assert len(found) == 1


@pytest.mark.parametrize("at", [1, 3, 6, 9])
def test_evaluate_and_predict(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _trained(WasmtimeEngine())[3]
    losses = model.evaluate(X, Y, batch_size=8, verbose=0)
    predicted = model.predict(X, batch_size=8).numpy()
    _like_a_gpu(monkeypatch, WasmtimeEngine)
    with (
        realize.using(Failing(WasmtimeEngine(), at)),
        warnings.catch_warnings(record=True) as found,
    ):
        warnings.simplefilter("always")
        assert model.evaluate(X, Y, batch_size=8, verbose=0) == losses
        np.testing.assert_array_equal(model.predict(X, batch_size=8).numpy(), predicted)
    assert [one.category for one in found] == [EngineWarning]


def test_the_model_is_used_after_its_gpu_was_lost() -> None:
    engine = _gpu()
    _, weights, _, model = _trained(engine)
    with realize.using(engine):
        model.evaluate(X, Y, verbose=0)
        engine._device.destroy()
        with pytest.warns(EngineWarning) as found:
            after = [*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]]
            model.predict(X)
            model.fit(X, Y, epochs=1, verbose=0)
        assert realize.engine().kind == "wasm"
    assert len(found) == 1
    for one, other in zip(after, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_eager_values() -> None:
    engine = _gpu()
    with realize.using(engine):
        given = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        table = tg.exp(tg.arange(4.0)).realize()
        made = (given * 2).realize()
        variable = tg.Variable([1.0, 2.0], name="counted")
        changed = tg.Variable([1.0, 2.0], name="changed")
        step = tg.compile(lambda: changed.assign_add(given[0]))
        step()
        engine._device.destroy()
        with pytest.warns(EngineWarning) as found:
            assert (given + 1).tolist() == [[2, 3], [4, 5]]
        assert len(found) == 1
        assert realize.engine().kind == "wasm"
        np.testing.assert_allclose(table.numpy(), np.exp(np.arange(4.0)), rtol=1e-6)
        assert given.tolist() == [[1, 2], [3, 4]]
        assert variable.tolist() == [1, 2]
        with pytest.raises(
            EngineError, match=r"float32 \[2, 2\].*only on the engine 'webgpu'"
        ) as e:
            made.tolist()
        assert e.value.code == "gone"
        with pytest.raises(EngineError, match=r"float32 \[2, 2\]"):
            (made + 1).realize()
        with pytest.raises(EngineError, match="Variable 'changed'"):
            step()
        changed.assign([5.0, 6.0])
        assert step().tolist() == [6, 8]


def test_a_run_that_changes_values_in_place_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    total = tg.Variable(0.0, name="total")
    add = tg.compile(lambda x: total.assign_add(x.sum()))
    double = tg.compile(lambda x: x * 2)
    _like_a_gpu(monkeypatch, WasmtimeEngine)
    x = np.ones(4, np.float32)
    with realize.using(Failing(WasmtimeEngine(), 2, "trap")):
        add(x)
        with pytest.raises(EngineError, match="failed while it changed Variables") as found:
            add(x)
        assert found.value.code == "spoilt"
    with realize.using(Failing(WasmtimeEngine(), 1, "trap")):
        with pytest.warns(EngineWarning):
            assert double(x).tolist() == [2, 2, 2, 2]


def test_a_refused_shader(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _gpu()
    original = type(engine)._pipeline
    broken = lambda self, code, layout: original(self, code.replace("fn main", "fn no"), layout)  # noqa: E731
    monkeypatch.setattr(type(engine), "_pipeline", broken)
    expected = _trained(WasmtimeEngine())
    with pytest.warns(EngineWarning, match="'webgpu' refused a kernel") as found:
        _same(_trained(engine), expected)
    assert len(found) == 1


def test_memory_that_a_gpu_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _gpu()
    make = engine._device.create_buffer

    def small(size: int, **options: Any) -> Any:
        if size > 1 << 20:
            raise engine._wgpu.GPUOutOfMemoryError("Not enough memory left.")
        return make(size=size, **options)

    device = SimpleNamespace(**_public(engine._device))
    device.create_buffer = small
    monkeypatch.setattr(engine._buffers, "_device", device)
    with realize.using(engine):
        x = tg.tensor(np.arange(12, dtype=np.float32))
        y = (x + 1).realize()
        with pytest.warns(EngineWarning, match="'webgpu' has too little memory") as found:
            rows = (tg.zeros((100_000, 12)) + y).realize()
        assert realize.engine().kind == "wasm"
        np.testing.assert_array_equal(rows[7].numpy(), np.arange(12) + 1)
        assert y.tolist() == list(range(1, 13)), "what is on the other is still there"
    assert len(found) == 1


def _public(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}


def test_the_next_engine_may_be_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(name: str, deterministic: bool) -> Any:
        made.append(name)
        if name == "webgl":
            raise EngineError("this browser gives none", code="adapter")
        return WasmtimeEngine()

    monkeypatch.setattr(realize.current, "make_engine", make)
    monkeypatch.setattr(faults, "successors", lambda kind: ("webgl", "wasm"))
    with realize.using(Failing(WasmtimeEngine(), 1)), pytest.warns(EngineWarning) as found:
        assert (tg.tensor([1.0, 2.0]) + 1).tolist() == [2, 3]
    assert made == ["webgl", "wasm"]
    assert len(found) == 1


def test_errors_of_users_move_nothing() -> None:
    with realize.using(_gpu()):
        with pytest.raises(tg.errors.NotSupportedError, match="32 bits"):
            (tg.tensor([1], dtype="int64") + 1).realize()
        assert realize.engine().kind == "webgpu"
