"""Sorting as compute shaders: runs are merged pass by pass, a thread finding an element's place.

An element goes to its place in its own run plus the number of elements of the neighbouring run that
come before it, found by bisection. Equal keys keep their order, NaN come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabgrad.ir.index import points_of
from tabgrad.ir.kernel import Buffer, Kernel
from tabgrad.targets.shading.operations import sort_key, sorts_before
from tabgrad.targets.shading.values import Block, Value
from tabgrad.targets.wgsl.shader import Bindings, Shader, write

Bind = Callable[[Sequence[Buffer]], Bindings]


def emit(kernel: Kernel, bind: Bind, words: int) -> list[Shader]:
    """The passes that sort every row, from the buffers to their scratch and back."""
    n, rows = points_of(kernel.inner), points_of(kernel.space)
    homes = [store.buffer for store in kernel.stores]
    others = list(kernel.scratch)
    passes = max((n - 1).bit_length(), 0)
    shaders = []
    if passes % 2:  # so that the last pass ends at home
        shaders.append(_copy(homes, others, n * rows, bind, words))
        homes, others = others, homes
    for i in range(passes):
        shaders.append(_merge(homes, others, n, rows, 1 << i, bind, words))
        homes, others = others, homes
    return shaders


def _copy(
    source: Sequence[Buffer],
    target: Sequence[Buffer],
    size: int,
    bind: Bind,
    words: int,
) -> Shader:
    bindings = bind(target)

    def body(block: Block, thread: Value) -> None:
        for one, other in zip(source, target, strict=True):
            bindings.store(block, other, thread, bindings.load(block, one, thread))

    return write(bindings, size, body, words)


def _merge(
    source: Sequence[Buffer],
    target: Sequence[Buffer],
    n: int,
    rows: int,
    run: int,
    bind: Bind,
    words: int,
) -> Shader:
    bindings = bind(target)
    keys = source[0]

    def body(block: Block, thread: Value) -> None:
        let = block.let
        at = let(thread % n)
        row = let(thread - at)
        pair = let(at / (2 * run) * (2 * run))
        middle = let((pair + run).call("min", n))
        end = let((pair + 2 * run).call("min", n))
        left = let(at < middle)
        mine = let(sort_key(bindings.load(block, keys, thread)))
        low = block.var(left.select(middle, pair))
        high = block.var(left.select(end, middle))
        with block.range(0, max(run.bit_length(), 1)):
            inside = let(low < high)
            half = let(inside.select((low + high) >> 1, low))
            other = let(sort_key(bindings.load(block, keys, row + half.call("min", n - 1))))
            # Of equal keys the left one is first.
            before = let(left.select(sorts_before(other, mine), ~sorts_before(mine, other)))
            block.set(low, (inside & before).select(half + 1, low))
            block.set(high, (inside & ~before).select(half, high))
        own = left.select(at - pair, at - middle)
        rank = left.select(low - middle, low - pair)
        place = let(row + pair + own + rank)
        for old, new in zip(source, target, strict=True):
            bindings.store(block, new, place, bindings.load(block, old, thread))

    return write(bindings, n * rows, body, words)
