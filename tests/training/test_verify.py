"""`model.verify()` accepts engines that round and finds those that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops, realize
from tabgrad.errors import ArgumentError, EngineError
from tabgrad.targets.wasm import operations
from tests.verifying import LAYERS, network
from tools.gpu import provide_adapter


class Wrapper:
    """An engine around the processor's that changes what is read from it."""

    def __init__(self) -> None:
        self.inner = realize.make_engine("wasm", False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def change(self, values: np.ndarray) -> None:
        raise NotImplementedError

    def read(self, handle: int, nbytes: int, offset: int = 0) -> bytes:
        values = np.frombuffer(self.inner.read(handle, nbytes, offset), np.float32).copy()
        self.change(values)
        return values.tobytes()


class OneElement(Wrapper):
    def change(self, values: np.ndarray) -> None:
        values[values.size // 2] *= np.float32(1.001)
        values[values.size // 2] += np.float32(1e-3)


class HalfFloats(Wrapper):
    def change(self, values: np.ndarray) -> None:
        values[:] = values.astype(np.float16)


class Broken(Wrapper):
    def run(self, *args: Any) -> None:
        raise EngineError("the device is lost", code="lost")


def quietly(model: tg.Model, **kwargs: Any) -> Any:
    return model.verify(print_fn=lambda text: None, **kwargs)


def test_every_layer_on_every_engine() -> None:
    provide_adapter()
    model, shown = network(), []
    found = model.verify(print_fn=shown.append)
    expected = [(name, what) for name in LAYERS for what in ("forward", "gradient")]
    for engine in ("wasm", "webgpu"):
        rows = [row for row in found.rows if row.engine == engine]
        assert [(row.layer, row.what) for row in rows] == [*expected, ("network", "forward")]
        assert all(row.verdict == "ok" and row.tolerance == 1e-4 for row in rows), shown[0]
    assert found.ok and not found.missing
    assert "dense (Dense)" in shown[0] and "Tolerance of float32: 0.0001" in shown[0]


def test_nothing_is_changed() -> None:
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before, engine = model.get_weights(), realize.engine()
    state = [v.numpy() for v in model.variables]
    quietly(model, engines=["wasm"])
    assert realize.engine() is engine
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    for old, variable in zip(state, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    model.fit(np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int32), verbose=0)


def test_a_wrong_kernel_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp a thousandth off: it is in softmax, so in the last layer and in nothing before it."""
    right = operations._OPERATIONS["exp"]
    monkeypatch.setitem(operations._OPERATIONS, "exp", lambda *args: right(*args) * 1.001 + 1e-3)
    found = quietly(network(), engines=["wasm"])
    wrong = {row.layer for row in found.rows if row.verdict == "WRONG"}
    assert wrong == {"dense", "network"} and not found.ok
    assert "WRONG" in str(found) and "Some layers are not right" in str(found)


@pytest.mark.parametrize("kind", [OneElement, HalfFloats])
def test_a_wrong_engine_is_found(kind: type[Wrapper]) -> None:
    """Beside one that is right, in every layer that computes."""
    found = quietly(network(), engines=["wasm", kind()])
    assert all(row.verdict == "ok" for row in found.rows if row.engine == "wasm")
    wrong = [row for row in found.rows if row.engine == kind.__name__]
    assert all(row.verdict == "WRONG" and row.error > 1e-4 for row in wrong), str(found)
    assert len(wrong) == 13, str(found)
    assert all("elements are too far off; element" in row.why for row in wrong)


def test_an_engine_that_fails_stops_nothing() -> None:
    found = quietly(network(), engines=[Broken(), "wasm"])
    rows = {engine: [r for r in found.rows if r.engine == engine] for engine in ("Broken", "wasm")}
    assert all(r.verdict == "FAILED" and "device is lost" in r.why for r in rows["Broken"])
    assert all(r.verdict == "ok" for r in rows["wasm"])
    assert not found.ok and "the device is lost" in str(found)


def test_what_is_right_is_float64() -> None:
    """The exact engine, beside NumPy in float64."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((40, 40)).astype(np.float32) for _ in range(2))
    f = tg.compile(
        lambda x, w: ops.cast(ops.sum(ops.exp(ops.sin(x) @ w / 7) + 0.1, axis=0), "float64")
    )
    engine = realize.make_engine("exact", False)
    with realize.using(engine):
        got = np.asarray(f(tg.tensor(x), tg.tensor(w)))
    wide = np.exp(np.sin(x.astype(np.float64)) @ w.astype(np.float64) / 7)
    np.testing.assert_allclose(got, (wide + np.float64(np.float32(0.1))).sum(0), rtol=1e-14)


def test_control_flow_bits_and_further_arguments() -> None:
    """Loops and branches are in float64, too; the bits of a float are those of its own dtype."""

    class Odd(tg.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

        def call(self, inputs: Any, other: Any, power: int = 1) -> Any:
            def turn(carry: Any, row: Any) -> Any:
                return ops.tanh(carry + row * self.factor), carry * 0.5

            last, kept = ops.scan(turn, inputs[0], inputs)
            chosen = ops.cond(ops.sum(inputs) > 0, lambda: last, lambda: -last)
            bits = ops.nextafter(other, other + 1)
            return ops.stack([chosen**power, kept[-1]]) + bits[:2] + ops.logaddexp(last, chosen)

    class Outer(tg.Model):
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.odd = Odd(name="odd")
            self.dense = tg.layers.Dense(3, activation="gelu", name="dense")

        def call(self, inputs: Any, training: Any = None) -> Any:
            hidden = self.dense(inputs)
            return self.odd(hidden, ops.cos(hidden), power=2) + self.odd(hidden, hidden) * 2

    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    found = quietly(Outer(), engines=["wasm", "reference"], x=x)
    assert found.ok, str(found)
    names = list(dict.fromkeys(row.layer for row in found.rows))
    assert names == ["dense", "odd", "odd, call 2", "outer"]


def test_a_badly_conditioned_layer_is_not_wrong() -> None:
    """A mean a million deviations away: the last bits of the inputs decide, on every engine."""
    layer = tg.layers.BatchNormalization(name="norm", epsilon=1e-12)
    model = tg.Sequential([tg.Input((4,)), layer])
    layer.moving_mean.assign(np.full(4, 1e3, np.float32))
    layer.moving_variance.assign(np.full(4, 1e-6, np.float32))
    x = (1e3 + 1e-3 * np.random.default_rng(0).standard_normal((8, 4))).astype(np.float32)
    found = quietly(model, engines=["wasm"], x=x)
    assert found.ok, str(found)
    assert max(row.error for row in found.rows) > 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-2), ("float64", 1e-12)])
def test_other_dtypes(dtype: str, tolerance: float) -> None:
    provide_adapter()
    model = tg.Sequential([tg.Input((20,)), tg.layers.Dense(9, activation="tanh", dtype=dtype)])
    found = quietly(model)
    assert all(row.tolerance == tolerance for row in found.rows)
    for row in found.rows:
        refused = row.engine == "webgpu" and dtype == "float64"
        assert row.verdict == ("not supported" if refused else "ok"), str(found)
    assert found.ok


def test_what_it_refuses() -> None:
    model = network()
    with pytest.raises(ArgumentError, match=r"expected a list of engines; received 'wasm'"):
        quietly(model, engines="wasm")
    with pytest.raises(ArgumentError, match=r"received 'abacus'"):
        quietly(model, engines=["abacus"])


def test_engines_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    make = realize.make_engine

    def without_gpu(name: str, deterministic: bool) -> Any:
        if name == "webgpu":
            raise EngineError("expected a GPU adapter", code="adapter")
        return make(name, deterministic)

    monkeypatch.setattr(realize, "make_engine", without_gpu)
    found = quietly(network())
    assert found.ok and found.missing == {"webgpu": "expected a GPU adapter"}
    assert "Not checked: webgpu. expected a GPU adapter" in str(found)
