"""The WGSL target: plans in, shaders and a list of dispatches out, as JSON that the players read.

What a Program says is in ../shading/document.py. A kernel of it is
{code, writes: [bool per storage buffer], turns: bool}, a launch {kernel, buffers, groups: [x, y]}.
Binding 0 is the frame (zero, rows, scalars), 1 the turns of the loops around a launch, outermost
first; then the buffers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.narrow import Bound, narrowed
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Emitted
from tabgrad.compiler.sharing import divisible, in_parts
from tabgrad.dtypes import float16
from tabgrad.ir.kernel import Buffer, Kernel, kernels_of
from tabgrad.targets.shading.document import (
    Kernels,
    ShaderTarget,
    Surroundings,
    Written,
    has_halves,
)
from tabgrad.targets.shading.values import LANES
from tabgrad.targets.wgsl import contraction, cooperative, loops, order
from tabgrad.targets.wgsl.shader import ENABLE_SUBGROUPS, MAX_STORAGE, Bindings, Shader

COOPERATIVE = "cooperative"  # the feature of adapters on which workgroups gain: real GPUs
SUBGROUPS = "subgroups"  # that of adapters of which threads can read each other's registers
SHADER_F16 = "shader-f16"  # that of adapters with floats of 16 bits


class WgslTarget(ShaderTarget):
    """Emits WGSL for the baseline limits of WebGPU, in one of two schedules: "cooperative" in
    `features` has workgroups share folds and contractions, else each thread works alone. With
    "subgroups" as well, such folds use them; with "shader-f16" float16 is stored and computed with
    as such. Programs record either where it makes a difference."""

    kind = "webgpu"
    device = "WebGPU"

    def __init__(self, features: Collection[str] = ()) -> None:
        self.cooperative = COOPERATIVE in features
        self.subgroups = self.cooperative and SUBGROUPS in features
        self.half = SHADER_F16 in features
        self.features = (COOPERATIVE,) if self.cooperative else ()

    def words(self, buffer: Buffer) -> int:
        """How many words a buffer takes: two elements of float16 share one, in whole vectors."""
        whole = -(-buffer.size // LANES) * LANES
        return whole // 2 if self.half and buffer.dtype is float16 else buffer.size

    def prepared(self, kernel: Kernel, temporaries: list[Buffer], bound: Bound) -> list[Kernel]:
        """Kernels with merged loops and borders, that touch few buffers, long folds shared out."""
        accumulate_wide(kernel)
        result: list[Kernel] = []
        for phase in in_phases(kernel):
            result += contraction.bordered(phase, temporaries)
            for part in narrowed(phase, temporaries, MAX_STORAGE, bound):
                result += self._shared_out(collapse(part), temporaries)
        return result

    def _shared_out(self, kernel: Kernel, temporaries: list[Buffer]) -> list[Kernel]:
        alone = self.cooperative and kernel.kind == "reduce" and cooperative.takes(kernel)
        if alone or not divisible(kernel):
            return [kernel]
        return in_parts(kernel, temporaries, loops.parts_of(kernel, self.cooperative))

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        """The document of all plans."""
        if self.half and any(has_halves(k) for plan in plans for k in kernels_of(plan.launches)):
            self.features = (*self.features, SHADER_F16)
        emitted = super().emit(plans)
        if ENABLE_SUBGROUPS.encode() in emitted.binary:
            self.features = (*self.features, SUBGROUPS)
        return emitted

    def launches(self, kernel: Kernel, around: Surroundings, kernels: Kernels) -> list[Written]:
        """The dispatches of a kernel."""
        found = []
        for shader in self._shaders(kernel, around):
            number = kernels.number(code=shader.code, writes=shader.writes, turns=shader.turns)
            buffers = [around.number(buffer) for buffer in shader.buffers]
            found.append({"kernel": number, "buffers": buffers, "groups": shader.groups})
        return found

    def _shaders(self, kernel: Kernel, around: Surroundings) -> Sequence[Shader]:
        half = self.half and has_halves(kernel)

        def bound(written: Sequence[Buffer], fours: Collection[int] = ()) -> Bindings:
            return Bindings(written, fours, around.scalars, around.loops, half)

        def bind(fours: set[int]) -> Bindings:
            return bound(kernel.writes(), fours)

        if kernel.kind == "sort":
            return order.emit(kernel, bound, around.words)
        if self.cooperative and cooperative.takes(kernel):
            return [cooperative.emit(kernel, bind, around.words, self.subgroups)]
        emit = {
            "map": loops.emit_map,
            "reduce": loops.emit_reduce,
            "contract": contraction.emit,
            "cumulative": loops.emit_cumulative,
            "scatter": loops.emit_scatter,
        }[kernel.kind]
        return [emit(kernel, bind, around.words)]
