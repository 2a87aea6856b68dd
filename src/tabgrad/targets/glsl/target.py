"""The GLSL target: plans in, fragment shaders and a list of draws out, as JSON for the player.

The binary of a Program is UTF-8 JSON:

    kernels   {code, reads: number of textures b0, b1, ..., writes: of outputs, turns: bool}
    entries   {words: of the frame, temps: [bytes], constants: [dtype], scalars: [argument],
               launches}

A launch is {kernel, reads, writes, swaps, begin, count, last}. Reads and writes are buffers: the
place of an argument or constant (inputs, state, outputs, constants, in that order), or -1 - n for
temporary n. Drawn are `count` texels from begin[0] on, plus begin[1 + i] for each turn of loop i
around. Where swaps[j] is 0 the texture of writes[j] is drawn to. Else a new one is, which takes its
place after the draw (1), or after the next launch that is `last` (2). Loops, {while} and {branch}
are those of WGSL's documents (../wgsl/target.py); the uniform `turns` has the turns of the loops
around, outermost first, the uniform block `Frame` a zero, the rows and the scalars.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.narrow import Bound, narrowed
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import Plan
from tabgrad.errors import NotSupportedError
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Branch, Buffer, Expr, Kernel, Launch, Loop, Store, While, kernels_of
from tabgrad.targets.glsl import folding, order
from tabgrad.targets.glsl.cumulative import in_passes
from tabgrad.targets.glsl.drawing import Draw, Setting, draws_of
from tabgrad.targets.glsl.shader import MAX_READS, MAX_WRITES, SCALARS, room, word_kind
from tabgrad.targets.glsl.sharing import shared_out
from tabgrad.targets.glsl.tiles import in_tiles

EIGHT = "draw-buffers-8"
MAX_NESTING = 4  # loops around a launch: the turns are one vector


@dataclass
class Emitted:
    """What a target gives back: the code and, for each plan, scratch bytes and kernel names."""

    binary: bytes
    scratch: list[int]
    kernels: list[list[str]]


class GlslTarget:
    """Emits GLSL ES 3.00 for the baseline limits of WebGL2; with the feature "draw-buffers-8" for
    devices that can draw to eight textures at once."""

    kind = "webgl"
    whole_buffers = True  # a temporary is a texture, not a place in an arena

    def __init__(self, features: Collection[str] = ()) -> None:
        self.features = tuple([feature for feature in features if feature == EIGHT])
        self.outputs = 8 if self.features else MAX_WRITES

    def prepare(self, plan: Plan) -> None:
        """Shape kernels for this target: merged loops, long folds shared out, running folds and
        sorts as passes."""
        scalars = {i for i, argument in enumerate(plan.graph.arguments) if argument.scalar}

        def bound(buffer: Buffer) -> bool:
            return buffer.role != "rows" and not (buffer.role == "input" and buffer.slot in scalars)

        plan.launches = _prepared(plan.launches, plan.temporaries, bound, self.outputs)

    def room(self, size: int) -> int:
        """How many elements a texture for so many has room for."""
        return room(size)

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        """Shaders and draws of all plans."""
        emission = _Emission(self.outputs)
        entries = [emission.entry(plan) for plan in plans]
        document = {"kernels": emission.kernels, "entries": entries}
        binary = json.dumps(document, separators=(",", ":")).encode()
        names = [[k.name or k.kind for k in kernels_of(plan.launches)] for plan in plans]
        return Emitted(binary, [0] * len(plans), names)

    def listing(self, binary: bytes) -> str:
        """The shaders as text."""
        document = json.loads(binary)
        return "\n".join(kernel["code"] for kernel in document["kernels"])


def _prepared(
    launches: Sequence[Launch], temporaries: list[Buffer], bound: Bound, outputs: int
) -> list[Launch]:
    result: list[Launch] = []
    for launch in launches:
        if not isinstance(launch, Kernel):
            for body in launch.bodies():
                body[:] = _prepared(body, temporaries, bound, outputs)
            result.append(launch)
            continue
        launch.group = None
        accumulate_wide(launch)
        if launch.kind == "sort":
            result += [collapse(part) for part in _sorted_whole(launch, temporaries)]
            continue
        parts = [launch]
        if launch.kind == "contract":
            parts = in_phases(launch)
        elif launch.kind == "cumulative":
            parts = in_passes(launch, temporaries)
        for part in parts:
            for one in narrowed(part, temporaries, MAX_READS, bound):
                for share in shared_out(collapse(one), temporaries):
                    tile, *rest = in_tiles(share, temporaries, outputs)
                    result.append(tile)
                    for put in rest:
                        result += map(collapse, narrowed(put, temporaries, MAX_READS, bound))
    return result


def _sorted_whole(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """A sort of whole buffers: parts of others are sorted elsewhere and put back. A pass draws into
    new textures, so no room is needed beside them."""
    before, stores, after = [], [], []
    for store in kernel.stores:
        home = store.buffer
        if home.parent is not None:
            stand_in = Buffer(f"t{len(temporaries)}", "temp", home.size, home.dtype)
            temporaries.append(stand_in)
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


class _Emission:
    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.kernels: list[dict[str, Any]] = []
        self.known: dict[str, int] = {}

    def entry(self, plan: Plan) -> dict[str, Any]:
        """One entry of the document."""
        graph = plan.graph
        first = {"input": 0, "state": len(graph.arguments)}
        first["output"] = first["state"] + len(graph.states)
        first["constant"] = first["output"] + len(graph.results)
        slots = [i for i, argument in enumerate(graph.arguments) if argument.scalar]
        words = SCALARS + len(slots)
        by_slot = {slot: SCALARS + i for i, slot in enumerate(slots)}
        scalars = {
            id(buffer): by_slot[buffer.slot]
            for kernel in kernels_of(plan.launches)
            for buffer in kernel.reads()
            if buffer.role == "input" and buffer.slot in by_slot
        }

        def place(buffer: Buffer) -> int:
            root = buffer.root
            return -1 - root.offset if root.role == "temp" else first[root.role] + root.slot

        def room_of(root: Buffer) -> int:
            return plan.buffers[root.offset] if root.role == "temp" else room(root.size)

        def write(launches: Sequence[Launch], around: tuple[Loop, ...]) -> list[dict[str, Any]]:
            written: list[dict[str, Any]] = []
            for launch in launches:
                if isinstance(launch, Loop):
                    if len(around) == MAX_NESTING:
                        raise NotSupportedError(
                            f"expected at most {MAX_NESTING} loops inside each other on WebGL; "
                            "received more. Use tg.set_engine('wasm')"
                        )
                    body = write(launch.body, (*around, launch))
                    written.append({"loop": launch.length, "reverse": launch.reverse, "body": body})
                elif isinstance(launch, While):
                    written.append(
                        {
                            "while": place(launch.flag),
                            "test": write(launch.test, around),
                            "body": write(launch.body, around),
                        }
                    )
                elif isinstance(launch, Branch):
                    branches = [write(branch, around) for branch in launch.branches]
                    written.append({"branch": place(launch.index), "branches": branches})
                else:
                    setting = Setting(around, scalars, words, room_of, self.outputs)
                    for draws in _draws(launch, setting):
                        written += self._launches(draws, place)
            return written

        return {
            "words": words,
            "temps": [4 * size for size in plan.buffers],
            "constants": [buffer.dtype.name for buffer in plan.constants],
            "scalars": slots,
            "launches": write(plan.launches, ()),
        }

    def _launches(self, draws: Sequence[Draw], place: Any) -> list[dict[str, Any]]:
        found = []
        for draw in draws:
            number = self.known.get(draw.code)
            if number is None:
                number = self.known[draw.code] = len(self.kernels)
                self.kernels.append(
                    {
                        "code": draw.code,
                        "reads": len(draw.reads),
                        "writes": len(draw.writes),
                        "turns": draw.turns,
                    }
                )
            found.append(
                {
                    "kernel": number,
                    "reads": [place(buffer) for buffer in draw.reads],
                    "writes": [place(buffer) for buffer in draw.writes],
                    "swaps": draw.swaps,
                    "begin": draw.begin,
                    "count": draw.count,
                    "last": draw is draws[-1],
                }
            )
        return found


def _draws(kernel: Kernel, setting: Setting) -> list[list[Draw]]:
    """The draws of a kernel, in passes of which each reads what the one before has written."""
    points = 1
    for loop in kernel.space:
        points *= loop.size
    if any(s.buffer.size == 0 for s in kernel.stores) or not points:
        return []
    for buffer in (*kernel.reads(), *kernel.writes()):
        word_kind(buffer)
    if kernel.kind == "sort":
        return order.sort(kernel, setting)
    emit = {"reduce": folding.reduce, "contract": folding.contract}.get(kernel.kind, draws_of)
    return [emit(kernel, setting)]
