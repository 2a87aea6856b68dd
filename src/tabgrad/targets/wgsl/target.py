"""The WGSL target: plans in, shaders and a list of dispatches out, as JSON that the players read.

The binary of a Program is UTF-8 JSON:

    kernels   {code, writes: [bool per storage buffer], turns: bool}
    entries   {words: of the frame, temps: [bytes], constants: [dtype], scalars: [argument],
               launches}

A launch is {kernel, buffers, groups: [x, y]}: a buffer is the place of an argument or constant
(inputs, state, outputs, constants, in that order), or -1 - n for temporary n. {loop, reverse, body}
is repeated; {while, test, body} as long as the first word of buffer `while` is not 0;
{branch, branches} goes by the number in the first word of a buffer. Binding 0 is the frame (zero,
rows, scalars), 1 the turns of the loops around a launch, outermost first; then the buffers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.border import with_border
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.narrow import Bound, narrowed
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import Plan
from tabgrad.errors import NotSupportedError
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import (
    Branch,
    Buffer,
    Expr,
    Kernel,
    Launch,
    Loop,
    Store,
    While,
    kernels_of,
)
from tabgrad.targets.wgsl import contraction, cooperative, loops, order
from tabgrad.targets.wgsl.shader import MAX_STORAGE, SCALARS, Bindings, Shader, word_kind

MIN_REUSE = 8  # times an element is used: below this a border costs more than its tests
MAX_NESTING = 4  # loops around a launch: the turns are one vec4


@dataclass
class Emitted:
    """What a target gives back: the code and, for each plan, scratch bytes and kernel names."""

    binary: bytes
    scratch: list[int]
    kernels: list[list[str]]


COOPERATIVE = "cooperative"  # the feature of adapters on which workgroups gain: real GPUs


class WgslTarget:
    """Emits WGSL for the baseline limits of WebGPU, in one of two schedules: "cooperative" in
    `features` has workgroups share folds and contractions, else each thread works alone."""

    kind = "webgpu"
    whole_buffers = True  # a temporary is a buffer, not a place in an arena
    room = None  # of any temporary there is as much as it has elements

    def __init__(self, features: Collection[str] = ()) -> None:
        self.cooperative = COOPERATIVE in features
        self.features = (COOPERATIVE,) if self.cooperative else ()

    def prepare(self, plan: Plan) -> None:
        """Shape kernels for this target: merged loops, long folds shared out."""
        scalars = {i for i, argument in enumerate(plan.graph.arguments) if argument.scalar}

        def bound(buffer: Buffer) -> bool:
            return buffer.role != "rows" and not (buffer.role == "input" and buffer.slot in scalars)

        plan.launches = self._prepared(plan.launches, plan.temporaries, bound)

    def _prepared(
        self, launches: Sequence[Launch], temporaries: list[Buffer], bound: Bound
    ) -> list[Launch]:
        result: list[Launch] = []
        for launch in launches:
            if not isinstance(launch, Kernel):
                for body in launch.bodies():
                    body[:] = self._prepared(body, temporaries, bound)
                result.append(launch)
                continue
            launch.group = None
            accumulate_wide(launch)
            for phase in in_phases(launch):
                result += bordered(phase, temporaries)
                for part in narrowed(phase, temporaries, MAX_STORAGE, bound):
                    result += self._shared_out(collapse(part), temporaries)
        return result

    def _shared_out(self, kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
        if self.cooperative and kernel.kind == "reduce" and cooperative.takes(kernel):
            return [kernel]
        return shared_out(kernel, temporaries, self.cooperative)

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        """Shaders and dispatches of all plans."""
        emission = _Emission(self.cooperative)
        entries = [emission.entry(plan) for plan in plans]
        document = {"kernels": emission.kernels, "entries": entries}
        binary = json.dumps(document, separators=(",", ":")).encode()
        names = [[k.name or k.kind for k in kernels_of(plan.launches)] for plan in plans]
        return Emitted(binary, [0] * len(plans), names)

    def listing(self, binary: bytes) -> str:
        """The shaders as text."""
        document = json.loads(binary)
        return "\n".join(kernel["code"] for kernel in document["kernels"])


def bordered(kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
    """Kernels that copy operands of a contraction with the zeros it reads around them, after which
    its loads need no guards: each element is used many times, and shader compilers leave tests in
    the innermost loop."""
    if kernel.kind != "contract" or not {"m", "n"} <= set(kernel.roles.values()):
        return []
    made = []
    for name in ("a", "b"):
        operand = getattr(kernel, name)
        if not operand.dtype.is_float:
            continue
        found = with_border(operand, kernel.points // MIN_REUSE, f"t{len(temporaries)}")
        if found is not None:
            copy, new = found
            temporaries.append(copy.stores[0].buffer)
            setattr(kernel, name, new)
            made.append(copy)
    return made


def shared_out(kernel: Kernel, temporaries: list[Buffer], by_groups: bool) -> list[Kernel]:
    """The kernel, or where few results take long folds one for parts and one that adds those up."""
    found = contraction.split(kernel, by_groups)
    if found is None:
        return [kernel]
    loop, parts = found
    body = kernel.body if kernel.body is not None else kernel.a
    assert body is not None
    part, turn = Var(f"{loop.name}p", parts), Var(loop.name, loop.size // parts)
    values = {loop: Index.of(part) * turn.size + Index.of(turn)}
    sums = Buffer(f"t{len(temporaries)}", "temp", loops.product(kernel.space) * parts, body.dtype)
    temporaries.append(sums)
    folded = {
        name: getattr(kernel, name).replace(values)
        for name in ("body", "a", "b")
        if getattr(kernel, name) is not None
    }
    place = contraction.place_of(kernel.space) + Index.of(part) * loops.product(kernel.space)
    acc = Expr("acc", body.dtype)
    first = replace(
        kernel,
        space=(part, *kernel.space),
        inner=tuple([turn if v == loop else v for v in kernel.inner]),
        stores=[Store(sums, place, acc)],
        roles={**kernel.roles, part: "g", turn: "k"} if kernel.roles else {},
        nodes=(),
        **folded,
    )
    again = Expr("load", body.dtype, buffer=sums, index=place)
    second = replace(
        kernel, kind="reduce", inner=(part,), fold=kernel.fold or "sum", body=again, a=None, b=None,
        roles={}, flops=0,
    )  # fmt: skip
    return [first, collapse(second)]


class _Emission:
    def __init__(self, cooperative: bool) -> None:
        self.cooperative = cooperative
        self.kernels: list[dict[str, Any]] = []
        self.known: dict[tuple[Any, ...], int] = {}

    def entry(self, plan: Plan) -> dict[str, Any]:
        """One entry of the document."""
        graph = plan.graph
        first = {"input": 0, "state": len(graph.arguments)}
        first["output"] = first["state"] + len(graph.states)
        first["constant"] = first["output"] + len(graph.results)
        scalars = [i for i, argument in enumerate(graph.arguments) if argument.scalar]
        words = SCALARS + len(scalars)
        by_slot = {slot: SCALARS + i for i, slot in enumerate(scalars)}

        def place(buffer: Buffer) -> int:
            root = buffer.root
            return -1 - root.offset if root.role == "temp" else first[root.role] + root.slot

        def write(launches: Sequence[Launch], around: tuple[Loop, ...]) -> list[dict[str, Any]]:
            written: list[dict[str, Any]] = []
            for launch in launches:
                if isinstance(launch, Loop):
                    if len(around) == MAX_NESTING:
                        raise NotSupportedError(
                            f"expected at most {MAX_NESTING} loops inside each other on WebGPU; "
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
                    written += self._dispatches(launch, around, by_slot, words, place)
            return written

        return {
            "words": words,
            "temps": [4 * size for size in plan.buffers],
            "constants": [buffer.dtype.name for buffer in plan.constants],
            "scalars": scalars,
            "launches": write(plan.launches, ()),
        }

    def _dispatches(
        self,
        kernel: Kernel,
        around: tuple[Loop, ...],
        by_slot: dict[int, int],
        words: int,
        place: Any,
    ) -> list[dict[str, Any]]:
        if any(s.buffer.size == 0 for s in kernel.stores) or not loops.product(kernel.space):
            return []
        scalars = {
            id(b): by_slot[b.slot]
            for b in kernel.reads()
            if b.role == "input" and b.slot in by_slot
        }

        def bind(fours: set[int]) -> Bindings:
            return Bindings(kernel.writes(), fours, scalars, around)

        for buffer in (*kernel.reads(), *kernel.writes()):
            word_kind(buffer)
        if kernel.kind == "sort":
            shaders: Sequence[Shader] = order.emit(kernel, around, words)
        elif self.cooperative and cooperative.takes(kernel):
            shaders = [cooperative.emit(kernel, bind, words)]
        else:
            emit = {
                "map": loops.emit_map,
                "reduce": loops.emit_reduce,
                "contract": contraction.emit,
                "cumulative": loops.emit_cumulative,
                "scatter": loops.emit_scatter,
            }[kernel.kind]
            shaders = [emit(kernel, bind, words)]
        found = []
        for shader in shaders:
            number = self.known.get((shader.code, shader.writes))
            if number is None:
                number = self.known[shader.code, shader.writes] = len(self.kernels)
                self.kernels.append(
                    {"code": shader.code, "writes": shader.writes, "turns": shader.turns}
                )
            found.append(
                {
                    "kernel": number,
                    "buffers": [place(buffer) for buffer in shader.buffers],
                    "groups": shader.groups,
                }
            )
        return found
