"""DLPack on the CPU, version 1.0 and before: memory exchanged with NumPy, PyTorch, JAX and others.

Written with ctypes alone (no NumPy). An engine's memory may move while it grows, so what is
exported is a snapshot, and what is imported is read into the engine. Values of tensors never
change, so a snapshot marked read-only is all that a consumer could tell apart from sharing.

Values are little endian there as here. Structures: https://dmlc.github.io/dlpack/latest/c_api.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.packing import Parts, product

CPU = (1, 0)
"""kDLCPU and the number of the device."""

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_READ_ONLY, _IS_COPIED = 1, 2


class _Device(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    )


_KINDS: dict[bytes, Any] = {b"dltensor": _Managed, b"dltensor_versioned": _Versioned}

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", _api)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", _api)
)

_exported: dict[int, tuple[Any, ...]] = {}
"""Memory others may still read, by the address of its managed structure."""


def _forget(address: int) -> None:
    _exported.pop(address, None)


def _drop_unused(capsule: int) -> None:
    # Whoever consumes a capsule renames it and calls the deleter; nobody has consumed this one.
    for name in _KINDS:
        if _is_valid(capsule, name):
            _exported.pop(_pointer(capsule, name), None)


_delete, _drop = _Deleter(_forget), _Destructor(_drop_unused)


def export(
    parts: Parts, shape: Sequence[int], dtype: DType, max_version: tuple[int, int] | None, copy: Any
) -> Any:
    """A capsule holding these row-major values."""
    raw = parts[0]
    if dtype.is_complex:
        size = dtype.part.itemsize
        both = (
            (parts[0][i : i + size], parts[1][i : i + size]) for i in range(0, len(parts[0]), size)
        )
        raw = b"".join(half for pair in both for half in pair)
    name = b"dltensor_versioned" if max_version and max_version[0] >= 1 else b"dltensor"
    managed = _KINDS[name]()
    buffer = ctypes.create_string_buffer(raw, max(len(raw), 1))
    rank = len(shape)
    sizes = (ctypes.c_int64 * max(rank, 1))(*shape)
    strides = (ctypes.c_int64 * max(rank, 1))(*(product(shape[d + 1 :]) for d in range(rank)))
    described = managed.tensor
    described.data = ctypes.addressof(buffer)
    described.device = _Device(*CPU)
    described.ndim = rank
    described.dtype = _DataType(_CODES[dtype.kind], dtype.bits, 1)
    described.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    described.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _delete
    if name == b"dltensor_versioned":
        managed.major = 1
        managed.flags = _IS_COPIED if copy else _READ_ONLY
    address = ctypes.addressof(managed)
    _exported[address] = (managed, buffer, sizes, strides)
    return _new(address, name, ctypes.cast(_drop, ctypes.c_void_p))


def take(producer: Any) -> tuple[Parts, tuple[int, ...], DType]:
    """The values of an object with `__dlpack__`, read out of its memory."""
    kind, _ = producer.__dlpack_device__()
    if int(kind) != CPU[0]:
        raise ArgumentError(
            f"expected an array in CPU memory; received one on DLPack device {int(kind)}. Move it "
            "to the CPU first"
        )
    try:
        capsule = producer.__dlpack__(max_version=(1, 0))
    except TypeError:  # a producer from before DLPack 1.0
        capsule = producer.__dlpack__()
    name = next((name for name in _KINDS if _is_valid(id(capsule), name)), None)
    if name is None:
        raise ArgumentError("expected a DLPack capsule that nobody has consumed yet")
    managed = _KINDS[name].from_address(_pointer(id(capsule), name))
    try:
        described = managed.tensor
        rank = described.ndim
        shape = tuple(described.shape[d] for d in range(rank))
        if described.strides:
            strides = [described.strides[d] for d in range(rank)]
        else:
            strides = [product(shape[d + 1 :]) for d in range(rank)]
        dtype = _dtype_of(described.dtype)
        raw = _gather((described.data or 0) + described.byte_offset, shape, strides, dtype.itemsize)
    finally:
        # Renamed so that the capsule's own destructor leaves it alone.
        _rename(capsule, _USED[name])
        if managed.deleter:
            managed.deleter(ctypes.addressof(managed))
    if not dtype.is_complex:
        return (raw,), shape, dtype
    size = dtype.part.itemsize
    return (
        tuple(
            b"".join(raw[i : i + size] for i in range(at, len(raw), 2 * size)) for at in (0, size)
        ),
        shape,
        dtype,
    )


# Capsules keep a pointer to their name, so these must never be freed.
_USED = {name: b"used_" + name for name in _KINDS}


def _dtype_of(described: _DataType) -> DType:
    for dtype in (*dtypes.ALL, *dtypes.COMPLEX):
        if (_CODES[dtype.kind], dtype.bits, 1) == (described.code, described.bits, described.lanes):
            return dtype
    raise DtypeError(
        "expected elements of bool, integer, float or complex type; received DLPack type code "
        f"{described.code} of {described.bits} bits and {described.lanes} lanes"
    )


def _gather(address: int, shape: tuple[int, ...], strides: Sequence[int], itemsize: int) -> bytes:
    """Row-major bytes of strided memory (strides in elements)."""
    if 0 in shape:
        return b""
    inner = len(shape)  # axes from here on lie side by side
    run = 1
    while inner and (strides[inner - 1] == run or shape[inner - 1] == 1):
        run *= shape[inner - 1]
        inner -= 1
    offsets = [0]
    for n, stride in zip(shape[:inner], strides[:inner], strict=True):
        offsets = [at + i * stride for at in offsets for i in range(n)]
    nbytes = run * itemsize
    return b"".join(ctypes.string_at(address + at * itemsize, nbytes) for at in offsets)
