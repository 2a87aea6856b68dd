"""What a user gets wrong: the message says what was expected, what came and what to do, and the
model stays usable with its weights unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config
from tabgrad.errors import ArgumentError, ShapeError, TabgradError
from tests.keras_oracle import numbers

X = numbers(8, 3, seed=1)
Y = numbers(8, 1, seed=2)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3])


def _regression() -> tg.Sequential:
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model


def _classifier() -> tg.Sequential:
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(4, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: _regression().fit(X[:, :2], Y),
        ShapeError,
        r"x of shape \(rows, 3\); received \(8, 2\)",
    ),
    (lambda: _regression().predict(np.zeros((2, 3, 3))), ShapeError, r"received \(2, 3, 3\)"),
    (lambda: _regression().fit(X, Y[:5]), ShapeError, "expected x and y to .* received 8 and 5"),
    (lambda: _regression().fit(X[:0], Y[:0]), ShapeError, "at least one row in x"),
    (lambda: _regression().predict(X[:0]), ShapeError, "at least one row in x"),
    (lambda: _regression().fit(X), ArgumentError, "expected y, the targets"),
    (lambda: _regression().fit(X, Y, batch_size=0), ArgumentError, "expected batch_size to be a"),
    (lambda: _regression().fit(X, Y, verbose=7), ArgumentError, 'expected "auto", 0, 1 or 2'),
    (lambda: _regression().fit(X, Y, callbacks=[print]), ArgumentError, "objects as callbacks"),
    (lambda: _regression().fit(X, Y, validation_split=1.5), ArgumentError, "between 0 and 1"),
    (
        lambda: _regression().fit(X, Y, validation_data=(X, Y[:2])),
        ShapeError,
        "expected validation x and validation y to have the same number of rows",
    ),
    (lambda: _regression().fit(X, Y, validation_data=X), ArgumentError, "expected a pair"),
    (lambda: _regression().fit(X, numbers(8, 2)), ShapeError, r"targets of shape \(8, 2\)"),
    (lambda: _regression().fit([[1, 2], [3]], Y), ShapeError, "ragged"),
    (lambda: _regression().fit([["a", "b", "c"]], Y), TabgradError, "received str"),
    (lambda: _classifier().fit(X, LABELS + 1), ArgumentError, "expected labels from 0 to 3"),
    (lambda: _classifier().fit(X, LABELS - 1), ArgumentError, "received labels from -1 to 2"),
    (lambda: _classifier().evaluate(X, LABELS * 2), ArgumentError, "the model has 4 outputs"),
    (lambda: _classifier().train_on_batch(X, LABELS * 2), ArgumentError, "expected labels from 0"),
    (
        lambda: _classifier().fit(X, np.eye(4)[LABELS]),
        ShapeError,
        "For one-hot labels use categorical_crossentropy",
    ),
    (
        lambda: _regression().compile("lion", "mse"),
        ArgumentError,
        "optimizer of sgd, rmsprop, adam",
    ),
    (
        lambda: _regression().compile("sgd", "msee"),
        ArgumentError,
        "a loss of .*mean_squared_error, mse.*received 'msee'",
    ),
    (
        lambda: _regression().compile("sgd", "mse", metrics=["precise"]),
        ArgumentError,
        "a metric of .*received 'precise'",
    ),
    (lambda: tg.Sequential([tg.layers.Dense(1)]).fit(X, Y), TabgradError, "Call model.compile"),
    (lambda: tg.Sequential([tg.layers.Dense(1)]).evaluate(X, Y), TabgradError, "model.evaluate"),
    (lambda: _without_a_loss(), TabgradError, "model.fit expected a loss"),
    (lambda: tg.Sequential([tg.layers.Dense(1), 3]), ArgumentError, "expected tabgrad layers"),  # type: ignore[list-item]
    (
        lambda: tg.Sequential([tg.layers.Dense(1, name="a"), tg.layers.Dense(1, name="a")]),
        ArgumentError,
        "received two called 'a'",
    ),
    (
        lambda: tg.Sequential([tg.layers.Dense(1), tg.Input((3,))]),
        ArgumentError,
        "expected Input once",
    ),
    (lambda: tg.Sequential().predict(X), ArgumentError, "expected at least one layer"),
]


def _without_a_loss() -> None:
    model = tg.Sequential([tg.layers.Dense(1)])
    model.compile("sgd")
    model.fit(X, Y)


@pytest.mark.parametrize(("act", "error", "message"), CASES)
def test_messages(act: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_the_model_stays_as_it_was() -> None:
    model = _classifier()
    model.fit(X, LABELS, verbose=0)
    before = model.get_weights()
    for act in (
        lambda: model.fit(X[:, :2], LABELS, verbose=0),
        lambda: model.fit(X, LABELS + 5, verbose=0),
        lambda: model.fit(X, LABELS[:3], verbose=0),
        lambda: model.compile("sgd", "nonsense"),
    ):
        with pytest.raises(TabgradError):
            act()
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.fit(X, LABELS, verbose=0)


def test_a_batch_larger_than_the_data_and_a_single_row() -> None:
    model = _regression()
    assert len(model.fit(X, Y, batch_size=100, verbose=0).history["loss"]) == 1
    model.fit(X[:1], Y[:1], verbose=0)
    assert model.predict(X[:1], batch_size=64).shape == (1, 1)
    assert isinstance(model.evaluate(X[:1], Y[:1], verbose=0), float)


def test_a_loss_that_is_not_finite() -> None:
    model = _regression()
    model.compile(tg.optimizers.SGD(1e20), "mse")
    with pytest.raises(TabgradError, match=r"the loss became (nan|inf).*TABGRAD_DEBUG=1") as caught:
        model.fit(X, Y, epochs=50, verbose=0)
    assert caught.value.code == "non-finite"


def test_under_debug_the_first_layer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    class Log(tg.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return tg.ops.log(inputs)

    model = tg.Sequential([
        tg.Input((3,)), tg.layers.Dense(4, name="first"), Log(name="log"), tg.layers.Dense(1),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    before = model.get_weights()
    with (
        config.override(debug=1),
        pytest.raises(
            TabgradError, match=r"first layer whose output is not finite is 'log' \(Log\)"
        ) as caught,
    ):
        model.fit(X, Y, epochs=5, verbose=0)
    assert "in epoch 1, batch 1" in str(caught.value)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("x", "x holds values that are not finite"),
        ("y", "y holds values that are not finite"),
        ("weight", "Variable 'out/kernel' was not finite before this batch"),
        ("loss", "all layers give finite outputs"),
    ],
)
def test_under_debug_other_reasons_are_named(spoil: str, message: str) -> None:
    model = _regression()
    x, y = X.copy(), Y.copy()
    if spoil == "x":
        x[3, 1] = np.nan
    elif spoil == "y":
        y[3] = np.inf
    elif spoil == "weight":
        model.layers[0].set_weights([[[np.nan], [0.0], [0.0]], [0.0]])
    else:
        model.compile("sgd", lambda y_true, y_pred: tg.ops.log(y_pred * 0.0 - 1.0)[:, 0])
    with config.override(debug=1), pytest.raises(TabgradError, match=message):
        model.fit(x, y, verbose=0)
