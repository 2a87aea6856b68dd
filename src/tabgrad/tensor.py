"""Tensor: a handle on a graph node. Making one runs nothing; reading its value does.

The operators are attached by `tabgrad.ops.operators`, so that this file needs no operation.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tabgrad import dtypes, realize
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, CaptureError, DtypeError, ShapeError
from tabgrad.ir.graph import Node as Node
from tabgrad.ir.graph import layer_scope as layer_scope
from tabgrad.ir.graph import make

if TYPE_CHECKING:
    from numpy.typing import NDArray


TensorLike = Any
"""What operations take beside tensors: Variables, Python numbers, nested lists, arrays."""


class Tensor:
    """An n-dimensional array, computed when it is read.

    Made by `tg.tensor`, by operations, or by reading a Variable; never changes. `shape` is a tuple
    of ints, `dtype` a tabgrad dtype.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> (x * 2).tolist()
        [[2.0, 4.0], [6.0, 8.0]]
    """

    __slots__ = ("__weakref__", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        realize.watch(node)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.node.shape

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.node.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.node.size

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("expected a tensor with at least one axis for len(); received 0-d")
        return self.shape[0]

    def numpy(self) -> NDArray[Any]:
        """The value as a new NumPy array (NumPy must be installed)."""
        numpy = _numpy()
        flat = numpy.frombuffer(bytearray(self._bytes()), dtype=self.dtype.name)
        return flat.reshape(self.shape)  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        value = self.numpy()
        return value if dtype is None else value.astype(dtype)

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers (a number for 0-d)."""
        return _nest(_unpack(self._bytes(), self.dtype), self.shape)

    def item(self) -> bool | int | float:
        """The only element as a Python number; raises ShapeError when there are more."""
        if self.size != 1:
            raise ShapeError(
                f"expected a tensor of one element; received shape {list(self.shape)}. "
                "Use tolist() for more"
            )
        value: bool | int | float = _unpack(self._bytes(), self.dtype)[0]
        return value

    async def data(self) -> Any:
        """`await t.data()`: the value as nested lists, never blocking the page."""
        raw = await realize.read_async(self.node)
        return _nest(_unpack(raw, self.dtype), self.shape)

    def realize(self) -> Tensor:
        """Compute the value now and return this tensor."""
        realize.realize([self.node])
        return self

    def _bytes(self) -> bytes:
        return realize.read(self.node)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"expected an integer tensor as an index; received {self.dtype.name}")
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        if realize.is_abstract(self.node):
            return f"<tensor of shape {self.shape}, {self.dtype.name}, being captured>"
        if self.size > 1000:
            return f"tensor(shape={self.shape}, dtype={self.dtype.name})"
        return f"tensor({_show(self.tolist())}, dtype={self.dtype.name})"

    if TYPE_CHECKING:  # attached by tabgrad.ops.operators

        def __add__(self, other: TensorLike) -> Tensor: ...
        def __radd__(self, other: TensorLike) -> Tensor: ...
        def __sub__(self, other: TensorLike) -> Tensor: ...
        def __rsub__(self, other: TensorLike) -> Tensor: ...
        def __mul__(self, other: TensorLike) -> Tensor: ...
        def __rmul__(self, other: TensorLike) -> Tensor: ...
        def __truediv__(self, other: TensorLike) -> Tensor: ...
        def __rtruediv__(self, other: TensorLike) -> Tensor: ...
        def __floordiv__(self, other: TensorLike) -> Tensor: ...
        def __rfloordiv__(self, other: TensorLike) -> Tensor: ...
        def __mod__(self, other: TensorLike) -> Tensor: ...
        def __rmod__(self, other: TensorLike) -> Tensor: ...
        def __pow__(self, other: TensorLike) -> Tensor: ...
        def __rpow__(self, other: TensorLike) -> Tensor: ...
        def __matmul__(self, other: TensorLike) -> Tensor: ...
        def __rmatmul__(self, other: TensorLike) -> Tensor: ...
        def __and__(self, other: TensorLike) -> Tensor: ...
        def __or__(self, other: TensorLike) -> Tensor: ...
        def __xor__(self, other: TensorLike) -> Tensor: ...
        def __lshift__(self, other: TensorLike) -> Tensor: ...
        def __rshift__(self, other: TensorLike) -> Tensor: ...
        def __lt__(self, other: TensorLike) -> Tensor: ...
        def __le__(self, other: TensorLike) -> Tensor: ...
        def __gt__(self, other: TensorLike) -> Tensor: ...
        def __ge__(self, other: TensorLike) -> Tensor: ...
        def __eq__(self, other: TensorLike) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: TensorLike) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...


def tensor(data: Any, shape: Sequence[int] | None = None, dtype: Any = None) -> Tensor:
    """A tensor from a number, nested lists, an array, any buffer, or another tensor.

    Args:
        data: the values. Python floats become float32, ints int32, bools bool.
        shape: the shape to give the values, row-major; by default that of `data`.
        dtype: the dtype to convert to.

    Raises:
        ShapeError: ragged lists, or a shape of another number of elements.
        DtypeError: values that are not numbers.

    Example:
        >>> import tabgrad as tg
        >>> tg.tensor([1, 2, 3, 4], shape=(4, 1), dtype="float32").shape
        (4, 1)
    """
    want = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(data, Tensor):
        result = data
        if want is not None and want is not result.dtype:
            result = Tensor(make("cast", result.node, dtype=want))
    else:
        raw, its_shape, its_dtype = pack(data, want)
        if shape is not None and _product(shape) != _product(its_shape):
            raise ShapeError(
                f"expected values for shape {list(shape)}; received shape {list(its_shape)}"
            )
        its_shape = its_shape if shape is None else tuple(shape)
        return Tensor(realize.upload(raw, its_shape, its_dtype))
    if shape is not None and tuple(shape) != result.shape:
        if _product(shape) != result.size:
            raise ShapeError(
                f"expected values for shape {list(shape)}; received shape {list(result.shape)}"
            )
        result = Tensor(make("reshape", result.node, shape=tuple(shape)))
    return result


def pack(data: Any, dtype: DType | None) -> tuple[bytes, tuple[int, ...], DType]:
    """Raw row-major bytes, shape and dtype of any array-like value."""
    if isinstance(data, (bool, int, float)):
        chosen = dtype or dtypes.as_dtype(type(data))
        return struct.pack("<" + chosen.format, dtypes.wrap(data, chosen)), (), chosen
    interface = getattr(data, "__array_interface__", None) or hasattr(data, "__array__")
    if interface:
        return _pack_numpy(data, dtype)
    if isinstance(data, (bytes, bytearray, memoryview, array.array)):
        return _pack_buffer(memoryview(data), dtype)
    if isinstance(data, (list, tuple, range)):
        return _pack_nested(data, dtype)
    raise DtypeError(
        f"expected a number, nested lists, an array or a buffer; received {type(data).__name__}"
    )


def _pack_numpy(data: Any, dtype: DType | None) -> tuple[bytes, tuple[int, ...], DType]:
    numpy = _numpy()
    value = numpy.asarray(data)
    if dtype is None:
        # Python users' float64 and int64 arrays are rarely meant as such: nothing in a browser
        # computes with them, and Keras converts them the same way.
        default = {"float64": "float32", "int64": "int32"}
        dtype = dtypes.as_dtype(default.get(value.dtype.name, value.dtype.name))
    if value.dtype.kind not in "biuf":
        raise DtypeError(f"expected an array of numbers; received dtype {value.dtype}")
    if dtype.name == "int32" and value.dtype.itemsize > 4 and value.size:
        low, high = int(value.min()), int(value.max())
        if low < -(2**31) or high >= 2**31:
            raise DtypeError(
                f"expected integers that fit int32; received {low} to {high}. Pass dtype= to choose"
            )
    return numpy.ascontiguousarray(value, dtype=dtype.name).tobytes(), value.shape, dtype


def _pack_buffer(view: memoryview, dtype: DType | None) -> tuple[bytes, tuple[int, ...], DType]:
    for own in dtypes.ALL:
        if view.format.lstrip("<=@") == own.format or (
            view.format == "l" and own.kind == "i" and own.itemsize == view.itemsize
        ):
            raw, shape = view.tobytes(), tuple(view.shape or ())
            if dtype is None or dtype is own:
                return raw, shape, own
            values = [dtypes.wrap(v, dtype) for v in _unpack(raw, own)]
            return struct.pack(f"<{len(values)}{dtype.format}", *values), shape, dtype
    raise DtypeError(f"expected a buffer of numbers; received format {view.format!r}")


def _pack_nested(data: Sequence[Any], dtype: DType | None) -> tuple[bytes, tuple[int, ...], DType]:
    shape: list[int] = []
    level: Any = data
    while isinstance(level, (list, tuple, range)):
        shape.append(len(level))
        level = level[0] if len(level) else None
    flat: list[Any] = [data]
    for n in shape:
        for item in flat:
            if not isinstance(item, (list, tuple, range)) or len(item) != n:
                raise ShapeError(
                    f"expected lists of equal lengths for shape {shape}; received ragged"
                )
        flat = [inner for item in flat for inner in item]
    scalars = [v.item() if isinstance(v, Tensor) or hasattr(v, "item") else v for v in flat]
    for v in scalars:
        if not isinstance(v, (bool, int, float)):
            raise DtypeError(f"expected numbers in the lists; received {type(v).__name__}")
    if dtype is None:
        kinds = {type(v) for v in scalars}
        dtype = (
            dtypes.float32 if float in kinds or not kinds
            else dtypes.int32 if int in kinds
            else dtypes.bool_
        )  # fmt: skip
        if dtype is dtypes.int32 and any(not -(2**31) <= v < 2**31 for v in scalars):
            raise DtypeError("expected integers that fit int32; pass dtype= to choose another")
    values = [dtypes.wrap(v, dtype) for v in scalars]
    return struct.pack(f"<{len(values)}{dtype.format}", *values), tuple(shape), dtype


def _unpack(raw: bytes, dtype: DType) -> list[Any]:
    count = len(raw) // dtype.itemsize
    if dtype.kind == "b":
        return [b != 0 for b in raw]
    if sys.byteorder == "little" and dtype.format in "bBhHiIqQfd":
        view: Any = memoryview(raw)
        values: list[Any] = view.cast(dtype.format).tolist()
        return values
    return list(struct.unpack(f"<{count}{dtype.format}", raw))


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for axis in range(len(shape) - 1, 0, -1):
        n = shape[axis]
        flat = [flat[i * n : (i + 1) * n] for i in range(_product(shape[:axis]))]
    return flat


def _show(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_show, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _product(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ArgumentError(
            "expected NumPy to be installed for this conversion: pip install numpy. "
            "tolist() needs no package"
        ) from None
    return numpy


def check_concrete(node: Node, what: str) -> None:
    """Raise CaptureError when `node` depends on values that are not known while capturing."""
    if realize.is_abstract(node):
        raise CaptureError(
            f"{what} needs the value of a tensor of shape {list(node.shape)} while tg.compile is "
            "capturing, when no value exists yet. Return the tensor and read it outside, or choose "
            "with tg.where"
        )
