"""How GLSL ES 3.00 spells what shaders are made of.

Source: The OpenGL ES Shading Language 3.00, https://registry.khronos.org/OpenGL/specs/es/3.0/.
`zero()` is a word of the frame that is 0 at run time: what is made with it no compiler folds.
Vectors of truths have no operators, and `mix` picks by truth among floats only, so there are a few
functions of ours in front of a shader that uses them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import ClassVar

from tabgrad.targets.shading.values import Number

BUILTINS = ("floor", "ceil", "trunc", "round", "sqrt", "abs", "min", "max")
TYPES = {"f": "float", "i": "int", "u": "uint", "b": "bool"}
VECTORS = {"f": "vec4", "i": "ivec4", "u": "uvec4", "b": "bvec4"}
COMPARISONS = {
    "==": "equal", "!=": "notEqual", "<": "lessThan", "<=": "lessThanEqual",
    ">": "greaterThan", ">=": "greaterThanEqual",
}  # fmt: skip
LOGIC = {"&": "&&", "|": "||", "^": "^^"}
WORDS = {"&": "and", "|": "or", "^": "xor"}

HELPERS = {
    "held_1": """float held_1(float x) { return uintBitsToFloat(floatBitsToUint(x) ^ zero()); }""",
    "held_4": """vec4 held_4(vec4 x) { return uintBitsToFloat(floatBitsToUint(x) ^ zero()); }""",
    "and_4": "bvec4 and_4(bvec4 x, bvec4 y) { return bvec4(uvec4(x) & uvec4(y)); }",
    "or_4": "bvec4 or_4(bvec4 x, bvec4 y) { return bvec4(uvec4(x) | uvec4(y)); }",
    "xor_4": "bvec4 xor_4(bvec4 x, bvec4 y) { return notEqual(x, y); }",
    # Each half of a word is a float exactly, so the sum is rounded once; float(uint) rounds twice
    # on some machines.
    "float_of_1": "float float_of_1(uint x) "
    "{ return float(x >> 16u) * 65536.0 + float(x & 65535u); }",
    "float_of_4": "vec4 float_of_4(uvec4 x) "
    "{ return vec4(x >> 16u) * 65536.0 + vec4(x & 65535u); }",
    # What `?:` picks from are names here, and no expressions: Chromium's compiler makes branches of
    # those, and of a row of them in a loop as many paths as there are ways through it.
    "pick_1": "\n".join(
        [f"{kind} pick_1(bool c, {kind} x, {kind} y) {{ return c ? x : y; }}"
         for kind in TYPES.values()]
    ),
    "pick": "\n".join(
        [
            f"{vector} pick(bvec4 c, {vector} x, {vector} y) {{ return {vector}("
            + ", ".join([f"c.{lane} ? x.{lane} : y.{lane}" for lane in "xyzw"])
            + "); }"
            for vector in VECTORS.values()
        ]
    ),
}  # fmt: skip
"""Functions that stand in front of a shader whose text names them."""


class Glsl:
    """The dialect."""

    half = False
    builtins: ClassVar[dict[str, str]] = {**{name: name for name in BUILTINS}, "round": "roundEven"}

    def type(self, kind: str, width: int) -> str:
        return TYPES[kind] if width == 1 else VECTORS[kind]

    def literal(self, number: Number, kind: str) -> str:
        if kind == "f":
            (single,) = struct.unpack("<f", struct.pack("<f", number))
            if single == 0 and math.copysign(1, single) < 0:
                return self.special(0x80000000)
            text = repr(single)
            return f"({text})" if text.startswith("-") else text
        whole = int(number) % (1 << 32)
        if kind == "u":
            return f"{whole}u"
        if whole < 1 << 31:
            return str(whole)
        return f"(-{(1 << 32) - whole})" if whole > 1 << 31 else f"int({whole}u)"

    def special(self, bits: int) -> str:
        return f"uintBitsToFloat({bits}u ^ zero())"

    def held(self, text: str, width: int) -> str:
        return f"held_{width}({text})"

    def declare(self, name: str, kind: str, width: int, text: str, mutable: bool) -> str:
        return f"{self.type(kind, width)} {name} = {text};"

    def compare(self, sign: str, x: str, y: str, width: int) -> str:
        return f"({x} {sign} {y})" if width == 1 else f"{COMPARISONS[sign]}({x}, {y})"

    def logic(self, sign: str, x: str, y: str, width: int) -> str:
        return f"({x} {LOGIC[sign]} {y})" if width == 1 else f"{WORDS[sign]}_4({x}, {y})"

    def inverse(self, x: str, width: int) -> str:
        return f"(!{x})" if width == 1 else f"not({x})"

    def select(self, condition: str, x: str, y: str, width: int) -> str:
        return f"{'pick_1' if width == 1 else 'pick'}({condition}, {x}, {y})"

    def convert(self, x: str, source: str, kind: str, width: int) -> str:
        if (source, kind) == ("u", "f"):
            return f"float_of_{width}({x})"
        return f"{self.type(kind, width)}({x})"

    def view(self, x: str, source: str, kind: str, width: int) -> str:
        if source == "f":
            return f"floatBitsTo{'Int' if kind == 'i' else 'Uint'}({x})"
        if kind == "f":
            return f"{'int' if source == 'i' else 'uint'}BitsToFloat({x})"
        return f"{self.type(kind, width)}({x})"

    def join(self, lanes: Sequence[str], kind: str) -> str:
        return f"{VECTORS[kind]}({', '.join(lanes)})"

    def loop(self, name: str, begin: str, end: str, step: int) -> str:
        return f"for (int {name} = {begin}; {name} < {end}; {name} += {step})"

    def multiply_add(self, x: str, y: str, z: str) -> str:
        return f"({x} * {y} + {z})"

    def function(
        self, name: str, params: Sequence[tuple[str, str, int]], kind: str, width: int
    ) -> str:
        listed = ", ".join(f"{self.type(k, w)} {n}" for n, k, w in params)
        return f"{self.type(kind, width)} {name}({listed})"


def helpers_of(text: str) -> list[str]:
    """The functions of ours that a shader's text calls."""
    return [code for name, code in HELPERS.items() if f"{name}(" in text]
