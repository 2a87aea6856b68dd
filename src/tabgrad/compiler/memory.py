"""Places for temporaries: one arena, shared by lifetime.

A temporary lives from the first kernel that writes it to the last that touches it. Offsets are
chosen first-fit, largest first, which is within a few percent of the best for such intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.kernel import Buffer, Kernel

ALIGN = 64
SPARE = 64  # kernels load whole vectors past the last element


def place(kernels: Sequence[Kernel], temporaries: Sequence[Buffer]) -> int:
    """Give each temporary its offset; returns the bytes the arena needs."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for i, kernel in enumerate(kernels):
        for buffer in (*kernel.reads(), *kernel.writes()):
            first.setdefault(id(buffer), i)
            last[id(buffer)] = i
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for buffer in sorted(temporaries, key=lambda b: -b.nbytes):
        if id(buffer) not in first:
            continue
        start, stop = first[id(buffer)], last[id(buffer)]
        size = (buffer.nbytes + SPARE + ALIGN - 1) // ALIGN * ALIGN
        offset = 0
        for low, high, began, ended in sorted(placed):
            if began <= stop and start <= ended and low < offset + size and offset < high:
                offset = high
        buffer.offset = offset
        placed.append((offset, offset + size, start, stop))
        total = max(total, offset + size)
    return total
