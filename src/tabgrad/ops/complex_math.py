"""Complex exponentials, logarithms, roots, trigonometric and hyperbolic functions.

Branch cuts and values at infinities, NaNs and signed zeros are those of C99 (Annex G), which the
Array API repeats. The inverse functions follow Kahan, "Branch cuts for complex elementary
functions, or much ado about nothing's sign bit" (1987). In float32 parts are accurate to some 1e-6
of the number's magnitude.

Each function here is what the one of the same name calls for complex arguments.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tabgrad import dtypes
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops.arguments import complex_parts, complex_rule
from tabgrad.ops.complex_numbers import complex_aligned, modulus_of, ordered
from tabgrad.ops.elementwise import reciprocal, square
from tabgrad.tensor import Tensor


class Z(NamedTuple):
    """A complex value as its two nodes."""

    re: Node
    im: Node


def _z(x: Any) -> Z:
    return Z(*complex_parts(x))


# Short names for real nodes


def _c(node: Node, value: float) -> Node:
    return b.like(node, value)


def _f(name: str, x: Node) -> Node:
    return b.make(name, x)


def _is(x: Node, value: float) -> Node:
    return b.eq(x, _c(x, value))


def _and(x: Node, y: Node) -> Node:
    return b.make("and", x, y)


def _or(x: Node, y: Node) -> Node:
    return b.make("or", x, y)


def _not(x: Node) -> Node:
    return b.make("not", x)


def _infinite(x: Node) -> Node:
    return _is(_f("abs", x), math.inf)


def _finite(x: Node) -> Node:
    return b.lt(_f("abs", x), _c(x, math.inf))


def _nan(x: Node) -> Node:
    return b.make("ne", x, x)


def _negative(x: Node) -> Node:
    """True where the sign bit is set (False for NaN): 1/x tells -0 from 0."""
    zero = _is(x, 0.0)
    return b.lt(b.select(zero, b.div(_c(x, 1.0), x), x), _c(x, 0.0))


def _signed(size: Node, like: Node) -> Node:
    """|size| with the sign of `like`."""
    size = _f("abs", size)
    return b.select(_negative(like), b.neg(size), size)


def _limits(node: Node) -> tuple[float, float]:
    """The logarithms of the largest and smallest normal number."""
    return (709.0, -708.0) if node.dtype is dtypes.float64 else (88.0, -87.0)


def _asinh(x: Node) -> Node:
    size = _f("abs", x)
    one = _c(x, 1.0)
    huge = b.lt(_c(x, 1e9), size)
    tame = b.select(huge, one, size)
    square_ = b.mul(tame, tame)
    root = _f("sqrt", b.add(square_, one))
    near = _f("log1p", b.add(tame, b.div(square_, b.add(root, one))))
    far = b.add(_f("log", b.select(huge, size, one)), _c(x, math.log(2)))
    return _signed(b.select(huge, far, near), x)


def _sinh_cosh(x: Node) -> tuple[Node, Node, Node]:
    """sinh and cosh of x, both divided by the third where they would overflow."""
    size = _f("abs", x)
    over = b.lt(_c(x, _limits(x)[0]), size)
    scale = b.select(over, _f("exp", b.scale(size, 0.5)), _c(x, 1.0))
    tame = b.select(over, _c(x, 0.0), size)
    t = _f("expm1", tame)
    sinh = b.scale(b.add(t, b.div(t, b.add(t, _c(x, 1.0)))), 0.5)
    grown = _f("exp", tame)
    cosh = b.scale(b.add(grown, b.div(_c(x, 1.0), grown)), 0.5)
    half = b.scale(scale, 0.5)
    return _signed(b.select(over, half, sinh), x), b.select(over, half, cosh), scale


# Exponential and logarithm


@complex_rule("exp")
def _exp(x: Any) -> Tensor:
    return Tensor(*_exp_of(_z(x)))


def _exp_of(z: Z) -> Z:
    over = b.lt(_c(z.re, _limits(z.re)[0]), z.re)
    # e**re may overflow where e**re * cos(im) does not: multiply by its root twice.
    size = _f("exp", b.select(over, b.scale(z.re, 0.5), z.re))
    again = b.select(over, size, _c(size, 1.0))
    cos, sin = _f("cos", z.im), _f("sin", z.im)
    re, im = b.mul(b.mul(size, cos), again), b.mul(b.mul(size, sin), again)
    strange = _not(_finite(z.im))
    # A direction that does not exist does no harm to 0, and leaves infinity its size.
    grown = _is(z.re, math.inf)
    re = b.select(_and(strange, grown), _c(re, math.inf), re)
    vanished = _is(z.re, -math.inf)
    re = b.select(_and(strange, vanished), _c(re, 0.0), re)
    im = b.select(_and(strange, vanished), _c(im, 0.0), im)
    return Z(re, b.select(_is(z.im, 0.0), z.im, im))


@complex_rule("expm1")
def _expm1(x: Any) -> Tensor:
    z = _z(x)
    whole = _exp_of(z)
    half = _f("sin", b.scale(z.im, 0.5))
    # e**x cos y - 1 = expm1(x) cos y - 2 sin(y/2)**2
    near = b.sub(b.mul(_f("expm1", z.re), _f("cos", z.im)), b.scale(b.mul(half, half), 2.0))
    tame = _and(b.lt(_f("abs", z.re), _c(z.re, 1.0)), _finite(z.im))
    re = b.select(tame, near, b.sub(whole.re, _c(z.re, 1.0)))
    re = b.select(_is(z.im, 0.0), _f("expm1", z.re), re)
    return Tensor(b.select(_is(z.re, 0.0), b.select(_is(z.im, 0.0), _c(re, 0.0), re), re), whole.im)


@complex_rule("log")
def _log(x: Any) -> Tensor:
    return Tensor(*_log_of(_z(x)))


def _log_of(z: Z) -> Z:
    return Z(_log_modulus(z), b.make("atan2", z.im, z.re))


def _log_modulus(z: Z) -> Node:
    """log |z|, without overflow and accurate near |z| = 1."""
    x, y = _f("abs", z.re), _f("abs", z.im)
    infinite = _or(_is(x, math.inf), _is(y, math.inf))
    large, small = ordered(x, y)
    one = _c(large, 1.0)
    plain = _or(infinite, _is(large, 0.0))
    ratio = b.div(b.select(plain, one, small), b.select(plain, one, large))
    half = b.scale(_f("log1p", b.mul(ratio, ratio)), 0.5)
    far = b.add(_f("log", b.select(plain, one, large)), half)
    near = _and(b.lt(_c(large, 0.5), large), b.lt(large, _c(large, 2.0)))
    tame, other = b.select(near, large, one), b.select(near, small, _c(small, 0.0))
    excess = b.add(b.mul(b.sub(tame, one), b.add(tame, one)), b.mul(other, other))
    result = b.select(near, b.scale(_f("log1p", excess), 0.5), far)
    result = b.select(_is(large, 0.0), _c(large, -math.inf), result)
    return b.select(infinite, _c(large, math.inf), result)


@complex_rule("log1p")
def _log1p(x: Any) -> Tensor:
    z = _z(x)
    one = _c(z.re, 1.0)
    moved = Z(b.add(z.re, one), z.im)
    # log |1 + z| = log1p(x (2 + x) + y**2) / 2, near 0
    near = _and(b.lt(_f("abs", z.re), _c(z.re, 0.5)), b.lt(_f("abs", z.im), _c(z.re, 0.5)))
    x_, y = b.select(near, z.re, _c(one, 0.0)), b.select(near, z.im, _c(one, 0.0))
    inside = b.add(b.mul(x_, b.add(x_, _c(one, 2.0))), b.mul(y, y))
    re = b.select(near, b.scale(_f("log1p", inside), 0.5), _log_modulus(moved))
    return Tensor(re, b.make("atan2", z.im, moved.re))


@complex_rule("log2")
def _log2(x: Any) -> Tensor:
    return Tensor(*(b.scale(part, 1 / math.log(2)) for part in _log_of(_z(x))))


@complex_rule("log10")
def _log10(x: Any) -> Tensor:
    return Tensor(*(b.scale(part, 1 / math.log(10)) for part in _log_of(_z(x))))


@complex_rule("logaddexp")
def _logaddexp(x1: Any, x2: Any) -> Tensor:
    (a, bi), (c, di) = complex_aligned("logaddexp", x1, x2)
    zero = _c(a, 0.0)
    first, second = Z(a, zero if bi is None else bi), Z(c, zero if di is None else di)
    # log(e**p + e**q) = p + log(1 + e**(q - p)), p the one with the larger real part
    swap = b.lt(first.re, second.re)
    p = Z(*(b.select(swap, v, u) for u, v in zip(first, second, strict=True)))
    q = Z(*(b.select(swap, u, v) for u, v in zip(first, second, strict=True)))
    rest = _log1p(Tensor(*_exp_of(Z(b.sub(q.re, p.re), b.sub(q.im, p.im)))))
    re, im = complex_parts(rest)
    return Tensor(b.add(p.re, re), b.add(p.im, im))


@complex_rule("power")
def _power(x1: Any, x2: Any) -> Tensor:
    if isinstance(x2, (int, float)) and not isinstance(x2, bool):
        if x2 == 1:
            return Tensor(*_z(x1))
        if x2 == 2:
            return square(x1)
        if x2 == 0.5:
            return _sqrt(x1)
    (a, bi), (c, di) = complex_aligned("power", x1, x2)
    zero, one = _c(a, 0.0), _c(a, 1.0)
    base, exponent = Z(a, zero if bi is None else bi), Z(c, zero if di is None else di)
    # x**y = e**(y log x), with the size of the result as a real power, which is the more accurate.
    log_size, angle = _log_modulus(base), b.make("atan2", base.im, base.re)
    size = modulus_of(*base)
    nothing = _is(size, 0.0)
    length = b.mul(
        b.make("pow", b.select(nothing, one, size), exponent.re),
        _f("exp", b.neg(b.mul(exponent.im, angle))),
    )
    turned = b.add(
        b.mul(exponent.re, angle),
        b.mul(exponent.im, b.select(nothing, zero, log_size)),
    )
    re, im = b.mul(length, _f("cos", turned)), b.mul(length, _f("sin", turned))
    to_nothing = _and(_is(exponent.re, 0.0), _is(exponent.im, 0.0))
    # 0**y is 0 for a positive real part of y, and has no value otherwise.
    zeroed = b.select(b.lt(zero, exponent.re), zero, _c(a, math.nan))
    re, im = b.select(nothing, zeroed, re), b.select(nothing, zeroed, im)
    return Tensor(b.select(to_nothing, one, re), b.select(to_nothing, zero, im))


# Square root


@complex_rule("sqrt")
def _sqrt(x: Any) -> Tensor:
    return Tensor(*_sqrt_of(_z(x)))


def _sqrt_of(z: Z) -> Z:
    large = b.make("max", _f("abs", z.re), _f("abs", z.im))
    top, bottom = (1e300, 1e-290) if z.re.dtype is dtypes.float64 else (1e37, 1e-30)
    one = _c(large, 1.0)
    # By powers of four, whose roots are exact, so that |re| + |z| neither overflows nor vanishes.
    shrink = b.lt(_c(large, top), large)
    grow = b.lt(large, _c(large, bottom))
    factor = b.select(shrink, _c(one, 2.0**-4), b.select(grow, _c(one, 2.0**60), one))
    back = b.select(shrink, _c(one, 2.0**2), b.select(grow, _c(one, 2.0**-30), one))
    plain = _is(large, 0.0)
    re, im = b.mul(z.re, factor), b.mul(z.im, factor)
    re = b.select(plain, one, re)
    root = _f("sqrt", b.scale(b.add(_f("abs", re), modulus_of(re, im)), 0.5))
    other = b.div(_f("abs", im), b.scale(root, 2.0))
    left = b.lt(re, _c(re, 0.0))
    out_re = b.mul(b.select(left, other, root), back)
    out_im = b.mul(b.select(left, root, other), back)
    zero, infinity = _c(one, 0.0), _c(one, math.inf)
    out_re, out_im = b.select(plain, zero, out_re), b.select(plain, zero, out_im)
    # On the real axis at infinity: -inf has the root 0 + inf i, inf the root inf + 0 i.
    low, high = _is(z.re, -math.inf), _is(z.re, math.inf)
    out_re = b.select(_and(low, _finite(z.im)), zero, b.select(high, infinity, out_re))
    out_re = b.select(_and(low, _nan(z.im)), z.im, out_re)
    out_im = b.select(low, infinity, b.select(_and(high, _finite(z.im)), zero, out_im))
    out_im = b.select(_and(high, _nan(z.im)), z.im, out_im)
    steep = _infinite(z.im)
    out_re, out_im = b.select(steep, infinity, out_re), b.select(steep, infinity, out_im)
    return Z(out_re, _signed(out_im, z.im))


@complex_rule("rsqrt")
def _rsqrt(x: Any) -> Tensor:
    return reciprocal(_sqrt(x))


# Hyperbolic and trigonometric functions: sin z = -i sinh(iz), cos z = cosh(iz)


def _times_i(z: Z) -> Z:
    return Z(b.neg(z.im), z.re)


def _over_i(z: Z) -> Z:
    return Z(z.im, b.neg(z.re))


def _sinh_of(z: Z) -> Z:
    sinh, cosh, scale = _sinh_cosh(z.re)
    re = b.mul(b.mul(sinh, _f("cos", z.im)), scale)
    im = b.mul(b.mul(cosh, _f("sin", z.im)), scale)
    strange = _not(_finite(z.im))
    re = b.select(_and(_infinite(z.re), strange), z.re, re)
    re = b.select(_and(_is(z.re, 0.0), strange), z.re, re)
    return Z(re, b.select(_is(z.im, 0.0), z.im, im))


def _cosh_of(z: Z) -> Z:
    sinh, cosh, scale = _sinh_cosh(z.re)
    re = b.mul(b.mul(cosh, _f("cos", z.im)), scale)
    im = b.mul(b.mul(sinh, _f("sin", z.im)), scale)
    strange = _not(_finite(z.im))
    re = b.select(_and(_infinite(z.re), strange), _f("abs", z.re), re)
    # Where one factor of sinh(re) sin(im) is 0, so is the product, whatever the other is.
    still = _and(_or(_is(z.re, 0.0), _is(z.im, 0.0)), _nan(im))
    zero = b.select(_negative(z.re), _c(im, -0.0), _c(im, 0.0))
    zero = b.select(_negative(z.im), b.neg(zero), zero)
    return Z(re, b.select(still, zero, im))


def _tanh_of(z: Z) -> Z:
    one = _c(z.re, 1.0)
    size = _f("abs", z.re)
    far = b.lt(_c(size, 8.0 if z.re.dtype is dtypes.float32 else 18.0), size)
    x = b.select(far, _c(size, 0.0), z.re)
    t = _f("tan", z.im)
    sinh, cosh, _ = _sinh_cosh(x)
    beta = b.add(one, b.mul(t, t))
    below = b.add(one, b.mul(beta, b.mul(sinh, sinh)))
    re = b.div(b.mul(beta, b.mul(cosh, sinh)), below)
    im = b.div(t, below)
    # Far out: 1 with the sign of re, and 4 sin cos e**(-2 |re|).
    decayed = _f("exp", b.scale(size, -2.0))
    slope = b.mul(b.mul(_f("sin", z.im), _f("cos", z.im)), b.scale(decayed, 4.0))
    strange = _not(_finite(z.im))
    slope = b.select(_infinite(z.re), _signed(_c(slope, 0.0), z.im), slope)
    lost = _and(strange, _not(_infinite(z.re)))
    re = b.select(far, b.select(lost, _c(one, math.nan), _signed(one, z.re)), re)
    im = b.select(far, slope, im)
    re = b.select(_is(z.re, 0.0), z.re, re)
    return Z(re, b.select(_is(z.im, 0.0), z.im, im))


@complex_rule("sinh")
def _sinh(x: Any) -> Tensor:
    return Tensor(*_sinh_of(_z(x)))


@complex_rule("cosh")
def _cosh(x: Any) -> Tensor:
    return Tensor(*_cosh_of(_z(x)))


@complex_rule("tanh")
def _tanh(x: Any) -> Tensor:
    return Tensor(*_tanh_of(_z(x)))


@complex_rule("sin")
def _sin(x: Any) -> Tensor:
    return Tensor(*_over_i(_sinh_of(_times_i(_z(x)))))


@complex_rule("cos")
def _cos(x: Any) -> Tensor:
    return Tensor(*_cosh_of(_times_i(_z(x))))


@complex_rule("tan")
def _tan(x: Any) -> Tensor:
    return Tensor(*_over_i(_tanh_of(_times_i(_z(x)))))


# Inverse functions


def _far(z: Z) -> Node:
    """Where 1 no longer matters beside z**2, or a part is not finite."""
    limit = 1e18 if z.re.dtype is dtypes.float64 else 1e9
    large = b.make("max", _f("abs", z.re), _f("abs", z.im))
    near = b.make("le", large, _c(large, limit))  # False for NaN
    return _not(near)


def _tamed(z: Z, far: Node) -> Z:
    return Z(*(b.select(far, _c(part, 0.5), part) for part in z))


def _log_twice(z: Z) -> Node:
    return b.add(_log_modulus(z), _c(z.re, math.log(2)))


def _roots(z: Z) -> tuple[Z, Z]:
    """sqrt(1 - z) and sqrt(1 + z), the sign of an imaginary zero kept."""
    one = _c(z.re, 1.0)
    return _sqrt_of(Z(b.sub(one, z.re), b.neg(z.im))), _sqrt_of(Z(b.add(one, z.re), z.im))


def _asin_of(z: Z) -> Z:
    far = _far(z)
    tame = _tamed(z, far)
    minus, plus = _roots(tame)
    product = b.sub(b.mul(minus.re, plus.re), b.mul(minus.im, plus.im))
    re = b.make("atan2", tame.re, product)
    im = _asinh(b.sub(b.mul(minus.re, plus.im), b.mul(minus.im, plus.re)))
    far_re = b.make("atan2", z.re, _f("abs", z.im))
    far_im = _signed(_log_twice(z), z.im)
    re, im = b.select(far, far_re, re), b.select(far, far_im, im)
    return Z(b.select(_is(z.re, 0.0), z.re, re), im)


def _acos_of(z: Z) -> Z:
    far = _far(z)
    tame = _tamed(z, far)
    minus, plus = _roots(tame)
    re = b.scale(b.make("atan2", minus.re, plus.re), 2.0)
    im = _asinh(b.sub(b.mul(plus.re, minus.im), b.mul(plus.im, minus.re)))
    far_re = b.make("atan2", _f("abs", z.im), z.re)
    far_im = _signed(_log_twice(z), b.neg(z.im))
    upright = _and(_is(z.re, 0.0), _nan(z.im))
    re = b.select(far, b.select(upright, _c(re, math.pi / 2), far_re), re)
    return Z(re, b.select(far, far_im, im))


def _atanh_of(z: Z) -> Z:
    far = _far(z)
    tame = _tamed(z, far)
    one = _c(z.re, 1.0)
    x, y = _f("abs", tame.re), tame.im
    gap = b.sub(one, x)
    distance = b.add(b.mul(gap, gap), b.mul(y, y))
    re = b.scale(_f("log1p", b.div(b.scale(x, 4.0), distance)), 0.25)
    below = b.sub(b.mul(gap, b.add(one, x)), b.mul(y, y))
    im = b.scale(b.make("atan2", b.scale(y, 2.0), below), 0.5)
    # Far out: re(1/z), and a right angle.
    strange = _or(_infinite(z.re), _infinite(z.im))
    squares = modulus_of(*z)
    far_re = b.select(strange, _c(re, 0.0), b.div(b.div(_f("abs", z.re), squares), squares))
    far_im = _signed(_c(im, math.pi / 2), z.im)
    lost = _or(_nan(z.im), _and(_nan(z.re), _not(_infinite(z.im))))
    far_im = b.select(lost, _c(im, math.nan), far_im)
    re, im = b.select(far, far_re, re), b.select(far, far_im, im)
    re = b.select(_is(z.re, 0.0), _c(re, 0.0), re)
    return Z(_signed(re, z.re), im)


@complex_rule("asin")
@complex_rule("arcsin")
def _asin(x: Any) -> Tensor:
    return Tensor(*_asin_of(_z(x)))


@complex_rule("acos")
@complex_rule("arccos")
def _acos(x: Any) -> Tensor:
    return Tensor(*_acos_of(_z(x)))


@complex_rule("atan")
@complex_rule("arctan")
def _atan(x: Any) -> Tensor:
    return Tensor(*_over_i(_atanh_of(_times_i(_z(x)))))


@complex_rule("asinh")
@complex_rule("arcsinh")
def _asinh_rule(x: Any) -> Tensor:
    return Tensor(*_over_i(_asin_of(_times_i(_z(x)))))


@complex_rule("acosh")
@complex_rule("arccosh")
def _acosh(x: Any) -> Tensor:
    z = _z(x)
    turned = _acos_of(z)
    # acosh z = ±i acos z, the sign that makes the real part positive.
    lost = _and(_nan(z.im), _is(z.re, 0.0))
    re = _f("abs", turned.im)
    im = _signed(turned.re, z.im)
    return Tensor(re, b.select(lost, _c(im, math.pi / 2), im))


@complex_rule("atanh")
@complex_rule("arctanh")
def _atanh(x: Any) -> Tensor:
    return Tensor(*_atanh_of(_z(x)))
