"""Folds inside a shader: sums, products, extremes and their places, of one point or of four.

Lanes lie either along a loop of the results, each folding on its own, or along the last loop that
is folded; then the lanes are put together in the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Expr, Kernel, identity
from tabgrad.targets.shading.expressions import Evaluator
from tabgrad.targets.shading.operations import combine, constant, kind_of
from tabgrad.targets.shading.values import LANES, Value

PART = 256  # sums of longer folds are made in parts of so many terms, which keeps errors small


def start_of(e: Evaluator, fold: str, body: Expr) -> Value:
    """What a fold begins with."""
    if fold in ("sum", "dot") and body.dtype.is_float:
        return e.block.const(-0.0 if fold == "sum" else 0.0, kind_of(e.block, body.dtype))
    return constant(e.block, identity("sum" if fold == "dot" else fold, body.dtype))


def folded(e: Evaluator, kernel: Kernel, across: Var | None, along: Var | None) -> Value:
    """The body of a kernel folded over its inner loops, with lanes across results or along the
    last inner loop."""
    block, body, fold = e.block, kernel.body, kernel.fold
    assert body is not None
    first = start_of(e, fold, body)
    start = first if across is None and along is None else first.splat(LANES)
    total = block.var(start)
    over = 0 if along is None else along.size % LANES  # turns that make no four
    rest = block.var(first) if over else None
    terms = 1
    for loop in kernel.inner:
        terms *= loop.size
    parts = (
        fold == "sum" and body.dtype.is_float and terms > 2 * PART and kernel.inner[-1].size > PART
    )

    def turn(into: Value) -> None:
        block.set(into, combine(fold, into, e.value(body), body.dtype))

    def nest(loops: Sequence[Var]) -> None:
        if not loops:
            turn(total)
            return
        loop, *others = loops
        lanes, step = (along, LANES) if loop == along else (across, 1)
        whole = loop.size - (over if loop == along else 0)
        if not others and parts:
            with block.range(0, whole, PART) as begin, e.fresh():
                part = block.var(start)
                end = block.let((begin + PART).call("min", whole))
                with block.range(begin, end, step) as i, e.at({loop: i}, lanes):
                    turn(part)
                block.set(total, total + part)
        else:
            with block.range(0, whole, step) as i, e.at({loop: i}, lanes):
                nest(others)
        if rest is not None and loop == along:
            with block.range(whole, loop.size) as i, e.at({loop: i}):
                turn(rest)

    if terms:
        nest(kernel.inner)
    elif total.kind == "f":
        block.set(total, total.held())  # or 0 / 0 of what follows is folded to 0
    if along is None:
        return total
    found = joined(fold, total, body)
    return found if rest is None else block.let(combine(fold, found, rest, body.dtype))


def joined(fold: str, total: Value, body: Expr) -> Value:
    """The lanes folded into one."""
    let = total.block.let
    found = total.lane(0)
    for lane in range(1, LANES):
        found = let(combine(fold, found, total.lane(lane), body.dtype))
    return found


def place_of_extreme(e: Evaluator, kernel: Kernel, across: Var | None) -> Value:
    """Where the largest or smallest is; the first of equals, and a NaN before every number."""
    block, body, place = e.block, kernel.body, kernel.body_index
    assert body is not None and place is not None
    width = 1 if across is None else LANES

    def at_hand() -> tuple[Value, Value]:
        value = e.value(body)
        if value.kind == "b":
            value = value.select(block.const(1, "u"), 0)
        return value.splat(width), e.value(place).splat(width)

    with e.at({loop: block.const(0, "i") for loop in kernel.inner}, across):
        best, where = (block.var(one) for one in at_hand())

    with e.each(kernel.inner, across):
        new, here = at_hand()
        better = new > best if kernel.fold == "argmax" else new < best
        if new.kind in "fh":
            better = ~best.is_nan() & (new.is_nan() | better)
        better = block.let(better)
        block.set(best, better.select(new, best))
        block.set(where, better.select(here, where))
    return where
