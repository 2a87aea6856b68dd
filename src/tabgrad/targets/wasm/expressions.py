"""Kernel expressions as vector code: four points of one loop at a time.

An `Evaluator` belongs to one function. It knows where buffers and loop counters are, which loop is
spread over the lanes, and how many lanes count. Loads are whole vectors where the index advances by
one with that loop, one splat element where it stands still, and lane by lane otherwise. Every value
fills 32-bit lanes: small integers are extended, bools are masks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tabgrad.dtypes import DType
from tabgrad.errors import NotSupportedError
from tabgrad.ir.index import Atom, Div, Dyn, Index, Var
from tabgrad.ir.kernel import Condition, Expr, Store
from tabgrad.targets.wasm import mathlib
from tabgrad.targets.wasm.builder import (
    I32,
    F32x4,
    Function,
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    U8x16,
    U16x8,
    U32x4,
)

LANES = 4
V = Any  # one of F32x4, I32x4, U32x4

HELD = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32"})


def check_dtype(dtype: DType) -> None:
    """Raise NotSupportedError for a dtype these kernels cannot compute with."""
    if dtype.name not in HELD:
        raise NotSupportedError(
            f"expected one of {', '.join(sorted(HELD))} on the wasm engine; received {dtype.name}. "
            "Cast it, or compute with tg.set_engine('reference')"
        )


def lane_type(dtype: DType) -> type[Any]:
    """The vector type values of a dtype are computed in."""
    check_dtype(dtype)
    if dtype.is_float:
        return F32x4
    return U32x4 if dtype.kind == "u" else I32x4


class Evaluator:
    """Emits expressions into a function."""

    def __init__(
        self,
        f: Function,
        bases: Mapping[int, I32],
        counters: Mapping[Var, I32],
        fma: bool,
        acc: Any = None,
    ) -> None:
        self.f = f
        self.fma = fma
        self.bases = dict(bases)
        self.counters = dict(counters)
        self.acc = acc  # value of "acc": the folded vector
        self.vector: Var | None = None
        self.lanes = LANES
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
                if expr.op not in ("const", "acc") and not _uses_acc(expr):
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

    def _compute(self, expr: Expr) -> V:
        if expr.op == "const":
            return constant(expr)
        if expr.op == "acc":
            return self.acc
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
        kind = lane_type(expr.dtype)
        whole = self.index_lanes(expr.index)
        if kind is F32x4:
            return whole.to_f32()
        return normalised(whole.view(kind), expr.dtype)

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
        # A guarded load may start before its buffer; a constant folded into the instruction would
        # then be added to a wrapped address, so it goes into the pointer.
        const = rest.const if load.index.range[0] >= 0 else 0
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
            return splat_from(expr.dtype, pointer)
        assert self.vector is not None
        counter = self.counters[self.vector]
        return vector_from(expr.dtype, pointer + counter * size)

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
        return as_lanes(result, expr.dtype)

    def _load_allowed(self, expr: Expr, by: int | None) -> V:
        """Inside a guard some lanes must not touch memory: they read element 0 instead."""
        assert expr.buffer is not None and expr.index is not None and self._mask is not None
        size = expr.dtype.itemsize
        base = self.bases[id(expr.buffer)]
        if by == 0:
            some = I32.const(0) - self._mask.any_true()
            return splat_from(expr.dtype, base + (self.index(expr.index) & some) * size)
        kind = raw_type(expr.dtype)
        result = self.f.local(kind, kind.const(0))
        for lane in range(self.lanes):
            at = self.index(expr.index, lane) & self._mask.lane(lane)
            result.set(put_lane(result, lane, expr.dtype, base + at * size))
        return as_lanes(result, expr.dtype)

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
                allowed = allowed & self._mask.any_true()
            with f.if_(allowed), self.fresh():
                result.set(self.value(inside))
            with f.else_(), self.fresh():
                result.set(self.value(outside))
            return result
        mask = self._lane_mask(expr.conditions)
        if self._mask is not None:
            mask = f.let(mask & self._mask)
        with f.if_(mask.all_true()), self.fresh():
            before, self._mask = self._mask, None
            result.set(self.value(inside))
            self._mask = before
        with f.else_(), self.fresh():
            before, self._mask = self._mask, mask
            taken = self.value(inside)
            self._mask = before
            result.set(mask.select(taken, self.value(outside)))
        return result

    # Stores

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
            old = self.f.let(vector_from(dtype, place))
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
        old = self.f.let(splat_from(dtype, place))
        new = type(value).splat(value.lane(lane))
        put_element(self.f, dtype, place, combine(self, store.combine, old, new, dtype), 0)


def _uses_acc(expr: Expr) -> bool:
    stack, seen = [expr], set[int]()
    while stack:
        at = stack.pop()
        if at.op == "acc":
            return True
        for arg in at.args:
            if id(arg) not in seen:
                seen.add(id(arg))
                stack.append(arg)
    return False


# Elements in memory -------------------------------------------------------------------------------


def raw_type(dtype: DType) -> type[Any]:
    """The vector type elements are gathered in, before bools become masks."""
    return I32x4 if dtype.kind == "b" else lane_type(dtype)


def as_lanes(raw: V, dtype: DType) -> V:
    """Gathered elements as the values computed with."""
    return raw != 0 if dtype.kind == "b" else raw


def element_from(dtype: DType, address: I32) -> Any:
    """One element from memory as a scalar of the vector type's."""
    scalar = raw_type(dtype).SCALAR
    if dtype.itemsize == 4:
        return scalar.load(address)
    signed = dtype.kind == "i"
    if dtype.itemsize == 1:
        found = I32.load8_s(address) if signed else I32.load8_u(address)
    else:
        found = I32.load16_s(address) if signed else I32.load16_u(address)
    return found if scalar is I32 else found.view(scalar)


def put_lane(vector: V, lane: int, dtype: DType, address: I32) -> V:
    """The vector with one lane from memory."""
    if dtype.itemsize == 4:
        return vector.load_lane(lane, address)
    return vector.with_lane(lane, element_from(dtype, address))


def splat_from(dtype: DType, address: I32) -> V:
    """One element from memory in all lanes."""
    kind = raw_type(dtype)
    if dtype.itemsize == 4:
        return as_lanes(kind.load_splat(address), dtype)
    return as_lanes(kind.splat(element_from(dtype, address)), dtype)


def vector_from(dtype: DType, address: I32) -> V:
    """Four neighbouring elements; may read past the last one, which every buffer allows."""
    kind = raw_type(dtype)
    if dtype.itemsize == 4:
        return kind.load(address)
    if dtype.itemsize == 2:
        wide = I32x4 if dtype.kind == "i" else U32x4
        return wide.load_widened(address)
    if dtype.kind == "i":
        return U32x4.load_first(address).view(I8x16).widen_low(I16x8).widen_low(I32x4)
    bytes_ = U32x4.load_first(address).view(U8x16).widen_low(U16x8).widen_low(U32x4)
    return as_lanes(bytes_.view(kind), dtype)


def put_vector(f: Function, dtype: DType, address: I32, value: V, lanes: int) -> None:
    """Store the first lanes next to each other."""
    if dtype.itemsize == 4:
        value = f.once(value) if lanes == 3 else value
        f.store_lanes(f.let(address) if lanes == 3 else address, value, lanes)
        return
    if lanes == LANES:
        mask = 1 if dtype.kind == "b" else (1 << dtype.bits) - 1
        low = f.let(value.view(I32x4) & mask)
        if dtype.itemsize == 1:
            halves = f.let(low.narrow(low, I16x8))
            f.store_lane(address, halves.narrow(halves, U8x16).view(I32x4), 0)
        else:
            f.store_lane(address, low.narrow(low, U16x8).view(I64x2), 0)
        return
    value, place = f.once(value), f.let(address)
    for lane in range(lanes):
        put_element(f, dtype, place + lane * dtype.itemsize, value, lane)


def put_element(f: Function, dtype: DType, address: I32, value: V, lane: int) -> None:
    """Store one lane."""
    if dtype.itemsize == 4:
        f.store_lane(address, value, lane)
        return
    number = value.view(I32x4).lane(lane)
    if dtype.kind == "b":
        number = number & 1
    if dtype.itemsize == 1:
        f.store8(address, number)
    else:
        f.store16(address, number)


def constant(expr: Expr) -> V:
    """A constant in all lanes."""
    kind = lane_type(expr.dtype)
    if expr.dtype.kind == "b":
        return kind.const(-1 if expr.value else 0)
    return kind.const(float(expr.value) if kind is F32x4 else int(expr.value))


# Arithmetic ---------------------------------------------------------------------------------------


def normalised(value: V, dtype: DType) -> V:
    """A 32-bit result wrapped to a smaller integer's range."""
    if dtype.itemsize == 4 or dtype.kind not in "iu":
        return value
    if dtype.kind == "u":
        return value & ((1 << dtype.bits) - 1)
    shift = 32 - dtype.bits
    return (value << shift) >> shift


def combine(e: Evaluator, fold: str, x: V, y: V, dtype: DType) -> V:
    """x and y folded together: one step of a reduction or of a scatter."""
    if fold in ("sum", "add"):
        return normalised(x + y, dtype)
    if fold == "prod":
        return normalised(x * y, dtype)
    if fold in ("or", "and"):
        return x | y if fold == "or" else x & y
    if fold not in ("max", "min"):
        raise AssertionError(fold)
    if isinstance(x, F32x4):
        larger = mathlib.maximum if fold == "max" else mathlib.minimum
        return larger(e.f, x, y)
    if dtype.kind == "b":
        return x | y if fold == "max" else x & y
    return x.max(y) if fold == "max" else x.min(y)


def operation(e: Evaluator, expr: Expr) -> V:
    """One elementwise primitive."""
    rule = _OPERATIONS.get(expr.op)
    if rule is None:
        raise NotSupportedError(f"internal: the wasm target has no rule for {expr.op}")
    return rule(e, expr, *[e.value(arg) for arg in expr.args])


Rule = Callable[..., V]


def _arithmetic(on_all: Callable[[V, V], V]) -> Rule:
    return lambda e, x, a, b: normalised(on_all(a, b), x.dtype)


def _floats(function: Callable[..., V]) -> Rule:
    return lambda e, x, *args: function(e.f, *args, e.fma)


def _by_kind(on_float: Callable[..., V], on_integer: Callable[..., V]) -> Rule:
    def rule(e: Evaluator, x: Expr, *args: V) -> V:
        if isinstance(args[0], F32x4):
            return on_float(e.f, *args)
        return normalised(on_integer(e.f, *args), x.dtype)

    return rule


def _extremum(fold: str) -> Rule:
    return lambda e, x, a, b: combine(e, fold, a, b, x.dtype)


def _compare(test: Callable[[V, V], V]) -> Rule:
    def rule(e: Evaluator, x: Expr, a: V, b: V) -> V:
        if x.args[0].dtype.kind == "b":  # masks: True is -1, so compare as 1 and 0
            a, b = a & 1, b & 1
        return test(a, b).view(I32x4)

    return rule


def _cast(e: Evaluator, x: Expr, a: V) -> V:
    source, target = x.args[0].dtype, x.dtype
    kind = lane_type(target)
    if target.kind == "b":
        return (a != 0).view(I32x4)
    if source.kind == "b":
        one = constant(Expr("const", target, value=1))
        return (a.view(I32x4) & one.view(I32x4)).view(kind)
    if source.is_float:
        if target.is_float:
            return a
        return mathlib.to_integer(e.f, a, target.bits, target.kind == "i").view(kind)
    if target.is_float:
        return a.to_f32()
    return normalised(a.view(kind), target)


def _shift(e: Evaluator, x: Expr, a: V, b: V) -> V:
    """Lane by lane: WASM shifts all lanes by one count. Too large counts give 0 (or the sign)."""
    f, bits = e.f, x.dtype.bits
    value, count = f.once(a), f.once(b)
    uniform = x.args[1].op == "const"
    left = x.op == "shl"
    if uniform:
        n = int(x.args[1].value)
        if not 0 <= n < bits:
            if left or x.dtype.kind == "u":
                return value ^ value
            return value >> 31
        return normalised(value << n if left else value >> n, x.dtype)
    result = f.let(value)
    for lane in range(e.lanes):
        amount = f.let(count.view(I32x4).lane(lane))
        number = value.lane(lane)
        within = (amount >= 0) & (amount < bits)
        kind = type(number)
        amount_here = amount if kind is I32 else amount.view(kind)
        moved = number << amount_here if left else number >> amount_here
        other = kind.const(0) if left or x.dtype.kind == "u" else number >> 31
        result.set(result.with_lane(lane, within.select(f.let(moved), f.let(other))))
    return normalised(result, x.dtype)


def _power(e: Evaluator, x: Expr, a: V, b: V) -> V:
    if isinstance(a, F32x4):
        return mathlib.power(e.f, a, b, e.fma)
    return _integer_power(e, x, a, b)


def _integer_power(e: Evaluator, x: Expr, a: V, b: V) -> V:
    """By squaring, on all lanes; a negative exponent gives 0 but for bases 1 and -1."""
    f = e.f
    kind = type(a)
    base, exponent = f.let(a), f.let(b)
    result = f.local(kind, kind.const(1))
    if kind is I32x4:
        odd = (exponent & 1) != 0
        sign = f.let(odd.select(base, base * base))
        unit = ((base == 1) | (base == -1)).view(I32x4)
        negative = f.let(exponent < 0)
        inverse = f.let(unit.select(sign, kind.const(0)))
        exponent.set(negative.select(kind.const(0), exponent))
    with f.while_(exponent.view(I32x4).any_true()):
        hit = ((exponent & 1) != 0).view(I32x4)
        result.set(hit.select(result * base, result))
        base.set(base * base)
        exponent.set((exponent.view(U32x4) >> 1).view(kind))
    if kind is I32x4:
        result.set(negative.select(inverse, result))
    return normalised(result, x.dtype)


def _select(e: Evaluator, x: Expr, cond: V, a: V, b: V) -> V:
    # relu and its kin: a zero branch needs only the mask.
    if x.args[1].op == "const" and x.dtype.is_float and constant_bits(x.args[1]) == 0:
        return b.view(I32x4).and_not(cond).view(F32x4)
    if x.args[2].op == "const" and x.dtype.is_float and constant_bits(x.args[2]) == 0:
        return (a.view(I32x4) & cond).view(F32x4)
    return mathlib.choose(cond, a, b, e.fma)


def constant_bits(expr: Expr) -> int:
    """The bits of a float32 constant."""
    return int(struct.unpack("<I", struct.pack("<f", expr.value))[0])


def _threefry(e: Evaluator, x: Expr, k0: V, k1: V, c0: V, c1: V) -> V:
    return mathlib.threefry2x32(e.f, (k0, k1), (c0, c1))


def _sign(f: Function, a: V) -> V:
    if isinstance(a, U32x4):
        return ((a != 0).view(U32x4)) & 1
    return mathlib.integer_sign(f, a)


_OPERATIONS: dict[str, Rule] = {
    "add": _arithmetic(lambda a, b: a + b),
    "sub": _arithmetic(lambda a, b: a - b),
    "mul": _arithmetic(lambda a, b: a * b),
    "div": lambda e, x, a, b: a / b,
    "neg": lambda e, x, a: normalised(-a, x.dtype),
    "abs": lambda e, x, a: normalised(a if x.dtype.kind in "bu" else abs(a), x.dtype),
    "sign": _by_kind(mathlib.sign, _sign),
    "floor": lambda e, x, a: a.floor(),
    "ceil": lambda e, x, a: a.ceil(),
    "round": lambda e, x, a: a.nearest(),
    "trunc": lambda e, x, a: a.trunc(),
    "sqrt": lambda e, x, a: a.sqrt(),
    "exp": _floats(mathlib.exp),
    "expm1": _floats(mathlib.expm1),
    "log": _floats(mathlib.log),
    "log1p": _floats(mathlib.log1p),
    "sin": _floats(mathlib.sin),
    "cos": _floats(mathlib.cos),
    "tan": _floats(mathlib.tan),
    "tanh": _floats(mathlib.tanh),
    "sigmoid": _floats(mathlib.sigmoid),
    "erf": _floats(mathlib.erf),
    "atan2": _floats(mathlib.atan2),
    "pow": _power,
    "floordiv": _by_kind(mathlib.floor_divide, mathlib.integer_floor_divide),
    "mod": _by_kind(mathlib.floor_mod, mathlib.integer_mod),
    "max": _extremum("max"),
    "min": _extremum("min"),
    "and": lambda e, x, a, b: a & b,
    "or": lambda e, x, a, b: a | b,
    "xor": lambda e, x, a, b: a ^ b,
    "not": lambda e, x, a: ~a if x.dtype.kind != "u" else normalised(~a, x.dtype),
    "shl": _shift,
    "shr": _shift,
    "eq": _compare(lambda a, b: a == b),
    "ne": _compare(lambda a, b: a != b),
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "select": _select,
    "cast": _cast,
    "bitcast": lambda e, x, a: a.view(lane_type(x.dtype)),
    "threefry": _threefry,
    "tag": lambda e, x, a: a,
    "stop": lambda e, x, a: a,
}
