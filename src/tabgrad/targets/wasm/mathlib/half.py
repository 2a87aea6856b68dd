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
TOO_LARGE = 0x47800000  # 2**16, the first number beyond float16
LIFT = (13 << 23) + 0x400000  # makes 1.5 * 2**(n + 13) of 2**n
PLACES = SIGN | 0x7FFF << 13  # the sign, and where the bits of a float16 come to lie

# The biases of the two formats differ by 112. As a product with a power of two this also moves the
# subnormals of float16 to normal numbers and back.
UP, DOWN = 2.0**112, 2.0**-112


def from_bits(f: Function, bits: I32x4 | U32x4) -> F32x4:
    """The numbers of float16 bits: I32x4 with their sign extended, U32x4 with anything above."""
    with f.scope() as scope:
        signed = bits << 13 if isinstance(bits, I32x4) else bits.view(I32x4) << 16 >> 3
        x = f.let((signed & PLACES).view(F32x4) * UP)
        # Infinities and NaN come out from 65536 on: they get the exponent that says so.
        return scope.keep((x.bits() | (abs(x) >= 65536.0) & INFINITY).view(F32x4))


def to_bits(f: Function, x: F32x4) -> I32x4:
    """The float16 bits of numbers that float16 holds, in the low halves of lanes that are 0 above.

    Infinity and NaN keep an exponent of ones, the low bits of which are those of float16.
    """
    with f.scope() as scope:
        x = f.once(x)
        size = ((x * DOWN).view(U32x4) >> 13) & 0x7FFF
        return scope.keep((size | (x.view(U32x4) >> 16) & 0x8000).view(I32x4))


def rounded(f: Function, x: F32x4) -> F32x4:
    """The nearest float16 numbers."""
    with f.scope() as scope:
        x = f.once(x)
        # Beside a number 1.5 * 2**13 times as large as the power of two in it (or in the smallest
        # normal number), the places float16 has no room for are rounded off, whatever the sign.
        exponent = (x.bits() & INFINITY).max(SMALLEST_NORMAL).min(TOO_LARGE)
        lift = f.let((exponent + LIFT).view(F32x4))
        # What float16 has no numbers for overflows.
        near = ((x + lift) - lift) * UP * DOWN
        return scope.keep((near.bits() | x.bits() & SIGN).view(F32x4))


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
