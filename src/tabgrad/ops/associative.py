"""`associative_scan`: all running folds of an associative function, by halving the sequence.

No loop of the graph: every level is two calls of the function, on whole tensors. Not here: loops
that go step by step (`control.py`), and the running folds that have names (`cumulative.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad import trees
from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops.arguments import axis_of, node_of
from tabgrad.ops.manipulation import concatenate, flip
from tabgrad.tensor import Tensor


def associative_scan(
    f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """All running folds of an associative function along an axis, in about 2 log2(n) calls of it.

    Args:
        f: `f(a, b)` on nested containers like `elems`, of any size along the axis, for every pair
            of elements at once; (a f b) f c must equal a f (b f c).
        elems: a nested container of tensors of one size along the axis.
        reverse: fold from the end.
        axis: the axis to walk along.

    Returns:
        A container like `elems`: element i is the fold of elements 0 to i.

    Raises:
        ShapeError: sizes along the axis that differ.
        ArgumentError: no tensors.

    Source: Blelloch, "Prefix sums and their applications" (1990); as `jax.lax.associative_scan`.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([3, 1, 4, 1, 5])
        >>> tg.ops.associative_scan(tg.ops.maximum, x).tolist()
        [3, 3, 4, 4, 5]
    """
    leaves, structure = trees.flatten(elems)
    xs = [leaf if isinstance(leaf, Tensor) else Tensor(node_of(leaf)) for leaf in leaves]
    if not xs:
        raise ArgumentError(
            "associative_scan expected at least one tensor; received none. "
            "Give a tensor, or a container of tensors"
        )
    axes = [axis_of("associative_scan", axis, len(x.shape)) for x in xs]
    sizes = {x.shape[a] for x, a in zip(xs, axes, strict=True)}
    if len(sizes) != 1:
        raise ShapeError(
            f"associative_scan expected one size along axis {axis}; received {sorted(sizes)}. "
            "Make the sizes equal with tg.ops.pad or a slice"
        )

    def combined(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
        result = f(trees.unflatten(structure, left), trees.unflatten(structure, right))
        found, its_structure = trees.flatten(result)
        if its_structure != structure:
            raise ShapeError(
                "associative_scan expected f to return the structure of its arguments; received "
                f"{result!r}. Return the same keys, lengths and types of containers"
            )
        return [x if isinstance(x, Tensor) else Tensor(node_of(x)) for x in found]

    def part(x: Tensor, a: int, start: int, stop: int, step: int = 1) -> Tensor:
        return x[(slice(None),) * a + (slice(start, stop, step),)]

    def prefix(level: list[Tensor], n: int) -> list[Tensor]:
        if n < 2:
            return level
        pairs = zip(level, axes, strict=True)
        evens = [part(x, a, 0, n - 1, 2) for x, a in pairs]
        odds = [part(x, a, 1, n, 2) for x, a in zip(level, axes, strict=True)]
        # Folds up to every odd place; those up to even places need one more element each.
        at_odds = prefix(combined(evens, odds), n // 2)
        rest = (n - 1) // 2
        before = [part(x, a, 0, rest) for x, a in zip(at_odds, axes, strict=True)]
        later = [part(x, a, 2, n, 2) for x, a in zip(level, axes, strict=True)]
        first = [part(x, a, 0, 1) for x, a in zip(level, axes, strict=True)]
        if rest:
            at_evens = combined(before, later)
            columns = zip(first, at_evens, axes, strict=True)
            first = [concatenate([x, y], axis=a) for x, y, a in columns]
        weave = zip(first, at_odds, axes, strict=True)
        return [_woven(even, odd, n, a) for even, odd, a in weave]

    if reverse:
        xs = [flip(x, axis=a) for x, a in zip(xs, axes, strict=True)]
    done = prefix(xs, sizes.pop())
    if reverse:
        done = [flip(x, axis=a) for x, a in zip(done, axes, strict=True)]
    return trees.unflatten(structure, done)


def _woven(even: Tensor, odd: Tensor, n: int, axis: int) -> Tensor:
    """even, odd, even, odd, ... along an axis of size n."""
    parts = [
        _alternating(x, y, n, axis)
        for x, y in zip(even.parts, odd.parts, strict=True)
        if x is not None and y is not None
    ]
    return Tensor(*parts)


def _alternating(even: Node, odd: Node, n: int, axis: int) -> Node:
    spread = [_spaced(x, axis, first, n) for first, x in enumerate((even, odd))]
    place = b.iota(spread[0].shape, axis, int32)
    is_odd = b.eq(b.make("and", place, b.like(place, 1)), b.like(place, 1))
    return b.select(is_odd, spread[1], spread[0])


def _spaced(x: Node, axis: int, before: int, n: int) -> Node:
    """Every second place along an axis of size n taken by x, zeros in the others."""
    rank = len(x.shape)
    spread = 2 * x.shape[axis] - 1
    zero = b.const(0, x.dtype)
    low, high, interior = [0] * rank, [0] * rank, [0] * rank
    low[axis], high[axis], interior[axis] = before, n - before - spread, 1
    return b.make("pad", x, zero, low=tuple(low), high=tuple(high), interior=tuple(interior))
