"""The product of all other factors, for each factor along some axes: the derivative of a product.

The value is a quotient, which costs a division for each factor. Where factors are 0 its derivatives
are not those of the product, so they are taken of another form: what comes before a factor times
what comes after it. The rule of running products divides by nothing, so it is right for any factors
and to every order.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from tabgrad.dtypes import DType, float16, float32, float64
from tabgrad.ir import build as b
from tabgrad.ir.cumulative import cumulative, shifted
from tabgrad.ir.graph import Graph, Node, Shape, unlabelled
from tabgrad.ir.reverse import cotangents

# The total may be out of range where a product of fewer is not: 1e-30 * 1e-30, divided by one.
_WIDER: Mapping[DType, DType] = {float16: float32, float32: float64, float64: float64}


def product_of_others(x: Node, axes: tuple[int, ...]) -> Node:
    """For each element of x, the product of all others along `axes`."""
    value = _quotient(x, axes)
    # The rule is kept, for writing it down takes longer than the rest of an eager gradient.
    return b.make("custom", value, x, back=_rule(x.shape, x.dtype, axes), n_out=1, n_x=1)


def _quotient(x: Node, axes: tuple[int, ...]) -> Node:
    zero, one = b.like(x, 0), b.like(x, 1)
    is_zero = b.eq(x, zero)
    safe = b.cast(b.select(is_zero, one, x), _WIDER[x.dtype])
    total = b.expand(b.reduce("reduce_prod", safe, axes), x.shape, axes)
    counted = b.select(is_zero, one, zero)
    zeros = b.expand(b.reduce("reduce_sum", counted, axes), x.shape, axes)
    no_other_is_zero = b.eq(zeros, counted)
    return b.select(no_other_is_zero, b.cast(b.div(total, safe), x.dtype), zero)


@functools.lru_cache(maxsize=64)
def _rule(shape: Shape, dtype: DType, axes: tuple[int, ...]) -> Graph:
    """(cotangents of the products of others, factors) -> cotangents of the factors."""
    with unlabelled():
        given, x = b.input(shape, dtype), b.input(shape, dtype)
        kept = [d for d in range(len(shape)) if d not in axes]
        order = [*kept, *axes]
        moved = b.permute(x, order)
        lead = tuple(shape[d] for d in kept)
        count = 1
        for axis in axes:
            count *= shape[axis]
        flat = b.reshape(moved, (*lead, count))
        before = shifted(cumulative(flat, len(lead), "prod"), 1, after=False)
        behind = shifted(cumulative(flat, len(lead), "prod", reverse=True), 1, after=True)
        others = b.reshape(b.mul(before, behind), moved.shape)
        others = b.permute(others, [order.index(d) for d in range(len(shape))])
        (slope,) = cotangents([others], [given], [x])
        return Graph([given, x], [b.like(x, 0) if slope is None else slope])
