"""Entries of Programs as text and back: the graph text of `tabgrad.ir.text` with named ports.

::

    entry step rows=8 {
      %0 = input x : float32[8,4] rows
      %1 = input learning_rate : float32[] scalar
      %2 = state dense/kernel : float32[4,2]
      ...
      output loss = %9
      update dense/kernel = %12
    }
"""

from __future__ import annotations

import json
import re

from tabgrad.compiler.program import Argument, EntryGraph, Result, State
from tabgrad.errors import FormatError
from tabgrad.ir import text

_HEAD = re.compile(r'entry ([\w./:-]+|"(?:[^"\\]|\\.)*")(?: rows=(\d+))?')


def format_entry(entry: EntryGraph, *, layers: bool = False) -> str:
    """The text of an entry; `layers` adds a comment naming the layer and line of each node."""
    head = f"entry {text.quoted(entry.name)}"
    if entry.rows is not None:
        head += f" rows={entry.rows}"
    ports = []
    for a in entry.arguments:
        flags = [word for word, on in (("scalar", a.scalar), ("rows", a.rows)) if on]
        ports.append(text.Port(a.node, "input", a.name, tuple(flags)))
    ports += [text.Port(s.node, "state", s.variable) for s in entry.states]
    results = [text.Result(r.node, "output", r.name) for r in entry.results]
    results += [
        text.Result(s.update, "update", s.variable) for s in entry.states if s.update is not None
    ]
    return text.format_block(text.Block(head, ports, results), layers=layers)


def parse_entry(source: str) -> EntryGraph:
    """The entry that `format_entry` printed, on new inputs.

    Raises:
        FormatError: text that is not an entry, with the line where it stops being one.
    """
    block = text.parse_block(source)
    head = _HEAD.fullmatch(block.head)
    if head is None:
        raise FormatError(f"expected text beginning with 'entry name {{'; received {block.head!r}")
    name = json.loads(head[1]) if head[1].startswith('"') else head[1]
    updates = {r.name: r.node for r in block.results if r.role == "update"}
    return EntryGraph(
        name=name,
        arguments=[
            Argument(p.node, p.name, scalar="scalar" in p.flags, rows="rows" in p.flags)
            for p in block.ports
            if p.role == "input"
        ],
        states=[
            State(p.node, p.name, updates.get(p.name)) for p in block.ports if p.role == "state"
        ],
        results=[Result(r.node, r.name) for r in block.results if r.role == "output"],
        rows=int(head[2]) if head[2] else None,
    )
