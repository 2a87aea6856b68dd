"""x ** y: 2 ** (y * log2(x)), with the logarithm to 65 bits, since y multiplies its error.

A number of more than 53 bits is a pair: a head of 26 bits, so that products of heads are exact, and
the rest. (Relaxed multiply-add cannot give the error of a product, because it need not fuse.)
"""

from __future__ import annotations

from tabgrad.targets.coefficients import DOUBLE
from tabgrad.targets.wasm.builder import F64x2, Function
from tabgrad.targets.wasm.mathlib.arithmetic import choose, horner, multiply_add
from tabgrad.targets.wasm.mathlib.exponential import scale, split, split_exponent
from tabgrad.targets.wasm.mathlib.power import negative_bases

INFINITY = float("inf")

HEAD = -(1 << 27)  # keeps the sign, the exponent and 26 bits of the significand

# Pairs: 1/3 and 2 / log(2).
THIRD = (0.3333333283662796, 4.967053731282552e-09)
TWO_LOG2_E = (2.885390043258667, 3.851925982253235e-08)

# double pow (tools/fit_math.py): (atanh(s) / s - 1 - s**2 / 3) / s**4 in s**2,
# |s| <= 3 - 2 sqrt(2), error 2**-66.4 relative to atanh(s)
ATANH_TAIL = (
    0.05994235449134474, 0.058374430822605225, 0.06668156972407413, 0.07692278482732244,
    0.09090909434430108, 0.11111111108774487, 0.14285714285722528, 0.1999999999999999,
)  # fmt: skip

Pair = tuple[F64x2, F64x2]


def power(f: Function, x: F64x2, y: F64x2, fma: bool) -> F64x2:
    """x ** y with the special cases of C's pow: x ** 0 and 1 ** y are 1, even for NaN."""
    with f.scope() as scope:
        x, y = f.once(x), f.once(y)
        size = f.let(abs(x))
        result = _positive_power(f, size, y, fma)
        _zeros_and_infinities(f, result, size, y, fma)
        negative_bases(f, result, x, y)
        result.set((result.bits() | (x != x) | (y != y)).view(F64x2))
        one = (y == 0.0) | (x == 1.0) | (x == -1.0) & (abs(y) == INFINITY)
        return scope.keep(choose(one, F64x2.const(1.0), result, fma))


def _positive_power(f: Function, x: F64x2, y: F64x2, fma: bool) -> F64x2:
    log2_head, log2_rest = _log2(f, x, fma)
    # Every logarithm but 0 is above 2**-54, so beyond this limit all powers are 0 or infinity; and
    # nothing overflows below it.
    y = f.let(y.pmax(-(2.0**70)).pmin(2.0**70))
    y_head = f.let(_cut(y))
    high = f.let(y_head * log2_head)
    low = f.let(multiply_add(y, log2_rest, (y - y_head) * log2_head, fma))
    inside = f.let(high.pmax(-1100.0).pmin(1100.0))
    low.set(((high == inside) & low.bits()).view(F64x2))
    bits, n = split(f, f.let(inside + low), 1.0, 2 * DOUBLE.bias, fma)
    r = f.let((inside - n) + low)
    return f.let(scale(f, horner(r, DOUBLE.exp2, fma), bits))


def _log2(f: Function, x: F64x2, fma: bool) -> Pair:
    """log2(m * 2**e) = e + 2 / log(2) * atanh(s), where s = (m - 1) / (m + 1)."""
    m, exponent = split_exponent(f, x)
    above, below = f.let(m - 1.0), f.let(m + 1.0)
    below_head = f.let(_cut(below))
    below_rest = m - (below_head - 1.0)
    s = f.let(_cut(above / below))
    rest = ((above - s * below_head) - s * below_rest) / below
    s_pair = (s, f.let(rest))
    z = _multiply(f, s_pair, s_pair, fma)
    square = f.let(z[0] + z[1])
    tail = f.let(square * horner(square, ATANH_TAIL, fma))
    third = f.let(_cut(tail + THIRD[0]))
    series = _multiply(f, z, (third, f.let((THIRD[0] - third) + (tail + THIRD[1]))), fma)
    whole = f.let(_cut(series[0] + 1.0))
    factor = (whole, f.let((1.0 - whole) + series[0] + series[1]))
    scaled = (F64x2.const(TWO_LOG2_E[0]), F64x2.const(TWO_LOG2_E[1]))
    high, low = _multiply(f, _multiply(f, s_pair, factor, fma), scaled, fma)
    head = f.let(_cut(exponent + (high + low)))
    return head, f.let((exponent - head) + high + low)


def _cut(x: F64x2) -> F64x2:
    return (x.bits() & HEAD).view(F64x2)


def _multiply(f: Function, a: Pair, b: Pair, fma: bool) -> Pair:
    product = f.let(a[0] * b[0])
    rest = f.let(multiply_add(a[0], b[1], multiply_add(a[1], b[0], a[1] * b[1], fma), fma))
    head = f.let(_cut(product + rest))
    return head, f.let((product - head) + rest)


def _zeros_and_infinities(f: Function, result: F64x2, size: F64x2, y: F64x2, fma: bool) -> None:
    zero = f.let(size == 0.0)
    grows = (y > 0.0) ^ zero
    limit = (grows & DOUBLE.infinity_bits).view(F64x2)
    result.set(choose(zero | (size == INFINITY), limit, result, fma))
