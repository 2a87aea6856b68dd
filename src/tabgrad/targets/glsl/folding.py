"""Folds and contractions as draws: a fragment folds for the four results of its texel.

Four results side by side share their loads where what is folded lies along them, too: a product of
matrices takes four of B at once and, along k, four of A. Else the four are folded one after the
other, each with lanes along the last inner loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.ir.index import Var, points_of
from tabgrad.ir.kernel import Expr, Kernel
from tabgrad.targets.glsl.drawing import Draw, Setting, draws_of
from tabgrad.targets.glsl.tiles import Tile
from tabgrad.targets.shading.expressions import Evaluator, four_by_four, side_by_side
from tabgrad.targets.shading.folds import folded, joined, place_of_extreme
from tabgrad.targets.shading.values import LANES, Value

FEW, MANY = 512, 2048  # results that keep no device busy; parts that do
LEAST = 64  # terms of a part


def parts_of(kernel: Kernel) -> int:
    """In how many parts a fold should be made: a fragment folds alone, and few results are few
    fragments. Of a sum of a million numbers one fragment would make all."""
    results, terms = points_of(kernel.space), points_of(kernel.inner)
    if results >= FEW or terms < 8 * LEAST:
        return 1
    return min(MANY // max(results, 1), terms // LEAST)


def along_of(kernel: Kernel, roots: Sequence[Expr]) -> Var | None:
    """The last inner loop, where loads take neighbours along it."""
    if not kernel.inner or kernel.inner[-1].size < LANES:
        return None
    return kernel.inner[-1] if gain(roots, kernel.inner[-1]) else None


def gain(roots: Sequence[Expr], loop: Var | None) -> int:
    """What loads gain from lanes along a loop: the more the fewer texels they fetch."""
    return 0 if loop is None else side_by_side(roots, loop) + four_by_four(roots, loop)


def reduce(kernel: Kernel, setting: Setting) -> list[Draw]:
    """A fold."""
    arg = kernel.fold.startswith("arg")
    ordered = arg or kernel.fold == "dot"
    body = kernel.body
    assert body is not None
    along = None if ordered else along_of(kernel, [body])

    def across(vector: Var | None) -> bool:
        return along is None or gain([body], vector) >= gain([body], along)

    def fold(e: Evaluator, vector: Var | None) -> Value:
        if arg:
            return place_of_extreme(e, kernel, vector)
        return folded(e, kernel, vector, along if vector is None else None)

    return draws_of(kernel, setting, across, fold)


def contract(kernel: Kernel, setting: Setting) -> list[Draw]:
    """A contraction."""

    def fold(e: Evaluator, vector: Var | None) -> Any:
        return products(e, kernel, vector)

    return draws_of(kernel, setting, fold=fold)


def products(e: Evaluator, kernel: Kernel, vector: Var | None) -> Any:
    """The sum of products at one point, or at four along a loop of the results; of a tile that of
    each of its rows."""
    return _Products(e, kernel, vector).folded()


class _Products:
    def __init__(self, e: Evaluator, kernel: Kernel, vector: Var | None) -> None:
        a, b = kernel.a, kernel.b
        assert a is not None and b is not None
        self.e, self.kernel, self.vector = e, kernel, vector
        if vector is not None and vector in a.variables() and vector not in b.variables():
            a, b = b, a
        self.a, self.b = a, b  # b is what moves along the lanes, if only one does
        self.along = along_of(kernel, [a, b])
        self.row = kernel.row if isinstance(kernel, Tile) else None
        self.count = kernel.rows if isinstance(kernel, Tile) else 1
        self.across_rows = self.row is not None and gain([a], self.row) > gain([a], self.along)
        none = e.block.const(0.0 if a.dtype.is_float else 0, a.dtype.kind)
        wide = vector is not None or self.along is not None
        # Of one point at a time, what the steps that make no four add.
        over = self.along is not None and self.along.size % LANES > 0
        self.rest = e.block.var(none) if over and vector is None else None
        self.totals = [e.block.var(none.splat(LANES) if wide else none) for _ in range(self.count)]

    def folded(self) -> Any:
        """The sums."""
        e, kernel = self.e, self.kernel
        if isinstance(kernel, Tile):
            number = e.counters.get(kernel.tiles, e.block.const(0, "i"))
            with e.at({kernel.row: e.block.let(number * kernel.rows)}, self.vector):
                self._nest(kernel.inner)
            return tuple(self.totals)
        self._nest(kernel.inner)
        (total,) = self.totals
        if self.vector is not None or self.along is None:
            return total
        found = joined("sum", total, self.a)
        return found if self.rest is None else e.block.let(found + self.rest)

    def _nest(self, loops: Sequence[Var]) -> None:
        e, block, along = self.e, self.e.block, self.along
        if not loops:
            self._step()
            return
        loop, *rest = loops
        whole = loop.size - loop.size % LANES
        if loop == along and self.vector is None:
            with block.range(0, whole, LANES) as i, e.at({loop: i}, along):
                _add(self.totals[0], e.value(self.a), e.value(self.b))
            if self.rest is not None:
                with block.range(whole, loop.size) as i, e.at({loop: i}):
                    _add(self.rest, e.value(self.a), e.value(self.b))
        elif loop == along:
            with block.range(0, whole, LANES) as i, e.fresh():
                self._four_steps(i)
            if loop.size > whole:
                with block.range(whole, loop.size) as i, e.at({loop: i}, self.vector):
                    self._step()
        else:
            with block.range(0, loop.size) as i, e.at({loop: i}, self.vector):
                self._nest(rest)

    def _four_steps(self, i: Value) -> None:
        """Four steps along the last inner loop. What lies side by side along it is taken at once,
        for each row and, of what moves with the lanes, for each lane."""
        e, block, along, vector = self.e, self.e.block, self.along, self.vector
        assert along is not None and vector is not None
        lefts: list[Value] = []
        if vector not in self.a.variables() and gain([self.a], along) and not self.across_rows:
            for row in self._rows():
                with e.at({along: i}, along, row):
                    lefts.append(block.let(e.value(self.a)))
        columns: list[Value] = []
        if vector in self.b.variables() and gain([self.b], along) > gain([self.b], vector):
            for lane in range(LANES):
                with e.at({along: i}, along, {vector: lane}):
                    columns.append(block.let(e.value(self.b).splat(LANES)))
        for k in range(LANES):
            right = block.join([column.lane(k) for column in columns]) if columns else None
            with e.at({along: i}, vector, {along: k}):
                self._step([left.lane(k) for left in lefts], right)

    def _rows(self) -> list[dict[Var, int]]:
        """How far each row of a tile is from the first."""
        return [{}] if self.row is None else [{self.row: r} for r in range(self.count)]

    def _step(self, lefts: Sequence[Value] = (), right: Value | None = None) -> None:
        """One step, of every row."""
        e, block = self.e, self.e.block
        if right is None:
            right = e.value(self.b)
        right = block.let(right)
        if not lefts and self.across_rows:
            lefts = []
            for first in self._rows()[::LANES]:
                with e.at({}, self.row, first):
                    four = block.let(e.value(self.a).splat(LANES))
                lefts += [four.lane(i) for i in range(LANES)]
        for number, row in enumerate(self._rows()):
            if lefts:
                _add(self.totals[number], lefts[number], right)
            else:
                with e.at({}, self.vector, row):
                    _add(self.totals[number], block.let(e.value(self.a)), right)


def _add(total: Value, x: Value, y: Value) -> None:
    total.block.set(total, x.times_plus(y, total))
