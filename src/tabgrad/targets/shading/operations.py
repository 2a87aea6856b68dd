"""What each elementwise primitive is in a shading language: one table, one line a primitive."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tabgrad.dtypes import DType, float16, wrap
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Expr
from tabgrad.targets.shading import mathlib
from tabgrad.targets.shading.values import Block, Value


def kind_of(block: Block, dtype: DType) -> str:
    """The kind of values of a dtype."""
    return "h" if dtype is float16 and block.dialect.half else dtype.kind


def constant(block: Block, expr: Expr) -> Value:
    """A constant of one lane."""
    if expr.dtype.kind == "b":
        return Value(block, "true" if expr.value else "false", "b")
    return block.const(wrap(expr.value, expr.dtype), kind_of(block, expr.dtype))


def normalised(value: Value, dtype: DType) -> Value:
    """A result computed in 32 bits as one of the dtype: wrapped, or rounded to float16. A shader's
    own conversion may round to either neighbour, so it is only asked for what needs no rounding."""
    if value.kind == "h":
        return value
    if dtype is float16:
        return mathlib.rounded_to_half(value).to(kind_of(value.block, dtype))
    if dtype.itemsize >= 4 or dtype.kind not in "iu":
        return value
    if dtype.kind == "u":
        return value & ((1 << dtype.bits) - 1)
    return (value << (32 - dtype.bits)) >> (32 - dtype.bits)


def combine(fold: str, x: Value, y: Value, dtype: DType) -> Value:
    """x and y folded together: one step of a reduction or of a scatter."""
    if fold in ("sum", "add", "dot"):
        return normalised(x + y, dtype)
    if fold == "prod":
        return normalised(x * y, dtype)
    if fold in ("or", "and"):
        return x | y if fold == "or" else x & y
    return _extreme(fold, x, y)


def _extreme(fold: str, x: Value, y: Value) -> Value:
    if x.kind == "b":
        return x | y if fold == "max" else x & y
    if x.kind in "fh":
        larger = mathlib.maximum if fold == "max" else mathlib.minimum
        return larger(x.to("f"), y.to("f")).to(x.kind)
    return x.call(fold, y)


def sort_key(value: Value) -> Value:
    """What a sort compares: truths as numbers."""
    return value.select(value.block.const(1, "u"), 0) if value.kind == "b" else value


def sorts_before(x: Value, y: Value) -> Value:
    """Whether a key comes before another; NaN come last."""
    less = x < y
    return less | (~x.is_nan() & y.is_nan()) if x.kind in "fh" else less


def operation(block: Block, expr: Expr, args: list[Any]) -> Any:
    """One elementwise primitive."""
    rule = _OPERATIONS.get(expr.op)
    if rule is None:
        raise NotSupportedError(f"internal: shaders have no rule for {expr.op}")
    if not block.dialect.half or expr.op in _OF_HALVES:
        return rule(expr, *args)
    # All other functions are those of float32, of which one that gives back its argument is exact.
    found = rule(expr, *[arg.to("f") if arg.kind == "h" else arg for arg in args])
    narrow = expr.dtype is float16 and not isinstance(found, tuple)
    return found.to("h") if narrow else found


Rule = Callable[..., Any]


def _arithmetic(on_all: Callable[..., Value]) -> Rule:
    return lambda x, *args: normalised(on_all(*args), x.dtype)


def _divide(x: Expr, a: Value, b: Value) -> Value:
    known = x.args[1]
    if known.op == "const" and known.value == 0:  # 0 / 0 must not be folded to an infinity
        bits = 0x80000000 if math.copysign(1.0, float(known.value)) < 0 else 0
        b = Value(b.block, b.block.dialect.special(bits), "f")
    return normalised(a / b, x.dtype)


def _floats(function: Callable[..., Value]) -> Rule:
    return lambda x, *args: normalised(function(*args), x.dtype)


def _builtin(name: str) -> Rule:
    return lambda x, a: a.call(name)


def _absolute(x: Expr, a: Value) -> Value:
    return a if x.dtype.kind in "bu" else normalised(a.call("abs"), x.dtype)


def _sign(x: Expr, a: Value) -> Value:
    const = a.block.const
    if a.kind == "f":
        sign = (a > 0.0).select(1.0, (a < 0.0).select(-1.0, const(0.0, "f")))
        return a.is_nan().select(a, sign)
    if a.kind == "u":
        return a.differs(0).select(const(1, "u"), 0)
    return (a > 0).select(const(1, "i"), (a < 0).select(const(-1, "i"), 0))


def _division(on_floats: Callable[..., Value], on_integers: Callable[..., Value]) -> Rule:
    def rule(x: Expr, a: Value, b: Value) -> Value:
        return normalised((on_floats if x.dtype.is_float else on_integers)(a, b), x.dtype)

    return rule


def _extremum(fold: str) -> Rule:
    return lambda x, a, b: _extreme(fold, a, b)


def _compare(sign: str) -> Rule:
    def rule(x: Expr, a: Value, b: Value) -> Value:
        if x.args[0] is x.args[1] and a.kind in "fh" and sign in ("==", "!="):
            return a.is_nan() if sign == "!=" else ~a.is_nan()
        if a.kind == "b":
            const = a.block.const
            a, b = (v.select(const(1, "u"), 0) for v in (a, b))
        return a._compare(sign, b)

    return rule


def _cast(x: Expr, a: Value) -> Value:
    source, target = x.args[0].dtype, x.dtype
    const = a.block.const
    if target.kind == "b":
        return a if a.kind == "b" else a.differs(0)
    if a.kind == "b":
        return a.select(const(1, target.kind), 0)
    if source.is_float and target.is_float:
        return a if target.itemsize >= source.itemsize else normalised(a, target)
    if source.is_float:
        return mathlib.to_integer(a, target.bits, target.kind == "i")
    if target.is_float:
        return normalised(mathlib.to_float(a) if source.bits == 32 else a.to("f"), target)
    return normalised(a.view(target.kind), target)


def _bitcast(x: Expr, a: Value) -> Value:
    source, target = x.args[0].dtype, x.dtype
    if source is target:
        return a
    if source is float16:
        a = mathlib.half_to_bits(a)
    if target is float16:
        return mathlib.half_from_bits(a.view("u") & 0xFFFF)
    if a.kind == "b":
        return a.select(a.block.const(1, target.kind), 0)
    if target.kind == "b":
        return a.differs(0)
    return normalised(a.view(target.kind), target)


def _shift(x: Expr, a: Value, b: Value) -> Value:
    """Too large counts give 0 (or the sign)."""
    let, bits, kind = a.block.let, x.dtype.bits, x.dtype.kind
    count = let(b.view("u"))
    within = count < bits
    safe = let(count & 31)
    if x.op == "shl":
        return within.select(normalised(a << safe, x.dtype), a.block.const(0, kind))
    other = a >> 31 if kind == "i" else a.block.const(0, kind)
    return within.select(a >> safe, other)


def _power(x: Expr, a: Value, b: Value) -> Value:
    on_all = mathlib.power if x.dtype.is_float else mathlib.integer_power
    return normalised(on_all(a, b), x.dtype)


def _inverse(x: Expr, a: Value) -> Value:
    return normalised(~a, x.dtype)


# What machines do correctly with floats of 16 bits.
_OF_HALVES = frozenset(
    """add sub mul neg abs floor ceil round trunc max min eq ne lt le select tag stop""".split()
)

_OPERATIONS: dict[str, Rule] = {
    "add": _arithmetic(lambda a, b: a + b),
    "sub": _arithmetic(lambda a, b: a - b),
    "mul": _arithmetic(lambda a, b: a * b),
    "div": _divide,
    "neg": _arithmetic(lambda a: -a if a.kind != "u" else 0 - a),
    "abs": _absolute,
    "sign": _sign,
    "floor": _builtin("floor"),
    "ceil": _builtin("ceil"),
    "round": _builtin("round"),
    "trunc": _builtin("trunc"),
    "sqrt": _arithmetic(lambda a: a.call("sqrt")),
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
    "floordiv": _division(mathlib.floor_divide, mathlib.integer_floor_divide),
    "mod": _division(mathlib.floor_mod, mathlib.integer_mod),
    "gcd": lambda x, a, b: normalised(mathlib.integer_gcd(a, b), x.dtype),
    "max": _extremum("max"),
    "min": _extremum("min"),
    "and": lambda x, a, b: a & b,
    "or": lambda x, a, b: a | b,
    "xor": lambda x, a, b: a ^ b,
    "not": _inverse,
    "shl": _shift,
    "shr": _shift,
    "eq": _compare("=="),
    "ne": _compare("!="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "select": lambda x, c, a, b: c.select(a, b),
    "cast": _cast,
    "bitcast": _bitcast,
    "threefry": lambda x, *args: mathlib.threefry2x32(*args),
    "tag": lambda x, a: a,
    "stop": lambda x, a: a,
}
