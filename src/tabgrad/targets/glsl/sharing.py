"""Long folds with few results, in parts: one kernel for the parts and one that adds those up.

A fragment folds alone, and few results are few fragments: of a sum of a million numbers one
fragment would make all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store

FEW, MANY = 512, 2048  # results that keep no device busy; parts that do
LEAST = 64  # terms of a part


def shared_out(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """The kernel, or two that take its place."""
    found = _split(kernel)
    if found is None:
        return [kernel]
    loop, parts = found
    body = kernel.body if kernel.body is not None else kernel.a
    assert body is not None
    part, turn = Var(f"{loop.name}p", parts), Var(loop.name, loop.size // parts)
    values = {loop: Index.of(part) * turn.size + Index.of(turn)}
    results = math.prod([v.size for v in kernel.space])
    sums = Buffer(f"t{len(temporaries)}", "temp", results * parts, body.dtype)
    temporaries.append(sums)
    folded = {
        name: getattr(kernel, name).replace(values)
        for name in ("body", "a", "b")
        if getattr(kernel, name) is not None
    }
    place = Index.of(part) * results + _place_of(kernel.space)
    first = replace(
        kernel,
        space=(part, *kernel.space),
        inner=tuple([turn if v == loop else v for v in kernel.inner]),
        stores=[Store(sums, place, Expr("acc", body.dtype))],
        roles={**kernel.roles, part: "g", turn: "k"} if kernel.roles else {},
        nodes=(),
        **folded,
    )
    again = Expr("load", body.dtype, buffer=sums, index=place)
    second = replace(
        kernel, kind="reduce", inner=(part,), fold=kernel.fold or "sum", body=again, a=None, b=None,
        roles={}, flops=0,
    )  # fmt: skip
    return [first, *shared_out(collapse(second), temporaries)]


def _split(kernel: Kernel) -> tuple[Var, int] | None:
    """Which inner loop is shared among how many."""
    if kernel.kind not in ("reduce", "contract") or kernel.fold in ("dot", "argmax", "argmin"):
        return None
    results = math.prod([v.size for v in kernel.space])
    terms = math.prod([v.size for v in kernel.inner])
    if not kernel.inner or results >= FEW or terms < 8 * LEAST:
        return None
    loop = max(kernel.inner, key=lambda v: v.size)
    wanted = min(MANY // max(results, 1), terms // LEAST)
    best = max([p for p in range(1, wanted + 1) if loop.size % p == 0])
    return (loop, best) if best > 1 else None


def _place_of(loops: Sequence[Var]) -> Index:
    total = Index()
    for loop in loops:
        total = total * loop.size + Index.of(loop)
    return total
