"""Folds over few taps whose lanes are neighbouring outputs: depthwise convolution, pooling.

The taps are unrolled, and several neighbouring outputs along a second loop (a tile) are computed at
a time, so that what they share of the input and of the weights is loaded once. Where that loop
meets a border it falls into pieces, each with code of its own that has the taps inside and no
checks; what the loops around it decide is asked once for all lanes. A tap outside adds nothing: not
even the product of a zero and an infinity. What a sum adds in which order does not depend on any of
this. One row of tiles is a function, so that an engine can replace it by optimised code soon.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Index, Var, flatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.extremes import Extreme, Place
from tabgrad.targets.wasm.loops import Reduction, along_inner
from tabgrad.targets.wasm.matrix import stride
from tabgrad.targets.wasm.microkernel import REGISTERS
from tabgrad.targets.wasm.tiling import (
    MAX_STEPS,
    MIN_TILE,
    MOST_STEPS,
    Piece,
    Tiling,
    merges_lanes,
    reads_indices,
    with_merged_lanes,
)
from tabgrad.targets.wasm.unrolled import (
    Group,
    Points,
    Registers,
    accesses,
    shared_loads,
    value_at,
)

MAX_TAPS = 128  # that are unrolled
MAX_TAPS_WITH_HOLES = 32  # of more, each phase of a stride is a kernel of its own
MIN_REUSE = 2  # times each element is read where a border pays
MIN_USES = 16  # of weights that are put side by side
MIN_STEPS = 8192  # a kernel of fewer is done before longer code is compiled


def few(kernel: Kernel) -> bool:
    """Whether a fold has so few steps that they can be unrolled."""
    return math.prod(v.size for v in kernel.inner) <= MAX_TAPS


def leaves_out_holes(kernel: Kernel) -> bool:
    """Whether a contraction will be done by taps, all phases of a stride at once."""
    loops = [v for v in kernel.space if v.size != 1]
    if kernel.kind != "contract" or not loops:
        return False
    if math.prod(v.size for v in kernel.inner) > MAX_TAPS_WITH_HOLES:
        return False
    steps = kernel.points
    return steps >= MIN_STEPS and kernel.roles[loops[-1]] == "g"


def of(kernel: Kernel, fma: bool) -> Taps | None:
    """How to compute a kernel by taps, or None where that cannot be or is not worth its code."""
    if kernel.kind != "reduce" or len(kernel.space) < 2 or not few(kernel) or along_inner(kernel):
        return None
    steps = kernel.points
    if steps < MIN_STEPS or not kernel.inner or reads_indices(kernel):
        return None
    taps = Taps(with_merged_lanes(kernel), fma)
    return taps if taps.fits() else None


def lies_in_rows(kernel: Kernel) -> bool:
    """Whether a contraction has one result in each group and these lie in rows that are read in
    rows, such as a depthwise convolution with channels first."""
    loops = [v for v in kernel.space if v.size != 1]
    roles = [kernel.roles[v] for v in loops]
    if len(loops) < 2 or roles[-1] != "m" or "g" not in roles or "n" in roles or not few(kernel):
        return False
    steps = kernel.points
    indices = [x.index for x in walk([x for x in (kernel.a, kernel.b) if x]) if x.op == "load"]
    apart = [i.coefficient(loops[-1]) for i in indices if i is not None]
    return steps >= MIN_STEPS and all(n in (0, 1, 2) for n in apart)


def pack(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """Kernels that put weights of a product by taps side by side in the order in which lanes take
    them, where they are not so already; they are read once for many outputs."""
    assert kernel.body is not None and kernel.body.op == "mul"
    lanes = kernel.space[-2:] if merges_lanes(kernel) else kernel.space[-1:]
    points = math.prod(v.size for v in kernel.space)
    if not few(kernel) or not points or points < MIN_USES * math.prod(v.size for v in lanes):
        return []
    made = []
    factors = list(kernel.body.args)
    for i, x in enumerate(factors):
        if x.op != "load" or x.index is None or not x.variables() <= {*lanes, *kernel.inner}:
            continue
        if lanes[-1] not in x.variables() or stride(x.index, lanes) == 1:
            continue
        loops = (*kernel.inner, *lanes)
        sizes = tuple(v.size for v in loops)
        buffer = Buffer(f"t{len(temporaries)}", "temp", math.prod(sizes), x.dtype)
        temporaries.append(buffer)
        where = flatten(tuple(Index.of(v) for v in loops), sizes)
        made.append(
            collapse(Kernel("map", loops, [Store(buffer, where, x)], name=f"{kernel.name}_pack"))
        )
        factors[i] = Expr("load", x.dtype, buffer=buffer, index=where)
    kernel.body = Expr("mul", kernel.body.dtype, tuple(factors))
    return made


class Taps(Tiling):
    """A kernel of this kind: the taps are listed, tiles are neighbouring outputs."""

    def __init__(self, kernel: Kernel, fma: bool) -> None:
        super().__init__(kernel, fma)
        *rest, _ = kernel.space
        self.shares = False  # whether outputs of a tile have inputs in common
        along = self._loop_of_tiles(rest)
        self.outer = [v for v in rest if v != along]
        others = 1 + (kernel.inner[-1].size if self.products else 1) + (not fma)
        self.cut(kernel.inner, along, max((REGISTERS - others) // self.running, 4))
        # At worst one output at a time, whose taps are asked for.
        self.pieces = (
            self.uniform(MIN_TILE, MAX_STEPS)
            or self.with_asked_borders(MOST_STEPS)
            or self.uniform(1, MAX_STEPS)
            or [Piece(0, along.size, 1, 1)]
        )

    def _loop_of_tiles(self, loops: Sequence[Var]) -> Var:
        """The loop whose neighbouring outputs have the nearest inputs in common, else the last."""
        best, nearest = loops[-1], 0
        for load, tap, loop in itertools.product(self.loads, self.kernel.inner, loops):
            assert load.index is not None
            step, across = _slope(load.index, tap), _slope(load.index, loop)
            if across and step and across < step * tap.size and (not nearest or across < nearest):
                best, nearest = loop, across
        self.shares = nearest > 0
        return best

    @property
    def in_blocks(self) -> bool:
        """Whether sums are made of the sums of every turn of the first folded loop."""
        kernel = self.kernel
        return kernel.fold == "sum" and self.roots[0].dtype.is_float and len(kernel.inner) > 1

    @property
    def places(self) -> bool:
        """Whether places of values are looked for."""
        return self.kernel.fold.startswith("arg")

    @property
    def extreme(self) -> bool:
        """Whether the largest or smallest of floats is looked for."""
        return self.kernel.fold in ("max", "min") and self.roots[0].dtype.is_float

    @property
    def running(self) -> int:
        """Registers for the running values of one output."""
        return 2 if self.in_blocks or self.places or self.extreme else 1

    def fits(self) -> bool:
        kernel = self.kernel
        for root in self.roots[1:]:  # a place is a number that advances evenly
            inside = root.args[0] if root.op == "guard" else root
            along = [*kernel.inner, self.along]
            if inside.index is None or any(inside.index.coefficient(v) is None for v in along):
                return False
        if kernel.group is not None and kernel.group.kind == "rows":
            if self.outer[:1] != [kernel.space[0]]:
                return False  # its units would be others
        worth = self.shares or bool(self.guards) or len(kernel.inner) > 1
        return worth and super().fits()

    def groups(self, piece: Piece) -> list[Group]:
        """The steps of one tile."""
        result: list[Group] = []
        for conditions, number, turn, step in self.steps(piece):
            block = self.points[number][0] if self.in_blocks else 0
            if not result or (result[-1].conditions, result[-1].block) != (conditions, block):
                result.append(Group(conditions, block))
            result[-1].steps.append(replace(step, into=turn, order=number))
        for group in result:
            group.arrange()
        return result

    def emit(self, f: Function, bases: dict[int, I32]) -> int:
        """Write the kernel's function; returns its number of units."""
        assert f.module is not None
        *_, begin, end = f.params
        buffers = f.params[:-2]
        row = f.module.function(f"{f.name}_row", [I32] * (len(buffers) + (len(self.outer) or 2)))
        own = dict(zip(bases, row.params, strict=False))
        tiles = sum(piece.count for piece in self.pieces)
        if not self.outer:
            f.call(row, *buffers, begin, end)
            _Row(self, row, own).write([], row.params[-2:])
            return tiles
        counters: list[I32 | int] = []
        with f.loop_range(begin, end) as i, ExitStack() as stack:
            counters.append(i)
            for loop in self.outer[1:]:
                counters.append(stack.enter_context(f.loop_range(0, loop.size)))
            f.call(row, *buffers, *counters)
        _Row(self, row, own).write(row.params[len(buffers) :], None)
        return self.outer[0].size


def _slope(index: Index, loop: Var) -> int:
    """How far apart the elements of neighbouring turns are, about."""
    at = [value_at(index, {loop: p}) for p in (0, loop.size - 1)]
    return -(-abs(at[1] - at[0]) // max(loop.size - 1, 1))


class _Row(Reduction):
    """The function that computes one row of tiles."""

    def __init__(self, taps: Taps, f: Function, bases: dict[int, I32]) -> None:
        super().__init__(f, taps.kernel, bases, taps.fma)
        self.taps = taps
        self.p = self.e = Points(f, bases, taps.fma, taps.width, taps.lanes)
        self.flags: dict[tuple[Condition, ...], I32] = {}

    def write(self, counters: Sequence[I32], part: Sequence[I32] | None) -> None:
        """All tiles, or those of `part`: from, up to."""
        f, taps = self.f, self.taps
        self.e.counters |= dict(zip(taps.outer, counters, strict=False))
        tiles = 0
        for piece in taps.pieces:
            groups = taps.groups(piece)
            if part is None:
                first, last = I32.const(0), I32.const(piece.count)
            else:
                first, last = _within(f, part, tiles, piece.count)
            tiles += piece.count
            for group in groups:
                self._ask(group, piece, inside=False)
            with f.loop_range(first, last) as number, self.e.fresh():
                self.e.counters[piece.number] = number
                asked = dict(self.flags)
                for group in groups:
                    self._ask(group, piece, inside=True)
                self._tile(piece, groups)
                self.flags = asked

    def _ask(self, group: Group, piece: Piece, inside: bool) -> None:
        """Whether the conditions of a group hold, in a local made outside of the loops."""
        depends = any(piece.number in c.index.variables() for c in group.conditions)
        if group.conditions and depends == inside and group.conditions not in self.flags:
            self.flags[group.conditions] = self.f.let(self.e.all_hold(group.conditions))

    def _tile(self, piece: Piece, groups: Sequence[Group]) -> None:
        f, e, taps = self.f, self.p, self.taps
        stores = [self._stores_at(piece.place(output)) for output in range(piece.turns)]
        reached: list[list[tuple[Buffer, Index]]] = []
        for group in groups:
            reached.append(accesses([x for step in group.steps for x in step.parts], e))
        results = [(s.buffer, s.index) for each in stores for s in each]
        exprs = [s.expr for each in stores for s in each]
        reached.append([*accesses(exprs, e), *results])
        e.aim(reached)
        size = taps.lanes.size
        tail = size % self.width
        with f.loop_range(0, -(-size // self.width) * self.width, self.width) as lane:
            with f.scope(), e.over(taps.lanes, lane, self.width):
                totals = [self._begin() for _ in range(piece.turns)]
                self._fold(groups, totals)
                e.group = len(groups)
                if not tail:
                    self._finish(stores, totals, self.width)
                elif size < self.width:
                    self._finish(stores, totals, tail)
                else:
                    with f.if_(lane < size - tail), e.fresh():
                        self._finish(stores, totals, self.width)
                    with f.else_(), e.fresh():
                        self._finish(stores, totals, tail)

    def _stores_at(self, at: Index) -> list[Store]:
        values = {self.taps.along: at}
        known = self.taps.known
        return [
            replace(s, index=s.index.replace(values), expr=known.same(s.expr.replace(values)))
            for s in self.kernel.stores
        ]

    def _begin(self) -> Any:
        if self.taps.places:
            return Place(self.f, self.kernel, self.e.fma)
        return Extreme(self.f, self.kernel, self.e.fma) if self.taps.extreme else self._new()

    def _fold(self, groups: Sequence[Group], totals: list[Any]) -> None:
        """All steps into the running values."""
        f, e, taps = self.f, self.p, self.taps
        sums = [self._new() for _ in totals] if taps.in_blocks else totals
        room = REGISTERS - taps.running * len(totals) - (not e.fma)
        for number, group in enumerate(groups):
            e.group = number
            with ExitStack() as stack:
                if group.conditions:
                    stack.enter_context(f.if_(self.flags[group.conditions]))
                stack.enter_context(f.scope())
                stack.enter_context(e.fresh())
                registers = Registers(e, group.steps, room)
                for step in group.steps:
                    into, new = sums[step.into], registers.values(step)
                    if isinstance(into, Place):
                        assert step.place is not None
                        into.join(new[0], step.place.const, not group.conditions)
                    elif isinstance(into, Extreme):
                        into.join(new[0])
                    else:
                        self._join(into, new if taps.products else new[0])
            ends = number + 1 == len(groups) or groups[number + 1].block != group.block
            if taps.in_blocks and ends:
                for total, one in zip(totals, sums, strict=True):
                    self._join(total, one)
                    self._reset(one)
        for output, total in enumerate(totals):
            if isinstance(total, Extreme):
                totals[output] = total.value()
            elif isinstance(total, Place):
                totals[output] = total.value(self._start_of_places(groups)), total.best

    def _start_of_places(self, groups: Sequence[Group]) -> Any:
        """The part of places that all steps have in common."""
        places = [step.place for group in groups for step in group.steps if step.place]
        return self.e.index_lanes(Index(0, places[0].terms) if places else Index())

    def _finish(self, stores: Sequence[Sequence[Store]], totals: Sequence[Any], lanes: int) -> None:
        """The epilogue of each output of a tile."""
        f, e = self.f, self.p
        with e.over(self.taps.lanes, e.counters[self.taps.lanes], lanes):
            for part in shared_loads([s.expr for each in stores for s in each]):
                e.value(part)
            for store in (store for each in stores for store in each):
                e.reach(store.buffer, store.index)
            for each, total in zip(stores, totals, strict=True):
                with f.scope(), e.fresh():
                    e.acc, e.best = total if isinstance(total, tuple) else (total, None)
                    values = [e.value(store.expr) for store in each]
                    for store, value in zip(each, values, strict=True):
                        e.store(store, value)


def _within(f: Function, part: Sequence[I32], first: int, count: int) -> tuple[I32, I32]:
    """Those of a part of all tiles that are among `count` from `first`, counted from there."""
    bounds = []
    for bound in part:
        at = f.let(bound - first)
        with f.if_(at < 0):
            at.set(0)
        with f.if_(at > count):
            at.set(count)
        bounds.append(at)
    return bounds[0], bounds[1]
