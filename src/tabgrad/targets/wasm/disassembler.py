"""Modules as text: what the encoder made, instruction by instruction, for TABGRAD_DEBUG=5.

The text is WebAssembly's own text format, so that other tools read it and give the same bytes back.
It covers the modules that `encoder` writes (functions over one imported memory), not any module.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from tabgrad.errors import FormatError

TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}


def _names(first: int, text: str) -> dict[int, str]:
    """Numbered names: a word ending in ":" goes before those after it, "-" is an unused number."""
    names: dict[int, str] = {}
    prefix, number = "", first
    for word in text.split():
        if word.endswith(":"):
            prefix = word[:-1] + "."
            continue
        if word != "-":
            names[number] = prefix + word
        number += 1
    return names


_COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
_FLOAT_COMPARE = "eq ne lt gt le ge"
_INTEGER = "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"
_FLOAT = "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign"

# Instructions without immediates.
PLAIN: Mapping[int, str] = {
    0x00: "unreachable",
    0x0F: "return",
    0x1A: "drop",
    0x1B: "select",
    **_names(
        0x45,
        f"""i32: eqz {_COMPARE} i64: eqz {_COMPARE} f32: {_FLOAT_COMPARE} f64: {_FLOAT_COMPARE}
        i32: {_INTEGER} i64: {_INTEGER} f32: {_FLOAT} f64: {_FLOAT}
        i32: wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u
        i64: extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u
        f32: convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64
        f64: convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32
        i32: reinterpret_f32 i64: reinterpret_f64 f32: reinterpret_i32 f64: reinterpret_i64
        i32: extend8_s extend16_s i64: extend8_s extend16_s extend32_s""",
    ),
}
INDEXED: Mapping[int, str] = {
    0x0C: "br", 0x0D: "br_if", 0x10: "call", 0x20: "local.get", 0x21: "local.set",
    0x22: "local.tee",
}  # fmt: skip
MEMORY: Mapping[int, str] = _names(
    0x28,
    """i32: load i64: load f32: load f64: load i32: load8_s load8_u load16_s load16_u
    i64: load8_s load8_u load16_s load16_u load32_s load32_u
    i32: store i64: store f32: store f64: store i32: store8 store16 i64: store8 store16 store32""",
)
SATURATING: Mapping[int, str] = _names(
    0,
    """i32: trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u
    i64: trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u""",
)
ATOMIC: Mapping[int, str] = {
    0x00: "memory.atomic.notify", 0x01: "memory.atomic.wait32", 0x10: "i32.atomic.load",
    0x17: "i32.atomic.store", 0x1E: "i32.atomic.rmw.add", 0x48: "i32.atomic.rmw.cmpxchg",
}  # fmt: skip

_VECTOR_FLOAT = "sqrt add sub mul div min max pmin pmax"
SIMD: Mapping[int, str] = _names(
    0,
    f"""v128: load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u load8_splat
    load16_splat load32_splat load64_splat store const i8x16: shuffle swizzle splat i16x8: splat
    i32x4: splat i64x2: splat f32x4: splat f64x2: splat
    i8x16: extract_lane_s extract_lane_u replace_lane
    i16x8: extract_lane_s extract_lane_u replace_lane i32x4: extract_lane replace_lane
    i64x2: extract_lane replace_lane f32x4: extract_lane replace_lane
    f64x2: extract_lane replace_lane
    i8x16: {_COMPARE} i16x8: {_COMPARE} i32x4: {_COMPARE} f32x4: {_FLOAT_COMPARE}
    f64x2: {_FLOAT_COMPARE} v128: not and andnot or xor bitselect any_true load8_lane load16_lane
    load32_lane load64_lane store8_lane store16_lane store32_lane store64_lane load32_zero
    load64_zero f32x4: demote_f64x2_zero f64x2: promote_low_f32x4
    i8x16: abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u
    f32x4: ceil floor trunc nearest
    i8x16: shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u
    f64x2: ceil floor i8x16: min_s min_u max_s max_u f64x2: trunc i8x16: avgr_u
    i16x8: extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u
    i32x4: extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u
    i16x8: abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u
    extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u
    shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u
    f64x2: nearest i16x8: mul min_s min_u max_s max_u - avgr_u
    extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u
    i32x4: abs neg - all_true bitmask - - extend_low_i16x8_s extend_high_i16x8_s
    extend_low_i16x8_u extend_high_i16x8_u shl shr_s shr_u add - - sub - - - mul min_s min_u max_s
    max_u dot_i16x8_s - extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u
    extmul_high_i16x8_u
    i64x2: abs neg - all_true bitmask - - extend_low_i32x4_s extend_high_i32x4_s
    extend_low_i32x4_u extend_high_i32x4_u shl shr_s shr_u add - - sub - - - mul eq ne lt_s gt_s
    le_s ge_s extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u
    f32x4: abs neg - {_VECTOR_FLOAT} f64x2: abs neg - {_VECTOR_FLOAT}
    i32x4: trunc_sat_f32x4_s trunc_sat_f32x4_u f32x4: convert_i32x4_s convert_i32x4_u
    i32x4: trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero
    f64x2: convert_low_i32x4_s convert_low_i32x4_u
    i8x16: relaxed_swizzle i32x4: relaxed_trunc_f32x4_s relaxed_trunc_f32x4_u
    relaxed_trunc_f64x2_s_zero relaxed_trunc_f64x2_u_zero f32x4: relaxed_madd relaxed_nmadd
    f64x2: relaxed_madd relaxed_nmadd i8x16: relaxed_laneselect i16x8: relaxed_laneselect
    i32x4: relaxed_laneselect i64x2: relaxed_laneselect f32x4: relaxed_min relaxed_max
    f64x2: relaxed_min relaxed_max""",
)
_SIMD_LANE = range(21, 35)
_SIMD_MEMORY_LANE = range(84, 92)


class _Bytes:
    """A module's bytes, read one number after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    def signed(self) -> int:
        start = self.at
        result = self.unsigned()
        bits = 7 * (self.at - start)
        return result - (1 << bits) if result >> (bits - 1) else result

    def name(self) -> str:
        return self.take(self.unsigned()).decode()


def disassemble(binary: bytes) -> str:
    """The module as WebAssembly text.

    Raises:
        FormatError: for bytes that are no module of the encoder's.

    Example:
        >>> from tabgrad.targets.wasm.builder import I32, Module
        >>> module = Module()
        >>> f = module.function("next", [I32], [I32], export=True)
        >>> f.return_(f.params[0] + 1)
        >>> print(disassemble(module.encode(names=True)))
        (module
          (import "tabgrad" "memory" (memory 1 65536))
          (func $next (param i32) (result i32)  ;; 8 bytes
            local.get 0
            i32.const 1
            i32.add
            return
          )
          (export "next" (func 0))
        )
    """
    if binary[:8] != b"\0asm\1\0\0\0":
        raise FormatError(f"expected a WebAssembly module; received {binary[:8]!r}...")
    reader = _Bytes(binary[8:])
    sections: dict[int, _Bytes] = {}
    while reader.at < len(reader.data):
        kind = reader.byte()
        sections[kind] = _Bytes(reader.take(reader.unsigned()))
    return "\n".join(_module(sections))


def _module(sections: dict[int, _Bytes]) -> Iterator[str]:
    yield "(module"
    yield f"  {_import(sections[2])}"
    types = [_type(sections[1]) for _ in range(sections[1].unsigned())]
    used = sections.get(3, _Bytes(b"\0"))
    signatures = [types[used.unsigned()] for _ in range(used.unsigned())]
    labels = _labels(sections.get(0))
    bodies = sections.get(10, _Bytes(b"\0"))
    bodies.unsigned()
    for number, signature in enumerate(signatures):
        size = bodies.unsigned()
        label = f" ${labels[number]}" if number in labels else ""
        body = _Bytes(bodies.take(size))
        yield f"  (func{label}{signature}{_locals(body)}  ;; {size} bytes"
        yield from _instructions(body)
        yield "  )"
    exports = sections.get(7, _Bytes(b"\0"))
    for _ in range(exports.unsigned()):
        name, _, index = exports.name(), exports.byte(), exports.unsigned()
        yield f'  (export "{name}" (func {index}))'
    yield ")"


def _import(reader: _Bytes) -> str:
    if reader.unsigned() != 1:
        raise FormatError("expected a module that imports its memory and nothing else")
    module, name, _, flags = reader.name(), reader.name(), reader.byte(), reader.byte()
    low, high = reader.unsigned(), reader.unsigned()
    shared = " shared" if flags & 2 else ""
    return f'(import "{module}" "{name}" (memory {low} {high}{shared}))'


def _type(reader: _Bytes) -> str:
    reader.byte()
    text = ""
    for word in ("param", "result"):
        kinds = [TYPES[reader.byte()] for _ in range(reader.unsigned())]
        if kinds:
            text += f" ({word} {' '.join(kinds)})"
    return text


def _labels(reader: _Bytes | None) -> dict[int, str]:
    """Names of functions, made unique: text refers to functions by them."""
    if reader is None or reader.name() != "name" or reader.byte() != 1:
        return {}
    reader.unsigned()
    found = {reader.unsigned(): reader.name() for _ in range(reader.unsigned())}
    names = list(found.values())
    return {i: name if names.count(name) == 1 else f"{name}.{i}" for i, name in found.items()}


def _locals(reader: _Bytes) -> str:
    kinds: list[str] = []
    for _ in range(reader.unsigned()):
        count = reader.unsigned()
        kinds += [TYPES[reader.byte()]] * count
    return f" (local {' '.join(kinds)})" if kinds else ""


def _instructions(reader: _Bytes) -> Iterator[str]:
    depth = 2
    while reader.at < len(reader.data):
        op = reader.byte()
        if op == 0x0B:
            depth -= 1
            if depth > 1:
                yield "  " * depth + "end"
        elif op == 0x05:
            yield "  " * (depth - 1) + "else"
        elif op in (0x02, 0x03, 0x04):
            kind = reader.byte()
            result = "" if kind == 0x40 else f" (result {TYPES[kind]})"
            yield "  " * depth + ("block", "loop", "if")[op - 2] + result
            depth += 1
        else:
            yield "  " * depth + _instruction(op, reader)


def _instruction(op: int, reader: _Bytes) -> str:
    if op in PLAIN:
        return PLAIN[op]
    if op in INDEXED:
        return f"{INDEXED[op]} {reader.unsigned()}"
    if op in MEMORY:
        return MEMORY[op] + _place(MEMORY[op], reader)
    if op == 0x0E:
        targets = [str(reader.unsigned()) for _ in range(reader.unsigned() + 1)]
        return f"br_table {' '.join(targets)}"
    if op in (0x41, 0x42):
        return f"{'i32' if op == 0x41 else 'i64'}.const {reader.signed()}"
    if op == 0x43:
        return f"f32.const {_float(reader.take(4))}"
    if op == 0x44:
        return f"f64.const {_float(reader.take(8))}"
    if op == 0xFC:
        return _bulk(reader)
    if op == 0xFE:
        name = _known(ATOMIC, reader.unsigned(), "atomic instruction")
        return name + _place(name, reader)
    if op == 0xFD:
        return _simd(reader)
    raise FormatError(f"no WebAssembly instruction is known for the byte {op:#x}")


def _bulk(reader: _Bytes) -> str:
    op = reader.unsigned()
    if op in (10, 11):
        reader.take(12 - op)  # the memories, of which there is one
        return "memory.copy" if op == 10 else "memory.fill"
    return _known(SATURATING, op, "instruction after 0xfc")


def _simd(reader: _Bytes) -> str:
    op = reader.unsigned()
    name = _known(SIMD, op, "vector instruction")
    if op == 12:
        words = struct.unpack("<4I", reader.take(16))
        return f"{name} i32x4 {' '.join(f'{word:#x}' for word in words)}"
    if op == 13:
        return f"{name} {' '.join(map(str, reader.take(16)))}"
    if op in _SIMD_LANE:
        return f"{name} {reader.byte()}"
    if op in _SIMD_MEMORY_LANE:
        return f"{name}{_place(name, reader)} {reader.byte()}"
    if op <= 11 or op in (92, 93):
        return name + _place(name, reader)
    return name


def _known(names: Mapping[int, str], op: int, what: str) -> str:
    if op not in names:
        raise FormatError(f"no {what} has the number {op}")
    return names[op]


def _place(name: str, reader: _Bytes) -> str:
    """The constant offset of an access, and its alignment where that is not the usual one."""
    align, offset = 1 << reader.unsigned(), reader.unsigned()
    text = f" offset={offset}" if offset else ""
    return text if align == _usual_alignment(name) else f"{text} align={align}"


def _usual_alignment(name: str) -> int:
    kind, _, access = name.partition(".")
    for digits, nbytes in (("8x8", 8), ("16x4", 8), ("32x2", 8), ("64", 8), ("32", 4), ("16", 2)):
        if digits in access:
            return nbytes
    if "8" in access:
        return 1
    return {"i32": 4, "f32": 4, "i64": 8, "f64": 8, "v128": 16, "memory": 4}[kind]


def _float(raw: bytes) -> str:
    """The shortest text that gives the bytes back."""
    value = struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
    if value != value:
        fraction = 23 if len(raw) == 4 else 52
        bits = int.from_bytes(raw, "little")
        sign = "-" if bits >> (8 * len(raw) - 1) else ""
        return f"{sign}nan:{bits & ((1 << fraction) - 1):#x}"
    return value.hex() if value not in (float("inf"), float("-inf")) else str(value)
