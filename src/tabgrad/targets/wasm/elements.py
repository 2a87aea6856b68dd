"""Elements of each dtype in memory and in vectors: loads, stores, lane types.

Values fill 32-bit lanes, four to a vector, or 64-bit lanes, two to a vector. A kernel that touches
a 64-bit value computes two points at a time, and its 32-bit values then lie in the low two lanes;
all others compute four. Small integers are extended when they are loaded, float16 becomes float32,
and bools are masks of 32-bit lanes (all ones or zeros) in vectors and bytes 0 or 1 in memory.
"""

from __future__ import annotations

from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.ir.kernel import Kernel, run_time_places, walk
from tabgrad.targets.wasm.builder import (
    I32,
    F32x4,
    F64x2,
    Function,
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    U8x16,
    U16x8,
    U32x4,
    U64x2,
    Vector,
)
from tabgrad.targets.wasm.mathlib import half

LANES = 4  # of 32-bit values; kernels with 64-bit values compute two points at a time
V = Any  # one of F32x4, I32x4, U32x4, F64x2, I64x2, U64x2


def width_of(kernel: Kernel) -> int:
    """How many points of a kernel one vector holds: 4, or 2 where any value has 64 bits."""
    roots = [*kernel.expressions(), *(x for s in kernel.stores for x in run_time_places(s))]
    wide = any(expr.dtype.itemsize == 8 for expr in walk(roots))
    return LANES // 2 if wide or any(b.dtype.itemsize == 8 for b in kernel.writes()) else LANES


def lane_type(dtype: DType) -> type[Any]:
    """The vector type values of a dtype are computed in."""
    if dtype.itemsize == 8:
        return {"f": F64x2, "i": I64x2, "u": U64x2}[dtype.kind]
    if dtype.is_float:
        return F32x4
    return U32x4 if dtype.kind == "u" else I32x4


def raw_type(dtype: DType) -> type[Any]:
    """The vector type elements are gathered in, before they become the values computed with."""
    if dtype is dtypes.float16:
        return U32x4
    return I32x4 if dtype.kind == "b" else lane_type(dtype)


def as_lanes(f: Function, raw: V, dtype: DType) -> V:
    """Gathered elements as the values computed with."""
    if dtype is dtypes.float16:
        return half.from_bits(f, raw)
    return raw != 0 if dtype.kind == "b" else raw


# Masks


def truth(f: Function, mask: Vector[Any, Any]) -> I32x4:
    """What a comparison of any lanes gives, as a bool: a mask of 32-bit lanes."""
    if mask.LANES == LANES:
        return mask.view(I32x4)
    low = f.once(mask).view(I32x4)
    return low.shuffle(low, (0, 2, 0, 2))


def mask_for(kind: type[Vector[Any, Any]], mask: I32x4) -> V:
    """A bool as a mask of the lanes of `kind`."""
    return mask if kind.LANES == LANES else mask.widen_low(I64x2)


# Loads


def element_from(dtype: DType, address: I32) -> Any:
    """One element from memory as a scalar of the raw vector type's."""
    scalar = raw_type(dtype).SCALAR
    if dtype.itemsize >= 4:
        return scalar.load(address)
    signed = dtype.kind == "i"
    if dtype.itemsize == 1:
        found = I32.load8_s(address) if signed else I32.load8_u(address)
    else:
        found = I32.load16_s(address) if signed else I32.load16_u(address)
    return found if scalar is I32 else found.view(scalar)


def put_lane(vector: V, lane: int, dtype: DType, address: I32) -> V:
    """The raw vector with one lane from memory."""
    if dtype.itemsize >= 4:
        return vector.load_lane(lane, address)
    return vector.with_lane(lane, element_from(dtype, address))


def splat_from(f: Function, dtype: DType, address: I32) -> V:
    """One element from memory in all lanes."""
    kind = raw_type(dtype)
    if dtype.itemsize >= 4:
        return as_lanes(f, kind.load_splat(address), dtype)
    return as_lanes(f, kind.splat(element_from(dtype, address)), dtype)


def vector_from(f: Function, dtype: DType, address: I32) -> V:
    """Neighbouring elements; may read past the last one, which every buffer allows."""
    kind = raw_type(dtype)
    if dtype.itemsize >= 4:
        return kind.load(address)
    if dtype.itemsize == 2:
        wide = U32x4 if dtype.kind == "u" else I32x4
        return as_lanes(f, wide.load_widened(address), dtype)
    if dtype.kind == "i":
        return U32x4.load_first(address).view(I8x16).widen_low(I16x8).widen_low(I32x4)
    bytes_ = U32x4.load_first(address).view(U8x16).widen_low(U16x8).widen_low(U32x4)
    return as_lanes(f, bytes_.view(kind), dtype)


# Stores


def put_vector(f: Function, dtype: DType, address: I32, value: V, lanes: int) -> None:
    """Store the first lanes next to each other."""
    if dtype.itemsize >= 4:
        value = f.once(value) if lanes == 3 else value
        f.store_lanes(f.let(address) if lanes == 3 else address, value, lanes)
        return
    value = _stored(f, dtype, value)
    if lanes == LANES:
        low = f.let(_low_bits(value, dtype))
        if dtype.itemsize == 1:
            halves = f.let(low.narrow(low, I16x8))
            f.store_lane(address, halves.narrow(halves, U8x16).view(I32x4), 0)
        else:
            f.store_lane(address, low.narrow(low, U16x8).view(I64x2), 0)
        return
    value, place = f.once(value), f.let(address)
    for lane in range(lanes):
        _put_bits(f, dtype, place + lane * dtype.itemsize, value, lane)


def _low_bits(value: V, dtype: DType) -> I32x4:
    """A small value with zeros above its bits."""
    low: I32x4 = value.view(I32x4)
    if dtype.is_float:
        return low  # has them
    return low & (1 if dtype.kind == "b" else (1 << dtype.bits) - 1)


def put_element(f: Function, dtype: DType, address: I32, value: V, lane: int) -> None:
    """Store one lane."""
    if dtype.itemsize >= 4:
        f.store_lane(address, value, lane)
        return
    _put_bits(f, dtype, address, _stored(f, dtype, value), lane)


def _stored(f: Function, dtype: DType, value: V) -> V:
    """A small value as integer lanes whose low bits go to memory."""
    return half.to_bits(f, value) if dtype is dtypes.float16 else value


def _put_bits(f: Function, dtype: DType, address: I32, value: V, lane: int) -> None:
    number = value.view(I32x4).lane(lane)
    if dtype.kind == "b":
        number = number & 1
    if dtype.itemsize == 1:
        f.store8(address, number)
    else:
        f.store16(address, number)


def normalised(f: Function, value: V, dtype: DType) -> V:
    """A result computed in wider lanes as one of the dtype: wrapped, or rounded to float16."""
    if dtype is dtypes.float16:
        return half.rounded(f, value)
    if dtype.itemsize >= 4 or dtype.kind not in "iu":
        return value
    if dtype.kind == "u":
        return value & ((1 << dtype.bits) - 1)
    shift = 32 - dtype.bits
    return (value << shift) >> shift
