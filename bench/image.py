"""A Program, and the memory that a page would have when its first entry is ready to run.

For whoever runs the binary of a Program without an engine: other code generators, one launch after
the other. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.workload import Workload
from tabgrad import jit
from tabgrad.compiler import driver
from tabgrad.compiler.frame import ARENA, DERIVED, HEAP, SCRATCH, SCRATCH_BYTES, SLOTS
from tabgrad.compiler.program import Program
from tabgrad.targets.wasm.target import WasmTarget

PAGE, SPARE = 65536, 64


@dataclass
class Image:
    """A Program, and memory with all that its first entry needs."""

    program: Program
    memory: bytes
    frame: dict[int, int]  # the words that say where what is

    @property
    def end(self) -> int:
        """Where more can be placed."""
        return len(self.memory) + -len(self.memory) % SPARE

    @property
    def pages(self) -> int:
        return -(-len(self.memory) // PAGE) + 1

    @property
    def derives(self) -> bool:
        return bool(self.program.entries[0].derived)


def of_workload(workload: Workload, *, relaxed: bool) -> Image:
    """What the page would have in its memory when a workload is ready."""
    arrays = workload.arrays()
    function = workload.functions(arrays)["main"]
    others = {*workload.constants, *workload.parameters.get("chained", ())}
    inputs = [array for name, array in arrays.items() if name not in others]
    bound = function.bind(*inputs)
    for buffer, array in zip(bound.inputs, inputs, strict=True):
        bound.engine.write(buffer.handle, np.ascontiguousarray(array).tobytes())
    program: Program = function.program(*inputs)
    if not relaxed:
        program = driver.compile(program.graphs[:1], WasmTarget(()))
    return of_bound(bound, program)


def of_bound(bound: jit.Bound, program: Program) -> Image:
    """What the buffers of a bound function hold now, for a Program that has its ports."""
    graph, entry = program.graphs[0], program.entries[0]
    memory = bytearray(HEAP)

    def placed(data: bytes) -> int:
        memory.extend(bytes(-len(memory) % SPARE))
        at = len(memory)
        memory.extend(data + bytes(SPARE))
        return at

    scalars = [argument.scalar for argument in graph.arguments]
    nodes = [*graph.inputs, *graph.state, *graph.outputs]
    words = []
    for i, (word, node) in enumerate(zip(arguments_of(bound), nodes, strict=True)):
        is_word = i < len(scalars) and scalars[i]
        words.append(word if is_word else placed(bytes(bound.engine.read(word, node.nbytes))))
    words += [placed(data) for data in entry.constants]
    frame = {SLOTS + 4 * i: word for i, word in enumerate(words)}
    frame[ARENA] = placed(bytes(entry.arena))
    frame[SCRATCH] = placed(bytes(entry.scratch))
    frame[SCRATCH_BYTES] = entry.scratch
    frame[DERIVED] = placed(bytes(entry.derived))
    for at, word in frame.items():
        memory[at : at + 4] = word.to_bytes(4, "little")
    return Image(program, bytes(memory), frame)


class _Recorder:
    """Stands for an engine, to find out what a bound Program hands it."""

    def run(self, loaded: Any, entry: int, args: Sequence[int], rows: int) -> None:
        self.args = list(args)


def arguments_of(bound: jit.Bound) -> list[int]:
    """What a bound Program hands its engine."""
    engine, recorder = bound.engine, _Recorder()
    bound.engine = recorder
    bound.run()
    bound.engine = engine
    return recorder.args
