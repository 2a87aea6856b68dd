"""save_weights and load_weights: round trips, renamed models, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import ArgumentError, FormatError, TabgradError
from tabgrad.formats import safetensors
from tests.keras_oracle import numbers


def _model(units: int = 4) -> tg.Sequential:
    model = tg.Sequential([
        tg.Input((3,)),
        tg.layers.Dense(units, "relu"),
        tg.layers.BatchNormalization(),
        tg.layers.Dropout(0.5),
        tg.layers.Dense(2),
    ])  # fmt: skip
    model.compile("adam", "mse")
    return model


def _same(one: tg.Sequential, other: tg.Sequential) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[tg.Sequential, Path]:
    model = _model()
    model.fit(numbers(8, 3), numbers(8, 2), epochs=2, verbose=0)
    path = tmp_path / "model.safetensors"
    model.save_weights(path)
    return model, path


def test_names_and_bytes(saved: tuple[tg.Sequential, Path]) -> None:
    model, path = saved
    found = safetensors.load(path)
    assert list(found) == [v.path for v in model.weights] == [
        "dense/kernel", "dense/bias", "batch_normalization/gamma", "batch_normalization/beta",
        "batch_normalization/moving_mean", "batch_normalization/moving_variance",
        "dense_1/kernel", "dense_1/bias",
    ]  # fmt: skip
    for variable in model.weights:
        array = np.frombuffer(found[variable.path].data, np.float32).reshape(variable.shape)
        np.testing.assert_array_equal(array, np.asarray(variable.value))


def test_a_model_made_again_loads_it(saved: tuple[tg.Sequential, Path]) -> None:
    model, path = saved
    again = _model()
    assert again.weights[0].path == "dense_2/kernel"
    again.load_weights(path)
    _same(again, model)
    model.load_weights(str(path))
    # And what the second one saved, the first one loads.
    again.save_weights(path)
    model.load_weights(path)


def test_an_export_with_all_its_variables_loads(saved: tuple[tg.Sequential, Path]) -> None:
    model, path = saved
    arrays = {
        v.path: safetensors.Array(v.shape, v.dtype, realize.read(v.node()))
        for v, _ in model._state()
    }
    assert any(name.startswith("optimizer/") for name in arrays)
    assert any(name.endswith("seed_generator/state") for name in arrays)
    safetensors.save(path, arrays)
    for again in (_model(), model):
        again.load_weights(path)
        _same(again, model)


def test_files_that_do_not_fit_change_nothing(saved: tuple[tg.Sequential, Path]) -> None:
    model, path = saved
    whole = path.read_bytes()
    other = _model(units=5)
    before = other.get_weights()

    def refuses(message: str) -> None:
        with pytest.raises(FormatError, match=message):
            other.load_weights(path)
        for a, b in zip(before, other.get_weights()):
            np.testing.assert_array_equal(a, b)

    refuses(r"shape \(3, 5\) for .*received \(3, 4\) for 'dense/kernel'")
    path.write_bytes(whole[:-3])
    refuses("is not a whole .safetensors file")
    found = safetensors.loads(whole)
    path.write_bytes(safetensors.dumps({k: v for k, v in found.items() if "gamma" not in k}))
    refuses("it lacks 'batch_normalization_1/gamma'")
    path.write_bytes(safetensors.dumps({**found, "dense_9/kernel": found["dense/kernel"]}))
    refuses("it also has 'dense_9/kernel'")
    path.write_bytes(whole.replace(b'"schema":"1"', b'"schema":"9"'))
    refuses("written by a newer tabgrad")
    path.write_bytes(whole)
    model.load_weights(path)


def test_what_is_refused(tmp_path: Path, saved: tuple[tg.Sequential, Path]) -> None:
    model, path = saved
    with pytest.raises(ArgumentError, match=r"ends in .safetensors; received 'w.h5'"):
        model.save_weights("w.h5")
    with pytest.raises(ArgumentError, match=r"does not exist.*Pass overwrite=True"):
        model.save_weights(path, overwrite=False)
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.safetensors")
    unbuilt = tg.Sequential([tg.layers.Dense(2)])
    with pytest.raises(TabgradError, match="has no weights yet"):
        unbuilt.save_weights(tmp_path / "u.safetensors")
    with pytest.raises(TabgradError, match="has no weights yet"):
        unbuilt.load_weights(path)


def test_configs_make_the_same_model() -> None:
    model = _model()
    again = tg.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    x = numbers(4, 3)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
