"""Scatters of many updates: sorted by their places first, so that each element finds its own.

A fragment cannot choose where it writes, so it would look at every update. Places and the numbers
of the updates are sorted (order.py; equal places keep their order, so sums are those of the updates
one after the other), and an element's updates are between two places found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from tabgrad.compiler.temporaries import temporary
from tabgrad.dtypes import int32
from tabgrad.ir.index import Dyn, Index, Var, place_of
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store
from tabgrad.targets.shading.values import Block, Value

ENOUGH = 1 << 22  # updates times elements: sorting takes a dozen draws or more


@dataclass(repr=False)
class Ordered(Kernel):
    """A scatter whose updates have ascending places, those in `keys`."""

    keys: Buffer | None = None


def in_order(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """The kernel, or one that puts places down, a sort, and the scatter in that order."""
    place = _place(kernel)
    if place is None:
        return [kernel]
    count, loops = kernel.points, kernel.space
    keys, numbers = (temporary(temporaries, count, int32) for _ in range(2))
    whole = place_of(loops)
    puts = [
        Store(keys, whole, place.expr),
        Store(numbers, whole, Expr("index", int32, index=whole)),
    ]
    turn = Var("u0", count)
    at = Index.of(turn)
    key, number = (Expr("load", int32, buffer=home, index=at) for home in (keys, numbers))
    moved = [Store(home, at, load) for home, load in ((keys, key), (numbers, number))]

    left, counters = Index.of(Dyn(number, count - 1)), {}
    for loop in reversed(loops):
        left, counters[loop] = left.split(loop.size)
    found = Index.of(Dyn(key, place.high))
    stores = [
        replace(
            store,
            index=found,
            expr=store.expr.replace(counters),
            conditions=tuple([Condition(found, c.low, c.high) for c in store.conditions]),
        )
        for store in kernel.stores
    ]
    same = {f.name: getattr(kernel, f.name) for f in fields(Kernel)}
    same |= {"space": (turn,), "stores": stores}
    return [
        Kernel("map", loops, puts),
        Kernel("sort", (), moved, inner=(turn,)),
        Ordered(**same, keys=keys),
    ]


def _place(kernel: Kernel) -> Dyn | None:
    """The number, read at run time, of the element that an update is for, where that is all there
    is to its place and there are so many of both that sorting gains."""
    if kernel.kind != "scatter":
        return None
    first = kernel.stores[0]
    terms = list(first.index.terms.items())
    if len(terms) != 1 or terms[0][1] != 1 or first.index.const:
        return None
    (place, _) = terms[0]
    if not isinstance(place, Dyn) or kernel.points * first.buffer.size < ENOUGH:
        return None
    tests = [test for store in kernel.stores for test in store.conditions]
    indices = [store.index for store in kernel.stores] + [test.index for test in tests]
    if any(test.modulo != 1 for test in tests) or any(i != first.index for i in indices):
        return None
    return place


def own_updates(
    block: Block, load: Callable[[Value], Value], count: int, element: Value
) -> tuple[Value, Value]:
    """Between which of `count` ascending places, which `load` reads, those of an element are."""

    def before(least: Value) -> Value:
        low, high = block.var(block.const(0, "i")), block.var(block.const(count, "i"))
        with block.range(0, count.bit_length()):
            inside = block.let(low < high)
            half = block.let((low + high) >> 1)
            less = block.let(load(half) < least)
            block.set(low, (inside & less).select(half + 1, low))
            block.set(high, (inside & ~less).select(half, high))
        return block.let(low)

    return before(element), before(block.let(element + 1))
