"""Kernel expressions as vector code: four points of one loop at a time, two where values are wide.

An `Evaluator` belongs to one function. It knows where buffers and loop counters are, which loop is
spread over the lanes, and how many lanes count. Loads are whole vectors where the index advances by
one with that loop, one splat element where it stands still, and lane by lane otherwise. What the
elements are is in `elements.py`, what the operations are in `operations.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from tabgrad.ir.index import Atom, Div, Dyn, Index, Var
from tabgrad.ir.kernel import Condition, Expr, Store
from tabgrad.targets.wasm.builder import I32, Function, I32x4
from tabgrad.targets.wasm.elements import (
    LANES,
    V,
    as_lanes,
    element_from,
    lane_type,
    mask_for,
    normalised,
    put_element,
    put_lane,
    put_vector,
    raw_type,
    splat_from,
    vector_from,
)
from tabgrad.targets.wasm.mathlib import conversions
from tabgrad.targets.wasm.operations import combine, constant, operation
from tabgrad.targets.wasm.scheduling import in_turns

T = TypeVar("T")


class Evaluator:
    """Emits expressions into a function."""

    def __init__(
        self,
        f: Function,
        bases: Mapping[int, I32],
        counters: Mapping[Var, I32],
        fma: bool,
        width: int = LANES,
    ) -> None:
        self.f = f
        self.fma = fma
        self.width = width  # points in a vector, see `elements.width_of`
        self.bases = dict(bases)
        self.counters = dict(counters)
        self.acc: Any = None  # value of "acc": the folded vector
        self.best: Any = None  # value of "best": what is where "acc" says
        self.vector: Var | None = None
        self.lanes = width
        self._values: dict[int, V] = {}
        self._pointers: dict[tuple[int, Index], I32] = {}
        self._keep_alive: list[Expr] = []
        self._mask: V | None = None  # lanes whose loads are allowed, inside a partial guard

    # Contexts

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Values computed inside are forgotten after, because their locals may not hold them."""
        values, pointers = dict(self._values), dict(self._pointers)
        yield
        self._values, self._pointers = values, pointers

    @contextmanager
    def over(self, vector: Var | None, counter: I32 | None, lanes: int) -> Iterator[None]:
        """Inside, `vector` runs over the lanes, starting at `counter`; only `lanes` count."""
        before = (self.vector, self.lanes)
        had = self.counters.get(vector) if vector is not None else None
        self.vector, self.lanes = vector, lanes
        if vector is not None and counter is not None:
            self.counters[vector] = counter
        with self.fresh():
            yield
        self.vector, self.lanes = before
        if vector is not None:
            if had is None:
                self.counters.pop(vector, None)
            else:
                self.counters[vector] = had

    def hoist(self, roots: Sequence[Expr], vector: Var) -> None:
        """Before the loop over `vector`: compute what does not depend on it, and the addresses
        from which its loads advance. WASM engines move little out of loops by themselves."""
        seen: set[int] = set()
        stack = list(roots)
        outer, self.vector = self.vector, vector
        while stack:
            expr = stack.pop()
            if id(expr) in seen:
                continue
            seen.add(id(expr))
            if vector not in expr.variables():
                # A use of the folded value, or a guard's branch, may not be computed early.
                if expr.op not in ("const", "acc", "best") and not _uses_acc(expr):
                    self.vector = None
                    self.value(expr)
                    self.vector = vector
                continue
            if expr.op == "load":
                if expr.index is not None and self.step(expr.index) is not None:
                    self._pointer(expr)
            elif expr.op == "guard":
                continue
            stack += expr.args
        self.vector = outer

    # Values

    def value(self, expr: Expr) -> V:
        """A local (or constant) holding the expression for the current lanes."""
        found = self._values.get(id(expr))
        if found is None:
            found = self._compute(expr)
            if expr.op != "const":
                found = tuple(found) if isinstance(found, tuple) else self.f.once(found)
            self._values[id(expr)] = found
            self._keep_alive.append(expr)
        return found

    def know(self, expr: Expr, value: V) -> None:
        """Until the context ends, this is the value of an expression."""
        self._values[id(expr)] = value
        self._keep_alive.append(expr)

    def in_turns(
        self, vector: Var | None, places: Sequence[I32], give: Callable[[], T], lanes: int = 0
    ) -> list[T]:
        """What `give` computes with `vector` at each of some places, side by side."""
        found: list[T] = []

        def at(place: I32) -> None:
            with self.over(vector, place, lanes or self.width):
                found.append(give())

        in_turns(self.f, [partial(at, place) for place in places])
        return found

    def _compute(self, expr: Expr) -> V:
        if expr.op == "const":
            return constant(expr)
        if expr.op == "acc":
            return self.acc
        if expr.op == "best":
            return self.best
        if expr.op == "load":
            return self._load(expr)
        if expr.op == "index":
            return self._index_vector(expr)
        if expr.op == "guard":
            return self._guard(expr)
        if expr.op == "output":
            return self.value(expr.args[0])[expr.value]
        return operation(self, expr)

    # Indices

    def index(self, index: Index, lane: int = 0) -> I32:
        """The value of an index at one lane, as scalar code."""
        total = I32.const(index.const)
        for atom, c in index.terms.items():
            total = total + self._atom(atom, lane) * c
        if total.offset > 0 and not _never_negative(index - index.const):
            return self.f.let(total)  # see `_pointer`
        return total

    def _atom(self, atom: Atom, lane: int) -> I32:
        if isinstance(atom, Var):
            at = self.counters[atom]
            return at + lane if atom is self.vector or atom == self.vector else at
        if isinstance(atom, Dyn):
            found = self.value(atom.expr)
            varies = self.vector is not None and self.vector in atom.expr.variables()
            lane_value = found.lane(lane if varies else 0)
            return self.f.let(
                lane_value.view(I32) if not isinstance(lane_value, I32) else lane_value
            )
        inner = self.index(atom.of, lane)
        low, _ = atom.of.range
        lift = -(low // atom.by) if low < 0 else 0  # WASM divides towards zero
        if isinstance(atom, Div):
            return (inner + lift * atom.by).div(atom.by) - lift
        return (inner + lift * atom.by).rem(atom.by)

    def step(self, index: Index) -> int | None:
        """How far an index moves from lane to lane, or None where that is not constant."""
        if self.vector is None:
            return 0
        return index.coefficient(self.vector)

    def _index_vector(self, expr: Expr) -> V:
        assert expr.index is not None
        kind, whole = lane_type(expr.dtype), self.index_lanes(expr.index)
        if expr.dtype.itemsize == 8:
            wide = whole.to_f64_low() if expr.dtype.is_float else conversions.widen(whole)
            return wide.view(kind)
        number = whole.to_f32() if expr.dtype.is_float else whole.view(kind)
        return normalised(self.f, number, expr.dtype)

    def index_lanes(self, index: Index) -> I32x4:
        """An index at all lanes."""
        by = self.step(index)
        if by == 0:
            return I32x4.splat(self.index(index))
        if by is not None:
            return I32x4.splat(self.index(index)) + I32x4.const_lanes(
                [by * i for i in range(LANES)]
            )
        result = self.f.let(I32x4.splat(self.index(index)))
        for lane in range(1, self.lanes):
            result.set(result.with_lane(lane, self.index(index, lane)))
        return result

    # Memory

    def _pointer(self, load: Expr) -> I32:
        """The address of the load at counter 0 of the vector loop, in a local made once."""
        assert load.buffer is not None and load.index is not None
        size = load.dtype.itemsize
        rest = load.index
        if self.vector is not None and self.step(rest):
            rest = Index(rest.const, {a: c for a, c in rest.terms.items() if a != self.vector})
        # A constant folded into the instruction is added to an address that must not have wrapped
        # below 0, as that of a flipped view would; there it goes into the pointer.
        const = rest.const if _never_negative(rest - rest.const) else 0
        key = (id(load.buffer), rest - const)
        if key not in self._pointers:
            base = self.bases[id(load.buffer)]
            moved = rest - const
            if not moved.terms and not moved.const:
                self._pointers[key] = base
            else:
                self._pointers[key] = self.f.let(base + self.index(moved) * size)
        return self._pointers[key] + const * size

    def _load(self, expr: Expr) -> V:
        assert expr.buffer is not None and expr.index is not None
        by = self.step(expr.index)
        if self._mask is not None:
            return self._load_allowed(expr, by)
        size = expr.dtype.itemsize
        if by is None or (by not in (0, 1)):
            return self._load_lanes(expr, by)
        pointer = self._pointer(expr)
        if by == 0:
            return splat_from(self.f, expr.dtype, pointer)
        assert self.vector is not None
        counter = self.counters[self.vector]
        return vector_from(self.f, expr.dtype, pointer + counter * size)

    def _load_lanes(self, expr: Expr, by: int | None) -> V:
        assert expr.buffer is not None and expr.index is not None
        size = expr.dtype.itemsize
        kind = raw_type(expr.dtype)
        if by is not None:
            assert self.vector is not None
            start = self.f.let(self._pointer(expr) + self.counters[self.vector] * (by * size))
            # A negative step must not be folded into the instruction's unsigned offset.
            places = [start + lane * by * size for lane in range(self.lanes)]
        else:
            base = self.bases[id(expr.buffer)]
            places = [base + self.index(expr.index, lane) * size for lane in range(self.lanes)]
        result = self.f.let(kind.splat(element_from(expr.dtype, places[0])))
        for lane in range(1, self.lanes):
            result.set(put_lane(result, lane, expr.dtype, places[lane]))
        return as_lanes(self.f, result, expr.dtype)

    def _load_allowed(self, expr: Expr, by: int | None) -> V:
        """Inside a guard some lanes must not touch memory: they read element 0 instead."""
        assert expr.buffer is not None and expr.index is not None and self._mask is not None
        size = expr.dtype.itemsize
        base = self.bases[id(expr.buffer)]
        if by == 0:
            some = I32.const(0) - self._any(self._mask)
            return splat_from(self.f, expr.dtype, base + (self.index(expr.index) & some) * size)
        kind = raw_type(expr.dtype)
        result = self.f.local(kind, kind.const(0))
        for lane in range(self.lanes):
            at = self.index(expr.index, lane) & self._mask.lane(lane)
            result.set(put_lane(result, lane, expr.dtype, base + at * size))
        return as_lanes(self.f, result, expr.dtype)

    # Guards

    def holds(self, condition: Condition, lane: int = 0) -> I32:
        """One condition at one lane, as 0 or 1."""
        at = self.f.let(self.index(condition.index, lane))
        if condition.modulo != 1:
            low = condition.index.range[0]
            lift = -(low // condition.modulo) * condition.modulo if low < 0 else 0
            return (at + lift).rem(condition.modulo) == 0
        if condition.low is None:
            return at < condition.high  # type: ignore[operator]
        if condition.high is None:
            return at >= condition.low
        return (at >= condition.low) & (at < condition.high)

    def all_hold(self, conditions: Sequence[Condition], lane: int = 0) -> I32:
        """All conditions at one lane."""
        result = self.holds(conditions[0], lane)
        for condition in conditions[1:]:
            result = self.f.let(result) & self.holds(condition, lane)
        return result

    def _lane_mask(self, conditions: Sequence[Condition]) -> I32x4:
        result: I32x4 | None = None
        for condition in conditions:
            at = self.f.let(self.index_lanes(condition.index))
            masks: list[I32x4] = []
            if condition.modulo != 1:
                mask = self.f.local(I32x4, 0)
                for lane in range(self.lanes):
                    mask.set(mask.with_lane(lane, I32.const(0) - self.holds(condition, lane)))
                masks.append(mask)
            if condition.low is not None:
                masks.append(at >= condition.low)
            if condition.high is not None:
                masks.append(at < condition.high)
            for mask in masks:
                result = mask if result is None else self.f.let(result) & mask
        assert result is not None
        return self.f.let(result)

    def _guard(self, expr: Expr) -> V:
        f = self.f
        inside, outside = expr.args
        result = f.local(lane_type(expr.dtype))
        varies = self.vector is not None and any(
            self.vector in c.index.variables() for c in expr.conditions
        )
        if not varies:
            allowed = self.all_hold(expr.conditions)
            if self._mask is not None:
                allowed = allowed & self._any(self._mask)
            with f.if_(allowed), self.fresh():
                result.set(self.value(inside))
            with f.else_(), self.fresh():
                result.set(self.value(outside))
            return result
        mask = self._lane_mask(expr.conditions)
        if self._mask is not None:
            mask = f.let(mask & self._mask)
        with f.if_(self._all(mask)), self.fresh():
            before, self._mask = self._mask, None
            result.set(self.value(inside))
            self._mask = before
        with f.else_(), self.fresh():
            before, self._mask = self._mask, mask
            with self.fresh():  # what is loaded for these lanes alone is no value for others
                taken = self.value(inside)
            self._mask = before
            result.set(mask_for(type(taken), mask).select(taken, self.value(outside)))
        return result

    def _any(self, mask: I32x4) -> I32:
        return mask.any_true() if self.width == LANES else (mask.bitmask() & 3) != 0

    def _all(self, mask: I32x4) -> I32:
        return mask.all_true() if self.width == LANES else (mask.bitmask() & 3) == 3

    # Stores

    def store_all(self, stores: Sequence[Store]) -> None:
        """Compute and store at the current lanes."""
        # All values first: a store may overwrite what another value reads at the same place.
        values = [self.value(store.expr) for store in stores]
        for store, value in zip(stores, values, strict=True):
            self.store(store, value)

    def store(self, store: Store, value: V) -> None:
        """Put the lanes that count where the store says."""
        by = self.step(store.index)
        size = store.buffer.dtype.itemsize
        base = self.bases[id(store.buffer)]
        plain = store.combine == "set" and not store.conditions
        if plain and by == 1:
            put_vector(
                self.f, store.buffer.dtype, base + self.index(store.index) * size, value, self.lanes
            )
            return
        varies = self.vector is not None and any(
            self.vector in c.index.variables() for c in store.conditions
        )
        if by == 1 and not varies:
            if store.conditions:
                with self.f.if_(self.all_hold(store.conditions)), self.fresh():
                    self._combine_vector(store, value)
            else:
                self._combine_vector(store, value)
            return
        lanes = 1 if self.vector is None else self.lanes
        for lane in range(lanes):
            if store.conditions:
                with self.f.if_(self.all_hold(store.conditions, lane)), self.fresh():
                    self._store_lane(store, value, lane)
            else:
                self._store_lane(store, value, lane)

    def _combine_vector(self, store: Store, value: V) -> None:
        dtype = store.buffer.dtype
        place = self.f.let(self.bases[id(store.buffer)] + self.index(store.index) * dtype.itemsize)
        if store.combine != "set":
            old = self.f.let(vector_from(self.f, dtype, place))
            value = combine(self, store.combine, old, value, dtype)
        put_vector(self.f, dtype, place, value, self.lanes)

    def _store_lane(self, store: Store, value: V, lane: int) -> None:
        dtype = store.buffer.dtype
        place = self.f.let(
            self.bases[id(store.buffer)] + self.index(store.index, lane) * dtype.itemsize
        )
        if store.combine == "set":
            put_element(self.f, dtype, place, value, lane)
            return
        old = self.f.let(splat_from(self.f, dtype, place))
        new = type(value).splat(value.lane(lane))
        put_element(self.f, dtype, place, combine(self, store.combine, old, new, dtype), 0)


def _never_negative(index: Index) -> bool:
    return index.range[0] >= 0


def _uses_acc(expr: Expr) -> bool:
    stack, seen = [expr], set[int]()
    while stack:
        at = stack.pop()
        if at.op in ("acc", "best"):
            return True
        for arg in at.args:
            if id(arg) not in seen:
                seen.add(id(arg))
                stack.append(arg)
    return False
