"""Maps, folds, running folds and scatters as compute shaders, a thread for each point or four.

This is the serial schedule: what is folded is folded by one thread, without barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.ir.index import Dyn, Index, Var
from tabgrad.ir.kernel import Expr, Kernel, identity, run_time_places, walk
from tabgrad.targets.shading.expressions import Evaluator, aligned, four_at_once
from tabgrad.targets.shading.operations import combine, constant
from tabgrad.targets.shading.values import LANES, Block, Value
from tabgrad.targets.wgsl.shader import Bindings, Shader, write

PART = 256  # sums of longer folds are made in parts of so many terms, which keeps errors small

Bind = Callable[[set[int]], Bindings]


def product(loops: Sequence[Var]) -> int:
    """The points of some loops."""
    total = 1
    for loop in loops:
        total *= loop.size
    return total


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


def accesses(kernel: Kernel) -> list[tuple[Any, Index]]:
    """Every buffer a kernel reads or writes, with the index where it does."""
    roots = kernel.expressions()
    for store in kernel.stores:
        roots += run_time_places(store)
    found = [(x.buffer, x.index) for x in walk(roots) if x.op == "load" and x.buffer and x.index]
    return [*found, *((store.buffer, store.index) for store in kernel.stores)]


def fours_along(kernel: Kernel, vector: Var) -> set[int]:
    """The roots of buffers that are read or written four at a time along a loop."""
    return {
        id(buffer.root)
        for buffer, index in accesses(kernel)
        if aligned(buffer) and four_at_once(index, vector)
    }


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

    return write(bindings, product(kernel.space) // width, body, words)


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
            e.acc = _extreme_at(e, kernel) if arg else _folded(e, kernel, vector)
            put_all(e, kernel)

    return write(bindings, product(kernel.space), body, words)


def _folded(e: Evaluator, kernel: Kernel, vector: Var | None) -> Value:
    block, body, fold = e.block, kernel.body, kernel.fold
    assert body is not None
    start = start_of(e, fold, body)
    if vector is not None:
        start = start.splat(LANES)
    total = block.var(start)
    terms = product(kernel.inner)
    parts = (
        fold == "sum" and body.dtype.is_float and terms > 2 * PART and kernel.inner[-1].size > PART
    )

    def turn(into: Value) -> None:
        block.set(into, combine(fold, into, e.value(body), body.dtype))

    def nest(loops: Sequence[Var]) -> None:
        if not loops:
            turn(total)
            return
        loop, *rest = loops
        step = LANES if loop == vector else 1
        if not rest and parts:
            with block.range(0, loop.size, PART) as begin, e.fresh():
                part = block.var(start)
                end = block.let((begin + PART).call("min", loop.size))
                with block.range(begin, end, step) as i, e.at({loop: i}, vector):
                    turn(part)
                block.set(total, total + part)
            return
        with block.range(0, loop.size, step) as i, e.at({loop: i}, vector if not rest else None):
            nest(rest)

    if terms:
        nest(kernel.inner)
    elif total.kind == "f":
        block.set(total, total.held())  # or 0 / 0 of what follows is folded to 0
    if vector is None:
        return total
    found = total.lane(0)
    for lane in range(1, LANES):
        found = block.let(combine(fold, found, total.lane(lane), body.dtype))
    return found


def start_of(e: Evaluator, fold: str, body: Expr) -> Value:
    """What a fold begins with."""
    if fold in ("sum", "dot") and body.dtype.is_float:
        return e.block.const(-0.0 if fold == "sum" else 0.0, "f")
    return constant(e.block, identity("sum" if fold == "dot" else fold, body.dtype))


def _extreme_at(e: Evaluator, kernel: Kernel) -> Value:
    """Where the largest or smallest is; the first of equals, and a NaN before every number."""
    block, body, place = e.block, kernel.body, kernel.body_index
    assert body is not None and place is not None
    zero = {loop: block.const(0, "i") for loop in kernel.inner}
    with e.at(zero):
        best, where = block.var(e.value(body)), block.var(e.value(place))

    def nest(loops: Sequence[Var]) -> None:
        if loops:
            with block.range(0, loops[0].size) as i, e.at({loops[0]: i}):
                nest(loops[1:])
            return
        value = e.value(body)
        if value.kind == "b":
            one = block.const(1, "u")
            new, old = value.select(one, 0), best.select(one, 0)
        else:
            new, old = value, best
        better = new > old if kernel.fold == "argmax" else new < old
        if value.kind == "f":
            better = ~old.is_nan() & (new.is_nan() | better)
        with block.if_(block.let(better)), e.fresh():
            block.set(best, value)
            block.set(where, e.value(place))

    nest(kernel.inner)
    return where


def emit_cumulative(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """A running fold, by one thread for each walk."""
    body, bindings = kernel.body, bind(set())
    assert body is not None

    def write_body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})
        with e.at(counters_of(block, kernel.space, thread)):
            total = block.var(start_of(e, kernel.fold, body))

            def nest(loops: Sequence[Var]) -> None:
                if loops:
                    with block.range(0, loops[0].size) as i, e.at({loops[0]: i}):
                        nest(loops[1:])
                    return
                block.set(total, combine(kernel.fold, total, e.value(body), body.dtype))
                e.acc = total
                put_all(e, kernel)

            nest(kernel.inner)

    return write(bindings, product(kernel.space), write_body, words)


def emit_scatter(kernel: Kernel, bind: Bind, words: int) -> Shader:
    """Updates in order: threads share the loops along which no two updates can meet."""
    bindings = bind(set())
    apart = [v for v in kernel.space if all(_apart(s.index, v) for s in kernel.stores)]
    rest = [v for v in kernel.space if v not in apart]

    def body(block: Block, thread: Value) -> None:
        e = Evaluator(block, bindings, {})

        def nest(loops: Sequence[Var]) -> None:
            if loops:
                with block.range(0, loops[0].size) as i, e.at({loops[0]: i}):
                    nest(loops[1:])
                return
            put_all(e, kernel)

        with e.at(counters_of(block, apart, thread)):
            nest(rest)

    return write(bindings, product(apart), body, words)


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
