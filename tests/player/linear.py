"""A tiny exported model made by hand, so that the player is tested without the compiler.

y = x*w + b with mean squared error and SGD, in WebAssembly text. Its arithmetic is a sequence of
single float32 operations, so NumPy predicts every bit of it. Around it are entries for what a
real model rarely does: trapping, mixing rows, several outputs, scalars, a counter.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wasmtime

from tabgrad.formats.safetensors import Array, dumps

PLAYER = Path(__file__).resolve().parents[2] / "src" / "tabgrad" / "player"
FRAME = 1024
LEARNING_RATE = 0.05
POISON = 666.0  # a training step traps on this target, after having changed the weights

METRICS = {
    "loss": ("metrics/loss/total", "metrics/loss/count"),
    "mean_absolute_error": ("metrics/mae/total", "metrics/mae/count"),
}
WEIGHTS = ("linear/kernel", "linear/bias")


def _slot(index: int) -> str:
    return f"(i32.load (i32.const {FRAME + 4 * (16 + index)}))"


def _at(address: str, row: str = "(local.get $i)") -> str:
    return f"(i32.add {address} (i32.shl {row} (i32.const 2)))"


ROWS = f"(i32.load (i32.const {FRAME + 4}))"


def _loop(body: str, count: str = ROWS) -> str:
    return f"""
      (local.set $i (i32.const 0))
      (block $done (loop $next
        (br_if $done (i32.ge_s (local.get $i) {count}))
        {body}
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))"""


def _accumulate(address: str, value: str) -> str:
    return f"(f32.store {address} (f32.add (f32.load {address}) {value}))"


def _module(*, labels: bool, burn: int) -> str:
    """The kernels of all entries; `burn` rounds of idle work make a step slow."""
    load = "(f32.convert_i32_s (i32.load {0}))" if labels else "(f32.load {0})"
    predict = _loop(
        f"""(f32.store {_at(_slot(3))}
          (f32.add (f32.mul (f32.load {_at(_slot(0))}) (f32.load {_slot(1)}))
                   (f32.load {_slot(2)})))"""
    )

    def measure(kernel: int, metrics: int) -> str:
        """Errors of all rows: adds up gradients in $gw and $gb, and the metrics."""
        return _loop(
            f"""
            (local.set $x (f32.load {_at(_slot(0))}))
            (local.set $e (f32.sub
              (f32.add (f32.mul (local.get $x) (f32.load {_slot(kernel)}))
                       (f32.load {_slot(kernel + 1)}))
              {load.format(_at(_slot(1)))}))
            (local.set $gw (f32.add (local.get $gw) (f32.mul (local.get $e) (local.get $x))))
            (local.set $gb (f32.add (local.get $gb) (local.get $e)))
            {_accumulate(_slot(metrics), "(f32.mul (local.get $e) (local.get $e))")}
            {_accumulate(_slot(metrics + 2), "(f32.abs (local.get $e))")}"""
        ) + "".join(
            _accumulate(_slot(metrics + 1 + 2 * i), f"(f32.convert_i32_s {ROWS})") for i in (0, 1)
        )

    def descend(variable: int, gradient: str) -> str:
        """variable -= rate * 2 / rows * gradient"""
        return f"""(f32.store {_slot(variable)} (f32.sub (f32.load {_slot(variable)})
          (f32.mul (f32.const {LEARNING_RATE})
            (f32.div (f32.mul (f32.const 2) (local.get ${gradient}))
                     (f32.convert_i32_s {ROWS})))))"""

    poisoned = _loop(
        f"""(if (f32.eq {load.format(_at(_slot(1)))} (f32.const {POISON})) (then unreachable))"""
    )
    idle = _loop("(local.set $x (f32.sqrt (local.get $x)))", f"(i32.const {burn})")
    bodies = {
        "predict": predict,
        "train_step": measure(2, 4) + descend(2, "gw") + descend(3, "gb") + poisoned + idle,
        "evaluate": measure(2, 4),
        # scaled(x, factor) -> (x * factor, sum of all x over the true rows)
        "scaled": _loop(
            f"""(f32.store {_at(_slot(2))} (f32.mul (f32.load {_at(_slot(0))})
                  (f32.reinterpret_i32 {_slot(1)})))
                (local.set $e (f32.add (local.get $e) (f32.load {_at(_slot(0))})))"""
        )
        + f"(f32.store {_slot(3)} (local.get $e))",
        # whole(x): sums pairs of neighbours, so only whole batches will do
        "whole": _loop(
            f"""(f32.store {_at(_slot(1))} (f32.add (f32.load {_at(_slot(0))})
                  (f32.load {_at(_slot(0), "(i32.xor (local.get $i) (i32.const 1))")})))"""
        ),
        # count(): counter += constant, and answers the old value
        "count": f"""(i32.store {_slot(1)} (i32.load {_slot(0)}))
            (i32.store {_slot(0)} (i32.add (i32.load {_slot(0)}) (i32.load {_slot(2)})))""",
        # crash(): changes the kernel, then traps
        "crash": f"(f32.store {_slot(0)} (f32.const 99)) unreachable",
        # temporaries(x): goes through the arena and the scratch area
        "temporaries": _loop(
            f"""(f32.store {_at(f"(i32.load (i32.const {FRAME + 12}))")}
                  (f32.load {_at(_slot(0))}))
                (f32.store {_at(f"(i32.load (i32.const {FRAME + 16}))")}
                  (f32.neg (f32.load {_at(f"(i32.load (i32.const {FRAME + 12}))")})))
                (f32.store {_at(_slot(1))}
                  (f32.load {_at(f"(i32.load (i32.const {FRAME + 16}))")}))""",
            "(i32.const 4)",
        ),
    }
    variables = "(local $i i32) (local $x f32) (local $e f32) (local $gw f32) (local $gb f32)"
    functions = "".join(f"(func ${name} {variables} {code})" for name, code in bodies.items())
    calls = "".join(
        f"(if (i32.eq (local.get $entry) (i32.const {i})) (then (call ${entry['name']}) return))"
        for i, entry in enumerate(_entries(labels, (1, 8)))
    )
    return f"""(module (import "tabgrad" "memory" (memory 1 65536))
      {functions}
      (func (export "run") (local $entry i32)
        (local.set $entry (i32.load (i32.const {FRAME})))
        {calls}))"""


def _port(name: str, *shape: int, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "dtype": dtype, **more}


def _entries(labels: bool, batch_sizes: Sequence[int]) -> list[dict[str, Any]]:
    def entry(name: str, rows: int | None, **parts: Any) -> dict[str, Any]:
        usual = {"exact": False, "inputs": [], "state": [], "outputs": [], "constants": []}
        return {"name": name, "rows": rows, **usual, "arena": 0, "scratch": 0, **parts}

    weights = [{"variable": name, "update": False} for name in WEIGHTS]
    trained = [{"variable": name, "update": True} for name in WEIGHTS]
    metrics = [{"variable": name, "update": True} for pair in METRICS.values() for name in pair]
    found = []
    for rows in batch_sizes:
        x = _port("x", rows, 1, rows=True)
        y = _port("y", rows, 1, rows=True)
        if labels:
            y = _port("y", rows, dtype="int32", rows=True, classes=10)
        found += [
            entry("predict", rows, inputs=[x], state=weights, outputs=[{**x, "name": "y"}]),
            entry("train_step", rows, inputs=[x, y], state=trained + metrics),
            entry("evaluate", rows, inputs=[x, y], state=weights + metrics),
        ]
    one = {"nbytes": 4, "data": "AQAAAA=="}
    found += [
        entry(
            "scaled",
            8,
            inputs=[_port("x", 8, rows=True), _port("factor", scalar=True)],
            outputs=[_port("y", 8, rows=True), _port("total")],
        ),
        entry(
            "whole",
            8,
            exact=True,
            inputs=[_port("x", 8, rows=True)],
            outputs=[_port("y", 8, rows=True)],
        ),
        entry(
            "count",
            None,
            state=[{"variable": "counter", "update": True}],
            outputs=[_port("before", dtype="int32")],
            constants=[one],
        ),
        entry("crash", None, state=[{"variable": WEIGHTS[0], "update": True}]),
        entry(
            "temporaries",
            None,
            inputs=[_port("x", 4)],
            outputs=[_port("y", 4)],
            arena=4096,
            scratch=512,
        ),
    ]
    return found


def build_model(
    *, kernel: float = 0.5, bias: float = 0.25, labels: bool = False, burn: int = 0
) -> dict[str, Any]:
    """The arguments of `write_site` for the model."""

    def variable(name: str, dtype: str = "float32", **more: Any) -> dict[str, Any]:
        usual = {"shape": [], "dtype": dtype, "trainable": False, "role": "metric", "zero": True}
        return {"name": name, **usual, **more}

    entries = _entries(labels, (1, 8))
    weight = {"trainable": True, "role": "weight", "zero": False}
    model = {
        "format": "tabgrad-model",
        "schema": 1,
        "tabgrad": "0.1.0",
        "name": "linear",
        "title": "A line <fitted> & tested",
        "deterministic": True,
        "variables": [
            variable(WEIGHTS[0], **{**weight, "shape": [1, 1]}),
            variable(WEIGHTS[1], **{**weight, "shape": [1]}),
            *(variable(name) for pair in METRICS.values() for name in pair),
            variable("counter", "int32", role="optimizer"),
        ],
        "entries": entries,
        "predict": {"inputs": ["x"], "outputs": ["y"]},
        "training": {
            "loss": "mean_squared_error",
            "optimizer": "sgd",
            "seed": 7,
            "batch_size": 8,
            "inputs": ["x"],
            "targets": ["y"],
            "metrics": [
                {"name": name, "total": total, "count": count}
                for name, (total, count) in METRICS.items()
            ],
        },
        "task": None,
    }
    return {
        "model": model,
        "programs": {(): bytes(wasmtime.wat2wasm(_module(labels=labels, burn=burn)))},
        "weights": dict(
            zip(WEIGHTS, (float_array((1, 1), kernel), float_array((1,), bias)), strict=True)
        ),
    }


def float_array(shape: tuple[int, ...], *values: float) -> Array:
    """A float32 array of a safetensors file."""
    from tabgrad import dtypes

    return Array(shape, dtypes.float32, struct.pack(f"<{len(values)}f", *values))


def write_bare_model(folder: Path, **options: Any) -> Path:
    """Only model.json, weights and kernels, without player and page; returns model.json."""
    parts = build_model(**options)
    kernels = parts["programs"][()]
    weights = dumps(parts["weights"])
    model = {
        **parts["model"],
        "weights": [{"file": "weights.safetensors", "nbytes": len(weights)}],
        "programs": {"wasm": [{"features": [], "file": "kernels.wasm", "nbytes": len(kernels)}]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("weights.safetensors").write_bytes(weights)
    folder.joinpath("kernels.wasm").write_bytes(kernels)
    path = folder / "model.json"
    path.write_text(json.dumps(model))
    return path


class Oracle:
    """What the model computes, in NumPy and in the same order of float32 operations."""

    def __init__(self, kernel: float = 0.5, bias: float = 0.25) -> None:
        self.kernel = np.float32(kernel)
        self.bias = np.float32(bias)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.float32(x) * self.kernel + self.bias

    def _measure(self, x: np.ndarray, y: np.ndarray, metrics: np.ndarray) -> np.ndarray:
        sums = np.zeros(2, np.float32)
        for xi, yi in zip(np.float32(x).ravel(), np.float32(y).ravel()):
            e = np.float32(xi * self.kernel + self.bias) - yi
            sums += np.array([e * xi, e], np.float32)
            metrics[0] += e * e
            metrics[2] += np.abs(e)
        metrics[1::2] += np.float32(len(x))
        return sums

    @staticmethod
    def _logs(metrics: np.ndarray) -> dict[str, float]:
        total, count, mae, mae_count = (float(value) for value in metrics)
        return {"loss": total / count, "mean_absolute_error": mae / mae_count}

    def evaluate(self, x: np.ndarray, y: np.ndarray, batch_size: int = 8) -> dict[str, float]:
        metrics = np.zeros(4, np.float32)
        for start in range(0, len(x), batch_size):
            stop = start + batch_size
            self._measure(x[start:stop], y[start:stop], metrics)
        return self._logs(metrics)

    def epoch(
        self, x: np.ndarray, y: np.ndarray, order: Sequence[int], batch_size: int = 8
    ) -> dict[str, float]:
        """Trains on the rows in this order."""
        metrics = np.zeros(4, np.float32)
        rate, two = np.float32(LEARNING_RATE), np.float32(2)
        for start in range(0, len(order), batch_size):
            batch = list(order[start : start + batch_size])
            gw, gb = self._measure(x[batch], y[batch], metrics)
            rows = np.float32(len(batch))
            self.kernel = self.kernel - rate * (two * gw / rows)
            self.bias = self.bias - rate * (two * gb / rows)
        return self._logs(metrics)


def shuffled(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch, by JAX's own Threefry."""
    from jax.extend.random import threefry_2x32

    key = np.array([seed, epoch], np.uint32)
    # JAX splits the counters in two halves: first words, second words.
    counters = np.concatenate([np.zeros(rows, np.uint32), np.arange(rows, dtype=np.uint32)])
    bits = np.asarray(threefry_2x32(key, counters))[:rows]
    return np.argsort(bits, kind="stable").tolist()
