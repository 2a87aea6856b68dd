"""A run of a Program's entry as commands: bind groups, kept for the same buffers, and dispatches.

Not here: compiling shaders (`wgpu.py`), and what else goes out with a run (`wgpu_commands.py`).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabgrad.engines.engine import Handle
from tabgrad.engines.wgpu_buffers import Buffer, Buffers
from tabgrad.engines.wgpu_commands import Commands

ALIGN = 256  # of the turns that a dynamic offset points to
FRAME, TURNS = 0, 1  # bindings in front of the buffers
MAX_GROUPS_KEPT = 4096  # bind groups
MAX_DISPATCHES = 10_000  # of a submit: long loops take several


@dataclass(eq=False, slots=True)
class Entry:
    """An entry of a Program with what is its own on the GPU."""

    plan: dict[str, Any]
    frame: Any
    turns: Any
    turn_of: dict[tuple[int, ...], int]
    constants: list[Handle]
    count: int


@dataclass(eq=False, slots=True)
class Loaded:
    """A Program that `WgpuEngine.load` has compiled; opaque to everyone else."""

    pipelines: list[Any]
    layouts: list[Any]
    turns: list[bool]  # of each kernel: whether it binds them
    entries: list[Entry]
    number: int
    unloaded: bool = False


class Groups:
    """The bind groups of kernels that ran lately."""

    def __init__(self, device: Any, buffers: Buffers) -> None:
        self._device, self.buffers = device, buffers
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()

    def forget(self, buffer: Buffer) -> None:
        """Keep none that has a buffer."""
        for key in buffer.groups:
            self._kept.pop(key, None)

    def of(self, loaded: Loaded, entry: Entry, kernel: int, handles: tuple[int, ...]) -> Any:
        """The bind group of a kernel for these buffers."""
        key = (loaded.number, id(entry), kernel, handles)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        entries = [{"binding": FRAME, "resource": {"buffer": entry.frame}}]
        if loaded.turns[kernel]:
            entries.append({"binding": TURNS, "resource": {"buffer": entry.turns, "size": 16}})
        for i, handle in enumerate(handles):
            buffer = self.buffers[handle]
            buffer.groups.add(key)
            entries.append({"binding": 2 + i, "resource": {"buffer": buffer.gpu}})
        found = self._device.create_bind_group(layout=loaded.layouts[kernel], entries=entries)
        self._kept[key] = found
        if len(self._kept) > MAX_GROUPS_KEPT:
            (_, _, _, old), _ = self._kept.popitem(last=False)
            for handle in old:
                kept = self.buffers.get(handle)
                if kept is not None:
                    kept.groups.discard(key)
        return found


class Run:
    """One run of an entry: its dispatches in one pass, ended only to look at a value."""

    def __init__(
        self,
        commands: Commands,
        groups: Groups,
        loaded: Loaded,
        entry: Entry,
        slots: Sequence[Handle],
        temps: Sequence[Handle],
    ) -> None:
        self.commands, self.groups = commands, groups
        self.loaded, self.entry, self.slots, self.temps = loaded, entry, slots, temps
        self.encoder: Any = None
        self.step: Any = None
        self.recorded = 0

    def all(self) -> None:
        """Everything, submitted."""
        self._launch(self.entry.plan["launches"], ())
        self._submit()

    def _launch(self, launches: Sequence[dict[str, Any]], turn: tuple[int, ...]) -> None:
        for launch in launches:
            if "kernel" in launch:
                self._dispatch(launch, turn)
            elif "loop" in launch:
                turns = range(launch["loop"])
                for i in reversed(turns) if launch["reverse"] else turns:
                    self._launch(launch["body"], (*turn, i))
            elif "while" in launch:
                self._launch(launch["test"], turn)
                while self._word(launch["while"]):
                    self._launch(launch["body"], turn)
                    self._launch(launch["test"], turn)
            else:
                branches = launch["branches"]
                at = min(max(self._word(launch["branch"]), 0), len(branches) - 1)
                self._launch(branches[at], turn)

    def _handle(self, place: int) -> Handle:
        return self.slots[place] if place >= 0 else self.temps[-1 - place]

    def _dispatch(self, launch: dict[str, Any], turn: tuple[int, ...]) -> None:
        kernel = launch["kernel"]
        handles = tuple([self._handle(place) for place in launch["buffers"]])
        group = self.groups.of(self.loaded, self.entry, kernel, handles)
        if self.step is None:
            self.encoder = self.commands.device.create_command_encoder()
            self.step = self.encoder.begin_compute_pass()
        self.step.set_pipeline(self.loaded.pipelines[kernel])
        offsets = [ALIGN * self.entry.turn_of[turn]] if self.loaded.turns[kernel] else []
        self.step.set_bind_group(0, group, offsets)
        self.step.dispatch_workgroups(*launch["groups"])
        self.recorded += 1
        if self.recorded == MAX_DISPATCHES:
            self._submit()

    def _submit(self) -> None:
        if self.step is not None:
            self.step.end()
            self.commands.submit(self.encoder)
            self.step = self.encoder = None
            self.recorded = 0

    def _word(self, place: int) -> int:
        """The first word of a buffer, once everything before has run."""
        self._submit()
        self.commands.submit()
        gpu = self.groups.buffers[self._handle(place)].gpu
        (word,) = struct.unpack("<i", self.commands.queue.read_buffer(gpu, 0, 4))
        return int(word)
