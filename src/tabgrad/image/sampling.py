"""Reading arrays between their elements, at places known only at run time.

Places beyond the edges are handled by the modes of `scipy.ndimage`, each neighbour by itself, as in
`jax.scipy.ndimage.map_coordinates`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import int32
from tabgrad.errors import ShapeError
from tabgrad.image.layout import choice
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common, node_of
from tabgrad.tensor import Tensor

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
ORDERS = {"nearest": 0, "bilinear": 1}


def sampled(
    x: Node,
    places: Sequence[Node],
    order: int,
    mode: str,
    fill: float,
    batch: Node | None = None,
) -> Node:
    """The elements of x (batch, *space, channels) at `places`.

    `places` are coordinates (n, ...) for each axis of space, in n parts that read one element of
    the batch each: element i for part i, or that named by `batch` (n,). A single part without
    `batch` is for all elements, which then have nothing to do with each other. Integers are
    rounded.
    """
    space, channels = x.shape[1:-1], x.shape[-1]
    shared = batch is None and places[0].shape[0] == 1
    out = places[0].shape[1:] if shared else places[0].shape
    shape = (x.shape[0], *out, channels) if shared else (*out, channels)
    if 0 in shape:
        return b.full(shape, 0, x.dtype)
    stride = math.prod(space)
    axis = 1 if shared else 0
    if shared:
        flat = b.reshape(x, (x.shape[0], stride, channels))
        places = [b.reshape(at, out) for at in places]
        start = b.full(out, 0, int32)
    else:
        flat = b.reshape(x, (x.shape[0] * stride, channels))
        part = b.iota((out[0],), 0, int32) if batch is None else batch
        start = b.broadcast(b.scale(part, stride), out, (0,))
    if x.dtype.is_float:  # the weights must be as fine as what they are for
        places = [b.cast(at, dtypes.promote(at.dtype, x.dtype)) for at in places]
    neighbours = [_neighbours(at, n, order, mode) for at, n in zip(places, space, strict=True)]
    front = tuple(range(axis, axis + len(out)))
    total: Node | None = None
    for corner in itertools.product(*neighbours):
        index, share, within = _corner(corner, space, start)
        value = make("gather", flat, index, axis=axis)
        if share is not None:
            value = b.cast(value, share.dtype)
        if within is not None:
            other = b.full(shape, fill if value.dtype.is_float else round(fill), value.dtype)
            value = b.select(b.broadcast(within, shape, front), value, other)
        if share is not None:
            value = b.mul(value, b.broadcast(share, shape, front))
        total = value if total is None else b.add(total, value)
    assert total is not None
    if total.dtype is x.dtype:
        return total
    return b.cast(total if x.dtype.is_float else b.unary("round", total), x.dtype)


Neighbour = tuple[Node, Node | None, Node | None]
"""Along one axis: the index, its weight (None is 1), and whether it is inside (None is always)."""


def _neighbours(at: Node, n: int, order: int, mode: str) -> list[Neighbour]:
    """The one or two elements of an axis of n that a coordinate takes part in."""
    if order == 0:
        settled, inside = _settled(_nearest(at), n, mode)
        return [(settled, None, inside)]
    floor = b.unary("floor", at)
    upper = b.sub(at, floor)
    index = b.cast(floor, int32)
    both: list[Neighbour] = []
    for shift, weight in ((0, b.sub(b.like(upper, 1), upper)), (1, upper)):
        settled, inside = _settled(b.add(index, b.like(index, shift)), n, mode)
        both.append((settled, weight, inside))
    return both


def _corner(corner: Sequence[Neighbour], space: Sequence[int], start: Node) -> Neighbour:
    """The same of one neighbour along each axis together; indices count from `start`."""
    index, step = start, math.prod(space)
    share: Node | None = None
    within: Node | None = None
    for (i, w, f), n in zip(corner, space, strict=True):
        step //= n
        index = b.add(index, b.scale(i, step))
        share = w if share is None else share if w is None else b.mul(share, w)
        within = f if within is None else within if f is None else make("and", within, f)
    return index, share, within


def _nearest(at: Node) -> Node:
    """The index nearest to a coordinate, halves away from 0."""
    half = b.full(at.shape, 0.5, at.dtype)
    size = b.unary("floor", b.add(b.unary("abs", at), half))
    return b.cast(b.mul(b.unary("sign", at), size), int32)


def _settled(index: Node, n: int, mode: str) -> tuple[Node, Node | None]:
    """An index inside of n, and for mode "constant" whether it was there before."""

    def number(v: int) -> Node:
        return b.like(index, v)

    if mode == "wrap":
        return make("mod", index, number(n)), None
    if mode == "mirror":
        return _mirrored(index, n), None
    if mode == "reflect":
        # Twice as fine, so that the mirrors stand between elements.
        fine = _mirrored(b.add(b.scale(index, 2), number(1)), 2 * n + 1)
        return make("floordiv", b.sub(fine, number(1)), number(2)), None
    inside = make("min", make("max", index, number(0)), number(n - 1))
    return inside, b.eq(inside, index) if mode == "constant" else None


def _mirrored(index: Node, n: int) -> Node:
    if n == 1:
        return b.like(index, 0)
    last = b.like(index, n - 1)
    turned = b.sub(make("mod", b.add(index, last), b.like(index, 2 * (n - 1))), last)
    return b.unary("abs", turned)


def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0
) -> Tensor:
    """An array read at any coordinates by interpolation, as `keras.ops.image.map_coordinates`.

    Args:
        inputs: an array of rank r.
        coordinates: (r, ...), an index that need not be whole for each axis.
        order: 0 for the nearest element, 1 for linear interpolation.
        fill_mode: what is beyond the edges: "constant", "nearest" (the edge), "wrap", "mirror"
            (about the centre of the last element) or "reflect" (about its edge).
        fill_value: the constant.

    Returns:
        The shape of `coordinates` without its first axis, in the dtype of the inputs (integers are
        rounded). Differentiable by both, with order 1.

    Raises:
        ShapeError: coordinates for another rank. ArgumentError: an unknown order or mode.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> tg.image.map_coordinates(x, [[0.5, 0.0], [0.5, 1.0]], order=1).tolist()
        [1.5, 1.0]
    """
    x = node_of(inputs)
    (places,) = common("map_coordinates", coordinates, floating=True)
    choice("map_coordinates", "order", order, (0, 1))
    choice("map_coordinates", "fill_mode", fill_mode, FILL_MODES)
    if len(places.shape) < 2 or places.shape[0] != len(x.shape) or not x.size:
        raise ShapeError(
            f"map_coordinates expected coordinates ({len(x.shape)}, ...) of rank 2 or more for a "
            f"non-empty array {list(x.shape)}; received {list(places.shape)}. "
            "Give coordinates a row for each axis of the array"
        )
    given = x.dtype
    if given is dtypes.bool_:
        x = b.cast(x, int32)
    out = places.shape[1:]
    rank = len(out)
    whole = [0] * rank
    parts = []
    for d in range(len(x.shape)):
        one = make("slice", places, start=(d, *whole), stop=(d + 1, *out), step=(1,) * (rank + 1))
        parts.append(one)  # (1, ...): one part of a batch of one
    found = sampled(b.reshape(x, (1, *x.shape, 1)), parts, order, fill_mode, fill_value)
    return Tensor(b.cast(b.reshape(found, out), given))
