"""Finds the first layer whose output is not finite, after a loss has become NaN or infinite.

The failing batch is run again, one operation at a time, on the weights from before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tabgrad.data.arrays import numbers
from tabgrad.layers import base
from tabgrad.layers.base import Layer
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


class Snapshot:
    """The values that Variables have now. Holding them keeps their buffers from being overwritten.

    Args:
        variables: the Variables.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.values = [(v, v.value) for v in variables]

    def restore(self) -> None:
        """Give the Variables these values back."""
        for variable, value in self.values:
            variable.assign(value)


def explain(
    before: Snapshot,
    x: Tensor,
    y: Tensor,
    forward: Callable[[], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> str:
    """What was the first thing in a training step that was not finite, in words.

    Args:
        before: the Variables before the step; they are restored.
        x: the inputs of the batch.
        y: the targets of the batch.
        forward: computes the model's output for x.
        loss: computes the loss of an output.
    """
    before.restore()
    try:
        return _first(before, x, y, forward, loss)
    finally:
        before.restore()  # running forward moved averages and random states


def _first(
    before: Snapshot,
    x: Tensor,
    y: Tensor,
    forward: Callable[[], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> str:
    for name, values in (("x", x), ("y", y)):
        if not _finite(values):
            return f"{name} holds values that are not finite"
    for variable, value in before.values:
        if not variable.path.startswith("metrics/") and not _finite(value):
            return f"the Variable {variable.path!r} was not finite before this batch"
    with _watching() as found:
        predicted = forward()
    if found:
        layer, inputs, outputs = found[0]
        return (
            f"the first layer whose output is not finite is {layer.path!r} "
            f"({type(layer).__name__}): inputs {_range(inputs)}, outputs {_range(outputs)}"
        )
    if not _finite(loss(predicted)):
        return (
            f"all layers give finite outputs ({_range(predicted)} at the end), but the loss of "
            "them is not finite"
        )
    return "every layer and the loss of this batch are finite by themselves; their sum is not"


@contextmanager
def _watching() -> Iterator[list[tuple[Layer, Any, Any]]]:
    """Collect the layers that return something that is not finite, innermost first."""
    found: list[tuple[Layer, Any, Any]] = []

    def observe(layer: Layer, inputs: Any, outputs: Any, *rest: Any) -> None:
        if isinstance(outputs, Tensor) and not _finite(outputs):
            found.append((layer, inputs, outputs))

    base.observers.append(observe)
    try:
        yield found
    finally:
        base.observers.remove(observe)


def _finite(values: Tensor) -> bool:
    return not values.dtype.is_float or all(map(math.isfinite, numbers(values)))


def _range(values: Any) -> str:
    if not isinstance(values, Tensor):
        return "of several tensors"
    finite = [n for n in numbers(values) if math.isfinite(n)]
    if not finite:
        return "not finite at all"
    return f"from {min(finite):g} to {max(finite):g}"
