"""Places for temporaries: one arena, shared by lifetime.

A temporary lives from the first kernel that writes it to the last that touches it; one that a loop
shares with its surroundings, or keeps from turn to turn, lives at least as long as the loop. What a
group touches lives as long as the group, unless its kernels run strictly one after the other.
Offsets are chosen first-fit, largest first.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence

from tabgrad.ir.kernel import Branch, Buffer, Launch, Loop, While, in_groups, kernels_of

ALIGN = 64
SPARE = 64  # kernels load whole vectors past the last element
SPAN = 32  # kernels; only how long it takes depends on it


def place(launches: Sequence[Launch], temporaries: Sequence[Buffer]) -> int:
    """Give each temporary its offset; returns the bytes the arena needs."""
    first, last = lifetimes(launches)
    # Offset, end, first and last of all, and of those that live in each span of kernels: what lives
    # shortly meets few others in a long chain, and need not look at them all.
    placed: list[tuple[int, int, int, int]] = []
    near: defaultdict[int, set[tuple[int, int, int, int]]] = defaultdict(set)
    total = 0
    for buffer in sorted(temporaries, key=lambda b: -b.nbytes):
        if id(buffer) not in first:
            continue
        start, stop = first[id(buffer)], last[id(buffer)]
        size = (buffer.nbytes + SPARE + ALIGN - 1) // ALIGN * ALIGN
        offset = 0
        spans = range(start // SPAN, stop // SPAN + 1)
        some = placed if len(spans) > 2 else sorted(near[spans[0]] | near[spans[-1]])
        for low, high, began, ended in some:
            if began <= stop and start <= ended and low < offset + size and offset < high:
                offset = high
        buffer.offset = offset
        one = offset, offset + size, start, stop
        insort(placed, one)
        for span in spans:
            near[span].add(one)
        total = max(total, offset + size)
    return total


def lifetimes(launches: Sequence[Launch]) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last kernel, counted in launch order, while each buffer (by id) lives."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    _lifetimes(launches, 0, first, last)
    return first, last


def _lifetimes(
    launches: Sequence[Launch], at: int, first: dict[int, int], last: dict[int, int]
) -> int:
    """Note when buffers are first and last touched, counting kernels from `at`."""
    for members in in_groups(launches):
        head = members[0]
        if isinstance(head, Branch):
            first.setdefault(id(head.index.root), at)
            last[id(head.index.root)] = at
            for branch in head.branches:
                at = _lifetimes(branch, at, first, last)
            continue
        if isinstance(head, (Loop, While)):
            inside_first: dict[int, int] = {}
            inside_last: dict[int, int] = {}
            turn = [launch for body in head.bodies() for launch in body]
            end = _lifetimes(turn, at, inside_first, inside_last)
            written = _written_before_read(turn)
            if isinstance(head, While):
                inside_first[id(head.flag)], inside_last[id(head.flag)] = at, end
            for key, start in inside_first.items():
                # What a turn writes before it reads is its own; the rest comes from outside or
                # from the turn before.
                own = key in written and key not in first
                first.setdefault(key, start if own else at)
                last[key] = inside_last[key] if own else end
            at = end
            continue
        end = at + len(members)
        together = len(members) > 1 and head.group is not None and head.group.kind != "small"
        for number, launch in enumerate(members, at):
            for buffer in (*launch.reads(), *launch.writes()):
                first.setdefault(id(buffer.root), at if together else number)
                last[id(buffer.root)] = end - 1 if together else number
        at = end
    return at


def _written_before_read(launches: Sequence[Launch]) -> set[int]:
    seen: set[int] = set()
    written: set[int] = set()
    for kernel in kernels_of(launches):
        seen |= {id(buffer.root) for buffer in kernel.reads()}
        # A slice is only a part: the other turns write the rest.
        whole = {id(b) for b in kernel.writes() if b.role == "temp"}
        written |= whole - seen
    return written


def colours(
    launches: Sequence[Launch],
    temporaries: Sequence[Buffer],
    room: Callable[[int], int] | None = None,
    words: Callable[[Buffer], int] = lambda buffer: buffer.size,
) -> list[int]:
    """Give each temporary a whole buffer, its number in `offset`, shared by lifetime; returns the
    words each of those must hold. Nothing that lives at the same time shares one, so no kernel
    reads and writes one buffer for two temporaries. Where `room` is given, which rounds numbers of
    words up, only temporaries of equal room share."""
    first, last = lifetimes(launches)
    held: list[tuple[int, list[tuple[int, int]]]] = []  # words, and when it is taken, in order
    for buffer in sorted(temporaries, key=lambda b: -words(b)):
        if id(buffer) not in first:
            continue
        start, stop = first[id(buffer)], last[id(buffer)]
        wanted = room(words(buffer)) if room else 0
        free = (
            i
            for i, (size, taken) in enumerate(held)
            if wanted in (0, size) and _free(taken, start, stop)
        )
        number = next(free, -1)
        if number < 0:
            number = len(held)
            held.append((wanted or words(buffer), []))
        buffer.offset = number
        insort(held[number][1], (start, stop))
    return [size for size, _ in held]


def _free(taken: Sequence[tuple[int, int]], start: int, stop: int) -> bool:
    """Whether none of the lifetimes, of which no two overlap, overlaps another one."""
    at = bisect_right(taken, (stop, math.inf))
    return at == 0 or taken[at - 1][1] < start
