"""Products with two to four columns: a register tile whose lanes are steps instead of columns.

A vector of columns would be half empty, and every element of A be loaded for itself: the gradient
of an image of three channels ran at a third of the machine's peak. Here lane i adds the products of
steps i, i + 4, i + 8 and so on, and the lanes are added at the end, (0 + 2) + (1 + 3), so the order
depends on nothing but the number of steps. Which contractions: `Matrix.dots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.microkernel import REGISTERS, multiply_add

MOST_COLUMNS = 4
UNROLL = 2  # vectors of steps in one trip of the loop


def rows_of_dots(columns: int, fma: bool) -> int:
    """How many rows of sums fit the registers beside a vector of each column and one of A."""
    return (REGISTERS - columns - (1 if fma else 2)) // columns


def tile_of_dots(
    f: Function,
    kind: Any,
    a: I32,
    b: I32,
    *,
    mr: int,
    columns: int,
    a_row: int,
    runs: Sequence[tuple[int, int]],
    b_column: int,
    fma: bool,
) -> list[list[Any]]:
    """One vector for each of `mr` rows, in locals of the caller's: lane c is the sum over k of
    A[r, k] * B[k, c].

    Steps k are loops inside each other, outermost first: `runs` has how often each turns, in the
    last a multiple of 4, and the bytes by which A moves, in the last those of one element. Row r of
    A begins at `a + r * a_row`; the steps of column c are neighbours from `b + c * b_column`.
    """
    sums = [[f.local(kind, 0) for _ in range(columns)] for _ in range(mr)]
    with f.scope():
        pb = f.let(b)

        def step(pa: I32, i: int) -> None:
            with f.scope():
                vectors = [f.let(kind.load(pb + (c * b_column + 16 * i))) for c in range(columns)]
                for r in range(mr):
                    with f.scope():
                        own = f.let(kind.load(pa + (r * a_row + 16 * i)))
                        for c, vector in enumerate(vectors):
                            sums[r][c].set(multiply_add(own, vector, sums[r][c], fma))

        def walk(outer: Sequence[tuple[int, int]], start: I32) -> None:
            (turns, by), *inner = outer
            at = f.let(start)
            if inner:
                with f.loop_range(0, turns):
                    walk(inner, at)
                    at.inc(by)
                return
            trips, rest = divmod(turns // 4, UNROLL)
            if trips:
                with f.loop_range(0, trips):
                    for i in range(UNROLL):
                        step(at, i)
                    at.inc(16 * UNROLL)
                    pb.inc(16 * UNROLL)
            for i in range(rest):
                step(at, i)
            if rest:
                pb.inc(16 * rest)

        walk(runs, a)
    return [[_lanes_added(f, line)] for line in sums]


def _lanes_added(f: Function, vectors: Sequence[Any]) -> Any:
    """Lane c is the sum of the lanes of vector c, or of the last where there is none."""
    x0, x1, x2, x3 = (vectors[min(i, len(vectors) - 1)] for i in range(4))

    def halves(x: Any, y: Any) -> Any:
        return f.let(x.shuffle(y, (0, 4, 1, 5)) + x.shuffle(y, (2, 6, 3, 7)))

    low = halves(x0, x1)
    high = halves(x2, x3) if len(vectors) > 2 else low
    return f.let(low.shuffle(high, (0, 1, 4, 5)) + low.shuffle(high, (2, 3, 6, 7)))
