"""Put kernels into groups that need no waiting between them: a group is one launch.

Threads wait for each other after every launch, and a GPU starts one at a time, so a launch has a
price whatever it does. Four kinds of neighbours need no waiting in between:

- "rows": kernels over the same rows in which every row reads only what the same row wrote, such as
  the maximum, the sum and the quotient of a softmax. They run a few rows at a time, one kernel
  after the other, while these rows are in the fastest cache.
- "apart": kernels of which none reads what another writes, such as an optimizer's updates.
- "small": kernels so short that waiting would take longer than doing them on one thread.
- "ahead": short ones, and one that needs them (a few factors, and the convolution they scale).
  Every thread does all of the short ones for itself, which writes equal values more than once.

What is computed stays the same; which kernels came together is noted on them (`Kernel.group`). To
bring them together kernels are put into another order, and those that nobody waits for go last.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tabgrad.compiler.absorb import absorb
from tabgrad.compiler.collapse import index_levels
from tabgrad.compiler.dependence import Dependence
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Group, Kernel, Launch, While, walk

SMALL = 1 << 14  # points of kernels that one thread does sooner than several could begin
AHEAD = 1 << 11  # points of kernels that every thread may do for itself
FEWEST_ROWS = 16  # fewer rows than this would leave threads without work
MOST_BY_ROWS = 8  # of such a group: all that its members write is in memory at once
LOOKAHEAD = 24  # kernels looked at for one that can join


def group(launches: Sequence[Launch], outside: frozenset[int] = frozenset()) -> list[Launch]:
    """The launches with groups noted, in an order that makes them long. Buffers (by the id of their
    root) of `outside` are read by launches around these."""
    for launch in launches:
        bodies = launch.bodies()
        for body in bodies:
            around = [other for other in launches if other is not launch]
            around += [other for one in bodies if one is not body for other in one]
            own = [launch.flag] if isinstance(launch, While) else []
            own += [buffer for other in around for buffer in other.reads()]
            body[:] = group(body, outside | {id(buffer.root) for buffer in own})
    return _Grouping(launches, outside).ordered()


@dataclass
class _Member:
    """A kernel as a member of a group by rows: its leading loops and what it does to memory."""

    kernel: Kernel
    loops: tuple[Var, ...]  # of more than one step
    mergeable: int  # how many leading loops every index walks through as one
    accesses: list[tuple[Buffer, Index, bool]]  # buffer, index, whether it is written

    def splits(self) -> Iterator[tuple[int, int]]:
        """(how many leading loops make the rows, how many rows those are), most first."""
        for count in range(self.mergeable, 0, -1):
            yield count, math.prod([v.size for v in self.loops[:count]])

    def parts(self, count: int) -> dict[int, _Part]:
        """How each buffer (by root) is divided among the rows that `count` loops make."""
        found: dict[int, _Part] = {}
        last = self.loops[count - 1]
        for buffer, index, written in self.accesses:
            stride = index.terms.get(last, 0)
            rows = self.loops[:count]
            apart = any(not isinstance(atom, Var) for atom in index.terms) and any(
                index.coefficient(loop) is None for loop in rows
            )
            low = high = index.const
            for atom, factor in index.terms.items():
                if atom not in rows:
                    least, most = atom.range
                    low += min(factor * least, factor * most)
                    high += max(factor * least, factor * most)
            within = not apart and stride > 0 and low >= 0 and high < stride
            part = _Part(buffer, stride if within else None, written)
            known = found.get(id(buffer.root))
            found[id(buffer.root)] = part if known is None else known.with_(part)
        return found


class _Part(NamedTuple):
    """The elements of a buffer that belong to one row, None where rows are not to be told apart;
    and whether the buffer is written."""

    buffer: Buffer
    stride: int | None
    written: bool

    def with_(self, other: _Part) -> _Part:
        """What holds for both. Whether slices of one buffer overlap, indices do not tell."""
        same = self.stride == other.stride and self.buffer is other.buffer
        return _Part(self.buffer, self.stride if same else None, self.written or other.written)


@dataclass
class _Open:
    """The group that kernels may still join, and the kinds it can be as it stands."""

    members: list[Kernel]
    points: int
    kinds: set[str] = field(default_factory=lambda: {"small", "rows", "apart", "ahead"})
    complete: bool = False
    rows: int = 0
    loops: list[int] = field(default_factory=list)  # of each member, how many make the rows
    parts: dict[int, _Part] = field(default_factory=dict)  # of the buffers that members touch


class _Grouping:
    def __init__(self, launches: Sequence[Launch], outside: frozenset[int]) -> None:
        order = Dependence(launches)
        absorb(order, outside)
        self.launches, self.needs, self.after = order.launches, order.needs, order.after
        self.position = {id(launch): i for i, launch in self.launches.items()}
        self.members = {i: self._member(launch) for i, launch in self.launches.items()}
        last = [launch for i, launch in self.launches.items() if self._is_last(i)]
        self.last_points = sum(kernel.points for kernel in last if isinstance(kernel, Kernel))

    def ordered(self) -> list[Launch]:
        """All launches in their new order, their groups noted."""
        result: list[Launch] = []
        waiting = {i: len(needed) for i, needed in self.needs.items()}
        ready = [self._rank(i) for i, n in waiting.items() if n == 0]
        heapq.heapify(ready)
        group: _Open | None = None
        while ready:
            chosen = None
            looked: list[tuple[bool, int]] = []
            while ready and group is not None and len(looked) < LOOKAHEAD:
                one = heapq.heappop(ready)
                early = one[0] and bool(looked) and not looked[0][0]
                if self._joins(group, one[1], early):
                    chosen = one
                    break
                looked.append(one)
            for one in looked:
                heapq.heappush(ready, one)
            if chosen is None:
                self._close(group)
                chosen = heapq.heappop(ready)
                group = self._begin(chosen[1])
            result.append(self.launches[chosen[1]])
            for j in self.after[chosen[1]]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    heapq.heappush(ready, self._rank(j))
        self._close(group)
        assert len(result) == len(self.launches), "internal: launches that need each other"
        return result

    def _rank(self, i: int) -> tuple[bool, int]:
        """Maps that nobody waits for go last, so that all of them can come together."""
        return self._is_last(i), i

    def _is_last(self, i: int) -> bool:
        return not self.after[i] and self.launches[i].kind == "map"

    def _member(self, launch: Launch) -> _Member | None:
        if not isinstance(launch, Kernel) or launch.kind not in ("map", "reduce"):
            return None
        loops = tuple(v for v in launch.space if v.size != 1)
        if not loops:
            return None
        levels = index_levels(launch)
        mergeable = 1
        while mergeable < len(loops):
            outer, inner = loops[mergeable - 1], loops[mergeable]
            if not all(
                level.terms.get(outer, 0) == level.terms.get(inner, 0) * inner.size
                for level in levels
            ):
                break
            mergeable += 1
        accesses = [(s.buffer, s.index, True) for s in launch.stores]
        for expr in walk(launch.expressions()):
            if expr.buffer is not None and expr.index is not None:
                accesses.append((expr.buffer, expr.index, False))
                steps = [expr.index.terms.get(v, 0) for v in (*loops[:1], *launch.inner)]
                if 0 < steps[0] < max(steps):
                    return None  # sums of columns: a row at a time would jump about
        return _Member(launch, loops, mergeable, accesses)

    def _begin(self, i: int) -> _Open | None:
        kernel = self.launches[i]
        return _Open([kernel], kernel.points) if isinstance(kernel, Kernel) else None

    def _joins(self, group: _Open, i: int, early: bool) -> bool:
        """Whether a kernel can be the next of a group; if so, it is from now on. One that should
        go last comes `early` only to work on the rows of the group."""
        kernel = self.launches[i]
        if not isinstance(kernel, Kernel) or group.complete:
            return False
        points = group.points + kernel.points
        coming = points + (self.last_points if self._is_last(i) else 0)
        by_rows = self._by_rows(group, i) if "rows" in group.kinds else None
        kinds = {"rows"} if by_rows else set()
        if not early:
            if "small" in group.kinds and coming <= SMALL:
                kinds.add("small")
            if "apart" in group.kinds and self._apart(group, i):
                kinds.add("apart")
            if "ahead" in group.kinds and self._ahead(group, i):
                kinds.add("ahead")
        if not kinds:
            return False
        group.complete = kinds == {"ahead"}
        group.kinds, group.points = kinds, points
        if by_rows:
            group.rows, group.loops, group.parts = by_rows
        group.members.append(kernel)
        return True

    def _apart(self, group: _Open, i: int) -> bool:
        members = [self.position[id(kernel)] for kernel in group.members]
        return all(self._is_last(j) for j in (*members, i))

    def _ahead(self, group: _Open, i: int) -> bool:
        """Whether a kernel needs one of the others, and all of these may be done more than once."""
        members = [self.position[id(kernel)] for kernel in group.members]
        if group.points > AHEAD or not self.needs[i] & set(members):
            return False
        read: set[int] = set()
        for kernel in group.members:
            read |= {id(buffer.root) for buffer in kernel.reads()}
            for buffer in kernel.writes():
                if buffer.role != "temp" or id(buffer.root) in read or kernel.kind == "scatter":
                    return False
        # A thread that is ahead of the others must leave them what they have yet to read.
        touched = read | {id(b.root) for kernel in group.members for b in kernel.writes()}
        if touched & {id(buffer.root) for buffer in self.launches[i].writes()}:
            return False
        return True

    def _by_rows(self, group: _Open, i: int) -> tuple[int, list[int], dict[int, _Part]] | None:
        """The rows, loops and parts of a group with one more member, None where that cannot be."""
        new = self.members[i]
        if new is None or len(group.members) == MOST_BY_ROWS:
            return None
        if len(group.members) > 1:
            return self._fitting(group.rows, group.loops, group.parts, new)
        first = self.members[self.position[id(group.members[0])]]
        for count, rows in first.splits() if first is not None else ():
            assert first is not None
            if rows >= FEWEST_ROWS:
                found = self._fitting(rows, [count], first.parts(count), new)
                if found:
                    return found
        return None

    def _fitting(
        self, rows: int, loops: list[int], parts: dict[int, _Part], new: _Member
    ) -> tuple[int, list[int], dict[int, _Part]] | None:
        """The same, where each buffer that a member writes is divided among the rows in one way."""
        count = next((count for count, n in new.splits() if n == rows), None)
        if count is None:
            return None
        its_parts = new.parts(count)
        passes_on = False
        for key in its_parts.keys() & parts.keys():
            both = parts[key].with_(its_parts[key])
            if both.written:
                if both.stride is None:
                    return None
                passes_on = True
        if not passes_on:
            # Nothing passes between them: together they would only crowd the cache.
            return None
        merged = dict(parts)
        for key, part in its_parts.items():
            merged[key] = parts[key].with_(part) if key in parts else part
        return rows, [*loops, count], merged

    def _close(self, group: _Open | None) -> None:
        if group is None or len(group.members) == 1:
            return
        kind = next(kind for kind in ("small", "rows", "apart", "ahead") if kind in group.kinds)
        note = Group(kind, group.rows if kind == "rows" else 0)
        for kernel in group.members:
            kernel.group = note
        if kind == "rows":
            note.strides = {key: part.stride for key, part in group.parts.items()}
            for kernel, count in zip(group.members, group.loops, strict=True):
                kernel.row_loops = count
