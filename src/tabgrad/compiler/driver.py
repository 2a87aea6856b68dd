"""The pass list: from entry graphs to a Program. Read `compile` as prose.

Each pass is a file beside this one. The target is handed in; nothing here knows any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.compiler.program import Entry, EntryGraph, Port, Program


def compile(graphs: Sequence[EntryGraph], target: Any) -> Program:
    """One Program with an entry for each graph; without a target, the graphs alone."""
    entries = [_entry(graph) for graph in graphs]
    if target is None:
        return Program("reference", (), entries, b"", list(graphs))
    raise NotImplementedError


def _entry(graph: EntryGraph) -> Entry:
    return Entry(
        name=graph.name,
        rows=graph.rows,
        exact=False,
        inputs=[
            Port(a.name, a.node.shape, a.node.dtype.name, a.rows, a.scalar) for a in graph.arguments
        ],
        state=[(s.variable, s.update is not None) for s in graph.states],
        outputs=[Port(r.name, r.node.shape, r.node.dtype.name) for r in graph.results],
    )
