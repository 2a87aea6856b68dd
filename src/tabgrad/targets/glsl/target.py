"""The GLSL target: plans in, fragment shaders and a list of draws out, as JSON for the player.

What a Program says is in ../shading/document.py. A kernel of it is
{code, reads: number of textures b0, b1, ..., writes: of outputs, turns: bool}, a launch
{kernel, reads, writes, swaps, begin, count, last}, of which reads and writes are buffers. Drawn are
`count` texels from begin[0] on, plus begin[1 + i] for each turn of loop i around. Where swaps[j] is
0 the texture of writes[j] is drawn to. Else a new one is, which takes its place after the draw (1),
or after the next launch that is `last` (2). The uniform `turns` has the turns of the loops around,
outermost first, the uniform block `Frame` a zero, the rows and the scalars.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.narrow import Bound, narrowed
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.sharing import divisible, in_parts
from tabgrad.compiler.temporaries import temporary
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store
from tabgrad.targets.glsl import folding, order
from tabgrad.targets.glsl.cumulative import in_passes
from tabgrad.targets.glsl.drawing import Draw, Setting, draws_of
from tabgrad.targets.glsl.scatter import in_order
from tabgrad.targets.glsl.shader import MAX_READS, MAX_WRITES, room
from tabgrad.targets.glsl.tiles import in_tiles
from tabgrad.targets.shading.document import Kernels, ShaderTarget, Surroundings, Written

EIGHT = "draw-buffers-8"


class GlslTarget(ShaderTarget):
    """Emits GLSL ES 3.00 for the baseline limits of WebGL2; with the feature "draw-buffers-8" for
    devices that can draw to eight textures at once."""

    kind = "webgl"
    device = "WebGL"

    def __init__(self, features: Collection[str] = ()) -> None:
        self.features = tuple([feature for feature in features if feature == EIGHT])
        self.outputs = 8 if self.features else MAX_WRITES
        self.room = room

    def prepared(self, kernel: Kernel, temporaries: list[Buffer], bound: Bound) -> list[Kernel]:
        """Kernels with merged loops, long folds shared out, running folds and sorts as passes."""
        accumulate_wide(kernel)
        parts = [kernel]
        if kernel.kind == "contract":
            parts = in_phases(kernel)
        elif kernel.kind == "cumulative":
            parts = in_passes(kernel, temporaries)
        elif kernel.kind == "scatter":
            parts = in_order(kernel, temporaries)
        result: list[Kernel] = []
        for part in parts:
            if part.kind == "sort":
                result += map(collapse, _sorted_whole(part, temporaries))
                continue
            for one in narrowed(part, temporaries, MAX_READS, bound):
                for share in _shared_out(collapse(one), temporaries):
                    tile, *rest = in_tiles(share, temporaries, self.outputs)
                    result.append(tile)
                    for put in rest:
                        result += map(collapse, narrowed(put, temporaries, MAX_READS, bound))
        return result

    def launches(self, kernel: Kernel, around: Surroundings, kernels: Kernels) -> list[Written]:
        """The draws of a kernel."""
        setting = Setting(around.plan, around.loops, around.scalars, around.words, self.outputs)
        found = []
        for draws in _draws(kernel, setting):
            for draw in draws:
                number = kernels.number(
                    code=draw.code,
                    reads=len(draw.reads),
                    writes=len(draw.writes),
                    turns=draw.turns,
                )
                found.append(
                    {
                        "kernel": number,
                        "reads": [around.number(buffer) for buffer in draw.reads],
                        "writes": [around.number(buffer) for buffer in draw.writes],
                        "swaps": draw.swaps,
                        "begin": draw.begin,
                        "count": draw.count,
                        "last": draw is draws[-1],
                    }
                )
        return found


def _shared_out(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """The kernel, or several in parts: what puts those together may be long itself."""
    if not divisible(kernel):
        return [kernel]
    first, *rest = in_parts(kernel, temporaries, folding.parts_of(kernel))
    return [first, *(part for one in rest for part in _shared_out(one, temporaries))]


def _sorted_whole(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """A sort of whole buffers: parts of others are sorted elsewhere and put back. A pass draws into
    new textures, so no room is needed beside them."""
    before, stores, after = [], [], []
    for store in kernel.stores:
        home = store.buffer
        if home.parent is not None:
            stand_in = temporary(temporaries, home.size, home.dtype)
            before.append(_copy(home, stand_in))
            after.append(_copy(stand_in, home))
            load = Expr("load", home.dtype, buffer=stand_in, index=store.index)
            store = replace(store, buffer=stand_in, expr=load)
        stores.append(store)
    return [*before, replace(kernel, stores=stores, scratch=()), *after]


def _copy(source: Buffer, target: Buffer) -> Kernel:
    loop = Var("i0", source.size)
    at = Index.of(loop)
    load = Expr("load", source.dtype, buffer=source, index=at)
    return Kernel("map", (loop,), [Store(target, at, load)])


def _draws(kernel: Kernel, setting: Setting) -> list[list[Draw]]:
    """The draws of a kernel, in passes of which each reads what the one before has written."""
    if kernel.kind == "sort":
        return order.sort(kernel, setting)
    emit = {"reduce": folding.reduce, "contract": folding.contract}.get(kernel.kind, draws_of)
    return [emit(kernel, setting)]
