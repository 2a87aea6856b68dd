"""Extrema and the places where they are, found by one kernel.

Max pooling and its gradient ask for both: the forward pass for the largest value of each window,
the backward pass for where it was. Looking for places finds the values as well, so the second
kernel joins the first one, and what they read is read once. Only where both are computed by taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tabgrad.compiler.collapse import collapse, rewrite
from tabgrad.dtypes import float32
from tabgrad.ir.index import Index
from tabgrad.ir.kernel import Expr, Kernel, Launch, rebuilt
from tabgrad.targets.wasm import taps


def joined(launches: Sequence[Launch], fma: bool) -> list[Launch]:
    """The launches, in which kernels for places have joined those for the values there."""
    result: list[Launch] = []
    for launch in launches:
        result.append(launch)
        if isinstance(launch, Kernel) and _finds_places(launch) and _joins(launch, result, fma):
            result.pop()
            rest = [x for x in launches if isinstance(x, Kernel) and x is not launch]
            rest = [x for x in rest if launch.group is not None and x.group is launch.group]
            if len(rest) == 1:
                rest[0].group = None  # a group of one is none
    return result


def _joins(place: Kernel, launches: list[Launch], fma: bool) -> bool:
    """Whether there is a kernel for the values, which a kernel for places then has joined."""
    for i in range(len(launches) - 2, -1, -1):
        value = launches[i]
        both = _both(value, place) if isinstance(value, Kernel) else None
        if both is None or not _may_be_early(place, launches[i:-1]):
            continue
        if taps.of(collapse(replace(both, stores=list(both.stores))), fma) is None:
            return False
        launches[i] = both
        return True
    return False


def _finds_places(kernel: Kernel) -> bool:
    """Whether a kernel looks for places, and stores in memory that has no older value."""
    if kernel.kind != "reduce" or not kernel.fold.startswith("arg"):
        return False
    own = all(store.buffer.role in ("temp", "output") for store in kernel.stores)
    return own and _dtype(kernel) is float32


def _dtype(kernel: Kernel) -> object:
    return None if kernel.body is None else kernel.body.dtype


def _both(value: Kernel, place: Kernel) -> Kernel | None:
    """One kernel that does what two do, None where these do not fold the same."""
    if value.kind != "reduce" or value.fold != place.fold.removeprefix("arg") or value.group:
        return None
    loops, others = (*value.space, *value.inner), (*place.space, *place.inner)
    if [v.size for v in loops] != [v.size for v in others] or len(value.space) != len(place.space):
        return None
    moved = replace(value, stores=list(value.stores))
    rewrite(moved, {v: Index.of(w) for v, w in zip(loops, others, strict=True)})
    assert moved.body is not None and place.body is not None
    if not _same(moved.body, place.body):
        return None
    best = Expr("best", moved.body.dtype)
    exprs = rebuilt([s.expr for s in moved.stores], lambda x, _: best if x.op == "acc" else None)
    stores = [replace(s, expr=e) for s, e in zip(moved.stores, exprs, strict=True)]
    return replace(
        place,
        stores=[*stores, *place.stores],
        nodes=(*value.nodes, *place.nodes),
        flops=value.flops + place.flops,
        name=value.name,
        group=None,
        row_loops=0,
    )


def _same(x: Expr, y: Expr) -> bool:
    if x is y:
        return True
    if (x.op, x.dtype, x.buffer, x.index, x.conditions, len(x.args)) != (
        y.op, y.dtype, y.buffer, y.index, y.conditions, len(y.args),
    ) or repr(x.value) != repr(y.value):  # fmt: skip
        return False
    return all(_same(a, b) for a, b in zip(x.args, y.args, strict=True))


def _may_be_early(place: Kernel, before: Sequence[Launch]) -> bool:
    """Whether none of the launches up to a kernel writes what it reads, or has to do with what it
    writes."""
    read = {id(buffer.root) for buffer in place.reads()}
    written = {id(buffer.root) for buffer in place.writes()}
    for launch in before:
        writes = {id(buffer.root) for buffer in launch.writes()}
        if writes & (read | written) or written & {id(b.root) for b in launch.reads()}:
            return False
    return True
