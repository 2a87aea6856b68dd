"""The pass list: from entry graphs to a Program. Read `compile` as prose.

Each pass is a file beside this one. The target is handed in; nothing here knows any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import config
from tabgrad.compiler import memory, report
from tabgrad.compiler.group import group
from tabgrad.compiler.plan import Plan, plan
from tabgrad.compiler.program import Entry, Port, Program
from tabgrad.compiler.rows import mask_rows
from tabgrad.compiler.simplify import simplify
from tabgrad.errors import NotSupportedError
from tabgrad.ir.entry import EntryGraph, Result, State
from tabgrad.ir.graph import toposort
from tabgrad.ir.kernel import count_launches
from tabgrad.ir.verify import verify_graph

MOST_ELEMENTS = 2**31


def compile(graphs: Sequence[EntryGraph], target: Any) -> Program:
    """One Program with an entry for each graph; without a target, the graphs alone."""
    if target is None:
        entries = [_entry(graph) for graph in graphs]
        return Program("reference", (), entries, b"", list(graphs))
    watch = report.Stopwatch()
    plans, entries = [], []
    for graph in graphs:
        with watch("rows"):
            masked = mask_rows(graph)
        with watch("simplify"):
            simple = simplified(masked.graph)
        _check_sizes(simple)
        if config.debug:
            verify_graph(simple, simplified=True)
        with watch("fuse"):
            planned = plan(simple)
        with watch("group"):
            planned.launches = group(planned.launches)
        with watch("prepare"):
            target.prepare(planned)
        with watch("memory"):
            planned.arena = _place(planned, target)
        plans.append(planned)
        entries.append(_entry(graph, masked.exact, masked.row_outputs))
    with watch("emit"):
        emitted = target.emit(plans)
    for i, (entry, planned) in enumerate(zip(entries, plans, strict=True)):
        entry.constants = [buffer.data for buffer in planned.constants]
        entry.arena, entry.scratch = planned.arena, emitted.scratch[i]
        entry.derived = planned.derived
        entry.flops = planned.flops
        entry.peak = _peak(entry, planned)
        entry.kernels = emitted.kernels[i]
        entry.launches = count_launches(planned.launches)
    program = Program(target.kind, target.features, entries, emitted.binary, list(graphs))
    if config.debug:
        report.show(program, plans, target, watch)
    return program


def _place(planned: Plan, target: Any) -> int:
    """Give temporaries their places; returns the bytes those need."""
    if target.whole_buffers:
        planned.buffers = memory.colours(
            planned.launches, planned.temporaries, target.room, target.words
        )
        return 4 * sum(planned.buffers)
    both = (planned.launches, planned.derivations)
    return max(memory.place(launches, planned.temporaries) for launches in both)


def simplified(graph: EntryGraph) -> EntryGraph:
    """The entry with all its nodes simplified together."""
    updates = [state.update for state in graph.states if state.update is not None]
    roots = simplify([*graph.outputs, *updates])
    outputs, rest = roots[: len(graph.results)], iter(roots[len(graph.results) :])
    return EntryGraph(
        graph.name,
        graph.arguments,
        [State(s.node, s.variable, None if s.update is None else next(rest)) for s in graph.states],
        [Result(n, r.name) for n, r in zip(outputs, graph.results, strict=True)],
        graph.rows,
    )


def _check_sizes(graph: EntryGraph) -> None:
    """Kernels count elements in int32: one more would be none at all."""
    updates = [state.update for state in graph.states if state.update is not None]
    for node in toposort([*graph.outputs, *updates]):
        if len(node.outs) == 1 and node.size >= MOST_ELEMENTS:
            raise NotSupportedError(
                f"expected tensors of fewer than 2**31 elements; received {node.dtype.name} "
                f"{list(node.shape)} on the way. Compute in parts"
            )


def _entry(graph: EntryGraph, exact: bool = False, row_outputs: Sequence[bool] = ()) -> Entry:
    flags = row_outputs or [False] * len(graph.results)
    return Entry(
        name=graph.name,
        rows=graph.rows,
        exact=exact,
        inputs=[
            Port(a.name, a.node.shape, a.node.dtype.name, a.rows, a.scalar) for a in graph.arguments
        ],
        state=[(s.variable, s.update is not None) for s in graph.states],
        outputs=[
            Port(r.name, r.node.shape, r.node.dtype.name, rows)
            for r, rows in zip(graph.results, flags, strict=True)
        ],
    )


def _peak(entry: Entry, planned: Plan) -> int:
    """Bytes in memory while the entry runs."""
    graph = planned.graph
    held = sum(node.nbytes for node in (*graph.inputs, *graph.state, *graph.outputs))
    kept = sum(map(len, entry.constants)) + entry.derived
    return held + kept + entry.arena + entry.scratch
