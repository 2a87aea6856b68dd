"""Elementwise primitives: each output element depends on the same element of each source.

Sources have equal shapes and dtypes: broadcasting and promotion are explicit nodes, put there by
`tabgrad.ops`. Semantics at the edges are NumPy's, except where a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabgrad.dtypes import bool_, uint32
from tabgrad.errors import DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import all_batched
from tabgrad.ir.graph import Aval, Node, Primitive, Rows, RowsMixedError, register

FLOAT, NUMBER, INTEGER, LOGICAL, ANY = "f", "iuf", "iu", "biu", "biuf"


class Elementwise(Primitive):
    """Common rules: one shape, one dtype of an accepted kind."""

    family = "elementwise"
    kinds = ANY

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        first = srcs[0]
        for other in srcs[1:]:
            if other.shape != first.shape:
                raise ShapeError(
                    f"{self.name} expected sources of one shape; received "
                    f"{[list(s.shape) for s in srcs]}"
                )
            if other.dtype is not first.dtype:
                raise DtypeError(
                    f"{self.name} expected sources of one dtype; received "
                    f"{[s.dtype.name for s in srcs]}"
                )
        if first.dtype.kind not in self.kinds:
            raise DtypeError(
                f"{self.name} expected {_KINDS[self.kinds]}; received {first.dtype.name}"
            )
        return (Aval(first.shape, self.result(first, params)),)

    def result(self, first: Aval, params: Mapping[str, Any]) -> Any:
        """The dtype of the result."""
        return first.dtype

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        result = b.make(self.name, *all_batched(srcs, batched), **node.params)
        return [b.proj(result, i) for i in range(len(result.outs))] if node.outs[1:] else [result]

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        found = [r for r in srcs if r is not None]
        if any(r != found[0] for r in found):
            raise RowsMixedError(f"{self.name} combines values whose rows lie on different axes")
        return (found[0] if found else None), ()


_KINDS = {
    FLOAT: "a floating-point dtype",
    NUMBER: "a numeric dtype (not bool)",
    INTEGER: "an integer dtype",
    LOGICAL: "bool or an integer dtype",
    ANY: "any dtype",
}

Rule = Callable[..., Node]
PairRule = Callable[..., tuple[Node, Node]]


def _unary(name: str, kinds: str, meaning: str, grad: Rule | None) -> None:
    """Register a unary primitive; `grad(g, x, y)` is the cotangent of x (None: no gradient)."""

    class Unary(Elementwise):
        __doc__ = meaning

        def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
            g = grads[0]
            if grad is None or g is None:
                return (None,)
            return (grad(g, node.srcs[0], node),)

    Unary.name, Unary.kinds = name, kinds
    Unary.__name__ = Unary.__qualname__ = name.title()
    register(Unary)


def _one_minus_square(y: Node) -> Node:
    return b.sub(b.like(y, 1), b.mul(y, y))


_unary("neg", NUMBER, "-x", lambda g, x, y: b.neg(g))
_unary("abs", NUMBER, "|x|", lambda g, x, y: b.mul(g, b.unary("sign", x)))
_unary("sign", NUMBER, "-1, 0 or 1; NaN stays", None)
_unary("floor", FLOAT, "largest integer <= x", None)
_unary("ceil", FLOAT, "smallest integer >= x", None)
_unary("round", FLOAT, "nearest integer, halves to even", None)
_unary("trunc", FLOAT, "x without its fraction", None)
_unary("sqrt", FLOAT, "square root", lambda g, x, y: b.div(b.scale(g, 0.5), y))
_unary("exp", FLOAT, "e**x", lambda g, x, y: b.mul(g, y))
_unary("expm1", FLOAT, "e**x - 1", lambda g, x, y: b.mul(g, b.add(y, b.like(y, 1))))
_unary("log", FLOAT, "natural logarithm", lambda g, x, y: b.div(g, x))
_unary("log1p", FLOAT, "log(1 + x)", lambda g, x, y: b.div(g, b.add(x, b.like(x, 1))))
_unary("sin", FLOAT, "sine", lambda g, x, y: b.mul(g, b.unary("cos", x)))
_unary("cos", FLOAT, "cosine", lambda g, x, y: b.neg(b.mul(g, b.unary("sin", x))))
_unary("tan", FLOAT, "tangent", lambda g, x, y: b.mul(g, b.add(b.mul(y, y), b.like(y, 1))))
_unary("tanh", FLOAT, "hyperbolic tangent", lambda g, x, y: b.mul(g, _one_minus_square(y)))
_unary(
    "sigmoid",
    FLOAT,
    "1 / (1 + e**-x)",
    lambda g, x, y: b.mul(g, b.mul(y, b.sub(b.like(y, 1), y))),
)
_unary(
    "erf",
    FLOAT,
    "error function (Abramowitz and Stegun 7.1.1)",
    lambda g, x, y: b.mul(g, b.scale(b.unary("exp", b.neg(b.mul(x, x))), 2 / math.sqrt(math.pi))),
)
_unary("not", LOGICAL, "logical not for bool, bitwise for integers", None)
_unary("stop", ANY, "x, through which no gradient flows", None)


def _binary(name: str, kinds: str, meaning: str, grad: PairRule | None) -> None:
    """Register a binary primitive; `grad(g, x, y, z)` gives the cotangents of x and y."""

    class Binary(Elementwise):
        __doc__ = meaning

        def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
            g = grads[0]
            if grad is None or g is None:
                return (None, None)
            return grad(g, *node.srcs, node)

    Binary.name, Binary.kinds = name, kinds
    Binary.__name__ = Binary.__qualname__ = name.title()
    register(Binary)


def _pow_grad(g: Node, x: Node, y: Node, z: Node) -> tuple[Node, Node]:
    # d/dx at y == 0 is 0 even for x == 0, where x**(y-1) would be infinite.
    zero = b.like(y, 0)
    y_is_zero = b.eq(y, zero)
    slope = b.mul(y, b.make("pow", x, b.select(y_is_zero, b.like(y, 1), b.sub(y, b.like(y, 1)))))
    # d/dy is z*log(x), and 0 where x is 0 and z is; a negative x has no real derivative: NaN.
    x_is_zero = b.eq(x, zero)
    log_x = b.unary("log", b.select(x_is_zero, b.like(x, 1), x))
    return b.mul(g, b.select(y_is_zero, zero, slope)), b.mul(g, b.mul(z, log_x))


def _extremum_grad(g: Node, x: Node, y: Node, z: Node) -> tuple[Node, Node]:
    # Ties share the cotangent in halves, as in JAX.
    half, zero = b.scale(g, 0.5), b.like(g, 0)
    tie = b.eq(x, y)
    to_x = b.select(tie, half, b.select(b.eq(x, z), g, zero))
    to_y = b.select(tie, half, b.select(b.eq(y, z), g, zero))
    return to_x, to_y


def _mod_grad(g: Node, x: Node, y: Node, z: Node) -> tuple[Node, Node]:
    return g, b.neg(b.mul(g, b.unary("floor", b.div(x, y))))


def _atan2_grad(g: Node, x: Node, y: Node, z: Node) -> tuple[Node, Node]:
    scaled = b.div(g, b.add(b.mul(x, x), b.mul(y, y)))
    return b.mul(scaled, y), b.neg(b.mul(scaled, x))


_binary("add", NUMBER, "x + y", lambda g, x, y, z: (g, g))
_binary("sub", NUMBER, "x - y", lambda g, x, y, z: (g, b.neg(g)))
_binary("mul", NUMBER, "x * y", lambda g, x, y, z: (b.mul(g, y), b.mul(g, x)))
_binary(
    "div",
    FLOAT,
    "x / y",
    lambda g, x, y, z: (b.div(g, y), b.neg(b.div(b.mul(g, z), y))),
)
_binary("floordiv", NUMBER, "floor(x / y); an integer divided by 0 gives 0", None)
_binary("mod", NUMBER, "x - y*floor(x/y), the sign of y; integers modulo 0 give 0", _mod_grad)
_binary("gcd", INTEGER, "greatest common divisor, not negative; gcd(0, 0) is 0", None)
_binary("pow", NUMBER, "x**y; integers to a negative power follow NumPy's rounding to 0", _pow_grad)
_binary("atan2", FLOAT, "the angle of the point (y, x)", _atan2_grad)
_binary("max", ANY, "the larger; NaN if either is", _extremum_grad)
_binary("min", ANY, "the smaller; NaN if either is", _extremum_grad)
_binary("and", LOGICAL, "logical or bitwise and", None)
_binary("or", LOGICAL, "logical or bitwise or", None)
_binary("xor", LOGICAL, "logical or bitwise exclusive or", None)
_binary("shl", INTEGER, "x << y; 0 when y is out of range", None)
_binary("shr", INTEGER, "x >> y, arithmetic for signed x", None)


def _compare(name: str, kinds: str, meaning: str) -> None:
    class Compare(Elementwise):
        __doc__ = meaning

        def result(self, first: Aval, params: Mapping[str, Any]) -> Any:
            return bool_

        def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
            return (None, None)

    Compare.name, Compare.kinds = name, kinds
    Compare.__name__ = Compare.__qualname__ = name.title()
    register(Compare)


_compare("eq", ANY, "x == y; NaN equals nothing")
_compare("ne", ANY, "x != y; true for NaN")
_compare("lt", ANY, "x < y")
_compare("le", ANY, "x <= y")


@register
class Select(Elementwise):
    """x where the condition holds, else y. The side not taken has no influence, not even as NaN."""

    name = "select"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        cond, x, y = srcs
        if cond.dtype is not bool_:
            raise DtypeError(f"select expected a bool condition; received {cond.dtype.name}")
        if not cond.shape == x.shape == y.shape:
            raise ShapeError(
                f"select expected sources of one shape; received {[list(s.shape) for s in srcs]}"
            )
        if x.dtype is not y.dtype:
            raise DtypeError(
                f"select expected branches of one dtype; received {x.dtype.name}, {y.dtype.name}"
            )
        return (x,)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, cond = grads[0], node.srcs[0]
        if g is None:
            return (None, None, None)
        zero = b.like(g, 0)
        return None, b.select(cond, g, zero), b.select(cond, zero, g)


@register
class Cast(Elementwise):
    """Conversion to another dtype: floats truncate to integers and saturate out of range (NaN gives
    0), integers wrap, anything but 0 is True."""

    name = "cast"

    def result(self, first: Aval, params: Mapping[str, Any]) -> Any:
        return params["dtype"]

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        g, source = grads[0], node.srcs[0].dtype
        if g is None or not (source.is_float and node.dtype.is_float):
            return (None,)
        return (b.cast(g, source),)


@register
class Bitcast(Elementwise):
    """The same bits read as another dtype of the same size."""

    name = "bitcast"

    def result(self, first: Aval, params: Mapping[str, Any]) -> Any:
        dtype = params["dtype"]
        if dtype.itemsize != first.dtype.itemsize:
            raise DtypeError(
                f"bitcast expected a dtype of {first.dtype.itemsize} bytes as {first.dtype.name} "
                f"has; received {dtype.name}"
            )
        return dtype

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return (None,)


@register
class Tag(Elementwise):
    """x itself under a name of its own (`id`), for gradients with respect to this place."""

    name = "tag"

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return grads


@register
class Threefry(Elementwise):
    """Threefry-2x32 with 20 rounds (Salmon et al., SC 2011): key (k0, k1), counter (c0, c1)."""

    name = "threefry"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        (aval,) = super().infer(srcs, params)
        if aval.dtype is not uint32:
            raise DtypeError(f"threefry expected uint32; received {aval.dtype.name}")
        return aval, aval

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return (None,) * 4
