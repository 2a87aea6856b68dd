"""Program: what the compiler makes and engines run. The schema the player checks is `SCHEMA`.

A Program has entries (functions with ports), one binary holding the kernels of all entries, and, in
Python only, the graphs it came from, for the reference engine and for validation.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from tabgrad.ir.entry import EntryGraph

FORMAT = "tabgrad-program"
SCHEMA = 1


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
    derived: int = 0  # bytes that are kept from run to run, see invariant.py
    flops: int = 0
    peak: int = 0
    kernels: list[str] = field(default_factory=list)
    launches: int = 0  # how often something starts: kernels of one group start together

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
            "derived": self.derived,
            "flops": self.flops,
            "peak": self.peak,
            "kernels": self.kernels,
        }


@dataclass
class Emitted:
    """What a target gives back: the code and, for each plan, scratch bytes and kernel names."""

    binary: bytes
    scratch: list[int]
    kernels: list[list[str]]


@dataclass
class Program:
    """Entries and the binary that runs them on one kind of engine."""

    engine: str
    features: tuple[str, ...]
    entries: list[Entry]
    binary: bytes
    graphs: list[EntryGraph]

    def header(self) -> dict[str, Any]:
        """The JSON header, without Python objects."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "engine": self.engine,
            "features": list(self.features),
            "entries": [entry.header() for entry in self.entries],
        }
