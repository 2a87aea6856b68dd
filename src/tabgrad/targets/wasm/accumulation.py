"""Sums and products of float16 are folded in float32 and rounded once, when they are complete.

A float16 sum that is rounded at every step stops growing at 2048 ones. Here the kernel is rewritten
before anything is emitted, so that loops and contractions know nothing of it.
"""

from __future__ import annotations

from dataclasses import replace

from tabgrad.dtypes import float16, float32
from tabgrad.ir.kernel import Expr, Kernel, walk


def accumulate_wide(kernel: Kernel) -> None:
    """Make a kernel that folds float16 numbers fold float32 ones."""
    folded = kernel.body if kernel.body is not None else kernel.a
    if folded is None or folded.dtype is not float16 or kernel.fold not in ("sum", "prod"):
        return
    wide = {id(x): _cast(x) for x in (kernel.body, kernel.a, kernel.b) if x is not None}
    kernel.body, kernel.a, kernel.b = (
        None if x is None else wide[id(x)] for x in (kernel.body, kernel.a, kernel.b)
    )
    new: dict[int, Expr] = {}
    total: Expr | None = None
    for x in walk([store.expr for store in kernel.stores]):
        args = tuple([new[id(arg)] for arg in x.args])
        if x.op == "acc":
            total = total or Expr("cast", float16, (Expr("acc", float32),))
            new[id(x)] = total
        elif all(mine is arg for mine, arg in zip(args, x.args, strict=True)):
            new[id(x)] = x
        else:
            new[id(x)] = Expr(
                x.op, x.dtype, args, buffer=x.buffer, index=x.index, value=x.value,
                conditions=x.conditions,
            )  # fmt: skip
    kernel.stores = [replace(store, expr=new[id(store.expr)]) for store in kernel.stores]


def _cast(x: Expr) -> Expr:
    return Expr("cast", float32, (x,))
