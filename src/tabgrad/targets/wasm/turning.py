"""Maps that turn what they read: transposition, fused with whatever else the kernel computes.

Their stores run along one loop, and some loads along another. Four vectors of such a load, at four
places of the one loop, are turned in registers into four at neighbouring places of the other, so
that all of memory is read and written in vectors. Blocks of four by four make up tiles of a cache
line each way, so that no line is fetched twice, whatever the strides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad.ir.index import Dyn, Var
from tabgrad.ir.kernel import Expr, Kernel, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import LANES, width_of
from tabgrad.targets.wasm.expressions import Evaluator

TILE = 16  # places of either loop that a tile has


def turned_loop(kernel: Kernel) -> Var | None:
    """The loop that turned loads run along, if a map has any and is simple enough for blocks."""
    if kernel.kind != "map" or len(kernel.space) < 2 or kernel.row_points:
        return None
    vector = kernel.space[-1]
    if vector.size < LANES or width_of(kernel) != LANES:
        return None
    if any(s.conditions or s.index.coefficient(vector) != 1 for s in kernel.stores):
        return None
    exprs = list(walk([s.expr for s in kernel.stores]))
    if any(x.op == "guard" for x in exprs):
        return None
    for along in reversed(kernel.space[:-1]):
        if along.size >= LANES and any(_is_turned(x, along, vector) for x in exprs):
            return along
    return None


def _is_turned(x: Expr, along: Var, vector: Var) -> bool:
    if x.op != "load" or x.index is None or any(isinstance(a, Dyn) for a in x.index.terms):
        return False
    step = x.index.coefficient(vector)
    return x.index.coefficient(along) == 1 and step is not None and step not in (0, 1)


def emit_turned(
    e: Evaluator, kernel: Kernel, along: Var, start: I32, stop: I32, row: Callable[[], None]
) -> None:
    """The map from start to stop of the loop `along`; `row` writes one place of it."""
    f = e.f
    vector = kernel.space[-1]
    whole = vector.size // LANES * LANES
    last = f.let(start + ((stop - start) & -LANES))
    with f.loop_range(start, last, TILE) as first, e.fresh():
        until = _limited(f, first + TILE, last)
        with f.loop_range(0, whole, TILE) as left, e.fresh():
            right = left + TILE if whole % TILE == 0 else _limited(f, left + TILE, whole)
            with (
                f.loop_range(first, until, LANES) as at,
                f.loop_range(left, right, LANES) as place,
                e.fresh(),
            ):
                _block(e, kernel, along, at, place)
        if whole < vector.size:
            with f.loop_range(first, until) as at, e.fresh():
                e.counters[along] = at
                with e.over(vector, I32.const(whole), vector.size - whole):
                    e.store_all(kernel.stores)
    with f.loop_range(last, stop) as at, e.fresh():
        e.counters[along] = at
        row()


def _limited(f: Function, x: I32, limit: I32 | int) -> I32:
    found = f.let(x)
    with f.if_(found > limit):
        found.set(limit)
    return found


def _block(e: Evaluator, kernel: Kernel, along: Var, at: I32, place: I32) -> None:
    """Four by four points from (at, place) on."""
    f = e.f
    vector = kernel.space[-1]
    loads = [x for x in walk([s.expr for s in kernel.stores]) if _is_turned(x, along, vector)]
    rows = []
    for load in loads:
        columns = []
        for lane in range(LANES):
            e.counters |= {along: at, vector: place + lane}
            with e.over(along, None, LANES):
                columns.append(e.value(load))
        rows.append(_transposed(f, columns))
    for number in range(LANES):
        e.counters[along] = at + number
        with e.over(vector, place, LANES):
            for load, turned in zip(loads, rows, strict=True):
                e.know(load, turned[number])
            e.store_all(kernel.stores)


def _transposed(f: Function, columns: list[Any]) -> list[Any]:
    """Four vectors of the first, second, third and fourth lanes of four."""
    a, b, c, d = columns
    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
    pairs = [f.let(x.shuffle(y, half)) for x, y in ((a, b), (c, d)) for half in (low, high)]
    ends = (0, 1, 4, 5), (2, 3, 6, 7)
    return [f.let(pairs[i].shuffle(pairs[i + 2], end)) for i in (0, 1) for end in ends]
