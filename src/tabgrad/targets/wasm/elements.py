"""Elements of each dtype in memory and in vectors: loads, stores, lane types.

Every value fills 32-bit lanes: small integers are extended when they are loaded, bools are masks
(all ones or zeros) in vectors and bytes 0 or 1 in memory.
"""

from __future__ import annotations

from typing import Any

from tabgrad.dtypes import DType
from tabgrad.errors import NotSupportedError
from tabgrad.targets.wasm.builder import (
    I32,
    F32x4,
    Function,
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    U8x16,
    U16x8,
    U32x4,
)

LANES = 4
V = Any  # one of F32x4, I32x4, U32x4

HELD = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32"})


def check_dtype(dtype: DType) -> None:
    """Raise NotSupportedError for a dtype these kernels cannot compute with."""
    if dtype.name not in HELD:
        raise NotSupportedError(
            f"expected one of {', '.join(sorted(HELD))} on the wasm engine; received {dtype.name}. "
            "Cast it, or compute with tg.set_engine('reference')"
        )


def lane_type(dtype: DType) -> type[Any]:
    """The vector type values of a dtype are computed in."""
    check_dtype(dtype)
    if dtype.is_float:
        return F32x4
    return U32x4 if dtype.kind == "u" else I32x4


def raw_type(dtype: DType) -> type[Any]:
    """The vector type elements are gathered in, before bools become masks."""
    return I32x4 if dtype.kind == "b" else lane_type(dtype)


def as_lanes(raw: V, dtype: DType) -> V:
    """Gathered elements as the values computed with."""
    return raw != 0 if dtype.kind == "b" else raw


def element_from(dtype: DType, address: I32) -> Any:
    """One element from memory as a scalar of the vector type's."""
    scalar = raw_type(dtype).SCALAR
    if dtype.itemsize == 4:
        return scalar.load(address)
    signed = dtype.kind == "i"
    if dtype.itemsize == 1:
        found = I32.load8_s(address) if signed else I32.load8_u(address)
    else:
        found = I32.load16_s(address) if signed else I32.load16_u(address)
    return found if scalar is I32 else found.view(scalar)


def put_lane(vector: V, lane: int, dtype: DType, address: I32) -> V:
    """The vector with one lane from memory."""
    if dtype.itemsize == 4:
        return vector.load_lane(lane, address)
    return vector.with_lane(lane, element_from(dtype, address))


def splat_from(dtype: DType, address: I32) -> V:
    """One element from memory in all lanes."""
    kind = raw_type(dtype)
    if dtype.itemsize == 4:
        return as_lanes(kind.load_splat(address), dtype)
    return as_lanes(kind.splat(element_from(dtype, address)), dtype)


def vector_from(dtype: DType, address: I32) -> V:
    """Four neighbouring elements; may read past the last one, which every buffer allows."""
    kind = raw_type(dtype)
    if dtype.itemsize == 4:
        return kind.load(address)
    if dtype.itemsize == 2:
        wide = I32x4 if dtype.kind == "i" else U32x4
        return wide.load_widened(address)
    if dtype.kind == "i":
        return U32x4.load_first(address).view(I8x16).widen_low(I16x8).widen_low(I32x4)
    bytes_ = U32x4.load_first(address).view(U8x16).widen_low(U16x8).widen_low(U32x4)
    return as_lanes(bytes_.view(kind), dtype)


def put_vector(f: Function, dtype: DType, address: I32, value: V, lanes: int) -> None:
    """Store the first lanes next to each other."""
    if dtype.itemsize == 4:
        value = f.once(value) if lanes == 3 else value
        f.store_lanes(f.let(address) if lanes == 3 else address, value, lanes)
        return
    if lanes == LANES:
        mask = 1 if dtype.kind == "b" else (1 << dtype.bits) - 1
        low = f.let(value.view(I32x4) & mask)
        if dtype.itemsize == 1:
            halves = f.let(low.narrow(low, I16x8))
            f.store_lane(address, halves.narrow(halves, U8x16).view(I32x4), 0)
        else:
            f.store_lane(address, low.narrow(low, U16x8).view(I64x2), 0)
        return
    value, place = f.once(value), f.let(address)
    for lane in range(lanes):
        put_element(f, dtype, place + lane * dtype.itemsize, value, lane)


def put_element(f: Function, dtype: DType, address: I32, value: V, lane: int) -> None:
    """Store one lane."""
    if dtype.itemsize == 4:
        f.store_lane(address, value, lane)
        return
    number = value.view(I32x4).lane(lane)
    if dtype.kind == "b":
        number = number & 1
    if dtype.itemsize == 1:
        f.store8(address, number)
    else:
        f.store16(address, number)


def normalised(value: V, dtype: DType) -> V:
    """A 32-bit result wrapped to a smaller integer's range."""
    if dtype.itemsize == 4 or dtype.kind not in "iu":
        return value
    if dtype.kind == "u":
        return value & ((1 << dtype.bits) - 1)
    shift = 32 - dtype.bits
    return (value << shift) >> shift
