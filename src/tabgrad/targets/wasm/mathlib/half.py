"""float16 (IEEE 754 binary16) in float32 lanes: reading and writing its bits, and rounding to it.

Half-precision numbers are kept as the float32 numbers of the same value. All is exact or rounded
once to nearest, halves to even, for every number there is: subnormals, infinities and NaN too.
"""

from __future__ import annotations

from tabgrad.targets.wasm.builder import F32x4, F64x2, Function, I32x4, I64x2, U32x4

SIGN = -0x80000000
INFINITY = 0x7F800000
OVERFLOW = 65520.0  # the first number that rounds to infinity: halfway from 65504 to 65536
SMALLEST_NORMAL = 0x38800000  # 2**-14, whose exponent all smaller numbers share

# The biases of the two formats differ by 112. As a product with a power of two this also moves the
# subnormals of float16 to normal numbers and back.
UP, DOWN = 2.0**112, 2.0**-112


def from_bits(f: Function, bits: U32x4) -> F32x4:
    """The numbers whose float16 bits are in the low halves of the lanes."""
    with f.scope() as scope:
        bits = f.once(bits)
        size = f.let(((bits & 0x7FFF) << 13).view(F32x4) * UP)
        # Infinities and NaN come out from 65536 on: they get the exponent that says so.
        sign = (bits & 0x8000) << 16
        return scope.keep((size.bits() | _above(size) | sign.view(I32x4)).view(F32x4))


def _above(size: F32x4) -> I32x4:
    """The exponent of infinity where a number is too large for float16."""
    return (size >= 65536.0) & INFINITY


def to_bits(f: Function, x: F32x4) -> I32x4:
    """The float16 bits of numbers that float16 holds, in the low halves of the lanes."""
    with f.scope() as scope:
        x = f.once(x)
        size = ((abs(x) * DOWN).bits() >> 13) & 0x7FFF
        sign = (x.view(U32x4) >> 16) & 0x8000
        return scope.keep(size | sign.view(I32x4))


def rounded(f: Function, x: F32x4) -> F32x4:
    """The nearest float16 numbers."""
    with f.scope() as scope:
        x = f.once(x)
        size = f.let(abs(x).pmin(OVERFLOW))
        # Beside a number 2**13 times as large (of the exponent, not below that of the smallest
        # normal number) the places float16 has no room for are rounded off.
        lift = f.let(((size.bits() & INFINITY).max(SMALLEST_NORMAL) + (13 << 23)).view(F32x4))
        near = f.let(size + lift - lift)
        return scope.keep((near.bits() | _above(near) | x.bits() & SIGN).view(F32x4))


def rounded_from_double(f: Function, x: F64x2) -> F32x4:
    """The nearest float16 numbers of 64-bit floats, rounded once, in the low lanes."""
    with f.scope() as scope:
        x = f.once(x)
        size = f.let(abs(x).pmin(OVERFLOW))
        exponent = f.let(size.bits() & (0x7FF << 52))
        smallest = I64x2.const((1023 - 14) << 52)
        exponent.set((exponent > smallest).select(exponent, smallest))
        lift = f.let((exponent + (42 << 52)).view(F64x2))
        near = f.let(size + lift - lift)
        near.set((near >= 65536.0).select(F64x2.const(float("inf")), near))
        return scope.keep((near.bits() | x.bits() & (-1 << 63)).view(F64x2).to_f32_low())
