"""Borders of zeros in memory: copies of whole stretches, with fills around them.

Not here: what is copied (compiler/border.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack

from tabgrad.ir.index import Index, Var, flatten
from tabgrad.ir.kernel import Condition, Kernel
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.matrix import runs


def takes(kernel: Kernel) -> bool:
    """Whether a kernel is a copy with a border that `emit` can make."""
    if kernel.kind != "map" or len(kernel.stores) != 1:
        return False
    if kernel.group is not None and kernel.group.kind == "rows":
        return False
    store = kernel.stores[0]
    expr = store.expr
    if expr.op != "guard" or store.combine != "set" or store.conditions:
        return False
    source, outside = expr.args
    if source.op != "load" or source.dtype is not store.buffer.dtype or source.buffer is None:
        return False
    if source.buffer.dtype is not source.dtype or outside.op != "const" or outside.value != 0:
        return False
    shape = tuple(v.size for v in kernel.space)
    if not shape or store.index != flatten(tuple(Index.of(v) for v in kernel.space), shape):
        return False
    guarded = [_single(condition) for condition in expr.conditions]
    if any(v is None for v in guarded):
        return False
    last = max(kernel.space.index(v) for v in guarded if v is not None)
    assert source.index is not None
    found = runs(source.index, kernel.space[last:])
    return found is not None and len(found) == 1 and found[0].stride == 1


def _single(condition: Condition) -> Var | None:
    """The loop a condition is about, if it is a plain one."""
    terms = condition.index.terms
    if condition.modulo != 1 or len(terms) != 1:
        return None
    ((v, c),) = terms.items()
    return v if isinstance(v, Var) and c == 1 else None


def emit(f: Function, kernel: Kernel, bases: Mapping[int, I32], fma: bool) -> int:
    """Write the body of such a copy; returns its number of units, steps of the outermost loop."""
    *_, begin, end = f.params
    e = Evaluator(f, bases, {}, fma)
    (store,) = kernel.stores
    source = store.expr.args[0]
    assert source.index is not None and source.buffer is not None
    inside: dict[Var, tuple[int, int]] = {}
    for condition in store.expr.conditions:
        v = _single(condition)
        assert v is not None
        low, high = inside.get(v, (0, v.size))
        if condition.low is not None:
            low = max(low, condition.low - condition.index.const)
        if condition.high is not None:
            high = min(high, condition.high - condition.index.const)
        inside[v] = low, max(high, low)
    last = max(kernel.space.index(v) for v in inside)
    outer, line, rest = kernel.space[:last], kernel.space[last], kernel.space[last + 1 :]
    item = store.buffer.dtype.itemsize
    point = math.prod(v.size for v in rest) * item
    low, high = inside[line]
    nothing = dict.fromkeys((line, *rest), Index())
    target = store.index.replace(nothing)
    # At the first element that is copied, so that the address does not wrap below 0.
    origin = source.index.replace({**nothing, line: Index(low)})

    def one_line() -> None:
        to = f.let(bases[id(store.buffer)] + e.index(target) * item)
        checked = [v for v in outer if v in inside]
        here = I32.const(1)
        for v in checked:
            at, (first, stop) = e.counters[v], inside[v]
            here = f.let(here & (at >= first) & (at < stop))

        def copy() -> None:
            if low:
                f.fill_memory(to, 0, low * point)
            if high > low:
                origin_at = bases[id(source.buffer)] + e.index(origin) * item
                f.copy_memory(to + low * point, origin_at, (high - low) * point)
            if high < line.size:
                f.fill_memory(to + high * point, 0, (line.size - high) * point)

        if not checked:
            copy()
            return
        with f.if_(here), e.fresh():
            copy()
        with f.else_():
            f.fill_memory(to, 0, line.size * point)

    if not outer:
        with f.loop_range(begin, end), e.fresh():
            one_line()
        return 1
    with f.loop_range(begin, end) as first, e.fresh():
        e.counters[outer[0]] = first
        with ExitStack() as stack:
            for v in outer[1:]:
                e.counters[v] = stack.enter_context(f.loop_range(0, v.size))
                stack.enter_context(e.fresh())
            one_line()
    return outer[0].size
