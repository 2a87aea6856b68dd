"""The WASM target: plans in, one module out, with the frame convention all engines follow.

A module imports the engine's memory and exports `run()` and `run_part(thread, threads)`. Both read
a frame at a fixed address: which entry, how many rows, and the addresses of all buffers. Equal
kernels are one function, called with other addresses.

Not here: what is in an entry (entry.py) and in a kernel's function (contraction.py, loops.py, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tabgrad import config
from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.border import Border
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.frame import ENTRY
from tabgrad.compiler.invariant import derive, hoist, steady
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Emitted
from tabgrad.ir.kernel import (
    Buffer,
    Expr,
    Kernel,
    Launch,
    in_groups,
    kernels_of,
    run_time_places,
    walk,
)
from tabgrad.targets.wasm import (
    contraction,
    correlation,
    cumulative,
    loops,
    operands,
    order,
    padding,
    pairs,
    taps,
    winograd,
)
from tabgrad.targets.wasm.builder import I32, Function, Module
from tabgrad.targets.wasm.disassembler import disassemble
from tabgrad.targets.wasm.entry import Compiled, write_entry
from tabgrad.targets.wasm.windows import bytes_of_windows, open_windows, window_bytes

# Work that one thread does sooner than several can begin; player/tabgrad/threads.js has it, too.
LEAST_SHARED = 2_000_000


class WasmTarget:
    """Emits WebAssembly with 128-bit SIMD, and with "relaxed-simd" fused multiply-add."""

    kind = "wasm"
    derives = True
    whole_buffers = False
    room = None

    def __init__(self, features: Collection[str] = (), *, least_shared: int = LEAST_SHARED) -> None:
        """Entries of `least_shared` flops and more can be run by several threads."""
        self.fma = "relaxed-simd" in features
        self.least_shared = least_shared
        self.features = ("relaxed-simd",) if self.fma else ()

    def prepare(self, plan: Plan) -> None:
        """Shape kernels for this target: merged loops, packed operands."""
        kept = steady(plan) if self.derives else _never
        plan.launches = self._prepared(plan.launches, plan.temporaries, kept)
        hoist(plan.launches)
        if self.derives:
            derive(plan)
        open_windows(plan)

    def _prepared(
        self,
        launches: Sequence[Launch],
        temporaries: list[Buffer],
        kept: Callable[[Buffer], bool],
    ) -> list[Launch]:
        result: list[Launch] = []
        for launch in pairs.joined(launches, self.fma):
            if not isinstance(launch, Kernel):
                for body in launch.bodies():
                    body[:] = self._prepared(body, temporaries, kept)
                result.append(launch)
                continue
            accumulate_wide(launch)
            borders: list[Border] = []
            for phase in [launch] if taps.leaves_out_holes(launch) else in_phases(launch):
                if phase.kind != "contract":
                    result.append(collapse(phase))
                    continue
                made = winograd.prepare(phase, temporaries, self.fma, kept)
                if made is None:
                    one = collapse(phase)
                    made = operands.prepare(one, temporaries, self.fma, kept, borders)
                ahead = phase.group is not None and phase.group.kind == "ahead"
                for number, kernel in enumerate(made):
                    if kernel.group is None or kernel.group is phase.group:
                        # Those after the first wait for it anyway.
                        kernel.group = None if ahead and number else phase.group
                result += made
        for members in in_groups(result):
            kernels = [x for x in members if isinstance(x, Kernel)]
            if not all(map(loops.takes_rows, kernels)):
                for kernel in kernels:
                    kernel.group = None
        return result

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        """One module for all plans."""
        return _Emission(self.fma, self.least_shared).emit(plans)

    def listing(self, binary: bytes) -> str:
        """The module as WebAssembly text."""
        return disassemble(binary)


def _never(_: Buffer) -> bool:
    return False


class _Emission:
    def __init__(self, fma: bool, least_shared: int) -> None:
        self.fma = fma
        self.least_shared = least_shared
        self.module = Module()
        self.known: dict[Any, Compiled] = {}
        self.made: dict[int, tuple[Compiled, list[Buffer]]] = {}  # by the kernel's id

    def emit(self, plans: Sequence[Plan]) -> Emitted:
        entries: list[Function] = []
        scratch: list[int] = []
        names: list[list[str]] = []
        for plan in plans:
            kernels = list(kernels_of(plan.launches))
            compiled = [self._kernel(kernel)[0] for kernel in kernels]
            entries.append(self._entry(plan, plan.launches, f"entry_{len(entries)}"))
            before = [self._kernel(kernel)[0] for kernel in kernels_of(plan.derivations)]
            own = [
                one.scratch + bytes_of_windows(kernel)
                for one, kernel in zip(compiled, kernels, strict=True)
            ]
            largest = max((*own, *(one.scratch for one in before)), default=0)
            scratch.append(max(largest, window_bytes(plan.launches)))
            names.append([one.name for one in compiled])
        part = self.module.function("run_part", [I32, I32], export=True)
        thread, threads = part.params
        if any(plan.derivations for plan in plans):
            for i, plan in enumerate(plans):
                entries.append(self._entry(plan, plan.derivations, f"derive_{i}"))
        cases = [lambda entry=entry: part.call(entry, thread, threads) for entry in entries]
        part.switch(I32.load(ENTRY), cases)
        run = self.module.function("run", export=True)
        run.call(part, I32.const(0), I32.const(1))
        # Names make the module longer and are for people: the listing, a profiler, a trap.
        binary = self.module.encode(names=config.debug >= 5)
        return Emitted(binary, scratch, names)

    def _entry(self, plan: Plan, launches: Sequence[Launch], name: str) -> Function:
        f = self.module.function(name, [I32, I32])
        alone = plan.flops < self.least_shared
        write_entry(f, self.module, plan, launches, self._kernel, alone)
        return f

    def _kernel(self, kernel: Kernel) -> tuple[Compiled, list[Buffer]]:
        """A kernel's function and the buffers it takes, in order."""
        made = self.made.get(id(kernel))
        if made is None:
            buffers = list({id(b): b for b in (*kernel.reads(), *kernel.writes())}.values())
            key = _signature(kernel, buffers)
            found = self.known.get(key)
            if found is None:
                found = self.known[key] = self._emit_kernel(kernel, buffers)
            made = self.made[id(kernel)] = found, buffers
        return made

    def _emit_kernel(self, kernel: Kernel, buffers: Sequence[Buffer]) -> Compiled:
        contract = kernel.kind == "contract"
        correlated = correlation.of(kernel, self.fma)
        extra = 3 if contract or correlated or order.takes_scratch(kernel) else 2
        name = f"{kernel.kind}_{len(self.known)}"
        f = self.module.function(name, [I32] * (len(buffers) + extra))
        bases = {id(b): p for b, p in zip(buffers, f.params, strict=False)}
        if contract:
            units, scratch = contraction.emit(f, kernel, bases, f.params[-3], self.fma)
        elif padding.takes(kernel):
            units, scratch = padding.emit(f, kernel, bases, self.fma), 0
        elif kernel.kind == "sort":
            units, scratch = order.emit(f, kernel, bases, f.params[-3])
        elif kernel.kind == "cumulative":
            units, scratch = cumulative.emit(f, kernel, bases, self.fma), 0
        elif correlated is not None:
            units, scratch = correlated.emit(f, bases, f.params[-3])
        elif (by_taps := taps.of(kernel, self.fma)) is not None:
            units, scratch = by_taps.emit(f, bases), 0
        else:
            units, scratch = loops.emit(f, kernel, bases, self.fma), 0
        return Compiled(f, units, scratch, name, extra == 3)


def _signature(kernel: Kernel, buffers: Sequence[Buffer]) -> Any:
    """Equal for kernels that are the same function of their buffers' addresses."""
    place = {id(b): i for i, b in enumerate(buffers)}
    number: dict[int, int] = {}
    lines: list[Any] = []

    def known(x: Expr) -> str:
        return f"#{number[id(x)]}"

    for x in walk([*kernel.expressions(), *(x for s in kernel.stores for x in run_time_places(s))]):
        number[id(x)] = len(number)
        lines.append(
            (
                x.op,
                x.dtype.name,
                tuple(number[id(a)] for a in x.args),
                None if x.buffer is None else place[id(x.buffer)],
                None if x.index is None else x.index.text(known),
                repr(x.value),
                tuple(c.text(known) for c in x.conditions),
            )
        )
    stores = tuple(
        (
            place[id(s.buffer)],
            s.index.text(known),
            number[id(s.expr)],
            s.combine,
            tuple(c.text(known) for c in s.conditions),
        )
        for s in kernel.stores
    )
    roots = tuple(
        None if x is None else number[id(x)]
        for x in (kernel.body, kernel.body_index, kernel.a, kernel.b)
    )
    roles = tuple(kernel.roles.get(v) for v in kernel.space)
    return (
        kernel.kind, kernel.fold, kernel.space, kernel.inner, roles, kernel.panel_width,
        kernel.row_points, roots,
        stores, tuple(lines), tuple(b.dtype.name for b in buffers),
        tuple(place[id(b)] for b in kernel.scratch), kernel.last,
    )  # fmt: skip
