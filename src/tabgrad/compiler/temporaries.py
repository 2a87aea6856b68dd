"""Values put down in a temporary and read again: what passes that cut kernels up are made of.

Not here: where temporaries lie in memory (memory.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tabgrad.dtypes import DType
from tabgrad.ir.index import Var, place_of, points_of
from tabgrad.ir.kernel import Buffer, Expr, Store, rebuilt


def temporary(temporaries: list[Buffer], size: int, dtype: DType) -> Buffer:
    """A new temporary of so many elements."""
    buffer = Buffer(f"t{len(temporaries)}", "temp", size, dtype)
    temporaries.append(buffer)
    return buffer


def put_down(value: Expr, loops: Sequence[Var], temporaries: list[Buffer]) -> tuple[Store, Expr]:
    """The store of a value for every point of some loops, and the load that reads it there."""
    home = temporary(temporaries, points_of(loops), value.dtype)
    place = place_of(loops)
    return Store(home, place, value), Expr("load", value.dtype, buffer=home, index=place)


def after_fold(stores: Sequence[Store], value: Expr) -> list[Store]:
    """Stores that take a value in the place of what was folded."""
    exprs = rebuilt([s.expr for s in stores], lambda x, _: value if x.op == "acc" else None)
    return [replace(s, expr=x) for s, x in zip(stores, exprs, strict=True)]
