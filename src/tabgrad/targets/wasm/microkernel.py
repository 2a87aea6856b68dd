"""The register tile at the heart of every contraction: a few rows of A times a few vectors of B.

It only accumulates. Packing, loops over tiles, epilogues and (partial) stores are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tabgrad.targets.wasm.builder import (
    I32,
    F32x4,
    F64x2,
    Function,
    I32x4,
    I64x2,
    U32x4,
    U64x2,
)

X = TypeVar("X", F32x4, F64x2, I32x4, U32x4, I64x2, U64x2)

# Accumulators, vectors of B and one broadcast element of A must fit V8's 15 vector registers, and
# without a fused instruction the product needs one more: beyond that speed halves. (mr, nv)
TILE_FMA = (6, 2)
TILE_PLAIN = (5, 2)
REGISTERS = 15

# Steps over k in one trip of the loop. More gains nothing in V8, and makes Cranelift spill, which
# sinks the arithmetic below all the loads.
UNROLL = 2


def fits_registers(mr: int, nv: int, fma: bool) -> bool:
    """Whether a tile runs without spilling vectors to memory."""
    return mr * nv + nv + (1 if fma else 2) <= REGISTERS


def tile(
    f: Function,
    kind: type[X],
    a: I32,
    b: I32,
    *,
    mr: int,
    nv: int,
    runs: Sequence[tuple[int | I32, int]],
    a_row: int,
    b_step: int,
    fma: bool,
    start: Sequence[Sequence[X]] | None = None,
) -> list[list[X]]:
    """acc[r][v] = start[r][v] + sum over k of A[r, k] * B[k, v], in locals of the caller's.

    Steps k are loops inside each other, outermost first: `runs` has how often each turns, and the
    bytes by which A moves each time. Element A[r, k] is at `a + r * a_row +` those, vector B[k, v]
    at `b + k * b_step + 16 * v`, k being counted through (bytes, known when building). The sum runs
    strictly in the order of k, from `start` or zero, so that a result does not depend on the tile
    it was computed in.
    """
    if mr < 1 or nv < 1:
        raise ValueError(f"a tile has at least one row and one vector, got mr={mr}, nv={nv}")
    for count, _ in runs:
        if isinstance(count, int) and count < 0:
            raise ValueError(f"runs of steps must not be negative, got {count}")
    rows, columns = range(mr), range(nv)
    if start is None:
        total = [[f.local(kind, 0) for _ in columns] for _ in rows]
    else:
        total = [[f.let(start[r][v]) for v in columns] for r in rows]
    *outside, (count, a_step) = runs

    with f.scope():
        vectors = [f.local(kind) for _ in columns]
        element = f.local(kind)
        pb = f.let(b)

        def step(pa: I32, i: int) -> None:
            if mr == 1:
                # Nobody else needs the vectors of B: they leave their registers to more sums.
                element.set(kind.load_splat(pa + i * a_step))
                for v in columns:
                    with f.scope():
                        vector = f.let(kind.load(pb + (i * b_step + 16 * v)))
                        total[0][v].set(multiply_add(element, vector, total[0][v], fma))
                return
            for v in columns:
                vectors[v].set(kind.load(pb + (i * b_step + 16 * v)))
            for r in rows:
                element.set(kind.load_splat(pa + (r * a_row + i * a_step)))
                for v in columns:
                    total[r][v].set(multiply_add(element, vectors[v], total[r][v], fma))

        def walk(outer: Sequence[tuple[int | I32, int]], pa: I32) -> None:
            if not outer:
                _run(f, f.let(pa), pb, count, a_step, b_step, step, last=not outside)
                return
            (turns, by), *inner = outer
            line = f.let(pa)
            with f.loop_range(0, turns):
                walk(inner, line)
                # B is walked through as a whole: the innermost run has moved its pointer on.
                line.inc(by)

        walk(outside, a)
    return total


def _run(
    f: Function,
    pa: I32,
    pb: I32,
    k: int | I32,
    a_step: int,
    b_step: int,
    step: Callable[[I32, int], None],
    *,
    last: bool,
) -> None:
    """Steps of one stride, `UNROLL` in a trip. Leaves B's pointer behind them unless `last`."""
    if isinstance(k, int) and k < 2 * UNROLL:
        for i in range(k):
            step(pa, i)
        if not last:
            pb.inc(k * b_step)
        return
    trips = I32.const(k // UNROLL) if isinstance(k, int) else k >> 1
    # B's pointer counts the trips, unless it stands still.
    counter = pb if b_step else f.let(I32.const(0))
    stride = UNROLL * (b_step or 1)
    end = f.let(counter + trips * stride)
    more = counter != end
    with f.until(more.not_()) if isinstance(k, int) else f.while_(more):
        for i in range(UNROLL):
            step(pa, i)
        pa.inc(UNROLL * a_step)
        counter.inc(stride)
    if isinstance(k, int):
        for i in range(k % UNROLL):
            step(pa, i)
        if k % UNROLL and not last:
            pb.inc(k % UNROLL * b_step)
    else:
        with f.if_(k & 1):
            step(pa, 0)
            if not last:
                pb.inc(b_step)


def multiply_add(a: Any, b: Any, c: Any, fma: bool) -> Any:
    """a * b + c, rounded once where the target may."""
    return a.relaxed_madd(b, c) if fma and not a.INTEGER else a * b + c
