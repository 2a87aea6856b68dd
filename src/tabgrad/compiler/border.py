"""Borders of zeros: a copy of a contraction's operand that can be read in place.

A convolution reads 0 outside its input. With the zeros in memory the operand is a plain load, which
a register tile walks where it is; checking each element while packing it cost 20 % of a 3x3
convolution in V8. Not here: how a target makes the copy (targets/wasm/padding.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Atom, Index, Var, flatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store


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
