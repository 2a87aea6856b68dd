"""Values of Python, buffers and NumPy arrays as raw row-major bytes, and back.

Real values are one run of bytes, complex ones two: all real parts, then all imaginary parts. Not
here: tensors and graphs (`tensor.py`), exchange of memory with other libraries (`dlpack.py`).
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, DtypeError, ShapeError

Parts = tuple[bytes, ...]
Shape = tuple[int, ...]


def pack(data: Any, dtype: DType | None) -> tuple[bytes, Shape, DType]:
    """Raw bytes, shape and dtype of any array-like real value; DtypeError for a complex one."""
    parts, shape, found = pack_parts(data, dtype)
    if found.is_complex:
        raise DtypeError(
            f"expected real values here; received {found.name}. Pass tg.real(x) and tg.imag(x) "
            "one by one"
        )
    return parts[0], shape, found


def check_fits(values: Sequence[Any], dtype: DType) -> None:
    """Raise DtypeError for Python integers beyond an integer dtype that nobody asked for."""
    if dtype.kind not in "iu":
        return
    low, high = dtypes.limits(dtype)
    for value in values:
        if isinstance(value, int) and not low <= value <= high:
            raise DtypeError(
                f"expected integers that fit {dtype.name}; received {value}. Pass dtype= to choose "
                'another, for instance "int64"'
            )


def pack_parts(data: Any, dtype: DType | None) -> tuple[Parts, Shape, DType]:
    """Raw bytes (two runs for complex values), shape and dtype of any array-like value."""
    if isinstance(data, (bool, int, float, complex)):
        chosen = dtype or dtypes.as_dtype(type(data))
        if dtype is None:
            check_fits([data], chosen)
        return _pack_flat([data], chosen), (), chosen
    if getattr(data, "__array_interface__", None) or hasattr(data, "__array__"):
        return _pack_numpy(data, dtype)
    if isinstance(data, (bytes, bytearray, memoryview, array.array)):
        return _pack_buffer(memoryview(data), dtype)
    if isinstance(data, (list, tuple, range)):
        return _pack_nested(data, dtype)
    raise DtypeError(
        f"expected a number, nested lists, an array or a buffer; received {type(data).__name__}"
    )


def _pack_flat(values: Sequence[Any], dtype: DType) -> Parts:
    if dtype.is_complex:
        both = [complex(v) for v in values]
        return tuple(
            b"".join(_pack_flat(part, dtype.part))
            for part in ([v.real for v in both], [v.imag for v in both])
        )
    if not dtype.kind == "b" and any(isinstance(v, complex) for v in values):
        raise DtypeError(f"expected real numbers for {dtype.name}; received complex ones")
    stored = [dtypes.wrap(v, dtype) for v in values]
    return (struct.pack(f"<{len(stored)}{dtype.format}", *stored),)


def _pack_numpy(data: Any, dtype: DType | None) -> tuple[Parts, Shape, DType]:
    np = numpy()
    value = np.asarray(data)
    if value.dtype.kind not in "biufc":
        raise DtypeError(f"expected an array of numbers; received dtype {value.dtype}")
    if dtype is None:
        # Python users' float64 and int64 arrays are rarely meant as such: nothing in a browser
        # computes with them, and Keras converts them the same way.
        default = {"float64": "float32", "int64": "int32", "complex128": "complex64"}
        dtype = dtypes.as_dtype(default.get(value.dtype.name, value.dtype.name))
    if dtype.name == "int32" and value.dtype.itemsize > 4 and value.dtype.kind in "iu":
        low, high = (int(value.min()), int(value.max())) if value.size else (0, 0)
        if low < -(2**31) or high >= 2**31:
            raise DtypeError(
                f"expected integers that fit int32; received {low} to {high}. Pass dtype= to choose"
            )
    if dtype.is_complex:
        parts = [value.real, value.imag]
    elif value.dtype.kind == "c":
        raise DtypeError(f"expected real numbers for {dtype.name}; received {value.dtype}")
    else:
        parts = [value]
    raws = tuple(np.ascontiguousarray(p, dtype=dtype.part.name).tobytes() for p in parts)
    return raws, value.shape, dtype


def _pack_buffer(view: memoryview, dtype: DType | None) -> tuple[Parts, Shape, DType]:
    for own in dtypes.ALL:
        if view.format.lstrip("<=@") == own.format or (
            view.format == "l" and own.kind == "i" and own.itemsize == view.itemsize
        ):
            raw, shape = view.tobytes(), tuple(view.shape or ())
            if dtype is None or dtype is own:
                return (raw,), shape, own
            return _pack_flat(unpack((raw,), own), dtype), shape, dtype
    raise DtypeError(f"expected a buffer of numbers; received format {view.format!r}")


def _pack_nested(data: Sequence[Any], dtype: DType | None) -> tuple[Parts, Shape, DType]:
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
    scalars = [v.item() if hasattr(v, "item") else v for v in flat]
    for v in scalars:
        if not isinstance(v, (bool, int, float, complex)):
            raise DtypeError(f"expected numbers in the lists; received {type(v).__name__}")
    if dtype is None:
        kinds = {type(v) for v in scalars}
        dtype = (
            dtypes.complex64 if complex in kinds
            else dtypes.float32 if float in kinds or not kinds
            else dtypes.int32 if int in kinds
            else dtypes.bool_
        )  # fmt: skip
        check_fits(scalars, dtype)
    return _pack_flat(scalars, dtype), tuple(shape), dtype


def unpack(parts: Sequence[bytes], dtype: DType) -> list[Any]:
    """The values in raw bytes as a flat list of Python numbers."""
    if dtype.is_complex:
        real, imag = (unpack((raw,), dtype.part) for raw in parts)
        return [complex(x, y) for x, y in zip(real, imag, strict=True)]
    (raw,) = parts
    if dtype.kind == "b":
        return [b != 0 for b in raw]
    if sys.byteorder == "little" and dtype.format in "bBhHiIqQfd":
        view: Any = memoryview(raw)
        values: list[Any] = view.cast(dtype.format).tolist()
        return values
    return list(struct.unpack(f"<{len(raw) // dtype.itemsize}{dtype.format}", raw))


def nest(flat: list[Any], shape: Shape) -> Any:
    """A flat list as nested lists of this shape (its only value for 0-d)."""
    if not shape:
        return flat[0]
    for axis in range(len(shape) - 1, 0, -1):
        n = shape[axis]
        flat = [flat[i * n : (i + 1) * n] for i in range(product(shape[:axis]))]
    return flat


def array_of(parts: Sequence[bytes], shape: Shape, dtype: DType) -> Any:
    """The values as a new NumPy array."""
    np = numpy()
    if not dtype.is_complex:
        return np.frombuffer(bytearray(parts[0]), dtype=dtype.name).reshape(shape)
    value = np.empty(shape, dtype.name)
    value.real, value.imag = (
        np.frombuffer(raw, dtype=dtype.part.name).reshape(shape) for raw in parts
    )
    return value


def product(shape: Sequence[int]) -> int:
    """Number of elements of a shape."""
    total = 1
    for n in shape:
        total *= n
    return total


def numpy() -> Any:
    """The NumPy module; ArgumentError where it is not installed."""
    try:
        import numpy
    except ImportError:
        raise ArgumentError(
            "expected NumPy to be installed for this conversion: pip install numpy. "
            "tolist() needs no package"
        ) from None
    return numpy
