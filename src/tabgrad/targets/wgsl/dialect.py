"""How WGSL spells what shaders are made of (https://www.w3.org/TR/WGSL/).

`zero` is a word of the frame that is 0 at run time: what is made with it no compiler folds, and
neither infinities nor NaN may be constants.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import ClassVar

from tabgrad.targets.shading.values import Number

BUILTINS = ("floor", "ceil", "trunc", "round", "sqrt", "abs", "min", "max")
TYPES = {"f": "f32", "i": "i32", "u": "u32", "b": "bool", "h": "f16"}
HELD = """fn held_1(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ zero()); }
fn held_4(x: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4<u32>(zero()));
}"""


class Wgsl:
    """The dialect; with `half` for devices that have f16."""

    def __init__(self, half: bool = False) -> None:
        self.half = half

    builtins: ClassVar[dict[str, str]] = dict(zip(BUILTINS, BUILTINS, strict=True))

    def type(self, kind: str, width: int) -> str:
        return TYPES[kind] if width == 1 else f"vec4<{TYPES[kind]}>"

    def literal(self, number: Number, kind: str) -> str:
        if kind in "fh":
            code = "<e" if kind == "h" else "<f"
            (rounded,) = struct.unpack(code, struct.pack(code, number))
            text = f"{rounded!r}{kind}"
            return f"({text})" if text.startswith("-") else text
        whole = int(number)
        if kind == "u":
            return f"{whole % (1 << 32)}u"
        whole = (whole + (1 << 31)) % (1 << 32) - (1 << 31)
        return f"{whole}i" if whole >= 0 else f"i32({whole})"

    def special(self, bits: int) -> str:
        return f"bitcast<f32>({bits}u ^ zero())"

    def held(self, text: str, width: int) -> str:
        return f"held_{width}({text})"

    def declare(self, name: str, kind: str, width: int, text: str, mutable: bool) -> str:
        return f"{'var' if mutable else 'let'} {name} = {text};"

    def compare(self, sign: str, x: str, y: str, width: int) -> str:
        return f"({x} {sign} {y})"

    def logic(self, sign: str, x: str, y: str, width: int) -> str:
        return f"({x} != {y})" if sign == "^" else f"({x} {sign} {y})"

    def inverse(self, x: str, width: int) -> str:
        return f"(!{x})"

    def select(self, condition: str, x: str, y: str, width: int) -> str:
        return f"select({y}, {x}, {condition})"

    def convert(self, x: str, source: str, kind: str, width: int) -> str:
        return f"{self.type(kind, width)}({x})"

    def view(self, x: str, source: str, kind: str, width: int) -> str:
        return f"bitcast<{self.type(kind, width)}>({x})"

    def join(self, lanes: Sequence[str], kind: str) -> str:
        return f"vec4<{TYPES[kind]}>({', '.join(lanes)})"

    def loop(self, name: str, begin: str, end: str, step: int) -> str:
        return f"for (var {name} = {begin}; {name} < {end}; {name} += {step}i)"

    def multiply_add(self, x: str, y: str, z: str) -> str:
        return f"fma({x}, {y}, {z})"

    def function(
        self, name: str, params: Sequence[tuple[str, str, int]], kind: str, width: int
    ) -> str:
        listed = ", ".join(f"{n}: {self.type(k, w)}" for n, k, w in params)
        return f"fn {name}({listed}) -> {self.type(kind, width)}"
