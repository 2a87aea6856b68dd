"""Maps, reductions and scatters as WASM functions.

A kernel's function takes the addresses of its buffers, then `begin` and `end`: which of its
independent units (steps of the outermost loop) to do. One vector of four points is computed at a
time; what is left over is one shorter vector of the same code, never another one.

The order in which a reduction adds depends on its shape alone: four running sums in blocks, block
sums added up, so that errors stay small and results do not depend on who computes what. The fold
"dot" (a small contraction) adds products one by one instead, as the tiles of large ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Expr, Kernel, Store, identity, walk
from tabgrad.targets.wasm.builder import I32, F32x4, Function, I32x4
from tabgrad.targets.wasm.elements import LANES, lane_type
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.operations import combine, constant

CHUNK = 4096  # elements of a single loop that make one unit of work
BLOCK = 1024  # elements added up before they join the block sums
UNROLL_SIZE = 64  # loops shorter than this are not unrolled
UNROLL_COST = 40  # nor are bodies of more operations


def emit(f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> int:
    """Write the body of a map, reduce or scatter kernel; returns its number of units."""
    *_, begin, end = f.params
    if kernel.kind == "reduce":
        return _Reduction(f, kernel, bases, fma).emit(begin, end)
    return _emit_map(f, kernel, bases, fma, begin, end)


# Maps ---------------------------------------------------------------------------------------------


def _emit_map(
    f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool, begin: I32, end: I32
) -> int:
    e = Evaluator(f, bases, {}, fma)
    stores = kernel.stores
    if not kernel.space:
        with f.loop_range(begin, end), e.over(None, None, 1):
            _store_all(e, stores)
        return 1
    *outer, vector = kernel.space
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
    with f.loop_range(begin, end) as i, e.fresh():
        e.counters[outer[0]] = i
        _nest(f, e, outer[1:], lambda: row(e, vector, stores))
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
    unroll = unroll_of([s.expr for s in stores], last)

    def point(at: I32, lanes: int) -> None:
        with f.scope(), e.over(vector, at, lanes):
            _store_all(e, stores)

    tail = last % LANES
    if start.constant is not None and stop.constant is not None:
        whole = stop.constant - start.constant - tail
        main = whole // (LANES * unroll) * LANES * unroll
        with f.loop_range(start, start + main, LANES * unroll) as i:
            for u in range(unroll):
                point(i + LANES * u, LANES)
        for at in range(start.constant + main, start.constant + whole, LANES):
            point(I32.const(at), LANES)
        if tail:
            point(I32.const(stop.constant - tail), tail)
        return
    # Chunks are multiples of a vector, except for the end of the last one.
    end = f.let(stop - (stop & (LANES * unroll - 1)))
    with f.loop_range(start, end, LANES * unroll) as i:
        for u in range(unroll):
            point(i + LANES * u, LANES)
    if unroll > 1:
        whole_end = f.let(stop & -LANES)
        with f.loop_range(end, whole_end, LANES) as i:
            point(i, LANES)
    if tail:
        with f.if_(stop == last), e.fresh():
            point(I32.const(last - tail), tail)


def unroll_of(roots: Sequence[Expr], size: int) -> int:
    """How many vectors one trip of a loop computes."""
    cost = sum(expr.op not in ("load", "const") for expr in walk(roots))
    heavy = any(
        expr.op in ("guard", "threefry", "pow", "sin", "cos", "tan") for expr in walk(roots)
    )
    return 4 if size >= UNROLL_SIZE and cost <= UNROLL_COST and not heavy else 1


def _store_all(e: Evaluator, stores: Sequence[Store]) -> None:
    # All values first: a store may overwrite what another value reads at the same place.
    values = [e.value(store.expr) for store in stores]
    for store, value in zip(stores, values, strict=True):
        e.store(store, value)


# Reductions ---------------------------------------------------------------------------------------


class _Reduction:
    def __init__(self, f: Function, kernel: Kernel, bases: dict[int, I32], fma: bool) -> None:
        assert kernel.body is not None
        self.f, self.kernel = f, kernel
        self.body: Expr = kernel.body
        self.dtype = kernel.body.dtype
        self.kind = lane_type(self.dtype)
        self.e = Evaluator(f, bases, {}, fma)
        self.arg = kernel.fold in ("argmax", "argmin")
        self.ordered = kernel.fold == "dot"
        self.fold = "sum" if self.ordered else kernel.fold.removeprefix("arg")
        self.start = constant(identity(self.fold, self.dtype))
        if self.arg and self.dtype.kind == "b":
            self.start = self.start & 1

    def emit(self, begin: I32, end: I32) -> int:
        """Write the function body; returns the number of units."""
        f, e, kernel = self.f, self.e, self.kernel
        along = self._along_inner()
        space = list(kernel.space)
        vector = None if along or not space else space.pop()
        point = self._fold_along if along else lambda: self._fold_across(vector)
        if not space:
            with f.loop_range(begin, end), e.fresh():
                point()
            return 1
        with f.loop_range(begin, end) as i, e.fresh():
            e.counters[space[0]] = i
            _nest(f, e, space[1:], point)
        return space[0].size

    def _along_inner(self) -> bool:
        """Whether the lanes run along the innermost folded loop, or across the outputs."""
        if not self.kernel.inner or self.ordered:
            return False
        if not self.kernel.space:
            return True
        folded, outer = self.kernel.inner[-1], self.kernel.space[-1]
        indices = [x.index for x in walk([self.body]) if x.op == "load" and x.index is not None]
        whole = {v: sum(i.coefficient(v) == 1 for i in indices) for v in (folded, outer)}
        if whole[folded] != whole[outer]:
            return whole[folded] > whole[outer] and folded.size >= 2
        return folded.size >= outer.size

    # Lanes along the folded loop: partial sums in lanes, put together at the end

    def _fold_along(self) -> None:
        f, e = self.f, self.e
        *loops, vector = self.kernel.inner
        unroll = 1 if self.arg else unroll_of([self.body], vector.size)
        sums = [self._new() for _ in range(unroll)]
        blocks = self._new() if self._in_blocks() else None

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

        if loops:
            with f.loop_range(0, loops[0].size) as i, e.fresh():
                e.counters[loops[0]] = i
                _nest(f, e, loops[1:], segment)
                close()
        else:
            segment()
        total = blocks if blocks is not None else self._merged(sums)
        e.acc = self._across_lanes(total)
        with e.over(None, None, 1):
            _store_all(e, self.kernel.stores)

    def _run(
        self, vector: Var, start: I32, stop: I32, sums: list[Any], size: int, ends: bool
    ) -> None:
        """Fold the points from start to stop; `ends` when the loop's tail is among them."""
        f, e = self.f, self.e
        unroll = len(sums)
        tail = size % LANES if ends else 0

        def point(at: I32, lanes: int, into: Any) -> None:
            with f.scope(), e.over(vector, at, lanes):
                self._join(into, self._value(lanes))

        if start.constant is not None and stop.constant is not None:
            whole = stop.constant - start.constant - tail
            main = whole // (LANES * unroll) * LANES * unroll
            with f.loop_range(start, start + main, LANES * unroll) as i:
                for u in range(unroll):
                    point(i + LANES * u, LANES, sums[u])
            places = range(start.constant + main, start.constant + whole, LANES)
            for u, at in enumerate(places):
                point(I32.const(at), LANES, sums[u])
            if tail:
                point(I32.const(stop.constant - tail), tail, sums[len(places)])
            return
        with f.loop_range(start, stop, LANES * unroll) as i:
            for u in range(unroll):
                point(i + LANES * u, LANES, sums[u])

    # Lanes across neighbouring outputs: each lane folds its own

    def _fold_across(self, vector: Var | None) -> None:
        f, e = self.f, self.e
        if vector is None:
            self._across(None, None, [1])
            return
        unroll = 1
        if not self.arg and vector.size >= 4 * LANES and unroll_of([self.body], UNROLL_SIZE) > 1:
            unroll = 4
        main = vector.size // (LANES * unroll) * LANES * unroll
        with f.loop_range(0, main, LANES * unroll) as i, e.fresh():
            self._across(vector, i, [LANES] * unroll)
        for at in range(main, vector.size, LANES):
            self._across(vector, I32.const(at), [min(LANES, vector.size - at)])

    def _across(self, vector: Var | None, at: I32 | None, lanes: list[int]) -> None:
        f, e = self.f, self.e
        with f.scope():
            sums = [self._new() for _ in lanes]
            blocks = [self._new() for _ in lanes] if self._in_blocks() else None
            inner = list(self.kernel.inner)

            def point() -> None:
                for u, n in enumerate(lanes):
                    counter = None if at is None else at + LANES * u
                    with f.scope(), e.over(vector, counter, n):
                        self._join(sums[u], self._value(LANES))

            def close() -> None:
                for into, one in zip(blocks or [], sums, strict=bool(blocks)):
                    self._join(into, one)
                    self._reset(one)

            if blocks is not None and len(inner) == 1:
                (loop,) = inner
                for start, stop in ((0, loop.size // BLOCK * BLOCK),):
                    with f.loop_range(start, stop, BLOCK) as block, e.fresh():
                        with f.loop_range(block, f.let(block + BLOCK)) as i, e.fresh():
                            e.counters[loop] = i
                            point()
                        close()
                    with f.loop_range(stop, loop.size) as i, e.fresh():
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
                counter = None if at is None else at + LANES * u
                with f.scope(), e.over(vector, counter, n):
                    _store_all(e, self.kernel.stores)

    # Folding

    def _in_blocks(self) -> bool:
        inner = self.kernel.inner
        if self.fold != "sum" or not self.dtype.is_float or not inner or self.ordered:
            return False
        return len(inner) > 1 or inner[0].size > BLOCK

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
        if lanes < LANES:
            counting = I32x4.const_lanes([-1] * lanes + [0] * (LANES - lanes))
            value = self.f.let(counting.select(value, self.start))
        if not self.arg:
            return value
        assert self.kernel.body_index is not None
        index = self.e.value(self.kernel.body_index)
        if lanes < LANES:
            index = self.f.let(counting.select(index, I32x4.const(2**31 - 1)))
        return value, index

    def _join(self, into: Any, new: Any) -> None:
        if self.ordered:
            a, b = new
            into.set(a.relaxed_madd(b, into) if self.e.fma else a * b + into)
            return
        if not self.arg:
            into.set(combine(self.e, self.fold, into, new, self.dtype))
            return
        (best, at), (value, index) = into, new
        with self.f.scope():
            better = self.f.let(self._better(best, at, value, index))
            best.set(better.select(value, best))
            at.set(better.select(index, at))

    def _better(self, best: Any, at: Any, value: Any, index: Any) -> Any:
        """Larger (or smaller), or equal and earlier; NaN beats numbers, and the first NaN wins."""
        ahead = value > best if self.fold == "max" else value < best
        earlier = self.f.let(index < at)
        result = ahead.view(I32x4) | ((value == best).view(I32x4) & earlier)
        if not issubclass(self.kind, F32x4):
            return result
        nan, had = self.f.let((value != value).view(I32x4)), self.f.let(best != best)
        return self.f.let(result) | (nan & (earlier | ~had))

    def _merged(self, sums: Sequence[Any]) -> Any:
        """Running values put together, in pairs."""
        level = list(sums)
        while len(level) > 1:
            pairs = []
            for x, y in zip(level[::2], level[1::2], strict=True):
                both = self.f.let(x)
                self._join(both, y)
                pairs.append(both)
            level = pairs
        return level[0]

    def _across_lanes(self, running: Any) -> Any:
        """The lanes folded together: 0 with 2 and 1 with 3, then those two."""
        f = self.f
        if self.arg:
            value, index = (f.let(v) for v in running)
            for shift in ((2, 3, 0, 1), (1, 0, 3, 2)):
                self._join(
                    (value, index),
                    (f.let(value.shuffle(value, shift)), f.let(index.shuffle(index, shift))),
                )
            return index
        total = f.let(running)
        for shift in ((2, 3, 0, 1), (1, 0, 3, 2)):
            self._join(total, f.let(total.shuffle(total, shift)))
        return total
