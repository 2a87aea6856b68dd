"""Products with few rows, which take as long as reading B once: two ways to read it well.

A register tile reads a few columns of B at a time; with many rows that is paid for, but a vector
times a matrix then waits for memory. `stream` reads a B of neighbouring columns row by row, and
adds into memory; `tile_of_columns` reads a B whose columns lie one after the other, and turns four
by four elements round in registers. Both only accumulate, strictly in the order of k, as
`microkernel.tile` does.
"""

from __future__ import annotations

from typing import Any, TypeVar

from tabgrad.targets.wasm.builder import I32, F32x4, Function, I32x4, U32x4
from tabgrad.targets.wasm.microkernel import multiply_add

X = TypeVar("X", F32x4, I32x4, U32x4)

# Elements of A that stay in registers while rows of B go by, beside the sums and a vector of B.
SPLATS = 8
MOST_ROWS = 4  # that go by together
MOST_STREAMED = 16  # rows up to which streaming is faster than packing B (measured in V8)


def stream(
    f: Function,
    kind: Any,
    a: I32,
    b: I32,
    sums: I32,
    *,
    rows: int,
    steps: int,
    nbytes: I32 | int,
    a_row: int,
    a_step: int,
    b_step: int,
    sums_row: int,
    fma: bool,
) -> None:
    """sums[r][n] = sum over k of A[r, k] * B[k, n] for `nbytes` of neighbouring columns n.

    Element A[r, k] is at `a + r * a_row + k * a_step`, row k of B at `b + k * b_step`, row r of the
    sums at `sums + r * sums_row`; B and the sums may be touched up to the end of the last vector.
    """
    at_once = SPLATS // min(rows, MOST_ROWS)
    with f.scope():
        pa, pb = f.let(a), f.let(b)
        for r in range(rows):
            f.fill_memory(sums + r * sums_row, 0, (nbytes + 15) & -16)

        def some(count: int, together: range) -> None:
            elements = [
                [f.let(kind.load_splat(pa + (r * a_row + i * a_step))) for i in range(count)]
                for r in together
            ]
            with f.loop_range(0, nbytes, 16) as n:
                at, row = f.let(sums + n), f.let(pb + n)
                total = [f.let(kind.load(at + r * sums_row)) for r in together]
                for i in range(count):
                    vector = f.let(kind.load(row + i * b_step))
                    for r, own in enumerate(total):
                        own.set(multiply_add(elements[r][i], vector, own, fma))
                for r, own in zip(together, total, strict=True):
                    f.store(at + r * sums_row, own)

        def all_rows(count: int) -> None:
            for r in range(0, rows, MOST_ROWS):
                with f.scope():
                    some(count, range(r, min(r + MOST_ROWS, rows)))

        with f.loop_range(0, steps // at_once), f.scope():
            all_rows(at_once)
            pa.inc(at_once * a_step)
            pb.inc(at_once * b_step)
        if steps % at_once:
            all_rows(steps % at_once)


def tile_of_columns(
    f: Function,
    kind: type[X],
    a: I32,
    b: I32,
    *,
    mr: int,
    lanes: list[int],
    steps: int,
    a_row: int,
    a_step: int,
    b_column: int,
    fma: bool,
) -> list[list[X]]:
    """acc[r][v] = sum over k of A[r, k] * B[k, v], in locals of the caller's, like `tile`, for a B
    whose element [k, n] is at `b + n * b_column + 4 * k`. Vector v has `lanes[v]` columns."""
    total = [[f.local(kind, 0) for _ in lanes] for _ in range(mr)]
    with f.scope():
        pa, pb = f.let(a), f.let(b)

        def places(v: int) -> list[int]:
            # Lanes without a column of their own read the last one's.
            return [(4 * v + min(lane, lanes[v] - 1)) * b_column for lane in range(4)]

        def add(v: int, i: int, vector: Any) -> None:
            for r in range(mr):
                element = kind.load_splat(pa + (r * a_row + i * a_step))
                total[r][v].set(multiply_add(element, vector, total[r][v], fma))

        with f.loop_range(0, steps // 4), f.scope():
            for v in range(len(lanes)):
                with f.scope():
                    x0, x1, x2, x3 = (f.let(kind.load(pb + place)) for place in places(v))
                    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
                    first, second = f.let(x0.shuffle(x1, low)), f.let(x2.shuffle(x3, low))
                    third, fourth = f.let(x0.shuffle(x1, high)), f.let(x2.shuffle(x3, high))
                    for i, (p, q) in enumerate(((first, second), (third, fourth))):
                        add(v, 2 * i, f.let(p.shuffle(q, (0, 1, 4, 5))))
                        add(v, 2 * i + 1, f.let(p.shuffle(q, (2, 3, 6, 7))))
            pa.inc(4 * a_step)
            pb.inc(16)
        for i in range(steps % 4):
            for v in range(len(lanes)):
                with f.scope():
                    vector = f.let(kind.load_splat(pb + (places(v)[0] + 4 * i)))
                    for lane, place in list(enumerate(places(v)))[1:]:
                        vector.set(vector.load_lane(lane, pb + (place + 4 * i)))
                    add(v, i, vector)
    return total
