"""fit, evaluate, predict and what they promise: history, orders, callbacks' view, reuse."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.data import arrays
from tabgrad.errors import ArgumentError
from tests.keras_oracle import numbers

X = numbers(11, 3, seed=1)
Y = numbers(11, 1, seed=2)


def _model(**kwargs: Any) -> tg.Sequential:
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(4, "tanh"), tg.layers.Dense(1)])
    model.compile("sgd", "mse", **kwargs)
    return model


def test_the_seed_program(capsys: pytest.CaptureFixture[str]) -> None:
    model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mean_squared_error")
    model.layers[0].set_weights([[[0.0]], [0.0]])
    xs = tg.tensor([1, 2, 3, 4], shape=(4, 1), dtype="float32")
    ys = tg.tensor([1, 3, 5, 7], shape=(4, 1), dtype="float32")
    history = model.fit(xs, ys, epochs=100, verbose=0)
    assert len(history.history["loss"]) == 100
    prediction = model.predict(tg.tensor([[5.0]]))
    # The same steps in double precision.
    w = b = 0.0
    x, y = np.arange(1.0, 5.0), np.array([1.0, 3.0, 5.0, 7.0])
    for _ in range(100):
        error = w * x + b - y
        w, b = w - 0.01 * 2 * (error * x).mean(), b - 0.01 * 2 * error.mean()
    assert prediction.shape == (1, 1)
    assert prediction.item() == pytest.approx(5 * w + b, rel=1e-5)
    assert capsys.readouterr().out == ""


def test_batches_follow_the_order_of_seed_and_epoch() -> None:
    """A metric that sees its rows proves which rows each batch had."""
    seen: list[list[float]] = []
    model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1, kernel_initializer="zeros")])
    last = tg.Variable(np.zeros((4, 1), np.float32), trainable=False, name="last")

    class Watch(tg.layers.Layer):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            if training and inputs.shape[0] == 4:
                last.assign(inputs)
            return inputs

    class Collect(tg.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch < 2:
                seen.append([int(v[0]) for v in last.tolist()])

    model = tg.Sequential([tg.Input((1,)), Watch(), tg.layers.Dense(1)])
    model.compile(tg.optimizers.SGD(0.0), "mse")
    x = np.arange(10, dtype=np.float32)[:, None]
    model.fit(x, x, batch_size=4, epochs=2, seed=5, verbose=0, callbacks=[Collect()])
    expected = []
    for epoch in range(2):
        order = arrays.order(5, epoch, 10)
        expected += [order[:4], order[4:8]]
    assert seen == expected
    seen.clear()
    model.fit(x, x, batch_size=4, shuffle=False, verbose=0, callbacks=[Collect()])
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_same_seed_same_history_and_orders_go_on() -> None:
    def train(epochs: list[int], seed: int | None) -> list[float]:
        tg.random.seed(1)
        model = _model()
        found: list[float] = []
        for count in epochs:
            found += model.fit(X, Y, 4, epochs=count, verbose=0, seed=seed).history["loss"]
        return found

    assert train([4], 3) == train([4], 3)
    assert train([4], 3) != train([4], 4)
    # Without a seed, a second fit continues the sequence of orders.
    assert train([4], None) == train([1, 3], None) == train([4], 0)


def test_history_and_validation() -> None:
    model = _model(metrics=["mae"])
    history = model.fit(X, Y, epochs=4, verbose=0, validation_split=0.3, validation_freq=2)
    assert history.epoch == [0, 1, 2, 3]
    assert model.history is history
    assert {k: len(v) for k, v in history.history.items()} == {
        "loss": 4, "mae": 4, "val_loss": 2, "val_mae": 2,
    }  # fmt: skip
    history = model.fit(X, Y, epochs=6, initial_epoch=4, verbose=0, validation_data=(X[:3], Y[:3]))
    assert history.epoch == [4, 5]
    held = model.evaluate(X[:3], Y[:3], verbose=0, return_dict=True)
    assert held["loss"] == history.history["val_loss"][-1]


def test_evaluate_and_predict_do_not_depend_on_the_batch_size() -> None:
    model = _model(metrics=["mae"])
    whole = model.evaluate(X, Y, batch_size=11, verbose=0)
    assert len(whole) == 2
    for size in (1, 2, 4, 100):
        parts = model.evaluate(X, Y, batch_size=size, verbose=0)
        np.testing.assert_allclose(parts, whole, rtol=1e-6)
        np.testing.assert_allclose(
            model.predict(X, batch_size=size), np.asarray(model.predict(X)), rtol=1e-6
        )
    assert model.test_on_batch(X, Y, return_dict=True).keys() == {"loss", "mae"}
    np.testing.assert_allclose(model.predict_on_batch(X), model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(model(X), model.predict(X), rtol=1e-6)


def test_metrics_start_again_each_epoch() -> None:
    model = _model()
    model.compile(tg.optimizers.SGD(0.0), "mse")
    losses = model.fit(X, Y, batch_size=4, epochs=3, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
    assert float(model.metrics[0].count.value) == len(X)  # type: ignore[attr-defined]


def test_inputs_of_many_kinds() -> None:
    model = _model()
    for x, y in (
        (X.tolist(), Y.tolist()),
        (X.astype(np.float64), Y.astype(np.float64)),
        (tg.tensor(X), tg.tensor(Y)),
        (X, Y[:, 0]),
        (np.arange(33).reshape(11, 3), np.arange(11)),
    ):
        model.fit(x, y, verbose=0)
    pixels = np.arange(33, dtype=np.uint8).reshape(11, 3)
    np.testing.assert_allclose(model.predict(pixels), model.predict(pixels.astype(np.float32)))


def test_shapes_are_learnt_from_data() -> None:
    model = tg.Sequential([tg.layers.Dense(2)])
    model.compile("adam", "mse")
    assert not model.built
    model.fit(X, X[:, :2], verbose=0)
    assert model.input_shape == (None, 3)
    assert model.output_shape == (None, 2)


def test_compile_again_and_change_the_learning_rate() -> None:
    model = _model()
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.compile("adam", "mae", metrics=["mse"])
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    history = model.fit(X, Y, verbose=0)
    assert set(history.history) == {"loss", "mse"}
    model.optimizer.learning_rate = 0.0  # type: ignore[union-attr]
    still = model.get_weights()
    model.fit(X, Y, verbose=0)
    for a, b in zip(still, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_frozen_layers_do_not_move() -> None:
    model = tg.Sequential([
        tg.Input((3,)), tg.layers.Dense(4), tg.layers.BatchNormalization(), tg.layers.Dense(1),
    ])  # fmt: skip
    model.layers[0].trainable = False
    model.layers[1].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    moved = [bool((a != b).any()) for a, b in zip(before, model.get_weights())]
    assert moved == [False] * 6 + [True] * 2


def test_an_alias_taken_before_fit_keeps_its_value() -> None:
    model = _model()
    kernel = model.layers[0].kernel  # type: ignore[attr-defined]
    alias, copy = kernel.value, np.array(kernel.value)
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(alias, copy)
    assert (np.asarray(kernel.value) != copy).any()


def test_one_call_compiles_once() -> None:
    """A step is captured once for each batch size, however many epochs run."""
    calls = []

    class Count(tg.layers.Layer):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            calls.append((inputs.shape, training))
            return inputs

    model = tg.Sequential([tg.Input((3,)), Count(), tg.layers.Dense(1)])
    model.compile("sgd", "mse")
    calls.clear()
    for _ in range(2):
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        model.predict(X, batch_size=4)
    assert calls == [((4, 3), True), ((3, 3), True), ((4, 3), False), ((3, 3), False)]


def test_a_subclassed_model() -> None:
    class Net(tg.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = tg.layers.Dense(4, "relu")
            self.drop = tg.layers.Dropout(0.5, seed=1)
            self.out = tg.layers.Dense(1)

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.out(self.drop(self.hidden(inputs), training=training))

    net = Net()
    net.compile("adam", "mse")
    losses = net.fit(X, Y, batch_size=4, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert [v.path for v in net.weights] == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias",
    ]  # fmt: skip
    assert net.input_shape == (None, 3)


def test_sequential_inside_sequential() -> None:
    body = tg.Sequential([tg.layers.Dense(4, name="a"), tg.layers.Dense(2, name="b")], name="body")
    model = tg.Sequential([tg.Input((3,)), body, tg.layers.Dense(1, name="a")])
    assert [v.path for v in model.weights] == [
        "body/a/kernel", "body/a/bias", "body/b/kernel", "body/b/bias", "a/kernel", "a/bias",
    ]  # fmt: skip
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


def test_layers_built_on_their_own_get_different_paths() -> None:
    one, two = (tg.Sequential([tg.Input((3,)), tg.layers.Dense(3, name="d")]) for _ in range(2))
    assert one.weights[0].path == two.weights[0].path == "d/kernel"
    model = tg.Sequential([tg.Input((3,)), one, two])
    paths = [v.path for v in model.weights]
    assert len(set(paths)) == 4, paths


def test_await_works_where_fit_has_already_finished() -> None:
    model = _model()

    async def main() -> tg.callbacks.History:
        return await model.fit(X, Y, epochs=2, verbose=0)

    history = asyncio.run(main())
    assert len(history.history["loss"]) == 2


def test_weights_and_slots_of_adam_train() -> None:
    model = _model()
    model.compile(tg.optimizers.Adam(0.05), "mse")
    losses = model.fit(X, Y, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    assert int(model.optimizer.iterations.value) == 60  # type: ignore[union-attr]


def test_entries_for_export() -> None:
    model = _model(metrics=["mae"])
    entries = model._entries()
    assert list(entries) == ["predict", "train_step", "evaluate"]
    assert [(s.name, s.shape, str(s.dtype)) for s in entries["train_step"].inputs] == [
        ("x", (None, 3), "float32"), ("y", (None, 1), "float32"),
    ]  # fmt: skip
    roles: dict[str, list[str]] = {}
    for variable, role in model._state():
        roles.setdefault(role, []).append(variable.path)
    assert roles["weight"] == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert roles["metric"] == [
        "metrics/loss/total", "metrics/loss/count", "metrics/mae/total", "metrics/mae/count",
    ]  # fmt: skip
    assert roles["optimizer"][:2] == ["optimizer/iterations", "optimizer/learning_rate"]
    training = model._training()
    assert training is not None
    assert training["loss"] == "mean_squared_error"
    assert [m["name"] for m in training["metrics"]] == ["loss", "mae"]
    # What the entries say is what they take: one step through them equals one step of fit.
    before = model.get_weights()
    tg.compile(entries["train_step"].function)(tg.tensor(X), tg.tensor(Y))
    stepped = model.get_weights()
    model.set_weights(before)
    model.train_on_batch(X, Y)
    for a, b in zip(stepped, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    labels = tg.Sequential([tg.Input((3,)), tg.layers.Dense(4, "softmax")])
    labels.compile("sgd", "sparse_categorical_crossentropy")
    y = labels._entries()["train_step"].inputs[1]
    assert (y.shape, str(y.dtype)) == ((None,), "int32")


@pytest.mark.parametrize(
    ("kind", "features"), [("webgpu", []), ("webgpu", ["cooperative"]), ("webgl", [])]
)
def test_gpus_refuse_to_be_deterministic(kind: str, features: list[str]) -> None:
    """Also one without features, whose threads work alone; the model stays as it was compiled."""
    model = _model()
    with (
        realize.using(SimpleNamespace(kind=kind, features=frozenset(features))),
        pytest.raises(ArgumentError, match=f"deterministic=True with .* 'wasm'.*received '{kind}'"),
    ):
        model.compile("adam", "mae", deterministic=True)
    assert (type(model.optimizer), model.loss) == (tg.optimizers.SGD, "mse")
    model.fit(X, Y, verbose=0)
    reference = realize.make_engine("reference", False)
    with realize.using(reference):
        model.compile("adam", "mae", deterministic=True)


def test_deterministic_uses_an_engine_of_its_own() -> None:
    """The same bits as on an engine that was chosen to be deterministic for everything."""

    def train(deterministic: bool) -> list[Any]:
        model = tg.Sequential([
            tg.Input((3,)), tg.layers.Dense(40, "tanh"), tg.layers.Dense(1),
        ])  # fmt: skip
        model.set_weights([numbers(*v.shape, seed=i) for i, v in enumerate(model.weights)])
        model.compile("adam", "mse", deterministic=deterministic)
        model.fit(X, Y, batch_size=4, epochs=5, seed=1, verbose=0)
        model.evaluate(X, Y, verbose=0)
        return [*model.get_weights(), np.asarray(model.predict(X)), np.asarray(model(X))]

    own = train(True)
    chosen = realize.make_engine("wasm", True)
    with realize.using(chosen):
        expected = train(False)
    assert not chosen.features
    for a, b in zip(own[:-1], expected[:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    # Called directly, the model computes on the engine in use: close, but not promised equal.
    np.testing.assert_allclose(own[-1], expected[-1], rtol=1e-5)
