"""What each elementwise primitive is in vector instructions: one table, one line a primitive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tabgrad.dtypes import DType, float16, wrap
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Expr, walk
from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import (
    I32,
    I64,
    F64x2,
    Function,
    I32x4,
    I64x2,
    U32x4,
    U64x2,
    Vector,
)
from tabgrad.targets.wasm.elements import V, lane_type, mask_for, normalised, truth
from tabgrad.targets.wasm.mathlib import conversions, double, half


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
    return kind.const(wrap(expr.value, expr.dtype))


def combine(e: Emitting, fold: str, x: V, y: V, dtype: DType) -> V:
    """x and y folded together: one step of a reduction or of a scatter."""
    if fold in ("sum", "add"):
        return normalised(e.f, x + y, dtype)
    if fold == "prod":
        return normalised(e.f, x * y, dtype)
    if fold in ("or", "and"):
        return x | y if fold == "or" else x & y
    if fold not in ("max", "min"):
        raise AssertionError(fold)
    if dtype.is_float:
        # NaN wins. Of zeros that differ in sign the first is as good as the second.
        y = e.f.once(y)
        best = x.pmax(y) if fold == "max" else x.pmin(y)
        return (best.bits() | (y != y)).view(type(x))
    return _extreme_integer(e, fold, x, y, dtype)


def _extreme_integer(e: Emitting, fold: str, x: V, y: V, dtype: DType) -> V:
    if dtype.kind == "b":
        return x | y if fold == "max" else x & y
    if dtype.itemsize == 8:
        return (conversions.long_maximum if fold == "max" else conversions.long_minimum)(e.f, x, y)
    return x.max(y) if fold == "max" else x.min(y)


def operation(e: Emitting, expr: Expr) -> V:
    """One elementwise primitive."""
    rule = _OPERATIONS.get(expr.op)
    if rule is None:
        raise NotSupportedError(f"internal: the wasm target has no rule for {expr.op}")
    return rule(e, expr, *[e.value(arg) for arg in expr.args])


# About how many instructions a primitive takes in 32-bit lanes, where that is more than a few.
_COSTS = {
    "exp": 20, "expm1": 25, "log": 30, "log1p": 40, "sin": 60, "cos": 60, "tan": 80, "tanh": 30,
    "sigmoid": 25, "erf": 45, "atan2": 40, "pow": 150, "floordiv": 25, "mod": 60, "threefry": 130,
    "gcd": 500,
}  # fmt: skip


def cost_of(roots: Sequence[Expr]) -> int:
    """About how many instructions it takes to compute expressions for one vector."""
    cost = 0
    for x in walk(roots):
        if x.op in ("load", "const"):
            continue
        cost += _COSTS.get(x.op, 1) * (1 if x.dtype.itemsize < 8 else 2)
        if x.dtype is float16:
            cost += 10  # it is rounded
    return cost


Rule = Callable[..., V]


def _arithmetic(on_all: Callable[..., V]) -> Rule:
    return lambda e, x, *args: normalised(e.f, on_all(*args), x.dtype)


def _exact(function: Callable[[V], V]) -> Rule:
    """What gives a float its dtype holds, but may overflow an integer."""

    def rule(e: Emitting, x: Expr, a: V) -> V:
        return function(a) if x.dtype.is_float else normalised(e.f, function(a), x.dtype)

    return rule


def _floats(name: str) -> Rule:
    """A function of the math library, which has it for either width of lanes."""

    def rule(e: Emitting, x: Expr, *args: V) -> V:
        library: Any = double if x.dtype.itemsize == 8 else mathlib
        return normalised(e.f, getattr(library, name)(e.f, *args, e.fma), x.dtype)

    return rule


def _exponential(e: Emitting, x: Expr, a: V) -> V:
    return _floats("falling_exp" if x.value else "exp")(e, x, a)


def _division(name: str, on_integer: Callable[..., V], on_long: Callable[..., V]) -> Rule:
    def rule(e: Emitting, x: Expr, a: V, b: V) -> V:
        if x.dtype.is_float:
            library: Any = double if x.dtype.itemsize == 8 else mathlib
            return normalised(e.f, getattr(library, name)(e.f, a, b), x.dtype)
        divide = on_long if x.dtype.itemsize == 8 else on_integer
        return normalised(e.f, divide(e.f, a, b), x.dtype)

    return rule


def _common_divisor(e: Emitting, x: Expr, a: V, b: V) -> V:
    on_all = conversions.long_gcd if x.dtype.itemsize == 8 else mathlib.integer_gcd
    return normalised(e.f, on_all(e.f, a, b), x.dtype)


def _extremum(fold: str) -> Rule:
    """The larger or the smaller; NaN when either is NaN; +0 is above -0."""

    def rule(e: Emitting, x: Expr, a: V, b: V) -> V:
        if not x.dtype.is_float:
            return _extreme_integer(e, fold, a, b, x.dtype)
        for value, limit, number in ((a, b, x.args[1]), (b, a, x.args[0])):
            # One instruction, which gives its first operand where that is NaN, and no other zero.
            if number.op == "const" and (number.value < 0 or number.value > 0):
                return value.pmax(limit) if fold == "max" else value.pmin(limit)
            if fold == "max" and _is_zero(number):
                return value.pmax(0.0) + 0.0  # which makes -0 +0
        larger = mathlib.maximum if fold == "max" else mathlib.minimum
        return larger(e.f, a, b)

    return rule


def _compare(test: Callable[[V, V], V]) -> Rule:
    def rule(e: Emitting, x: Expr, a: V, b: V) -> V:
        if x.args[0].dtype.kind == "b":  # masks: True is -1, so compare as 1 and 0
            a, b = a & 1, b & 1
        return truth(e.f, test(a, b))

    return rule


def _cast(e: Emitting, x: Expr, a: V) -> V:
    f, source, target = e.f, x.args[0].dtype, x.dtype
    kind = lane_type(target)
    if target.kind == "b":
        return truth(f, a != 0)
    if source.kind == "b":
        one = constant(Expr("const", target, value=1))
        return (mask_for(kind, a).view(I32x4) & one.view(I32x4)).view(kind)
    if source.is_float and target.is_float:
        return _between_floats(f, a, target)
    if source.is_float:
        if source.itemsize < 8 and target.itemsize < 8:
            return mathlib.to_integer(f, a, target.bits, target.kind == "i").view(kind)
        wide = a.to_f64_low() if source.itemsize < 8 else a
        convert = double.to_integer if target.itemsize == 8 else conversions.double_to_integer
        return convert(f, wide, target.bits, target.kind == "i").view(kind)
    if target.is_float:
        (number,) = x.args
        if source.bits == 32 and number.op == "shr" and number.args[1].op == "const":
            # Signed, which is one instruction and not many, where the highest bit is 0 anyway.
            a = a.view(I32x4) if 0 < number.args[1].value < 32 else a
        return normalised(f, _float_from_integer(f, a, target), target)
    if source.itemsize < 8 and target.itemsize == 8:
        return conversions.widen(a).view(kind)
    if source.itemsize == 8 and target.itemsize < 8:
        a = conversions.narrow(f, a)
    return normalised(f, a.view(kind), target)


def _between_floats(f: Function, a: V, target: DType) -> V:
    if isinstance(a, F64x2):
        if target is float16:
            return half.rounded_from_double(f, a)
        return a if target.itemsize == 8 else a.to_f32_low()
    return a.to_f64_low() if target.itemsize == 8 else normalised(f, a, target)


def _float_from_integer(f: Function, a: V, target: DType) -> V:
    # By way of float32 no float16 is rounded twice: what float32 rounds is infinite in float16.
    if a.LANES == 2:
        wide = target.itemsize == 8
        return double.from_integer(f, a) if wide else conversions.integer_to_single(f, a)
    return a.to_f64_low() if target.itemsize == 8 else a.to_f32()


def _bitcast(e: Emitting, x: Expr, a: V) -> V:
    f, source, target = e.f, x.args[0].dtype, x.dtype
    if source is target:
        return a
    if source is float16:
        a = half.to_bits(f, a)
    if target is float16:
        return half.from_bits(f, a.view(U32x4))
    if source.kind == "b":
        return (a & 1).view(lane_type(target))
    if target.kind == "b":
        return truth(f, a != 0)
    return normalised(f, a.view(lane_type(target)), target)


def _shift(e: Emitting, x: Expr, a: V, b: V) -> V:
    """Lane by lane: WASM shifts all lanes by one count. Too large counts give 0 (or the sign)."""
    f, bits = e.f, x.dtype.bits
    value, count = f.once(a), f.once(b)
    uniform = x.args[1].op == "const"
    left = x.op == "shl"
    kind, top = (I64, 63) if bits == 64 else (I32, 31)
    if uniform:
        n = int(x.args[1].value)
        if not 0 <= n < bits:
            if left or x.dtype.kind == "u":
                return value ^ value
            return value >> top
        return normalised(f, value << n if left else value >> n, x.dtype)
    result = f.let(value)
    for lane in range(e.lanes):
        amount = f.let(count.view(I64x2 if bits == 64 else I32x4).lane(lane))
        number = value.lane(lane)
        within = (amount >= 0) & (amount < bits)
        amount_here = amount if type(number) is kind else amount.view(type(number))
        moved = number << amount_here if left else number >> amount_here
        other = type(number).const(0) if left or x.dtype.kind == "u" else number >> top
        result.set(result.with_lane(lane, within.select(f.let(moved), f.let(other))))
    return normalised(f, result, x.dtype)


def _power(e: Emitting, x: Expr, a: V, b: V) -> V:
    if x.dtype.is_float:
        return _floats("power")(e, x, a, b)
    return _integer_power(e, x, a, b)


def _integer_power(e: Emitting, x: Expr, a: V, b: V) -> V:
    """By squaring, on all lanes; a negative exponent gives 0 but for bases 1 and -1."""
    f = e.f
    kind = type(a)
    base, exponent = f.let(a), f.let(b)
    result = f.local(kind, kind.const(1))
    signed = kind in (I32x4, I64x2)
    unsigned = U32x4 if kind.LANES == 4 else U64x2
    if signed:
        odd = (exponent & 1) != 0
        sign = f.let(odd.select(base, base * base))
        unit = (base == 1) | (base == -1)
        negative = f.let(exponent < 0)
        inverse = f.let(unit.select(sign, kind.const(0)))
        exponent.set(negative.select(kind.const(0), exponent))
    with f.while_(exponent.view(I32x4).any_true()):
        hit = (exponent & 1) != 0
        result.set(hit.select(result * base, result))
        base.set(base * base)
        exponent.set((exponent.view(unsigned) >> 1).view(kind))
    if signed:
        result.set(negative.select(inverse, result))
    return normalised(f, result, x.dtype)


def _select(e: Emitting, x: Expr, cond: V, a: V, b: V) -> V:
    kind: type[Vector[Any, Any]] = lane_type(x.dtype)
    mask = mask_for(kind, cond)
    # relu and its kin: a zero branch needs only the mask.
    if _is_zero(x.args[1]) and x.dtype.is_float:
        return b.bits().and_not(mask).view(kind)
    if _is_zero(x.args[2]) and x.dtype.is_float:
        return (a.bits() & mask).view(kind)
    return mathlib.choose(mask, a, b, e.fma)


def _is_zero(expr: Expr) -> bool:
    """Whether an expression is the constant 0.0, all of whose bits are 0."""
    return expr.op == "const" and expr.value == 0 and math.copysign(1, expr.value) > 0


def _threefry(e: Emitting, x: Expr, k0: V, k1: V, c0: V, c1: V) -> V:
    return mathlib.threefry2x32(e.f, (k0, k1), (c0, c1))


def _sign(e: Emitting, x: Expr, a: V) -> V:
    f = e.f
    if x.dtype.is_float:
        library: Any = double if x.dtype.itemsize == 8 else mathlib
        return library.sign(f, a)
    if isinstance(a, (U32x4, U64x2)):
        return ((a != 0).view(type(a))) & 1
    return normalised(f, mathlib.integer_sign(f, a), x.dtype)


_OPERATIONS: dict[str, Rule] = {
    "add": _arithmetic(lambda a, b: a + b),
    "sub": _arithmetic(lambda a, b: a - b),
    "mul": _arithmetic(lambda a, b: a * b),
    "div": _arithmetic(lambda a, b: a / b),
    "neg": _exact(lambda a: -a),
    "abs": lambda e, x, a: a if x.dtype.kind in "bu" else _exact(abs)(e, x, a),
    "sign": _sign,
    "floor": lambda e, x, a: a.floor(),
    "ceil": lambda e, x, a: a.ceil(),
    "round": lambda e, x, a: a.nearest(),
    "trunc": lambda e, x, a: a.trunc(),
    "sqrt": _arithmetic(lambda a: a.sqrt()),
    "exp": _exponential,
    "expm1": _floats("expm1"),
    "log": _floats("log"),
    "log1p": _floats("log1p"),
    "sin": _floats("sin"),
    "cos": _floats("cos"),
    "tan": _floats("tan"),
    "tanh": _floats("tanh"),
    "sigmoid": _floats("sigmoid"),
    "erf": _floats("erf"),
    "atan2": _floats("atan2"),
    "pow": _power,
    "floordiv": _division(
        "floor_divide", mathlib.integer_floor_divide, conversions.long_floor_divide
    ),
    "mod": _division("floor_mod", mathlib.integer_mod, conversions.long_mod),
    "gcd": _common_divisor,
    "max": _extremum("max"),
    "min": _extremum("min"),
    "and": lambda e, x, a, b: a & b,
    "or": lambda e, x, a, b: a | b,
    "xor": lambda e, x, a, b: a ^ b,
    "not": lambda e, x, a: ~a if x.dtype.kind != "u" else normalised(e.f, ~a, x.dtype),
    "shl": _shift,
    "shr": _shift,
    "eq": _compare(lambda a, b: a == b),
    "ne": _compare(lambda a, b: a != b),
    "lt": _compare(conversions.less),
    "le": _compare(conversions.less_equal),
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "threefry": _threefry,
    "tag": lambda e, x, a: a,
    "stop": lambda e, x, a: a,
}
