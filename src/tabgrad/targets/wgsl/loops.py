"""Maps, folds, running folds and scatters as compute shaders, a thread for each point or four.

This is the serial schedule: what is folded is folded by one thread, without barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.ir.index import Dyn, Index, Var, points_of
from tabgrad.ir.kernel import Kernel, run_time_places
from tabgrad.targets.shading.expressions import Evaluator, read_by_four, stored_by_four
from tabgrad.targets.shading.folds import folded, place_of_extreme, start_of
from tabgrad.targets.shading.operations import combine
from tabgrad.targets.shading.values import LANES, Block, Value
from tabgrad.targets.wgsl.shader import GROUP, Bindings, Shader, write

ROWS, COLUMNS = 8, 8  # results of a thread of a contraction
# Software adapters give each core whole workgroups of 64 threads; a large GPU has over 100 cores.
ENOUGH_THREADS, ENOUGH_GROUPS = 256, 128

Bind = Callable[[set[int]], Bindings]


def counters_of(
    block: Block, loops: Sequence[Var], number: Value, width: int = 1
) -> dict[Var, Value]:
    """The counters of loops by the number of a point; the last loop takes steps of `width`."""
    found: dict[Var, Value] = {}
    rest = number
    for i, loop in reversed(list(enumerate(loops))):
        last = i == len(loops) - 1
        size = loop.size // width if last else loop.size
        step = width if last else 1
        at = rest if i == 0 else rest % size
        found[loop] = block.let(at * step if step > 1 else at)
        if i:
            rest = block.let(rest / size)
    return found


def fours_along(kernel: Kernel, vector: Var) -> set[int]:
    """The roots of buffers that are read or written four at a time along a loop."""
    roots = kernel.expressions()
    for store in kernel.stores:
        roots += run_time_places(store)
    return read_by_four(roots, vector) | stored_by_four(kernel.stores, vector)


def _vector_of(kernel: Kernel) -> Var | None:
    """The loop of a map that four lanes go along, where that gains."""
    if not kernel.space:
        return None
    last = kernel.space[-1]
    return last if last.size % LANES == 0 and fours_along(kernel, last) else None


def emit_map(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """A map."""
    vector = _vector_of(kernel)
    width = LANES if vector else 1
    bindings = bind(fours_along(kernel, vector) if vector else set())

    def body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})
        with e.at(counters_of(block, kernel.space, thread, width), vector):
            put_all(e, kernel)

    return write(bindings, points_of(kernel.space) // width, body, words)


def put_all(e: Evaluator, kernel: Kernel) -> None:
    """Compute everything a kernel stores, then store it."""
    for store in kernel.stores:
        e.value(store.expr)
    for store in kernel.stores:
        e.store(store)


def emit_reduce(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """A fold, by one thread for each result."""
    assert kernel.body is not None
    arg = kernel.fold.startswith("arg")
    vector = None
    if not arg and kernel.inner and kernel.inner[-1].size % LANES == 0 and kernel.fold != "dot":
        last = kernel.inner[-1]
        if fours_along(kernel, last):
            vector = last
    bindings = bind(fours_along(kernel, vector) if vector else set())

    def body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})
        with e.at(counters_of(block, kernel.space, thread)):
            e.acc = place_of_extreme(e, kernel, None) if arg else folded(e, kernel, None, vector)
            put_all(e, kernel)

    return write(bindings, points_of(kernel.space), body, words)


def emit_cumulative(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """A running fold, by one thread for each walk."""
    body, bindings = kernel.body, bind(set())
    assert body is not None

    def write_body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})
        with e.at(counters_of(block, kernel.space, thread)):
            total = block.var(start_of(e, kernel.fold, body))
            with e.each(kernel.inner):
                block.set(total, combine(kernel.fold, total, e.value(body), body.dtype))
                e.acc = total
                put_all(e, kernel)

    return write(bindings, points_of(kernel.space), write_body, words)


def emit_scatter(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """Updates in order: threads share the loops along which no two updates can meet."""
    bindings = bind(set())
    apart = [v for v in kernel.space if all(_apart(s.index, v) for s in kernel.stores)]
    rest = [v for v in kernel.space if v not in apart]

    def body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})
        with e.at(counters_of(block, apart, thread)), e.each(rest):
            put_all(e, kernel)

    return write(bindings, points_of(apart), body, words)


def _apart(index: Index, loop: Var) -> bool:
    """Whether different turns of a loop can never lead to one place: all other terms lie within
    its step, or are multiples of the whole way it goes."""
    step = index.coefficient(loop)
    if not step:
        return False
    step, within = abs(step), 0
    for atom, c in index.terms.items():
        if atom == loop:
            continue
        low, high = atom.range
        if abs(c) % (step * loop.size) == 0:
            continue
        within += abs(c) * (high - low)
        if isinstance(atom, Dyn) and loop in atom.expr.variables():
            return False
    return within < step


def parts_of(kernel: Kernel, cooperative: bool) -> int:
    """In how many parts a fold should be made: few results of long folds keep few threads busy (of
    the cooperative schedule, few groups)."""
    results, terms = points_of(kernel.space), points_of(kernel.inner)
    enough, least = ENOUGH_THREADS // 2, 256
    if kernel.kind == "contract":
        results, least = -(-results // (ROWS * COLUMNS)), 64
        enough = ENOUGH_THREADS * 3 // 8
        if cooperative:
            results, enough, least = -(-results // GROUP), ENOUGH_GROUPS, 128
    if results >= enough or terms < 8 * least:
        return 1
    return min(8 * enough // max(results, 1), terms // least)
