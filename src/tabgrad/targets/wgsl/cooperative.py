"""The cooperative schedule: folds and contractions of workgroups, for adapters that are real GPUs.

Why it is as it is (nothing here gains on a software adapter, where barriers cost more than
arithmetic; `loops.py` and `contraction.py` have the serial schedule for those):

- A contraction's workgroup of 64 threads makes 64 x 64 results, 8 x 8 in the registers of each.
  That is 32 multiply-adds for a number read from workgroup memory (a GPU multiplies about 4 to 8
  times as fast as it reads that), and each number of A and B is read from memory once for 64 uses.
- 16 steps of k are staged at a time: 8 KiB of workgroup memory, of which baseline adapters have 16,
  so that two groups fit one core while one waits for memory.
- Neighbouring threads read neighbours: along k or along the rows, whichever lies together, four
  numbers a thread; what is staged is turned so that each thread reads vec4 both ways.
- A fold of 64 terms and more is one workgroup's: thread i takes terms i, i + 64, ... (neighbours
  again), then six halvings put the 64 totals together, i and i + half each time. The order of a sum
  depends on its length alone.
- Every halving in workgroup memory has all threads wait for the slowest (a barrier) and costs a way
  there and back. Threads of a subgroup run in step and can read each other's registers: where an
  adapter has `subgroups`, halvings within one are exchanges, without barriers: of six none is left
  with subgroups of 64 threads.
- How many threads make a subgroup, 4 to 128, is known only when a kernel runs; nothing says which,
  subgroups of one workgroup may differ, and the size that is told may be larger than what is in
  use (gpuweb issue 4306). Only thread 0 writes, so only its subgroup counts: it tells all how many
  lanes it has in use, where these are 0, 1, ... up to a power of two, else 1. Halvings that are at
  least as large go on in workgroup memory; then each subgroup takes what is left, its lane i the
  i-th total, and does the rest alone, some in vain.
- Lane i exchanges with i ^ half: the pairs are those of the halvings, of which half the lanes have
  them in the other order. That changes no sum, product, extreme or truth: these are the bits of the
  other way, on any adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.dtypes import DType
from tabgrad.ir.index import Var, points_of
from tabgrad.ir.kernel import Expr, Kernel
from tabgrad.targets.shading.expressions import (
    Evaluator,
    four_by_four,
    read_by_four,
    stored_by_four,
)
from tabgrad.targets.shading.folds import start_of
from tabgrad.targets.shading.operations import combine
from tabgrad.targets.shading.values import LANES, Block, Value
from tabgrad.targets.wgsl.dialect import TYPES
from tabgrad.targets.wgsl.loops import Bind, counters_of, put_all
from tabgrad.targets.wgsl.shader import GROUP, LANE, Shader, write_groups

TILE, STEPS = 64, 16  # results of a workgroup in either direction; steps of k that are staged
EACH = 8  # results of a thread in either direction
LONG_FOLD, MANY_RESULTS = 64, 1 << 14


def takes(kernel: Kernel) -> bool:
    """Whether workgroups gain on threads that work alone."""
    if kernel.kind == "contract":
        rows, columns, _ = sides(kernel)
        return (
            points_of(rows) >= TILE // 2
            and points_of(columns) >= TILE // 2
            and points_of(kernel.inner) >= STEPS
        )
    if kernel.kind != "reduce" or kernel.fold.startswith("arg") or kernel.fold == "dot":
        return False
    return points_of(kernel.inner) >= LONG_FOLD and points_of(kernel.space) <= MANY_RESULTS


def emit(kernel: Kernel, bind: Bind, words: int, subgroups: bool) -> Shader:
    """A kernel that `takes`; a fold may have subgroups exchange values."""
    if kernel.kind == "contract":
        return _Tile(kernel, bind, words).emit()
    return _emit_reduce(kernel, bind, words, subgroups)


def sides(kernel: Kernel) -> tuple[list[Var], list[Var], list[Var]]:
    """A contraction's loops over rows, over columns (results that lie side by side), all others."""
    roles, space = kernel.roles, kernel.space
    last = roles.get(space[-1], "g") if space else "g"
    across = "m" if last == "m" else "n"
    down = "n" if across == "m" else "m"
    rows = [v for v in space if roles.get(v) == down]
    columns = [v for v in space if roles.get(v) == across]
    return rows, columns, [v for v in space if v not in rows and v not in columns]


def _emit_reduce(kernel: Kernel, bind: Bind, words: int, subgroups: bool) -> Shader:
    body = kernel.body
    assert body is not None
    bindings = bind(set())
    terms = points_of(kernel.inner)
    kind = "u" if body.dtype.kind == "b" else bindings.kind(body.dtype)
    staged = _Staged(kernel.fold, body.dtype, kind)

    def write_body(block: Block, local: Value, group: Value) -> None:
        e = Evaluator(block, bindings, {})
        if subgroups:
            _count_lanes(block, local)
        with e.at(counters_of(block, kernel.space, group)):
            total = block.var(start_of(e, kernel.fold, body))
            with block.range(local, terms, GROUP) as k, e.fresh():
                with e.at(counters_of(block, kernel.inner, k)):
                    block.set(total, combine(kernel.fold, total, e.value(body), body.dtype))
            staged.put(local, total)
            if subgroups:
                word = staged.exchanged(local)
            else:
                staged.halve(local)
            with block.if_(local.same(0)), e.fresh():
                if not subgroups:
                    word = staged.word(block.const(0, "i"))
                e.acc = block.let(staged.value(word))
                put_all(e, kernel)

    shared = [f"var<workgroup> staged: array<{TYPES[kind]}, {GROUP}>;"]
    shared += ["var<workgroup> reach: u32;"] * subgroups
    return write_groups(bindings, points_of(kernel.space), shared, write_body, words, subgroups)


class _Staged:
    """What the threads of a workgroup fold together: the words of their totals."""

    def __init__(self, fold: str, dtype: DType, kind: str) -> None:
        self.fold, self.dtype, self.kind = fold, dtype, kind

    def word(self, at: Value) -> Value:
        """The word at a place."""
        return Value(at.block, f"staged[{at.text}]", self.kind)

    def value(self, word: Value) -> Value:
        """What a word stands for."""
        return word.differs(0) if self.dtype.kind == "b" else word

    def put(self, at: Value, value: Value) -> None:
        """Write a value to a place."""
        at.block.line(f"staged[{at.text}] = {_word(value).text};")

    def together(self, one: Value, other: Value) -> Value:
        """Two words folded."""
        return combine(self.fold, self.value(one), self.value(other), self.dtype)

    def halve(self, local: Value) -> None:
        """Fold all into place 0."""
        block, half = local.block, GROUP // 2
        while half:
            block.line("workgroupBarrier();")
            self._halve(local, half)
            half //= 2

    def _halve(self, local: Value, half: int) -> None:
        with local.block.if_(local < half):
            self.put(local, self.together(self.word(local), self.word(local + half)))

    def exchanged(self, local: Value) -> Value:
        """All folded, as far as subgroups reach without memory; a word that every thread has."""
        block, lane = local.block, Value(local.block, LANE, "u")
        reach = block.let(Value(block, "workgroupUniformLoad(&reach)", "u"))  # and a barrier
        halves = [GROUP >> i for i in range(1, GROUP.bit_length())]
        for half in halves:
            with block.if_(reach <= half):
                self._halve(local, half)
                block.line("workgroupBarrier();")
        word = block.var(self.word(lane % reach))
        for half in halves:
            with block.if_(reach > half):
                block.set(word, _word(self.together(word, block.let(_across(word, half)))))
        return word


def _count_lanes(block: Block, local: Value) -> None:
    """Tell all threads how far exchanges reach. At the start, where no loop has parted threads."""
    used, last = (
        block.let(Value(block, text, "u")) for text in ("subgroupAdd(1u)", f"subgroupMax({LANE})")
    )
    even = (last + 1).same(used) & (used & last).same(0)
    with block.if_(local.same(0)):
        block.line(f"reach = {even.select(used, 1).text};")


def _word(value: Value) -> Value:
    return value.select(value.block.const(1, "u"), 0) if value.kind == "b" else value


def _across(word: Value, half: int) -> Value:
    """The word of the lane that is this one's with one bit changed."""
    plain = word.to("f") if word.kind == "h" else word  # f16 has no exchange on every adapter
    text = f"subgroupShuffleXor({plain.text}, {half}u)"
    return Value(word.block, text, plain.kind).to(word.kind)


class _Tile:
    def __init__(self, kernel: Kernel, bind: Bind, words: int) -> None:
        assert kernel.a is not None and kernel.b is not None
        self.kernel, self.words = kernel, words
        self.rows, self.columns, self.others = sides(kernel)
        down, across = (kernel.a, kernel.b)
        if any(v in across.variables() for v in self.rows) or any(
            v in down.variables() for v in self.columns
        ):
            down, across = across, down
        self.down, self.across = down, across
        self.terms = points_of(kernel.inner)
        last = kernel.inner[-1]
        self.step = last if last.size % LANES == 0 else None
        self.along_rows = self._along(down, self.rows)
        self.along_columns = self._along(across, self.columns)
        self.wide = self.columns[-1] if self.columns[-1].size % LANES == 0 else None
        self.kind = down.dtype.kind
        self.bindings = bind(self._fours())

    def _along(self, operand: Expr, loops: Sequence[Var]) -> Var | None:
        """The loop along which four of an operand are read at once: k, or its own last one."""
        for loop in (self.step, loops[-1]):
            if loop is not None and loop.size % LANES == 0:
                if four_by_four([operand], loop):
                    return loop
        return None

    def _fours(self) -> set[int]:
        found: set[int] = set()
        for root, loop in ((self.down, self.along_rows), (self.across, self.along_columns)):
            if loop is not None:
                found |= read_by_four([root], loop)
        if self.wide is not None:
            found |= stored_by_four(self.kernel.stores, self.wide)
            found |= read_by_four([store.expr for store in self.kernel.stores], self.wide)
        return found

    def emit(self) -> Shader:
        """The shader."""
        tiles_down = -(-points_of(self.rows) // TILE)
        tiles_across = -(-points_of(self.columns) // TILE)
        word = TYPES[self.kind]
        size = STEPS * TILE // LANES
        shared = [
            f"var<workgroup> {name}: array<vec4<{word}>, {size}>;"
            for name in ("rows_of_a", "columns_of_b")
        ]

        def body(block: Block, local: Value, group: Value) -> None:
            let = block.let
            e = Evaluator(block, self.bindings, {})
            column = let(group % tiles_across * TILE)
            rest = let(group / tiles_across)
            row = let(rest % tiles_down * TILE)
            with e.at(counters_of(block, self.others, let(rest / tiles_down))):
                self._body(e, local, row, column)

        groups = tiles_down * tiles_across * points_of(self.others)
        return write_groups(self.bindings, groups, shared, body, self.words)

    def _body(self, e: Evaluator, local: Value, row: Value, column: Value) -> None:
        block, let = e.block, e.block.let
        none = block.const(0, self.kind)
        totals = [[block.var(none.splat(LANES)) for _ in range(EACH // LANES)] for _ in range(EACH)]
        across = TILE // EACH
        mine_down, mine_across = let(local / across), let(local % across)
        with block.range(0, self.terms, STEPS) as k, e.fresh():
            self._stage(e, self.down, self.rows, self.along_rows, "rows_of_a", local, row, k)
            self._stage(
                e, self.across, self.columns, self.along_columns, "columns_of_b", local, column, k
            )
            block.line("workgroupBarrier();")
            with block.range(0, STEPS) as step:
                fours = TILE // LANES
                lefts, rights = (
                    [
                        let(self._shared(block, name, step * fours + mine * (EACH // LANES) + i))
                        for i in range(EACH // LANES)
                    ]
                    for name, mine in (("rows_of_a", mine_down), ("columns_of_b", mine_across))
                )
                for i, sums in enumerate(totals):
                    left = lefts[i // LANES].lane(i % LANES)
                    for right, total in zip(rights, sums, strict=True):
                        block.set(total, left.times_plus(right, total))
            block.line("workgroupBarrier();")
        first_row, first_column = let(row + mine_down * EACH), let(column + mine_across * EACH)
        for i, sums in enumerate(totals):
            here = let(first_row + i)
            with block.if_(here < points_of(self.rows)), e.fresh():
                for j, total in enumerate(sums):
                    self._put(e, here, let(first_column + j * LANES), total)

    def _shared(self, block: Block, name: str, at: Value) -> Value:
        return Value(block, f"{name}[{at.text}]", self.kind, LANES)

    def _stage(
        self,
        e: Evaluator,
        operand: Expr,
        loops: Sequence[Var],
        along: Var | None,
        name: str,
        local: Value,
        first: Value,
        k: Value,
    ) -> None:
        """Put 16 steps of 64 rows (or columns) into workgroup memory, 4 x 4 by each thread."""
        block, let, inner = e.block, e.block.let, self.kernel.inner
        none, most = block.const(0, self.kind), points_of(loops)
        fours = TILE // LANES
        # Neighbouring threads read what lies together.
        by_k = along is None or along == self.step
        step = let((local % LANES if by_k else local / fours) * LANES)
        place = let((local / LANES if by_k else local % fours) * LANES)
        at, turn = let(first + place), let(k + step)
        found: list[list[Value]] = [[] for _ in range(LANES)]  # by step, then by row
        if along is not None and not by_k:
            for i in range(LANES):
                now = {**counters_of(block, loops, at), **counters_of(block, inner, let(turn + i))}
                with e.at(now, along):
                    value = let(e.value(operand).splat(LANES))
                value = self._inside(value, at < most, turn + i)
                found[i] = [value.lane(j) for j in range(LANES)]
        else:
            for j in range(LANES):
                here = counters_of(block, loops, let(at + j))
                if along is not None:
                    with e.at({**here, **counters_of(block, inner, turn)}, along):
                        value = let(e.value(operand).splat(LANES))
                    values = [value.lane(i) for i in range(LANES)]
                else:
                    values = []
                    for i in range(LANES):
                        with e.at({**here, **counters_of(block, inner, let(turn + i))}):
                            values.append(let(e.value(operand)))
                for i, value in enumerate(values):
                    inside = (at + j) < most
                    if self.terms % STEPS:
                        inside = inside & ((turn + i) < self.terms)
                    found[i].append(let(inside.select(value, none)))
        for i, values in enumerate(found):
            to = let((step + i) * fours + place / LANES)
            block.line(f"{name}[{to.text}] = {block.join(values).text};")

    def _inside(self, value: Value, inside: Value, turn: Value) -> Value:
        if self.terms % STEPS:
            inside = inside & (turn < self.terms)
        none = value.block.const(0, self.kind)
        return value.block.let(inside.select(value, none.splat(LANES)))

    def _put(self, e: Evaluator, row: Value, column: Value, total: Value) -> None:
        block, most = e.block, points_of(self.columns)
        here = counters_of(block, self.rows, row)
        if self.wide is not None:
            with block.if_(column < most), e.fresh():
                with e.at({**here, **counters_of(block, self.columns, column)}, self.wide):
                    e.acc = total
                    put_all(e, self.kernel)
            return
        for lane in range(LANES):
            at = block.let(column + lane)
            with block.if_(at < most), e.fresh():
                with e.at({**here, **counters_of(block, self.columns, at)}):
                    e.acc = total.lane(lane)
                    put_all(e, self.kernel)
