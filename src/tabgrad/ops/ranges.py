"""Numbers at equal distances or ratios: arange, linspace, logspace, geomspace.

What they hold is computed in the graph from sizes and ends. `device` is "cpu" or None.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType, as_dtype, float32, int32
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import aligned, axis_of, node_of, whole
from tabgrad.tensor import Tensor, check_device, converted, tensor
from tabgrad.variable import Variable


def _number(what: str, x: Any) -> Any:
    """A tensor that says how far arange goes as a number of Python's."""
    if not isinstance(x, (Tensor, Variable)):
        return x
    if x.dtype.is_float and x.shape == () and not realize.is_abstract(node_of(x)):
        return float(x.tolist())
    return whole("arange", what, x)


def arange(
    start: float,
    stop: float | None = None,
    step: float | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """start, start + step, ... below stop; int32 where all three are ints, else float32.

    The step is 1 unless it is given.

    Args:
        start: the first number; 0 where it is the only one given, which is then the end.
        stop: the end, which is not included.
        step: the distance, 1 by default.
        dtype: a float or integer type.
        device: "cpu" or None.

    Returns:
        (n,) with n = ceil((stop - start) / step), or nothing where that is negative.

    Raises:
        ArgumentError: a step of 0.
        DtypeError: a dtype that is neither of integers nor of floats.

    Example:
        >>> import tabgrad as tg
        >>> tg.arange(2, 8, 3).tolist()
        [2, 5]
    """
    check_device(device)
    start, stop, step = (
        _number(name, v) for name, v in (("start", start), ("stop", stop), ("step", step))
    )
    step = 1 if step is None else step
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ArgumentError(
            "arange expected a step other than 0; received 0. Use tg.ops.full for equal numbers"
        )
    whole = all(isinstance(v, int) for v in (start, stop, step))
    count = -((start - stop) // step) if whole else math.ceil((stop - start) / step)
    want = as_dtype(dtype) if dtype is not None else (int32 if whole else float32)
    if want.kind in "bc":
        raise DtypeError(
            f"arange expected an integer or float dtype; received {want.name}. "
            "Cast the result to it"
        )
    # Fractions are counted in floats, also where the result is whole.
    work = want if want.is_float or whole else float32
    index = b.iota((max(0, int(count)),), 0, work)
    value = b.add(b.mul(index, b.like(index, step)), b.like(index, start))
    return Tensor(b.cast(value, want))


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    device: Any = None,
) -> Any:
    """`num` evenly spaced numbers from start to stop (excluded without `endpoint`).

    Args:
        start: a number, or an array of them: then each is the start of its own range.
        stop: likewise; both broadcast.
        num: how many.
        endpoint: whether stop is the last.
        retstep: whether to return the distance, too: (numbers, distance).
        dtype: by default float32, or complex64 for complex ends.
        axis: the new axis of the numbers where start or stop is an array.
        device: "cpu" or None.

    Raises:
        ArgumentError: a negative number of them.

    Example:
        >>> import tabgrad as tg
        >>> tg.linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    check_device(device)
    if num < 0:
        raise ArgumentError(f"linspace expected num of at least 0; received {num}")
    ends = (start, stop)
    if all(isinstance(v, (int, float, complex)) for v in ends):
        result, step = _linspace_of_numbers(start, stop, num, endpoint, dtype)
    else:
        result, step = _linspace_of_arrays(start, stop, num, endpoint, dtype, axis)
    return (result, step) if retstep else result


def _linspace_of_numbers(
    start: Any, stop: Any, num: int, endpoint: bool, dtype: Any
) -> tuple[Tensor, Tensor]:
    gaps = max(num - 1 if endpoint else num, 1)
    step = tensor((stop - start) / gaps)
    if isinstance(start, complex) or isinstance(stop, complex):
        want = as_dtype(dtype or dtypes.complex64)
        parts = [
            _spaced(float(lo), float(hi), num, endpoint, want.part)
            for lo, hi in ((start.real, stop.real), (start.imag, stop.imag))
        ]
        return Tensor(*parts), step
    want = as_dtype(dtype or float32)
    real = Tensor(_spaced(start, stop, num, endpoint, want.part if want.kind in "fc" else float32))
    return converted(real, want), step


def _linspace_of_arrays(
    start: Any, stop: Any, num: int, endpoint: bool, dtype: Any, axis: int
) -> tuple[Tensor, Tensor]:
    low, high = (Tensor(node) for node in aligned("linspace", start, stop, floating=True))
    gaps = max(num - 1 if endpoint else num, 1)
    step = (high - low) / gaps
    where = axis_of("linspace", axis, low.ndim + 1)
    shape = [*low.shape[:where], num, *low.shape[where:]]
    part = Tensor(b.cast(b.iota(shape, where, int32), low.dtype)) / gaps
    spread_out = [
        Tensor(b.broadcast(t.node, shape, [d for d in range(len(shape)) if d != where]))
        for t in (low, high)
    ]
    # Weighted ends: exactly start at 0 and stop at 1, whatever start is.
    mixed = (spread_out[0] * (1 - part) + spread_out[1] * part).node
    last = b.make("eq", part.node, b.like(part.node, 1))
    result = Tensor(b.select(last, spread_out[1].node, mixed))
    return converted(result, as_dtype(dtype or low.dtype)), step


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """`base` to the powers of `linspace(start, stop, num)`.

    Args:
        start: the first exponent, or an array of them.
        stop: the last.
        num: how many.
        endpoint: whether stop is the last.
        base: what has these exponents.
        dtype: float32 by default.
        axis: the new axis of the numbers where start or stop is an array.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.logspace(0, 3, 4, base=2).tolist()
        [1.0, 2.0, 4.0, 8.0]
    """
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    return converted(base**exponents, as_dtype(dtype or exponents.dtype))


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """`num` numbers from start to stop, each the same multiple of the one before.

    Both have the same sign; neither is 0.

    Args:
        start: the first number, or an array of them.
        stop: the last.
        num: how many.
        endpoint: whether stop is the last.
        dtype: float32 by default.
        axis: the new axis of the numbers where start or stop is an array.

    Example:
        >>> import tabgrad as tg
        >>> [round(v) for v in tg.ops.geomspace(1, 1000, 4).tolist()]
        [1, 10, 100, 1000]
    """
    low, high = (Tensor(node) for node in aligned("geomspace", start, stop, floating=True))
    sign = Tensor(make("sign", low.node))
    logs = [Tensor(make("log", make("abs", t.node))) for t in (low, high)]
    result = linspace(logs[0], logs[1], num, endpoint, axis=axis)
    where = axis_of("geomspace", axis, low.ndim + 1)
    signs = Tensor(b.reshape(sign.node, [*low.shape[:where], 1, *low.shape[where:]]))
    return converted(Tensor(make("exp", result.node)) * signs, as_dtype(dtype or low.dtype))


def _spaced(start: float, stop: float, num: int, endpoint: bool, work: DType) -> Node:
    if work.itemsize < 4:
        return b.cast(_spaced(start, stop, num, endpoint, float32), work)
    gaps = max(num - 1 if endpoint else num, 1)
    index = b.iota((num,), 0, work)
    # From both ends, so that the last value is exactly `stop`. Parts are divided before they are
    # subtracted: the distance itself may be too large for a float.
    step = stop / gaps - start / gaps
    up = b.add(b.scale(index, step), b.like(index, start))
    back = b.sub(b.like(index, stop), b.scale(b.sub(b.like(index, gaps), index), step))
    near = b.like(index, gaps / 2 if num > 1 else gaps)
    return b.select(b.lt(index, near), up, back)
