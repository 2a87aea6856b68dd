"""Borders of zeros: a copy of a contraction's operand that can be read in place.

A convolution reads 0 outside its input. With the zeros in memory the operand is a plain load, which
a register tile walks where it is; checking each element while packing it cost 20 % of a 3x3
convolution in V8. Phases of one gradient read one copy. Not here: how a target makes the copy
(targets/wasm/padding.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Atom, Index, Var, flatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store


def bordered(kernel: Kernel, operand: str, most: int, temporaries: list[Buffer]) -> list[Kernel]:
    """A kernel that copies what `operand` ("a" or "b") of a contraction reads, for it to read from
    now on; none where it has no border or the copy has more than `most` elements."""
    found = Border.of(getattr(kernel, operand), most, f"t{len(temporaries)}")
    if found is None:
        return []
    setattr(kernel, operand, found.load)
    return [found.put_before(kernel, temporaries)]


class Border:
    """A copy of what `a` reads, with zeros where its guard says so. Others may read it, too.

    `kernel` makes the copy, `load` is `a` as a load of it.
    """

    def __init__(self, a: Expr, axes: Sequence[_Axis], name: str) -> None:
        values: dict[Var, Index] = {}
        for axis in axes:
            values |= axis.values
        self._source, self._axes = a.args[0], axes
        self._copy = Buffer(name, "temp", math.prod(self._shape), a.dtype)
        loops = tuple(axis.var for axis in axes)
        where = flatten(tuple(map(Index.of, loops)), self._shape)
        self.kernel = collapse(Kernel("map", loops, [Store(self._copy, where, a.replace(values))]))
        self.load = self._load(tuple(axis.place for axis in axes))

    @staticmethod
    def of(a: Expr, most: int, name: str) -> Border | None:
        """A copy of what `a` reads, if it has at most `most` elements."""
        axes = _axes_of(a)
        if axes is None or math.prod(axis.var.size for axis in axes) > most:
            return None
        return Border(a, axes, name)

    def put_before(self, kernel: Kernel, temporaries: list[Buffer]) -> Kernel:
        """What makes the copy, for a kernel that comes after it."""
        self.kernel.name = f"{kernel.name}_border"
        temporaries.append(self._copy)
        return self.kernel

    def read(self, a: Expr) -> Expr | None:
        """`a`, which may read less of the source, as a load of this copy; None where this has not
        got all of it."""
        axes = _axes_of(a)
        if axes is None or a.args[0].buffer is not self._source.buffer:
            return None
        if [axis.by for axis in axes] != [axis.by for axis in self._axes]:
            return None
        if _start(a.args[0], axes) != _start(self._source, self._axes):
            return None
        pairs = list(zip(axes, self._axes, strict=True))
        if not all(its.has(axis) for axis, its in pairs):
            return None
        return self._load(tuple([axis.place + (axis.first - its.first) for axis, its in pairs]))

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple([axis.var.size for axis in self._axes])

    def _load(self, places: tuple[Index, ...]) -> Expr:
        at = flatten(places, self._shape)
        return Expr("load", self._copy.dtype, buffer=self._copy, index=at)


def _start(load: Expr, axes: Sequence[_Axis]) -> int:
    """Where in the source all axes are at 0."""
    assert load.index is not None
    return load.index.const - sum(axis.by * axis.moved for axis in axes)


class _Axis:
    """One axis of the copy: where a point of the contraction finds its element on it (`place`), and
    what the contraction's loops are (`values`) at a place of it. Places are counted from `first` in
    the source, of which those in `inside` exist."""

    def __init__(
        self, form: Mapping[Atom, int], number: int, by: int, conditions: Sequence[Condition]
    ) -> None:
        index = Index(0, form)
        low, high = index.range
        self.var = Var(f"x{number}", high - low + 1)
        self.by = by
        self.place = index - low
        unit = next(v for v, c in form.items() if c == 1)
        self.values = {v: Index() for v in form if isinstance(v, Var)}
        self.values[unit] = Index.of(self.var) + low  # type: ignore[index]
        own = [condition for condition in conditions if condition.index.terms == form]
        self.moved = own[0].index.const if own else 0
        self.first = low + self.moved
        begin, end = self.first, self.first + self.var.size
        for condition in own:
            by_other = condition.index.const - self.moved
            if condition.low is not None:
                begin = max(begin, condition.low - by_other)
            if condition.high is not None:
                end = min(end, condition.high - by_other)
        self.inside = range(begin, end)

    def has(self, other: _Axis) -> bool:
        """Whether all places of another are here, and the same ones of them inside."""
        last = other.first + other.var.size
        if other.first < self.first or last > self.first + self.var.size:
            return False
        inside = range(max(self.inside.start, other.first), min(self.inside.stop, last))
        return list(inside) == list(other.inside)


def _axes_of(a: Expr) -> list[_Axis] | None:
    """The axes of a copy of what `a` reads, None where it reads nothing that has a border."""
    if a.op != "guard" or a.args[0].op != "load" or a.args[1].op != "const" or a.args[1].value:
        return None
    assert a.args[0].index is not None
    return _axes(a.args[0].index, a.conditions)


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
        axes.append(_Axis(form, len(axes), by.pop(), conditions))
    return sorted(axes, key=lambda axis: -abs(axis.by))
