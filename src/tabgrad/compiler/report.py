"""What TABGRAD_DEBUG prints of each compilation, to stderr: numbers, graphs, kernels, memory, code.

Levels are those of the table in `config.py`. Nothing here changes what is compiled; the driver
times its passes with a `Stopwatch` and, where the switch is on, hands everything to `show`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tabgrad import config
from tabgrad.compiler import memory
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Entry, Program
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Graph, Node, toposort
from tabgrad.ir.kernel import Buffer, Kernel, Launch, Loop, in_groups, kernels_of
from tabgrad.ir.text import format_graph


class Stopwatch:
    """Seconds spent in each pass, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def text(self) -> str:
        """All passes on one line."""
        parts = [f"{name} {1000 * seconds:.1f}" for name, seconds in self.seconds.items()]
        return f"{1000 * sum(self.seconds.values()):.1f} ms ({', '.join(parts)})"


def show(program: Program, plans: Sequence[Plan], target: Any, watch: Stopwatch) -> None:
    """Print a compilation at the level of `config.debug`."""
    print(report(program, plans, target, watch, config.debug), file=sys.stderr, flush=True)


def report(
    program: Program, plans: Sequence[Plan], target: Any, watch: Stopwatch, level: int
) -> str:
    """The text of a compilation at a level of TABGRAD_DEBUG."""
    features = " with ".join([program.engine, *program.features])
    names = ", ".join(entry.name for entry in program.entries)
    size = f"{len(program.binary):,} bytes of code"
    parts = [f"tabgrad: compiled {names} for {features}: {size} in {watch.text()}"]
    for graph, entry, plan in zip(program.graphs, program.entries, plans, strict=True):
        parts.append(f"  {summary(graph, entry, plan)}")
        if level >= 2:
            parts.append(_indented(format_graph(plan.graph, layers=True)))
        if level >= 3:
            parts.append(_indented(kernels(entry, plan)))
        if level >= 4:
            parts.append(_indented(memory_plan(entry, plan)))
    if level >= 5:
        parts.append(_indented(target.listing(program.binary)))
    return "\n".join(parts)


def summary(graph: EntryGraph, entry: Entry, plan: Plan) -> str:
    """What one entry became, on one line."""
    before, after = count_nodes(graph), count_nodes(plan.graph)
    made = sum(1 for _ in kernels_of(plan.launches))
    flops, moved = f"{entry.flops:,} FLOP", f"{_traffic(plan.launches):,} bytes moved"
    place = f"arena {entry.arena:,}, scratch {entry.scratch:,}, peak {entry.peak:,} bytes"
    shrunk = f"{before} nodes, {after} simplified, {made} kernels"
    if entry.launches != made:
        shrunk += f" in {entry.launches} launches"
    if entry.derived:
        place += f", {entry.derived:,} derived"
    return f"{entry.name}: {shrunk}, {flops}, {moved}, {place}"


def count_nodes(graph: EntryGraph) -> int:
    """Nodes of an entry, those in the bodies of loops counted once."""
    return _nodes_under([*graph.outputs, *(node for _, node in graph.updates)])


def _nodes_under(roots: Iterable[Node]) -> int:
    total = 0
    for node in toposort(roots):
        bodies = [value for value in node.params.values() if isinstance(value, Graph)]
        total += 1 + sum(_nodes_under(body.outputs) for body in bodies)
    return total


def _traffic(launches: Sequence[Launch]) -> int:
    """Bytes that kernels read and write, each buffer counted once a kernel; of what is decided at
    run time, every body once."""
    total = 0
    for launch in launches:
        if isinstance(launch, Kernel):
            total += sum(buffer.nbytes for buffer in (*launch.reads(), *launch.writes()))
        else:
            turns = launch.length if isinstance(launch, Loop) else 1
            total += turns * sum(_traffic(body) for body in launch.bodies())
    return total


def kernels(entry: Entry, plan: Plan) -> str:
    """The fused kernels in launch order, and the function each one runs."""
    functions = dict(zip(map(id, kernels_of(plan.launches)), entry.kernels, strict=True))
    lines = [f"kernels of {entry.name}", *_launches(plan.launches, functions)]
    if plan.derivations:
        lines += ["  before, when state has changed", *_launches(plan.derivations, {}, "    ")]
    return "\n".join(lines)


def _launches(
    launches: Sequence[Launch], functions: dict[int, str], indent: str = "  "
) -> Iterator[str]:
    for members in in_groups(launches):
        note = getattr(members[0], "group", None)
        margin = indent
        if note is not None and len(members) > 1:
            yield f"{indent}{note.head()}"
            margin = indent + "  "
        for launch in members:
            for line in _launch(launch, functions):
                yield margin + line


def _launch(launch: Launch, functions: dict[int, str]) -> Iterator[str]:
    if isinstance(launch, Kernel):
        made_by = {" ".join(filter(None, node.origin)) for node in launch.nodes} - {""}
        comment = f"  # function {functions[id(launch)]}" if functions else ""
        comment += f", from {', '.join(sorted(made_by))}" if made_by else ""
        first, *rest = launch.text().splitlines()
        yield f"{first}{comment}"
        yield from rest
        return
    yield launch.head()
    for body in launch.bodies():
        yield from _launches(body, functions)


def memory_plan(entry: Entry, plan: Plan) -> str:
    """Every buffer of an entry; temporaries with their place in the arena and their lifetime."""
    order = list(kernels_of(plan.launches))
    first, last = memory.lifetimes(plan.launches)
    placed = [buffer for buffer in plan.temporaries if id(buffer) in first]
    asked = sum(buffer.nbytes for buffer in placed)
    lines = [
        f"memory of {entry.name}: {len(placed)} temporaries of {asked:,} bytes together, "
        f"in an arena of {entry.arena:,}"
    ]
    for buffer in sorted(placed, key=lambda b: (first[id(b)], b.offset)):
        start, stop = first[id(buffer)], last[id(buffer)]
        # A buffer that a loop keeps from turn to turn lives to the loop's end.
        names = f"{order[start].name} to {order[min(stop, len(order) - 1)].name}"
        lines.append(f"  {_buffer(buffer)} at {buffer.offset:,}, from {names}")
    outside: dict[int, Buffer] = {}
    for kernel in order:
        outside |= {id(b.root): b.root for b in (*kernel.reads(), *kernel.writes())}
    for role in ("input", "state", "output", "constant"):
        for buffer in sorted(outside.values(), key=lambda b: b.slot):
            if buffer.role == role:
                lines.append(f"  {_buffer(buffer)}, {role} {_port(entry, buffer)}".rstrip())
    return "\n".join(lines)


def _buffer(buffer: Buffer) -> str:
    return f"{buffer.name}: {buffer.size} {buffer.dtype.name}, {buffer.nbytes:,} bytes"


def _port(entry: Entry, buffer: Buffer) -> str:
    if buffer.role == "input":
        return entry.inputs[buffer.slot].name
    if buffer.role == "state":
        variable, updated = entry.state[buffer.slot]
        return f"{variable} (updated)" if updated else variable
    return entry.outputs[buffer.slot].name if buffer.role == "output" else ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
