"""Contractions as WASM functions: packing, register tiles, epilogue.

The result is a matrix: the last loops of the output that only B knows are its columns (n), the
loops before them that only A knows its rows (m), whatever comes before runs outside. Rows are cut
into strips of whole inner loops, so that no index needs a division. A strip of A is read in place
when one stride leads from row to row and one from step to step, otherwise it is packed through its
expression (there padding, dilation and im2col disappear). B is read in place when its columns are
neighbours, otherwise `prepare` puts a kernel in front that packs it into panels. Sums run strictly
in the order of k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tabgrad.compiler.collapse import collapse, index_levels, rewrite
from tabgrad.dtypes import DType
from tabgrad.ir.index import Dyn, Index, Var, unflatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import lane_type, width_of
from tabgrad.targets.wasm.expressions import Evaluator
from tabgrad.targets.wasm.loops import row
from tabgrad.targets.wasm.microkernel import TILE_FMA, TILE_PLAIN, tile

MAX_ROWS = 96  # of a strip: with MAX_STEPS it stays in the second-level cache beside a panel of B
MAX_STEPS = 512
SINGLE_BLOCK = 1024  # steps up to which one block is kept whole
IN_PLACE_PANEL = 1 << 18  # bytes of B below which strided panels cost nothing (measured in V8)
FEW_ROWS = 24  # with so few rows packing B costs more than it saves
MIN_PRODUCTS = 2048  # smaller contractions are plain reductions
MAX_ORDERED = 1 << 14  # products that a reduction adds one by one: longer sums are made of blocks


@dataclass
class Blocks:
    """Loops walked in blocks of consecutive points: blocks over `prefix` and `chunk`, points over
    `part` (a piece of the loop `split`) and `suffix`."""

    prefix: tuple[Var, ...]
    split: Var | None
    chunk: Var
    part: Var
    suffix: tuple[Var, ...]

    @property
    def size(self) -> int:
        """Points in a full block."""
        return self.part.size * math.prod(v.size for v in self.suffix)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.chunk.size * math.prod(v.size for v in self.prefix)

    @property
    def last(self) -> int:
        """Points in the last chunk."""
        if self.split is None:
            return self.size
        rest = self.split.size - (self.chunk.size - 1) * self.part.size
        return rest * math.prod(v.size for v in self.suffix)

    def values(self) -> dict[Var, Index]:
        """The split loop in terms of chunk and part."""
        if self.split is None:
            return {}
        return {self.split: Index.of(self.chunk) * self.part.size + Index.of(self.part)}

    def first(self) -> dict[Var, Index]:
        """All loops at the first point of a block."""
        start = {v: Index() for v in self.suffix}
        if self.split is not None:
            start[self.split] = Index.of(self.chunk) * self.part.size
        return start


def blocks_of(loops: Sequence[Var], limit: int, name: str) -> Blocks:
    """Blocks of at most `limit` points (or one point of the last loop's neighbours)."""
    suffix: list[Var] = []
    rest = list(loops)
    points = 1
    while rest and points * rest[-1].size <= limit:
        points *= rest[-1].size
        suffix.insert(0, rest.pop())
    if not rest:
        # Everything in one block; the first loop counts as its part.
        whole = suffix.pop(0) if suffix else None
        part = Var(name + "p", whole.size if whole is not None else 1)
        return Blocks((), whole, Var(name + "c", 1), part, tuple(suffix))
    split = rest.pop()
    most = max(limit // points, 1)
    chunks = -(-split.size // most)
    size = -(-split.size // chunks)
    chunk = Var(name + "c", -(-split.size // size))
    return Blocks(tuple(rest), split, chunk, Var(name + "p", size), tuple(suffix))


def stride(index: Index, loops: Sequence[Var]) -> int | None:
    """The one step by which an index advances through loops seen as one, or None."""
    step, size = None, 1
    for v in reversed(loops):
        c = index.coefficient(v)
        if c is None or (step is not None and c != step * size):
            return None
        if step is None:
            step = c
        size *= v.size
    return 0 if step is None else step


@dataclass
class Matrix:
    """A contraction seen as a matrix product; `turned` when its B is the kernel's A."""

    outer: tuple[Var, ...]
    m: tuple[Var, ...]
    n: tuple[Var, ...]
    k: tuple[Var, ...]
    a: Expr
    b: Expr
    turned: bool

    @staticmethod
    def of(kernel: Kernel) -> Matrix | None:
        """The matrix in a kernel, or None where a plain reduction is better."""
        assert kernel.a is not None and kernel.b is not None
        space = [v for v in kernel.space if v.size != 1]
        k = tuple(v for v in kernel.inner if v.size != 1)
        if kernel.a.dtype.itemsize < 4 or not space:
            return None
        role = kernel.roles[space[-1]]
        if role == "g":
            return None
        turned = role == "m"
        a, b = (kernel.b, kernel.a) if turned else (kernel.a, kernel.b)
        other = "n" if turned else "m"
        n: list[Var] = []
        while space and kernel.roles[space[-1]] == role:
            n.insert(0, space.pop())
        m: list[Var] = []
        while space and kernel.roles[space[-1]] == other:
            m.insert(0, space.pop())
        if turned and not m and not _readable_in_place(b, n, k):
            # A single output feature is one column: as a row, all of A would have to be packed.
            a, b, m, n, turned = b, a, n, m, False
        size = [math.prod(v.size for v in part) for part in (m, n, k)]
        if math.prod(size) < MIN_PRODUCTS:
            return None
        if any(isinstance(atom, Dyn) for e in walk([a, b]) if e.index for atom in e.index.terms):
            return None
        return Matrix(tuple(space), tuple(m), tuple(n), k, a, b, turned)

    @property
    def dtype(self) -> DType:
        """What is multiplied and added."""
        return self.a.dtype

    @property
    def lanes(self) -> int:
        """Columns in one vector."""
        return 16 // self.dtype.itemsize

    @property
    def rows(self) -> int:
        """Number of rows of the result."""
        return math.prod(v.size for v in self.m)

    @property
    def columns(self) -> int:
        """Number of columns of the result."""
        return math.prod(v.size for v in self.n)

    @property
    def steps(self) -> int:
        """Number of products in one sum."""
        return math.prod(v.size for v in self.k)


def tile_shape(matrix: Matrix, fma: bool) -> tuple[int, int]:
    """Rows and vectors of the register tile."""
    mr, nv = TILE_FMA if fma else TILE_PLAIN
    vectors = -(-matrix.columns // matrix.lanes)
    if matrix.rows == 1:
        return 1, min(6, vectors)
    return mr, min(nv, vectors)


def prepare(kernel: Kernel, temporaries: list[Buffer], fma: bool) -> list[Kernel]:
    """A contraction with, where B cannot be read in place, a kernel before it that packs B.

    Contractions that are no matrix become reductions of a product. Small ones add in the same order
    as large ones, so that a row of a batch has the same bits however many rows there are.
    """
    matrix = Matrix.of(kernel)
    if matrix is None:
        assert kernel.a is not None and kernel.b is not None
        kernel.kind = "reduce"
        batched = bool(kernel.space) and kernel.roles[kernel.space[-1]] == "g"
        short = math.prod(v.size for v in kernel.inner) <= MAX_ORDERED
        if kernel.a.dtype.is_float and short and not batched:
            kernel.fold = "dot"
        kernel.body = Expr("mul", kernel.a.dtype, (kernel.a, kernel.b))
        kernel.a = kernel.b = None
        return [collapse(kernel)]
    if _in_place_b(matrix):
        return [kernel]
    _, nv = tile_shape(matrix, fma)
    width = nv * matrix.lanes
    depends = [v for v in matrix.outer if v in matrix.b.variables()]
    panels = Var("p", -(-matrix.columns // width))
    column = Var("j", width)
    at = Index.of(panels) * width + Index.of(column)
    shape = tuple(v.size for v in matrix.n)
    values = dict(zip(matrix.n, unflatten(at, shape), strict=True))
    dtype = matrix.dtype
    zero = Expr("const", dtype, value=0.0)
    packed = matrix.b.replace(values)
    if matrix.columns % width:
        packed = Expr(
            "guard", dtype, (packed, zero), conditions=(Condition(at, None, matrix.columns),)
        )
    loops = (*depends, panels, *matrix.k, column)
    where, step = Index(), 1
    for v in reversed(loops):
        where = where + Index.of(v) * step
        step *= v.size
    buffer = Buffer(f"t{len(temporaries)}", "temp", step, dtype)
    temporaries.append(buffer)
    pack = Kernel("map", loops, [Store(buffer, where, packed)], name=f"{kernel.name}_pack")
    # B is now a matrix of panels; the tile finds its vectors through this load's index at column 0.
    index = Index()
    step = panels.size * matrix.steps * width
    for v in reversed(depends):
        index = index + Index.of(v) * step
        step *= v.size
    panel = Expr("load", dtype, buffer=buffer, index=index)
    # Asked of the loops, because both operands may be one and the same expression.
    if matrix.turned:
        kernel.a = panel
    else:
        kernel.b = panel
    kernel.panel_width = width
    return [collapse(pack), kernel]


def _in_place_b(matrix: Matrix) -> bool:
    if not _readable_in_place(matrix.b, matrix.n, matrix.k):
        return False
    nbytes = matrix.dtype.itemsize * matrix.steps * matrix.columns
    return matrix.rows <= FEW_ROWS or nbytes <= IN_PLACE_PANEL


def _readable_in_place(b: Expr, n: Sequence[Var], k: Sequence[Var]) -> bool:
    if b.op != "load" or b.index is None or stride(b.index, n) != 1:
        return False
    return stride(b.index, k) is not None


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
        self.mr, self.nv = tile_shape(found, fma)
        self.width = width or self.nv * self.lanes
        self.bases = bases
        self.e = Evaluator(f, bases, {}, fma, width_of(kernel))
        self.in_place = self._strides_of_a()
        limit = MAX_ROWS // self.mr * self.mr
        self.strips = blocks_of(found.m, limit, "m")
        single = found.steps <= SINGLE_BLOCK or self.in_place is not None
        self.steps = blocks_of(found.k, found.steps if single else MAX_STEPS, "k")
        self.k_major = self._prefers_k_major()
        self.packed = Buffer("packed", "scratch", self.strips.size * self.steps.size, found.dtype)
        self.sums_at = 0 if self.in_place is not None else _rounded(self.packed.nbytes)
        self.sums_row = -(-found.columns // self.lanes) * 16
        self._prepare_epilogue()

    def _strides_of_a(self) -> tuple[int, int] | None:
        load = self.x.a
        if load.op != "load" or load.index is None:
            return None
        by_row, by_step = stride(load.index, self.x.m), stride(load.index, self.x.k)
        if by_row is None or by_step is None:
            return None
        return by_row * self.item, by_step * self.item

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

    @property
    def scratch_bytes(self) -> int:
        """Memory of its own that one thread needs."""
        sums = self.strips.size * self.sums_row if self.steps.count > 1 else 0
        return self.sums_at + _rounded(sums)

    def emit(self) -> tuple[int, int]:
        """Write the function body."""
        f, e = self.f, self.e
        *_, begin, end = f.params
        loops = [*self.x.outer, *self.strips.prefix, self.strips.chunk]
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
            self._block(steps.size, None)
            return
        with ExitStack() as stack:
            for v in (*steps.prefix, steps.chunk):
                e.counters[v] = stack.enter_context(f.loop_range(0, v.size))
                stack.enter_context(e.fresh())
            count: I32 | int = steps.size
            if steps.last != steps.size:
                is_last = e.counters[steps.chunk] == steps.chunk.size - 1
                count = f.let(is_last.select(I32.const(steps.last), I32.const(steps.size)))
            number = f.let(I32.const(0))
            for v in (*steps.prefix, steps.chunk):
                number.set(number * v.size + e.counters[v])
            self._block(count, number)

    def _block(self, count: I32 | int, number: I32 | None) -> None:
        """One block of steps of one strip: pack A if need be, then all tiles."""
        f, e = self.f, self.e
        with e.fresh():
            if self.in_place is None:
                self._pack()
                a, a_row, a_step = self.scratch, self.item * self.steps.size, self.item
                if self.k_major:
                    a_row, a_step = self.item, self.item * self.strips.size
            else:
                a_row, a_step = self.in_place
                assert self.x.a.index is not None and self.x.a.buffer is not None
                start = {v: Index() for v in self.x.k} | self.strips.first()
                at = self.x.a.index.replace(start)
                a = f.let(self.bases[id(self.x.a.buffer)] + e.index(at) * self.item)
        self._tiles(a, a_row, a_step, count, number)

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

    def _tiles(self, a: I32, a_row: int, a_step: int, count: I32 | int, number: I32 | None) -> None:
        f = self.f
        columns = self.x.columns
        whole = columns // self.width * self.width
        with f.loop_range(0, whole, self.width) as n:
            self._column(a, a_row, a_step, count, number, n, self.width)
        if columns > whole:
            self._column(a, a_row, a_step, count, number, I32.const(whole), columns - whole)

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
        self,
        a: I32,
        a_row: int,
        a_step: int,
        count: I32 | int,
        number: I32 | None,
        n: I32,
        width: int,
    ) -> None:
        """All tiles of the strip in one panel of columns."""
        f = self.f
        with f.scope(), self.e.fresh():
            n = f.let(n) if n.constant is None else n
            address, b_step = self._b_pointer(n)
            b = f.let(address)
            sizes = {self.strips.size, self.strips.last}
            tops = {size - size % self.mr for size in sizes}

            def at(r: I32, mr: int) -> None:
                with f.scope(), self.e.fresh():
                    self._tile(
                        a + r * a_row, a_row, a_step, b, b_step, count, number, r, n, mr, width
                    )

            if isinstance(self.valid, int):
                (top,) = tops
                with f.loop_range(0, top, self.mr) as r:
                    at(r, self.mr)
                if self.valid > top:
                    at(I32.const(top), self.valid - top)
                return
            top_now = f.let(self.valid - self.valid.rem(self.mr))
            with f.loop_range(0, top_now, self.mr) as r:
                at(r, self.mr)
            for size in sorted(sizes):
                if size % self.mr:
                    with f.if_(self.valid == size):
                        at(I32.const(size - size % self.mr), size % self.mr)

    def _tile(
        self, a: I32, a_row: int, a_step: int, b: I32, b_step: int, count: I32 | int,
        number: I32 | None, r: I32, n: I32, mr: int, width: int,
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
        total = tile(
            f, kind, f.let(a), b, mr=mr, nv=vectors, k=count, a_row=a_row, a_step=a_step,
            b_step=b_step, fma=self.fma, start=start,
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
