"""x ** y: 2 ** (y * log2(x)) in 64-bit floats, since y multiplies the logarithm's error."""

from __future__ import annotations

from tabgrad.targets.coefficients import DOUBLE, SINGLE
from tabgrad.targets.wasm.builder import F32x4, F64x2, Function, I32x4
from tabgrad.targets.wasm.mathlib.arithmetic import (
    F,
    choose,
    halves,
    horner,
    join,
    multiply_add,
    precision_of,
)
from tabgrad.targets.wasm.mathlib.exponential import split_exponent

INFINITY = float("inf")

# The low bits hold the integer plus the exponent's bias.
ROUND = DOUBLE.round + DOUBLE.bias

# log2((1 + s) / (1 - s)) / s in s**2, s in [0, 3 - 2 sqrt(2)], degree 5, error 2**-45.1 relative
LOG2_RATIO = (
    0.28289928922043, 0.3199057544059222, 0.4122092510733123, 0.5770779423766108,
    0.961796694113307, 2.88539008177785,
)  # fmt: skip

# 2**r, |r| <= 0.5, degree 6, error 2**-29.0 relative
EXP2 = (
    0.00015345814836912065, 0.001339993106294812, 0.009618488941871032, 0.05550328777303131,
    0.2402264689084445, 0.6931472057371615, 1.0000000005541252,
)  # fmt: skip


def power(f: Function, x: F32x4, y: F32x4, fma: bool) -> F32x4:
    """x ** y with the special cases of C's pow: x ** 0 and 1 ** y are 1, even for NaN."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        size = f.let(abs(x))
        m, exponent = split_exponent(f, size)
        parts = [
            _power(f, *operands, fma)
            for operands in zip(
                halves(f, m),
                (exponent.bits(), exponent.bits().shuffle(exponent.bits(), (2, 3, 2, 3))),
                halves(f, y),
                strict=True,
            )
        ]
        result = f.let(join(*parts))
        _zeros_and_infinities(f, result, size, y, fma)
        negative_bases(f, result, x, y)
        result.set((result.bits() | (x != x)).view(F32x4))
        one = (y == 0.0) | (x == 1.0) | (x == -1.0) & (abs(y) == INFINITY)
        return scope.keep(choose(one, F32x4.const(1.0), result, fma))


def _power(f: Function, m: F64x2, exponent: I32x4, y: F64x2, fma: bool) -> F64x2:
    """(m * 2**exponent) ** y for two lanes; the exponents are float32 in the low lanes."""
    s = f.let((m - 1.0) / (m + 1.0))
    square = f.let(s * s)
    log2 = multiply_add(horner(square, LOG2_RATIO, fma), s, exponent.view(F32x4).to_f64_low(), fma)
    # Wide of every float32 result, narrow enough for a 64-bit exponent; keeps NaN.
    t = f.let((log2 * y).pmax(-300.0).pmin(300.0))
    rounded = f.let(t + ROUND)
    r = f.let(t - (rounded - ROUND))
    return f.let(horner(r, EXP2, fma) * (rounded.bits() << 52).view(F64x2))


def _zeros_and_infinities(f: Function, result: F32x4, size: F32x4, y: F32x4, fma: bool) -> None:
    zero = f.let(size == 0.0)
    grows = (y > 0.0) ^ zero
    limit = (grows & SINGLE.infinity_bits).view(F32x4)
    limit = (limit.bits() | (y != y)).view(F32x4)
    result.set(choose(zero | (size == INFINITY), limit, result, fma))


def negative_bases(f: Function, result: F, x: F, y: F) -> None:
    """NaN for a broken power of a negative number, minus for an odd one."""
    half = f.let(y * 0.5)
    whole = f.let(y.trunc() == y)
    odd = whole & (half.trunc() != half)
    broken = ((x < 0.0) & (x > -INFINITY)).and_not(whole | (abs(y) == INFINITY))
    sign = precision_of(x).sign
    result.set((result.bits() | broken | odd & x.bits() & sign).view(type(result)))
