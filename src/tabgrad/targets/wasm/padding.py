"""Borders of zeros: a copy of a contraction's operand that can be read in place; how it is made.

A convolution reads 0 outside its input. With the zeros in memory the operand is a plain load, which
the register tile walks where it is; checking each element while packing it cost 20 % of a 3x3
convolution in V8. `with_border` decides what is copied, `emit` copies whole stretches at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Atom, Index, Var, flatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.matrix import runs


def with_border(a: Expr, most: int, name: str) -> tuple[Kernel, Expr] | None:
    """A kernel that copies what `a` reads, zeros where its guard says so, and `a` as a load of that
    copy; None where `a` is nothing of the kind or the copy has more than `most` elements."""
    if a.op != "guard" or a.args[0].op != "load" or a.args[1].op != "const" or a.args[1].value:
        return None
    load = a.args[0]
    assert load.index is not None
    axes = _axes(load.index, a.conditions)
    if axes is None or math.prod(axis.var.size for axis in axes) > most:
        return None
    values: dict[Var, Index] = {}
    for axis in axes:
        values |= axis.values
    copy = Buffer(name, "temp", math.prod(axis.var.size for axis in axes), a.dtype)
    shape = tuple(axis.var.size for axis in axes)
    where = flatten(tuple(Index.of(axis.var) for axis in axes), shape)
    at = flatten(tuple(axis.place for axis in axes), shape)
    loops = tuple(axis.var for axis in axes)
    kernel = Kernel("map", loops, [Store(copy, where, a.replace(values))])
    return collapse(kernel), Expr("load", a.dtype, buffer=copy, index=at)


class _Axis:
    """One axis of the copy: where a point of the contraction finds its element on it (`place`), and
    what the contraction's loops are (`values`) at a place of it."""

    def __init__(self, form: Mapping[Atom, int], number: int, by: int) -> None:
        index = Index(0, form)
        low, high = index.range
        self.var = Var(f"x{number}", high - low + 1)
        self.by = by
        self.place = index - low
        unit = next(v for v, c in form.items() if c == 1)
        self.values = {v: Index() for v in form if isinstance(v, Var)}
        self.values[unit] = Index.of(self.var) + low  # type: ignore[index]


def _axes(index: Index, conditions: Sequence[Condition]) -> list[_Axis] | None:
    """The axes of the copy in the order of the source: the sums of loops that conditions ask for,
    and the loops they do not. None where the source is not read along them."""
    forms: list[dict[Atom, int]] = []
    for condition in conditions:
        terms = dict(condition.index.terms)
        if condition.modulo != 1 or not all(isinstance(v, Var) for v in terms):
            return None
        if terms not in forms:
            forms.append(terms)
    inside = [v for form in forms for v in form]
    if len(set(inside)) != len(inside) or not all(1 in form.values() for form in forms):
        return None
    if not all(isinstance(v, Var) for v in index.terms):
        return None
    forms += [{v: 1} for v in index.terms if v not in inside]
    axes: list[_Axis] = []
    for form in forms:
        by = {index.terms.get(v, 0) // c for v, c in form.items()}
        if len(by) != 1 or any(index.terms.get(v, 0) % c for v, c in form.items()):
            return None
        axes.append(_Axis(form, len(axes), by.pop()))
    return sorted(axes, key=lambda axis: -abs(axis.by))


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
