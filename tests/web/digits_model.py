"""A classifier of 8 × 8 digits made by hand: softmax(x @ w + b), trained on the Brier score by SGD.

For testing the page without the compiler. In WebAssembly text, one float at a time; exp is
(1 + v/1024)^1024, which is close enough to learn by.
"""

from __future__ import annotations

from typing import Any

import wasmtime

from tests.player.linear import float_array

FRAME = 1024
ARENA = f"(i32.load (i32.const {FRAME + 12}))"
ROWS = f"(i32.load (i32.const {FRAME + 4}))"
PIXELS, CLASSES = 64, 10
RATE = 1.0
METRICS = ("loss", "accuracy")
BATCH = 32


def _slot(index: int) -> str:
    return f"(i32.load (i32.const {FRAME + 4 * (16 + index)}))"


def _element(base: str, index: str) -> str:
    return f"(i32.add {base} (i32.shl {index} (i32.const 2)))"


def _for(variable: str, count: str | int, body: str) -> str:
    count = f"(i32.const {count})" if isinstance(count, int) else count
    return f"""(local.set ${variable} (i32.const 0))
      (block $end_{variable} (loop $next_{variable}
        (br_if $end_{variable} (i32.ge_s (local.get ${variable}) {count}))
        {body}
        (local.set ${variable} (i32.add (local.get ${variable}) (i32.const 1)))
        (br $next_{variable})))"""


def _mul(a: str, b: str) -> str:
    return f"(i32.mul {a} {b})"


def _add(a: str, b: str) -> str:
    return f"(i32.add {a} {b})"


def _get(name: str) -> str:
    return f"(local.get ${name})"


def _int(value: int) -> str:
    return f"(i32.const {value})"


def _increase(address: str, value: str) -> str:
    return f"(f32.store {address} (f32.add (f32.load {address}) {value}))"


X = _element(_slot(0), _add(_mul(_get("i"), _int(PIXELS)), _get("k")))


def _probabilities(weights: int, out: str) -> str:
    """The probabilities of row $i to `out`, an address of ten floats."""
    w = _element(_slot(weights), _add(_mul(_get("k"), _int(CLASSES)), _get("j")))
    cell = _element(out, _get("j"))
    square = "(local.set $v (f32.mul (local.get $v) (local.get $v)))"
    return (
        "(local.set $top (f32.const -inf))"
        + _for(
            "j",
            CLASSES,
            f"(local.set $v (f32.load {_element(_slot(weights + 1), _get('j'))}))"
            + _for(
                "k",
                PIXELS,
                f"""(local.set $v (f32.add (local.get $v) (f32.mul (f32.load {w})
                    (f32.div (f32.load {X}) (f32.const 16)))))""",
            )
            + f"""(f32.store {cell} (local.get $v))
                  (local.set $top (f32.max (local.get $top) (local.get $v)))""",
        )
        + "(local.set $sum (f32.const 0))"
        + _for(
            "j",
            CLASSES,
            f"""(local.set $v (f32.max (f32.const 0) (f32.add (f32.const 1)
                  (f32.div (f32.sub (f32.load {cell}) (local.get $top)) (f32.const 1024)))))
                {square * 10}
                (f32.store {cell} (local.get $v))
                (local.set $sum (f32.add (local.get $sum) (local.get $v)))""",
        )
        + _for("j", CLASSES, f"(f32.store {cell} (f32.div (f32.load {cell}) (local.get $sum)))")
    )


def _errors(weights: int, metrics: int) -> str:
    """Metrics of row $i, whose probabilities become p - t in the arena; $dot is sum p (p - t)."""
    cell = _element(ARENA, _get("j"))
    right = f"(i32.eq (local.get $j) (i32.load {_element(_slot(1), _get('i'))}))"
    return (
        _probabilities(weights, ARENA)
        + "(local.set $top (f32.const -1)) (local.set $dot (f32.const 0))"
        + _for(
            "j",
            CLASSES,
            f"""(local.set $v (f32.load {cell}))
                (if (f32.gt (local.get $v) (local.get $top)) (then
                  (local.set $top (local.get $v)) (local.set $hit {right})))
                (local.set $v (f32.sub (local.get $v) (f32.convert_i32_s {right})))
                (local.set $dot (f32.add (local.get $dot)
                  (f32.mul (f32.load {cell}) (local.get $v))))
                (f32.store {_element(ARENA, _add(_get("j"), _int(CLASSES)))} (local.get $v))
                {_increase(_slot(metrics), "(f32.mul (local.get $v) (local.get $v))")}""",
        )
        + _increase(_slot(metrics + 2), f"(f32.convert_i32_s {_get('hit')})")
        + "".join(_increase(_slot(metrics + i), "(f32.const 1)") for i in (1, 3))
    )


def _module(entries: list[dict[str, Any]]) -> str:
    cell = _element(ARENA, _get("j"))
    error = _element(ARENA, _add(_get("j"), _int(CLASSES)))
    gradients = _add(ARENA, _int(256))
    w = _add(_mul(_get("k"), _int(CLASSES)), _get("j"))
    bias = _add(_get("j"), _int(PIXELS * CLASSES))
    clear = _for(
        "k", (PIXELS + 1) * CLASSES, f"(f32.store {_element(gradients, _get('k'))} (f32.const 0))"
    )
    backward = _for(
        "j",
        CLASSES,
        f"""(local.set $g (f32.mul (f32.load {cell})
              (f32.sub (f32.load {error}) (local.get $dot))))
            {_increase(_element(gradients, bias), _get("g"))}"""
        + _for(
            "k",
            PIXELS,
            _increase(
                _element(gradients, w),
                f"(f32.mul (local.get $g) (f32.div (f32.load {X}) (f32.const 16)))",
            ),
        ),
    )

    def descend(variable: int, index: str, gradient: str) -> str:
        return _increase(
            _element(_slot(variable), index),
            f"""(f32.div (f32.mul (f32.const {-2 * RATE}) (f32.load {gradient}))
                (f32.convert_i32_s {ROWS}))""",
        )

    update = _for(
        "j",
        CLASSES,
        descend(3, _get("j"), _element(gradients, bias))
        + _for("k", PIXELS, descend(2, w, _element(gradients, w))),
    )
    out = _element(_slot(3), _mul(_get("i"), _int(CLASSES)))
    bodies = {
        "predict": _for("i", ROWS, _probabilities(1, out)),
        "train_step": clear + _for("i", ROWS, _errors(2, 4) + backward) + update,
        "evaluate": _for("i", ROWS, _errors(2, 4)),
    }
    local = "(local $i i32) (local $j i32) (local $k i32) (local $hit i32)" + "".join(
        f"(local ${name} f32)" for name in ("v", "g", "top", "sum", "dot")
    )
    functions = "".join(f"(func ${name} {local} {code})" for name, code in bodies.items())
    calls = "".join(
        f"(if (i32.eq (local.get $entry) (i32.const {i})) (then (call ${entry['name']}) return))"
        for i, entry in enumerate(entries)
    )
    return f"""(module (import "tabgrad" "memory" (memory 1 65536)) {functions}
      (func (export "run") (local $entry i32)
        (local.set $entry (i32.load (i32.const {FRAME}))) {calls}))"""


def build_digits() -> dict[str, Any]:
    """The arguments of `write_site` for the model, untrained."""
    metrics = [f"metrics/{name}/{part}" for name in METRICS for part in ("total", "count")]

    def entry(name: str, rows: int, update: bool) -> dict[str, Any]:
        x = {"name": "x", "shape": [rows, 8, 8, 1], "dtype": "float32", "rows": True}
        y = {"name": "y", "shape": [rows], "dtype": "int32", "rows": True, "classes": CLASSES}
        p = {"name": "p", "shape": [rows, CLASSES], "dtype": "float32", "rows": True}
        weights = [{"variable": each, "update": update} for each in ("kernel", "bias")]
        measured = [{"variable": each, "update": True} for each in metrics]
        predicts = name == "predict"
        return {
            "name": name,
            "rows": rows,
            "exact": False,
            "inputs": [x] if predicts else [x, y],
            "state": weights if predicts else weights + measured,
            "outputs": [p] if predicts else [],
            "constants": [],
            "arena": 8192,
            "scratch": 0,
        }

    entries = [
        entry(name, rows, name == "train_step")
        for rows in (1, BATCH)
        for name in ("predict", "train_step", "evaluate")
    ]
    scalar = {"shape": [], "dtype": "float32", "trainable": False, "role": "metric", "zero": True}
    weight = {"dtype": "float32", "trainable": True, "role": "weight", "zero": False}
    model = {
        "format": "tabgrad-model",
        "schema": 1,
        "tabgrad": "0.1.0",
        "name": "softmax",
        "title": "Handwritten digits",
        "deterministic": False,
        "variables": [
            {**weight, "name": "kernel", "shape": [PIXELS, CLASSES]},
            {**weight, "name": "bias", "shape": [CLASSES]},
            *({**scalar, "name": name} for name in metrics),
        ],
        "entries": entries,
        "predict": {"inputs": ["x"], "outputs": ["p"]},
        "training": {
            "loss": "brier_score",
            "optimizer": "sgd",
            "seed": 0,
            "batch_size": BATCH,
            "inputs": ["x"],
            "targets": ["y"],
            "metrics": [
                {
                    "name": name,
                    "total": f"metrics/{name}/total",
                    "count": f"metrics/{name}/count",
                }
                for name in METRICS
            ],
        },
        "task": {
            "kind": "digits",
            "labels": [str(digit) for digit in range(CLASSES)],
            "height": 8,
            "width": 8,
            "scale": 16.0,
        },
    }
    zeros = [0.0] * (PIXELS * CLASSES)
    return {
        "model": model,
        "programs": {(): bytes(wasmtime.wat2wasm(_module(entries)))},
        "weights": {
            "kernel": float_array((PIXELS, CLASSES), *zeros),
            "bias": float_array((CLASSES,), *zeros[:CLASSES]),
        },
    }
