"""Training step of an LSTM of 128 units over 100 steps with a dense head: a batch of 32, Adam.

The cell is Keras's: gates in the order input, forget, candidate, output, and one bias. What the
inputs add to the gates is one product for all steps; the loop has the recurrent product alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from bench.models.variables import Params, compiled, training_step

BATCH, LENGTH, FEATURES, UNITS, CLASSES = 32, 100, 64, 128, 10
# Forward, by the weights and by the state before; the sequences need no gradient.
FLOPS = (
    2 * BATCH * (LENGTH * 4 * UNITS * (2 * FEATURES + 3 * UNITS) + 3 * UNITS * CLASSES)
)  # fmt: skip


def weights(seed: int = 0) -> dict[str, Any]:
    """Kernels that keep variances, and 1 as the forget gate's bias (Jozefowicz et al., 2015)."""
    normal = np.random.default_rng(seed).standard_normal

    def kernel(n: int, m: int) -> Any:
        return (normal((n, m)) / np.sqrt(n)).astype(np.float32)

    bias = np.zeros(4 * UNITS, np.float32)
    bias[UNITS : 2 * UNITS] = 1.0
    return {
        "lstm/kernel": kernel(FEATURES, 4 * UNITS),
        "lstm/recurrent_kernel": kernel(UNITS, 4 * UNITS),
        "lstm/bias": bias,
        "output/kernel": kernel(UNITS, CLASSES),
        "output/bias": np.zeros(CLASSES, np.float32),
    }


def inputs(seed: int = 0) -> dict[str, Any]:
    """A batch x of sequences, (batch, length, features), and their class numbers y."""
    random = np.random.default_rng(seed + 1)
    return {
        "x": random.standard_normal((BATCH, LENGTH, FEATURES)).astype(np.float32),
        "y": random.integers(0, CLASSES, BATCH).astype(np.int32),
    }


def last_output(params: Params, x: Any) -> tg.Tensor:
    """The output of the last step, (batch, units)."""
    recurrent = params["lstm/recurrent_kernel"]
    steps = tg.matmul(tg.transpose(x, (1, 0, 2)), params["lstm/kernel"]) + params["lstm/bias"]

    def cell(state: Any, entering: tg.Tensor) -> tuple[Any, None]:
        output, memory = state
        gates = entering + tg.matmul(output, recurrent)
        enter, forget, candidate, leave = tg.split(gates, 4, axis=1)
        memory = tg.sigmoid(forget) * memory + tg.sigmoid(enter) * tg.tanh(candidate)
        return (tg.sigmoid(leave) * tg.tanh(memory), memory), None

    nothing = tg.zeros((x.shape[0], recurrent.shape[0]))
    output: tg.Tensor
    (output, _), _ = tg.scan(cell, (nothing, nothing), steps)
    return output


def forward(params: Params, x: Any) -> tg.Tensor:
    """Logits, (batch, 10)."""
    output = last_output(params, x)
    logits: tg.Tensor = tg.matmul(output, params["output/kernel"]) + params["output/bias"]
    return logits


def functions(weights: Params) -> dict[str, Any]:
    """`step`, compiled, for `tg.export`."""
    example = inputs()
    return {"step": compiled(training_step(forward, weights), example["x"], example["y"])}
