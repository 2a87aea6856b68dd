"""What the targets for shaders have in common: a Program is JSON that the players read.

    kernels   what the player compiles, as the target writes it: each text once
    entries   {words: of the frame, temps: [bytes], constants: [dtype], scalars: [argument],
               launches}
    halves    true where kernels read or write float16: what its elements are in memory then depends
              on the Program's features

The launches of kernels are the target's own, too. A buffer in them is the place of an argument or
constant (inputs, state, outputs, constants, in that order), or -1 - n for temporary n.
{loop, reverse, body} is repeated; {while, test, body} as long as the first word of buffer `while`
is not 0; {branch, branches} goes by the number in the first word of a buffer.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tabgrad.compiler.narrow import Bound
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Emitted
from tabgrad.dtypes import float16
from tabgrad.errors import NotSupportedError
from tabgrad.ir.index import points_of
from tabgrad.ir.kernel import Branch, Buffer, Kernel, Launch, Loop, While, kernels_of
from tabgrad.targets.shading.bindings import SCALARS

MAX_NESTING = 4  # loops around a launch: the turns are one vector

Written = dict[str, Any]


class Kernels:
    """The kernels of a document, equal ones once."""

    def __init__(self) -> None:
        self.all: list[Written] = []
        self._numbers: dict[tuple[Any, ...], int] = {}

    def number(self, **facts: Any) -> int:
        """The number of the kernel of which these are the facts."""
        key = tuple(facts.values())
        if key not in self._numbers:
            self._numbers[key] = len(self.all)
            self.all.append(facts)
        return self._numbers[key]


def has_halves(kernel: Kernel) -> bool:
    """Whether a kernel reads or writes float16."""
    return any(buffer.dtype is float16 for buffer in (*kernel.reads(), *kernel.writes()))


@dataclass(frozen=True)
class Surroundings:
    """What the kernels of an entry are in: its plan, the loops around, outermost first, the words
    of the frame that hold scalar arguments (by the buffer's id), and how many words there are."""

    plan: Plan
    loops: tuple[Loop, ...]
    scalars: dict[int, int]
    words: int

    def number(self, buffer: Buffer) -> int:
        """A buffer as launches name it."""
        root, graph = buffer.root, self.plan.graph
        if root.role == "temp":
            return -1 - root.offset
        before = {"input": 0, "state": len(graph.arguments)}
        before["output"] = before["state"] + len(graph.states)
        before["constant"] = before["output"] + len(graph.results)
        return before[root.role] + root.slot


class ShaderTarget(ABC):
    """A target of which a Program is a document."""

    kind: ClassVar[str]
    device: ClassVar[str]  # as errors call it
    whole_buffers = True  # a temporary is a buffer of its own, not a place in an arena
    features: tuple[str, ...] = ()
    room: Callable[[int], int] | None = None  # for how many elements there is room, asked for some

    def words(self, buffer: Buffer) -> int:
        """How many words a buffer takes."""
        return buffer.size

    @abstractmethod
    def prepared(self, kernel: Kernel, temporaries: list[Buffer], bound: Bound) -> list[Kernel]:
        """Kernels of the shape that this target emits, in the place of one; `bound` says which
        buffers take a binding."""

    @abstractmethod
    def launches(self, kernel: Kernel, around: Surroundings, kernels: Kernels) -> list[Written]:
        """What starts a kernel that has something to do."""

    def prepare(self, plan: Plan) -> None:
        """Shape kernels for this target."""
        scalars = {i for i, argument in enumerate(plan.graph.arguments) if argument.scalar}

        def bound(buffer: Buffer) -> bool:
            return buffer.role != "rows" and not (buffer.role == "input" and buffer.slot in scalars)

        def all_of(launches: Sequence[Launch]) -> list[Launch]:
            result: list[Launch] = []
            for launch in launches:
                if isinstance(launch, Kernel):
                    launch.group = None
                    result += self.prepared(launch, plan.temporaries, bound)
                    continue
                for body in launch.bodies():
                    body[:] = all_of(body)
                result.append(launch)
            return result

        plan.launches = all_of(plan.launches)

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        """The document of all plans."""
        kernels = Kernels()
        entries = [self._entry(plan, kernels) for plan in plans]
        document: Written = {"kernels": kernels.all, "entries": entries}
        if any(has_halves(k) for plan in plans for k in kernels_of(plan.launches)):
            document["halves"] = True
        binary = json.dumps(document, separators=(",", ":")).encode()
        names = [[k.name or k.kind for k in kernels_of(plan.launches)] for plan in plans]
        return Emitted(binary, [0] * len(plans), names)

    def listing(self, binary: bytes) -> str:
        """The shaders as text."""
        document = json.loads(binary)
        return "\n".join(kernel["code"] for kernel in document["kernels"])

    def _entry(self, plan: Plan, kernels: Kernels) -> Written:
        slots = [i for i, argument in enumerate(plan.graph.arguments) if argument.scalar]
        by_slot = {slot: SCALARS + i for i, slot in enumerate(slots)}
        scalars = {
            id(buffer): by_slot[buffer.slot]
            for kernel in kernels_of(plan.launches)
            for buffer in kernel.reads()
            if buffer.role == "input" and buffer.slot in by_slot
        }
        around = Surroundings(plan, (), scalars, SCALARS + len(slots))
        return {
            "words": around.words,
            "temps": [4 * size for size in plan.buffers],
            "constants": [buffer.dtype.name for buffer in plan.constants],
            "scalars": slots,
            "launches": self._written(plan.launches, around, kernels),
        }

    def _written(
        self, launches: Sequence[Launch], around: Surroundings, kernels: Kernels
    ) -> list[Written]:
        found: list[Written] = []
        for launch in launches:
            if isinstance(launch, Loop):
                loops = (*around.loops, launch)
                if len(loops) > MAX_NESTING:
                    raise NotSupportedError(
                        f"expected at most {MAX_NESTING} loops inside each other on "
                        f"{self.device}; received more. Use tg.set_engine('wasm')"
                    )
                inside = Surroundings(around.plan, loops, around.scalars, around.words)
                body = self._written(launch.body, inside, kernels)
                found.append({"loop": launch.length, "reverse": launch.reverse, "body": body})
            elif isinstance(launch, While):
                test, body = (self._written(x, around, kernels) for x in launch.bodies())
                found.append({"while": around.number(launch.flag), "test": test, "body": body})
            elif isinstance(launch, Branch):
                branches = [self._written(x, around, kernels) for x in launch.branches]
                found.append({"branch": around.number(launch.index), "branches": branches})
            elif points_of(launch.space) and all(store.buffer.size for store in launch.stores):
                self._check_widths(launch)
                found += self.launches(launch, around, kernels)
        return found

    def _check_widths(self, kernel: Kernel) -> None:
        for buffer in (*kernel.reads(), *kernel.writes()):
            dtype = buffer.dtype
            if dtype.itemsize == 8:
                raise NotSupportedError(
                    f"expected dtypes of at most 32 bits on {self.device}; received {dtype.name}. "
                    f"Cast to {'float32' if dtype.is_float else 'int32'}, or use "
                    "tg.set_engine('wasm')"
                )
