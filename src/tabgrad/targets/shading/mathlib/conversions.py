"""Casts between floats and integers, and float16 in float32 and in bits."""

from __future__ import annotations

from tabgrad.targets.shading.mathlib.arithmetic import SIGN
from tabgrad.targets.shading.values import Value


def to_integer(x: Value, bits: int, signed: bool) -> Value:
    """Truncate; saturates, NaN gives 0."""
    kind = "i" if signed else "u"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def write(x: Value) -> Value:
        # The largest float that converts.
        top = float(high if bits <= 24 else high + 1 - (1 << bits - (25 if signed else 24)))
        inside = x.call("max", float(low)).call("min", top)
        whole = inside.to(kind)
        if bits > 24:
            whole = (x >= float(high + 1)).select(x.block.const(high, kind), whole)
        return x.is_nan().select(x.block.const(0, kind), whole)

    return x.block.module.helper(f"to_{kind}{bits}", [x], write, kind)


def to_float(x: Value) -> Value:
    """The nearest float: adapters are a unit off for the upper half of u32."""
    if x.kind != "u":
        return x.to("f")

    def write(x: Value) -> Value:
        half = ((x >> 1) | (x & 1)).to("i").to("f")  # what is cut off decides ties
        return (x >> 31).same(0).select(x.to("i").to("f"), half * 2.0)

    return x.block.module.helper("to_float_", [x], write, "f")


def rounded_to_half(x: Value) -> Value:
    """The nearest float16, as a float32."""

    def write(x: Value) -> Value:
        let = x.block.let
        bits = let(x.view("u"))
        size = let(bits & 0x7FFFFFFF)
        near = (size + 0xFFF + ((size >> 13) & 1)) & 0xFFFFE000
        near = (size >= 0x477FF000).select(x.block.const(0x7F800000, "u"), near)
        small = (size.view("f") * 2.0**24).call("round") * 2.0**-24
        near = (size < 0x38800000).select(small.view("u"), near)
        near = (size > 0x7F800000).select(size, near)
        return (near | (bits & SIGN)).view("f")

    return x.block.module.helper("half_", [x], write, "f")


def half_to_bits(x: Value) -> Value:
    """The bits, as u32, of a float32 that is a float16."""

    def write(x: Value) -> Value:
        let = x.block.let
        bits = let(x.view("u"))
        size = let(bits & 0x7FFFFFFF)
        normal = (size - (112 << 23)) >> 13
        small = (size.view("f") * 2.0**24).to("u")
        found = (size < 0x38800000).select(small, normal)
        found = (size >= 0x7F800000).select(((size >> 13) & 0x3FF) | 0x7C00, found)
        return found | ((bits >> 16) & 0x8000)

    return x.block.module.helper("half_bits_", [x], write, "u")


def half_from_bits(bits: Value) -> Value:
    """The float32 of the bits of a float16 in u32."""

    def write(bits: Value) -> Value:
        let = bits.block.let
        size = let(bits & 0x7FFF)
        normal = (size << 13) + (112 << 23)
        small = (size.to("f") * 2.0**-24).view("u")
        found = (size < 0x400).select(small, normal)
        found = (size >= 0x7C00).select((size << 13) | 0x7F800000, found)
        return (found | ((bits & 0x8000) << 16)).view("f")

    return bits.block.module.helper("half_of_", [bits], write, "f")
