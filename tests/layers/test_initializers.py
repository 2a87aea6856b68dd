"""Initializers: their distribution against Keras's formulas, seeds and names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import initializers
from tabgrad.errors import ArgumentError
from tests.keras_oracle import keras

SHAPES = [(60, 40), (3, 3, 20, 10), (2000,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
        "lecun_normal", "random_normal", "random_uniform", "truncated_normal",
    ],
)  # fmt: skip
def test_distributions(name: str, shape: tuple[int, ...]) -> None:
    """Same moments and bounds as Keras's, on the same shapes."""
    ours = np.asarray(initializers.get(name)(shape))  # type: ignore[misc]
    theirs = np.concatenate([
        np.asarray(getattr(keras.initializers, name)(seed=s)(shape)).ravel() for s in range(4)
    ])  # fmt: skip
    assert ours.shape == shape
    assert ours.dtype == np.float32
    deviation = theirs.std()
    assert abs(ours.mean()) < 5 * deviation / math.sqrt(ours.size)
    assert abs(ours.std() / deviation - 1) < 0.08
    if "random_normal" not in name:
        assert np.abs(ours).max() <= np.abs(theirs).max() * 1.05


def test_constants() -> None:
    assert tg.ops.sum(initializers.Zeros()((2, 3))).item() == 0
    assert initializers.Ones()((2,)).tolist() == [1, 1]
    assert initializers.Constant(2.5)((2,), dtype="float32").tolist() == [2.5, 2.5]


def test_seeds() -> None:
    def draw(seed: Any) -> Any:
        return np.asarray(initializers.GlorotUniform(seed=seed)((4, 4)))

    np.testing.assert_array_equal(draw(3), draw(3))
    assert (draw(3) != draw(4)).any()
    assert (draw(None) != draw(None)).any()
    tg.random.seed(9)
    first = draw(None)
    tg.random.seed(9)
    np.testing.assert_array_equal(draw(None), first)
    generator = tg.random.SeedGenerator(1)
    assert (draw(generator) != draw(generator)).any()


def test_fans() -> None:
    for shape in ((), (7,), (3, 4), (5, 5, 3, 8)):
        from keras.src.initializers.random_initializers import compute_fans

        assert initializers.fans(shape) == compute_fans(shape)


def test_names_and_configs() -> None:
    for name in ("GlorotUniform", "he_normal", "zeros", "Ones", "uniform", "normal"):
        assert isinstance(initializers.get(name), initializers.Initializer)
    scaled = initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=3)
    again = initializers.get(initializers.serialize(scaled))
    assert isinstance(again, initializers.VarianceScaling)
    assert again.get_config() == scaled.get_config()
    theirs = keras.initializers.get(initializers.serialize(scaled))
    assert theirs.get_config()["scale"] == 2.0
    assert initializers.get(None) is None

    def mine(shape: Any, dtype: Any = None) -> Any:
        return tg.ops.full(shape, 3.0, dtype=dtype)

    layer = tg.layers.Dense(2, bias_initializer=mine)
    layer.build((None, 1))
    assert layer.bias is not None
    assert layer.bias.tolist() == [3.0, 3.0]


def test_what_is_refused() -> None:
    for make, message in (
        (lambda: initializers.get("orthogonal"), r"of constant, .*received 'orthogonal'"),
        (lambda: initializers.VarianceScaling(scale=0), "a positive scale"),
        (lambda: initializers.VarianceScaling(mode="fan"), "VarianceScaling expected a mode of"),
        (lambda: initializers.VarianceScaling(distribution="x"), "expected a distribution of"),
        (lambda: initializers.RandomNormal(seed="x"), "RandomNormal expected an integer"),
        (lambda: initializers.get(3), "expected a name, a config"),
    ):
        with pytest.raises(ArgumentError, match=message):
            make()
