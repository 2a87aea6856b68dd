"""Elements in another arrangement: flips and turns of pictures, diagonals, einops patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import int32, uint32
from tabgrad.errors import ArgumentError, DtypeError, RangeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import axis_of, node_of, on_parts, parts_of
from tabgrad.ops.indexing import getitem
from tabgrad.ops.manipulation import flip, moveaxis, ravel, reshape, transpose
from tabgrad.ops.reduction import sum as sum_
from tabgrad.ops.repeating import pad
from tabgrad.tensor import Tensor


def fliplr(x: Any) -> Tensor:
    """Reversed along the second axis.

    Args:
        x: of any dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.fliplr([[1, 2], [3, 4]]).tolist()
        [[2, 1], [4, 3]]
    """
    return flip(x, 1)


def flipud(x: Any) -> Tensor:
    """Reversed along the first axis.

    Args:
        x: of any dtype, which the result has, too.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.flipud([[1, 2], [3, 4]]).tolist()
        [[3, 4], [1, 2]]
    """
    return flip(x, 0)


def rot90(array: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by a right angle, from the first of two axes towards the second.

    Args:
        array: of any dtype, which the result has, too.
        k: how many quarter turns.
        axes: the plane, from the first towards the second.

    Raises:
        ShapeError: less than two axes, or two that are one.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.rot90([[1, 2], [3, 4]]).tolist()
        [[2, 4], [1, 3]]
    """
    x = Tensor(*parts_of(array))
    first, second = (axis_of("rot90", axis, x.ndim) for axis in axes)
    if first == second:
        raise ShapeError(
            f"rot90 expected two different axes; received {tuple(axes)}. "
            "Name two that span the plane of the rotation"
        )
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    if k % 4 == 0:
        return x
    if k % 4 == 2:
        return flip(x, (first, second))
    if k % 4 == 1:
        return transpose(flip(x, second), order)
    return flip(transpose(x, order), second)


@on_parts()
def diag(x: Any, k: int = 0) -> Tensor:
    """A matrix with a vector on its k-th diagonal, or the k-th diagonal of a matrix.

    Args:
        x: a vector (n,) or a matrix (n, m) of any dtype.
        k: which diagonal: above the main one if positive, below if negative.

    Raises:
        ShapeError: more than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.diag([1, 2]).tolist(), tg.ops.diag([[1, 2], [3, 4]]).tolist()
        ([[1, 0], [0, 2]], [1, 4])
    """
    node = node_of(x)
    if len(node.shape) == 2:
        return diagonal(Tensor(node), k)
    if len(node.shape) != 1:
        raise ShapeError(
            f"diag expected a vector or a matrix; received {list(node.shape)}. "
            "For stacks of matrices use linalg.diagonal"
        )
    n = node.shape[0] + abs(k)
    wide = pad(Tensor(node), (max(-k, 0), max(k, 0))).node
    row, column = b.iota((n, n), 0, int32), b.iota((n, n), 1, int32)
    on = b.eq(column, b.add(row, b.like(row, k)))
    along = b.broadcast(wide, (n, n), (0,))  # each row's value, of which the diagonal takes one
    return Tensor(b.select(on, along, b.like(along, 0)))


def diagflat(x: Any, k: int = 0) -> Tensor:
    """`diag` of the flattened x.

    Args:
        x: of any shape and dtype.
        k: which diagonal.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.diagflat([[1], [2]]).tolist()
        [[1, 0], [0, 2]]
    """
    return diag(ravel(x), k)


@on_parts()
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals in the planes of two axes, along a new last axis.

    Args:
        x: (..., n, m) of any dtype.
        offset: which diagonal: above the main one if positive, below if negative.
        axis1: the axis of the rows.
        axis2: the axis of the columns.

    Raises:
        RangeError: axes that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.diagonal([[1, 2], [3, 4]]).tolist()
        [1, 4]
    """
    value = Tensor(node_of(x))
    if value.ndim < 2:
        raise RangeError(
            f"diagonal expected at least two axes; received shape {list(value.shape)}. tg.ops.diag "
            "makes a matrix of a vector"
        )
    value = moveaxis(value, (axis1, axis2), (-2, -1))
    m, n = value.shape[-2:]
    count = max(0, min(m, n - offset) if offset >= 0 else min(m + offset, n))
    rows = [i + max(-offset, 0) for i in range(count)]
    return getitem(value, (..., rows, [i + max(offset, 0) for i in range(count)]))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sums of the diagonals in the planes of two axes.

    Args:
        x: (..., n, m) of any dtype.
        offset: which diagonal: above the main one if positive, below if negative.
        axis1: the axis of the rows.
        axis2: the axis of the columns.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.trace([[1, 2], [3, 4]]).tolist()
        5
    """
    return sum_(diagonal(x, offset, axis1, axis2), -1)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements in the columns of a matrix, the highest first.

    Args:
        x: numbers (n,).
        N: how many columns, n by default.
        increasing: whether the powers rise from left to right.

    Returns:
        (n, N) of the dtype of x.

    Raises:
        ShapeError: x is no vector.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.vander([2, 3], 3).tolist()
        [[4, 2, 1], [9, 3, 1]]
    """
    node = node_of(x)
    if len(node.shape) != 1:
        raise ShapeError(
            f"vander expected a vector; received {list(node.shape)}. "
            "Flatten with x.ravel(), or map over rows with tg.vmap"
        )
    count = node.shape[0] if N is None else N
    powers = b.iota((1, count), 1, node.dtype if node.dtype.is_integer else int32)
    if not increasing:
        powers = b.sub(b.like(powers, count - 1), powers)
    return e.power(reshape(Tensor(node), (node.shape[0], 1)), e.cast(Tensor(powers), node.dtype))


def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Flat indices into an array of this shape as one array of indices for each axis.

    Indices of fewer than 32 bits become int32 or uint32.

    Raises:
        DtypeError: indices that are no integers.

    Example:
        >>> import tabgrad as tg
        >>> [i.tolist() for i in tg.ops.unravel_index([5, 7], (3, 4))]
        [[1, 1], [1, 3]]
    """
    node = node_of(indices)
    if not node.dtype.is_integer:
        raise DtypeError(
            f"unravel_index expected integer indices; received {node.dtype.name}. Cast them first"
        )
    if node.dtype.itemsize < 4:
        node = b.cast(node, uint32 if node.dtype.kind == "u" else int32)
    flat = Tensor(node)
    total = 1
    for n in shape:
        total *= n
    flat = e.where(e.less(flat, 0), e.add(flat, total), flat)
    found = []
    for n in reversed(shape):
        found.append(e.mod(flat, max(n, 1)))
        flat = e.floor_divide(flat, max(n, 1))
    return tuple(reversed(found))


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Elements of the first choice whose condition holds, `default` where none does.

    Args:
        condlist: bools of any shapes that broadcast.
        choicelist: as many arrays; their dtypes are promoted.
        default: where no condition holds.

    Raises:
        ArgumentError: another number of choices than of conditions, or none.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([1, 5, 9])
        >>> tg.ops.select([x < 3, x < 7], [x, -x], 0).tolist()
        [1, -5, 0]
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ArgumentError(
            f"select expected as many choices as conditions, at least one; received "
            f"{len(condlist)} conditions and {len(choicelist)} choices. "
            "Give a choice for each condition; what none of them takes is default"
        )
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = e.where(condition, choice, result)
    return Tensor(*parts_of(result))


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Tensor:
    """Axes split, merged and moved by an einops pattern, such as "b (h w) c -> b c h w".

    Axes are words; those in brackets are one axis seen as several; "..." stands for all others;
    "1" for an axis of size 1. `axes_lengths` gives the sizes of parts that are not known.

    Returns:
        Of the dtype of the tensor.

    Raises:
        ArgumentError: a pattern that does not fit.

    Source: Rogozhnikov, "Einops: clear and reliable tensor manipulations with Einstein-like
    notation", ICLR 2022.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.rearrange(tg.ones((2, 12, 3)), "b (h w) c -> b c h w", h=3).shape
        (2, 3, 3, 4)
    """
    x = Tensor(*parts_of(tensor))
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise ArgumentError(
            f"rearrange expected '->' in its pattern; received {pattern!r}. "
            "Name the axes before and after, as in 'b h w -> b (h w)'"
        )
    source, target = (_groups(side, pattern) for side in (left, right))
    if ["..."] in source:
        at = source.index(["..."])
        hidden = [[f"...{i}"] for i in range(x.ndim - len(source) + 1)]
        source[at : at + 1] = hidden
        if ["..."] in target:
            at = target.index(["..."])
            target[at : at + 1] = hidden
    if len(source) != x.ndim:
        raise ArgumentError(
            f"rearrange expected {len(source)} axes for {pattern!r}; received {list(x.shape)}. "
            "Name each axis of the tensor, or use '...' for the others"
        )
    sizes = dict(axes_lengths)
    for group, n in zip(source, x.shape, strict=True):
        known, unknown = 1, [name for name in group if name not in sizes]
        for name in group:
            known *= sizes.get(name, 1)
        if len(unknown) > 1 or known == 0 or n % known or (not unknown and known != n):
            raise ArgumentError(
                f"rearrange expected sizes that split an axis of {n} as {' '.join(group) or '1'} "
                f"in {pattern!r}; received {axes_lengths}. Give the sizes of all parts but one"
            )
        for name in unknown:
            sizes[name] = n // known
    names = [name for group in source for name in group]
    wanted = [name for group in target for name in group]
    if sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise ArgumentError(
            f"rearrange expected the same axes on both sides, each once; received {pattern!r}. "
            "To sum an axis away use tg.ops.einsum or tg.sum"
        )
    apart = reshape(x, [sizes[name] for name in names])
    moved = transpose(apart, [names.index(name) for name in wanted]) if names else apart
    merged = []
    for group in target:
        total = 1
        for name in group:
            total *= sizes[name]
        merged.append(total)
    return reshape(moved, merged)


def _groups(side: str, pattern: str) -> list[list[str]]:
    """The axes of one side of a pattern, each as the list of its parts."""
    found = re.findall(r"\(([^()]*)\)|(\.\.\.|\w+)", side)
    if re.sub(r"\(([^()]*)\)|(\.\.\.|\w+)|\s", "", side):
        raise ArgumentError(f"rearrange expected words and brackets; received {pattern!r}")
    groups = [inner.split() if not word else [word] for inner, word in found]
    return [[name for name in group if name != "1"] for group in groups]
