"""Tensor: a handle on a graph node. Making one runs nothing; reading its value does.

The operators are attached by `tabgrad.ops.operators`, so that this file needs no operation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tabgrad import dtypes, printing, realize, trees
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, CaptureError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node as Node
from tabgrad.ir.graph import checked_shape, make
from tabgrad.ir.graph import layer_scope as layer_scope
from tabgrad.packing import array_of, nest, pack_parts, product, unpack
from tabgrad.realize import READ_OUTSIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray


API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
DEVICE = "cpu"

# What to do in the place of reading a value that does not exist while a function is captured.
_CHOOSE = (
    "Choose with tg.where or tg.cond, repeat with tg.while_loop, or return it and read it where "
    "the function is called"
)
_COUNT = (
    "Repeat with tg.fori_loop, index tensors with it as it is, or pass what decides about shapes "
    "as a Python number (static_argnums)"
)
_COMPUTE = (
    "Compute with functions of tabgrad, which take tensors (tg.where chooses), or return it and "
    "read it where the function is called"
)

TensorLike = Any
"""What operations take beside tensors: Variables, Python numbers, nested lists, arrays."""


class Tensor:
    """An n-dimensional array, computed when it is read.

    Made by `tg.tensor`, by operations, or by reading a Variable. Values never change: `x[i] = v`
    and `x += v` make x stand for a new value, and tensors that shared the old one keep it;
    `x.at[i].set(v)` gives the new value and changes nothing. `shape` is a tuple of ints, `dtype` a
    tabgrad dtype.

    Example:
        >>> import tabgrad as tg
        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> (x * 2).tolist()
        [[2.0, 4.0], [6.0, 8.0]]
    """

    __slots__ = ("__weakref__", "_imag", "_node")

    def __init__(self, node: Node, imag: Node | None = None) -> None:
        self._node = node
        self._imag = imag
        realize.watch(node)
        if imag is not None:
            realize.watch(imag)

    @property
    def node(self) -> Node:
        """The graph node of a real tensor; DtypeError for a complex one, which has two."""
        if self._imag is not None:
            raise DtypeError(
                f"expected a real tensor here; received {self.dtype.name} {list(self.shape)}. Use "
                "tg.real, tg.imag or tg.abs first"
            )
        return self._node

    @property
    def parts(self) -> tuple[Node, Node | None]:
        """The nodes of the real and imaginary part; None for a real tensor's imaginary part."""
        return self._node, self._imag

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self._node.shape

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        dtype = self._node.dtype
        return dtype if self._imag is None else dtypes.complex_of(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._node.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._node.size

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> str:
        """Always "cpu": the engine chosen by `tg.set_engine` gets at all values by itself."""
        return DEVICE

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("expected a tensor with at least one axis for len(); received 0-d")
        return self.shape[0]

    def numpy(self) -> NDArray[Any]:
        """The value as a new NumPy array (NumPy must be installed)."""
        return array_of(self._bytes(_COMPUTE), self.shape, self.dtype)  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        value = self.numpy()
        return value if dtype is None else value.astype(dtype)

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers (a number for 0-d)."""
        return nest(unpack(self._bytes(_COMPUTE), self.dtype), self.shape)

    def item(self) -> Any:
        """The only element as a Python number; raises ShapeError when there are more."""
        return self._item(_COMPUTE)

    def _item(self, instead: str) -> Any:
        if self.size != 1:
            raise ShapeError(
                f"expected a tensor of one element; received shape {list(self.shape)}. "
                "Use tolist() for more"
            )
        return unpack(self._bytes(instead), self.dtype)[0]

    async def data(self) -> Any:
        """`await t.data()`: the value as nested lists, never blocking the page."""
        raws = [await realize.read_async(node) for node in self._nodes()]
        return nest(unpack(raws, self.dtype), self.shape)

    def realize(self) -> Tensor:
        """Compute the value now and return this tensor."""
        if self._imag is not None or self._node.buffer is None:
            realize.realize(self._nodes())
        return self

    def _rebind(self, value: Tensor) -> None:
        # Only for `x[i] = v`: this handle, and no other, stands for another value from now on.
        self._node, self._imag = value.parts

    def _nodes(self) -> list[Node]:
        return [self._node] if self._imag is None else [self._node, self._imag]

    def _bytes(self, instead: str = READ_OUTSIDE) -> list[bytes]:
        nodes = self._nodes()
        if len(nodes) == 2:  # in one Program, sharing what both need
            realize.realize(nodes, instead)
        return [realize.read(node, instead) for node in nodes]

    def _real_item(self, wanted: str, instead: str) -> Any:
        if self._imag is not None:
            raise DtypeError(
                f"expected a real tensor for {wanted}(); received {self.dtype.name}. Use "
                "complex(), or tg.real first"
            )
        return self._item(instead)

    def __float__(self) -> float:
        return float(self._real_item("float", _COMPUTE))

    def __int__(self) -> int:
        return int(self._real_item("int", _COUNT))

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"expected an integer tensor as an index; received {self.dtype.name}")
        return int(self._item(_COUNT))

    def __bool__(self) -> bool:
        return bool(self._item(_CHOOSE))

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.shape:
            raise DtypeError(
                f"expected a tensor without axes for the format {spec!r}; received "
                f"{self.dtype.name} {list(self.shape)}. Format its elements, or choose how tensors "
                "are printed with tg.set_printoptions"
            )
        return format(self.item(), spec)

    def __copy__(self) -> Tensor:
        return Tensor(*self.parts)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return Tensor(*self.parts)  # values never change, so they can be shared

    def __reduce__(self) -> Any:
        return _unpickled, (self._bytes(), self.shape, self.dtype.name)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        """The module `tabgrad`, which follows the Array API standard (2024.12)."""
        if api_version is not None and api_version not in API_VERSIONS:
            raise ArgumentError(
                f"expected an Array API version of {', '.join(API_VERSIONS)}; received "
                f"{api_version!r}"
            )
        return sys.modules[__name__.partition(".")[0]]

    def __dlpack_device__(self) -> tuple[int, int]:
        """CPU memory, as DLPack numbers it: (1, 0)."""
        return (1, 0)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule of the value, a snapshot: read-only unless `copy` is true.

        Values never change, so nothing can tell a snapshot from shared memory.
        """
        from tabgrad import dlpack  # ctypes, which few need

        if stream is not None:
            raise ArgumentError(f"expected no stream on the CPU; received {stream!r}")
        if dl_device is not None and (int(dl_device[0]), dl_device[1]) != self.__dlpack_device__():
            raise BufferError(f"expected the DLPack device (1, 0); received {dl_device}")
        return dlpack.export(tuple(self._bytes()), self.shape, self.dtype, max_version, copy)

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """This tensor; ArgumentError for a device other than "cpu", or a stream."""
        check_device(device)
        if stream is not None:
            raise ArgumentError(f"expected no stream, there are none; received {stream!r}")
        return self

    def __hash__(self) -> int:
        return id(self)

    def _abstract(self) -> str | None:
        if any(realize.is_abstract(node) for node in self._nodes()):
            return f"<tensor of shape {self.shape}, {self.dtype.name}, being captured>"
        return None

    def __repr__(self) -> str:
        return self._abstract() or printing.representation(self._bytes(), self.shape, self.dtype)

    def __str__(self) -> str:
        return self._abstract() or printing.text(self._bytes(), self.shape, self.dtype)

    def _repr_html_(self) -> str:
        return self._abstract() or printing.page(self._bytes(), self.shape, self.dtype)

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
        def __divmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]: ...
        def __rdivmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]: ...
        def __round__(self, ndigits: int | None = None) -> Tensor: ...
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
        def __setitem__(self, index: Any, value: TensorLike) -> None: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __rand__(self, other: TensorLike) -> Tensor: ...
        def __ror__(self, other: TensorLike) -> Tensor: ...
        def __rxor__(self, other: TensorLike) -> Tensor: ...
        def __rlshift__(self, other: TensorLike) -> Tensor: ...
        def __rrshift__(self, other: TensorLike) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...
        @property
        def mT(self) -> Tensor: ...
        @property
        def real(self) -> Tensor: ...
        @property
        def imag(self) -> Tensor: ...
        @property
        def at(self) -> Any: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def std(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def var(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def all(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def any(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def argmin(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: Any = None) -> Tensor: ...
        def cumprod(self, axis: Any = None) -> Tensor: ...
        def sort(self, axis: Any = -1) -> Tensor: ...
        def argsort(self, axis: Any = -1) -> Tensor: ...
        def searchsorted(self, values: Any, side: str = "left") -> Tensor: ...
        def nonzero(self, *, size: int | None = None) -> tuple[Tensor, ...]: ...
        def clip(self, min: Any = None, max: Any = None) -> Tensor: ...
        def round(self, decimals: int = 0) -> Tensor: ...
        def conj(self) -> Tensor: ...
        def dot(self, other: TensorLike) -> Tensor: ...
        def squeeze(self, axis: Any = None) -> Tensor: ...
        def copy(self) -> Tensor: ...
        def ravel(self) -> Tensor: ...
        def flatten(self) -> Tensor: ...
        def swapaxes(self, axis1: int, axis2: int) -> Tensor: ...
        def repeat(self, repeats: Any, axis: int | None = None) -> Tensor: ...
        def take(self, indices: Any, axis: int | None = None) -> Tensor: ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...


def _halves(x: Tensor) -> list[Tensor] | None:
    real, imag = x.parts
    return None if imag is None else [Tensor(real), Tensor(imag)]


# So that compiled functions, gradients and everything else that walks trees take and give complex
# tensors without knowing them.
trees.register(Tensor, _halves, lambda real, imag: Tensor(real.node, imag.node))


def tensor(data: Any, shape: Sequence[int] | None = None, dtype: Any = None) -> Tensor:
    """A tensor from a number, nested lists, an array, any buffer, or another tensor.

    Args:
        data: the values. Python floats become float32, ints int32, bools bool,
            complex numbers complex64.
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
    if shape is not None:
        shape = checked_shape("tensor", tuple(shape))
    if isinstance(data, Tensor):
        result = data if want is None else converted(data, want)
        if shape is None or tuple(shape) == result.shape:
            return result
        nodes = result._nodes()
    else:
        raws, its_shape, its_dtype = pack_parts(data, want)
        if shape is None or product(shape) == product(its_shape):
            its_shape = its_shape if shape is None else tuple(shape)
            return Tensor(*[realize.upload(raw, its_shape, its_dtype.part) for raw in raws])
        raise ShapeError(
            f"expected values for shape {list(shape)}; received shape {list(its_shape)}"
        )
    if product(shape) != result.size:
        raise ShapeError(
            f"expected values for shape {list(shape)}; received shape {list(result.shape)}"
        )
    return Tensor(*[b.reshape(node, tuple(shape)) for node in nodes])


def _unpickled(raws: list[bytes], shape: tuple[int, ...], dtype: str) -> Tensor:
    part = dtypes.as_dtype(dtype).part
    return Tensor(*[realize.upload(raw, shape, part) for raw in raws])


def converted(x: Tensor, dtype: DType) -> Tensor:
    """x as another dtype. A real x becomes complex with 0 as its imaginary part; a complex x
    becomes bool (True where it is not 0), nothing else."""
    real, imag = x.parts
    if x.dtype is dtype:
        return x
    if dtype.is_complex:
        part = b.cast(real, dtype.part)
        return Tensor(part, b.like(part, 0) if imag is None else b.cast(imag, dtype.part))
    if imag is None:
        return Tensor(b.cast(real, dtype))
    if dtype.kind != "b":
        raise DtypeError(
            f"expected a complex dtype or bool for {x.dtype.name} values; received {dtype.name}. "
            "Take tg.real(x) or tg.abs(x) first"
        )
    return Tensor(make("or", b.cast(real, dtype), b.cast(imag, dtype)))


def check_device(device: Any) -> None:
    """Raise ArgumentError unless `device` is None or the one device there is."""
    if device is not None and device != DEVICE:
        raise ArgumentError(
            f"expected the device {DEVICE!r}, the only one; received {device!r}. What computes is "
            "chosen with tg.set_engine"
        )


def check_concrete(node: Node, what: str) -> None:
    """Raise CaptureError when `node` depends on values that are not known while capturing."""
    if realize.is_abstract(node):
        raise CaptureError(f"{what}: {realize.missing_value([node], READ_OUTSIDE)}")
