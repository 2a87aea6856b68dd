"""Programs of a few lines of WGSL, written by hand, for tests of engines on GPUs.

`Program`, `Entry` and `Port` are what any engine sees of one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FRAME = """@group(0) @binding(0) var<uniform> frame: vec4<u32>;
"""
TURNS = """@group(0) @binding(1) var<uniform> turns: vec4<i32>;
"""


@dataclass(frozen=True)
class Port:
    """An input or output."""

    scalar: bool = False


@dataclass
class Entry:
    """What an engine needs of an entry."""

    inputs: Sequence[Port] = ()
    state: Sequence[tuple[str, bool]] = ()
    outputs: Sequence[Port] = ()
    constants: Sequence[bytes] = ()
    arena: int = 0
    scratch: int = 0
    derived: int = 0


@dataclass
class Program:
    """What an engine sees of a Program."""

    binary: bytes
    entries: list[Entry]
    features: tuple[str, ...] = ()


@dataclass
class Kernel:
    """A shader of one thread: a line of WGSL on `b0`, `b1`, ..., arrays of one i32 each unless a
    size is given; those of which a number is in `writes` are written."""

    line: str
    buffers: Sequence[int]
    writes: Sequence[int] = (0,)
    size: int = 1
    turns: bool = False
    wide: bool = False  # a thread for each element, whose number is `i`

    def code(self) -> str:
        """The shader."""
        lines = [FRAME, TURNS if self.turns else ""]
        for i in range(len(self.buffers)):
            access = "read_write" if i in self.writes else "read"
            lines.append(
                f"@group(0) @binding({i + 2}) var<storage, {access}> b{i}: "
                f"array<i32, {self.size}>;\n"
            )
        lines.append(
            f"@compute @workgroup_size({64 if self.wide else 1})\n"
            "fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n"
            f"  let i = id.x;\n  if (i >= {self.size}u) {{ return; }}\n  {self.line}\n}}\n"
        )
        return "".join(lines)


@dataclass
class Writer:
    """Collects kernels and entries, and makes the Program of them."""

    kernels: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def launch(self, line: str, buffers: Sequence[int], **options: Any) -> dict[str, Any]:
        """A dispatch of a kernel."""
        kernel = Kernel(line, buffers, **options)
        found = {
            "code": kernel.code(),
            "writes": [i in kernel.writes for i in range(len(buffers))],
            "turns": kernel.turns,
        }
        if found not in self.kernels:
            self.kernels.append(found)
        groups = [-(-kernel.size // 64) if kernel.wide else 1, 1]
        number = self.kernels.index(found)
        return {"kernel": number, "buffers": list(buffers), "groups": groups}

    def entry(
        self,
        entry: Entry,
        launches: Sequence[dict[str, Any]],
        temps: Sequence[int] = (),
        dtypes: Sequence[str] | None = None,
    ) -> None:
        """Adds an entry; `dtypes` are those of its constants, int32 unless given."""
        scalars = [i for i, port in enumerate(entry.inputs) if port.scalar]
        self.entries.append(entry)
        self.plans.append(
            {
                "words": 2 + len(scalars),
                "temps": list(temps),
                "constants": dtypes or ["int32"] * len(entry.constants),
                "scalars": scalars,
                "launches": list(launches),
            }
        )

    def program(self) -> Program:
        """The Program."""
        document = {"kernels": self.kernels, "entries": self.plans}
        return Program(json.dumps(document).encode(), self.entries)


def single(line: str, outputs: int = 1, inputs: int = 0, **options: Any) -> Program:
    """A Program of one kernel whose buffers are its inputs and outputs, in that order."""
    writer = Writer()
    count = inputs + outputs
    options.setdefault("writes", range(inputs, count))
    launch = writer.launch(line, range(count), **options)
    writer.entry(Entry([Port()] * inputs, (), [Port()] * outputs), [launch])
    return writer.program()
