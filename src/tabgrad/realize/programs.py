"""Programs: compiling entries for an engine, and those that eager code has compiled already.

Not here: the passes (`compiler/driver.py`), which engine is current (`current.py`), and compiled
functions, which keep their Programs themselves (`jit.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tabgrad.compiler import driver
from tabgrad.compiler.program import Program
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import Node, fresh_id, make, remake, toposort
from tabgrad.machines import target_of
from tabgrad.realize.values import has_value

MAX_CACHED_PROGRAMS = 2_000

# By engine, structure of the graph, and which of its leaves are scalars: least recently used first.
_cached: OrderedDict[tuple[Any, Any, tuple[bool, ...]], tuple[Program, Any]] = OrderedDict()


def load_on(chosen: Any, graphs: Sequence[EntryGraph]) -> tuple[Program, Any]:
    """Compile entries for an engine and load them there."""
    program = driver.compile(graphs, target_of(chosen))
    return program, chosen.load(program)


def unload(loaded: Any, from_engine: Any) -> None:
    """Let go of a Program that nobody will run again."""
    from_engine.unload(loaded)


def compile_ahead(
    graphs: Sequence[EntryGraph], features: Sequence[str], kind: str = "wasm"
) -> Program:
    """Compile entries for a page's engine of a kind with these features; used by exports."""
    return driver.compile(graphs, target_of(SimpleNamespace(kind=kind, features=features)))


def compiled(
    chosen: Any, key: Any, pending: Sequence[Node], leaves: Sequence[Node], scalars: Sequence[bool]
) -> Any:
    """What an engine has loaded to compute nodes from their leaves; `key` is their structure."""
    place = chosen, key, tuple(scalars)
    found = _cached.get(place)
    if found is not None:
        _cached.move_to_end(place)
        return found[1]
    inputs = {
        id(leaf): make("input", index=fresh_id(), shape=leaf.shape, dtype=leaf.dtype)
        for leaf in leaves
    }
    new: dict[int, Node] = dict(inputs)
    for node in toposort(pending, has_value):
        if id(node) not in new:
            new[id(node)] = remake(node, [new[id(src)] for src in node.srcs])
    graph = EntryGraph(
        name="eager",
        arguments=[
            Argument(inputs[id(leaf)], f"x{i}", scalar=scalar)
            for i, (leaf, scalar) in enumerate(zip(leaves, scalars, strict=True))
        ],
        states=[],
        results=[Result(new[id(node)], f"y{i}") for i, node in enumerate(pending)],
    )
    program, loaded = load_on(chosen, [graph])
    # What is made of constants alone is one node here and in the graph, with its buffer: a Program
    # that kept the graph would keep the buffer. The engine has taken what it needs.
    _cached[place] = replace(program, graphs=[]), loaded
    if len(_cached) > MAX_CACHED_PROGRAMS:
        (old_engine, *_), (_, old) = _cached.popitem(last=False)
        old_engine.unload(old)
    return loaded


def keep_only(chosen: Any) -> None:
    """Unload what eager code has compiled for other engines."""
    for place in [place for place in _cached if place[0] is not chosen]:
        _, loaded = _cached.pop(place)
        place[0].unload(loaded)
