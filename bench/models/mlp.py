"""Training step of a network of two dense layers, 784-128-10: a batch of 128, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from bench.models.variables import Params, compiled, training_step

BATCH, FEATURES, UNITS, CLASSES = 128, 784, 128, 10
# Forward, and by the weights; the inputs of the first layer need no gradient.
FLOPS = 2 * BATCH * (2 * FEATURES * UNITS + 3 * UNITS * CLASSES)


def weights(seed: int = 0) -> dict[str, Any]:
    """Kernels that keep the variance of what passes through them, and no biases."""
    normal = np.random.default_rng(seed).standard_normal

    def kernel(n: int, m: int, gain: float) -> Any:
        return (normal((n, m)) * np.sqrt(gain / n)).astype(np.float32)

    return {
        "hidden/kernel": kernel(FEATURES, UNITS, 2.0),
        "hidden/bias": np.zeros(UNITS, np.float32),
        "output/kernel": kernel(UNITS, CLASSES, 1.0),
        "output/bias": np.zeros(CLASSES, np.float32),
    }


def inputs(seed: int = 0) -> dict[str, Any]:
    """A batch x and its class numbers y."""
    random = np.random.default_rng(seed + 1)
    return {
        "x": random.standard_normal((BATCH, FEATURES)).astype(np.float32),
        "y": random.integers(0, CLASSES, BATCH).astype(np.int32),
    }


def forward(params: Params, x: Any) -> tg.Tensor:
    """Logits, (batch, 10)."""
    hidden = tg.relu(tg.matmul(x, params["hidden/kernel"]) + params["hidden/bias"])
    logits: tg.Tensor = tg.matmul(hidden, params["output/kernel"]) + params["output/bias"]
    return logits


def functions(weights: Params) -> dict[str, Any]:
    """`step`, compiled, for `tg.export`."""
    example = inputs()
    return {"step": compiled(training_step(forward, weights), example["x"], example["y"])}
