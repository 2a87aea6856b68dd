"""Questions about dtypes: limits, kinds, conversions, and the namespace's own description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType, as_dtype
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.tensor import DEVICE, Tensor, check_device
from tabgrad.variable import Variable


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating-point dtype, as Python floats."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntegerInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(x: Any) -> DType:
    return x.dtype if isinstance(x, (Tensor, Variable)) else as_dtype(x)


# Bits of the mantissa and the largest exponent (IEEE 754-2019, table 3.5).
_FLOATS = {"float16": (10, 15), "float32": (23, 127), "float64": (52, 1023)}


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a float dtype (of the parts of a complex one), or of an array's.

    Args:
        type: a dtype, or a tensor of any shape.

    Raises:
        DtypeError: a dtype that is not floating point.

    Example:
        >>> import tabgrad as tg
        >>> tg.finfo(tg.float32).eps
        1.1920928955078125e-07
    """
    dtype = _dtype_of(type).part
    if not dtype.is_float:
        raise DtypeError(f"finfo expected a floating-point dtype; received {dtype.name}. Use iinfo")
    mantissa, exponent = _FLOATS[dtype.name]
    eps = 2.0**-mantissa
    largest = (2.0 - eps) * 2.0**exponent
    return FloatInfo(dtype.bits, eps, largest, -largest, 2.0 ** (1 - exponent), dtype)


def iinfo(type: Any, /) -> IntegerInfo:
    """Limits of an integer dtype, or of an array's.

    Args:
        type: a dtype, or a tensor of any shape.

    Raises:
        DtypeError: a dtype that is no integer.

    Example:
        >>> import tabgrad as tg
        >>> tg.iinfo("int8").max
        127
    """
    dtype = _dtype_of(type)
    if not dtype.is_integer:
        raise DtypeError(f"iinfo expected an integer dtype; received {dtype.name}. Use finfo")
    low, high = dtypes.limits(dtype)
    return IntegerInfo(dtype.bits, high, low, dtype)


_KINDS: dict[str, str] = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: another dtype, a name, or a tuple of either.

    Names: "bool", "signed integer", "unsigned integer", "integral", "real floating",
    "complex floating", "numeric".

    Returns:
        A bool, for scalars and arrays alike.

    Raises:
        ArgumentError: an unknown name.

    Example:
        >>> import tabgrad as tg
        >>> tg.isdtype(tg.int8, "integral"), tg.isdtype(tg.int8, (tg.int16, "bool"))
        (True, False)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    found = as_dtype(dtype)
    if not isinstance(kind, str):
        return found is as_dtype(kind)
    if kind not in _KINDS:
        raise ArgumentError(
            f"isdtype expected a kind, one of {', '.join(_KINDS)}; received {kind!r}"
        )
    return found.kind in _KINDS[kind]


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion ever turns the first dtype (or an array's) into the second.

    Args:
        from_: a dtype or a tensor of any shape.
        to: a dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.can_cast("int8", "int32"), tg.can_cast("int32", "float32")
        (True, False)
    """
    source, target = _dtype_of(from_), as_dtype(to)
    if source is target:
        return True
    mixed = source.kind != target.kind and {source.kind, target.kind} not in (
        {"i", "u"},
        {"f", "c"},
    )
    return not mixed and dtypes.promote(source, target) is target


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype an operation on these arrays, dtypes and Python numbers would have.

    Args:
        arrays_and_dtypes: tensors of any shape, dtypes, and Python numbers, which are weak.

    Raises:
        ArgumentError: no argument.

    Example:
        >>> import tabgrad as tg
        >>> tg.result_type(tg.int8, tg.uint8), tg.result_type(tg.ones(3), 1j)
        (int16, complex64)
    """
    if not arrays_and_dtypes:
        raise ArgumentError(
            "result_type expected at least one argument; received none. "
            "Give arrays, dtypes or numbers"
        )
    numbers = [x for x in arrays_and_dtypes if isinstance(x, (bool, int, float, complex))]
    others = [_dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, (int, float, complex))]
    if not others:
        return dtypes.promote(*(as_dtype(type(x)) for x in numbers))
    result = dtypes.promote(*others)
    for number in numbers:
        result = dtypes.weak_result(result, number)
    return result


class NamespaceInfo:
    """What this Array API namespace can do; made by `tg.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing and data-dependent shapes work (not while capturing); any rank does."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> str:
        """The only device, "cpu"."""
        return DEVICE

    def devices(self) -> list[str]:
        """All devices: one."""
        return [DEVICE]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes results have where nothing else decides."""
        check_device(device)
        return {
            "real floating": dtypes.float32,
            "complex floating": dtypes.complex64,
            "integral": dtypes.int32,
            "indexing": dtypes.int32,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's dtypes by name, all or those of a kind (see `isdtype`)."""
        check_device(device)
        standard = [d for d in (*dtypes.ALL, *dtypes.COMPLEX) if d is not dtypes.float16]
        return {d.name: d for d in standard if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What this Array API namespace can do (2024.12, "Inspection").

    Returns:
        An object with the standard's methods `dtypes`, `default_dtypes`, `devices`, and the limits
        of shapes in `capabilities`.

    Example:
        >>> import tabgrad as tg
        >>> tg.__array_namespace_info__().devices()
        ['cpu']
    """
    return NamespaceInfo()
