"""Contractions as compute shaders: a tile of results in the registers of each thread.

Loads are what costs, so a thread makes eight rows by eight columns, and sixteen by sixteen where
there is so much to do that a shader four times as long is worth its compilation: along k four
neighbours of A are one load where they lie side by side, along the columns four of B. Whatever
else A and B are (a convolution with its border, a transposition, a fused prologue) is evaluated in
place.
This is the serial schedule: no barriers, no workgroup memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.compiler import border
from tabgrad.ir.index import Var, points_of
from tabgrad.ir.kernel import Buffer, Expr, Kernel
from tabgrad.targets.shading.expressions import (
    Evaluator,
    four_by_four,
    read_by_four,
    stored_by_four,
)
from tabgrad.targets.shading.values import LANES, Block, Value
from tabgrad.targets.wgsl.loops import (
    COLUMNS,
    ENOUGH_THREADS,
    ROWS,
    Bind,
    counters_of,
    put_all,
)
from tabgrad.targets.wgsl.shader import Shader, write

LARGE_TILE, LARGE_WORK = 16, 1 << 27  # rows and columns; multiplications
MIN_REUSE = 8  # times an element is used: below this a border costs more than its tests


def bordered(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """Kernels that copy operands of a contraction with the zeros it reads around them, after which
    its loads need no guards: each element is used many times, and shader compilers leave tests in
    the innermost loop."""
    if kernel.kind != "contract" or not {"m", "n"} <= set(kernel.roles.values()):
        return []
    made: list[Kernel] = []
    for name in ("a", "b"):
        if getattr(kernel, name).dtype.is_float:
            made += border.bordered(kernel, name, kernel.points // MIN_REUSE, temporaries)
    return made


def emit(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """A contraction."""
    return _Tile(kernel, bind, words).emit()


class _Tile:
    def __init__(self, kernel: Kernel, bind: Bind, words: int) -> None:
        assert kernel.a is not None and kernel.b is not None
        self.kernel, self.words = kernel, words
        self.a, self.b = kernel.a, kernel.b
        self.column = self._column()
        if self.column is not None and self.column in self.a.variables():
            self.a, self.b = self.b, self.a  # b is what goes along the columns
        self.wide = self.column is not None and self.column.size % LANES == 0
        self.row = self._row()
        self.step = self._step()
        self.rows = min(ROWS, self.row.size) if self.row else 1
        self.columns = self._columns()
        if self._is_large():
            self.rows = self.columns = LARGE_TILE
        # Few results: rather more threads than large tiles.
        while (
            self.rows > 1 and points_of(kernel.space) // (self.rows * self.columns) < ENOUGH_THREADS
        ):
            self.rows //= 2
        self.across = self.rows % LANES == 0 and self._across()
        if self.across:
            self.step = None
        self.turned = self._lies_along_steps()
        self.bindings = bind(self._fours())

    def _is_large(self) -> bool:
        if self.row is None or self.column is None or self.kernel.points < LARGE_WORK:
            return False
        return self.row.size % LARGE_TILE == 0 == self.column.size % LARGE_TILE

    def _columns(self) -> int:
        if self.column is None:
            return 1
        if self.column.size < LANES:
            return self.column.size
        return COLUMNS if self.column.size >= COLUMNS else LANES

    def _column(self) -> Var | None:
        """The loop whose results lie side by side."""
        for loop in reversed(self.kernel.space):
            roles = self.kernel.roles.get(loop)
            stores = [s.index.coefficient(loop) for s in self.kernel.stores]
            if roles in ("m", "n") and all(c == 1 for c in stores):
                return loop
        for loop in reversed(self.kernel.space):
            if self.kernel.roles.get(loop) in ("m", "n"):
                return loop
        return None

    def _row(self) -> Var | None:
        """The longest loop that only the other operand depends on."""
        found = [
            v
            for v in self.kernel.space
            if v != self.column and v in self.a.variables() and v not in self.b.variables()
        ]
        return max(found, key=lambda v: v.size) if found else None

    def _step(self) -> Var | None:
        """The loop of k along which four neighbours are taken at once."""
        inner = self.kernel.inner
        if not inner or inner[-1].size % LANES:
            return None
        return inner[-1]

    def _across(self) -> bool:
        """Whether four rows of A lie side by side, and four along k do not (a transposed A)."""
        row = self.row
        if row is None or row.size % LANES:
            return False
        step = self.step
        if step is not None and four_by_four([self.a], step):
            return False
        return four_by_four([self.a], row) > 0

    def _lies_along_steps(self) -> bool:
        """Whether four steps of B lie side by side, and four columns do not (a transposed B)."""
        step, column = self.step, self.column
        if step is None or column is None or not self.wide:
            return False
        if four_by_four([self.b], column):
            return False
        return four_by_four([self.b], step) > 0

    def _fours(self) -> set[int]:
        """Roots that are read or written four at a time, and never begin within four."""
        found: set[int] = set()
        parts: list[tuple[Expr, Var | None]] = [
            (self.a, self.row if self.across else self.step),
            (self.b, self.step if self.turned else self.column if self.wide else None),
            *((s.expr, self.column if self.wide else None) for s in self.kernel.stores),
        ]
        for root, vector in parts:
            if vector is not None:
                found |= read_by_four([root], vector)
        if self.wide and self.column is not None:
            found |= stored_by_four(self.kernel.stores, self.column)
        return found

    def emit(self) -> Shader:
        """The shader."""
        kernel = self.kernel
        tiles = []
        for loop in kernel.space:
            size = loop.size
            if loop == self.row:
                size = -(-size // self.rows)
            elif loop == self.column:
                size = -(-size // self.columns)
            tiles.append(Var(loop.name, size))

        def body(block: Block, thread: Value) -> None:
            numbers = counters_of(block, tiles, thread)
            starts = {loop: numbers[tile] for loop, tile in zip(kernel.space, tiles, strict=True)}
            for loop, count in ((self.row, self.rows), (self.column, self.columns)):
                if loop is not None and count > 1:
                    starts[loop] = block.let(starts[loop] * count)
            e = Evaluator(block, self.bindings, {})
            with e.at(starts):
                self._body(e, starts)

        return write(self.bindings, points_of(tiles), body, self.words)

    def _body(self, e: Evaluator, starts: dict[Var, Value]) -> None:
        block = e.block
        width = LANES if self.wide else 1
        places_of_rows = self._places(e, self.row, self.rows, starts, 1)
        places_of_columns = self._places(e, self.column, self.columns, starts, width)
        none = block.const(0, self.a.dtype.kind)
        totals = [[block.var(none.splat(width)) for _ in places_of_columns] for _ in places_of_rows]

        def nest(loops: Sequence[Var]) -> None:
            if loops and loops[0] != self.step:
                with block.range(0, loops[0].size) as i, e.at({loops[0]: i}):
                    nest(loops[1:])
            elif loops:
                with block.range(0, loops[0].size, LANES) as i, e.at({loops[0]: i}):
                    self._steps(e, i, places_of_rows, places_of_columns, totals)
            else:
                self._steps(e, None, places_of_rows, places_of_columns, totals)

        if points_of(self.kernel.inner):
            nest(self.kernel.inner)
        self._put(e, places_of_rows, places_of_columns, totals)

    def _places(
        self, e: Evaluator, loop: Var | None, count: int, starts: dict[Var, Value], width: int
    ) -> list[dict[Var, Value]]:
        """The counters of a tile's rows or columns, cut off at the end of the loop."""
        if loop is None:
            return [{}]
        places = []
        for at in range(0, count, width):
            counter = starts[loop] + at if at else starts[loop]
            if at and loop.size % count:
                # Rows taken four at once are cut off four at once, so that each begins where
                # four lie together.
                four = self.across and loop == self.row
                last = loop.size - (LANES - at % LANES if four else width)
                counter = counter.call("min", last)
            places.append({loop: e.block.let(counter) if at else counter})
        return places

    def _steps(
        self,
        e: Evaluator,
        at: Value | None,
        rows: list[dict[Var, Value]],
        columns: list[dict[Var, Value]],
        totals: list[list[Value]],
    ) -> None:
        block = e.block
        lefts = []
        for row in rows[:: LANES if self.across else 1]:
            along = self.row if self.across else self.step if at is not None else None
            with e.at(row, along):
                left = block.let(e.value(self.a))
            lefts += [left.lane(i) for i in range(LANES)] if self.across else [left]
        turned = self._turned(e, columns) if at is not None and self.turned else []
        for k in range(LANES if at is not None else 1):
            here = {} if at is None or self.step is None else {self.step: at + k if k else at}
            with e.at(here):
                rights = [block.let(block.join([v.lane(k) for v in four])) for four in turned]
                for column in columns if not turned else ():
                    with e.at(column, self.column if self.wide else None):
                        rights.append(block.let(e.value(self.b)))
                for left, sums in zip(lefts, totals, strict=True):
                    value = left.lane(k) if left.width > 1 else left
                    for right, total in zip(rights, sums, strict=True):
                        block.set(total, value.times_plus(right, total))

    def _turned(self, e: Evaluator, columns: list[dict[Var, Value]]) -> list[list[Value]]:
        """B at four steps for each of four neighbouring columns."""
        found = []
        for column in columns:
            four = []
            for i in range(LANES):
                with e.at({loop: at + i for loop, at in column.items()}, self.step):
                    four.append(e.block.let(e.value(self.b)))
            found.append(four)
        return found

    def _put(
        self,
        e: Evaluator,
        rows: list[dict[Var, Value]],
        columns: list[dict[Var, Value]],
        totals: list[list[Value]],
    ) -> None:
        block = e.block
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                e.acc = totals[i][j]
                tests = []
                for loop, number, count in (
                    (self.row, i, self.rows),
                    (self.column, j * (LANES if self.wide else 1), self.columns),
                ):
                    if loop is not None and number and loop.size % count:
                        # What was cut off is not written a second time: its epilogue may read
                        # what the first has overwritten.
                        first = rows[0] if loop == self.row else columns[0]
                        tests.append(first[loop] + number < loop.size)
                if tests:
                    inside = tests[0] if len(tests) == 1 else tests[0] & tests[1]
                    with block.if_(inside):
                        self._put_one(e, row, column)
                else:
                    self._put_one(e, row, column)

    def _put_one(self, e: Evaluator, row: dict[Var, Value], column: dict[Var, Value]) -> None:
        with e.at({**row, **column}, self.column if self.wide else None):
            put_all(e, self.kernel)
