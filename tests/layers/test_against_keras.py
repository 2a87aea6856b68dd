"""Every layer, with varied arguments, against Keras: outputs, moving statistics and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import layers
from tests.keras_oracle import check, gradients, keras, numbers, values

IMAGE = (2, 8, 9, 4)
CASES: list[tuple[str, dict[str, Any], tuple[int, ...], bool]] = [
    ("Dense", {"units": 5}, (3, 4), False),
    ("Dense", {"units": 1, "use_bias": False, "activation": "relu"}, (1, 7), False),
    ("Dense", {"units": 6, "activation": "gelu"}, (2, 3, 4), False),
    ("Dense", {"units": 6, "activation": "softmax"}, (2, 3, 4), False),
    ("Dense", {"units": 3, "activation": "tanh"}, (2, 2, 2, 5), False),
    ("Conv2D", {"filters": 6, "kernel_size": 3}, IMAGE, False),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "padding": "same"}, IMAGE, False),
    ("Conv2D", {"filters": 3, "kernel_size": (2, 4), "padding": "SAME"}, IMAGE, False),
    ("Conv2D", {"filters": 5, "kernel_size": 3, "strides": 2}, IMAGE, False),
    (
        "Conv2D",
        {"filters": 5, "kernel_size": 3, "strides": (3, 2), "padding": "same"},
        IMAGE,
        False,
    ),
    ("Conv2D", {"filters": 5, "kernel_size": 2, "strides": 2, "padding": "same"}, IMAGE, False),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}, IMAGE, False),
    (
        "Conv2D",
        {"filters": 2, "kernel_size": 3, "dilation_rate": (1, 3), "padding": "same"},
        IMAGE,
        False,
    ),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2}, IMAGE, False),
    ("Conv2D", {"filters": 8, "kernel_size": 3, "groups": 4, "padding": "same"}, IMAGE, False),
    ("Conv2D", {"filters": 4, "kernel_size": 1, "use_bias": False}, IMAGE, False),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "activation": "relu"}, IMAGE, False),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "activation": "sigmoid"}, (1, 3, 3, 1), False),
    ("MaxPooling2D", {}, IMAGE, False),
    ("MaxPooling2D", {"pool_size": 3, "strides": 1}, IMAGE, False),
    ("MaxPooling2D", {"pool_size": (2, 3), "padding": "same"}, IMAGE, False),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE, False),
    ("AveragePooling2D", {"pool_size": 2}, IMAGE, False),
    ("AveragePooling2D", {"pool_size": 3, "strides": 1, "padding": "same"}, IMAGE, False),
    ("AveragePooling2D", {"pool_size": (3, 2), "strides": 2}, IMAGE, False),
    ("AveragePooling2D", {"pool_size": 3, "strides": (2, 3), "padding": "same"}, IMAGE, False),
    ("GlobalAveragePooling2D", {}, IMAGE, False),
    ("GlobalAveragePooling2D", {"keepdims": True}, IMAGE, False),
    ("Flatten", {}, IMAGE, False),
    ("Flatten", {}, (5,), False),
    ("Reshape", {"target_shape": (6, -1, 2)}, (2, 3, 8), False),
    ("Reshape", {"target_shape": (24,)}, (2, 3, 8), False),
    ("Activation", {"activation": "elu"}, (3, 5), False),
    ("Activation", {"activation": "selu"}, (3, 5), False),
    ("Activation", {"activation": "silu"}, (3, 5), False),
    ("Activation", {"activation": "swish"}, (3, 5), False),
    ("Activation", {"activation": "softplus"}, (3, 5), False),
    ("Activation", {"activation": "softsign"}, (3, 5), False),
    ("Activation", {"activation": "exponential"}, (3, 5), False),
    ("Activation", {"activation": "hard_sigmoid"}, (3, 5), False),
    ("Activation", {"activation": "leaky_relu"}, (3, 5), False),
    ("Activation", {"activation": "relu6"}, (3, 5), False),
    ("Activation", {"activation": "log_softmax"}, (3, 5), False),
    ("Activation", {"activation": "linear"}, (3, 5), False),
    ("ReLU", {}, (3, 5), False),
    ("ReLU", {"max_value": 0.5}, (3, 5), False),
    ("ReLU", {"negative_slope": 0.3}, (3, 5), False),
    ("ReLU", {"max_value": 1.0, "negative_slope": 0.3, "threshold": 0.2}, (3, 5), False),
    ("ReLU", {"threshold": 0.4}, (3, 5), False),
    ("Softmax", {}, (3, 5), False),
    ("Softmax", {"axis": 1}, (2, 3, 4), False),
    ("Softmax", {"axis": (1, 2)}, (2, 3, 4), False),
    ("Dropout", {"rate": 0.5}, (3, 5), False),
    ("Dropout", {"rate": 0.0}, (3, 5), True),
    ("Dropout", {"rate": 1.0}, (3, 5), True),
    ("BatchNormalization", {}, (6, 5), False),
    ("BatchNormalization", {}, (6, 5), True),
    ("BatchNormalization", {}, IMAGE, True),
    ("BatchNormalization", {"axis": 1, "momentum": 0.5, "epsilon": 1e-2}, IMAGE, True),
    ("BatchNormalization", {"center": False}, IMAGE, True),
    ("BatchNormalization", {"scale": False}, (6, 5), True),
    ("BatchNormalization", {"trainable": False}, (6, 5), True),
]


def _id(case: tuple[str, dict[str, Any], tuple[int, ...], bool]) -> str:
    name, kwargs, shape, training = case
    text = ",".join(f"{k}={v}" for k, v in kwargs.items()).replace(" ", "")
    return f"{name}({text})-{'x'.join(map(str, shape))}{'-training' if training else ''}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_outputs_and_gradients(case: tuple[str, dict[str, Any], tuple[int, ...], bool]) -> None:
    name, kwargs, shape, training = case
    ours = getattr(layers, name)(**kwargs)
    theirs = getattr(keras.layers, name)(**kwargs)
    x = numbers(*shape, seed=1)
    ours.build(shape)
    theirs.build(shape)
    assert [v.shape for v in ours.weights] == [tuple(v.shape) for v in theirs.weights]
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    weights = [
        np.abs(numbers(*v.shape, seed=10 + i)) + 0.1 if "variance" in v.name
        else numbers(*v.shape, seed=10 + i, scale=0.5)
        for i, v in enumerate(theirs.weights)
    ]  # fmt: skip
    ours.set_weights(weights)
    theirs.set_weights(weights)
    output = np.asarray(ours(x, training=False))
    cotangent = numbers(*output.shape, seed=2)

    def total(x: Any) -> Any:
        outputs = ours(x, training=training)
        return (outputs * tg.tensor(cotangent)).sum(), outputs

    (_, output), (by_x, by_weights) = tg.value_and_grad(
        total, argnums=0, has_aux=True, variables=ours.trainable_weights
    )(tg.tensor(x))
    (expected, state), their_x, their_weights = gradients(theirs, x, cotangent, training)
    check(output, expected, 1e-5, "output")
    check(by_x, their_x, 1e-4, "gradient by x")
    assert len(by_weights) == len(their_weights)
    for variable, mine, other in zip(ours.trainable_weights, by_weights, their_weights):
        check(mine, other, 1e-4, f"gradient by {variable.path}")
    if name == "BatchNormalization":
        for variable, other in zip(ours.non_trainable_weights, state):
            check(variable.value, other, 1e-5, variable.path)


def test_softmax_with_a_mask() -> None:
    x = numbers(2, 3, 4)
    mask = np.array([[[True, True, False, True]], [[False, False, False, False]]])
    ours = layers.Softmax()(x, mask=tg.tensor(mask))
    theirs = keras.layers.Softmax()(x, mask=keras.ops.convert_to_tensor(mask))
    check(ours, theirs, 1e-5)


def test_relu_keeps_nan() -> None:
    x = np.float32([np.nan, -1.0, 2.0])
    for kwargs in ({}, {"max_value": 1.0}, {"negative_slope": 0.5}, {"threshold": 0.5}):
        ours = np.asarray(layers.ReLU(**kwargs)(x))
        theirs = np.asarray(keras.layers.ReLU(**kwargs)(x))
        np.testing.assert_array_equal(ours, theirs)


def test_sequential_like_keras() -> None:
    """A whole CNN: same weights in, same output, by the order of get_weights and set_weights."""

    def build(k: Any) -> Any:
        return k.Sequential([
            k.Input((8, 8, 1)),
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.MaxPooling2D(),
            k.layers.Dropout(0.25),
            k.layers.Flatten(),
            k.layers.Dense(10, activation="softmax"),
        ])  # fmt: skip

    ours, theirs = build(tg), build(keras)
    weights = [
        w if "moving" in v.path else numbers(*w.shape, seed=i, scale=0.3)
        for i, (v, w) in enumerate(zip(theirs.weights, values(theirs.weights)))
    ]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for mine, other in zip(ours.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert ours.count_params() == theirs.count_params()
    assert [layer.name.rstrip("_0123456789") for layer in ours.layers] == [
        layer.name.rstrip("_0123456789") for layer in theirs.layers
    ]
    assert ours.output_shape == theirs.output_shape
    x = numbers(5, 8, 8, 1)
    check(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-5)
