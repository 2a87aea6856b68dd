"""New tensors from sizes and numbers. Values known while tracing are constants of the graph.

`device` is the Array API's: "cpu" or None, the engine gets at all values by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType, as_dtype, float32, int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import broadcast_shapes, node_of, on_parts, parts_of, sizes_of, spread
from tabgrad.tensor import Tensor, check_device, converted, tensor


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sizes_of("a new tensor", shape))
    if any(n < 0 for n in sizes):
        raise ShapeError(
            f"expected sizes of at least 0; received shape {list(sizes)}. "
            "Check what they are computed from"
        )
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

    Raises:
        ShapeError: a fill_value that does not broadcast to the shape.

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
            f"{list(value.shape)}. "
            "Reshape the fill_value, or give one number"
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
        raise ShapeError(
            f"{name} expected at least two axes; received shape {list(node.shape)}. "
            "Insert one with x[None]"
        )
    return node
