"""Contractions as WASM functions: strips, register tiles, epilogue.

The result is a matrix: the last loops of the output that only B knows are its columns (n), the
loops that only A knows its rows (m), whatever both know runs outside. Rows are cut into strips of
whole inner loops, so that no index needs a division. A strip of A is read in place when it can be
walked along lines of rows and runs of steps with a stride each (a convolution's can, once its input
has a border), otherwise it is packed through its expression. B is read in place when its columns
are neighbours, otherwise from panels. Sums run strictly in the order of k.

Not here: the kernels in front that make borders and panels (operands.py), the tiles themselves
(microkernel.py, fewrows.py, fewcolumns.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

from tabgrad.compiler.collapse import index_levels, rewrite
from tabgrad.ir.index import Index, Var, unflatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import lane_type, width_of
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.fewcolumns import tile_of_dots
from tabgrad.targets.wasm.fewrows import stream, tile_of_columns
from tabgrad.targets.wasm.loops import row
from tabgrad.targets.wasm.matrix import Blocks, Matrix, Run, blocks_of, runs, stride, walkable
from tabgrad.targets.wasm.microkernel import tile

MAX_ROWS = 96  # of a strip: with MAX_STEPS it stays in the second-level cache beside a panel of B
MAX_STEPS = 512
FEWEST_UNITS = 8  # pieces of work to share out, where that costs nothing
FEWEST_PANELS = 4  # of B in such a piece
SINGLE_BLOCK = 1024  # steps up to which one block is kept whole

_At = Callable[[I32, I32, int], None]  # one tile: address of A's first row, its number, rows


def emit(
    f: Function, kernel: Kernel, bases: dict[int, I32], scratch: I32, fma: bool
) -> tuple[int, int]:
    """Write the body of a contraction; returns its number of units and its bytes of scratch."""
    return _Contraction(f, kernel, bases, scratch, fma).emit()


class _Contraction:
    def __init__(
        self, f: Function, kernel: Kernel, bases: dict[int, I32], scratch: I32, fma: bool
    ) -> None:
        self.f, self.kernel, self.scratch, self.fma = f, kernel, scratch, fma
        width = kernel.panel_width
        found = Matrix.of(kernel)
        assert found is not None
        self.x = found
        self.item, self.lanes = found.dtype.itemsize, found.lanes
        self.mr, self.nv = found.tile(fma)
        self.width = width or self.nv * self.lanes
        self.bases = bases
        self.e = Evaluator(f, bases, {}, fma, width_of(kernel))
        self.in_place = walkable(found.a, found.m, found.k)
        self.strips = blocks_of(found.m, MAX_ROWS // self.mr * self.mr, "m", self.mr)
        self.dots = not width and found.dots()
        few = self.in_place and (found.rows <= self.mr or self.dots)
        self.streams = not width and found.streams()
        # What streams goes through all steps at once.
        single = found.steps <= SINGLE_BLOCK or few or self.streams
        self.steps = blocks_of(found.k, found.steps if single else MAX_STEPS, "k")
        self.lines, self.runs = self._walk_of_a()
        self.apart = None if width else found.columns_apart()
        self.parts = self._parts()
        self.k_major = self._prefers_k_major()
        self.packed = Buffer("packed", "scratch", self.strips.size * self.steps.size, found.dtype)
        self.sums_at = 0 if self.in_place else _rounded(self.packed.nbytes)
        self.sums_row = -(-found.columns // self.lanes) * 16
        self._prepare_epilogue()

    def _walk_of_a(self) -> tuple[list[Run], list[Run]]:
        """How A is walked in a block: lines of rows and runs of steps, strides in bytes."""
        strips, steps, item = self.strips, self.steps, self.item
        if not self.in_place:
            by_row, by_step = (1, strips.size) if self._prefers_k_major() else (steps.size, 1)
            return [Run(strips.points, by_row * item)], [Run(steps.points, by_step * item)]
        assert self.x.a.index is not None
        index = self.x.a.index.replace(strips.values() | steps.values())
        lines, found = runs(index, strips.points), runs(index, steps.points)
        assert lines is not None and found is not None
        return (
            [Run(line.loops, line.stride * item) for line in lines],
            [Run(run.loops, run.stride * item) for run in found],
        )

    def _prefers_k_major(self) -> bool:
        """Whether packing runs along rows: the neighbours in memory are rows, not steps."""
        loads = [e for e in walk([self.x.a]) if e.op == "load" and e.index is not None]
        if not loads or not self.x.m or not self.x.k:
            return False
        index = loads[-1].index
        assert index is not None
        return index.coefficient(self.x.k[-1]) != 1 and index.coefficient(self.x.m[-1]) == 1

    def _prepare_epilogue(self) -> None:
        """Stores and their expressions in terms of one row and one column number."""
        tail = Kernel("map", (), list(self.kernel.stores))
        self.m = self._as_one(tail, self.x.m, "row")
        self.n = self._as_one(tail, self.x.n, "column")
        self.stores = tail.stores

    def _as_one(self, kernel: Kernel, loops: Sequence[Var], name: str) -> Var:
        size = math.prod(v.size for v in loops)
        one = Var(name, size)
        whole = all(
            level.terms.get(a, 0) == level.terms.get(b, 0) * b.size
            for level in index_levels(kernel)
            for a, b in pairwise(loops)
        )
        if whole:
            values = {v: Index() for v in loops[:-1]}
            if loops:
                values[loops[-1]] = Index.of(one)
        else:
            at = unflatten(Index.of(one), tuple(v.size for v in loops))
            values = dict(zip(loops, at, strict=True))
        rewrite(kernel, values)
        return one

    def _parts(self) -> Var:
        """Columns are shared out where there are too few strips for several threads, and A need not
        be packed for each part."""
        columns = self.x.columns // self.width
        others = math.prod(v.size for v in self.x.outer) * self.strips.count
        parts = min(-(-FEWEST_UNITS // others), columns // FEWEST_PANELS) if self.in_place else 1
        if others % 2 and self.in_place:
            # Two threads are to have as much each.
            parts = max(parts - parts % 2, 2 if columns > 1 else 1)
        return Var("part", max(parts, 1))

    def _columns(self) -> tuple[I32 | int, I32 | int]:
        """The first and the last whole panel's end of this unit, in columns."""
        whole = self.x.columns // self.width
        if self.parts.size == 1:
            return 0, whole * self.width
        part = self.e.counters[self.parts]
        first = (part * whole).div(self.parts.size) * self.width
        last = ((part + 1) * whole).div(self.parts.size) * self.width
        return self.f.let(first), self.f.let(last)

    @property
    def scratch_bytes(self) -> int:
        """Memory of its own that one thread needs."""
        in_memory = self.steps.count > 1 or self.streams
        sums = self.strips.size * self.sums_row if in_memory else 0
        return self.sums_at + _rounded(sums)

    def emit(self) -> tuple[int, int]:
        """Write the function body."""
        f, e = self.f, self.e
        *_, begin, end = f.params
        loops = [*self.x.outer, *self.strips.prefix, self.strips.chunk, self.parts]
        with f.loop_range(begin, end) as unit, e.fresh():
            rest = f.let(unit)
            for loop in reversed(loops):
                e.counters[loop] = f.let(rest.rem(loop.size)) if loop.size > 1 else I32.const(0)
                if loop.size > 1:
                    rest.set(rest.div(loop.size))
            self._strip()
        return math.prod(v.size for v in loops), self.scratch_bytes

    def _strip(self) -> None:
        f, e, strips, steps = self.f, self.e, self.strips, self.steps
        first = Index.of(strips.chunk) * strips.part.size
        inside = strips.split.size if strips.split is not None else 1
        for v in reversed(strips.prefix):
            first = first + Index.of(v) * inside
            inside *= v.size
        self.row0 = f.let(e.index(first * math.prod(v.size for v in strips.suffix)))
        ragged = strips.last != strips.size
        self.valid: I32 | int = strips.size
        if ragged:
            is_last = e.counters[strips.chunk] == strips.chunk.size - 1
            self.valid = f.let(is_last.select(I32.const(strips.last), I32.const(strips.size)))
        if steps.count == 1:
            e.counters[steps.chunk] = I32.const(0)
            self._block(steps.part.size, None)
            return
        with ExitStack() as stack:
            for v in (*steps.prefix, steps.chunk):
                e.counters[v] = stack.enter_context(f.loop_range(0, v.size))
                stack.enter_context(e.fresh())
            parts: I32 | int = steps.part.size
            if steps.last != steps.size:
                is_last = e.counters[steps.chunk] == steps.chunk.size - 1
                full = I32.const(steps.part.size)
                parts = f.let(is_last.select(I32.const(steps.last_part), full))
            number = f.let(I32.const(0))
            for v in (*steps.prefix, steps.chunk):
                number.set(number * v.size + e.counters[v])
            self._block(parts, number)

    def _block(self, parts: I32 | int, number: I32 | None) -> None:
        """One block of steps of one strip: pack A if need be, then all tiles."""
        f, e = self.f, self.e
        with e.fresh():
            if not self.in_place:
                self._pack()
                a = self.scratch
            else:
                assert self.x.a.index is not None and self.x.a.buffer is not None
                at = self.x.a.index.replace(self.strips.first() | self.steps.first())
                a = f.let(self.bases[id(self.x.a.buffer)] + e.index(at) * self.item)
        # The outermost run is the one that the last block may have less of.
        outermost, *others = [run.size for run in self.runs]
        counts = [parts * (outermost // self.steps.part.size), *others]
        self._tiles(a, counts, number)

    def _pack(self) -> None:
        f, e, strips, steps = self.f, self.e, self.strips, self.steps
        values = strips.values() | steps.values()
        expr = self.x.a.replace(values)
        conditions = []
        rows, columns = (strips.part, *strips.suffix), (steps.part, *steps.suffix)
        order = (*columns, *rows) if self.k_major else (*rows, *columns)
        order = tuple(v for v in order if v.size > 1) or (strips.part,)
        where, step = Index(), 1
        for v in reversed((*columns, *rows) if self.k_major else (*rows, *columns)):
            where = where + Index.of(v) * step
            step *= v.size
        vector = order[-1]
        stops: dict[Var, I32] = {}
        for blocks in (strips, steps):
            if blocks.split is None or blocks.last == blocks.size:
                continue
            left = f.let(I32.const(blocks.split.size) - e.counters[blocks.chunk] * blocks.part.size)
            if blocks.part is vector:
                at = Index.of(blocks.chunk) * blocks.part.size + Index.of(blocks.part)
                conditions.append(Condition(at, None, blocks.split.size))
            else:
                full = I32.const(blocks.part.size)
                stops[blocks.part] = f.let((left < blocks.part.size).select(left, full))
        if conditions:
            zero = Expr("const", self.x.dtype, value=0.0)
            expr = Expr("guard", self.x.dtype, (expr, zero), conditions=tuple(conditions))
        e.bases[id(self.packed)] = self.scratch
        with ExitStack() as stack:
            for v in order[:-1]:
                stop: I32 | int = stops.get(v, v.size)
                e.counters[v] = stack.enter_context(f.loop_range(0, stop))
                stack.enter_context(e.fresh())
            row(e, vector, [Store(self.packed, where, expr)])

    # Tiles

    def _tiles(self, a: I32, counts: list[I32 | int], number: I32 | None) -> None:
        f = self.f
        columns = self.x.columns
        first, last = self._columns()
        if self.streams:
            self._stream(a, first, last)
        else:
            with f.loop_range(first, last, self.width) as n:
                self._column(a, counts, number, n, self.width)
        whole = columns // self.width * self.width
        if columns > whole:
            rest = I32.const(whole)
            with ExitStack() as stack:
                if self.parts.size > 1:
                    is_last = self.e.counters[self.parts] == self.parts.size - 1
                    stack.enter_context(f.if_(is_last))
                self._column(a, counts, number, rest, columns - whole)

    def _stream(self, a: I32, first: I32 | int, last: I32 | int) -> None:
        """All whole panels at once, added up in memory."""
        f, item = self.f, self.item
        kind = lane_type(self.x.dtype)
        with f.scope(), self.e.fresh():
            start = f.let(I32.const(0) + first)
            address, b_step = self._b_pointer(start)
            sums = f.let(self.scratch + self.sums_at + start * item)
            stream(
                f, kind, a, address, sums, rows=self.x.rows, steps=self.x.steps,
                nbytes=f.let((I32.const(0) + last - start) * item),
                a_row=self.lines[-1].stride, a_step=self.runs[-1].stride, b_step=b_step,
                sums_row=self.sums_row, fma=self.fma,
            )  # fmt: skip
            with f.loop_range(start, last, self.lanes) as n, self.e.fresh():
                at = f.let(self.scratch + self.sums_at + n * item)
                rows = range(self.x.rows)
                total = [[f.let(kind.load(at + r * self.sums_row))] for r in rows]
                self._epilogue(total, I32.const(0), n, [self.lanes])

    def _b_pointer(self, n: I32) -> tuple[I32, int]:
        """Address of B at the block's first step and column n, and bytes from step to step."""
        e, load, item = self.e, self.x.b, self.item
        assert load.index is not None and load.buffer is not None
        base = self.bases[id(load.buffer)]
        if self.kernel.panel_width:
            step = self.width * item
            before = self._steps_before() * step
            return base + e.index(load.index) * item + n * (self.x.steps * item) + before, step
        by = stride(load.index, self.x.k)
        assert by is not None
        if self.apart is not None:
            n = n * self.apart
        start = {v: Index() for v in (*self.x.n, *self.x.k)}
        at = e.index(load.index.replace(start)) * item + n * item
        at = at + self._steps_before() * (by * item)
        return base + at, by * item

    def _steps_before(self) -> I32:
        """Steps in the blocks before this one."""
        steps, e = self.steps, self.e
        if steps.count == 1:
            return I32.const(0)
        at = Index.of(steps.chunk) * steps.part.size
        assert steps.split is not None
        size = steps.split.size
        for v in reversed(steps.prefix):
            at = at + Index.of(v) * size
            size *= v.size
        return e.index(at * math.prod(v.size for v in steps.suffix))

    def _column(
        self, a: I32, counts: list[I32 | int], number: I32 | None, n: I32, width: int
    ) -> None:
        """All tiles of the strip in one panel of columns."""
        f = self.f
        with f.scope(), self.e.fresh():
            n = f.let(n) if n.constant is None else n
            address, b_step = self._b_pointer(n)
            b = f.let(address)

            def at(first: I32, r: I32, mr: int) -> None:
                with f.scope(), self.e.fresh():
                    self._tile(first, b, b_step, counts, number, r, n, mr, width)

            *outside, line = self.lines
            if not outside:
                self._rows(a, I32.const(0), self.strips, at)
                return
            # The outermost loop is the one that the last strip may have less of.
            rows = line.size
            with ExitStack() as stack:
                r, first = I32.const(0), a
                for i, run in enumerate(outside):
                    count: I32 | int = run.size
                    if i == 0 and not isinstance(self.valid, int):
                        count = self.valid.div(self.strips.size // run.size)
                    j = stack.enter_context(f.loop_range(0, count))
                    r = r * run.size + j
                    first = first + j * run.stride
                r, first = f.let(r * rows), f.let(first)
                self._balanced(first, r, rows, line.stride, at)

    def _rows(self, a: I32, r: I32, strips: Blocks, at: _At) -> None:
        """Tiles over all rows of the strip, which are one line."""
        f, by = self.f, self.lines[-1].stride
        if isinstance(self.valid, int):
            self._balanced(a, r, self.valid, by, at)
            return
        if strips.size % self.mr:
            for size in (strips.size, strips.last):
                with f.if_(self.valid == size):
                    self._balanced(a, r, size, by, at)
            return
        rest = strips.last % self.mr
        top = f.let(self.valid - self.valid.rem(self.mr))
        with f.loop_range(0, top, self.mr) as i:
            at(a + i * by, i, self.mr)
        if rest:
            with f.if_(self.valid == strips.last):
                last = I32.const(strips.last - rest)
                at(a + last * by, last, rest)

    def _balanced(self, a: I32, r: I32, rows: int, by: int, at: _At) -> None:
        """Tiles over rows of a line, of two heights at most: a tile of few rows takes as long as
        one of many, because its sums wait for each other."""
        count = -(-rows // self.mr)
        low, more = divmod(rows, count)
        split = more * (low + 1)
        for start, stop, mr in ((0, split, low + 1), (split, rows, low)):
            with self.f.loop_range(start, stop, mr) as i:
                at(a + i * by, r + i, mr)

    def _tile(
        self, a: I32, b: I32, b_step: int, counts: list[I32 | int], number: I32 | None, r: I32,
        n: I32, mr: int, width: int,
    ) -> None:  # fmt: skip
        f = self.f
        kind = lane_type(self.x.dtype)
        vectors = -(-width // self.lanes)
        lanes = [min(self.lanes, width - self.lanes * v) for v in range(vectors)]
        start = None
        sums = f.let(self.scratch + self.sums_at + r * self.sums_row + n * self.item)
        if number is not None:
            start = [[f.local(kind, 0) for _ in range(vectors)] for _ in range(mr)]
            with f.if_(number != 0):
                for i in range(mr):
                    for v in range(vectors):
                        start[i][v].set(kind.load(sums + (i * self.sums_row + 16 * v)))
        if self.apart is not None:
            total = tile_of_columns(
                f, kind, a, b, mr=mr, lanes=lanes, steps=self.x.steps,
                a_row=self.lines[-1].stride, a_step=self.runs[-1].stride,
                b_column=self.apart * self.item, fma=self.fma,
            )  # fmt: skip
            self._epilogue(total, r, n, lanes)
            return
        if self.dots:
            total = tile_of_dots(
                f, kind, a, b, mr=mr, columns=self.x.columns, a_row=self.lines[-1].stride,
                runs=[(run.size, run.stride) for run in self.runs],
                b_column=self.x.steps * self.item, fma=self.fma,
            )  # fmt: skip
            self._epilogue(total, r, n, lanes)
            return
        total = tile(
            f, kind, f.let(a), b, mr=mr, nv=vectors, a_row=self.lines[-1].stride,
            runs=list(zip(counts, [run.stride for run in self.runs], strict=True)), b_step=b_step,
            fma=self.fma, start=start,
        )  # fmt: skip
        if number is None:
            self._epilogue(total, r, n, lanes)
            return
        with f.if_(number == self.steps.count - 1):
            self._epilogue(total, r, n, lanes)
        with f.else_():
            for i, line in enumerate(total):
                for v, value in enumerate(line):
                    f.store(sums + (i * self.sums_row + 16 * v), value)

    def _epilogue(self, total: list[list[Any]], r: I32, n: I32, lanes: list[int]) -> None:
        f, e = self.f, self.e
        base = f.let(self.row0 + r)
        for i, line in enumerate(total):
            with f.scope(), e.fresh():
                e.counters[self.m] = base + i
                for v, value in enumerate(line):
                    # Where the epilogue has wider values than the tile, it takes half a vector.
                    for part in range(0, lanes[v], e.width):
                        at = n + self.lanes * v + part
                        with f.scope(), e.over(self.n, at, min(e.width, lanes[v] - part)):
                            e.acc = f.let(value.shuffle(value, (2, 3, 2, 3))) if part else value
                            done = [e.value(store.expr) for store in self.stores]
                            for store, new in zip(self.stores, done, strict=True):
                                e.store(store, new)


def _rounded(nbytes: int) -> int:
    return (nbytes + 127) // 64 * 64
