"""How long each dispatch takes on a device of wgpu's, by the device's own clock: TABGRAD_DEBUG=5.

While it watches, a dispatch has a pass of its own, between two timestamps, so a run takes longer
than it does unwatched; what one dispatch takes is what it takes in a pass with others.

Not here: engines, and what is printed (`timing.py`). `player/tabgrad/timestamps.js` is the same for
pages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

FEATURE = "timestamp-query"
MOST = 2048  # dispatches of a set of queries, which has two for each: wgpu allows no more


def timed(wgpu: Any, device: Any, work: Callable[[], object]) -> list[tuple[Any, float]]:
    """The pipeline and the milliseconds of everything that is dispatched while some work runs.

    Args:
        wgpu: the package.
        device: one that was opened with `FEATURE`; all that was submitted to it may still run.
        work: records commands in encoders of the device, and submits them.

    Example:
        >>> timed(wgpu, device, lambda: engine.run(loaded, 0, args))  # doctest: +SKIP
    """
    watch = _Watch(device)
    device.create_command_encoder = lambda: _Encoder(watch)
    try:
        work()
    finally:
        del device.create_command_encoder  # the class's own again
    return watch.times(wgpu)


class _Watch:
    """The queries that were made so far, and what was dispatched between them."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.new_encoder = device.create_command_encoder
        self.pipelines: list[Any] = []
        self.sets: list[Any] = []

    def stamps(self, pipeline: Any) -> dict[str, Any]:
        """What a pass for one dispatch begins with."""
        at = len(self.pipelines) % MOST
        if not at:
            self.sets.append(self.device.create_query_set(type="timestamp", count=2 * MOST))
        self.pipelines.append(pipeline)
        return {
            "query_set": self.sets[-1],
            "beginning_of_pass_write_index": 2 * at,
            "end_of_pass_write_index": 2 * at + 1,
        }

    def times(self, wgpu: Any) -> list[tuple[Any, float]]:
        from wgpu.backends.wgpu_native import lib

        queue = self.device.queue
        tick = lib.wgpuQueueGetTimestampPeriod(queue._internal)  # nanoseconds
        size = 16 * MOST
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        buffer = self.device.create_buffer(size=size, usage=usage)
        ticks: list[int] = []
        for i, one in enumerate(self.sets):
            count = 2 * min(len(self.pipelines) - i * MOST, MOST)
            encoder = self.new_encoder()
            encoder.resolve_query_set(one, 0, count, buffer, 0)
            queue.submit([encoder.finish()])
            ticks += struct.unpack(f"<{count}Q", queue.read_buffer(buffer, 0, 8 * count))
            one.destroy()
        buffer.destroy()
        spans = zip(ticks[::2], ticks[1::2], strict=True)
        lengths = [(end - begin) * tick / 1e6 for begin, end in spans]
        return list(zip(self.pipelines, lengths, strict=True))


class _Encoder:
    """A command encoder whose passes begin anew for every dispatch."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._own = watch.new_encoder()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def begin_compute_pass(self) -> _Pass:
        return _Pass(self._watch, self._own)


class _Pass:
    """Keeps what a dispatch needs until there is one."""

    def __init__(self, watch: _Watch, encoder: Any) -> None:
        self._watch, self._encoder = watch, encoder
        self._pipeline: Any = None
        self._group: tuple[Any, ...] = ()

    def set_pipeline(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def set_bind_group(self, *group: Any) -> None:
        self._group = group

    def dispatch_workgroups(self, *groups: int) -> None:
        stamps = self._watch.stamps(self._pipeline)
        made = self._encoder.begin_compute_pass(timestamp_writes=stamps)
        made.set_pipeline(self._pipeline)
        made.set_bind_group(*self._group)
        made.dispatch_workgroups(*groups)
        made.end()

    def end(self) -> None:
        pass  # every dispatch has ended its own
