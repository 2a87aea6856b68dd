"""Order statistics (medians, quantiles) and counting (bins, histograms)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize
from tabgrad.dtypes import float32, float64, int32
from tabgrad.errors import (
    ArgumentError,
    CaptureError,
    DtypeError,
    NotSupportedError,
    ShapeError,
)
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import axes_of, common, node_of
from tabgrad.ops.order import searchsorted, sorted_with
from tabgrad.tensor import Tensor

Axis = int | Sequence[int] | None

# Where quantile q of n sorted elements lies, counted from 0 (Hyndman and Fan, "Sample quantiles in
# statistical packages", 1996): n*q + a + q*(1 - a - b) - 1.
CONTINUOUS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
BETWEEN = ("lower", "higher", "midpoint", "nearest")
STEPS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation")
METHODS = (*CONTINUOUS, *BETWEEN, *STEPS)


def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The q-th quantiles of the elements along axes (NumPy, Keras).

    Args:
        x: numbers; integers as floats.
        q: numbers from 0 to 1, of any shape, which becomes the first axes of the result.
        axis: an axis, several, or None for all.
        method: how to go on between two elements, one of NumPy's thirteen: "linear", "lower",
            "higher", "midpoint", "nearest", "inverted_cdf", "averaged_inverted_cdf",
            "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
            "median_unbiased", "normal_unbiased".
        keepdims: keep the axes with size 1.

    Returns:
        Floats; NaN where any element is NaN.

    Raises:
        ArgumentError: another method, a q outside of 0 to 1, or no elements.

    Source: Hyndman and Fan, "Sample quantiles in statistical packages" (1996).

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.quantile(tg.tensor([1.0, 2.0, 3.0, 4.0]), 0.5).tolist()
        2.5
    """
    return _quantile("quantile", x, q, 1.0, axis, method, keepdims, skip=False)


def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The q-th percentiles of the elements along axes: `quantile` with q from 0 to 100.

    Args:
        x: numbers; integers as floats.
        q: numbers from 0 to 100, of any shape, which becomes the first axes of the result.
        axis: an axis, several, or None for all.
        method: see `quantile`.
        keepdims: keep the axes with size 1.

    Raises:
        ArgumentError: another method, a q outside of 0 to 100, or no elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.percentile(tg.tensor([1.0, 2.0, 3.0, 4.0]), [0, 50]).tolist()
        [1.0, 2.5]
    """
    return _quantile("percentile", x, q, 100.0, axis, method, keepdims, skip=False)


def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle of the sorted elements along axes, or the mean of the two middle ones.

    Args:
        x: numbers; integers as floats.
        axis: an axis, several, or None for all.
        keepdims: keep the axes with size 1.

    Returns:
        Floats; NaN where any element is NaN.

    Raises:
        ArgumentError: no elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.median(tg.tensor([[3, 1, 2], [6, 4, 5]]), axis=1).tolist()
        [2.0, 5.0]
    """
    return _quantile("median", x, 0.5, 1.0, axis, "middle", keepdims, skip=False)


def nanquantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The q-th quantiles of the elements along axes that are not NaN; NaN where all are.

    Args:
        x: numbers; integers as floats.
        q: numbers from 0 to 1, of any shape, which becomes the first axes of the result.
        axis: an axis, several, or None for all.
        method: see `quantile`.
        keepdims: keep the axes with size 1.

    Raises:
        ArgumentError: another method, a q outside of 0 to 1, or no elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanquantile(tg.tensor([1.0, float("nan"), 3.0]), 0.5).tolist()
        2.0
    """
    return _quantile("nanquantile", x, q, 1.0, axis, method, keepdims, skip=True)


def nanpercentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The q-th percentiles of the elements along axes that are not NaN; NaN where all are.

    Args:
        x: numbers; integers as floats.
        q: numbers from 0 to 100, of any shape, which becomes the first axes of the result.
        axis: an axis, several, or None for all.
        method: see `quantile`.
        keepdims: keep the axes with size 1.

    Raises:
        ArgumentError: another method, a q outside of 0 to 100, or no elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanpercentile(tg.tensor([1.0, float("nan"), 3.0]), 50).tolist()
        2.0
    """
    return _quantile("nanpercentile", x, q, 100.0, axis, method, keepdims, skip=True)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The median of the elements along axes that are not NaN; NaN where all are.

    Args:
        x: numbers; integers as floats.
        axis: an axis, several, or None for all.
        keepdims: keep the axes with size 1.

    Raises:
        ArgumentError: no elements.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.nanmedian(tg.tensor([1.0, float("nan"), 3.0])).tolist()
        2.0
    """
    return _quantile("nanmedian", x, 0.5, 1.0, axis, "middle", keepdims, skip=True)


def bincount(
    x: Any,
    weights: Any = None,
    minlength: int = 0,
    sparse: bool = False,
    *,
    length: int | None = None,
) -> Tensor:
    """How often each number occurs, or the sum of its weights (NumPy, Keras).

    Args:
        x: integers of 0 or more, with one axis, or two (rows that are counted apart).
        weights: numbers to add up in place of ones, of the shape of x.
        minlength: count at least so many numbers.
        sparse: as in Keras; only False.
        length: count so many numbers, for use inside `tg.compile`; larger ones are left out.

    Returns:
        int32 counts of 0, 1, ..., max(x), or sums in the dtype of the weights (bools count).

    Raises:
        CaptureError: inside `tg.compile` without `length`. DtypeError: x that are no integers.
        ArgumentError: negative x. NotSupportedError: sparse=True.
        ShapeError: more than two axes, or weights of another shape.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.bincount(tg.tensor([1, 1, 3])).tolist()
        [0, 2, 0, 1]
    """
    if sparse:
        raise NotSupportedError(
            f"bincount expected sparse=False, as there are no sparse tensors; received {sparse!r}. "
            "Leave it out, or find the rare ones with tg.unique_counts"
        )
    node = node_of(x)
    if not node.dtype.is_integer:
        raise DtypeError(f"bincount expected integers; received {node.dtype.name}. Cast them first")
    if len(node.shape) not in (1, 2):
        raise ShapeError(
            f"bincount expected one or two axes; received shape {list(node.shape)}. "
            "Flatten it with x.ravel()"
        )
    given = b.full(node.shape, 1, int32) if weights is None else _added(weights)
    if given.shape != node.shape:
        raise ShapeError(
            f"bincount expected weights of shape {list(node.shape)}; received {list(given.shape)}. "
            "Give a weight for each number"
        )
    n = _length(node, minlength) if length is None else length
    rows, columns = (1, *node.shape)[-2:]
    index = b.cast(node, int32)
    inside = b.make("and", b.lt(index, b.like(index, n)), b.make("le", b.like(index, 0), index))
    row = b.iota((rows, columns), 0, int32)
    flat = b.add(b.reshape(index, row.shape), b.mul(row, b.like(row, n)))
    flat = b.select(b.reshape(inside, row.shape), flat, b.like(flat, -1))
    counts = make(
        "scatter",
        b.full((rows * n,), 0, given.dtype),
        b.reshape(flat, (rows * columns,)),
        b.reshape(given, (rows * columns,)),
        axis=0,
        op="add",
    )
    return Tensor(b.reshape(counts, (*node.shape[:-1], n)))


def histogram(
    x: Any,
    bins: Any = 10,
    range: tuple[float, float] | None = None,
    density: bool = False,
    weights: Any = None,
) -> tuple[Tensor, Tensor]:
    """How many elements fall into each of several bins (NumPy, Keras).

    Args:
        x: numbers of any shape.
        bins: the number of equal bins, or their edges in ascending order.
        range: the outer edges where bins is a number; by default the extrema of x.
        density: divide by the number of elements and the width of the bin.
        weights: numbers to add up in place of ones, of the shape of x.

    Returns:
        counts (int32, or the dtype of the weights, or floats) and the edges, one more. A bin holds
        its left edge, the last one both. What is outside, and NaN, counts nowhere.

    Raises:
        ArgumentError: fewer than one bin, or a range that does not ascend. ShapeError: edges that
            have not one axis.

    Example:
        >>> import tabgrad as tg
        >>> counts, edges = tg.ops.histogram(tg.tensor([1.0, 2.0, 2.5, 5.0]), bins=2)
        >>> counts.tolist(), edges.tolist()
        ([3, 1], [1.0, 3.0, 5.0])
    """
    (value,) = common("histogram", x, floating=True)
    value = b.reshape(value, (value.size,))
    edges = _edges(value, bins, range)
    n = edges.shape[0] - 1
    place = searchsorted(Tensor(edges), Tensor(value), side="right").node
    place = b.sub(place, b.like(place, 1))
    last = make("slice", edges, start=(n,), stop=(n + 1,), step=(1,))
    at_end = b.eq(value, b.broadcast(b.reshape(last, ()), value.shape, ()))
    place = b.select(at_end, b.like(place, n - 1), place)
    place = b.select(b.make("ne", value, value), b.like(place, -1), place)
    given = b.full(value.shape, 1, int32) if weights is None else _added(weights)
    if given.size != value.size:
        raise ShapeError(
            f"histogram expected as many weights as elements, {value.size}; received shape "
            f"{list(given.shape)}. "
            "Give a weight for each element"
        )
    given = b.reshape(given, value.shape)
    zeros = b.full((n,), 0, given.dtype)
    # What lies above the last edge has an index of n, which the scatter drops as it drops -1.
    counts = make("scatter", zeros, place, given, axis=0, op="add")
    if density:
        total = b.reduce("reduce_sum", counts, (0,))
        width = Tensor(edges)[1:] - Tensor(edges)[:-1]
        scaled = Tensor(b.cast(counts, edges.dtype)) / Tensor(b.cast(total, edges.dtype)) / width
        return scaled, Tensor(edges)
    return Tensor(counts), Tensor(edges)


# Counting


def _length(node: Node, minlength: int) -> int:
    if realize.is_abstract(node):
        raise CaptureError(
            "bincount expected length while tg.compile (or a loop, a branch, vmap) is capturing, "
            f"as its size depends on values; received {node.dtype.name} {list(node.shape)} without "
            "it. Call it outside, or say how many numbers to count with length=n"
        )
    if not node.size:
        return minlength
    axes = tuple(range(len(node.shape)))
    low, high = (b.reduce(name, node, axes) for name in ("reduce_min", "reduce_max"))
    realize.realize([low, high])
    if int(Tensor(low)) < 0:
        raise ArgumentError(
            f"bincount expected numbers of 0 or more; received {int(Tensor(low))}. "
            "Shift them first: x - tg.min(x)"
        )
    return max(int(Tensor(high)) + 1, minlength)


def _edges(value: Node, bins: Any, limits: tuple[float, float] | None) -> Node:
    if not isinstance(bins, int):
        edges = b.cast(node_of(bins), value.dtype)
        if len(edges.shape) != 1 or edges.shape[0] < 2:
            raise ShapeError(
                "histogram expected a number of bins, or at least two edges on one axis; received "
                f"edges of shape {list(edges.shape)}. "
                "Flatten the edges with edges.ravel()"
            )
        return edges
    if bins < 1:
        raise ArgumentError(f"histogram expected at least one bin; received {bins}")
    if limits is not None:
        low, high = float(limits[0]), float(limits[1])
        if not low <= high:
            raise ArgumentError(
                f"histogram expected a range that ascends; received {limits}. Exchange its ends"
            )
        first, last = (b.const(v, value.dtype) for v in (low, high))
    elif not value.size:
        first, last = b.const(0, value.dtype), b.const(1, value.dtype)
    else:
        first, last = (b.reduce(name, value, (0,)) for name in ("reduce_min", "reduce_max"))
    # A single value gets a bin of width 1 around it.
    flat, half = b.eq(first, last), b.like(first, 0.5)
    first, last = (
        b.select(flat, b.sub(first, half), first),
        b.select(flat, b.add(last, half), last),
    )
    number = b.iota((bins + 1,), 0, value.dtype)
    start, stop = (b.broadcast(v, number.shape, ()) for v in (first, last))
    step = b.div(b.sub(stop, start), b.like(number, bins))
    inner = b.add(start, b.mul(number, step))
    return b.select(b.eq(number, b.like(number, bins)), stop, inner)


# Order statistics


def _quantile(
    name: str,
    x: Any,
    q: Any,
    whole: float,
    axis: Axis,
    method: str,
    keepdims: bool,
    *,
    skip: bool,
) -> Tensor:
    if method not in METHODS and method != "middle":
        raise ArgumentError(
            f"{name} expected a method among {', '.join(METHODS)}; received {method!r}"
        )
    (node,) = common(name, x, floating=True)
    axes = axes_of(name, axis, len(node.shape))
    kept = [d for d in range(len(node.shape)) if d not in axes]
    outer = tuple(node.shape[d] for d in kept)
    n = math.prod(node.shape[d] for d in axes)
    if not n:
        raise ArgumentError(
            f"{name} expected at least one element along {axis}; received none. "
            "Check that the array is not empty"
        )
    line = b.reshape(b.permute(node, [*kept, *axes]), (*outer, n))
    line = sorted_with(line)[0]
    numbers, shape = _numbers(name, q, whole)
    if skip or numbers is None:
        results = _at_run_time(line, q, whole, method, skip)
    else:
        results = [_at(line, place) for place in (_place(n, v, method) for v in numbers)]
        nan = _column(line, n - 1)
        results = [b.select(b.make("ne", nan, nan), nan, one) for one in results]
    if not results:
        stacked = b.full((0, *outer), 0, node.dtype)
    elif len(results) == 1:
        stacked = b.reshape(results[0], (1, *outer))
    else:
        stacked = make("concatenate", *(b.reshape(r, (1, *outer)) for r in results), axis=0)
    if keepdims:
        outer = tuple(1 if d in axes else size for d, size in enumerate(node.shape))
    return Tensor(b.reshape(stacked, (*shape, *outer)))


def _numbers(name: str, q: Any, whole: float) -> tuple[list[float] | None, tuple[int, ...]]:
    """The quantiles as Python numbers from 0 to 1, or None where they are not known yet; and the
    shape they are given in."""
    if isinstance(q, (int, float)):
        return [_share(name, float(q), q, whole)], ()
    if isinstance(q, Tensor) or hasattr(q, "node"):
        node = node_of(q)
        if realize.is_abstract(node):
            return None, node.shape
        values, shape = _flat(Tensor(node).tolist()), node.shape
    else:
        listed = q.tolist() if hasattr(q, "tolist") else q
        values, shape = _flat(listed), node_of(q).shape
    return [_share(name, v, q, whole) for v in values], shape


def _share(name: str, value: float, q: Any, whole: float) -> float:
    if not 0 <= value <= whole:
        raise ArgumentError(
            f"{name} expected q from 0 to {whole:g}; received {q}. "
            "For the other scale there are quantile (to 1) and percentile (to 100)"
        )
    return value / whole


def _flat(values: Any) -> list[float]:
    if isinstance(values, (list, tuple)):
        return [one for item in values for one in _flat(item)]
    return [float(values)]


def _added(weights: Any) -> Node:
    node = node_of(weights)
    return b.cast(node, int32) if node.dtype.kind == "b" else node


def _column(line: Node, i: int) -> Node:
    rank = len(line.shape)
    start, stop = (0,) * (rank - 1) + (i,), (*line.shape[:-1], i + 1)
    cut = make("slice", line, start=start, stop=stop, step=(1,) * rank)
    return b.reshape(cut, line.shape[:-1])


def _place(n: int, q: float, method: str) -> tuple[int, int, float]:
    """Between which two of n elements a quantile lies, and how far from the first."""
    if method == "middle":
        return (n - 1) // 2, n // 2, 0.5
    at = _position(float(n), q, method, math.floor, _pick)
    # Rounding may have put a position that is whole in truth beside it.
    if abs(at - round(at)) < 1e-12 * n:
        at = float(round(at))
    at = min(max(at, 0.0), n - 1.0)
    low = int(at)
    return low, min(low + 1, n - 1), at - low


def _pick(condition: bool, x: float, y: float) -> float:
    return x if condition else y


def _at(line: Node, place: tuple[int, int, float]) -> Node:
    low, high, share = place
    x, y = _column(line, low), _column(line, high)
    if not share or low == high:
        return x
    if share == 0.5:
        # Half of each: the sum of both may be too large for the type.
        return b.add(b.scale(x, 0.5), b.scale(y, 0.5))
    return b.add(b.scale(x, 1 - share), b.scale(y, share))


def _position(n: Any, q: Any, method: str, floor: Callable[..., Any], pick: Any) -> Any:
    """Where a quantile lies among n sorted elements. n and q are numbers or tensors."""
    if method in CONTINUOUS:
        alpha, beta = CONTINUOUS[method]
        return n * q + (alpha + q * (1 - alpha - beta)) - 1
    if method in BETWEEN:
        at = (n - 1) * q
        low = floor(at)
        part = at - low
        high = pick(part > 0, low + 1, low)
        if method == "lower":
            return low
        if method == "higher":
            return high
        if method == "midpoint":
            return (low + high) * 0.5
        odd = low - 2 * floor(low * 0.5)
        return pick(part > 0.5, low + 1, pick(part < 0.5, low, low + odd))
    at = n * q - (1.5 if method == "closest_observation" else 1)
    low = floor(at)
    part = at - low
    if method == "inverted_cdf":
        return pick(part > 0, low + 1, low)
    if method == "averaged_inverted_cdf":
        return pick(part > 0, low + 1, low + 0.5)
    odd = low - 2 * floor(low * 0.5)
    return pick(part > 0, low + 1, pick(odd > 0, low, low + 1))


def _at_run_time(line: Node, q: Any, whole: float, method: str, skip: bool) -> list[Node]:
    """The quantiles where only a run knows which elements they are: NaNs are left out, or q comes
    from the graph."""
    last = len(line.shape) - 1
    counted = b.reduce("reduce_sum", b.cast(b.eq(line, line), int32), (last,))
    total = b.like(counted, line.shape[-1])
    bad = b.eq(counted, b.like(counted, 0)) if skip else b.lt(counted, total)
    exact = float64 if line.dtype is float64 else float32
    n = Tensor(b.cast(counted if skip else total, exact))
    given = node_of(q, exact)
    scaled = Tensor(b.cast(b.reshape(given, (given.size,)), exact)) / whole
    results = []
    for i in range(given.size):
        at = (n - 1) * 0.5
        if method != "middle":
            at = _position(n, scaled[i], method, e.floor, e.where)
        at = e.maximum(e.minimum(at, n - 1), 0.0)
        low = e.floor(at)
        high = e.minimum(low + 1, e.maximum(n - 1, 0.0))
        x, y = (_picked(line, b.cast(place.node, int32)) for place in (low, high))
        share = b.cast((at - low).node, line.dtype)
        mixed = b.add(b.mul(x, b.sub(b.like(share, 1), share)), b.mul(y, share))
        found = b.select(b.eq(share, b.like(share, 0)), x, mixed)
        results.append(b.select(bad, b.like(found, float("nan")), found))
    return results


def _picked(line: Node, place: Node) -> Node:
    """The element at a place of each row."""
    rows = b.flat_iota(place.shape, int32)
    flat = b.add(b.mul(rows, b.like(rows, line.shape[-1])), place)
    return make("gather", b.reshape(line, (line.size,)), flat, axis=0)
