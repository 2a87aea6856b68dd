"""Program: what the compiler makes and engines run. The schema the player checks is `SCHEMA`.

A Program has entries (functions with ports), one binary holding the kernels of all entries, and, in
Python only, the graphs it came from, for the reference engine and for validation.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tabgrad.ir.graph import Node

FORMAT = "tabgrad-program"
SCHEMA = 1


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


@dataclass
class Port:
    """One input or output of an entry."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: bool = False
    scalar: bool = False

    def header(self) -> dict[str, Any]:
        """As it stands in the JSON header."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "rows": self.rows,
            "scalar": self.scalar,
        }


@dataclass
class Entry:
    """One function of a Program: its ports, what it needs and what it costs."""

    name: str
    rows: int | None
    exact: bool
    inputs: list[Port]
    state: list[tuple[str, bool]]  # (variable, updated in place)
    outputs: list[Port]
    constants: list[bytes] = field(default_factory=list)
    arena: int = 0
    scratch: int = 0
    flops: int = 0
    peak: int = 0
    kernels: list[str] = field(default_factory=list)

    def header(self) -> dict[str, Any]:
        """As it stands in the JSON header."""
        return {
            "name": self.name,
            "rows": self.rows,
            "exact": self.exact,
            "inputs": [port.header() for port in self.inputs],
            "state": [{"variable": name, "update": update} for name, update in self.state],
            "outputs": [port.header() for port in self.outputs],
            "constants": [
                {"nbytes": len(data), "data": base64.b64encode(data).decode()}
                for data in self.constants
            ],
            "arena": self.arena,
            "scratch": self.scratch,
            "flops": self.flops,
            "peak": self.peak,
            "kernels": self.kernels,
        }


@dataclass
class Program:
    """Entries and the binary that runs them on one kind of engine."""

    engine: str
    features: tuple[str, ...]
    entries: list[Entry]
    binary: bytes
    graphs: list[EntryGraph]
    listing: str = ""  # the kernels as text, for TABGRAD_DEBUG and golden tests

    def header(self) -> dict[str, Any]:
        """The JSON header, without Python objects."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "engine": self.engine,
            "features": list(self.features),
            "entries": [entry.header() for entry in self.entries],
        }
