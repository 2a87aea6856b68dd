"""Ragged rows as values and splits: TensorFlow's RaggedRange, RaggedGather, RaggedTensorToTensor.

Splits are integers (rows + 1): row i is values[splits[i]:splits[i + 1]]. They decide sizes, so they
are read while building, and these functions work eagerly only; values stay in the graph and keep
their gradients. Semantics: API documentation of `tf.raw_ops` (tensorflow.org).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tabgrad import realize
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of, spread
from tabgrad.ops.elementwise import stop_gradient
from tabgrad.ops.indexing import take
from tabgrad.ops.sparse import read_integers
from tabgrad.tensor import Tensor, check_concrete, tensor

_INSTEAD = "Call it outside, or keep rows padded to one size with a mask"


def ragged_range(starts: Any, limits: Any, deltas: Any = 1) -> tuple[Tensor, Tensor]:
    """Ranges of numbers, one after the other.

    Args:
        starts, limits, deltas: a number or n of them for each; read while building.

    Returns:
        The splits (n + 1,) and the values of all ranges.

    Raises:
        ShapeError: vectors of different sizes.
        ArgumentError: a delta of 0.

    Example:
        >>> import tabgrad as tg
        >>> splits, values = tg.segment.ragged_range([0, 5], [3, 4], [1, -1])
        >>> splits.tolist(), values.tolist()
        ([0, 3, 4], [0, 1, 2, 5])
    """
    nodes = common("ragged_range", starts, limits, deltas)
    n = max((node.size for node in nodes if node.shape), default=1)
    if any(node.shape not in ((), (n,)) for node in nodes):
        raise ShapeError(
            "ragged_range expected numbers or vectors of one size; received "
            f"{', '.join(str(list(node.shape)) for node in nodes)}. "
            "Numbers stand for every row"
        )
    columns = [_numbers("ragged_range", Tensor(spread(node, (n,)))) for node in nodes]
    splits, values = [0], []
    for start, limit, delta in zip(*columns, strict=True):
        if delta == 0:
            raise ArgumentError("ragged_range expected deltas other than 0; received 0")
        count = max(0, -int(-(limit - start) // delta))
        values += [start + i * delta for i in range(count)]
        splits.append(len(values))
    result = tensor(values, (len(values),), nodes[0].dtype)
    if result.dtype.is_float and realize.differentiating():
        result = result + _without_value(splits, nodes[0], nodes[2])
    return tensor(splits, (n + 1,), int32), result


def _without_value(splits: Sequence[int], starts: Node, deltas: Node) -> Tensor:
    """Zeros with the derivatives of start + i * delta, which Python has computed already."""
    rows = [i for i in range(len(splits) - 1) for _ in range(splits[i], splits[i + 1])]
    steps = [j - splits[i] for j, i in enumerate(rows)]
    size = (len(splits) - 1,)
    start, delta = (take(Tensor(spread(x, size)), rows, axis=0) for x in (starts, deltas))
    value = start + delta * tensor(steps, (len(steps),), delta.dtype)
    return value - stop_gradient(value)


def _numbers(name: str, x: Tensor) -> list[Any]:
    if x.dtype.is_float:
        check_concrete(x.node, name)
        return list(x.tolist())
    return list(read_integers(name, x, _INSTEAD))


def ragged_gather(
    params_nested_splits: Sequence[Any],
    params_dense_values: Any,
    indices: Any,
    output_ragged_rank: int | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Rows of a ragged tensor at `indices`.

    Args:
        params_nested_splits: the splits of each ragged level, the outermost first.
        params_dense_values: the values of the innermost level.
        indices: integers of any rank of at least 1, read while building.
        output_ragged_rank: the number of levels of the result, which follows from the arguments;
            checked when given.

    Returns:
        The splits of each level of the result, and its values.

    Raises:
        ArgumentError: an index outside, no splits, or another rank.

    Example:
        >>> import tabgrad as tg
        >>> splits, values = tg.segment.ragged_gather([[0, 2, 2, 5]], [1, 2, 3, 4, 5], [2, 0])
        >>> splits[0].tolist(), values.tolist()
        ([0, 3, 5], [3, 4, 5, 1, 2])
    """
    levels = [read_integers("ragged_gather (splits)", s, _INSTEAD) for s in params_nested_splits]
    which = node_of(indices)
    shape = which.shape
    if not levels or not shape:
        raise ArgumentError(
            "ragged_gather expected at least one level of splits and indices of rank at least 1; "
            f"received {len(levels)} levels and indices {list(shape)}"
        )
    rank = len(levels) + len(shape) - 1
    if output_ragged_rank not in (None, rank):
        raise ArgumentError(
            f"ragged_gather expected output_ragged_rank {rank} for {len(levels)} levels and "
            f"indices {list(shape)}; received {output_ragged_rank}"
        )
    flat = read_integers("ragged_gather (indices)", Tensor(b.reshape(which, (which.size,))),
                         _INSTEAD)  # fmt: skip
    rows = len(levels[0]) - 1
    if any(not 0 <= i < rows for i in flat):
        raise ArgumentError(
            f"ragged_gather expected indices from 0 to {rows - 1}; received {min(flat)} to "
            f"{max(flat)}. "
            "Check them against the splits"
        )
    out: list[list[int]] = []
    count = 1
    for outer, inner in pairwise(shape):
        count *= outer
        out.append([i * inner for i in range(count + 1)])
    spans = [(i, i + 1) for i in flat]
    for splits in levels:
        # Each span of rows of this level becomes one span of the level below.
        lengths = [splits[i + 1] - splits[i] for lo, hi in spans for i in range(lo, hi)]
        ends = [0]
        for length in lengths:
            ends.append(ends[-1] + length)
        out.append(ends)
        spans = [(splits[lo], splits[hi]) for lo, hi in spans]
    places = [i for lo, hi in spans for i in range(lo, hi)]
    values = take(Tensor(node_of(params_dense_values)), tensor(places, (len(places),), int32), 0)
    return [tensor(s, (len(s),), int32) for s in out], values


def ragged_tensor_to_tensor(
    shape: Any,
    values: Any,
    default_value: Any,
    row_partition_tensors: Sequence[Any],
    row_partition_types: Sequence[str],
) -> Tensor:
    """A dense tensor with the rows of a ragged one, cut or filled with a default value.

    Args:
        shape: sizes, -1 where the longest row decides; only the ragged axes and the first may be
            left open.
        values: (n, ...), the values of the innermost level.
        default_value: broadcasts to the shape of one value.
        row_partition_tensors: how rows are cut, the outermost first: integers read while building.
        row_partition_types: for each, "ROW_SPLITS", "VALUE_ROWIDS" (the row of each value) or, in
            the first place only, "FIRST_DIM_SIZE" (the number of rows).

    Raises:
        ArgumentError: an unknown type, or one in the wrong place.
        ShapeError: a shape of another rank, or whose inner sizes are not those of a value.

    Example:
        >>> import tabgrad as tg
        >>> tg.segment.ragged_tensor_to_tensor(
        ...     (-1, -1), [1, 2, 3], 0, [[0, 2, 2, 3]], ["ROW_SPLITS"]
        ... ).tolist()
        [[1, 2], [0, 0], [3, 0]]
    """
    name = "ragged_tensor_to_tensor"
    x, default = common(name, values, default_value)
    kinds = list(row_partition_types)
    parts: list[Any] = [
        read_integers(f"{name} (row_partition_tensors)", part, _INSTEAD)
        if isinstance(part, (list, tuple)) or node_of(part).shape
        else int(Tensor(node_of(part)))
        for part in row_partition_tensors
    ]
    rows, owners = _owners(name, kinds, parts)
    want = read_integers(f"{name} (shape)", shape, "Pass the shape as Python ints")
    inner = x.shape[1:]
    sizes = _sizes(name, want, rows, owners, inner)
    flat = _places(rows, owners, sizes)
    if len(flat) != x.shape[0]:
        raise ShapeError(
            f"{name} expected {len(flat)} values by its row partitions; received {list(x.shape)}. "
            "Check that the last row partition covers all values"
        )
    total = 1
    for n in sizes[: len(owners) + 1]:
        total *= n
    out = b.broadcast(spread(default, inner), (total, *inner), range(1, len(inner) + 1))
    if flat and total:
        where = tensor(flat, (len(flat),), int32).node
        out = make("scatter", out, where, x, axis=0, op="set")
    return Tensor(b.reshape(out, (*sizes[: len(owners) + 1], *inner)))


def _owners(name: str, kinds: list[str], parts: list[Any]) -> tuple[int, list[list[int]]]:
    """The number of rows, and for each level the row above of each of its rows or values."""
    if len(kinds) != len(parts) or not kinds:
        raise ArgumentError(
            f"{name} expected a type for each of {len(parts)} row partitions; received {kinds}"
        )
    if kinds[0] == "FIRST_DIM_SIZE":
        rows, kinds, parts = int(parts[0]), kinds[1:], parts[1:]
    elif kinds[0] == "ROW_SPLITS":
        rows = len(parts[0]) - 1
    else:
        raise ArgumentError(
            f"{name} expected the first row partition to be FIRST_DIM_SIZE or ROW_SPLITS; "
            f"received {kinds[0]!r}"
        )
    owners: list[list[int]] = []
    for kind, part in zip(kinds, parts, strict=True):
        if kind == "ROW_SPLITS":
            owners.append([i for i, (lo, hi) in enumerate(pairwise(part)) for _ in range(lo, hi)])
        elif kind == "VALUE_ROWIDS":
            owners.append(list(part))
        else:
            raise ArgumentError(
                f"{name} expected row partitions ROW_SPLITS or VALUE_ROWIDS; received {kind!r}"
            )
    return rows, owners


def _places(rows: int, owners: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[int]:
    """Where each value goes in the dense tensor, -1 for those that are cut off."""
    flat = [i if i < sizes[0] else -1 for i in range(rows)]
    for owner, size in zip(owners, sizes[1:], strict=False):
        below, last, column = [], -1, 0
        for row in owner:
            column = column + 1 if row == last else 0
            last = row
            fits = flat[row] >= 0 and column < size
            below.append(flat[row] * size + column if fits else -1)
        flat = below
    return flat


def _sizes(
    name: str, want: list[int], rows: int, owners: Sequence[Sequence[int]], inner: Sequence[int]
) -> list[int]:
    """The sizes of the result: those wanted, and what the rows need where one is -1."""
    found = [rows]
    for owner in owners:
        counts: dict[int, int] = {}
        for row in owner:
            counts[row] = counts.get(row, 0) + 1
        found.append(max(counts.values(), default=0))
    found += inner
    if len(want) != len(found) or any(
        w not in (-1, f) for w, f in zip(want[len(owners) + 1 :], inner, strict=False)
    ):
        raise ShapeError(
            f"{name} expected a shape of {len(found)} sizes ending in {list(inner)} (or -1); "
            f"received {want}. "
            "Give -1 for each size that the rows decide"
        )
    return [f if w == -1 else w for w, f in zip(want, found, strict=True)]
