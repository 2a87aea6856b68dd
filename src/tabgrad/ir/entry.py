"""Entries: a graph with named ports, which is what the compiler is given.

An entry has arguments, the Variables it reads and perhaps updates, and results. What it looks like
once compiled is `compiler/program.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabgrad.ir.graph import Node


@dataclass(frozen=True)
class Argument:
    """An input of an entry's graph: its node, its name, whether it is a host scalar, and whether
    its leading axis holds the rows of the batch."""

    node: Node
    name: str
    scalar: bool = False
    rows: bool = False


@dataclass(frozen=True)
class State:
    """A Variable an entry reads, and the node of its new value where the entry updates it."""

    node: Node
    variable: str
    update: Node | None = None


@dataclass(frozen=True)
class Result:
    """A named output of an entry's graph."""

    node: Node
    name: str


@dataclass
class EntryGraph:
    """One function to compile. `rows` is the batch size inputs marked `rows` have, else None."""

    name: str
    arguments: Sequence[Argument]
    states: Sequence[State]
    results: Sequence[Result]
    rows: int | None = None

    @property
    def inputs(self) -> list[Node]:
        """Input nodes in slot order."""
        return [a.node for a in self.arguments]

    @property
    def state(self) -> list[Node]:
        """State nodes in slot order."""
        return [s.node for s in self.states]

    @property
    def outputs(self) -> list[Node]:
        """Output nodes in slot order."""
        return [r.node for r in self.results]

    @property
    def updates(self) -> list[tuple[int, Node]]:
        """(position in `state`, new value) of each state that changes."""
        return [(i, s.update) for i, s in enumerate(self.states) if s.update is not None]
