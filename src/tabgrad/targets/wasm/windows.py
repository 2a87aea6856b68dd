"""Windows: what kernels of a group by rows pass on to each other is kept for a few rows only.

Such kernels take turns over a few rows. A temporary that none but they touch need not have room for
all rows: each thread has a window in its scratch memory, and hands the kernels an address so far
before it that the rows at hand fall inside. It stays in the fastest cache whatever the whole size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tabgrad.compiler.memory import ALIGN, SPARE
from tabgrad.compiler.plan import Plan
from tabgrad.ir.kernel import Branch, Buffer, Group, Kernel, Launch, While, in_groups, kernels_of

POINTS_AT_A_TIME = 4096  # of each kernel: 16 kB of a float32 value


def rows_at_a_time(kernels: Sequence[Kernel], rows: int) -> int:
    """So many rows that what the kernels pass on to each other stays in the fastest cache."""
    points = max(kernel.points for kernel in kernels)
    return max(1, POINTS_AT_A_TIME * rows // max(points, 1))


def open_windows(plan: Plan) -> None:
    """Give the temporaries of groups by rows windows, and take them out of the arena."""
    uses: Counter[int] = Counter()
    for kernel in kernels_of(plan.launches):
        uses.update({id(b.root) for b in (*kernel.reads(), *kernel.writes())})
    uses.update(id(b.root) for b in _deciding(plan.launches))
    inside: set[int] = set()
    for note, kernels in _groups_by_rows(plan.launches):
        own: Counter[int] = Counter()
        touched: dict[int, Buffer] = {}
        from_before: set[int] = set()  # what a turn of a loop left for the next one
        for kernel in kernels:
            from_before |= {id(b) for b in kernel.reads()} - touched.keys()
            buffers = {id(b): b for b in (*kernel.reads(), *kernel.writes())}
            own.update(buffers.keys())
            touched |= buffers
        step = rows_at_a_time(kernels, note.rows)
        offset = 0
        for key, buffer in touched.items():
            stride = note.strides.get(key)
            if buffer.role != "temp" or own[key] != uses[key] or key in from_before:
                continue
            if stride is None:
                continue
            buffer.role, buffer.offset, buffer.row_bytes = (
                "window", offset, stride * buffer.dtype.itemsize
            )  # fmt: skip
            size = min(step, note.rows) * buffer.row_bytes + SPARE
            offset += (size + ALIGN - 1) // ALIGN * ALIGN
            inside.add(key)
        note.scratch = offset
    plan.temporaries = [b for b in plan.temporaries if id(b) not in inside]


def window_bytes(launches: Sequence[Launch]) -> int:
    """The scratch memory a thread needs for the windows of any group."""
    return max((note.scratch for note, _ in _groups_by_rows(launches)), default=0)


def bytes_of_windows(kernel: Kernel) -> int:
    """What the windows of a kernel's group take at the beginning of a thread's scratch memory."""
    return kernel.group.scratch if kernel.group is not None else 0


def _deciding(launches: Sequence[Launch]) -> list[Buffer]:
    """What loops and branches look at to decide, and what they are known to leave."""
    found = []
    for launch in launches:
        if isinstance(launch, While):
            found.append(launch.flag)
        elif isinstance(launch, Branch):
            found.append(launch.index)
        for body in launch.bodies():
            found += _deciding(body)
    return found


def _groups_by_rows(launches: Sequence[Launch]) -> list[tuple[Group, list[Kernel]]]:
    found = []
    for members in in_groups(launches):
        kernels = [x for x in members if isinstance(x, Kernel)]
        note = kernels[0].group if kernels else None
        if note is not None and note.kind == "rows" and len(kernels) > 1:
            found.append((note, kernels))
        for launch in members:
            for body in launch.bodies():
                found += _groups_by_rows(body)
    return found
