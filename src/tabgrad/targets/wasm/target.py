"""The WASM target: plans in, one module out, with the frame convention all engines follow.

A module imports the engine's memory and exports `run()` and `run_part(thread, threads)`. Both read
a frame at a fixed address: which entry, how many rows, and the addresses of all buffers. Equal
kernels are one function, called with other addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tabgrad import config
from tabgrad.compiler.accumulation import accumulate_wide
from tabgrad.compiler.border import Border
from tabgrad.compiler.collapse import collapse
from tabgrad.compiler.frame import (
    ARENA,
    ARRIVED,
    DERIVED,
    ENTRY,
    MAX_SLOTS,
    ROWS,
    SCRATCH,
    SCRATCH_BYTES,
    SLOTS,
    STATUS,
    TURN,
)
from tabgrad.compiler.invariant import derive, hoist, steady
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Emitted
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import (
    Branch,
    Buffer,
    Expr,
    Kernel,
    Launch,
    While,
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
from tabgrad.targets.wasm.windows import open_windows, rows_at_a_time, window_bytes

# Work that one thread does sooner than several can begin; player/tabgrad/threads.js has it, too.
LEAST_SHARED = 2_000_000
# How often a thread that has to wait looks before it sleeps: to wake one takes several
# microseconds, but where another needs the core, looking is in its way.
SPINS = 1 << 14


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


@dataclass
class _Emitted:
    function: Function
    units: int
    scratch: int
    name: str
    takes_scratch: bool


class _Emission:
    def __init__(self, fma: bool, least_shared: int) -> None:
        self.fma = fma
        self.least_shared = least_shared
        self.module = Module()
        self.known: dict[Any, _Emitted] = {}
        self.made: dict[int, tuple[_Emitted, list[Buffer]]] = {}  # by the kernel's id

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
                one.scratch + _windows(kernel)
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

    def _kernel(self, kernel: Kernel) -> tuple[_Emitted, list[Buffer]]:
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

    def _units(self, kernel: Kernel) -> int:
        return self._kernel(kernel)[0].units

    def _emit_kernel(self, kernel: Kernel, buffers: Sequence[Buffer]) -> _Emitted:
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
        return _Emitted(f, units, scratch, name, extra == 3)

    def _entry(self, plan: Plan, launches: Sequence[Launch], name: str) -> Function:
        f = self.module.function(name, [I32, I32])
        thread, threads = f.params
        alone = plan.flops < self.least_shared
        if alone:
            with f.if_(thread):
                f.return_()
        graph = plan.graph
        offsets = {"input": 0, "state": len(graph.arguments)}
        offsets["output"] = offsets["state"] + len(graph.states)
        offsets["constant"] = offsets["output"] + len(graph.results)
        total = offsets["constant"] + len(plan.constants)
        if total > MAX_SLOTS:
            raise NotSupportedError(
                f"expected at most {MAX_SLOTS} inputs, variables and outputs in one Program; "
                f"received {total}. Split the function"
            )

        turns: dict[int, I32] = {}
        rows_begin: list[I32] = []  # of the group by rows that is being written, if any

        def scratch_of_thread() -> I32:
            own: I32 = I32.load(SCRATCH)
            if not alone:
                own = own + thread * I32.load(SCRATCH_BYTES)
            return own

        def address(buffer: Buffer) -> I32:
            if buffer.role == "temp":
                return I32.load(ARENA) + buffer.offset
            if buffer.role == "derived":
                return I32.load(DERIVED) + buffer.offset
            if buffer.role == "window":
                before = rows_begin[-1] * buffer.row_bytes
                return scratch_of_thread() - before + buffer.offset
            if buffer.role == "rows":
                return I32.const(ROWS)
            if buffer.role == "slice":
                assert buffer.parent is not None
                return address(buffer.parent) + turns[id(buffer.loop)] * buffer.nbytes
            slot = SLOTS + 4 * (offsets[buffer.role] + buffer.slot)
            if buffer.role == "input" and graph.arguments[buffer.slot].scalar:
                return I32.const(slot)
            return I32.load(slot)

        def call(kernel: Kernel, begin: I32 | int, end: I32 | int) -> None:
            emitted, buffers = self._kernel(kernel)
            arguments = [address(buffer) for buffer in buffers]
            if emitted.takes_scratch:
                arguments.append(scratch_of_thread() + _windows(kernel))
            f.call(emitted.function, *arguments, begin, end)

        def share(units: int) -> tuple[I32 | int, I32 | int]:
            """This thread's part of the units of a launch."""
            if alone:
                return 0, units
            return (thread * units).div(threads), ((thread + 1) * units).div(threads)

        def launch(kernels: Sequence[Kernel]) -> None:
            note = kernels[0].group
            if len(kernels) > 1 and note is not None and note.kind == "small" and not alone:
                with f.if_(thread == 0):
                    for kernel in kernels:
                        call(kernel, 0, self._units(kernel))
            elif len(kernels) > 1 and note is not None and note.kind == "ahead":
                for kernel in kernels[:-1]:
                    call(kernel, 0, self._units(kernel))
                call(kernels[-1], *share(self._units(kernels[-1])))
            elif len(kernels) > 1 and note is not None and note.kind == "rows":
                first, last = share(note.rows)
                step = rows_at_a_time(kernels, note.rows)
                with f.loop_range(first, last, step) as begin, f.scope():
                    end = f.let(begin + step)
                    with f.if_(end > last):
                        end.set(last)
                    rows_begin.append(begin)
                    for kernel in kernels:
                        by = self._units(kernel) // note.rows
                        call(kernel, begin * by, end * by)
                    rows_begin.pop()
            else:
                for kernel in kernels:
                    call(kernel, *share(self._units(kernel)))
            wait()

        def wait() -> None:
            if alone:
                return
            with f.if_(threads > 1):
                f.call(self._barrier(), threads)

        def decided(value: I32) -> I32:
            """A value every thread has read before any may go on to overwrite it."""
            found = f.let(value)
            wait()
            return found

        def run(launches: Sequence[Launch]) -> None:
            for members in in_groups(launches):
                item = members[0]
                if isinstance(item, Kernel):
                    launch([member for member in members if isinstance(member, Kernel)])
                    continue
                if isinstance(item, While):
                    with f.block() as done, f.loop() as again:
                        run(item.test)
                        done.branch_if(decided(I32.load8_u(address(item.flag))).not_())
                        run(item.body)
                        again.branch()
                    continue
                if isinstance(item, Branch):
                    cases = [lambda body=body: run(body) for body in item.branches]
                    index = decided(I32.load(address(item.index)))
                    f.switch(_clamped(f, index, len(cases)), cases)
                    continue
                turns_of = (item.length - 1, -1, -1) if item.reverse else (0, item.length, 1)
                with f.loop_range(*turns_of) as turn:
                    turns[id(item)] = turn
                    run(item.body)

        run(launches)
        return f

    def _barrier(self) -> Function:
        """Threads wait for each other, and trap where one of them failed."""

        def write(f: Function) -> None:
            (threads,) = f.params
            turn = f.atomic_load(TURN)
            with f.if_(f.atomic_add(ARRIVED, 1) == threads - 1):
                f.atomic_store(ARRIVED, 0)
                f.atomic_add(TURN, 1)
                f.atomic_notify(TURN, -1)
                f.return_()
            left = f.let(I32.const(SPINS))
            with f.loop() as again:
                with f.if_(f.atomic_load(STATUS)):
                    f.unreachable()
                with f.if_(f.atomic_load(TURN) == turn):
                    left.set(left - 1)
                    with f.if_(left < 0):
                        f.atomic_wait(TURN, turn)
                    again.branch()

        return self.module.helper("barrier", [I32], [], write)


def _windows(kernel: Kernel) -> int:
    """Bytes of the windows that its group has at the beginning of a thread's scratch memory."""
    return kernel.group.scratch if kernel.group is not None else 0


def _clamped(f: Function, index: I32, count: int) -> I32:
    """An index as one of `count`."""
    found = f.let(index)
    with f.if_(found < 0):
        found.set(0)
    with f.if_(found >= count):
        found.set(count - 1)
    return found


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
