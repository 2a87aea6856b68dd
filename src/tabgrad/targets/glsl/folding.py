"""Folds and contractions as draws: a fragment folds for the four results of its texel.

Four results side by side share their loads where what is folded lies along them, too: a product of
matrices takes four of B at once and, along k, four of A. Else the four are folded one after the
other, each with lanes along the last inner loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.index import Var
from tabgrad.ir.kernel import Expr, Kernel, walk
from tabgrad.targets.glsl.drawing import Draw, Setting, draws_of
from tabgrad.targets.shading.expressions import Evaluator, aligned, four_at_once
from tabgrad.targets.shading.folds import folded, joined, place_of_extreme
from tabgrad.targets.shading.values import LANES, Value


def fours(roots: Sequence[Expr | None], vector: Var | None) -> int:
    """How many loads take four neighbours at once along a loop."""
    if vector is None:
        return 0
    return sum(
        x.op == "load"
        and x.buffer is not None
        and x.index is not None
        and aligned(x.buffer)
        and four_at_once(x.index, vector)
        for x in walk([root for root in roots if root is not None])
    )


def along_of(kernel: Kernel, roots: Sequence[Expr | None]) -> Var | None:
    """The last inner loop, where loads take four neighbours along it."""
    if not kernel.inner or kernel.inner[-1].size % LANES:
        return None
    return kernel.inner[-1] if fours(roots, kernel.inner[-1]) else None


def reduce(kernel: Kernel, setting: Setting) -> list[Draw]:
    """A fold."""
    arg = kernel.fold.startswith("arg")
    ordered = arg or kernel.fold == "dot"
    along = None if ordered else along_of(kernel, [kernel.body])

    def across(vector: Var | None) -> bool:
        return along is None or fours([kernel.body], vector) >= fours([kernel.body], along)

    def fold(e: Evaluator, vector: Var | None) -> Value:
        if arg:
            return place_of_extreme(e, kernel, vector)
        return folded(e, kernel, vector, along if vector is None else None)

    return draws_of(kernel, setting, across, fold)


def contract(kernel: Kernel, setting: Setting) -> list[Draw]:
    """A contraction."""

    def fold(e: Evaluator, vector: Var | None) -> Value:
        return products(e, kernel, vector)

    return draws_of(kernel, setting, fold=fold)


def products(e: Evaluator, kernel: Kernel, vector: Var | None) -> Value:
    """The sum of products at one point, or at four along a loop of the results."""
    a, b = kernel.a, kernel.b
    assert a is not None and b is not None
    block = e.block
    along = along_of(kernel, [a, b])
    none = block.const(0.0 if a.dtype.is_float else 0, a.dtype.kind)
    wide = vector is not None or along is not None
    total = block.var(none.splat(LANES) if wide else none)

    def add(x: Value, y: Value) -> None:
        width = total.width
        if total.kind == "f":
            block.set(total, x.splat(width).times_plus(y.splat(width), total))
        else:
            block.set(total, x * y + total)

    def four_steps(i: Value) -> None:
        """Of four steps, what does not move with the results is taken at once."""
        still: dict[int, Value] = {}
        for number, side in enumerate((a, b)):
            if vector not in side.variables() and fours([side], along):
                with e.at({along: i}, along):  # type: ignore[dict-item]
                    still[number] = block.let(e.value(side))
        for k in range(LANES):
            with e.at({along: i + k if k else i}, vector):  # type: ignore[dict-item]
                x, y = (
                    still[number].lane(k) if number in still else e.value(side)
                    for number, side in enumerate((a, b))
                )
                add(x, y)

    def nest(loops: Sequence[Var]) -> None:
        if not loops:
            add(e.value(a), e.value(b))
            return
        loop, *rest = loops
        if loop == along and vector is None:
            with block.range(0, loop.size, LANES) as i, e.at({loop: i}, along):
                add(e.value(a), e.value(b))
        elif loop == along:
            with block.range(0, loop.size, LANES) as i, e.fresh():
                four_steps(i)
        else:
            with block.range(0, loop.size) as i, e.at({loop: i}, vector):
                nest(rest)

    nest(kernel.inner)
    return total if vector is not None or along is None else joined("sum", total, a)
