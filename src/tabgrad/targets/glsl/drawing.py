"""Kernels as draws: each fragment computes the four elements of its texel.

A store is turned round (inverse.py), so a fragment knows which points of the loops it is to
compute: four along a loop where the results lie that way, else one after the other. Stores to the
same places are outputs of one draw.

A texture cannot be read while it is drawn to. Where a kernel reads what it writes, or writes a part
of a texel, it draws the whole into another texture, which then takes the place of the first
(`Draw.swaps`): nothing is copied afterwards. Parts made of whole texels are drawn in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tabgrad.errors import NotSupportedError
from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Buffer, Kernel, Store
from tabgrad.targets.glsl.inverse import invert
from tabgrad.targets.glsl.scatter import Ordered, own_updates
from tabgrad.targets.glsl.shader import MAX_WRITES, Textures, bits, room, whole_rows, write
from tabgrad.targets.shading.bindings import element
from tabgrad.targets.shading.document import Surroundings
from tabgrad.targets.shading.expressions import Evaluator, aligned, four_at_once
from tabgrad.targets.shading.operations import combine
from tabgrad.targets.shading.values import LANES, Block, Value

DIRECT, AT_ONCE, AT_LAST = 0, 1, 2
"""When an output's new texture takes the place of the old: there is none; after the draw; after the
last draw of its kernel, because another one still reads the old."""


@dataclass(frozen=True)
class Draw:
    """A draw: its shader, the textures it reads and writes, and which texels."""

    code: str
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    swaps: tuple[int, ...]
    turns: bool  # whether the shader wants the turns of the loops around it
    begin: tuple[int, ...]  # the first texel, and how far each turn of a loop around moves it
    count: int


@dataclass(frozen=True)
class Setting(Surroundings):
    """What the kernels of an entry are in, and how many outputs a draw may have."""

    outputs: int = MAX_WRITES

    def room(self, root: Buffer) -> int:
        """For how many elements a whole buffer has room."""
        return self.plan.buffers[root.offset] if root.role == "temp" else room(root.size)

    def textures(self) -> Textures:
        """For a shader to be written."""
        return Textures(self.scalars, self.loops)


Fold = Callable[[Evaluator, Var | None], Value]
"""What is folded before anything is stored, with lanes across a loop of the results or none."""


def draws_of(
    kernel: Kernel,
    setting: Setting,
    across: Callable[[Var | None], bool] = lambda vector: True,
    fold: Fold | None = None,
) -> list[Draw]:
    """The draws of a kernel whose stores are computed at each point of its space, after a fold.

    `across` says whether lanes should go along a loop of the results.
    """
    read = {id(buffer.root) for buffer in kernel.reads()}
    made = []
    for stores in _together(kernel.stores, setting):
        one = _Drawing(kernel, stores, setting, read, across, fold)
        if not one.inverse.never:
            made.append(one.draw())
    if len(made) == 1:
        return made
    late = [
        replace(d, swaps=tuple([
            AT_LAST if swap and id(root) in read else swap
            for swap, root in zip(d.swaps, d.writes, strict=True)
        ]))
        for d in made
    ]  # fmt: skip
    waiting = [id(r) for d in late for s, r in zip(d.swaps, d.writes, strict=True) if s == AT_LAST]
    if len(set(waiting)) != len(waiting):
        raise NotSupportedError("internal: a kernel writes two parts of a buffer that it reads")
    return late


def _together(stores: Sequence[Store], setting: Setting) -> list[list[Store]]:
    """Stores to the same places of different buffers, as many as can be drawn at once."""
    groups: list[list[Store]] = []
    for store in stores:
        for group in groups:
            if len(group) < setting.outputs and _alike(group[0], store, setting):
                if all(other.buffer.root is not store.buffer.root for other in group):
                    group.append(store)
                    break
        else:
            groups.append([store])
    return groups


def _alike(one: Store, other: Store, setting: Setting) -> bool:
    # What is drawn to at once must have room for the same number of elements.
    if setting.room(one.buffer.root) != setting.room(other.buffer.root):
        return False
    if (one.index, one.conditions, one.combine) != (other.index, other.conditions, other.combine):
        return False
    a, b = one.buffer, other.buffer
    while a.parent is not None and b.parent is not None and a.loop is b.loop and a.size == b.size:
        a, b = a.parent, b.parent
    return a.parent is None and b.parent is None and a.size == b.size


class _Drawing:
    def __init__(
        self,
        kernel: Kernel,
        stores: Sequence[Store],
        setting: Setting,
        read: set[int],
        across: Callable[[Var | None], bool],
        fold: Fold | None,
    ) -> None:
        self.kernel, self.stores, self.setting, self.fold = kernel, stores, setting, fold
        self.textures = setting.textures()
        self.first = stores[0]
        self.home = self.first.buffer
        self.inverse = invert(self.first.index, kernel.space, self.home.size, self.first.conditions)
        self.vector = self._vector(across)
        self._plan(read)

    def _vector(self, across: Callable[[Var | None], bool]) -> Var | None:
        """The loop along which the results of a texel lie."""
        inverse, first = self.inverse, self.first
        if not aligned(self.home):
            return None
        told_at_run_time = {v for left, _ in inverse.equal for v in left.variables()}
        told_at_run_time |= {v for c in first.conditions for v in c.index.variables()}
        for loop in inverse.counters:
            if loop.size % LANES or loop in told_at_run_time:
                continue
            if four_at_once(first.index, loop) and across(loop):
                return loop
        return None

    def _plan(self, read: set[int]) -> None:
        """What is drawn, and whether into the texture itself."""
        inverse, home = self.inverse, self.home
        root = home.root
        whole = home is root and inverse.dense and (inverse.low, inverse.high) == (0, home.size - 1)
        updates = self.first.combine != "set" or inverse.rest or self.first.conditions
        self.begin: tuple[int, ...] = (0,)
        self.count = whole_rows(root.size)
        self.merges = False
        if whole and not updates:
            self.swaps = [id(s.buffer.root) in read for s in self.stores]
            return
        ends = inverse.high + 1 == home.size and home is root
        granular = self.vector is not None or (
            inverse.dense and not inverse.low % LANES and (ends or not (inverse.high + 1) % LANES)
        )
        in_place = (
            not updates
            and granular
            and aligned(home)
            and not any(id(s.buffer.root) in read for s in self.stores)
        )
        self.swaps = [not in_place] * len(self.stores)
        self.merges = not in_place
        if in_place:
            low = inverse.low // LANES
            steps = [0] * len(self.setting.loops)
            inner = home
            while inner.parent is not None:
                assert inner.loop is not None
                steps[self.setting.loops.index(inner.loop)] += inner.size // LANES
                inner = inner.parent
            self.begin = (low, *steps)
            self.count = inverse.high // LANES + 1 - low

    def draw(self) -> Draw:
        """The draw."""
        code = write(self.textures, len(self.stores), self._body, self.setting.words)
        return Draw(
            code,
            tuple(self.textures.roots.values()),
            tuple([store.buffer.root for store in self.stores]),
            tuple([AT_ONCE if swap else DIRECT for swap in self.swaps]),
            self.textures.turns,
            self.begin,
            self.count,
        )

    def _body(self, block: Block, first: Value) -> None:
        e = Evaluator(block, self.textures, {})
        base = self.textures.base(block, self.home)
        within = first if base is None else block.let(first - base)
        if self.vector is not None:
            with e.at({self.inverse.element: within}):
                self._four(e, first)
            return
        outs = [Value(block, f"o{i}", "u", LANES) for i in range(len(self.stores))]
        with block.range(0, LANES) as lane:
            here = block.let(within + lane)
            at = here if base is None else block.let(first + lane)
            with e.at({self.inverse.element: here}):
                words = self._one(e, at)
            for out, word in zip(outs, words, strict=True):
                # After four turns each word is in its lane.
                block.line(f"{out.text} = uvec4({out.text}.yzw, {word.text});")

    def _inside(self, e: Evaluator) -> Value | None:
        """Whether this element is written, as far as it tells by itself."""
        tests = list(self.inverse.checks)
        found = e.conditions(tests)
        if self.merges and self.home.parent is not None:
            element = e.counters[self.inverse.element]
            slice_of = (element >= 0) & (element < self.home.size)
            found = slice_of if found is None else found & slice_of
        return found

    def _counters(self, e: Evaluator) -> dict[Var, Value]:
        return {loop: e.block.let(e.index(index)) for loop, index in self.inverse.counters.items()}

    def _four(self, e: Evaluator, first: Value) -> None:
        block, merges = e.block, self.merges
        inside = self._inside(e)
        if not merges:
            if inside is not None:
                block.line(f"if (!{inside.text}) discard;")
            self._compute(e, [None] * len(self.stores), self._assign)
            return
        old = []
        for i, store in enumerate(self.stores):
            out = Value(block, f"o{i}", "u", LANES)
            block.set(out, self.textures.words(block, store.buffer.root, first, True))
            old.append(out)
        if inside is None:
            self._compute(e, old, self._assign)
            return
        with block.if_(block.let(inside)), e.fresh():
            self._compute(e, old, self._assign)

    def _assign(self, e: Evaluator, number: int, value: Value) -> None:
        word = bits(value.splat(LANES))
        e.block.set(Value(e.block, f"o{number}", "u", LANES), word)

    def _one(self, e: Evaluator, at: Value) -> list[Value]:
        """The words of one element."""
        block = e.block
        none = block.const(0, "u")
        words = [
            block.var(self.textures.words(block, s.buffer.root, at, False) if self.merges else none)
            for s in self.stores
        ]

        def assign(e: Evaluator, number: int, value: Value) -> None:
            block.set(words[number], bits(value))

        old: list[Value | None] = [word if self.merges else None for word in words]
        inside = self._inside(e)
        if inside is None:
            self._compute(e, old, assign)
        else:
            with block.if_(block.let(inside)), e.fresh():
                self._compute(e, old, assign)
        return words

    def _compute(
        self,
        e: Evaluator,
        old: Sequence[Value | None],
        assign: Callable[[Evaluator, int, Value], None],
    ) -> None:
        """Compute all stores at the point that an element tells, and at those it does not."""
        block = e.block
        with e.at(self._counters(e), self.vector):
            if not (self.inverse.rest or self.inverse.equal or self.first.conditions):
                if self.fold is not None:
                    e.acc = self.fold(e, self.vector)
                for store in self.stores:
                    e.value(store.expr)
                for i, store in enumerate(self.stores):
                    assign(e, i, self._combined(e, store, old[i]))
                return
            if self.fold is not None:
                raise NotSupportedError("internal: a fold whose place is read at run time")
            now: list[Value] = []
            for store, word in zip(self.stores, old, strict=True):
                assert word is not None
                now.append(block.var(element(store.buffer, word)))
            own = self._own_updates(e)
            if own is None:
                with e.each(self.inverse.rest, self.vector):
                    self._update(e, now)
            else:
                (turn,) = self.inverse.rest
                with block.range(*own) as number, e.at({turn: number}, self.vector):
                    self._update(e, now)
            for i, value in enumerate(now):
                assign(e, i, value)

    def _own_updates(self, e: Evaluator) -> tuple[Value, Value] | None:
        """Between which numbers the updates of an element are, where their places ascend."""
        kernel, inverse = self.kernel, self.inverse
        if not isinstance(kernel, Ordered) or len(inverse.rest) != 1 or len(inverse.equal) != 1:
            return None
        keys, ((place, element),) = kernel.keys, inverse.equal
        assert keys is not None
        if place != self.first.index:
            return None

        def load(at: Value) -> Value:
            return self.textures.load(e.block, keys, at)

        return own_updates(e.block, load, keys.size, e.block.let(e.index(element)))

    def _combined(self, e: Evaluator, store: Store, old: Value | None) -> Value:
        value: Value = e.value(store.expr)
        if store.combine == "set":
            return value
        assert old is not None
        return combine(store.combine, element(store.buffer, old), value, store.buffer.dtype)

    def _update(self, e: Evaluator, now: list[Value]) -> None:
        """The updates at a point that leads to this element."""
        block = e.block
        tests = [e.index(left).same(e.index(right)) for left, right in self.inverse.equal]
        more = e.conditions(self.first.conditions)
        tests += [] if more is None else [more]
        hit = tests[0]
        for test in tests[1:]:
            hit = hit & test
        with block.if_(block.let(hit)), e.fresh():
            for store, value in zip(self.stores, now, strict=True):
                new: Value = e.value(store.expr)
                if store.combine != "set":
                    new = combine(store.combine, block.let(value), new, store.buffer.dtype)
                block.set(value, new.splat(value.width))
