"""Running folds as maps: each pass folds what lies a power of two before, twice as far each time.

A fragment cannot go on from where its neighbour ended. After passes with steps 1, 2, 4, ... each
element holds the fold of everything up to it (Hillis and Steele, "Data parallel algorithms", 1986).
"""

from __future__ import annotations

from tabgrad.compiler.temporaries import after_fold, put_down
from tabgrad.ir.index import place_of, points_of
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel

OPERATIONS = {"sum": "add", "prod": "mul", "or": "or", "and": "and", "max": "max", "min": "min"}


def in_passes(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """The maps that take the place of a running fold, in order."""
    body = kernel.body
    assert body is not None
    loops = (*kernel.space, *kernel.inner)
    turn = place_of(kernel.inner)
    store, here = put_down(body, loops, temporaries)
    made = [Kernel("map", loops, [store])]
    step = 1
    while step < points_of(kernel.inner):
        before = here.on((), place_of(loops) - step, ())
        both = Expr(OPERATIONS[kernel.fold], body.dtype, (before, here))
        value = Expr("guard", body.dtype, (both, here), conditions=(Condition(turn - step, low=0),))
        store, here = put_down(value, loops, temporaries)
        made.append(Kernel("map", loops, [store]))
        step *= 2
    stores = after_fold(kernel.stores, here)
    made.append(Kernel("map", loops, stores, nodes=kernel.nodes, name=kernel.name))
    return made
