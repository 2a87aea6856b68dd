"""The Layer base class: names, paths, tracking, building, configs, errors that name the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import layers, naming
from tabgrad.errors import ArgumentError, CaptureError, NotSupportedError, ShapeError, TabgradError
from tests.keras_oracle import keras

BUILT_IN = [
    layers.Dense(3, activation="relu", use_bias=False, name="d"),
    layers.Conv2D(4, (3, 2), strides=2, padding="same", groups=2, activation="tanh"),
    layers.MaxPooling2D(3, strides=2, padding="same"),
    layers.AveragePooling2D((2, 3)),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.Flatten(),
    layers.Reshape((2, -1)),
    layers.Activation("gelu"),
    layers.ReLU(max_value=6.0, negative_slope=0.1),
    layers.Softmax(axis=1),
    layers.Dropout(0.3, noise_shape=(None, 1), seed=4),
    layers.BatchNormalization(momentum=0.9, center=False),
]


@pytest.mark.parametrize("layer", BUILT_IN, ids=lambda layer: type(layer).__name__)
def test_configs_are_those_of_keras(layer: layers.Layer) -> None:
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    theirs = getattr(keras.layers, type(layer).__name__).from_config({**config, "dtype": "float32"})
    their_config = theirs.get_config()
    for key, value in config.items():
        if key != "dtype" and not key.endswith("_initializer"):
            assert their_config[key] == value, key
        elif value is not None and key != "dtype":
            assert their_config[key]["class_name"] == value["class_name"]
    # And the other way: what Keras writes loads here, everything unsupported being None.
    their_config["dtype"] = "float32"
    type(layer).from_config(their_config)


def test_names_are_those_of_keras() -> None:
    keras.utils.clear_session()
    for name, arguments in (
        ("Dense", (1,)), ("Conv2D", (1, 1)), ("MaxPooling2D", ()), ("AveragePooling2D", (2,)),
        ("GlobalAveragePooling2D", ()), ("Flatten", ()), ("ReLU", ()), ("Softmax", ()),
        ("Dropout", (0.1,)), ("BatchNormalization", ()), ("Reshape", ((1,),)),
        ("Activation", ("relu",)),
    ):  # fmt: skip
        for _ in range(3):
            ours = getattr(layers, name)(*arguments)
            assert ours.name == getattr(keras.layers, name)(*arguments).name


def test_canonical_names() -> None:
    assert naming.canonical(["dense_7/kernel", "dense_7/bias", "dense_12/kernel", "b/x_3"]) == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "b/x",
    ]  # fmt: skip
    # Numbered by number, not by place; inside each parent by itself.
    assert naming.canonical(["d_12/k", "d_9/k", "a_1/d_4/k"]) == ["d_1/k", "d/k", "a/d/k"]


class Block(layers.Layer):
    """A layer with everything that is tracked."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = layers.Dense(3, name="first")
        self.rest = [layers.Dense(2, name="second"), {"deep": layers.Dense(1, name="third")}]

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((), "ones", name="scale")
        self.seen = self.add_weight((), "zeros", trainable=False, name="seen", dtype="int32")

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.first(inputs) * self.scale
        for layer in (self.rest[0], self.rest[1]["deep"]):
            x = layer(x)
        return x


def test_tracking_and_paths() -> None:
    block = Block(name="block")
    assert not block.built
    assert block(tg.ops.ones((4, 5))).shape == (4, 1)
    assert [v.path for v in block.weights] == [
        "block/scale", "block/seen", "block/first/kernel", "block/first/bias",
        "block/second/kernel", "block/second/bias", "block/third/kernel", "block/third/bias",
    ]  # fmt: skip
    assert block.count_params() == 2 + 18 + 8 + 3
    assert len(block.trainable_weights) == 7
    assert [v.path for v in block.non_trainable_weights] == ["block/seen"]
    block.trainable = False
    assert block.trainable_weights == []
    assert not block.first.kernel.trainable
    assert len(block.non_trainable_weights) == 8
    block.trainable = True
    assert len(block.trainable_weights) == 7


def test_a_variable_as_attribute_is_tracked() -> None:
    class Own(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.shift = tg.Variable([1.0], name="shift")

        def call(self, inputs: Any) -> Any:
            return inputs + self.shift

    own = Own()
    assert own([[1.0]]).tolist() == [[2.0]]
    assert own.weights[0] is own.shift

    class Late(layers.Layer):
        def __init__(self) -> None:
            self.shift = tg.Variable([1.0])

    with pytest.raises(TabgradError, match=r"Call super\(\).__init__\(\) first"):
        Late()


def test_build_can_be_called_and_extended() -> None:
    class Wider(layers.Dense):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.gain = self.add_weight((self.units,), "ones", name="gain")

        def call(self, inputs: Any) -> Any:
            return super().call(inputs) * self.gain

    layer = Wider(2, name="wide")
    layer.build((None, 3))
    assert layer.built
    assert [v.path for v in layer.weights] == ["wide/kernel", "wide/bias", "wide/gain"]
    assert layer(np.ones((1, 3), np.float32)).shape == (1, 2)
    assert len(layer.weights) == 3


def test_weights_in_and_out() -> None:
    layer = layers.Dense(2)
    layer.build((None, 3))
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    layer.set_weights([kernel, [1.0, 2.0]])
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    with pytest.raises(ShapeError, match=r"2 weights .dense/kernel, dense/bias.; received 1"):
        layer.set_weights([kernel])
    with pytest.raises(ShapeError, match=r"shape \(2,\) for weight 'dense/bias'; received \(3,\)"):
        layer.set_weights([kernel * 0, [1.0, 2.0, 3.0]])
    # Nothing was changed by the failures.
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


def test_training_reaches_inner_layers() -> None:
    seen = []

    class Inner(layers.Layer):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            seen.append(training)
            return inputs

    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

    x = tg.ops.ones((1, 1))
    outer = Outer()
    outer(x)
    outer(x, training=True)
    outer.inner(x, training=False)
    assert seen == [None, True, False]


def test_errors_name_the_layer_and_what_it_received() -> None:
    model = tg.Sequential([layers.Flatten(), layers.Dense(2, name="head")])
    model(tg.ops.ones((1, 2, 2)))
    dense = model.get_layer("head")
    with pytest.raises(ShapeError) as caught:
        dense(np.ones((3, 5), np.float32))
    assert "layer 'head' (Dense), called with (3, 5) float32" in str(caught.value)
    assert "expected inputs with 4 on axis -1" in str(caught.value)
    with pytest.raises(ShapeError, match=r"'conv' .*\(4, 8, 8\).*\(batch, height, width, chan"):
        layers.Conv2D(1, 3, name="conv")(tg.ops.ones((4, 8, 8)))
    with pytest.raises(ShapeError, match="that holds a window of"):
        layers.Conv2D(1, 3)(tg.ops.ones((4, 2, 2, 1)))
    with pytest.raises(ShapeError, match="received rows of 6 elements"):
        layers.Reshape((4,))(tg.ops.ones((2, 6)))

    class Broken(layers.Layer):
        def call(self, inputs: Any) -> Any:
            raise RuntimeError("its own message")

    class Around(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="around")
            self.broken = Broken(name="broken")

        def call(self, inputs: Any) -> Any:
            return self.broken(inputs)

    with pytest.raises(RuntimeError, match="its own message") as caught_too:
        Around()(tg.ops.ones((1, 2)))
    assert caught_too.value.__notes__ == [
        "in layer 'around/broken' (Broken), called with (1, 2) float32"
    ]


def test_arguments_that_are_refused() -> None:
    for make, message in (
        (lambda: layers.Dense(0), "Dense expected units to be a positive integer; received 0"),
        (lambda: layers.Dense(2, activation="rellu"), r"activation of celu,.*'rellu'"),
        (lambda: layers.Dense(2, kernel_initializer="xavier"), r"initializer of .*'xavier'"),
        (lambda: layers.Dense(2, size=3), "Dense expected arguments of units,.*received 'size'"),
        (lambda: layers.Dense(2, kernel_regularizer="l2"), "kernel_regularizer, an argument of"),
        (lambda: layers.Dense(2, name="a/b"), "Dense expected a name without '/'"),
        (lambda: layers.Conv2D(3, 3, groups=2), "filters that divide by groups"),
        (lambda: layers.Conv2D(2, 3, padding="causal"), 'expected padding "valid" or "same"'),
        (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "strides or dilation_rate of 1"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), "expected kernel_size to be a positive integer or 2"),
        (lambda: layers.MaxPooling2D(0), "expected pool_size to be"),
        (lambda: layers.Dropout(1.5), "a rate from 0 to 1"),
        (lambda: layers.Reshape((-1, -1)), "at most one -1"),
        (lambda: layers.Input((0,)), "a shape of positive sizes"),
    ):
        with pytest.raises((ArgumentError, ShapeError), match=message):
            make()
    with pytest.raises(NotSupportedError, match="channels_last"):
        layers.Conv2D(2, 3, data_format="channels_first")
    with pytest.raises(TabgradError, match="has no weights yet"):
        layers.Dense(2).count_params()


def test_dropout() -> None:
    layer = layers.Dropout(0.25, seed=3)
    x = np.ones((400, 100), np.float32)
    first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert abs((first == 0).mean() - 0.25) < 0.01
    assert (first != second).any()
    again = np.asarray(layers.Dropout(0.25, seed=3)(x, training=True))
    np.testing.assert_array_equal(first, again)
    columns = np.asarray(layers.Dropout(0.5, noise_shape=(1, None), seed=1)(x, training=True))
    assert (columns == columns[0]).all()
    np.testing.assert_array_equal(np.asarray(layer(x)), x)
    assert layer.seed_generator.state.path == "dropout/seed_generator/state"
    assert layer.weights == []
    # Padding a batch changes no row's mask.
    longer = np.asarray(layers.Dropout(0.25, seed=3)(np.ones((500, 100)), training=True))
    np.testing.assert_array_equal(longer[:400], first)


def test_dropout_without_a_seed_follows_the_global_one() -> None:
    x = np.ones((50, 50), np.float32)
    masks = []
    for seed in (5, 5, 6):
        tg.random.seed(seed)
        masks.append(np.asarray(layers.Dropout(0.5)(x, training=True)))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_weights_are_not_made_while_compiling() -> None:
    model = tg.Sequential([layers.Dense(2)])
    compiled = tg.compile(lambda x: model(x))
    x = tg.ops.ones((1, 3))
    with pytest.raises(CaptureError, match="'dense' to have its weights before a function"):
        compiled(x)
    model(x)
    assert compiled(x).shape == (1, 2)
