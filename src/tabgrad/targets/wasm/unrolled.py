"""Unrolled steps of folds: which there are, in what order they read least, and their code.

A step folds one value (or a product) into one of several running values that stay in registers.
Steps are written out one after the other; values that several of them need are loaded once and kept
as long as registers last. Conditions that are known when the code is written leave no trace; those
that loops outside decide are asked once for a group of steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tabgrad.ir.index import Div, Index, Mod, Var
from tabgrad.ir.kernel import Buffer, Condition, Expr, Store, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import V, put_vector, splat_from, vector_from
from tabgrad.targets.wasm.expressions import Evaluator


class Interned:
    """Equal expressions as one object."""

    def __init__(self) -> None:
        self._known: dict[object, Expr] = {}

    def __call__(self, x: Expr, args: tuple[Expr, ...], index: Index | None = None) -> Expr:
        """The one expression like `x` with these arguments."""
        index = x.index if index is None else index
        key = (x.op, x.dtype.name, tuple(map(id, args)), id(x.buffer), index, repr(x.value),
               x.conditions)  # fmt: skip
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Expr(
                x.op, x.dtype, args, buffer=x.buffer, index=index, value=x.value,
                conditions=x.conditions,
            )  # fmt: skip
        return found

    def same(self, root: Expr) -> Expr:
        """As it is."""
        new: dict[int, Expr] = {}
        for x in walk([root]):
            new[id(x)] = self(x, tuple([new[id(arg)] for arg in x.args]))
        return new[id(root)]

    def joined(self, root: Expr) -> Expr:
        """With quotients and remainders put together again."""
        new: dict[int, Expr] = {}
        for x in walk([root]):
            args = tuple([new[id(arg)] for arg in x.args])
            new[id(x)] = self(x, args, None if x.index is None else x.index.joined())
        return new[id(root)]

    def decided(self, root: Expr) -> Expr:
        """With every guard that is decided already replaced by the branch that is taken."""
        new: dict[int, Expr] = {}
        for x in walk([root]):
            if x.op == "guard":
                truths = [known_truth(c) for c in x.conditions]
                if False in truths or None not in truths:
                    new[id(x)] = new[id(x.args[1 if False in truths else 0])]
                    continue
            new[id(x)] = self(x, tuple([new[id(arg)] for arg in x.args]))
        return new[id(root)]

    def settled(self, root: Expr, open_: list[Condition]) -> Expr:
        """With every guard replaced by the branch that is taken. Conditions that are not known yet
        join `open_` and are taken to hold."""
        new: dict[int, Expr] = {}
        for x in walk([root]):
            if x.op == "guard":
                truths = [known_truth(c) for c in x.conditions]
                new[id(x)] = new[id(x.args[1 if False in truths else 0])]
                if False not in truths:
                    unknown = zip(x.conditions, truths, strict=True)
                    open_ += [c for c, t in unknown if t is None and c not in open_]
                continue
            new[id(x)] = self(x, tuple([new[id(arg)] for arg in x.args]))
        return new[id(root)]


def known_truth(condition: Condition) -> bool | None:
    """Whether a condition holds, None where that depends on loops."""
    if condition.modulo != 1:
        rest = condition.index.split(condition.modulo)[1]
        return None if rest.terms else rest.const == 0
    low, high = condition.index.range
    if condition.low is not None and low < condition.low:
        return False if high < condition.low else None
    if condition.high is not None and high >= condition.high:
        return False if low >= condition.high else None
    return True


def value_at(index: Index, at: Mapping[Var, int]) -> int:
    """An index where loops are at these values, those not named at 0."""
    total = index.const
    for atom, c in index.terms.items():
        if isinstance(atom, Var):
            total += c * at.get(atom, 0)
        elif isinstance(atom, Div):
            total += c * (value_at(atom.of, at) // atom.by)
        elif isinstance(atom, Mod):
            total += c * (value_at(atom.of, at) % atom.by)
    return total


MAX_APART = 4  # elements from lane to lane; whole vectors are loaded and what is needed picked


@dataclass(eq=False)
class Step:
    """What is folded into one running value: a value or the factors of a product. `at` is where in
    memory it comes from, for the order of steps."""

    into: int
    order: int  # among the steps into the same value
    at: int
    parts: tuple[Expr, ...]
    place: Index | None = None  # that belongs to the value, where places are looked for


@dataclass
class Group:
    """Neighbouring steps that count under the same conditions."""

    conditions: tuple[Condition, ...]
    block: int
    steps: list[Step] = field(default_factory=list)

    def arrange(self) -> None:
        """Put steps that read the same element together, if each sum keeps its order."""
        order = sorted(self.steps, key=lambda s: (s.at, s.order, s.into))
        last: dict[int, int] = {}
        for step in order:
            if step.order < last.get(step.into, -1):
                return
            last[step.into] = step.order
        self.steps = order


class Points(Evaluator):
    """An evaluator that moves pointers: addresses are computed before the loop over lanes."""

    def __init__(
        self, f: Function, bases: Mapping[int, I32], fma: bool, width: int, lanes: Var
    ) -> None:
        super().__init__(f, bases, {}, fma, width)
        self.group = 0  # whose steps are being written
        self._run = lanes
        self._vectors = Var("vectors", max(-(-lanes.size // width), 2))  # one is a loop as well
        self._starts: dict[tuple[int, int, Index], tuple[I32, int]] = {}
        self._here: dict[tuple[int, int, Index], I32] = {}

    @contextmanager
    def fresh(self) -> Iterator[None]:
        starts, here = dict(self._starts), dict(self._here)
        with super().fresh():
            yield
        self._starts, self._here = starts, here

    # Addresses

    def _at_lane(self, index: Index, lane: int) -> Index:
        return index.replace({self._run: Index.of(self._vectors) * self.width + lane})

    def _parts(self, index: Index) -> tuple[Index, int, int]:
        """What stands still in the loop over lanes, the advance of a vector, and the constant."""
        along = index.coefficient(self._run)
        if along is not None:
            still = {a: c for a, c in index.terms.items() if a != self._run}
            return Index(0, still), along * self.width, index.const
        first = self._at_lane(index, 0)
        step = first.terms.get(self._vectors, 0)
        still = {a: c for a, c in first.terms.items() if a != self._vectors}
        return Index(0, still), step, first.const

    def pattern(self, index: Index) -> tuple[int, ...] | None:
        """How far each lane's element is from that of the first lane, None where that differs from
        vector to vector or is too far."""
        along = index.coefficient(self._run)
        if along is not None:
            apart_by = range(0, along * self.width, along) if along > 0 else (0,) * self.width
            return tuple(apart_by) if 0 <= along <= MAX_APART else None
        first = self._at_lane(index, 0)
        apart = [self._at_lane(index, lane) - first for lane in range(self.width)]
        if any(a.terms or not 0 <= a.const <= MAX_APART * self.width for a in apart):
            return None
        return tuple([a.const for a in apart])

    def movable(self, buffer: Buffer, index: Index) -> bool:
        """Whether the place advances evenly with the vectors."""
        still, step, _ = self._parts(index)
        if self._vectors in still.variables() or step * buffer.dtype.itemsize % self.width:
            return False
        return self.pattern(index) is not None

    def aim(self, groups: Sequence[Sequence[tuple[Buffer, Index]]]) -> None:
        """Compute where the accesses of each group start. Those that are within the buffer whatever
        the loops are share one pointer; others are used in their group alone, because an address
        may have wrapped below 0 where the conditions do not hold."""
        lowest: dict[tuple[int, int, Index], int] = {}
        shared: dict[tuple[int, Index], int] = {}
        buffers: dict[int, Buffer] = {}
        for number, accesses in enumerate(groups):
            for buffer, index in accesses:
                still, _, const = self._parts(index)
                name = id(buffer)
                buffers[name] = buffer
                lowest[number, name, still] = min(const, lowest.get((number, name, still), const))
                shared[name, still] = min(const, shared.get((name, still), const))
        pointers: dict[tuple[int, Index], I32] = {}
        for (number, name, still), const in lowest.items():
            common = shared[name, still]
            if still.range[0] + common < 0:
                start = self._start(buffers[name], still + const)
                self._starts[number, name, still] = (start, const)
                continue
            if (name, still) not in pointers:
                pointers[name, still] = self._start(buffers[name], still + common)
            self._starts[number, name, still] = (pointers[name, still], common)

    def _start(self, buffer: Buffer, index: Index) -> I32:
        return self.f.let(self.bases[id(buffer)] + self.index(index) * buffer.dtype.itemsize)

    def _address(self, buffer: Buffer, index: Index) -> I32 | None:
        """The address of the first lane's element, None where nobody aimed there."""
        still, step, const = self._parts(index)
        key = (self.group, id(buffer), still)
        if key not in self._starts:
            return None
        start, lowest = self._starts[key]
        size = buffer.dtype.itemsize
        if step:
            if key not in self._here:
                moved = self.counters[self._run] * (step * size // self.width)
                self._here[key] = self.f.let(start + moved)
            start = self._here[key]
        return start + (const - lowest) * size

    # Memory

    def reach(self, buffer: Buffer, index: Index) -> None:
        """Move the pointer for an access that is to come."""
        self._address(buffer, index)

    def _load(self, expr: Expr) -> V:
        found = None if self._mask is not None else self.loaded(expr)
        return super()._load(expr) if found is None else found

    def loaded(self, expr: Expr) -> V | None:
        """A load from where it was aimed at."""
        assert expr.buffer is not None and expr.index is not None
        at = self._address(expr.buffer, expr.index)
        if at is None:
            return None
        pattern = self.pattern(expr.index)
        assert pattern is not None
        if not any(pattern):
            return splat_from(self.f, expr.dtype, at)
        size, width = expr.dtype.itemsize, self.width
        found = vector_from(self.f, expr.dtype, at)
        if pattern == tuple(range(width)):
            return found
        result = self.f.let(found)
        result.set(result.shuffle(result, _lanes_of(pattern, 0, width, result.LANES)))
        for number in range(1, pattern[-1] // width + 1):
            if any(place // width == number for place in pattern):
                more = self.f.let(vector_from(self.f, expr.dtype, at + number * width * size))
                result.set(result.shuffle(more, _lanes_of(pattern, number, width, result.LANES)))
        return result

    def store(self, store: Store, value: V) -> None:
        at = self._address(store.buffer, store.index)
        if at is None:
            super().store(store, value)
        else:
            put_vector(self.f, store.buffer.dtype, at, value, self.lanes)


def _lanes_of(pattern: Sequence[int], number: int, width: int, lanes: int) -> list[int]:
    """The shuffle that takes from vector `number` what is in it, and leaves all other lanes."""
    picked = [
        lanes + place % width if place // width == number else lane
        for lane, place in enumerate(pattern)
    ]
    return (picked * lanes)[:lanes]


class Registers:
    """The values that the steps of a group share, each in a local while there is room for it."""

    def __init__(self, e: Points, steps: Sequence[Step], room: int) -> None:
        self.e, self.room = e, max(room, 1)
        self.uses: dict[int, deque[int]] = {}
        self.held: dict[int, V] = {}
        self.free: dict[type[Any], list[V]] = {}
        self.done: list[V] = []  # locals that the last step was the last to use
        for number, step in enumerate(steps):
            for part in step.parts:
                self.uses.setdefault(id(part), deque()).append(number)

    def values(self, step: Step) -> list[V]:
        """The parts of the step that is next."""
        for local in self.done:
            self.free.setdefault(type(local), []).append(local)
        self.done = []
        return [self._value(part) for part in step.parts]

    def _value(self, part: Expr) -> V:
        if part.op == "const":
            return self.e.value(part)
        key = id(part)
        uses = self.uses[key]
        uses.popleft()
        found = self.held.get(key)
        if found is None:
            found = self._made(part)
            if uses:
                if len(self.held) >= self.room:
                    # What is needed last makes room.
                    last = max(self.held, key=lambda other: self.uses[other][0])
                    self.done.append(self.held.pop(last))
                self.held[key] = found
                return found
        if not uses:
            self.held.pop(key, None)
            self.done.append(found)
        return found

    def _made(self, part: Expr) -> V:
        with self.e.f.scope() as scope, self.e.fresh():
            new = self.e.loaded(part) if part.op == "load" else self.e.value(part)
            assert new is not None
            unused = self.free.get(type(new))
            local = unused.pop() if unused else None
            if local is None:
                return scope.keep(new)
            return local.set(new)


def accesses(roots: Sequence[Expr], e: Points) -> list[tuple[Buffer, Index]]:
    """What expressions load whatever guards say, where pointers can follow."""
    return [
        (x.buffer, x.index)
        for x in {id(x): x for root in roots for x in _loads(root)}.values()
        if x.buffer and x.index and e.movable(x.buffer, x.index)
    ]


def shared_loads(roots: Sequence[Expr]) -> list[Expr]:
    """Loads that several of the expressions have in common, those inside guards excepted."""
    count: dict[int, int] = {}
    found: dict[int, Expr] = {}
    for root in roots:
        for x in _loads(root):
            count[id(x)] = count.get(id(x), 0) + 1
            found[id(x)] = x
    return [x for key, x in found.items() if count[key] > 1]


def _loads(root: Expr) -> Iterator[Expr]:
    """Loads outside of guards: what is inside one may not be touched where it does not hold."""
    pending, seen = [root], set[int]()
    while pending:
        x = pending.pop()
        if id(x) in seen or x.op == "guard":
            continue
        seen.add(id(x))
        pending += x.args
        if x.op == "load":
            yield x
