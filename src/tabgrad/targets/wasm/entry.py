"""Entries as WASM functions: the launches of a plan in order, with the addresses of their buffers.

All threads run an entry. Each does its share of a launch and waits for the others before the next;
loops and branches of the plan are those of WebAssembly.

Not here: the functions that are called, and which of them are the same (target.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tabgrad.compiler.frame import (
    ARENA,
    ARRIVED,
    DERIVED,
    MAX_SLOTS,
    ROWS,
    SCRATCH,
    SCRATCH_BYTES,
    SLOTS,
    STATUS,
    TURN,
)
from tabgrad.compiler.plan import Plan
from tabgrad.errors import NotSupportedError
from tabgrad.ir.kernel import Branch, Buffer, Kernel, Launch, While, in_groups
from tabgrad.targets.wasm.builder import I32, Function, Module
from tabgrad.targets.wasm.windows import bytes_of_windows, rows_at_a_time

# How often a thread that has to wait looks before it sleeps: for a quarter of a millisecond. Waking
# one takes up to a tenth of that, and MobileNetV2 has sixty waits in seven milliseconds (1.05 times
# as fast as with an eighth of the looks). Where another program needs the core, it is in the way.
SPINS = 1 << 17


@dataclass
class Compiled:
    """A kernel's function, which does a range of so many units of work."""

    function: Function
    units: int
    scratch: int
    name: str
    takes_scratch: bool


Find = Callable[[Kernel], tuple[Compiled, list[Buffer]]]  # a kernel's function, and what it takes


def write_entry(
    f: Function, module: Module, plan: Plan, launches: Sequence[Launch], find: Find, alone: bool
) -> None:
    """Write a function of (thread, threads) that runs `launches` of a plan; `alone` if the first
    thread does all of it.

    Raises:
        NotSupportedError: more buffers than a frame has room for.
    """
    _Entry(f, module, plan, find, alone).run(launches)


class _Entry:
    def __init__(self, f: Function, module: Module, plan: Plan, find: Find, alone: bool) -> None:
        self.f, self.module, self.find, self.alone = f, module, find, alone
        self.thread, self.threads = f.params
        self.arguments = plan.graph.arguments
        self.offsets = _slots(plan)
        self.turns: dict[int, I32] = {}  # of the loops that are being written
        self.rows_begin: I32 | None = None  # of the group by rows that is being written
        if alone:
            with f.if_(self.thread):
                f.return_()

    def run(self, launches: Sequence[Launch]) -> None:
        """Write some launches, one after the other."""
        f = self.f
        for members in in_groups(launches):
            item = members[0]
            if isinstance(item, Kernel):
                self._launch([member for member in members if isinstance(member, Kernel)])
            elif isinstance(item, While):
                with f.block() as done, f.loop() as again:
                    self.run(item.test)
                    done.branch_if(self._decided(I32.load8_u(self._address(item.flag))).not_())
                    self.run(item.body)
                    again.branch()
            elif isinstance(item, Branch):
                cases = [lambda body=body: self.run(body) for body in item.branches]
                index = self._decided(I32.load(self._address(item.index)))
                f.switch(_clamped(f, index, len(cases)), cases)
            else:
                turns = (item.length - 1, -1, -1) if item.reverse else (0, item.length, 1)
                with f.loop_range(*turns) as turn:
                    self.turns[id(item)] = turn
                    self.run(item.body)

    def _launch(self, kernels: Sequence[Kernel]) -> None:
        """Kernels that start together, and waiting for all of them."""
        note = kernels[0].group
        kind = note.kind if note is not None and len(kernels) > 1 else ""
        if kind == "small" and not self.alone:
            with self.f.if_(self.thread == 0):
                for kernel in kernels:
                    self._whole(kernel)
        elif kind == "ahead":
            for kernel in kernels[:-1]:
                self._whole(kernel)
            self._shared(kernels[-1])
        elif kind == "rows":
            assert note is not None
            self._by_rows(kernels, note.rows)
        else:
            for kernel in kernels:
                self._shared(kernel)
        self._wait()

    def _whole(self, kernel: Kernel) -> None:
        self._call(kernel, 0, self._units(kernel))

    def _shared(self, kernel: Kernel) -> None:
        self._call(kernel, *self._share(self._units(kernel)))

    def _by_rows(self, kernels: Sequence[Kernel], rows: int) -> None:
        """Kernels in turns, each on a few rows at a time."""
        f = self.f
        first, last = self._share(rows)
        step = rows_at_a_time(kernels, rows)
        with f.loop_range(first, last, step) as begin, f.scope():
            end = f.let(begin + step)
            with f.if_(end > last):
                end.set(last)
            self.rows_begin = begin
            for kernel in kernels:
                by = self._units(kernel) // rows
                self._call(kernel, begin * by, end * by)
            self.rows_begin = None

    def _units(self, kernel: Kernel) -> int:
        return self.find(kernel)[0].units

    def _share(self, units: int) -> tuple[I32 | int, I32 | int]:
        """This thread's part of the units of a launch."""
        if self.alone:
            return 0, units
        thread, threads = self.thread, self.threads
        return (thread * units).div(threads), ((thread + 1) * units).div(threads)

    def _call(self, kernel: Kernel, begin: I32 | int, end: I32 | int) -> None:
        compiled, buffers = self.find(kernel)
        arguments = [self._address(buffer) for buffer in buffers]
        if compiled.takes_scratch:
            arguments.append(self._scratch() + bytes_of_windows(kernel))
        self.f.call(compiled.function, *arguments, begin, end)

    def _scratch(self) -> I32:
        """This thread's memory of its own."""
        own: I32 = I32.load(SCRATCH)
        if not self.alone:
            own = own + self.thread * I32.load(SCRATCH_BYTES)
        return own

    def _address(self, buffer: Buffer) -> I32:
        if buffer.role == "temp":
            return I32.load(ARENA) + buffer.offset
        if buffer.role == "derived":
            return I32.load(DERIVED) + buffer.offset
        if buffer.role == "window":
            assert self.rows_begin is not None
            before = self.rows_begin * buffer.row_bytes
            return self._scratch() - before + buffer.offset
        if buffer.role == "rows":
            return I32.const(ROWS)
        if buffer.role == "slice":
            assert buffer.parent is not None
            return self._address(buffer.parent) + self.turns[id(buffer.loop)] * buffer.nbytes
        slot = SLOTS + 4 * (self.offsets[buffer.role] + buffer.slot)
        if buffer.role == "input" and self.arguments[buffer.slot].scalar:
            return I32.const(slot)
        return I32.load(slot)

    def _wait(self) -> None:
        if self.alone:
            return
        with self.f.if_(self.threads > 1):
            self.f.call(self.module.helper("barrier", [I32], [], _write_barrier), self.threads)

    def _decided(self, value: I32) -> I32:
        """A value every thread has read before any may go on to overwrite it."""
        found = self.f.let(value)
        self._wait()
        return found


def _slots(plan: Plan) -> dict[str, int]:
    """Where the slots of each role begin."""
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
    return offsets


def _write_barrier(f: Function) -> None:
    """Threads wait for each other, and trap where one of them failed."""
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


def _clamped(f: Function, index: I32, count: int) -> I32:
    """An index as one of `count`."""
    found = f.let(index)
    with f.if_(found < 0):
        found.set(0)
    with f.if_(found >= count):
        found.set(count - 1)
    return found
