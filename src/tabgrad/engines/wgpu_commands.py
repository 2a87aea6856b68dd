"""What goes to the GPU with one submit: copies wait for the run after them.

Not here: what a run consists of (`wgpu_runs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_COPIES = 10_000  # that wait


class Commands:
    """Copies that were asked for and not sent yet, and buffers that only they still need."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.queue = device.queue
        self._copies: Any = None  # an encoder
        self._count = 0
        self._doomed: list[Any] = []

    def copy(self, source: Any, target: Any, spans: Iterable[tuple[int, int, int]]) -> None:
        """Copy spans (from where, to where, how many bytes) with the next submit."""
        if self._copies is None:
            self._copies = self.device.create_command_encoder()
        for first, to, size in spans:
            self._copies.copy_buffer_to_buffer(source, first, target, to, size)
            self._count += 1
        if self._count >= MAX_COPIES:
            self.submit()

    def submit(self, run: Any = None) -> None:
        """Send what waits, and then a run: copies have an encoder of their own, so that a run that
        is refused takes none along."""
        if self._copies is None and run is None:
            return
        try:
            ready = [] if self._copies is None else [self._copies.finish()]
            try:
                if run is not None:
                    ready.append(run.finish())
            finally:
                if ready:
                    self.queue.submit(ready)
        finally:
            self._copies, self._count = None, 0
            doomed, self._doomed = self._doomed, []
            for gpu in doomed:
                gpu.destroy()

    def destroy(self, gpu: Any) -> None:
        """Destroy a buffer once no copy waits. That may be collected as garbage at any time, while
        commands are recorded, too, so nothing is sent for its sake."""
        if self._copies is None:
            gpu.destroy()
        else:
            self._doomed.append(gpu)

    def close(self) -> None:
        """Forget everything: the device is to be destroyed."""
        self._copies = None
        self._doomed.clear()

    def make_room(self) -> None:
        """Destroy now what waits to be."""
        if self._doomed:
            self.submit()
