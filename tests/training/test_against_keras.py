"""Whole training steps, fit and evaluate against Keras, from the same weights and batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.keras_oracle import check, gradients, jax, keras, numbers, values

CNN_X = numbers(20, 8, 8, 1, seed=1)
CNN_Y = np.random.default_rng(1).integers(0, 10, 20).astype(np.int32)
MLP_X = numbers(20, 6, seed=2)
MLP_Y = numbers(20, 2, seed=3)
BINARY_Y = (numbers(20, 1, seed=4) > 0).astype(np.float32)


def _cnn(k: Any) -> Any:
    return k.Sequential([
        k.Input((8, 8, 1)),
        k.layers.Conv2D(4, 3, activation="relu", padding="same"),
        k.layers.BatchNormalization(),
        k.layers.MaxPooling2D(),
        k.layers.Conv2D(6, 3, strides=2, use_bias=False),
        k.layers.ReLU(),
        k.layers.Flatten(),
        k.layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def _mlp(k: Any) -> Any:
    return k.Sequential([
        k.Input((6,)),
        k.layers.Dense(8, activation="tanh"),
        k.layers.Dense(2),
    ])  # fmt: skip


def _binary(k: Any) -> Any:
    return k.Sequential([
        k.Input((6,)),
        k.layers.Dense(5, activation="relu"),
        k.layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip


MODELS: dict[str, tuple[Any, str, Any, Any]] = {
    "cnn": (_cnn, "sparse_categorical_crossentropy", CNN_X, CNN_Y),
    "mlp": (_mlp, "mean_squared_error", MLP_X, MLP_Y),
    "binary": (_binary, "binary_crossentropy", MLP_X, BINARY_Y),
}


def _pair(name: str, optimizer: Any, metrics: Any = None) -> tuple[Any, Any, Any, Any]:
    """Our model and Keras's with the same weights, and data."""
    build, loss, x, y = MODELS[name]
    ours, theirs = build(tg), build(keras)
    start = [
        value if "moving" in v.path or "beta" in v.path or "gamma" in v.path
        else numbers(*value.shape, seed=30 + i, scale=0.4)
        for i, (v, value) in enumerate(zip(theirs.weights, values(theirs.weights)))
    ]  # fmt: skip
    for model, k in ((ours, tg), (theirs, keras)):
        model.set_weights(start)
        model.compile(optimizer=optimizer(k), loss=loss, metrics=metrics)
    return ours, theirs, x, y


def _same_weights(ours: Any, theirs: Any, tolerance: float) -> None:
    assert len(ours.weights) == len(theirs.weights)
    for variable, value in zip(ours.weights, values(theirs.weights)):
        check(variable.value, value, tolerance, variable.path)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps(name: str, momentum: float) -> None:
    ours, theirs, x, y = _pair(
        name,
        lambda k: k.optimizers.SGD(0.05, momentum=momentum, nesterov=momentum > 0),
        metrics=["accuracy"] if name != "mlp" else ["mae"],
    )
    for step in range(3):
        rows = slice(5 * step, 5 * step + 5)
        mine = ours.train_on_batch(x[rows], y[rows], return_dict=True)
        other = theirs.train_on_batch(x[rows], y[rows], return_dict=True)
        assert mine.keys() == other.keys()
        for key in other:
            check(mine[key], other[key], 1e-5, key)
        _same_weights(ours, theirs, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_adam_steps(name: str) -> None:
    """Adam divides by the size of the gradient, so where a gradient is only rounding noise the
    update is noise as well. Those elements are left out, and counted; exact zeros are not."""
    ours, theirs, x, y = _pair(name, lambda k: k.optimizers.Adam(0.01))
    noise = [np.zeros(v.shape, bool) for v in theirs.trainable_variables]
    left_out = 0
    for step in range(3):
        rows = slice(5 * step, 5 * step + 5)
        largest, grads = _keras_gradients(theirs, x[rows], y[rows])
        noise = [n | ((np.abs(g) < 1e-6 * largest) & (g != 0)) for n, g in zip(noise, grads)]
        ours.train_on_batch(x[rows], y[rows])
        theirs.train_on_batch(x[rows], y[rows])
        left_out = sum(int(n.sum()) for n in noise)
        for variable, value, skip in zip(
            ours.trainable_weights, values(theirs.trainable_variables), noise
        ):
            check(np.where(skip, 0, variable.value), np.where(skip, 0, value), 1e-5, variable.path)
    print(f"{name}: left out {left_out} of {ours.count_params()} weights as rounding noise")
    assert left_out < ours.count_params() / 10


def _keras_gradients(model: Any, x: Any, y: Any) -> tuple[float, list[Any]]:
    loss = keras.losses.get(model.loss)
    fixed = [v.value for v in model.non_trainable_variables]

    def total(weights: Any) -> Any:
        output, _ = model.stateless_call(weights, fixed, x, training=True)
        return loss(keras.ops.convert_to_tensor(y), output).mean()

    grads = jax.jit(jax.grad(total))([v.value for v in model.trainable_variables])
    grads = [np.asarray(g) for g in grads]
    return max(float(np.abs(g).max()) for g in grads), grads


def test_fit_and_evaluate() -> None:
    """Epochs with a partial last batch, unshuffled, validation, metrics: the same history."""
    ours, theirs, x, y = _pair("cnn", lambda k: k.optimizers.SGD(0.05), metrics=["accuracy"])
    arguments: dict[str, Any] = {
        "batch_size": 6, "epochs": 3, "verbose": 0, "shuffle": False, "validation_split": 0.2,
    }  # fmt: skip
    mine = ours.fit(x, y, **arguments)
    other = theirs.fit(x, y, **arguments)
    assert mine.epoch == other.epoch
    assert set(mine.history) == set(other.history)
    for key, value in other.history.items():
        check(mine.history[key], value, 1e-5, key)
    _same_weights(ours, theirs, 2e-5)
    check(
        ours.evaluate(x, y, batch_size=7, verbose=0),
        theirs.evaluate(x, y, batch_size=7, verbose=0),
        1e-5,
        "evaluate",
    )
    check(ours.predict(x, batch_size=7), theirs.predict(x, batch_size=7, verbose=0), 1e-5)


def test_gradients_through_a_whole_model() -> None:
    build, _, x, _ = MODELS["cnn"]
    ours, theirs = build(tg), build(keras)
    start = [numbers(*v.shape, seed=i, scale=0.3) ** 2 for i, v in enumerate(theirs.weights)]
    ours.set_weights(start)
    theirs.set_weights(start)
    cotangent = numbers(len(x), 10, seed=8)
    (_, _), by_x, by_weights = gradients(theirs, x, cotangent, True)
    mine_x, mine = tg.grad(
        lambda x: (ours(x, training=True) * tg.tensor(cotangent)).sum(),
        argnums=0,
        variables=ours.trainable_weights,
    )(tg.tensor(x))
    check(mine_x, by_x, 1e-4, "by x")
    for variable, a, b in zip(ours.trainable_weights, mine, by_weights, strict=True):
        check(a, b, 1e-4, variable.path)
