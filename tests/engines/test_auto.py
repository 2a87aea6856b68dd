"""Choosing an engine: by name, and by timing (`auto`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize, steps
from tabgrad.engines import auto, faults
from tabgrad.engines.timing import TimedEngine
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.errors import EngineError, EngineWarning, MissingPackageError, NotSupportedError
from tabgrad.targets.wasm.target import WasmTarget
from tests.keras_oracle import numbers
from tools.gpu import provide_adapter

X, Y = numbers(40, 6, seed=1), numbers(40, 1, seed=2)


def test_a_laptop_says_which_engines_it_has() -> None:
    with pytest.raises(
        NotSupportedError, match=r"'wasm', 'webgpu' or 'reference'; received 'webgl'"
    ):
        tg.set_engine("webgl")


class Slow(TimedEngine):
    """WebAssembly that takes its time, and may call itself otherwise."""

    def __init__(self, pause: float, kind: str = "wasm", device: str = "") -> None:
        super().__init__(WasmtimeEngine())
        self.pause, self.kind, self.info, self.runs = pause, kind, {"device": device}, 0

    def run(self, loaded: Any, *args: Any) -> None:
        self.runs += 1
        time.sleep(self.pause)
        self.inner.run(loaded.inner, *args)


@pytest.fixture
def other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[Slow]]:
    """A machine with a slow processor and a GPU; the list is of the times this was opened."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(auto, "WORTH", 1)
    monkeypatch.setattr(auto, "_here", {})
    begun = Slow(0.02)
    opened: list[Slow] = []
    pause, device = getattr(request, "param", (0.0, "Fast GPU"))

    def make(name: str, deterministic: bool) -> Any:
        if name == "wasm":
            return WasmtimeEngine()
        opened.append(Slow(pause, name, device))
        return opened[-1]

    target = realize.programs.target_of
    monkeypatch.setattr(realize.current, "make_engine", make)
    monkeypatch.setattr(
        realize.programs,
        "target_of",
        lambda e: WasmTarget(e.features) if e in opened else target(e),
    )
    monkeypatch.setattr(realize.current._session, "automatic", begun)
    monkeypatch.setattr(realize.candidates, "_others", {})
    with realize.using(begun):
        yield opened


def _model(**options: Any) -> tg.Sequential:
    tg.random.seed(4)
    model = tg.Sequential([tg.Input((6,)), tg.layers.Dense(8, "tanh"), tg.layers.Dense(1)])
    model.compile("adam", "mse", **options)
    return model


def _fit(model: tg.Sequential, **options: Any) -> list[Any]:
    model.fit(X, Y, **({"epochs": 4, "batch_size": 8, "verbose": 0} | options))
    return model.get_weights()


def _same(ours: list[Any], theirs: list[Any]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_faster_engine_takes_over_between_epochs(
    other: list[Slow], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = realize.engine()
    with realize.using(WasmtimeEngine()):
        expected = _fit(_model())
    where = []
    log = tg.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: where.append(realize.engine().kind)
    )
    model = _model()
    _same(_fit(model, callbacks=[log]), expected)
    assert where == ["wasm"] * 5 + ["webgpu"] * 15, "after the first epoch"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"tabgrad: webgpu computes {model.name!r} from here on: train_step")
    assert "Fast GPU" in lines[0] and "ms on wasm" in lines[0]
    assert realize.engine() is begun, "the rest of the program stays where it was"
    assert (tg.tensor([1.0]) + 1).tolist() == [2]
    # It is remembered: another model of the same kind changes without measuring.
    where.clear()
    again = _model()
    with monkeypatch.context() as patch:
        patch.setattr(auto, "seconds", None)
        _same(_fit(again, callbacks=[log]), expected)
    assert where == ["wasm"] * 5 + ["webgpu"] * 15
    assert len(other) == 1, "and shares the engine"
    assert "faster there before" in capsys.readouterr().err
    # Nobody who asks for an engine gets another.
    asked = WasmtimeEngine()
    with realize.using(asked):
        model.predict(X)
        assert model.weights[0].handle(False) and model.weights[0]._own.engine is asked


@pytest.mark.parametrize("other", [(0.05, "Slow GPU")], indirect=True)
def test_a_slower_engine_changes_nothing(
    other: list[Slow], capsys: pytest.CaptureFixture[str]
) -> None:
    first = _model()
    weights = _fit(first)
    assert first._faster is None and len(other) == 1
    assert other[0].inner.closed
    assert other[0].runs <= 1 + auto.RUNS
    _same(_fit(_model()), weights)
    assert len(other) == 1, "what was found is remembered"
    assert capsys.readouterr().err == ""
    auto._store({})
    with tg.config.override(debug=1):
        _fit(_model())
    assert "timed train_step of" in capsys.readouterr().err


@pytest.mark.parametrize("other", [(3.0, "Stuck GPU")], indirect=True)
def test_an_engine_that_is_too_slow_to_be_timed(other: list[Slow]) -> None:
    _fit(_model(), epochs=2)
    assert other[0].runs == 1


def test_predictions_change_between_calls(other: list[Slow]) -> None:
    model = _model()
    expected = model.predict(X).numpy()
    assert not other, "who predicts once waits for nothing"
    np.testing.assert_array_equal(model.predict(X).numpy(), expected)
    assert [one.kind for one in other] == ["webgpu"]
    assert model._faster is not None and model._faster.engine is other[0]


def test_deterministic_models_and_small_ones_stay(
    other: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_deterministic_engines", [WasmtimeEngine(deterministic=True)])
    _fit(_model(deterministic=True))
    assert not other
    monkeypatch.setattr(auto, "WORTH", 100_000_000)
    _fit(_model())
    assert not other
    monkeypatch.setattr(auto, "WORTH", 1)
    with realize.using(None):
        monkeypatch.setattr(realize.current, "make_engine", lambda name, given: WasmtimeEngine())
        tg.set_engine("auto", deterministic=True)
        assert not realize.automatic()
        tg.set_engine("wasm")
        assert not realize.automatic()
        tg.set_engine("auto")
        assert realize.automatic()


def test_a_chosen_engine_that_fails_is_forgotten(
    other: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    with realize.using(WasmtimeEngine()):
        expected = _fit(_model())
    monkeypatch.setattr(faults, "successors", lambda kind: ("wasm",) if kind == "webgpu" else ())

    def fail(epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            other[0].run = lambda *given: _raise()  # type: ignore[method-assign]

    def _raise() -> None:
        raise EngineError("gone for a test", code="lost")

    model = _model()
    log = tg.callbacks.LambdaCallback(on_epoch_begin=fail)
    with pytest.warns(EngineWarning) as found:
        _same(_fit(model, callbacks=[log]), expected)
    assert len(found) == 1
    assert model._faster is None
    assert not auto._remembered()
    _fit(model)
    assert len(other) == 1, "not tried again"


def test_a_machine_without_other_engines(
    other: list[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, deterministic: bool) -> Any:
        raise MissingPackageError("no wgpu")

    monkeypatch.setattr(realize.current, "make_engine", missing)
    _fit(_model())
    assert not auto._remembered()


def test_what_is_remembered_of_another_device_is_measured_again(other: list[Slow]) -> None:
    _fit(_model())
    (key,) = auto._remembered()
    auto._store({key: {"engine": "webgpu", "device": "sold meanwhile", "at": time.time()}})
    realize.candidates._others.clear()
    _fit(_model())
    assert auto._remembered()[key]["device"] == "Fast GPU"
    assert len(other) == 2
    auto._store({key: {"engine": "wasm", "device": "", "at": time.time() - 31 * 86_400}})
    _fit(_model())
    assert auto._remembered()[key]["engine"] == "webgpu", "found anew once that is old"


def test_a_real_gpu_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is faster here, the weights are those of wasm. Software adapters are timed only
    here, where it does not matter how long that takes."""
    provide_adapter()
    monkeypatch.setattr(auto, "is_software", lambda engine: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(auto, "_here", {})
    x = np.random.default_rng(1).normal(size=(64, 512)).astype(np.float32)

    def model() -> tg.Sequential:
        tg.random.seed(1)
        made = tg.Sequential([tg.Input((512,)), tg.layers.Dense(1024, "relu"), tg.layers.Dense(1)])
        made.compile("sgd", "mse")
        return made

    with realize.using(None):
        tg.set_engine("auto")
        ours = model()
        ours.fit(x, x[:, :1], batch_size=64, epochs=3, verbose=0)
        assert ours._bound
        (entry,) = [one.program.entries[0] for one in ours._bound.values()][:1]
        assert entry.flops > auto.WORTH
        (found,) = auto._remembered().values()
        assert found["engine"] in ("wasm", "webgpu")
        got = ours.get_weights()
    with realize.using(WasmtimeEngine()):
        theirs = model()
        theirs.fit(x, x[:, :1], batch_size=64, epochs=3, verbose=0)
        for one, other in zip(got, theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("other", [(0.0, "llvmpipe (LLVM 15)")], indirect=True)
def test_a_gpu_that_is_the_processor_is_not_timed(
    other: list[Slow], capsys: pytest.CaptureFixture[str]
) -> None:
    with tg.config.override(debug=1):
        _fit(_model())
    assert "llvmpipe (LLVM 15) is the processor again" in capsys.readouterr().err
    _fit(_model())
    assert len(other) == 1 and not other[0].runs
