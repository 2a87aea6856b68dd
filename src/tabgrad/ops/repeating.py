"""Elements in more places, or in others along their axis: pad, repeat, tile, roll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, node_of, on_parts, scalar, whole
from tabgrad.ops.manipulation import cut
from tabgrad.tensor import Tensor


@on_parts("x", "constant_values")
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Tensor:
    """x surrounded by a constant (0 by default), its edge, its reflection or its repetition.

    `pad_width` is a number, (before, after), or one such pair for each axis.

    Args:
        x: of any dtype, which the result has, too.
        pad_width: (before, after) for each axis, one such pair or one number for all.
        mode: "constant", "edge", "reflect", "symmetric" or "wrap".
        constant_values: what to fill with, 0 by default; only for "constant". A number, or like
            `pad_width` (before, after) for all axes or for each.

    Raises:
        ArgumentError: widths that are no integers, or another mode.
        ShapeError: widths or constant values for another number of axes, a negative
            width, or a mode that needs elements where there are none.

    Example:
        >>> import tabgrad as tg
        >>> tg.pad([1, 2], (1, 2)).tolist()
        [0, 1, 2, 0, 0]
    """
    node = node_of(x)
    rank = len(node.shape)
    pad_width = whole("pad", "pad_width", pad_width)
    if isinstance(pad_width, bool):
        raise ArgumentError(
            f"pad expected widths that are integers; received {pad_width}. "
            "Convert them with int(...)"
        )
    if isinstance(pad_width, int):
        pairs = [(pad_width, pad_width)] * rank
    elif isinstance(pad_width[0], int):
        pairs = [tuple(pad_width)] * rank
    else:
        pairs = [tuple(p) for p in pad_width]
        pairs = pairs * rank if len(pairs) == 1 else pairs
    if len(pairs) != rank or any(lo < 0 or hi < 0 for lo, hi in pairs):
        raise ShapeError(
            f"pad expected {rank} pairs of non-negative widths; received {pad_width}. "
            "Give one width, a pair for all axes, or a pair for each"
        )
    if mode == "constant" and isinstance(constant_values, (list, tuple)):
        return _surrounded(Tensor(node), pairs, constant_values)
    if mode == "constant":
        fill = scalar(0 if constant_values is None else constant_values, node.dtype)
        return Tensor(
            make(
                "pad",
                node,
                fill,
                low=tuple(lo for lo, _ in pairs),
                high=tuple(hi for _, hi in pairs),
                interior=(0,) * rank,
            )
        )
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ArgumentError(
            f"pad expected mode constant, edge, reflect, symmetric or wrap; received {mode!r}"
        )
    for axis, (lo, hi) in enumerate(pairs):
        if lo or hi:
            node = _extend(node, axis, lo, hi, mode)
    return Tensor(node)


def _surrounded(x: Tensor, pairs: Sequence[tuple[int, ...]], values: Sequence[Any]) -> Tensor:
    """x padded with constants of their own on every side, one axis after the other."""
    each = list(values) if values and isinstance(values[0], (list, tuple)) else [values]
    each = each * len(pairs) if len(each) == 1 else each
    each = [list(pair) * 2 if len(pair) == 1 else pair for pair in each]
    if len(each) != len(pairs) or any(len(pair) != 2 for pair in each):
        raise ShapeError(
            f"pad expected constant_values for {len(pairs)} axes, (before, after) for each; "
            f"received {values}. "
            "Give one number, a pair for all axes, or a pair for each"
        )
    for axis, (widths, pair) in enumerate(zip(pairs, each, strict=True)):
        for value, low, high in ((pair[0], widths[0], 0), (pair[1], 0, widths[1])):
            sides = [(low, high) if d == axis else (0, 0) for d in range(len(pairs))]
            x = pad(x, sides, constant_values=value)
    return x


def _mirrored(i: int, n: int, mode: str) -> int:
    """Which of n elements stands at place i, also before 0 and behind n, where they go on."""
    if mode == "wrap":
        return i % n
    if mode == "symmetric":
        return min(i % (2 * n), 2 * n - 1 - i % (2 * n))
    turn = max(2 * (n - 1), 1)
    return min(i % turn, turn - i % turn) if n > 1 else 0


def _extend(node: Node, axis: int, lo: int, hi: int, mode: str) -> Node:
    n = node.shape[axis]
    if mode == "edge":
        shape = list(node.shape)

        def border(at: int, count: int) -> Node:
            shape[axis] = count
            return b.broadcast(cut(node, axis, at, at + 1), tuple(shape), range(len(shape)))

        before, after = border(0, lo), border(n - 1, hi)
    else:
        skip = 1 if mode == "reflect" else 0
        if mode == "wrap" or max(lo, hi) > n - skip:
            if not n:
                raise ShapeError(
                    f"pad by {mode} expected elements along axis {axis}; received none. "
                    "Use mode constant, which needs none"
                )
            places = [_mirrored(i, n, mode) for i in range(-lo, n + hi)]
            return make("gather", node, node_of(places), axis=axis)
        before = make("flip", cut(node, axis, skip, lo + skip), axes=(axis,))
        after = make("flip", cut(node, axis, n - hi - skip, n - skip), axes=(axis,))
    parts = [part for part, size in ((before, lo), (node, 1), (after, hi)) if size]
    return make("concatenate", *parts, axis=axis)


@on_parts()
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element `repeats` times along an axis (flattened first when it is None).

    `repeats` is a number, or as many as the axis has elements; a tensor of them is read.

    Args:
        x: of any dtype, which the result has, too.
        repeats: how often each element comes, an integer or one for each.
        axis: the axis; None for the flattened x.

    Raises:
        ShapeError: another number of repeats than elements, or a negative one.
        CaptureError: repeats computed while capturing, whose sum would be a size.
        ArgumentError: repeats that are no integers.

    Example:
        >>> import tabgrad as tg
        >>> tg.repeat([1, 2], 2).tolist()
        [1, 1, 2, 2]
    """
    node = node_of(x)
    if axis is None:
        node, axis = b.reshape(node, (node.size,)), 0
    where = axis_of("repeat", axis, len(node.shape))
    shape = node.shape
    repeats = whole("repeat", "repeats", repeats)
    if isinstance(repeats, bool):
        raise ArgumentError(
            f"repeat expected repeats that are integers; received {repeats}. Cast them to int32"
        )
    if not isinstance(repeats, int):
        counts = repeats.tolist() if hasattr(repeats, "tolist") else list(repeats)
        counts = counts if isinstance(counts, list) else [counts]
        counts = counts * shape[where] if len(counts) == 1 else counts
        if len(counts) != shape[where] or any(n < 0 for n in counts):
            raise ShapeError(
                f"repeat expected {shape[where]} repeats of at least 0; received {counts}. "
                "Give one number, or one for each element"
            )
        places = [i for i, n in enumerate(counts) for _ in range(n)]
        if not places:
            return Tensor(b.full((*shape[:where], 0, *shape[where + 1 :]), 0, node.dtype))
        return Tensor(make("gather", node, node_of(places), axis=where))
    if repeats < 0:
        raise ShapeError(
            f"repeat expected at least 0 repeats; received {repeats}. "
            "Repeating 0 times leaves nothing"
        )
    wide = (*shape[: where + 1], repeats, *shape[where + 1 :])
    dims = [d if d <= where else d + 1 for d in range(len(shape))]
    out = (*shape[:where], shape[where] * repeats, *shape[where + 1 :])
    return Tensor(b.reshape(b.broadcast(node, wide, dims), out))


@on_parts()
def tile(x: Any, repeats: int | Sequence[int]) -> Tensor:
    """x laid side by side `repeats` times on each axis.

    Args:
        x: of any dtype, which the result has, too.
        repeats: how often x comes along each axis.

    Example:
        >>> import tabgrad as tg
        >>> tg.tile([1, 2], 2).tolist()
        [1, 2, 1, 2]
    """
    node = node_of(x)
    counts = [repeats] if isinstance(repeats, int) else list(repeats)
    rank = max(len(counts), len(node.shape))
    shape = (1,) * (rank - len(node.shape)) + node.shape
    counts = [1] * (rank - len(counts)) + counts
    node = b.reshape(node, shape)
    wide = [m for pair in zip(counts, shape, strict=True) for m in pair]
    out = [c * n for c, n in zip(counts, shape, strict=True)]
    return Tensor(b.reshape(b.broadcast(node, wide, range(1, 2 * rank, 2)), out))


@on_parts()
def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved by `shift` along axes, those falling off coming in at the other end.

    Without an axis, x is flattened and restored afterwards. Several axes take several shifts, or
    one for all.

    Args:
        x: of any dtype, which the result has, too.
        shift: by how many places, one for each axis.
        axis: the axes; None for the flattened x.

    Raises:
        ShapeError: another number of shifts than of axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.roll([1, 2, 3], 1).tolist()
        [3, 1, 2]
    """
    node = node_of(x)
    if axis is None:
        steps = [shift] if isinstance(shift, int) else list(shift)
        flat = _rolled(b.reshape(node, (node.size,)), sum(steps), 0)
        return Tensor(b.reshape(flat, node.shape))
    axes = [axis] if isinstance(axis, int) else list(axis)
    shifts = [shift] * len(axes) if isinstance(shift, int) else list(shift)
    if len(shifts) != len(axes):
        raise ShapeError(
            f"roll expected a shift for each of axes {axes}; received {shifts}. "
            "Give one shift for all axes, or one for each"
        )
    for step, d in zip(shifts, axes, strict=True):
        node = _rolled(node, step, axis_of("roll", d, len(node.shape)))
    return Tensor(node)


def _rolled(node: Node, shift: int, axis: int) -> Node:
    n = node.shape[axis]
    if n == 0 or shift % n == 0:
        return node
    at = n - shift % n
    return make("concatenate", cut(node, axis, at, n), cut(node, axis, 0, at), axis=axis)
