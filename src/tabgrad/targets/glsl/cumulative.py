"""Running folds as maps: each pass folds what lies a power of two before, twice as far each time.

A fragment cannot go on from where its neighbour ended. After passes with steps 1, 2, 4, ... each
element holds the fold of everything up to it (Hillis and Steele, "Data parallel algorithms", 1986).
"""

from __future__ import annotations

from dataclasses import replace

from tabgrad.dtypes import DType
from tabgrad.ir.index import Index
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, rebuilt

OPERATIONS = {"sum": "add", "prod": "mul", "or": "or", "and": "and", "max": "max", "min": "min"}


def in_passes(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """The maps that take the place of a running fold, in order."""
    body = kernel.body
    assert body is not None
    loops = (*kernel.space, *kernel.inner)
    place, size, n = Index(), 1, 1
    for loop in loops:
        place, size = place * loop.size + Index.of(loop), size * loop.size
    turn = Index()
    for loop in kernel.inner:
        turn, n = turn * loop.size + Index.of(loop), n * loop.size
    home = _temporary(temporaries, size, body.dtype)
    made = [Kernel("map", loops, [Store(home, place, body)])]
    step = 1
    while step < n:
        here = Expr("load", body.dtype, buffer=home, index=place)
        before = Expr("load", body.dtype, buffer=home, index=place - step)
        both = Expr(OPERATIONS[kernel.fold], body.dtype, (before, here))
        value = Expr("guard", body.dtype, (both, here), conditions=(Condition(turn - step, low=0),))
        home = _temporary(temporaries, size, body.dtype)
        made.append(Kernel("map", loops, [Store(home, place, value)]))
        step *= 2
    last = Expr("load", body.dtype, buffer=home, index=place)
    exprs = rebuilt([s.expr for s in kernel.stores], lambda x, _: last if x.op == "acc" else None)
    stores = [replace(s, expr=x) for s, x in zip(kernel.stores, exprs, strict=True)]
    made.append(Kernel("map", loops, stores, nodes=kernel.nodes, name=kernel.name))
    return made


def _temporary(temporaries: list[Buffer], size: int, dtype: DType) -> Buffer:
    buffer = Buffer(f"t{len(temporaries)}", "temp", size, dtype)
    temporaries.append(buffer)
    return buffer
