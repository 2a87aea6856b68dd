"""What each elementwise primitive is in vector instructions: one table, one line a primitive."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from tabgrad.dtypes import DType
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Expr
from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import I32, F32x4, Function, I32x4, U32x4
from tabgrad.targets.wasm.elements import V, lane_type, normalised


class Emitting(Protocol):
    """What a rule may ask of the evaluator it works for."""

    @property
    def f(self) -> Function: ...
    @property
    def fma(self) -> bool: ...
    @property
    def lanes(self) -> int: ...
    def value(self, expr: Expr) -> V: ...


def constant(expr: Expr) -> V:
    """A constant in all lanes."""
    kind = lane_type(expr.dtype)
    if expr.dtype.kind == "b":
        return kind.const(-1 if expr.value else 0)
    return kind.const(float(expr.value) if kind is F32x4 else int(expr.value))


def combine(e: Emitting, fold: str, x: V, y: V, dtype: DType) -> V:
    """x and y folded together: one step of a reduction or of a scatter."""
    if fold in ("sum", "add"):
        return normalised(x + y, dtype)
    if fold == "prod":
        return normalised(x * y, dtype)
    if fold in ("or", "and"):
        return x | y if fold == "or" else x & y
    if fold not in ("max", "min"):
        raise AssertionError(fold)
    if isinstance(x, F32x4):
        larger = mathlib.maximum if fold == "max" else mathlib.minimum
        return larger(e.f, x, y)
    if dtype.kind == "b":
        return x | y if fold == "max" else x & y
    return x.max(y) if fold == "max" else x.min(y)


def operation(e: Emitting, expr: Expr) -> V:
    """One elementwise primitive."""
    rule = _OPERATIONS.get(expr.op)
    if rule is None:
        raise NotSupportedError(f"internal: the wasm target has no rule for {expr.op}")
    return rule(e, expr, *[e.value(arg) for arg in expr.args])


Rule = Callable[..., V]


def _arithmetic(on_all: Callable[[V, V], V]) -> Rule:
    return lambda e, x, a, b: normalised(on_all(a, b), x.dtype)


def _floats(function: Callable[..., V]) -> Rule:
    return lambda e, x, *args: function(e.f, *args, e.fma)


def _by_kind(on_float: Callable[..., V], on_integer: Callable[..., V]) -> Rule:
    def rule(e: Emitting, x: Expr, *args: V) -> V:
        if isinstance(args[0], F32x4):
            return on_float(e.f, *args)
        return normalised(on_integer(e.f, *args), x.dtype)

    return rule


def _extremum(fold: str) -> Rule:
    return lambda e, x, a, b: combine(e, fold, a, b, x.dtype)


def _compare(test: Callable[[V, V], V]) -> Rule:
    def rule(e: Emitting, x: Expr, a: V, b: V) -> V:
        if x.args[0].dtype.kind == "b":  # masks: True is -1, so compare as 1 and 0
            a, b = a & 1, b & 1
        return test(a, b).view(I32x4)

    return rule


def _cast(e: Emitting, x: Expr, a: V) -> V:
    source, target = x.args[0].dtype, x.dtype
    kind = lane_type(target)
    if target.kind == "b":
        return (a != 0).view(I32x4)
    if source.kind == "b":
        one = constant(Expr("const", target, value=1))
        return (a.view(I32x4) & one.view(I32x4)).view(kind)
    if source.is_float:
        if target.is_float:
            return a
        return mathlib.to_integer(e.f, a, target.bits, target.kind == "i").view(kind)
    if target.is_float:
        return a.to_f32()
    return normalised(a.view(kind), target)


def _shift(e: Emitting, x: Expr, a: V, b: V) -> V:
    """Lane by lane: WASM shifts all lanes by one count. Too large counts give 0 (or the sign)."""
    f, bits = e.f, x.dtype.bits
    value, count = f.once(a), f.once(b)
    uniform = x.args[1].op == "const"
    left = x.op == "shl"
    if uniform:
        n = int(x.args[1].value)
        if not 0 <= n < bits:
            if left or x.dtype.kind == "u":
                return value ^ value
            return value >> 31
        return normalised(value << n if left else value >> n, x.dtype)
    result = f.let(value)
    for lane in range(e.lanes):
        amount = f.let(count.view(I32x4).lane(lane))
        number = value.lane(lane)
        within = (amount >= 0) & (amount < bits)
        kind = type(number)
        amount_here = amount if kind is I32 else amount.view(kind)
        moved = number << amount_here if left else number >> amount_here
        other = kind.const(0) if left or x.dtype.kind == "u" else number >> 31
        result.set(result.with_lane(lane, within.select(f.let(moved), f.let(other))))
    return normalised(result, x.dtype)


def _power(e: Emitting, x: Expr, a: V, b: V) -> V:
    if isinstance(a, F32x4):
        return mathlib.power(e.f, a, b, e.fma)
    return _integer_power(e, x, a, b)


def _integer_power(e: Emitting, x: Expr, a: V, b: V) -> V:
    """By squaring, on all lanes; a negative exponent gives 0 but for bases 1 and -1."""
    f = e.f
    kind = type(a)
    base, exponent = f.let(a), f.let(b)
    result = f.local(kind, kind.const(1))
    if kind is I32x4:
        odd = (exponent & 1) != 0
        sign = f.let(odd.select(base, base * base))
        unit = ((base == 1) | (base == -1)).view(I32x4)
        negative = f.let(exponent < 0)
        inverse = f.let(unit.select(sign, kind.const(0)))
        exponent.set(negative.select(kind.const(0), exponent))
    with f.while_(exponent.view(I32x4).any_true()):
        hit = ((exponent & 1) != 0).view(I32x4)
        result.set(hit.select(result * base, result))
        base.set(base * base)
        exponent.set((exponent.view(U32x4) >> 1).view(kind))
    if kind is I32x4:
        result.set(negative.select(inverse, result))
    return normalised(result, x.dtype)


def _select(e: Emitting, x: Expr, cond: V, a: V, b: V) -> V:
    # relu and its kin: a zero branch needs only the mask.
    if x.args[1].op == "const" and x.dtype.is_float and constant_bits(x.args[1]) == 0:
        return b.view(I32x4).and_not(cond).view(F32x4)
    if x.args[2].op == "const" and x.dtype.is_float and constant_bits(x.args[2]) == 0:
        return (a.view(I32x4) & cond).view(F32x4)
    return mathlib.choose(cond, a, b, e.fma)


def constant_bits(expr: Expr) -> int:
    """The bits of a float32 constant."""
    return int(struct.unpack("<I", struct.pack("<f", expr.value))[0])


def _threefry(e: Emitting, x: Expr, k0: V, k1: V, c0: V, c1: V) -> V:
    return mathlib.threefry2x32(e.f, (k0, k1), (c0, c1))


def _sign(f: Function, a: V) -> V:
    if isinstance(a, U32x4):
        return ((a != 0).view(U32x4)) & 1
    return mathlib.integer_sign(f, a)


_OPERATIONS: dict[str, Rule] = {
    "add": _arithmetic(lambda a, b: a + b),
    "sub": _arithmetic(lambda a, b: a - b),
    "mul": _arithmetic(lambda a, b: a * b),
    "div": lambda e, x, a, b: a / b,
    "neg": lambda e, x, a: normalised(-a, x.dtype),
    "abs": lambda e, x, a: normalised(a if x.dtype.kind in "bu" else abs(a), x.dtype),
    "sign": _by_kind(mathlib.sign, _sign),
    "floor": lambda e, x, a: a.floor(),
    "ceil": lambda e, x, a: a.ceil(),
    "round": lambda e, x, a: a.nearest(),
    "trunc": lambda e, x, a: a.trunc(),
    "sqrt": lambda e, x, a: a.sqrt(),
    "exp": _floats(mathlib.exp),
    "expm1": _floats(mathlib.expm1),
    "log": _floats(mathlib.log),
    "log1p": _floats(mathlib.log1p),
    "sin": _floats(mathlib.sin),
    "cos": _floats(mathlib.cos),
    "tan": _floats(mathlib.tan),
    "tanh": _floats(mathlib.tanh),
    "sigmoid": _floats(mathlib.sigmoid),
    "erf": _floats(mathlib.erf),
    "atan2": _floats(mathlib.atan2),
    "pow": _power,
    "floordiv": _by_kind(mathlib.floor_divide, mathlib.integer_floor_divide),
    "mod": _by_kind(mathlib.floor_mod, mathlib.integer_mod),
    "max": _extremum("max"),
    "min": _extremum("min"),
    "and": lambda e, x, a, b: a & b,
    "or": lambda e, x, a, b: a | b,
    "xor": lambda e, x, a, b: a ^ b,
    "not": lambda e, x, a: ~a if x.dtype.kind != "u" else normalised(~a, x.dtype),
    "shl": _shift,
    "shr": _shift,
    "eq": _compare(lambda a, b: a == b),
    "ne": _compare(lambda a, b: a != b),
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "select": _select,
    "cast": _cast,
    "bitcast": lambda e, x, a: a.view(lane_type(x.dtype)),
    "threefry": _threefry,
    "tag": lambda e, x, a: a,
    "stop": lambda e, x, a: a,
}
