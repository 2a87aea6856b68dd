"""Data types: names, sizes and the promotion rules of the Array API standard (2024.12, "Type
promotion rules"), with JAX's answer for the pairs the standard leaves open.

Not here: which engine can hold which type (each engine says so itself).
"""

from __future__ import annotations

import struct
from typing import Any, Final

from tabgrad.errors import DtypeError


class DType:
    """One element type: `name`, `kind` ('b', 'i', 'u', 'f' or 'c') and `itemsize` in bytes."""

    __slots__ = ("format", "itemsize", "kind", "name")

    def __init__(self, name: str, kind: str, itemsize: int, format: str) -> None:
        self.name = name
        self.kind = kind
        self.itemsize = itemsize
        self.format = format  # the `struct` letter, little endian at every boundary

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return as_dtype, (self.name,)

    @property
    def bits(self) -> int:
        """Number of bits of one element."""
        return 8 * self.itemsize

    @property
    def is_float(self) -> bool:
        """True for the floating-point types."""
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        """True for complex64 and complex128, which tensors keep as two floats."""
        return self.kind == "c"

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers (not bool)."""
        return self.kind in "iu"

    @property
    def part(self) -> DType:
        """The type of the real part: float32 of complex64, float64 of complex128, else itself."""
        return _PARTS.get(self.name, self)


bool_: Final = DType("bool", "b", 1, "?")
int8: Final = DType("int8", "i", 1, "b")
int16: Final = DType("int16", "i", 2, "h")
int32: Final = DType("int32", "i", 4, "i")
int64: Final = DType("int64", "i", 8, "q")
uint8: Final = DType("uint8", "u", 1, "B")
uint16: Final = DType("uint16", "u", 2, "H")
uint32: Final = DType("uint32", "u", 4, "I")
uint64: Final = DType("uint64", "u", 8, "Q")
float16: Final = DType("float16", "f", 2, "e")
float32: Final = DType("float32", "f", 4, "f")
float64: Final = DType("float64", "f", 8, "d")

ALL: Final = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64,
)  # fmt: skip
"""The types a node of the graph may have."""

# No engine knows complex numbers: a complex tensor is a pair of float nodes.
complex64: Final = DType("complex64", "c", 8, "")
complex128: Final = DType("complex128", "c", 16, "")
COMPLEX: Final = (complex64, complex128)
_PARTS: Final = {"complex64": float32, "complex128": float64}
_BY_NAME: Final = {d.name: d for d in (*ALL, *COMPLEX)}


def as_dtype(dtype: Any) -> DType:
    """The DType for a DType, a name such as "float32", a NumPy dtype, or Python's bool, int, float
    and complex.

    Raises DtypeError for anything else, naming the types there are.
    """
    if isinstance(dtype, DType):
        return dtype
    if dtype is bool:
        return bool_
    if dtype is int:
        return int32
    if dtype is float:
        return float32
    if dtype is complex:
        return complex64
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if name is None and isinstance(dtype, type):
        name = dtype.__name__  # numpy.float32 is a class whose name is the dtype's
    found = _BY_NAME.get(str(name).rstrip("_"))
    if found is None:
        raise DtypeError(f"expected a dtype, one of {', '.join(_BY_NAME)}; received {dtype!r}")
    return found


def complex_of(part: DType) -> DType:
    """The complex type whose parts have this type: complex128 for float64, else complex64."""
    return complex128 if part is float64 else complex64


def wrap(value: Any, dtype: DType) -> Any:
    """A Python scalar as it is after storing it in `dtype`: rounded, or wrapped modulo 2**bits."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind == "c":
        raise DtypeError(
            f"expected a real dtype for a value of the graph; received {dtype.name}. A complex "
            "tensor is a pair: tg.complex(real, imag)"
        )
    if dtype.kind == "f":
        value = float(value)
        if dtype.itemsize == 8 or value != value or value in (float("inf"), float("-inf")):
            return value
        try:
            return struct.unpack(dtype.format, struct.pack(dtype.format, value))[0]
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    value = int(value) & ((1 << dtype.bits) - 1)
    if dtype.kind == "i" and value >> (dtype.bits - 1):
        value -= 1 << dtype.bits
    return value


def limits(dtype: DType) -> tuple[Any, Any]:
    """The lowest and highest value: -inf and inf for floats, False and True for bool."""
    if dtype.kind == "f":
        return float("-inf"), float("inf")
    if dtype.kind == "b":
        return False, True
    if dtype.kind == "u":
        return 0, (1 << dtype.bits) - 1
    return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1


def promote(*dtypes: DType) -> DType:
    """The common type of arrays of these types (never looks at values).

    Integers of mixed signedness go to the next wider signed type; uint64 with a signed integer,
    and any 32- or 64-bit integer with a float, follow the float that exists on every engine: an
    integer beside a float takes the float's type, as in JAX (no silent float64).
    """
    result = dtypes[0]
    for other in dtypes[1:]:
        result = _promote2(result, other)
    return result


def _promote2(a: DType, b: DType) -> DType:
    if a is b or b.kind == "b":
        return a
    if a.kind == "b":
        return b
    if a.kind == "c" or b.kind == "c":
        return complex_of(_promote2(a.part, b.part))
    if a.kind == "f" or b.kind == "f":
        if a.kind == b.kind:
            return a if a.itemsize >= b.itemsize else b
        return a if a.kind == "f" else b
    if a.kind == b.kind:
        return a if a.itemsize >= b.itemsize else b
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    if unsigned.itemsize == 8:
        return float32
    return {1: int16, 2: int32, 4: int64}[unsigned.itemsize]


def weak_result(dtype: DType, scalar: bool | int | float | complex) -> DType:
    """The type of an array with a Python scalar: the array's unless the scalar's kind is higher."""
    if isinstance(scalar, bool):
        return dtype
    if isinstance(scalar, int):
        return int32 if dtype.kind == "b" else dtype
    if isinstance(scalar, float):
        return dtype if dtype.kind in "fc" else float32
    return dtype if dtype.kind == "c" else complex_of(dtype)
