"""Fewer, longer loops: neighbouring loops that every index walks through as one become one.

Loops of one step are dropped where they are made (ir/index.py); here (i, j) becomes a single loop
when each index uses them only as i * size_of_j + j. Long inner loops are what vectors want.
The loops that make the rows of a group become one, and join those within a row only where the
kernel can still be asked for single rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.index import Dyn, Index, Var
from tabgrad.ir.kernel import Expr, Kernel, Store, replace_all, run_time_places, walk


def collapse(kernel: Kernel) -> Kernel:
    """The same kernel with its loops merged where possible. Contractions keep theirs."""
    kernel.space = tuple(v for v in kernel.space if v.size != 1)
    kernel.inner = tuple(v for v in kernel.inner if v.size != 1)
    if kernel.kind == "contract":
        return kernel
    kernel.inner = _merge(kernel, kernel.inner, index_levels(kernel))
    if kernel.group is None or kernel.group.kind != "rows":
        kernel.space = _merge(kernel, kernel.space, index_levels(kernel))
        return kernel
    rows = _merge(kernel, kernel.space[: kernel.row_loops], index_levels(kernel))
    within = _merge(kernel, kernel.space[kernel.row_loops :], index_levels(kernel))
    kernel.space = (*rows, *within)
    kernel.row_loops = len(rows)
    if kernel.kind == "map" and len(rows) == 1 and len(within) <= 1:
        kernel.space = _merge(kernel, kernel.space, index_levels(kernel))
        if len(kernel.space) == 1:
            kernel.row_points = within[0].size if within else 1
    return kernel


def _merge(kernel: Kernel, loops: tuple[Var, ...], levels: list[Index]) -> tuple[Var, ...]:
    result = list(loops)
    at = len(result) - 2
    while at >= 0:
        outer, inner = result[at], result[at + 1]
        if all(_joined(level, outer, inner) for level in levels):
            joined = Var(outer.name, outer.size * inner.size)
            values = {outer: Index(), inner: Index.of(joined)}
            rewrite(kernel, values)
            levels = index_levels(kernel)
            result[at : at + 2] = [joined]
            at = min(at, len(result) - 2)
            continue
        at -= 1
    return tuple(result)


def _joined(level: Index, outer: Var, inner: Var) -> bool:
    return level.terms.get(outer, 0) == level.terms.get(inner, 0) * inner.size


def index_levels(kernel: Kernel) -> list[Index]:
    """Every sum of loop variables in a kernel: indices, and those inside quotients."""
    found: set[Index] = set()
    pending: list[Index] = []
    roots = kernel.expressions()
    for store in kernel.stores:
        pending.append(store.index)
        pending += [c.index for c in store.conditions]
        roots += run_time_places(store)
    for expr in walk(roots):
        if expr.index is not None:
            pending.append(expr.index)
        pending += [c.index for c in expr.conditions]
    while pending:
        index = pending.pop()
        if index in found:
            continue
        found.add(index)
        for atom in index.terms:
            if not isinstance(atom, (Var, Dyn)):
                pending.append(atom.of)
    return list(found)


def rewrite(kernel: Kernel, values: dict[Var, Index]) -> None:
    """Replace loop variables in every part of a kernel, keeping shared expressions shared."""
    parts: Sequence[str] = ("body", "body_index", "a", "b")
    present = [name for name in parts if getattr(kernel, name) is not None]
    stores = kernel.stores
    places = [expr for store in stores for expr in run_time_places(store)]
    roots = [getattr(kernel, name) for name in present] + [s.expr for s in stores] + places
    new = replace_all(roots, values)
    for name, expr in zip(present, new, strict=False):
        setattr(kernel, name, expr)
    exprs = new[len(present) : len(present) + len(stores)]
    moved = {id(old): to for old, to in zip(roots, new, strict=True)}

    def run_time(expr: Expr) -> Expr:
        return moved[id(expr)]

    kernel.stores = [
        Store(
            store.buffer,
            store.index.replace(values, run_time),
            expr,
            store.combine,
            tuple([c.replace(values, run_time) for c in store.conditions]),
        )
        for store, expr in zip(stores, exprs, strict=True)
    ]
