"""Operands of contractions, made ready by kernels in front: a border around A, panels of B.

What tiles can read where it is stays there. Here is decided what is copied before a contraction,
how the copy lies, and which contractions are plain reductions of a product instead.

Not here: how tiles read operands, and how A is packed strip by strip (contraction.py); the copies
with borders themselves (compiler/border.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tabgrad.compiler.border import Border, bordered
from tabgrad.compiler.collapse import collapse
from tabgrad.ir.index import Index, Var, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store, walk
from tabgrad.targets.wasm import correlation, taps, tiling
from tabgrad.targets.wasm.contraction import MAX_STEPS
from tabgrad.targets.wasm.matrix import Matrix, readable_in_place, walkable

IN_PLACE_PANEL = 1 << 18  # bytes of a block of B below which strided panels cost nothing (in V8)
SMALL_PANEL = 1 << 14  # bytes of B that stay in the fastest cache anyway
FEW_ROWS = 24  # with so few rows packing B costs more than it saves
MAX_ORDERED = 1 << 14  # products that a reduction adds one by one: longer sums are made of blocks


def prepare(
    kernel: Kernel,
    temporaries: list[Buffer],
    fma: bool,
    kept: Callable[[Buffer], bool],
    borders: list[Border] | None = None,
) -> list[Kernel]:
    """A contraction with, where its operands cannot be read in place, kernels before it that give A
    a border or pack B. To pack what is in buffers that are `kept` the same costs nothing each time.
    A copy with a border is added to `borders`, which has those of the contractions before this one.

    Contractions that are no matrix become reductions of a product. Small ones add in the same order
    as large ones, so that a row of a batch has the same bits however many rows there are.
    """
    _order_steps(kernel)
    apart = tiling.narrow(kernel) and (taps.few(kernel) or correlation.few(kernel))
    in_rows = taps.lies_in_rows(kernel)
    matrix = None if apart or in_rows else Matrix.of(kernel)
    if matrix is None:
        assert kernel.a is not None and kernel.b is not None
        most = kernel.points // taps.MIN_REUSE
        border = bordered(kernel, "a", most, temporaries) if in_rows else []
        kernel.kind = "reduce"
        batched = bool(kernel.space) and kernel.roles[kernel.space[-1]] == "g"
        short = math.prod(v.size for v in kernel.inner) <= MAX_ORDERED
        in_order = apart or (short and (not batched or taps.few(kernel)))
        if kernel.a.dtype.is_float and in_order:
            kernel.fold = "dot"
        kernel.body = Expr("mul", kernel.a.dtype, (kernel.a, kernel.b))
        kernel.a = kernel.b = None
        return [*border, *taps.pack(kernel, temporaries), collapse(kernel)]
    border = _border(kernel, matrix, temporaries, [] if borders is None else borders)
    if matrix.dots():
        return [*border, *_beside_each_other(kernel, matrix, temporaries)]
    loads = [x.buffer for x in walk([matrix.b]) if x.buffer is not None]
    if _in_place_b(matrix, bool(loads) and all(map(kept, loads))):
        return [*border, kernel]
    return [*border, *_panels(kernel, matrix, temporaries, fma)]


def _order_steps(kernel: Kernel) -> None:
    """Steps are added in the order in which they lie in memory: the batch of a weight's gradient
    outermost."""
    indices = [x.index for x in walk([e for e in (kernel.a, kernel.b) if e]) if x.op == "load"]
    steps = {v: [i.coefficient(v) for i in indices if i is not None] for v in kernel.inner}
    if not any(c is None for far in steps.values() for c in far):
        far = {v: sum(abs(c or 0) for c in known) for v, known in steps.items()}
        kernel.inner = tuple(sorted(kernel.inner, key=lambda v: -far[v]))


def _border(
    kernel: Kernel, matrix: Matrix, temporaries: list[Buffer], borders: list[Border]
) -> list[Kernel]:
    """A kernel that copies A's source with zeros around it, where A can then be read in place."""
    points = math.prod(v.size for v in (*matrix.outer, *matrix.m, *matrix.k))
    # A copy of rows is faster than packing, which asks of each element whether it exists.
    known = [load for load in (border.read(matrix.a) for border in borders) if load is not None]
    made = None if known else Border.of(matrix.a, points, f"t{len(temporaries)}")
    load = known[0] if known else None if made is None else made.load
    if load is None or not walkable(load, matrix.m, matrix.k):
        return []
    matrix.a = load
    _read(kernel, load, first=not matrix.turned)
    if made is None:
        return []
    borders.append(made)
    return [made.put_before(kernel, temporaries)]


def _panels(kernel: Kernel, matrix: Matrix, temporaries: list[Buffer], fma: bool) -> list[Kernel]:
    _, nv = matrix.tile(fma)
    width = nv * matrix.lanes
    depends = [v for v in matrix.outer if v in matrix.b.variables()]
    whole, rest = divmod(matrix.columns, width)
    panels = whole + (rest > 0)
    inner = matrix.steps * width
    size = math.prod(v.size for v in depends) * panels * inner
    buffer = Buffer(f"t{len(temporaries)}", "temp", size, matrix.dtype)
    temporaries.append(buffer)
    packs = []
    # The last panel may have fewer columns; nobody looks at what is in the others.
    for first, count, lanes in ((0, whole, width), (whole, int(rest > 0), rest)):
        if not count:
            continue
        panel, column = Var("p", count), Var("j", lanes)
        at = (Index.of(panel) + first) * width + Index.of(column)
        values = dict(zip(matrix.n, unflatten(at, tuple(v.size for v in matrix.n)), strict=True))
        loops = (*depends, panel, *matrix.k, column)
        shape = (*(v.size for v in depends), panels, *(v.size for v in matrix.k), width)
        where = flatten(
            (*map(Index.of, depends), Index.of(panel) + first, *map(Index.of, matrix.k),
             Index.of(column)),
            shape,
        )  # fmt: skip
        store = Store(buffer, where, matrix.b.replace(values))
        name = f"{kernel.name}_pack" + ("_rest" if first else "")
        packs.append(collapse(Kernel("map", loops, [store], name=name)))
    # B is now a matrix of panels; the tile finds its vectors through this load's index at column 0.
    index = Index()
    step = panels * inner
    for v in reversed(depends):
        index = index + Index.of(v) * step
        step *= v.size
    load = Expr("load", matrix.dtype, buffer=buffer, index=index)
    _read(kernel, load, first=matrix.turned)
    kernel.panel_width = width
    return [*packs, kernel]


def _beside_each_other(kernel: Kernel, matrix: Matrix, temporaries: list[Buffer]) -> list[Kernel]:
    """The contraction, and before it a kernel that puts the steps of each column of B in a row."""
    buffer = Buffer(f"t{len(temporaries)}", "temp", matrix.columns * matrix.steps, matrix.dtype)
    temporaries.append(buffer)
    loops = (*matrix.n, *matrix.k)
    where = flatten(tuple(map(Index.of, loops)), tuple(v.size for v in loops))
    store = Store(buffer, where, matrix.b)
    pack = collapse(Kernel("map", loops, [store], name=f"{kernel.name}_pack"))
    load = Expr("load", matrix.dtype, buffer=buffer, index=where)
    _read(kernel, load, first=matrix.turned)
    return [pack, kernel]


def _read(kernel: Kernel, load: Expr, first: bool) -> None:
    """Have a contraction read `load` as one of its operands, which may be equal expressions."""
    if first:
        kernel.a = load
    else:
        kernel.b = load


def _in_place_b(matrix: Matrix, free: bool) -> bool:
    if not free and matrix.columns_apart() is not None:
        return True
    if not readable_in_place(matrix.b, matrix.n, matrix.k):
        return False
    column = matrix.dtype.itemsize * matrix.columns
    if free:
        return matrix.steps * column <= SMALL_PANEL
    nbytes = min(matrix.steps, MAX_STEPS) * column
    return matrix.rows <= FEW_ROWS or nbytes <= IN_PLACE_PANEL
