"""The benchmark's models against others' implementations of the same networks, in value.

MobileNetV2 and the training steps against Keras on JAX, MiniLM against NumPy in float64, the ONNX
files against the reference evaluator of the `onnx` package.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from scipy.special import erf

import tabgrad as tg
from bench.models import cnn, lstm, minilm, mlp, mobilenet
from tabgrad.formats import safetensors
from tests.keras_oracle import check, gradients, keras, numbers

MODELS = [mlp, cnn, lstm, mobilenet, minilm]


def names_of(modules: list[ModuleType]) -> list[str]:
    return [module.__name__.rpartition(".")[2] for module in modules]


@pytest.mark.parametrize("model", MODELS, ids=names_of(MODELS))
def test_weights_and_inputs_are_those_of_their_seed(model: ModuleType) -> None:
    for make in (model.weights, model.inputs):
        first, again, other = make(3), make(3), make(4)
        assert first.keys() == again.keys() == other.keys()
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert any(not np.array_equal(first[name], other[name]) for name in first)
        assert {value.dtype.name for value in first.values()} <= {"float32", "int32"}


# MobileNetV2


@pytest.fixture(scope="module")
def mobilenet_weights() -> dict[str, Any]:
    made: dict[str, Any] = mobilenet.weights()
    return made


# 71 is odd at every stride, so its padding is another one.
@pytest.mark.slow
@pytest.mark.parametrize("size", [71, 224])
def test_mobilenet_gives_the_probabilities_of_keras_and_of_its_onnx_file(
    size: int, mobilenet_weights: dict[str, Any]
) -> None:
    given = mobilenet.inputs(size=size)
    theirs = keras.applications.MobileNetV2(weights=None, input_shape=(size, size, 3))
    own = {f"{v.path.split('/')[0]}/{v.name}": v for v in theirs.weights}
    assert own.keys() == mobilenet_weights.keys()
    for name, value in mobilenet_weights.items():
        own[name].assign(value)
    expected = theirs.predict(given["x"], verbose=0)
    assert np.log(expected).std() > 1  # not all alike

    (predict,) = mobilenet.functions(mobilenet_weights, size).values()
    check(predict(given["x"]), expected, 5e-5, "folded")
    params = {name: tg.tensor(value) for name, value in mobilenet_weights.items()}
    check(tg.compile(mobilenet.forward)(params, given["x"]), expected, 5e-5, "with batch norms")

    file = onnx.load_from_string(mobilenet.onnx_model(mobilenet_weights, size))
    onnx.checker.check_model(file, full_check=True)
    (found,) = ReferenceEvaluator(file).run(None, mobilenet.onnx_feeds(given))
    check(found, expected, 5e-5, "ONNX")


# MiniLM


def embedding(weights: dict[str, Any], ids: Any, mask: Any) -> Any:
    """The embeddings of BERT's encoder with mean pooling, written out in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(name: str, x: Any) -> Any:
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    x = w["embeddings/word"][ids] + w["embeddings/position"][: ids.shape[1]]
    x = norm("embeddings/norm", x + w["embeddings/kind"][0])
    for i in range(6):
        query, key, value = (dense(f"layer{i}/{name}", x) for name in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        for head in range(12):
            part = np.s_[..., 32 * head : 32 * head + 32]
            scores = query[part] @ key[part].swapaxes(1, 2) / math.sqrt(32)
            scores = np.where(mask[:, None] == 1, scores, -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[part] = shares / shares.sum(-1, keepdims=True) @ value[part]
        x = norm(f"layer{i}/attention_norm", x + dense(f"layer{i}/attention", mixed))
        inner = dense(f"layer{i}/inner", x)
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = norm(f"layer{i}/output_norm", x + dense(f"layer{i}/output", inner))
    there = mask[..., None].astype(np.float64)
    mean = (x * there).sum(1) / there.sum(1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


@pytest.mark.slow
def test_minilm_gives_the_embedding_of_numpy_and_of_its_onnx_file() -> None:
    weights, given = minilm.weights(), minilm.inputs()
    assert 0 < given["mask"].sum() < minilm.LENGTH
    expected = embedding(weights, given["ids"], given["mask"])
    (embed,) = minilm.functions(weights).values()
    check(embed(given["ids"], given["mask"]), expected, 1e-5, "embed")
    # Tokens that the mask leaves out change nothing; taken in, they would.
    others = np.where(given["mask"] == 1, given["ids"], 7)
    check(embed(others, given["mask"]), expected, 1e-5, "other tokens behind the mask")
    whole = np.asarray(embed(given["ids"], np.ones_like(given["mask"])))
    assert np.abs(whole - expected).max() > 1e-3
    file = onnx.load_from_string(minilm.onnx_model(weights))
    onnx.checker.check_model(file, full_check=True)
    (found,) = ReferenceEvaluator(file).run(None, minilm.onnx_feeds(given))
    check(found, expected, 1e-5, "ONNX")


# Training steps


def keras_mlp() -> Any:
    layers = keras.layers
    return [
        keras.Input((784,)),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dense(10, name="output"),
    ]


def keras_cnn() -> Any:
    layers = keras.layers
    return [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu", name="conv1"),
        layers.Conv2D(64, 3, activation="relu", name="conv2"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dense(10, name="output"),
    ]


def keras_lstm() -> Any:
    layers = keras.layers
    return [
        keras.Input((100, 64)),
        layers.LSTM(128, name="lstm"),
        layers.Dense(10, name="output"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "layers"),
    [(mlp, keras_mlp), (cnn, keras_cnn), (lstm, keras_lstm)],
    ids=["mlp", "cnn", "lstm"],
)
def test_three_steps_have_the_losses_and_weights_of_keras(
    model: ModuleType, layers: Callable[[], Any]
) -> None:
    weights, given = model.weights(), model.inputs()
    theirs = keras.Sequential(layers())
    own = {f"{v.path.split('/')[-2]}/{v.name}": v for v in theirs.weights}
    own = {name.replace("lstm_cell", "lstm"): v for name, v in own.items()}
    assert own.keys() == weights.keys()
    for name, value in weights.items():
        own[name].assign(value)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile("adam", loss)

    (step,) = model.functions(weights).values()
    state = {variable.path: variable for variable in step.traces()[-1].variables}
    for _ in range(3):
        expected = theirs.train_on_batch(given["x"], given["y"])
        check(step(given["x"], given["y"]), expected, 1e-4, "loss")
    for name, first in weights.items():
        moved, wanted = state[name].numpy() - first, np.asarray(own[name].value) - first
        assert np.abs(wanted).max() > 1e-3  # Adam's rate is 0.001
        check(moved, wanted, 5e-3, name)


def test_the_lstm_has_the_output_and_gradients_of_keras() -> None:
    weights, x = lstm.weights(), lstm.inputs()["x"]
    cotangent = numbers(lstm.BATCH, lstm.UNITS, seed=5)
    layer = keras.layers.LSTM(lstm.UNITS)
    layer.build(x.shape)
    names = [f"lstm/{name}" for name in ("kernel", "recurrent_kernel", "bias")]
    layer.set_weights([weights[name] for name in names])
    (expected, _), by_x, by_weights = gradients(layer, x, cotangent, training=False)

    def total(params: Any, x: Any) -> Any:
        output = lstm.last_output(params, x)
        return tg.sum(output * cotangent), output

    params = {name: tg.tensor(weights[name]) for name in names}
    both = tg.compile(tg.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, output), (by_params, by_input) = both(params, tg.tensor(x))
    check(output, expected, 1e-5)
    check(by_input, by_x, 1e-5, "gradient by x")
    for name, slope in zip(names, by_weights, strict=True):
        check(by_params[name], slope, 1e-5, name)


# Counts and exports


@pytest.mark.parametrize("model", MODELS, ids=names_of(MODELS))
def test_flops_are_those_of_the_compiled_contractions(model: ModuleType) -> None:
    (function,) = model.functions(model.weights()).values()
    counted = function.program(*model.inputs().values()).entries[0].flops
    # What is elementwise in them counts too; the LSTM's backward loop computes its gates again, and
    # 3x3 convolutions take fewer products than their sums have terms (targets/wasm/winograd.py).
    least = 0.5 if model is cnn else 1
    assert least <= counted / model.FLOPS < (1.3 if model is lstm else 1.1)


def test_an_export_starts_from_the_weights_given(tmp_path: Path) -> None:
    weights = mlp.weights()
    with redirect_stdout(io.StringIO()):
        tg.export(mlp.functions(weights), tmp_path)
    held = safetensors.loads((tmp_path / "weights.safetensors").read_bytes())
    for name, value in weights.items():
        if value.any():  # a page makes zeros itself
            assert held[name].data == value.tobytes(), name
