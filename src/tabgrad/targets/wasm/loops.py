"""Maps, reductions and scatters as WASM functions.

A kernel's function takes the addresses of its buffers, then `begin` and `end`: which of its
independent units (steps of the outermost loop) to do. One vector of points is computed at a time,
four or (with 64-bit values) two; what is left over is one shorter vector of the same code, never
another one.

The order in which a reduction adds depends on its shape and dtypes alone: four running sums in
blocks, block sums added up, so that errors stay small and results do not depend on who computes
what. The fold "dot" (a small contraction) adds products one by one instead, as the tiles of large
ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Expr, Kernel, Store, identity, walk
from tabgrad.targets.wasm.builder import I32, Function, I32x4
from tabgrad.targets.wasm.elements import LANES, lane_type, mask_for, truth, width_of
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.mathlib import conversions, multiply_add
from tabgrad.targets.wasm.operations import combine, constant, cost_of
from tabgrad.targets.wasm.scheduling import constants_first
from tabgrad.targets.wasm.turning import emit_turned, turned_loop

CHUNK = 4096  # elements of a single loop that make one unit of work
BLOCK = 1024  # elements that the lanes add up together before they join the block sums
STEPS = 256  # elements that a lane adds up by itself, one by one, before they do
UNROLL_SIZE = 64  # loops shorter than this are not unrolled
UNROLL_COST = 480  # nor are bodies of more instructions, about
MOST_IN_TURNS = 16  # loads and stores of a vector: with more there is work enough to look ahead
TURNS_COST = 16  # what is shorter need not be computed in turns
# Of a map, twice as many points go in turns between these: threefry has a chain of 80 instructions
# that wait for each other (measured in V8: 0.77 of the time; exp alone gains nothing).
LONG_COST, LONGEST_COST = 30, 300


def emit(f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> int:
    """Write the body of a map, reduce or scatter kernel; returns its number of units."""
    *_, begin, end = f.params
    if kernel.kind == "reduce":
        units = Reduction(f, kernel, bases, fma).emit(begin, end)
    else:
        units = _emit_map(f, kernel, bases, fma, begin, end)
    constants_first(f)
    return units


def takes_rows(kernel: Kernel) -> bool:
    """Whether a kernel's units are the rows of its group, if that goes by rows."""
    note = kernel.group
    if note is None or note.kind != "rows" or kernel.row_points:
        return True
    if kernel.row_loops != 1 or kernel.space[0].size != note.rows:
        return False
    return kernel.kind == "map" or len(kernel.space) > 1 or along_inner(kernel)


# Maps


def _emit_map(
    f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool, begin: I32, end: I32
) -> int:
    e = Evaluator(f, bases, {}, fma, width_of(kernel))
    stores = kernel.stores
    if not kernel.space:
        with f.loop_range(begin, end), e.over(None, None, 1):
            e.store_all(stores)
        return 1
    *outer, vector = kernel.space
    if kernel.row_points:
        start, stop = f.let(begin * kernel.row_points), f.let(end * kernel.row_points)
        with e.fresh():
            e.hoist([s.expr for s in stores], vector)
            _from_to(e, vector, start, stop, stores)
        return vector.size // kernel.row_points
    if not outer and kernel.kind == "map":
        units = -(-vector.size // CHUNK)
        if units < 2:
            with f.loop_range(begin, end):
                row(e, vector, stores)
            return 1
        with f.loop_range(begin, end) as unit, e.fresh():
            e.hoist([s.expr for s in stores], vector)
            start = f.let(unit * CHUNK)
            stop = f.let(start + CHUNK)
            with f.if_(stop > vector.size):
                stop.set(vector.size)
            _vectors(e, vector, start, stop, stores, last=vector.size)
        return units
    if kernel.kind == "scatter":
        # Its stores may meet in one place: one unit keeps them in order.
        with f.loop_range(begin, end):
            _nest(f, e, kernel.space[:-1], lambda: row(e, vector, stores))
        return 1
    along = turned_loop(kernel)
    if along is None:
        with f.loop_range(begin, end) as i, e.fresh():
            e.counters[outer[0]] = i
            _nest(f, e, outer[1:], lambda: row(e, vector, stores))
        return outer[0].size
    others = [loop for loop in outer[1:] if loop != along]

    def turned(start: I32, stop: I32) -> None:
        emit_turned(e, kernel, along, start, stop, lambda: row(e, vector, stores))

    if along == outer[0]:
        _nest(f, e, others, lambda: turned(begin, end))
        return outer[0].size
    with f.loop_range(begin, end) as i, e.fresh():
        e.counters[outer[0]] = i
        _nest(f, e, others, lambda: turned(I32.const(0), I32.const(along.size)))
    return outer[0].size


def _nest(f: Function, e: Evaluator, loops: Sequence[Var], body: Callable[[], None]) -> None:
    """Loops inside each other around `body`."""
    with ExitStack() as stack:
        for loop in loops:
            e.counters[loop] = stack.enter_context(f.loop_range(0, loop.size))
            stack.enter_context(e.fresh())
        body()


def row(e: Evaluator, vector: Var, stores: Sequence[Store]) -> None:
    with e.fresh():
        e.hoist([s.expr for s in stores], vector)
        _vectors(e, vector, I32.const(0), I32.const(vector.size), stores, last=vector.size)


def _vectors(
    e: Evaluator, vector: Var, start: I32, stop: I32, stores: Sequence[Store], last: int
) -> None:
    """Full vectors from start to stop, and the shorter one at the very end of the loop."""
    f = e.f
    unroll, width = _map_unroll([s.expr for s in stores], last), e.width

    def point(at: I32, lanes: int) -> None:
        _points(e, vector, [at], lanes, stores)

    tail = last % width
    if start.constant is not None and stop.constant is not None:
        whole = stop.constant - start.constant - tail
        main = whole // (width * unroll) * width * unroll
        with f.loop_range(start, start + main, width * unroll) as i:
            _points(e, vector, [i + width * u for u in range(unroll)], width, stores)
        rest = range(start.constant + main, start.constant + whole, width)
        _points(e, vector, [I32.const(at) for at in rest], width, stores)
        if tail:
            point(I32.const(stop.constant - tail), tail)
        return
    # Chunks are multiples of a vector, except for the end of the last one.
    end = f.let(stop - (stop & (width * unroll - 1)))
    with f.loop_range(start, end, width * unroll) as i:
        _points(e, vector, [i + width * u for u in range(unroll)], width, stores)
    if unroll > 1:
        whole_end = f.let(stop & -width)
        with f.loop_range(end, whole_end, width) as i:
            point(i, width)
    if tail:
        with f.if_(stop == last), e.fresh():
            point(I32.const(last - tail), tail)


def _from_to(e: Evaluator, vector: Var, start: I32, stop: I32, stores: Sequence[Store]) -> None:
    """The points from start to stop, wherever these are: full vectors, then one at a time."""
    f = e.f
    unroll, width = _map_unroll([s.expr for s in stores], vector.size), e.width
    for count in sorted({unroll, 1}, reverse=True):
        step = width * count
        end = f.let(start + ((stop - start) & -step))
        with f.loop_range(start, end, step) as i:
            _points(e, vector, [i + width * u for u in range(count)], width, stores)
        start = end
    with f.loop_range(start, stop) as i:
        _points(e, vector, [i], 1, stores)


def unroll_of(roots: Sequence[Expr], size: int) -> int:
    """How many vectors one trip of a loop computes."""
    exprs = list(walk(roots))
    if size < UNROLL_SIZE or any(expr.op == "guard" for expr in exprs):
        return 1
    if sum(expr.op == "load" for expr in exprs) + len(roots) > MOST_IN_TURNS:
        return 1
    cost = cost_of(roots)
    return 4 if cost <= UNROLL_COST else 2 if cost <= 2 * UNROLL_COST else 1


def _map_unroll(roots: Sequence[Expr], size: int) -> int:
    unroll = unroll_of(roots, size)
    return 2 * unroll if unroll == 4 and LONG_COST <= cost_of(roots) <= LONGEST_COST else unroll


def _points(
    e: Evaluator, vector: Var | None, places: Sequence[I32], lanes: int, stores: Sequence[Store]
) -> None:
    """Vectors at some places of a loop: in turns where they take long, and nothing is combined."""
    roots = [store.expr for store in stores]
    together = all(store.combine == "set" for store in stores) and cost_of(roots) >= TURNS_COST
    step = max(len(places), 1) if together else 1
    for first in range(0, len(places), step):
        with e.f.scope():
            now = places[first : first + step]
            found = e.in_turns(vector, now, lambda: [e.value(root) for root in roots], lanes)
            # All values first: a store may overwrite what another value reads at the same place.
            for at, values in zip(now, found, strict=True):
                with e.over(vector, at, lanes):
                    for store, value in zip(stores, values, strict=True):
                        e.store(store, value)


# Reductions


def along_inner(kernel: Kernel) -> bool:
    """Whether the lanes run along the innermost folded loop, or across the outputs."""
    if not kernel.inner or kernel.fold == "dot":
        return False
    if not kernel.space:
        return True
    assert kernel.body is not None
    folded, outer = kernel.inner[-1], kernel.space[-1]
    indices = [x.index for x in walk([kernel.body]) if x.op == "load" and x.index is not None]
    whole = {v: sum(i.coefficient(v) == 1 for i in indices) for v in (folded, outer)}
    if whole[folded] != whole[outer]:
        return whole[folded] > whole[outer] and folded.size >= 2
    return folded.size >= outer.size


class Reduction:
    """A fold: running values, what joins them, and loops around."""

    def __init__(self, f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> None:
        assert kernel.body is not None
        self.f, self.kernel = f, kernel
        self.body: Expr = kernel.body
        self.dtype = kernel.body.dtype
        self.kind = lane_type(self.dtype)
        self.e = Evaluator(f, bases, {}, fma, width_of(kernel))
        self.width = self.e.width
        self.arg = kernel.fold in ("argmax", "argmin")
        self.ordered = kernel.fold == "dot"
        self.fold = "sum" if self.ordered else kernel.fold.removeprefix("arg")
        self.start = constant(identity(self.fold, self.dtype))
        self._met: dict[int, Any] = {}  # by the id of a running extremum, see `_quickly`
        if self.arg and self.dtype.kind == "b":
            self.start = self.start & 1

    def emit(self, begin: I32, end: I32) -> int:
        """Write the function body; returns the number of units."""
        f, e, kernel = self.f, self.e, self.kernel
        along = along_inner(kernel)
        space = list(kernel.space)
        vector = None if along or not space else space.pop()
        point = self._fold_along if along else lambda: self._fold_across(vector)
        if not space and vector is not None:
            return self._columns(vector, begin, end)
        if not space:
            with f.loop_range(begin, end), e.fresh():
                point()
            return 1
        with f.loop_range(begin, end) as i, e.fresh():
            e.counters[space[0]] = i
            _nest(f, e, space[1:], point)
        return space[0].size

    # Lanes along the folded loop: partial sums in lanes, put together at the end

    def _fold_along(self) -> None:
        f, e = self.f, self.e
        *loops, vector = self.kernel.inner
        unroll = unroll_of(self._roots(), vector.size)
        sums = [self._new() for _ in range(unroll)]
        blocks = self._new() if self._in_blocks(BLOCK) else None

        def close() -> None:
            if blocks is not None:
                self._join(blocks, self._merged(sums))
                for one in sums:
                    self._reset(one)

        def segment() -> None:
            with e.fresh():
                e.hoist(self._roots(), vector)
                size = vector.size
                if blocks is not None and not loops:
                    whole = size // BLOCK * BLOCK
                    with f.loop_range(0, whole, BLOCK) as block:
                        self._run(vector, block, f.let(block + BLOCK), sums, size, False)
                        close()
                    self._run(vector, I32.const(whole), I32.const(size), sums, size, True)
                    close()
                else:
                    self._run(vector, I32.const(0), I32.const(size), sums, size, True)

        def everything() -> None:
            if not loops:
                segment()
                return
            with f.loop_range(0, loops[0].size) as i, e.fresh():
                e.counters[loops[0]] = i
                _nest(f, e, loops[1:], segment)
                close()

        extremum = self.fold in ("max", "min") and self.dtype.is_float and not self.arg
        if extremum and unroll > 1 and cost_of([self.body]) < TURNS_COST:
            self._quickly(sums, everything)
        else:
            everything()
        total = blocks if blocks is not None else self._merged(sums)
        e.acc = self._across_lanes(total)
        with e.over(None, None, 1):
            e.store_all(self.kernel.stores)

    def _quickly(self, sums: Sequence[Any], everything: Callable[[], None]) -> None:
        """Extrema that pass over NaN, and once more, heeding them, where there may be one: the sum
        of all elements is NaN then, and hardly ever without (of both infinities). Multiply-adds
        keep another part of the processor busy than comparisons (measured in V8: 0.9 of the time).
        """
        f = self.f
        self._met = {id(one): f.local(self.kind, 0) for one in sums}
        everything()
        met, self._met = list(self._met.values()), {}
        for other in met[1:]:
            met[0].set(met[0] + other)
        with f.if_((met[0] != met[0]).any_true()), self.e.fresh():
            for one in sums:
                self._reset(one)
            everything()

    def _run(
        self, vector: Var, start: I32, stop: I32, sums: list[Any], size: int, ends: bool
    ) -> None:
        """Fold the points from start to stop; `ends` when the loop's tail is among them."""
        f, e = self.f, self.e
        unroll = len(sums)
        tail = size % self.width if ends else 0

        def main_loop(start: I32, stop: I32) -> None:
            with f.loop_range(start, stop, self.width * unroll) as i:
                places = [i + self.width * u for u in range(unroll)]
                if self.arg or cost_of([self.body]) < TURNS_COST:
                    for at, into in zip(places, sums, strict=True):
                        point(at, self.width, into)
                    return
                with f.scope():
                    # First all values, in turns: the sums do not depend on each other.
                    values = e.in_turns(vector, places, lambda: self._value(self.width))
                    for into, value in zip(sums, values, strict=True):
                        self._join(into, value)

        def point(at: I32, lanes: int, into: Any) -> None:
            with f.scope(), e.over(vector, at, lanes):
                self._join(into, self._value(lanes))

        if start.constant is not None and stop.constant is not None:
            whole = stop.constant - start.constant - tail
            main = whole // (self.width * unroll) * self.width * unroll
            main_loop(start, start + main)
            places = range(start.constant + main, start.constant + whole, self.width)
            for u, at in enumerate(places):
                point(I32.const(at), self.width, sums[u])
            if tail:
                point(I32.const(stop.constant - tail), tail, sums[len(places)])
            return
        main_loop(start, stop)

    # Lanes across neighbouring outputs: each lane folds its own

    def _columns(self, vector: Var, begin: I32, end: I32) -> int:
        """Folds that are the kernel's only loop; units are the columns that are folded at once."""
        f, step = self.f, self.width * self._unroll_across(vector)
        whole, rest = divmod(vector.size, step)
        units = whole + (rest > 0)
        if units == 1:
            with f.loop_range(begin, end), self.e.fresh():
                self._fold_across(vector)
            return 1
        with f.loop_range(begin, end) as unit, self.e.fresh():
            if not rest:
                self._across(vector, f.let(unit * step), [self.width] * (step // self.width))
                return units
            with f.if_(unit < whole):
                self._across(vector, f.let(unit * step), [self.width] * (step // self.width))
            with f.else_():
                self._last_across(vector, whole * step)
        return units

    def _unroll_across(self, vector: Var) -> int:
        enough = vector.size >= 4 * self.width
        return 4 if enough and unroll_of(self._roots(), UNROLL_SIZE) > 1 else 1

    def _fold_across(self, vector: Var | None) -> None:
        f, e = self.f, self.e
        if vector is None:
            self._across(None, None, [1])
            return
        unroll = self._unroll_across(vector)
        main = vector.size // (self.width * unroll) * self.width * unroll
        with f.loop_range(0, main, self.width * unroll) as i, e.fresh():
            self._across(vector, i, [self.width] * unroll)
        self._last_across(vector, main)

    def _last_across(self, vector: Var, main: int) -> None:
        """What the vectors folded at once leave over."""
        for at in range(main, vector.size, self.width):
            self._across(vector, I32.const(at), [min(self.width, vector.size - at)])

    def _across(self, vector: Var | None, at: I32 | None, lanes: list[int]) -> None:
        f, e = self.f, self.e
        with f.scope():
            sums = [self._new() for _ in lanes]
            blocks = [self._new() for _ in lanes] if self._in_blocks(STEPS) else None
            inner = list(self.kernel.inner)

            def point() -> None:
                for u, n in enumerate(lanes):
                    counter = None if at is None else at + self.width * u
                    with f.scope(), e.over(vector, counter, n):
                        self._join(sums[u], self._value(self.width))

            def close() -> None:
                for into, one in zip(blocks or [], sums, strict=bool(blocks)):
                    self._join(into, one)
                    self._reset(one)

            if blocks is not None and len(inner) == 1:
                (loop,) = inner
                whole = loop.size // STEPS * STEPS
                with f.loop_range(0, whole, STEPS) as block, e.fresh():
                    with f.loop_range(block, f.let(block + STEPS)) as i, e.fresh():
                        e.counters[loop] = i
                        point()
                    close()
                with f.loop_range(whole, loop.size) as i, e.fresh():
                    e.counters[loop] = i
                    point()
                close()
            elif inner:
                with f.loop_range(0, inner[0].size) as i, e.fresh():
                    e.counters[inner[0]] = i
                    _nest(f, e, inner[1:], point)
                    if blocks is not None:
                        close()
            else:
                with e.fresh():
                    point()
            for u, n in enumerate(lanes):
                found = blocks[u] if blocks is not None else sums[u]
                e.acc = found[1] if self.arg else found
                counter = None if at is None else at + self.width * u
                with f.scope(), e.over(vector, counter, n):
                    e.store_all(self.kernel.stores)

    # Folding

    def _in_blocks(self, most: int) -> bool:
        """Whether more than `most` elements, or several loops of them, are added up."""
        inner = self.kernel.inner
        if self.fold != "sum" or not self.dtype.is_float or not inner or self.ordered:
            return False
        return len(inner) > 1 or inner[0].size > most

    def _roots(self) -> list[Expr]:
        index = self.kernel.body_index
        return [self.body] if index is None else [self.body, index]

    def _new(self) -> Any:
        """A running value in locals: a vector, or (value, index) vectors."""
        value = self.f.let(self.start)
        return (value, self.f.let(I32x4.const(2**31 - 1))) if self.arg else value

    def _reset(self, running: Any) -> None:
        running.set(self.start)

    def _value(self, lanes: int) -> Any:
        """What the current point adds; lanes that do not count add nothing."""
        if self.ordered:
            return tuple([self.e.value(factor) for factor in self.body.args])
        value = self.e.value(self.body)
        if self.arg and self.dtype.kind == "b":  # masks: True is -1, and is to beat 0
            value = self.f.let(value & 1)
        if lanes < self.width:
            counting = I32x4.const_lanes([-1] * lanes + [0] * (LANES - lanes))
            here = self.kind.MASK.const_lanes([-1] * lanes + [0] * (self.kind.LANES - lanes))
            value = self.f.let(here.select(value, self.start))
        if not self.arg:
            return value
        assert self.kernel.body_index is not None
        index = self.e.value(self.kernel.body_index)
        if lanes < self.width:
            index = self.f.let(counting.select(index, I32x4.const(2**31 - 1)))
        return value, index

    def _join(self, into: Any, new: Any) -> None:
        if self.ordered:
            a, b = new
            into.set(a.relaxed_madd(b, into) if self.e.fma else a * b + into)
            return
        if id(into) in self._met:
            with self.f.scope():
                new, met = self.f.once(new), self._met[id(into)]
                into.set(into.pmax(new) if self.fold == "max" else into.pmin(new))
                met.set(multiply_add(new, 1.0, met, self.e.fma))
            return
        if not self.arg:
            into.set(combine(self.e, self.fold, into, new, self.dtype))
            return
        (best, at), (value, index) = into, new
        with self.f.scope():
            better = self.f.let(self._better(best, at, value, index))
            best.set(mask_for(self.kind, better).select(value, best))
            at.set(better.select(index, at))

    def _better(self, best: Any, at: Any, value: Any, index: Any) -> Any:
        """Larger (or smaller), or equal and earlier; NaN beats numbers, and the first NaN wins."""
        f = self.f
        test = conversions.greater if self.fold == "max" else conversions.less
        ahead = truth(f, test(value, best))
        earlier = f.let(index < at)
        result = ahead | (truth(f, value == best) & earlier)
        if not self.dtype.is_float:
            return result
        nan, had = f.let(truth(f, value != value)), f.let(truth(f, best != best))
        return f.let(result) | (nan & (earlier | ~had))

    def _merged(self, sums: Sequence[Any]) -> Any:
        """Running values put together, in pairs."""
        level = list(sums)
        while len(level) > 1:
            pairs = []
            for x, y in zip(level[::2], level[1::2], strict=True):
                both = tuple([self.f.let(part) for part in x]) if self.arg else self.f.let(x)
                self._join(both, y)
                pairs.append(both)
            level = pairs
        return level[0]

    def _across_lanes(self, running: Any) -> Any:
        """The lanes folded together: 0 with 2 and 1 with 3, then those two."""
        f = self.f
        distances = (2, 1) if self.width == LANES else (1,)
        if self.arg:
            value, index = (f.let(v) for v in running)
            for distance in distances:
                other = _swapped(f, value, distance), _swapped(f, index, distance)
                self._join((value, index), other)
            return index
        total = f.let(running)
        for distance in distances:
            self._join(total, _swapped(f, total, distance))
        return total


def _swapped(f: Function, value: Any, distance: int) -> Any:
    """Each lane in the place of the one so far away."""
    return f.let(value.shuffle(value, [lane ^ distance for lane in range(value.LANES)]))
