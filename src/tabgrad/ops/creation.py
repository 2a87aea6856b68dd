"""New tensors from sizes and numbers. Values known while tracing are constants of the graph.

`device` is the Array API's: "cpu" or None, the engine gets at all values by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType, as_dtype, float32, int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import (
    aligned,
    axis_of,
    broadcast_shapes,
    node_of,
    on_parts,
    parts_of,
    sizes_of,
    spread,
    whole,
)
from tabgrad.tensor import Tensor, check_device, converted, tensor
from tabgrad.variable import Variable


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sizes_of("a new tensor", shape))
    if any(n < 0 for n in sizes):
        raise ShapeError(f"expected sizes of at least 0; received shape {list(sizes)}")
    return sizes


def _filled(shape: tuple[int, ...], value: Any, dtype: DType) -> Tensor:
    """A constant; a complex one has two parts."""
    if dtype.is_complex:
        z = complex(value)
        return Tensor(*(b.full(shape, part, dtype.part) for part in (z.real, z.imag)))
    if isinstance(value, complex):
        raise DtypeError(
            f"expected a real number for {dtype.name}; received {value}. Choose a complex dtype"
        )
    return Tensor(b.full(shape, value, dtype))


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """Anything array-like as a tensor: `tg.tensor` under the Array API's name.

    Args:
        obj: a tensor, a number, nested lists, an array or any buffer.
        dtype: the dtype to convert to.
        device: "cpu" or None.
        copy: whether the result is independent of a tensor given; False refuses what would have
            to be copied.

    Returns:
        The shape and, unless `dtype` says otherwise, the dtype of what is given.

    Raises:
        ArgumentError: `copy=False` where the values must be converted or moved.

    Example:
        >>> import tabgrad as tg
        >>> tg.asarray([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    check_device(device)
    want = None if dtype is None else as_dtype(dtype)
    value = obj.value if hasattr(obj, "assign") else obj
    if not isinstance(value, Tensor):
        if copy is False:
            raise ArgumentError(
                f"expected a tensor with copy=False; received {type(obj).__name__}, whose values "
                "must be copied. Leave copy out"
            )
        return tensor(value, dtype=want)
    result = value if want is None else converted(value, want)
    if copy is False and result is not value:
        raise ArgumentError(
            f"expected dtype {value.dtype.name} with copy=False; received {result.dtype.name}, for "
            "which values must be converted"
        )
    return Tensor(*result.parts) if copy and result is value else result


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """The values of another library's array, by DLPack (CPU memory only), with their dtype.

    They are copied into the engine's memory.

    Args:
        x: an array of any shape and dtype with `__dlpack__`.
        device: "cpu" or None.
        copy: True copies, as None does; False is refused where a copy is needed.

    Raises:
        BufferError: `copy=False` for another library's array.

    Example:
        >>> import tabgrad as tg
        >>> tg.from_dlpack(tg.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    check_device(device)
    if isinstance(x, Tensor):
        return asarray(x, copy=copy)
    if copy is False:
        raise BufferError(
            "expected copy=True or None: values are read into the engine's memory; received "
            "copy=False"
        )
    from tabgrad import dlpack  # ctypes, which few need

    raws, shape, dtype = dlpack.take(x)
    return Tensor(*[realize.upload(raw, shape, dtype.part) for raw in raws])


def zeros(shape: int | Sequence[int], dtype: Any = None, device: Any = None) -> Tensor:
    """All 0, float32 by default.

    Args:
        shape: an integer or several.
        dtype: float32 by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.zeros((1, 2)).tolist()
        [[0.0, 0.0]]
    """
    check_device(device)
    return _filled(_shape(shape), 0, as_dtype(dtype or float32))


def ones(shape: int | Sequence[int], dtype: Any = None, device: Any = None) -> Tensor:
    """All 1, float32 by default.

    Args:
        shape: an integer or several.
        dtype: float32 by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.ones((1, 2)).tolist()
        [[1.0, 1.0]]
    """
    check_device(device)
    return _filled(_shape(shape), 1, as_dtype(dtype or float32))


def empty(shape: int | Sequence[int], dtype: Any = None, device: Any = None) -> Tensor:
    """The same as zeros: nothing here is ever uninitialised.

    Args:
        shape: an integer or several.
        dtype: float32 by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.empty(2).shape
        (2,)
    """
    return zeros(shape, dtype, device)


def full(
    shape: int | Sequence[int], fill_value: Any, dtype: Any = None, device: Any = None
) -> Tensor:
    """All `fill_value`, by default of its own dtype; an array broadcasts to the shape.

    Args:
        shape: an integer or several.
        fill_value: a number, or an array that broadcasts.
        dtype: that of fill_value by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.full((2,), 7).tolist()
        [7, 7]
    """
    check_device(device)
    if isinstance(fill_value, (bool, int, float, complex)):
        return _filled(_shape(shape), fill_value, as_dtype(dtype or type(fill_value)))
    value = Tensor(*parts_of(fill_value))
    value = value if dtype is None else converted(value, as_dtype(dtype))
    wanted = _shape(shape)
    if broadcast_shapes("full", value.shape, wanted) != wanted:
        raise ShapeError(
            f"full expected a fill_value that broadcasts to {list(wanted)}; received one of shape "
            f"{list(value.shape)}"
        )
    nodes = [node for node in value.parts if node is not None]
    return Tensor(*(spread(node, wanted) for node in nodes))


def _like(x: Any, value: Any, dtype: Any) -> Tensor:
    # A node that remembers x: where x holds a batch, so does this, and a sum over it counts the
    # true rows.
    node, imag = parts_of(x)
    own = node.dtype if imag is None else dtypes.complex_of(node.dtype)
    constant = _filled((), value, as_dtype(dtype or own))
    return Tensor(
        *(
            make("broadcast_like", part, node, dims=())
            for part in constant.parts
            if part is not None
        )
    )


def zeros_like(x: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """0 in the shape (and dtype) of x.

    Args:
        x: what gives the shape.
        dtype: that of x by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.zeros_like([1, 2]).tolist()
        [0, 0]
    """
    check_device(device)
    return _like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """1 in the shape (and dtype) of x.

    Args:
        x: what gives the shape.
        dtype: that of x by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.ones_like([1, 2]).tolist()
        [1, 1]
    """
    check_device(device)
    return _like(x, 1, dtype)


def empty_like(x: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The same as zeros_like.

    Args:
        x: what gives the shape.
        dtype: that of x by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.empty_like([1, 2]).shape
        (2,)
    """
    return zeros_like(x, dtype, device)


def full_like(x: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` in the shape (and dtype) of x.

    Args:
        x: what gives the shape.
        fill_value: a number, or an array that broadcasts.
        dtype: that of x by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.full_like([1, 2], 7).tolist()
        [7, 7]
    """
    check_device(device)
    if isinstance(fill_value, (bool, int, float, complex)):
        return _like(x, fill_value, dtype)
    given = Tensor(*parts_of(x))
    return full(given.shape, fill_value, dtype or given.dtype)


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
        raise ArgumentError("arange expected a step other than 0; received 0")
    whole = all(isinstance(v, int) for v in (start, stop, step))
    count = -((start - stop) // step) if whole else math.ceil((stop - start) / step)
    want = as_dtype(dtype) if dtype is not None else (int32 if whole else float32)
    if want.kind in "bc":
        raise DtypeError(f"arange expected an integer or float dtype; received {want.name}")
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


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """1 on the k-th diagonal of an (N, M) matrix.

    Args:
        N: how many rows.
        M: how many columns, N by default.
        k: which diagonal: above the main one if positive, below if negative.
        dtype: float32 by default.
        device: "cpu" or None.

    Example:
        >>> import tabgrad as tg
        >>> tg.eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    check_device(device)
    shape = _shape((N, N if M is None else M))
    row, column = b.iota(shape, 0, int32), b.iota(shape, 1, int32)
    on = b.eq(b.add(row, b.like(row, _offset(shape, k))), column)
    return converted(Tensor(on), as_dtype(dtype or float32))


def identity(n: int, dtype: Any = None) -> Tensor:
    """1 on the diagonal of an (n, n) matrix.

    Args:
        n: how many rows and columns.
        dtype: float32 by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.identity(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """1 on and below the k-th diagonal of an (N, M) matrix.

    Args:
        N: how many rows.
        M: how many columns, N by default.
        k: which diagonal: above the main one if positive, below if negative.
        dtype: float32 by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.tri(2).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    return converted(Tensor(_below((N, N if M is None else M), k)), as_dtype(dtype or float32))


def _below(shape: tuple[int, ...], k: int) -> Node:
    """Where in matrices of this shape an element is on or below the k-th diagonal."""
    rank = len(shape)
    row, column = b.iota(shape, rank - 2, int32), b.iota(shape, rank - 1, int32)
    return b.lt(column, b.add(row, b.like(row, _offset(shape, k) + 1)))


def _offset(shape: tuple[int, ...], k: int) -> int:
    """A diagonal's number, which may be any: far outside the matrix one is like the next."""
    return max(-shape[-2] - 1, min(k, shape[-1] + 1))


@on_parts()
def tril(x: Any, k: int = 0) -> Tensor:
    """Matrices with 0 above the k-th diagonal.

    Args:
        x: matrices (..., n, m) of any dtype, which the result has, too.
        k: which diagonal: above the main one if positive, below if negative.

    Raises:
        ShapeError: less than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.tril([[1, 2], [3, 4]]).tolist()
        [[1, 0], [3, 4]]
    """
    node = _matrix("tril", x)
    return Tensor(b.select(_below(node.shape, k), node, b.like(node, 0)))


@on_parts()
def triu(x: Any, k: int = 0) -> Tensor:
    """Matrices with 0 below the k-th diagonal.

    Args:
        x: matrices (..., n, m) of any dtype, which the result has, too.
        k: which diagonal: above the main one if positive, below if negative.

    Raises:
        ShapeError: less than two axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.triu([[1, 2], [3, 4]]).tolist()
        [[1, 2], [0, 4]]
    """
    node = _matrix("triu", x)
    return Tensor(b.select(_below(node.shape, k - 1), b.like(node, 0), node))


def _matrix(name: str, x: Any) -> Node:
    node = node_of(x)
    if len(node.shape) < 2:
        raise ShapeError(f"{name} expected at least two axes; received shape {list(node.shape)}")
    return node
