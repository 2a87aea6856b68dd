"""Results whose size depends on values: where an array is not zero, its distinct elements.

Eagerly the size is read first; inside `tg.compile`, where there is nothing to read, these functions
raise CaptureError unless they are told it (`size=`), which pads or cuts the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tabgrad import realize
from tabgrad.dtypes import bool_, int32
from tabgrad.errors import ArgumentError, CaptureError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import cumulative
from tabgrad.ir.graph import Graph, Node, make
from tabgrad.ops.arguments import axis_of, parts_of
from tabgrad.ops.order import sorted_with
from tabgrad.tensor import Tensor


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def nonzero(x: Any, *, size: int | None = None, fill_value: int = 0) -> tuple[Tensor, ...]:
    """The int32 indices of the elements that are not zero, in row-major order (Array API, NumPy).

    Args:
        x: numbers or bools with at least one axis.
        size: how many to return, for use inside `tg.compile`: the first so many, or all and then
            `fill_value`.
        fill_value: the index that stands where there are fewer than `size`.

    Returns:
        A tuple with one array for each axis.

    Raises:
        ShapeError: a scalar. CaptureError: inside `tg.compile` without `size`.

    Example:
        >>> import tabgrad as tg
        >>> rows, columns = tg.ops.nonzero(tg.tensor([[0, 5], [7, 0]]))
        >>> rows.tolist(), columns.tolist()
        ([0, 1], [1, 0])
    """
    mask, shape = _mask("nonzero", x)
    places, filled = _true_places("nonzero", mask, size)
    found = []
    below = mask.size
    for n in shape:
        below = below // n if n else 0
        stride, number = b.like(places, below or 1), b.like(places, n or 1)
        index = b.make("mod", b.make("floordiv", places, stride), number)
        if filled is not None:
            index = b.select(filled, b.like(index, fill_value), index)
        found.append(Tensor(index))
    return tuple(found)


def argwhere(x: Any, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The int32 indices of the elements that are not zero, one row for each (NumPy).

    Args:
        x: numbers or bools.
        size: how many rows to return, for use inside `tg.compile`; see `nonzero`.
        fill_value: the index that stands where there are fewer than `size`.

    Returns:
        shape (number of elements that are not zero, number of axes of x).

    Raises:
        CaptureError: inside `tg.compile` without `size`.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.argwhere(tg.tensor([[0, 5], [7, 0]])).tolist()
        [[0, 1], [1, 0]]
    """
    from tabgrad.ops.manipulation import stack

    real, _ = parts_of(x)
    if not real.shape:
        found = nonzero(Tensor(b.reshape(_mask("argwhere", x, True)[0], (1,))), size=size)[0]
        return Tensor(b.full((found.shape[0], 0), 0, int32))
    return stack(list(nonzero(x, size=size, fill_value=fill_value)), axis=1)


def flatnonzero(x: Any, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The int32 indices of the elements of the flattened array that are not zero (NumPy).

    Args:
        x: numbers or bools.
        size: how many to return, for use inside `tg.compile`; see `nonzero`.
        fill_value: the index that stands where there are fewer than `size`.

    Raises:
        CaptureError: inside `tg.compile` without `size`.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.flatnonzero(tg.tensor([[0, 5], [7, 0]])).tolist()
        [1, 2]
    """
    mask, _ = _mask("flatnonzero", x, True)
    places, filled = _true_places("flatnonzero", mask, size)
    if filled is not None:
        places = b.select(filled, b.like(places, fill_value), places)
    return Tensor(places)


def unique_all(x: Any) -> UniqueAll:
    """The distinct elements of the flattened array in ascending order, where each is first, where
    among them every element of x is, and how often each occurs (Array API).

    Args:
        x: numbers or bools. NaNs are all distinct; 0 and -0 are not.

    Returns:
        values, indices, inverse_indices (of the shape of x) and counts, the last three int32.

    Raises:
        CaptureError: inside `tg.compile`, where `unique(x, size=n)` works.

    Example:
        >>> import tabgrad as tg
        >>> found = tg.ops.unique_all(tg.tensor([3, 1, 3]))
        >>> found.values.tolist(), found.counts.tolist(), found.inverse_indices.tolist()
        ([1, 3], [1, 2], [1, 0, 1])
    """
    return UniqueAll(*_unique("unique_all", x, None, None))


def unique_counts(x: Any) -> UniqueCounts:
    """The distinct elements of the flattened array in ascending order and how often each occurs
    (Array API).

    Args:
        x: numbers or bools. NaNs are all distinct; 0 and -0 are not.

    Raises:
        CaptureError: inside `tg.compile`, where `unique(x, return_counts=True, size=n)` works.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.unique_counts(tg.tensor([3, 1, 3])).counts.tolist()
        [1, 2]
    """
    values, _, _, counts = _unique("unique_counts", x, None, None)
    return UniqueCounts(values, counts)


def unique_inverse(x: Any) -> UniqueInverse:
    """The distinct elements of the flattened array in ascending order and where among them every
    element of x is (Array API).

    Args:
        x: numbers or bools. NaNs are all distinct; 0 and -0 are not.

    Raises:
        CaptureError: inside `tg.compile`, where `unique(x, return_inverse=True, size=n)` works.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.unique_inverse(tg.tensor([3, 1, 3])).inverse_indices.tolist()
        [1, 0, 1]
    """
    values, _, inverse, _ = _unique("unique_inverse", x, None, None)
    return UniqueInverse(values, inverse)


def unique_values(x: Any) -> Tensor:
    """The distinct elements of the flattened array in ascending order (Array API).

    Args:
        x: numbers or bools. NaNs are all distinct; 0 and -0 are not.

    Raises:
        CaptureError: inside `tg.compile`, where `unique(x, size=n)` works.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.unique_values(tg.tensor([3, 1, 3])).tolist()
        [1, 3]
    """
    return _unique("unique_values", x, None, None)[0]


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements of an array, or the distinct slices along an axis (Keras, NumPy).

    Args:
        x: numbers or bools. NaNs are all distinct; 0 and -0 are not.
        sorted: they come in ascending order, whatever is passed.
        return_index: whether to return where each comes first.
        return_inverse: whether to return where among them every element is.
        return_counts: whether to return how often each occurs.
        axis: the axis of slices to compare; None compares the elements of the flattened array.
        size: how many to return, for use inside `tg.compile`: the first so many, or all and then
            `fill_value`.
        fill_value: what stands where there are fewer than `size`, by default the smallest.

    Returns:
        The values, or a tuple of them and what was asked for, in the order of the arguments.

    Raises:
        CaptureError: inside `tg.compile` without `size`.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.unique(tg.tensor([3, 1, 3]), size=3, fill_value=0).tolist()
        [1, 3, 0]
    """
    if axis is None:
        found = _unique("unique", x, size, fill_value)
    else:
        found = _unique_slices(x, axis, size, fill_value)
    wanted = [found[0]]
    flags = (return_index, return_inverse, return_counts)
    wanted += [one for one, on in zip(found[1:], flags, strict=True) if on]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


# How many there are


# The functions without `size`, and the one that does the same with it.
_SIZED = {
    "unique_values": "tg.unique(x, size=n)",
    "unique_counts": "tg.unique(x, return_counts=True, size=n)",
    "unique_inverse": "tg.unique(x, return_inverse=True, size=n)",
    "unique_all": (
        "tg.unique(x, return_index=True, return_inverse=True, return_counts=True, size=n)"
    ),
}


def _how_many(name: str, count: Node, size: int | None, *also: Node) -> int:
    """The size of a result. Where it has to be read, what it comes from is computed with it and
    kept, because the result needs `also`."""
    if size is not None:
        if not isinstance(size, int) or size < 0:
            raise ArgumentError(
                f"{name} expected size as an integer of 0 or more; received {size}. "
                "Leave it out to get all of them"
            )
        return size
    if realize.is_abstract(count):
        raise CaptureError(
            f"the size of what {name} returns depends on values, and there are none while "
            "tg.compile (or a loop, a branch, vmap) is capturing. Call it outside, or say how many "
            f"to return with {_SIZED.get(name, f'tg.{name}(x, size=n)')}"
        )
    realize.realize([count, *also])
    return int(Tensor(count))


def _mask(name: str, x: Any, scalars: bool = False) -> tuple[Node, tuple[int, ...]]:
    """Which elements are not zero, flattened, and the shape of x."""
    real, imag = parts_of(x)
    if not real.shape and not scalars:
        raise ShapeError(
            f"{name} expected an array with an axis; received a scalar. Insert one with x[None]"
        )
    mask = b.cast(real, bool_)
    if imag is not None:
        mask = b.make("or", mask, b.cast(imag, bool_))
    return b.reshape(mask, (real.size,)), real.shape


def _true_places(name: str, mask: Node, size: int | None) -> tuple[Node, Node | None]:
    """Where a flat mask is True, and which of `size` places there are too few for."""
    so_far = cumulative(b.cast(mask, int32), 0, "sum") if mask.size else b.full((0,), 0, int32)
    count = b.reduce("reduce_sum", b.cast(mask, int32), (0,))
    n = _how_many(name, count, size, so_far)
    outside = b.like(so_far, -1)
    place = b.select(mask, b.sub(so_far, b.like(so_far, 1)), outside)
    numbers = b.iota(mask.shape, 0, int32)
    found = make("scatter", b.full((n,), 0, int32), place, numbers, axis=0, op="set")
    if size is None:
        return found, None
    return found, b.make("le", b.broadcast(count, (n,), ()), b.iota((n,), 0, int32))


# Distinct elements


def _unique(name: str, x: Any, size: int | None, fill_value: Any) -> list[Tensor]:
    real, imag = parts_of(x)
    n = real.size
    columns = [b.reshape(part, (n,)) for part in (real, imag) if part is not None]
    order = b.iota((n,), 0, int32)
    if len(columns) == 1:
        in_order, order = sorted_with(columns[0], order)
        lines = [in_order]
    else:
        for column in reversed(columns):
            order = sorted_with(make("gather", column, order, axis=0), order)[1]
        lines = [make("gather", column, order, axis=0) for column in columns]
    new = b.full((n,), False, bool_)
    for line in lines:
        new = b.make("or", new, _changes(line))
    groups = _Groups(name, new, order, lines, size)
    parts = []
    for which, line in enumerate(lines):
        fill = None if fill_value is None else (fill_value.real, fill_value.imag)[which]
        parts.append(groups.filled(groups.of(line), fill))
    return [Tensor(*parts), *groups.rest(real.shape)]


def _unique_slices(x: Any, axis: int, size: int | None, fill_value: Any) -> list[Tensor]:
    real, imag = parts_of(x)
    at = axis_of("unique", axis, len(real.shape))
    n = real.shape[at]
    front = (at, *(d for d in range(len(real.shape)) if d != at))
    moved = [b.permute(part, front) for part in (real, imag) if part is not None]
    rows = [b.reshape(part, (n, part.size // n if n else 0)) for part in moved]
    order = _order_of_rows(rows)
    new = b.full((n,), False, bool_)
    for part in rows:
        in_order = make("gather", part, order, axis=0)
        turned = b.permute(in_order, (1, 0))
        differs = _changes(turned)
        if differs.size:
            new = b.make("or", new, b.reduce("reduce_max", differs, (0,)))
    if n and not rows[0].shape[1]:
        new = b.eq(b.iota((n,), 0, int32), b.full((n,), 0, int32))
    groups = _Groups("unique", new, order, (), size)
    back = [front.index(d) for d in range(len(front))]
    parts = []
    for which, part in enumerate(moved):
        fill = None if fill_value is None else (fill_value.real, fill_value.imag)[which]
        picked = groups.filled(groups.of(make("gather", part, order, axis=0)), fill)
        parts.append(b.permute(picked, back))
    return [Tensor(*parts), *groups.rest((n,))]


def _order_of_rows(parts: list[Node]) -> Node:
    """The order of rows, compared element by element: sorted by the last column first."""
    n, width = parts[0].shape
    order = b.iota((n,), 0, int32)
    if not n or not width:
        return order
    sources = [b.permute(part, (1, 0)) for part in parts]
    inputs = [b.input((n,), part.dtype) for part in parts]
    carry = b.input((n,), int32)
    new = carry
    for column in reversed(inputs):
        new = sorted_with(make("gather", column, new, axis=0), new)[1]
    return make(
        "scan", order, *sources, body=Graph([carry, *inputs], [new]), n_const=0, n_carry=1,
        length=width, reverse=True,
    )  # fmt: skip


def _changes(line: Node) -> Node:
    """Where an element along the last axis differs from the one before; the first always does."""
    last = len(line.shape) - 1
    if not line.size:
        return b.full(line.shape, False, bool_)
    low = tuple(int(d == last) for d in range(len(line.shape)))
    before = b.make(
        "pad", line, b.const(0, line.dtype), low=low, high=tuple(-v for v in low),
        interior=(0,) * len(line.shape),
    )  # fmt: skip
    place = b.iota(line.shape, last, int32)
    return b.make("or", b.make("ne", line, before), b.eq(place, b.like(place, 0)))


class _Groups:
    """Equal elements that lie next to each other: `new` tells where a group begins, `order` where
    the elements of `lines` came from."""

    def __init__(
        self, name: str, new: Node, order: Node, lines: Sequence[Node], size: int | None
    ) -> None:
        (self.n,) = new.shape
        self.order = order
        one = b.cast(new, int32)
        count = b.reduce("reduce_sum", one, (0,))
        so_far = cumulative(one, 0, "sum") if self.n else one
        self.size = _how_many(name, count, size, so_far, order, *lines)
        self.number = b.sub(so_far, b.like(so_far, 1))
        empty = b.full((self.size,), self.n, int32)
        place = b.iota((self.n,), 0, int32)
        self.start = make("scatter", empty, self.number, place, axis=0, op="min")
        self.few = None
        if size is not None:
            limit = b.broadcast(count, (self.size,), ())
            self.few = b.make("le", limit, b.iota((self.size,), 0, int32))

    def of(self, values: Node) -> Node:
        """The first value of each group, of the first group where there is no group."""
        if not self.n:
            return b.full((self.size, *values.shape[1:]), 0, values.dtype)
        at = self.start
        if self.few is not None:
            at = b.select(self.few, b.like(at, 0), at)
        return make("gather", values, at, axis=0)

    def filled(self, values: Node, fill: Any) -> Node:
        """The values with something else where there is no group."""
        if self.few is None or fill is None:
            return values
        where = b.broadcast(self.few, values.shape, (0,))
        return b.select(where, b.like(values, fill), values)

    def rest(self, shape: tuple[int, ...]) -> list[Tensor]:
        """Where groups come first, the group of every element, and how large the groups are."""
        inverse = b.full((self.n,), 0, int32)
        inverse = make("scatter", inverse, self.order, self.number, axis=0, op="set")
        ones = b.full((self.n,), 1, int32)
        counts = make(
            "scatter", b.full((self.size,), 0, int32), self.number, ones, axis=0, op="add"
        )
        indices = self.of(self.order)
        return [Tensor(indices), Tensor(b.reshape(inverse, shape)), Tensor(counts)]
