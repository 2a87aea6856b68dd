"""Sorting as draws: neighbouring runs are merged pass by pass, each fragment finding what belongs
in its places.

Of the first p elements of two merged runs, how many come from the left one is found by bisection
("merge path": Green, McColl and Bader, "GPU merge path", 2012). Equal keys keep their order, NaN
come last.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.index import points_of
from tabgrad.ir.kernel import Buffer, Kernel
from tabgrad.targets.glsl.drawing import AT_LAST, Draw, Setting
from tabgrad.targets.glsl.shader import whole_rows, write
from tabgrad.targets.shading.operations import sort_key, sorts_before
from tabgrad.targets.shading.values import LANES, Block, Value


def sort(kernel: Kernel, setting: Setting) -> list[list[Draw]]:
    """The passes that sort every row where it is; the draws of a pass all read what the pass
    before has left."""
    n, rows = points_of(kernel.inner), points_of(kernel.space)
    homes = [store.buffer for store in kernel.stores]
    by_room: dict[int, list[Buffer]] = {}
    for home in homes:
        by_room.setdefault(setting.room(home), []).append(home)
    parts = [
        alike[at : at + setting.outputs]
        for alike in by_room.values()
        for at in range(0, len(alike), setting.outputs)
    ]
    passes = []
    for i in range(max((n - 1).bit_length(), 0)):
        passes.append([_merge(homes[0], part, n, rows, 1 << i, setting) for part in parts])
    return passes


def _merge(
    keys: Buffer,
    moved: Sequence[Buffer],
    n: int,
    rows: int,
    run: int,
    setting: Setting,
) -> Draw:
    textures = setting.textures()

    def key(block: Block, at: Value) -> Value:
        return sort_key(textures.load(block, keys, at))

    def source(block: Block, at: Value) -> Value:
        """Where what belongs at a place lies."""
        let = block.let
        column = let(at % n)
        row = let(at - column)
        pair = let(column / (2 * run) * (2 * run))
        middle = let((pair + run).call("min", n))
        left, right = let(middle - pair), let((pair + 2 * run).call("min", n) - middle)
        p = let(column - pair)
        # The last place past the end of everything asks nothing of memory that is not there.
        first, second = let(row + pair), let(row + middle)
        low = block.var((p - right).call("max", 0))
        high = block.var(p.call("min", left))
        with block.range(0, run.bit_length()):
            inside = let(low < high)
            half = let((low + high) >> 1)
            mine = let(key(block, first + half))
            other = let(key(block, second + p - half - 1))
            before = let(~sorts_before(other, mine))  # of equal keys the left one is first
            block.set(low, (inside & before).select(half + 1, low))
            block.set(high, (inside & ~before).select(half, high))
        taken = let(p - low)
        mine, other = let(key(block, first + low)), let(key(block, second + taken))
        ends = taken >= right
        from_left = let(ends | ((low < left) & ~sorts_before(other, mine)))
        return let(from_left.select(first + low, second + taken))

    def body(block: Block, first: Value) -> None:
        with block.range(0, LANES) as lane:
            at = source(block, block.let(first + lane))
            for i, buffer in enumerate(moved):
                word = textures.words(block, buffer, at, False)
                block.line(f"o{i} = uvec4(o{i}.yzw, {word.text});")

    code = write(textures, len(moved), body, setting.words)
    return Draw(
        code,
        tuple(textures.roots.values()),
        tuple(moved),
        (AT_LAST,) * len(moved),
        textures.turns,
        (0,),
        whole_rows(n * rows),
    )
