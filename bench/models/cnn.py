"""Training step of a small convolutional network on 28 x 28 images: a batch of 64, Adam.

conv 3x3x32, conv 3x3x64, max pooling by 2, dense 128, dense 10; no padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from bench.models.variables import Params, compiled, training_step

BATCH, SIZE, CLASSES = 64, 28, 10
FILTERS, UNITS = (32, 64), 128
FLAT = ((SIZE - 4) // 2) ** 2 * FILTERS[1]
_CONV1 = (SIZE - 2) ** 2 * 9 * FILTERS[0]
_CONV2 = (SIZE - 4) ** 2 * 9 * FILTERS[0] * FILTERS[1]
_DENSE = FLAT * UNITS + UNITS * CLASSES
# Forward, by the weights and by the inputs; the images need no gradient.
FLOPS = 2 * BATCH * (2 * _CONV1 + 3 * _CONV2 + 3 * _DENSE)


def weights(seed: int = 0) -> dict[str, Any]:
    """Kernels that make what passes through them a little smaller, and no biases: Adam's first
    step moves all of 9,216 inputs of a unit the same way, and must not throw the loss up."""
    normal = np.random.default_rng(seed).standard_normal

    def kernel(*shape: int) -> Any:
        return (normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)

    made = {
        "conv1/kernel": kernel(3, 3, 1, FILTERS[0]),
        "conv2/kernel": kernel(3, 3, *FILTERS),
        "hidden/kernel": kernel(FLAT, UNITS),
        "output/kernel": kernel(UNITS, CLASSES),
    }
    biases = {
        name.replace("kernel", "bias"): np.zeros(value.shape[-1], np.float32)
        for name, value in made.items()
    }
    return made | biases


def inputs(seed: int = 0, batch: int = BATCH) -> dict[str, Any]:
    """A batch x of images from 0 to 1, and their class numbers y."""
    random = np.random.default_rng(seed + 1)
    return {
        "x": random.random((batch, SIZE, SIZE, 1), np.float32),
        "y": random.integers(0, CLASSES, batch).astype(np.int32),
    }


def forward(params: Params, x: Any) -> tg.Tensor:
    """Logits, (batch, 10)."""
    for name in ("conv1", "conv2"):
        x = tg.relu(tg.nn.conv(x, params[f"{name}/kernel"]) + params[f"{name}/bias"])
    x = tg.nn.max_pool(x, 2)
    x = tg.reshape(x, (x.shape[0], -1))
    x = tg.relu(tg.matmul(x, params["hidden/kernel"]) + params["hidden/bias"])
    logits: tg.Tensor = tg.matmul(x, params["output/kernel"]) + params["output/bias"]
    return logits


def functions(weights: Params, batch: int = BATCH) -> dict[str, Any]:
    """`step`, compiled, for `tg.export`."""
    example = inputs(batch=batch)
    return {"step": compiled(training_step(forward, weights), example["x"], example["y"])}
