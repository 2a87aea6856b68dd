"""Long folds with few results in each lane: the gradient of a depthwise kernel.

Results that share what they read (the taps of one row of the kernel) are listed and stay in
registers for a tile of turns of the innermost folded loop; from tile to tile they wait in scratch
memory, so that memory is walked through in its order, all lanes of a few neighbours at a time. Each
row of turns is summed from zero and then joins the total (contractions that add strictly in order
excepted), whatever the tile. Threads share the lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from tabgrad.ir.index import Index
from tabgrad.ir.kernel import Condition, Kernel
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.loops import Reduction
from tabgrad.targets.wasm.microkernel import REGISTERS
from tabgrad.targets.wasm.tiling import (
    MAX_STEPS,
    MAX_TILE,
    MIN_TILE,
    MOST_STEPS,
    Piece,
    Tiling,
    reads_indices,
    with_merged_lanes,
)
from tabgrad.targets.wasm.unrolled import Group, Points, Registers, Step, accesses

MAX_RESULTS = 128  # in each lane
TOGETHER = 9  # results in registers
MIN_TURNS = 65  # of a fold that is not rather listed
MIN_STEPS = 1 << 15  # a kernel of fewer is done before longer code is compiled
CHUNK = 32  # vectors whose results stay in the fastest cache


def few(kernel: Kernel) -> bool:
    """Whether a contraction in narrow groups has so few results in each lane."""
    return math.prod(v.size for v in kernel.space[:-2]) <= MAX_RESULTS


def of(kernel: Kernel, fma: bool) -> Correlation | None:
    """How to compute such a kernel, or None where it is another one or not worth the code."""
    if kernel.kind != "reduce" or kernel.fold not in ("sum", "dot"):
        return None
    turns = math.prod(v.size for v in kernel.inner)
    if turns < MIN_TURNS or turns < math.prod(v.size for v in kernel.space[:-1]):
        return None
    if len(kernel.space) < 2 or not kernel.inner:
        return None
    if kernel.group is not None and kernel.group.kind == "rows":
        return None
    if kernel.points < MIN_STEPS:
        return None
    assert kernel.body is not None
    if kernel.body.op != "mul" or not kernel.body.dtype.is_float or reads_indices(kernel):
        return None
    kernel = with_merged_lanes(kernel)
    if math.prod(v.size for v in kernel.space[:-1]) > MAX_RESULTS:
        return None
    found = Correlation(kernel, fma)
    return found if found.fits() else None


@dataclass
class Results:
    """Neighbouring results that are computed together, where the conditions hold."""

    conditions: tuple[Condition, ...]
    numbers: list[int]
    steps: dict[Piece, Group] = field(default_factory=dict)


class Correlation(Tiling):
    """A kernel of this kind: results are listed, tiles are turns of the last folded loop."""

    def __init__(self, kernel: Kernel, fma: bool) -> None:
        super().__init__(kernel, fma)
        self.products = True
        listed = kernel.space[:-1]
        self.vectors = -(-self.lanes.size // self.width)
        self.chained = kernel.fold == "dot"
        self.leading = 0  # loops whose turns are computed one after the other
        while math.prod(v.size for v in listed[self.leading :]) > TOGETHER:
            self.leading += 1
        self.run = math.prod(v.size for v in listed[self.leading :])
        if self.leading == len(listed):
            # Even the last loop is too long: part of it at a time.
            self.leading -= 1
            size = listed[-1].size
            self.run = -(-size // -(-size // TOGETHER))
        self.cut(listed, kernel.inner[-1], MAX_TILE)
        least = (MIN_TILE, MAX_STEPS), (MIN_TILE, MOST_STEPS), (1, MAX_STEPS)
        found = (self.uniform(tile, steps, apart=True) for tile, steps in least)
        self.pieces = next(filter(None, found), [])
        self.results = self._results()

    def _results(self) -> list[Results] | None:
        """All results, those together that are computed together; None where conditions of one
        result differ along the row."""
        conditions: dict[int, tuple[Condition, ...]] = {}
        steps: dict[tuple[Piece, int], list[Step]] = {}
        for piece in self.pieces:
            for open_, number, turn, step in self.steps(piece):
                if conditions.setdefault(number, open_) != open_:
                    return None
                steps.setdefault((piece, number), []).append(replace(step, order=turn))
        found: list[Results] = []
        before: Any = None
        for number, point in enumerate(self.points):
            if number not in conditions:
                continue  # all its taps are outside, so that it stays 0
            key = (conditions[number], point[: self.leading], point[self.leading] // self.run)
            if key != before:
                found.append(Results(conditions[number], []))
            before = key
            found[-1].numbers.append(number)
        for results in found:
            for piece in self.pieces:
                group = results.steps[piece] = Group(results.conditions, 0)
                for into, number in enumerate(results.numbers):
                    for step in steps.get((piece, number), []):
                        group.steps.append(replace(step, into=into))
                group.arrange()
        return found

    def fits(self) -> bool:
        return bool(self.pieces) and self.results is not None and super().fits()

    @property
    def area(self) -> int:
        """Bytes of one set of results of all lanes."""
        return 16 * self.vectors * len(self.points)

    def emit(self, f: Function, bases: dict[int, I32], scratch: I32) -> tuple[int, int]:
        """Write the kernel's function; returns its number of units and its bytes of scratch."""
        assert f.module is not None
        *_, begin, end = f.params
        buffers = f.params[: len(bases)]
        folded = self.kernel.inner[:-1]
        row = f.module.function(f"{f.name}_row", [I32] * (len(bases) + 3 + len(folded)))
        own = dict(zip(bases, row.params, strict=False))
        _Row(self, row, own, row.params[len(bases) :]).write()
        totals = f.let(scratch)
        with f.loop_range(begin, end, CHUNK) as first:
            last = f.let(first + CHUNK)
            with f.if_(last > end):
                last.set(end)
            per = 16 * len(self.points)
            f.fill_memory(totals + first * per, 0, (last - first) * per)
            with ExitStack() as stack:
                counters = [stack.enter_context(f.loop_range(0, v.size)) for v in folded]
                f.call(row, *buffers, totals, first, last, *counters)
            _Finish(self, f, bases, totals).write(first, last)
        return self.vectors, 2 * self.area


class _Lanes(Reduction):
    """What both functions need: an evaluator, and where results wait."""

    def __init__(self, plan: Correlation, f: Function, bases: dict[int, I32], totals: I32) -> None:
        super().__init__(f, plan.kernel, bases, plan.fma)
        self.ordered = True  # steps are products
        self.plan, self.totals = plan, totals
        self.p = self.e = Points(f, bases, plan.fma, plan.width, plan.lanes)


class _Row(_Lanes):
    """The function that folds one row of turns into the results of some vectors."""

    def __init__(
        self, plan: Correlation, f: Function, bases: dict[int, I32], params: Sequence[I32]
    ) -> None:
        totals, self.first, self.last, *counters = params
        super().__init__(plan, f, bases, totals)
        self.e.counters |= dict(zip(plan.kernel.inner[:-1], counters, strict=True))

    def write(self) -> None:
        """The whole function."""
        f, plan = self.f, self.plan
        flags: dict[tuple[Condition, ...], I32] = {}
        for results in plan.results or []:
            if results.conditions and results.conditions not in flags:
                flags[results.conditions] = f.let(self.e.all_hold(results.conditions))
        tiles = sum(piece.count for piece in plan.pieces)
        for piece in plan.pieces:
            with f.loop_range(0, piece.count) as number, self.e.fresh():
                self.e.counters[piece.number] = number
                for results in plan.results or []:
                    with ExitStack() as stack:
                        if results.conditions:
                            stack.enter_context(f.if_(flags[results.conditions]))
                        stack.enter_context(f.scope())
                        stack.enter_context(self.e.fresh())
                        ends = piece.first + piece.count == tiles
                        self._tile(results, results.steps[piece], piece.first == 0, ends)

    def _tile(self, results: Results, group: Group, begins: bool, ends: bool) -> None:
        """The turns of one tile, for all vectors."""
        f, e, plan = self.f, self.p, self.plan
        e.aim([accesses([x for step in group.steps for x in step.parts], e)])
        e.group = 0
        count, width = len(results.numbers), plan.width
        room = REGISTERS - count - (not e.fma)
        per = 16 * len(plan.points)
        with f.loop_range(self.first, self.last) as vector:
            with f.scope(), e.over(plan.lanes, f.let(vector * width), width):
                here = f.let(self.totals + vector * per)

                def place(into: int, waiting: bool) -> I32:
                    area = plan.area if waiting else 0
                    return here + (16 * results.numbers[into] + area)

                begun = not begins or plan.chained
                start = [self._new() for _ in range(count)]
                if begun:
                    for into, value in enumerate(start):
                        value.set(self.kind.load(place(into, not plan.chained)))
                registers = Registers(e, group.steps, room)
                for step in group.steps:
                    self._join(start[step.into], registers.values(step))
                for into, value in enumerate(start):
                    if ends and not plan.chained:
                        total = self.kind.load(place(into, False))
                        f.store(place(into, False), total + value)
                    else:
                        f.store(place(into, not plan.chained), value)


class _Finish(_Lanes):
    """The epilogue: totals become results."""

    def write(self, first: I32, last: I32) -> None:
        """For some vectors."""
        f, e, plan = self.f, self.p, self.plan
        *loops, lanes = plan.kernel.space
        stores = plan.kernel.stores
        tail = lanes.size % plan.width

        def store(count: int) -> None:
            with e.over(lanes, e.counters[lanes], count):
                values = [e.value(s.expr) for s in stores]
                for s, value in zip(stores, values, strict=True):
                    e.store(s, value)

        with ExitStack() as stack:
            for loop in loops:
                e.counters[loop] = stack.enter_context(f.loop_range(0, loop.size))
            number = Index()
            for loop in loops:
                number = number * loop.size + Index.of(loop)
            at = f.let(self.totals + e.index(number) * 16)
            with f.loop_range(first, last) as vector, e.fresh():
                e.counters[lanes] = f.let(vector * plan.width)
                e.acc = f.let(self.kind.load(at + vector * (16 * len(plan.points))))
                if not tail:
                    store(plan.width)
                elif plan.vectors == 1:
                    store(tail)
                else:
                    with f.if_(vector < plan.vectors - 1), e.fresh():
                        store(plan.width)
                    with f.else_(), e.fresh():
                        store(tail)
