"""Contractions in tiles of four rows by four columns: the rows are outputs of one draw.

What costs is loads, and a fragment that makes four results by itself takes five loads for sixteen
multiplications; one that makes four rows of four takes eight for sixty-four. Row 4 i + r of the
results is row i of the r-th texture. Where more can be drawn to at once, eight rows are made. A
second kernel puts the rows together again, with whatever was to follow the contraction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tabgrad.compiler.temporaries import after_fold, temporary
from tabgrad.ir.index import Index, Var, place_of, points_of
from tabgrad.ir.kernel import Buffer, Condition, Expr, Kernel, Store, walk
from tabgrad.targets.shading.expressions import four_at_once, four_by_four, side_by_side
from tabgrad.targets.shading.values import LANES

ROWS = 4  # draw buffers that every WebGL2 has
MANY_ROWS, MANY_RESULTS = 8, 1 << 15  # where there are more, and for how many results
NONE = Var("", 0)
LEAST_RESULTS, LEAST_STEPS = 8192, 16


@dataclass(repr=False)
class Tile(Kernel):
    """A contraction whose stores take the sums of `rows` neighbouring rows, as a tuple: loop `row`
    is not in its space, but `tiles`, which counts those of it."""

    row: Var = NONE
    tiles: Var = NONE
    rows: int = ROWS


def in_tiles(kernel: Kernel, temporaries: list[Buffer], outputs: int) -> list[Kernel]:
    """The kernel, or a tile and the map that puts its rows in their places."""
    found = _loops(kernel)
    if found is None:
        return [kernel]
    row, column = found
    count = ROWS
    if outputs >= MANY_ROWS <= row.size and points_of(kernel.space) >= MANY_RESULTS:
        count = MANY_ROWS
    acc = next(x for x in walk([s.expr for s in kernel.stores]) if x.op == "acc")
    tiles = Var(f"{row.name}t", -(-row.size // count))
    space = [tiles if v == row else v for v in kernel.space if v != column] + [column]
    space = [v for v in space if v.size > 1]
    a, b = kernel.a, kernel.b
    assert a is not None and b is not None
    wide = column
    if column.size % LANES:
        # Rows of whole texels; what is computed behind their ends nobody reads.
        wide = Var(f"{column.name}w", -(-column.size // LANES) * LANES)
        space[-1] = wide
        a, b = (x.replace({column: Index.of(wide)}) for x in (a, b))
    place = place_of(space)
    homes = [temporary(temporaries, points_of(space), acc.dtype) for _ in range(count)]
    stores = [
        Store(home, place, Expr("output", acc.dtype, (acc,), value=r))
        for r, home in enumerate(homes)
    ]
    whole = {f.name: getattr(kernel, f.name) for f in fields(Kernel)}
    whole |= {"space": tuple(space), "stores": stores, "nodes": (), "a": a, "b": b}
    tile = Tile(**whole, row=row, tiles=tiles, rows=count)

    at = place.replace({tiles: Index.of(row).split(count)[0], wide: Index.of(column)})
    value = Expr("load", acc.dtype, buffer=homes[0], index=at)
    for r, home in list(enumerate(homes))[1:]:
        own = Expr("load", acc.dtype, buffer=home, index=at)
        test = Condition(Index.of(row) + (count - r), modulo=count)
        value = Expr("guard", acc.dtype, (own, value), conditions=(test,))
    puts = after_fold(kernel.stores, value)
    return [tile, Kernel("map", kernel.space, puts, nodes=kernel.nodes, name=kernel.name)]


def _loops(kernel: Kernel) -> tuple[Var, Var] | None:
    """The loops of rows and columns, where tiles gain."""
    a, b = kernel.a, kernel.b
    if kernel.kind != "contract" or a is None or b is None:
        return None
    if points_of(kernel.space) < LEAST_RESULTS or points_of(kernel.inner) < LEAST_STEPS:
        return None
    best: tuple[int, Var, Var] | None = None
    for left, right in ((a, b), (b, a)):
        rows = [v for v in kernel.space if v in left.variables() and v not in right.variables()]
        columns = [v for v in kernel.space if v in right.variables() and v not in left.variables()]
        columns = [v for v in columns if v.size >= LANES]
        rows = [v for v in rows if v.size >= ROWS]
        if not rows or not columns:
            continue
        column = max(columns, key=lambda v: (_gain(right, v), _stored(kernel, v), v.size))
        row = max(rows, key=lambda v: (_gain(left, v), v.size % ROWS == 0, v.size))
        score = _gain(right, column) + _stored(kernel, column)
        if best is None or score > best[0]:
            best = score, row, column
    return None if best is None else best[1:]


def _gain(root: Expr, loop: Var) -> int:
    return side_by_side([root], loop) + four_by_four([root], loop)


def _stored(kernel: Kernel, loop: Var) -> int:
    return sum(four_at_once(store.index, loop) for store in kernel.stores)
