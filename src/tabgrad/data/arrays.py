"""Arrays given to fit, evaluate and predict: checked, uploaded once, cut into batches.

Not here: what is done with a batch (`training.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tabgrad import jit, ops, random, realize
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable


def upload(value: Any, name: str, dtype: DType | None = None) -> Tensor:
    """The rows of a dataset, as a Tensor in the engine's memory.

    Args:
        value: a Tensor, an array or nested lists, with the rows on the first axis.
        name: what error messages call it: "x" or "y".
        dtype: the dtype it shall have, or None for its own (float64 becomes float32).

    Raises:
        ShapeError: when it has no rows, or is a single number.
    """
    found = tensor(value.value if isinstance(value, Variable) else value, dtype=dtype)
    if not found.shape:
        raise ShapeError(
            f"expected {name} to have rows on its first axis; received a single number"
        )
    if found.shape[0] == 0:
        raise ShapeError(
            f"expected at least one row in {name}; received {name} of shape {found.shape}"
        )
    return found


def fit_rows(x: Tensor, row_shape: Sequence[int | None], name: str = "x") -> Tensor:
    """x with rows of this shape: a last axis of size 1 is added or dropped, as Keras does.

    Raises:
        ShapeError: when the rows have another shape.
    """
    want = tuple(row_shape)
    have = x.shape[1:]
    if _agree(have, want):
        return x
    if want and want[-1] == 1 and _agree(have, want[:-1]):
        return _reshaped(x, (*x.shape, 1))
    if have and have[-1] == 1 and _agree(have[:-1], want):
        return _reshaped(x, x.shape[:-1])
    rows = ", ".join(["rows", *map(str, want)]) + ("," if not want else "")
    raise ShapeError(f"expected {name} of shape ({rows}); received {x.shape}")


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    raw = realize.host_bytes(x.node)
    if raw is None:
        return ops.reshape(x, shape)
    return Tensor(realize.upload(raw, shape, x.dtype))  # it can be made again should it get lost


def _rows(x: Tensor, start: int, stop: int) -> Tensor:
    raw = realize.host_bytes(x.node)
    if raw is None:
        return x[start:stop]
    size = len(raw) // x.shape[0]
    part = raw[start * size : stop * size]
    return Tensor(realize.upload(part, (stop - start, *x.shape[1:]), x.dtype))


def _agree(have: Sequence[int], want: Sequence[int | None]) -> bool:
    return len(have) == len(want) and all(w is None or w == h for h, w in zip(have, want))


def same_length(x: Tensor, y: Tensor, names: str = "x and y") -> None:
    """Raise ShapeError unless both have the same number of rows."""
    if x.shape[0] != y.shape[0]:
        raise ShapeError(
            f"expected {names} to have the same number of rows; received {x.shape[0]} and "
            f"{y.shape[0]}"
        )


def check_labels(y: Tensor, classes: int) -> None:
    """Raise ArgumentError when an integer label is not one of 0 .. classes-1."""
    low, high = _extremes(y)
    if low < 0 or high >= classes:
        raise ArgumentError(
            f"expected labels from 0 to {classes - 1}, because the model has {classes} outputs; "
            f"received labels from {low} to {high}"
        )


def check_probabilities(y: Tensor) -> None:
    """Raise ArgumentError when a label of a binary cross-entropy is not within 0 to 1."""
    low, high = _extremes(y)
    if low < 0 or high > 1:
        raise ArgumentError(
            "expected labels from 0 to 1 for binary_crossentropy; "
            f"received labels from {low:g} to {high:g}"
        )


def numbers(values: Tensor) -> memoryview[Any]:
    """All elements of a Tensor in row-major order, read from the engine."""
    # A dtype's letter is also that of `memoryview.cast`, but mypy knows only literal ones.
    return memoryview(realize.read(values.node)).cast(values.dtype.format)  # type: ignore[call-overload,no-any-return]


def _extremes(y: Tensor) -> tuple[Any, Any]:
    # On the host: reading the labels once is quicker than compiling two reductions.
    values = numbers(y)
    return min(values), max(values)


def split(x: Tensor, y: Tensor, fraction: float) -> tuple[tuple[Tensor, Tensor], ...]:
    """((x, y) to train on, (x, y) to validate on): the last `fraction` of the rows is held out.

    Raises:
        ArgumentError: when the fraction is not between 0 and 1, or leaves one side without rows.
    """
    rows = x.shape[0]
    if not 0 < fraction < 1:
        raise ArgumentError(f"expected validation_split between 0 and 1; received {fraction!r}")
    keep = math.floor(rows * (1.0 - fraction))
    if keep == 0 or keep == rows:
        raise ArgumentError(
            "expected a validation_split that leaves rows on both sides; received "
            f"{fraction} of {rows} rows, which leaves {keep} to train on and {rows - keep} to "
            "validate on"
        )
    return (_rows(x, 0, keep), _rows(y, 0, keep)), (_rows(x, keep, rows), _rows(y, keep, rows))


def order(seed: int, epoch: int, rows: int) -> list[int]:
    """The order of the rows in an epoch: the same on every engine, and in the player.

    Rows are sorted, stably, by the first word of threefry(key=(seed, epoch), counter=(0, row)).
    """
    # The key is data, not a constant, so all epochs share one Program.
    return order_of(order_bits(seed, epoch, rows))


def order_bits(seed: int, epoch: int, rows: int) -> Tensor:
    """What makes the order of the rows in an epoch."""
    key = tensor([seed & 0xFFFFFFFF, epoch], dtype="uint32")
    return _random_bits(key, rows)  # type: ignore[no-any-return]


def order_of(bits: Tensor) -> list[int]:
    """The order that `order_bits` makes."""
    words = numbers(bits)
    return sorted(range(len(words)), key=words.__getitem__)


@jit.compile
def _random_bits(key: Tensor, rows: int) -> Tensor:
    return random.bits((rows,), key)


def batches(rows: int, size: int, indices: Sequence[int] | None = None) -> Iterator[Sequence[int]]:
    """Consecutive slices of the row numbers; the last may be shorter."""
    chosen = range(rows) if indices is None else indices
    for start in range(0, rows, size):
        yield chosen[start : start + size]


class Resident:
    """A dataset's arrays in the engine's memory, from which batches are gathered.

    Args:
        columns: Tensors with equally many rows, for instance x and y.
    """

    def __init__(self, columns: Sequence[Tensor]) -> None:
        self.columns = list(columns)
        self.rows = columns[0].shape[0]
        self._move()
        self._row_bytes = [math.prod(t.shape[1:]) * t.dtype.itemsize for t in columns]

    def _move(self) -> None:
        """Onto the current engine."""
        realize.realize([t.node for t in self.columns])
        self._buffers = [realize.handle_of(t.node) for t in self.columns]
        self._engine = realize.engine()

    def fill(self, inputs: Sequence[Any], indices: Sequence[int]) -> None:
        """Copy these rows into the buffers of a bound Program, one buffer a column."""
        engine = realize.engine()
        if engine is not self._engine:
            self._move()
        for target, source, size in zip(inputs, self._buffers, self._row_bytes):
            engine.copy_rows(target.handle, source.handle, size, indices)

    def like_batch(self, rows: int) -> list[Tensor]:
        """Tensors shaped like a batch of so many rows, never computed: they stand for one."""
        return [ops.zeros((rows, *t.shape[1:]), dtype=t.dtype) for t in self.columns]
