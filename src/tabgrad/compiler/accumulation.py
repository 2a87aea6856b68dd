"""Small numbers are folded in 32 bits, and rounded or wrapped once, when the fold is complete.

A float16 sum that is rounded at every step stops growing at 2048 ones, and there are no register
tiles of bytes. Here the kernel is rewritten before anything is emitted, so that loops and
contractions know nothing of it.
"""

from __future__ import annotations

from dataclasses import replace

from tabgrad.dtypes import DType, float16, float32, int32, uint32
from tabgrad.ir.kernel import Expr, Kernel, walk


def accumulate_wide(kernel: Kernel) -> None:
    """Make a kernel that sums or multiplies small numbers fold 32-bit ones."""
    folded = kernel.body if kernel.body is not None else kernel.a
    if folded is None or kernel.fold not in ("sum", "prod"):
        return
    narrow, wide = folded.dtype, _wide(folded.dtype, kernel.kind == "contract")
    if wide is narrow:
        return

    def cast(x: Expr) -> Expr:
        return Expr("cast", wide, (x,))

    cast_of = {id(x): cast(x) for x in (kernel.body, kernel.a, kernel.b) if x is not None}
    kernel.body, kernel.a, kernel.b = (
        None if x is None else cast_of[id(x)] for x in (kernel.body, kernel.a, kernel.b)
    )
    new: dict[int, Expr] = {}
    total: Expr | None = None
    for x in walk([store.expr for store in kernel.stores]):
        args = tuple([new[id(arg)] for arg in x.args])
        if x.op == "acc":
            total = total or Expr("cast", narrow, (Expr("acc", wide),))
            new[id(x)] = total
        elif all(mine is arg for mine, arg in zip(args, x.args, strict=True)):
            new[id(x)] = x
        else:
            new[id(x)] = Expr(
                x.op, x.dtype, args, buffer=x.buffer, index=x.index, value=x.value,
                conditions=x.conditions,
            )  # fmt: skip
    kernel.stores = [replace(store, expr=new[id(store.expr)]) for store in kernel.stores]


def _wide(dtype: DType, contract: bool) -> DType:
    if dtype is float16:
        return float32
    if contract and dtype.is_integer and dtype.itemsize < 4:
        return int32 if dtype.kind == "i" else uint32
    return dtype
