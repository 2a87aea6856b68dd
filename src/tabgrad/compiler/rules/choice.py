"""Rules of comparisons, logic, `select` and conversions."""

from __future__ import annotations

from tabgrad.compiler.rules.matching import constant, holds, is_a, lossless, result_of
from tabgrad.dtypes import bool_
from tabgrad.ir import build as b
from tabgrad.ir.control import branches_of
from tabgrad.ir.graph import Node, make


def known_branch(node: Node) -> Node | None:
    """A result of a cond whose index is a constant is that of one branch."""
    found = result_of(node, "cond")
    index = None if found is None else constant(found[0].srcs[0])
    if found is None or index is None:
        return None
    source, place = found
    branches = branches_of(source.params)
    result: Node = branches[min(max(index, 0), len(branches) - 1)](*source.srcs[1:])[place]
    return result


def compare_itself(node: Node) -> Node | None:
    """x < x is false; x == x and x <= x are true but for NaN, x != x is false but for NaN."""
    x, y = node.srcs
    if x is not y or (x.dtype.is_float and not is_a(node, "lt")):
        return None
    return b.full(node.shape, is_a(node, "eq", "le"), bool_)


def compare_unsigned(node: Node) -> Node | None:
    """x < 0 is false and 0 <= x is true for unsigned x."""
    x, y = node.srcs
    if x.dtype.kind != "u":
        return None
    if is_a(node, "lt") and holds(y, 0):
        return b.full(node.shape, False, bool_)
    return b.full(node.shape, True, bool_) if is_a(node, "le") and holds(x, 0) else None


def compare_bool(node: Node) -> Node | None:
    """x == True is x, x == False is not x; != the other way round."""
    x, y = node.srcs
    value = constant(y)
    if x.dtype is not bool_ or value is None:
        return None
    return x if value == is_a(node, "eq") else b.unary("not", x)


def negate_comparison(node: Node) -> Node | None:
    """not x == y is x != y. (not x < y is y <= x only where there is no NaN: for integers.)"""
    (x,) = node.srcs
    if not is_a(x, "eq", "ne", "lt", "le"):
        return None
    left, right = x.srcs
    if is_a(x, "eq", "ne"):
        return make("ne" if is_a(x, "eq") else "eq", left, right)
    if left.dtype.is_float:
        return None
    return make("le" if is_a(x, "lt") else "lt", right, left)


def select_known(node: Node) -> Node | None:
    """The condition is constant, or both sides are one."""
    cond, x, y = node.srcs
    if x is y:
        return x
    value = constant(cond)
    return None if value is None else x if value else y


def select_negated(node: Node) -> Node | None:
    """select(not c, x, y) = select(c, y, x)."""
    cond, x, y = node.srcs
    return b.select(cond.srcs[0], y, x) if is_a(cond, "not") else None


def select_bool(node: Node) -> Node | None:
    """select(c, True, False) = c, select(c, False, True) = not c."""
    cond, x, y = node.srcs
    if x.dtype is not bool_ or constant(x) is None or constant(y) is None:
        return None
    return cond if constant(x) else b.unary("not", cond)


def select_nested(node: Node) -> Node | None:
    """select(c, select(c, x, _), y) = select(c, x, y), and so for the other side."""
    cond, x, y = node.srcs
    if is_a(x, "select") and x.srcs[0] is cond:
        return b.select(cond, x.srcs[1], y)
    if is_a(y, "select") and y.srcs[0] is cond:
        return b.select(cond, x, y.srcs[2])
    return None


def cast_to_same(node: Node) -> Node | None:
    """A conversion to the dtype there is already."""
    (x,) = node.srcs
    return x if x.dtype is node.dtype else None


def cast_twice(node: Node) -> Node | None:
    """A -> B -> C is A -> C where nothing is lost in B."""
    (inner,) = node.srcs
    if not is_a(inner, "cast"):
        return None
    (x,) = inner.srcs
    a, middle, c = x.dtype, inner.dtype, node.dtype
    # Integers wrap but floats saturate, so an integer out of the range of C must not skip a float.
    saturates = middle.is_float and a.is_integer and c.is_integer and not lossless(a, c)
    wraps = a.is_integer and middle.is_integer and c.is_integer and c.itemsize <= middle.itemsize
    if wraps or (lossless(a, middle) and not saturates):
        return b.cast(x, c)
    return None


def bitcast_twice(node: Node) -> Node | None:
    """Only the last reading of the bits counts."""
    (x,) = node.srcs
    if not is_a(x, "bitcast"):
        return None
    source = x.srcs[0]
    return source if source.dtype is node.dtype else make("bitcast", source, dtype=node.dtype)
