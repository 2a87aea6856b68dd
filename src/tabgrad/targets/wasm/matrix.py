"""A contraction seen as a matrix product: which loops are rows, columns and steps, in which blocks.

Nothing is emitted here. `Matrix.of` sorts the loops of a kernel, `blocks_of` cuts them into blocks
that stay in a cache, `runs` says how far an operand can be walked with one stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabgrad.dtypes import DType
from tabgrad.ir.index import Dyn, Index, Var
from tabgrad.ir.kernel import Expr, Kernel, walk
from tabgrad.targets.wasm.fewcolumns import MOST_COLUMNS, rows_of_dots
from tabgrad.targets.wasm.fewrows import MOST_ROWS, MOST_STREAMED
from tabgrad.targets.wasm.microkernel import TILE_FMA, TILE_PLAIN

MIN_PRODUCTS = 2048  # smaller contractions are plain reductions
MIN_RUN = 8  # steps of one stride in a row below which walking A in place costs more than packing
MIN_LINE = 3  # rows of one stride, likewise
SHORT_LINE = 512  # bytes of a row of B below which reading it as a whole gains nothing


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
        return self.part.size * self.inside

    @property
    def inside(self) -> int:
        """Points for each of `part`."""
        return math.prod(v.size for v in self.suffix)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.chunk.size * math.prod(v.size for v in self.prefix)

    @property
    def last_part(self) -> int:
        """How much of `part` there is in the last chunk."""
        if self.split is None:
            return self.part.size
        return self.split.size - (self.chunk.size - 1) * self.part.size

    @property
    def last(self) -> int:
        """Points in the last chunk."""
        return self.last_part * self.inside

    @property
    def points(self) -> tuple[Var, ...]:
        """The loops of a block."""
        return (self.part, *self.suffix)

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


def blocks_of(loops: Sequence[Var], limit: int, name: str, multiple: int = 1) -> Blocks:
    """Blocks of at most `limit` points (or one point of the last loop's neighbours). Where a loop
    is cut within its points, all pieces but the last have a multiple of `multiple`."""
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
    if not suffix:
        size = min(-(-size // multiple) * multiple, most)
    chunk = Var(name + "c", -(-split.size // size))
    return Blocks(tuple(rest), split, chunk, Var(name + "p", size), tuple(suffix))


def stride(index: Index, loops: Sequence[Var]) -> int | None:
    """The one step by which an index advances through loops seen as one, or None."""
    found = runs(index, loops)
    if found is None or len(found) > 1:
        return None
    return found[0].stride if found else 0


@dataclass
class Run:
    """Neighbouring loops through which an index advances by one stride."""

    loops: tuple[Var, ...]
    stride: int

    @property
    def size(self) -> int:
        """Points of the run."""
        return math.prod(v.size for v in self.loops)


def runs(index: Index, loops: Sequence[Var]) -> list[Run] | None:
    """Loops cut into as few runs as possible, outermost first; None where the index is not affine.
    Loops of one step say nothing about a stride."""
    found: list[Run] = []
    for v in reversed(loops):
        c = index.coefficient(v)
        if c is None:
            return None
        if found and (v.size == 1 or c == found[0].stride * found[0].size):
            found[0] = Run((v, *found[0].loops), found[0].stride)
        elif found and found[0].size == 1:
            found[0] = Run((v, *found[0].loops), c)
        else:
            found.insert(0, Run((v,), c))
    return found


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
        n: list[Var] = []
        while space and kernel.roles[space[-1]] == role:
            n.insert(0, space.pop())
        # Rows need not be next to the columns: the groups of a convolution stand between them.
        m = [v for v in space if kernel.roles[v] not in ("g", role)]
        outer = tuple([v for v in space if kernel.roles[v] in ("g", role)])
        if turned and not m and not readable_in_place(b, n, k):
            # A single output feature is one column: as a row, all of A would have to be packed.
            a, b, m, n, turned = b, a, n, m, False
        size = [math.prod(v.size for v in part) for part in (m, n, k)]
        if math.prod(size) < MIN_PRODUCTS:
            return None
        if any(isinstance(atom, Dyn) for e in walk([a, b]) if e.index for atom in e.index.terms):
            return None
        return Matrix(outer, tuple(m), tuple(n), k, a, b, turned)

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

    def streams(self) -> bool:
        """Whether the rows are so few, and B so large, that B is best read row by row."""
        line = self.columns * self.dtype.itemsize
        if self.rows > MOST_STREAMED or line < SHORT_LINE or not self._one_run():
            return False
        return readable_in_place(self.b, self.n, self.k)

    def columns_apart(self) -> int | None:
        """With few rows, how many elements lie between the columns of a B whose steps are
        neighbours; None where that is not so."""
        if self.rows > MOST_ROWS or self.lanes != 4 or not self._one_run():
            return None
        if self.b.op != "load" or self.b.index is None or self.columns < self.lanes:
            return None
        if self.steps < 4 or stride(self.b.index, self.k) != 1:
            return None
        apart = stride(self.b.index, self.n)
        return None if apart is None or apart <= 1 else apart

    def dots(self) -> bool:
        """Whether few columns are added four steps at once (`fewcolumns`). That is another order of
        sums, so the size of a batch must not decide: only windows that overlap, as a convolution's,
        are asked for, and only one line of them is counted."""
        if not 1 < self.columns <= MOST_COLUMNS or not self.dtype.is_float or self.lanes != 4:
            return False
        if not self.m or self.m[-1].size * self.columns * self.steps < MIN_PRODUCTS:
            return False
        if not walkable(self.a, self.m, self.k) or self.a.index is None:
            return False
        window = 1 + sum((v.size - 1) * abs(self.a.index.coefficient(v) or 0) for v in self.k)
        if all(abs(self.a.index.coefficient(v) or 0) >= window for v in self.m):
            return False
        inner = (runs(self.a.index, self.k) or [Run((), 0)])[-1]
        return inner.stride == 1 and inner.size % 4 == 0

    def _one_run(self) -> bool:
        """Whether one stride leads through the rows of A, and one through its steps."""
        if self.a.op != "load" or self.a.index is None:
            return False
        return stride(self.a.index, self.m) is not None and stride(self.a.index, self.k) is not None

    def tile(self, fma: bool) -> tuple[int, int]:
        """Rows and vectors of the register tile."""
        mr, nv = TILE_FMA if fma else TILE_PLAIN
        vectors = -(-self.columns // self.lanes)
        if self.columns_apart() is not None:
            return min(mr, self.rows), min(3, vectors)
        if self.dots():
            return rows_of_dots(self.columns, fma), 1
        if self.rows == 1:
            return 1, min(8, vectors)
        return mr, min(nv, vectors)


def readable_in_place(b: Expr, n: Sequence[Var], k: Sequence[Var]) -> bool:
    """Whether the columns of B are neighbours, and its steps a stride apart."""
    if b.op != "load" or b.index is None or stride(b.index, n) != 1:
        return False
    return stride(b.index, k) is not None


def walkable(a: Expr, m: Sequence[Var], k: Sequence[Var]) -> bool:
    """Whether a tile can walk A where it is: along lines of rows, in runs of steps."""
    if a.op != "load" or a.index is None:
        return False
    lines, steps = runs(a.index, m), runs(a.index, k)
    if lines is None or steps is None:
        return False
    if len(lines) > 1 and lines[-1].size < MIN_LINE:
        return False
    return len(steps) <= 1 or steps[-1].size >= MIN_RUN
