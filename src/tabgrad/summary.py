"""The text of `model.summary()`: layers, shapes, parameters, work and peak memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tabgrad import ops
from tabgrad.errors import NotSupportedError
from tabgrad.steps import DEFAULT_BATCH_SIZE
from tabgrad.variable import Variable

if TYPE_CHECKING:
    from tabgrad.models import Model

_HEADER = ("Layer (type)", "Output Shape", "Param #")


def text(model: Model) -> str:
    """The whole summary of a model, several lines.

    FLOPs and peak memory are those of the compiled Programs: of predicting one row, and, for a
    compiled model, of training one batch.
    """
    costs = _costs(model) if model.built else []
    rows = [_HEADER, *(_layer_row(model, layer) for layer in model.layers)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    rule = "─" * (sum(widths) + 6)
    lines = [f'Model: "{model.name}"', rule]
    for number, row in enumerate(rows):
        cells = (row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]))
        lines.append("   ".join(cells).rstrip())
        if number == 0:
            lines.append(rule)
    lines.append(rule)
    if not model.built:
        lines.append("Not built: call the model on data, or start it with tg.Input(shape)")
        return "\n".join(lines)
    trainable, fixed = model.trainable_weights, model.non_trainable_weights
    lines.append(f"Total params: {_params(trainable + fixed)}")
    lines.append(f"Trainable params: {_params(trainable)}")
    lines.append(f"Non-trainable params: {_params(fixed)}")
    if model.optimizer is not None and model.optimizer.built:
        lines.append(f"Optimizer params: {_params(model.optimizer.variables)}")
    lines += costs
    return "\n".join(lines)


def _layer_row(model: Model, layer: Any) -> tuple[str, str, str]:
    shape = "?"
    if model.built and layer in (found := model.layers):
        shapes = getattr(model, "_shapes", None)
        if shapes:
            shape = str(shapes[found.index(layer)])
    count = f"{layer.count_params():,}" if layer.built else "unbuilt"
    return f"{layer.name} ({type(layer).__name__})", shape, count


def _params(variables: Sequence[Variable]) -> str:
    count = sum(math.prod(v.shape) for v in variables)
    return f"{count:,} ({size(sum(math.prod(v.shape) * v.dtype.itemsize for v in variables))})"


def _costs(model: Model) -> list[str]:
    lines = []
    for name, entry in model._entries().items():
        if name == "evaluate":
            continue
        rows = 1 if name == "predict" else model._batch_size or DEFAULT_BATCH_SIZE
        examples = [
            ops.zeros((rows, *(n for n in s.shape[1:] if n is not None)), dtype=s.dtype)
            for s in entry.inputs
        ]
        try:
            with model._on_engine():
                cost = model._function(name).program(*examples).entries[0]
        except NotSupportedError:
            continue
        what = "Predicting a row" if name == "predict" else f"Training on {rows} rows"
        lines.append(f"{what}: {count(cost.flops)}FLOPs, {size(cost.peak)} at peak")
    return lines


def count(number: float) -> str:
    """A number with a decimal prefix and a space before the unit.

    Example:
        >>> count(1_500_000) + "FLOPs"
        '1.50 MFLOPs'
    """
    for prefix in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.0f} {prefix}" if not prefix else f"{number:.2f} {prefix}"
        number /= 1000
    return f"{number:.2f} T"


def size(nbytes: float) -> str:
    """A number of bytes in a readable unit.

    Example:
        >>> size(2048)
        '2.00 kB'
    """
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB"):
        nbytes /= 1024
        if nbytes < 1024:
            return f"{nbytes:.2f} {unit}"
    return f"{nbytes / 1024:.2f} GB"
