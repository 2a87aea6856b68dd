"""The register tile at the heart of every contraction: a few rows of A times a few vectors of B.

It only accumulates. Packing, loops over tiles, epilogues and (partial) stores are the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    k: int | I32,
    a_row: int,
    a_step: int,
    b_step: int,
    fma: bool,
    start: Sequence[Sequence[X]] | None = None,
) -> list[list[X]]:
    """acc[r][v] = start[r][v] + sum over i < k of A[r, i] * B[i, v], in locals of the caller's.

    Element A[r, i] is at `a + r * a_row + i * a_step`, vector B[i, v] at `b + i * b_step + 16 * v`
    (bytes, known when building). The sum runs strictly in the order of i, from `start` or zero, so
    that a result does not depend on the tile it was computed in.
    """
    if mr < 1 or nv < 1:
        raise ValueError(f"a tile has at least one row and one vector, got mr={mr}, nv={nv}")
    if isinstance(k, int) and k < 0:
        raise ValueError(f"k must not be negative, got {k}")
    rows, columns = range(mr), range(nv)
    if start is None:
        total = [[f.local(kind, 0) for _ in columns] for _ in rows]
    else:
        total = [[f.let(start[r][v]) for v in columns] for r in rows]

    with f.scope():
        vectors = [f.local(kind) for _ in columns]
        element = f.local(kind)
        pa, pb = f.let(a), f.let(b)

        def step(i: int) -> None:
            for v in columns:
                vectors[v].set(kind.load(pb + (i * b_step + 16 * v)))
            for r in rows:
                element.set(kind.load_splat(pa + (r * a_row + i * a_step)))
                for v in columns:
                    total[r][v].set(_multiply_add(element, vectors[v], total[r][v], fma))

        if isinstance(k, int) and k < 2 * UNROLL:
            for i in range(k):
                step(i)
            return total

        trips = I32.const(k // UNROLL) if isinstance(k, int) else k >> 1
        # B's pointer counts the trips, unless it stands still.
        counter = pb if b_step else f.let(I32.const(0))
        stride = UNROLL * (b_step or 1)
        end = f.let(counter + trips * stride)
        more = counter != end
        with f.until(more.not_()) if isinstance(k, int) else f.while_(more):
            for i in range(UNROLL):
                step(i)
            pa.inc(UNROLL * a_step)
            counter.inc(stride)
        if isinstance(k, int):
            for i in range(k % UNROLL):
                step(i)
        else:
            with f.if_(k & 1):
                step(0)
    return total


def _multiply_add(a: Any, b: Any, c: Any, fma: bool) -> Any:
    return a.relaxed_madd(b, c) if fma and not a.INTEGER else a * b + c
