"""Kernel expressions as shader code: one point of the loops at a time, or four along one of them.

An `Evaluator` belongs to one block. It knows the loop counters, which loop is spread over the
lanes, and a `Storage` that reads and writes buffers. Values that do not depend on the loop over the
lanes have one lane; they are spread where they meet others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from tabgrad.ir.index import Div, Dyn, Index, Mod, Var
from tabgrad.ir.kernel import Buffer, Condition, Expr, Store, walk
from tabgrad.targets.shading.operations import combine, constant, normalised, operation
from tabgrad.targets.shading.values import LANES, Block, Value


class Storage(Protocol):
    """How a target reads and writes the elements of buffers."""

    def load(self, block: Block, buffer: Buffer, at: Value) -> Value:
        """One element as a value."""
        ...

    def load_four(self, block: Block, buffer: Buffer, at: Value) -> Value:
        """Four neighbours, the first at a multiple of four."""
        ...

    def load_neighbours(self, block: Block, buffer: Buffer, at: Value) -> Value | None:
        """Four neighbours that begin anywhere; None where one after the other is as good."""
        return None

    def store(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        """Write one element."""
        ...

    def store_four(self, block: Block, buffer: Buffer, at: Value, value: Value) -> None:
        """Write four neighbours, the first at a multiple of four."""
        ...

    def rows(self, block: Block) -> Value:
        """The true number of rows, for the buffer of role "rows"."""
        ...


class Evaluator:
    """Emits expressions into a block."""

    def __init__(self, block: Block, storage: Storage, counters: Mapping[Var, Value]) -> None:
        self.block, self.storage = block, storage
        self.counters = dict(counters)
        self.acc: Any = None
        self.vector: Var | None = None
        self.shifts: dict[Var, int] = {}  # what is to be added to counters
        self._values: dict[int, Any] = {}
        self._keep_alive: list[Expr] = []

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Values computed inside are forgotten after, since their names end with a block."""
        values, counters = dict(self._values), dict(self.counters)
        yield
        self._values, self.counters = values, counters

    @contextmanager
    def at(
        self,
        counters: Mapping[Var, Value],
        vector: Var | None = None,
        shifts: Mapping[Var, int] | None = None,
    ) -> Iterator[None]:
        """Inside, these are the loops' counters, and `vector` runs over the lanes. `shifts` are
        added to counters: so what places have in common is computed once."""
        before, old = self.vector, self.shifts
        with self.fresh():
            changed = {*counters, *(shifts or ()), *(v for v in (vector, before) if v is not None)}
            for expr in list(self._keep_alive):
                if id(expr) in self._values and expr.variables() & changed:
                    del self._values[id(expr)]
            self.counters.update(counters)
            self.vector = vector
            kept = {v: n for v, n in old.items() if v not in counters}
            self.shifts = {**kept, **(shifts or {})}
            yield
            self.vector, self.shifts = before, old

    @contextmanager
    def each(self, loops: Sequence[Var], vector: Var | None = None) -> Iterator[None]:
        """What is written inside happens at each point of some loops."""
        with ExitStack() as stack:
            for loop in loops:
                counter = stack.enter_context(self.block.range(0, loop.size))
                stack.enter_context(self.at({loop: counter}, vector))
            yield

    def value(self, expr: Expr) -> Any:
        """A name (or constant) of the expression's value: one lane or four."""
        found = self._values.get(id(expr))
        if found is None:
            found = self._compute(expr)
            if expr.op not in ("const", "acc", "output") and not isinstance(found, tuple):
                found = self.block.let(found)
            self._values[id(expr)] = found
            self._keep_alive.append(expr)
        return found

    def _compute(self, expr: Expr) -> Any:
        if expr.op == "const":
            return constant(self.block, expr)
        if expr.op == "acc":
            return self.acc
        if expr.op == "load":
            return self._load(expr)
        if expr.op == "index":
            return self._as_number(expr)
        if expr.op == "guard":
            inside = self.conditions(expr.conditions)
            x, y = self.value(expr.args[0]), self.value(expr.args[1])
            return x if inside is None else inside.select(x, y)
        if expr.op == "output":
            return self.value(expr.args[0])[expr.value]
        return operation(self.block, expr, [self.value(arg) for arg in expr.args])

    # Indices

    def index(self, index: Index, lane: int = 0) -> Value:
        """The value of an index at one lane."""
        total: Value | None = None
        const = index.const
        for atom, c in index.terms.items():
            if isinstance(atom, Var):
                part = self.counters[atom]
                const += c * self.shifts.get(atom, 0)
                const += c * lane if atom == self.vector else 0
            else:
                part = self._atom(atom, lane)
            part = part * c if c != 1 else part
            total = part if total is None else total + part
        if total is None:
            return self.block.const(const, "i")
        total = self.block.once(total)
        return total + const if const else total

    def _atom(self, atom: Div | Mod | Dyn, lane: int) -> Value:
        if isinstance(atom, Dyn):
            found: Value = self.value(atom.expr)
            return found.lane(lane).view("i")
        inner = self.block.let(self.index(atom.of, lane))
        low, _ = atom.of.range
        lift = -(low // atom.by) if low < 0 else 0  # shaders divide towards zero
        raised = inner + lift * atom.by if lift else inner
        if isinstance(atom, Div):
            return raised / atom.by - lift if lift else raised / atom.by
        return raised % atom.by

    def _varies(self, index: Index) -> bool:
        return self.vector is not None and self.vector in index.variables()

    def step(self, index: Index) -> int | None:
        """How far an index moves from lane to lane, None where that is not constant."""
        return 0 if self.vector is None else index.coefficient(self.vector)

    def lanes(self, index: Index) -> Value:
        """The index at every lane: of one lane where it stands still."""
        if not self._varies(index):
            return self.index(index)
        step = self.step(index)
        if step is None:
            names = [self.block.let(self.index(index, lane)) for lane in range(LANES)]
            return self.block.join(names)
        ramp = self.block.join([self.block.const(i * step, "i") for i in range(LANES)])
        return self.index(index).splat(LANES) + ramp

    def conditions(self, conditions: Sequence[Condition]) -> Value | None:
        """Whether all hold; None where there are none."""
        total: Value | None = None
        for one in conditions:
            at = self.block.let(self.lanes(one.index))
            tests = []
            if one.modulo != 1:
                low, _ = one.index.range
                lift = -(low // one.modulo) * one.modulo if low < 0 else 0
                tests.append(((at + lift if lift else at) % one.modulo).same(0))
            if one.low is not None:
                tests.append(at >= one.low)
            if one.high is not None:
                tests.append(at < one.high)
            for test in tests:
                total = test if total is None else total & test
        return total

    def _as_number(self, expr: Expr) -> Value:
        assert expr.index is not None
        whole = self.lanes(expr.index)
        if expr.dtype.is_float:
            return normalised(whole.to("f"), expr.dtype)
        return whole.view(expr.dtype.kind)

    # Memory

    def _load(self, expr: Expr) -> Value:
        buffer, index = expr.buffer, expr.index
        assert buffer is not None and index is not None
        if buffer.role == "rows":
            return self.storage.rows(self.block)
        if not self._varies(index):
            return self.storage.load(self.block, buffer, self.index(index))
        assert self.vector is not None
        if aligned(buffer) and four_at_once(index, self.vector):
            return self.storage.load_four(self.block, buffer, self.index(index))
        if self.step(index) == 1:
            neighbours = self.storage.load_neighbours(self.block, buffer, self.index(index))
            if neighbours is not None:
                return neighbours
        at = [self.index(index, lane) for lane in range(LANES)]
        found = [self.block.let(self.storage.load(self.block, buffer, one)) for one in at]
        return self.block.join(found)

    def store(self, store: Store) -> None:
        """Write the value of a store's expression, where its conditions hold."""
        value: Value = self.value(store.expr)
        vector = self.vector
        if vector is None or not (self._varies(store.index) or value.width > 1):
            self._put(store, value, 0)
            return
        if (
            aligned(store.buffer)
            and four_at_once(store.index, vector)
            and store.combine == "set"
            and not any(self._varies(c.index) for c in store.conditions)
        ):
            inside = self.conditions(store.conditions)
            if inside is None:
                self._put_four(store, value)
            else:
                with self.block.if_(inside), self.fresh():
                    self._put_four(store, value)
            return
        value = self.block.let(value)
        for lane in range(LANES):
            self._put(store, value.lane(lane), lane)

    def _put_four(self, store: Store, value: Value) -> None:
        at = self.index(store.index)
        self.storage.store_four(self.block, store.buffer, at, value.splat(LANES))

    def _put(self, store: Store, value: Value, lane: int) -> None:
        inside = self.conditions(store.conditions)
        if inside is None:
            self._put_one(store, value, lane)
            return
        with self.block.if_(inside.lane(lane)), self.fresh():
            self._put_one(store, value, lane)

    def _put_one(self, store: Store, value: Value, lane: int) -> None:
        at = self.block.let(self.index(store.index, lane))
        if store.combine != "set":
            old = self.block.let(self.storage.load(self.block, store.buffer, at))
            value = combine(store.combine, old, value, store.buffer.dtype)
        self.storage.store(self.block, store.buffer, at, value)


def side_by_side(roots: Sequence[Expr], vector: Var) -> int:
    """How many loads move by one from lane to lane along a loop, wherever they begin."""
    return sum(
        x.op == "load" and x.index is not None and x.index.coefficient(vector) == 1
        for x in walk(roots)
    )


def four_by_four(roots: Sequence[Expr], vector: Var) -> int:
    """How many of those loads begin at a multiple of four."""
    return sum(_is_by_four(x, vector) for x in walk(roots))


def read_by_four(roots: Sequence[Expr], vector: Var) -> set[int]:
    """The ids of the whole buffers that are read in that way."""
    return {id(x.buffer.root) for x in walk(roots) if x.buffer and _is_by_four(x, vector)}


def stored_by_four(stores: Sequence[Store], vector: Var) -> set[int]:
    """The ids of the whole buffers that are written in that way."""
    return {
        id(store.buffer.root)
        for store in stores
        if aligned(store.buffer) and four_at_once(store.index, vector)
    }


def _is_by_four(x: Expr, vector: Var) -> bool:
    if x.op != "load" or x.buffer is None or x.index is None:
        return False
    return aligned(x.buffer) and four_at_once(x.index, vector)


def aligned(buffer: Buffer) -> bool:
    """Whether a buffer begins at a multiple of four in the whole that it is a slice of."""
    while buffer.parent is not None:
        if buffer.size % LANES:
            return False
        buffer = buffer.parent
    return buffer.role != "rows"


def four_at_once(index: Index, vector: Var) -> bool:
    """Whether an index moves by one from lane to lane, from a multiple of four, where the counter
    of the loop over the lanes is one."""
    if index.terms.get(vector) != 1 or index.coefficient(vector) != 1 or index.const % LANES:
        return False
    return all(c % LANES == 0 for atom, c in index.terms.items() if atom != vector)
