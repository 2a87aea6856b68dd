"""Whole networks: three training steps and two inferences, defined in bench/models.

The weights of every contestant are those of the model's `weights()`. A training step reads its loss
back, as one who watches a training does, and the losses of the first steps are what is compared. An
inference takes its input from the page's memory and gives its result back there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import onnx

from bench.models import cnn, lstm, minilm, mlp, mobilenet
from bench.workload import Arrays, Workload

# So many losses are compared; Adam's epsilon is in another place in TensorFlow.js. A step of the
# convolutional network takes some contestants a quarter of a minute.
COMPARED = {mlp: 5, cnn: 2, lstm: 5}
TRAINING_TOLERANCE = 2e-3
NO_TRAINING = {"ort": "its inference package has no training"}


@cache
def _weights(model: ModuleType) -> dict[str, Any]:
    made: dict[str, Any] = model.weights()
    return made


def _shared(model: ModuleType) -> dict[str, Any]:
    """What every contestant but tabgrad starts with: MobileNetV2 as converters leave it."""
    return mobilenet.folded(_weights(model)) if model is mobilenet else _weights(model)


def _arrays(model: ModuleType, **size: int) -> Arrays:
    return {**model.inputs(**size), **_shared(model)}


def _functions(model: ModuleType, arrays: Arrays, **size: int) -> Mapping[str, Any]:
    (main,) = model.functions(_weights(model), **size).values()
    return {"main": main}


def _graph(model: ModuleType, arrays: Arrays, repeats: int) -> bytes:
    file = onnx.load_from_string(model.onnx_model(_weights(model)))
    for node in file.graph.node:
        if node.op_type == "GlobalAveragePool":  # which jax-js does not know under that name
            node.op_type = "ReduceMean"
            node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    made: bytes = file.SerializeToString()
    return made


def _network(
    name: str,
    model: ModuleType,
    kind: str,
    wanted: Mapping[str, float],
    tolerance: float,
    **options: Any,
) -> Workload:
    return Workload(
        name=name,
        kind=kind,
        group="networks",
        wanted=wanted,
        arrays=partial(_arrays, model),
        functions=partial(_functions, model),
        constants=frozenset(_shared(model)),
        flops=model.FLOPS,
        tolerance=tolerance,
        threaded=True,
        two_threads=None if model in (mlp, lstm) else 1.6,
        **options,
    )


def _training(name: str, model: ModuleType, kind: str, wanted: Mapping[str, float]) -> Workload:
    return _network(
        name,
        model,
        kind,
        wanted,
        TRAINING_TOLERANCE,
        parameters={"training": True, "compared": COMPARED[model], "classes": model.CLASSES},
        cannot=NO_TRAINING,
    )


def _inference(
    name: str, model: ModuleType, kind: str, wanted: Mapping[str, float], **parameters: Any
) -> Workload:
    return _network(
        name,
        model,
        kind,
        wanted,
        1e-4,
        parameters={"inference": True, **parameters},
        graph=partial(_graph, model),
    )


def with_batch(workload: Workload, model: ModuleType, batch: int) -> Workload:
    """A training step of so many examples, which nothing is wanted of."""
    return replace(
        workload,
        name=f"{workload.name}-{batch}",
        arrays=partial(_arrays, model, batch=batch),
        functions=partial(_functions, model, batch=batch),
        flops=workload.flops * batch / model.BATCH,
        wanted={},
        two_threads=None,
    )


WORKLOADS = [
    _training("train/mlp", mlp, "mlp", {"tfjs": 10.0, "jax": 3.0}),
    _training("train/cnn", cnn, "cnn", {"torch": 6 / 8.4}),
    _training("train/lstm", lstm, "lstm", {"best": 5.0}),
    _inference("infer/mobilenet", mobilenet, "mobilenet", {"tfjs": 41 / 18}, images=True),
    _inference(
        "infer/minilm",
        minilm,
        "minilm",
        {"ort": 158 / 70},
        layers=minilm.LAYERS,
        heads=minilm.HEADS,
        epsilon=minilm.EPSILON,
    ),
]
