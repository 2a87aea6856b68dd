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

from tabgrad.compiler.absorb import absorb
from tabgrad.compiler.collapse import index_levels
from tabgrad.compiler.dependence import Dependence
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Group, Kernel, Launch, walk

SMALL = 1 << 14  # points of kernels that one thread does sooner than several could begin
AHEAD = 1 << 11  # points of kernels that every thread may do for itself
FEWEST_ROWS = 16  # fewer rows than this would leave threads without work
LOOKAHEAD = 24  # kernels looked at for one that can join


def group(launches: Sequence[Launch]) -> list[Launch]:
    """The launches with groups noted, in an order that makes them long."""
    for launch in launches:
        for body in launch.bodies():
            body[:] = group(body)
    return _Grouping(launches).ordered()


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

    def parts(self, count: int, buffers: set[int]) -> dict[int, int] | None:
        """For each of the buffers (by root) the elements a row has in it; None when the accesses to
        one do not stay within the row."""
        found: dict[int, int] = {}
        for buffer, index, _ in self.accesses:
            key = id(buffer.root)
            if key not in buffers:
                continue
            stride = index.coefficient(self.loops[count - 1])
            rest = index
            for loop in self.loops[:count]:
                factor = index.coefficient(loop)
                if factor is None:
                    return None
                rest = rest - Index.of(loop) * factor
            low, high = rest.range
            if not stride or low < 0 or high >= stride or found.setdefault(key, stride) != stride:
                return None
        return found


@dataclass
class _Open:
    """The group that kernels may still join, and the kinds it can be as it stands."""

    members: list[Kernel]
    points: int
    kinds: set[str] = field(default_factory=lambda: {"small", "rows", "apart", "ahead"})
    complete: bool = False
    rows: int = 0
    by_rows: list[tuple[_Member, int]] = field(default_factory=list)  # and its leading loops


class _Grouping:
    def __init__(self, launches: Sequence[Launch]) -> None:
        order = Dependence(launches)
        absorb(order)
        self.launches, self.needs, self.after = order.launches, order.needs, order.after
        self.position = {id(launch): i for i, launch in self.launches.items()}
        self.members = {i: self._member(launch) for i, launch in self.launches.items()}
        last = [launch for i, launch in self.launches.items() if self._is_last(i)]
        self.last_points = sum(_points(kernel) for kernel in last if isinstance(kernel, Kernel))

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
        return _Open([kernel], _points(kernel)) if isinstance(kernel, Kernel) else None

    def _joins(self, group: _Open, i: int, early: bool) -> bool:
        """Whether a kernel can be the next of a group; if so, it is from now on. One that should
        go last comes `early` only to work on the rows of the group."""
        kernel = self.launches[i]
        if not isinstance(kernel, Kernel) or group.complete:
            return False
        points = group.points + _points(kernel)
        coming = points + (self.last_points if self._is_last(i) else 0)
        by_rows = self._by_rows(group, i) if "rows" in group.kinds else []
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
        group.kinds, group.points, group.by_rows = kinds, points, by_rows
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
        for kernel in group.members:
            read = {id(buffer.root) for buffer in kernel.reads()}
            for buffer in kernel.writes():
                if buffer.role != "temp" or id(buffer.root) in read or kernel.kind == "scatter":
                    return False
        return True

    def _by_rows(self, group: _Open, i: int) -> list[tuple[_Member, int]]:
        """The members of a group by rows with one more, none where that cannot be."""
        new = self.members[i]
        if new is None:
            return []
        if len(group.members) > 1:
            return self._fitting(group.by_rows, new, group.rows)
        first = self.members[self.position[id(group.members[0])]]
        for count, rows in first.splits() if first is not None else ():
            assert first is not None
            found = self._fitting([(first, count)], new, rows) if rows >= FEWEST_ROWS else []
            if found:
                group.rows = rows
                return found
        return []

    def _fitting(
        self, old: Sequence[tuple[_Member, int]], new: _Member, rows: int
    ) -> list[tuple[_Member, int]]:
        """All members, where every buffer that one of them writes is divided among the rows in
        one way."""
        count = next((count for count, n in new.splits() if n == rows), None)
        if count is None:
            return []
        everybody = [*old, (new, count)]
        touched = [{id(b.root) for b, _, _ in member.accesses} for member, _ in everybody]
        written = {id(b.root) for member, _ in everybody for b, _, w in member.accesses if w}
        shared = {key for key in written if sum(key in t for t in touched) > 1}
        if not any(key in touched[-1] for key in shared):
            # Nothing passes between them: together they would only crowd the cache.
            return []
        strides: dict[int, int] = {}
        names: dict[int, Buffer] = {}
        for member, leading in everybody:
            parts = member.parts(leading, shared)
            if parts is None:
                return []
            for key, stride in parts.items():
                if strides.setdefault(key, stride) != stride:
                    return []
            for buffer, _, _ in member.accesses:
                # Two slices of one buffer may overlap in ways that indices do not tell.
                if names.setdefault(id(buffer.root), buffer) is not buffer:
                    return []
        return everybody

    def _close(self, group: _Open | None) -> None:
        if group is None or len(group.members) == 1:
            return
        kind = next(kind for kind in ("small", "rows", "apart", "ahead") if kind in group.kinds)
        note = Group(kind, group.rows if kind == "rows" else 0)
        for kernel in group.members:
            kernel.group = note
        for member, count in group.by_rows if kind == "rows" else ():
            member.kernel.row_loops = count


def _points(kernel: Kernel) -> int:
    """How often a kernel's expressions are computed."""
    return math.prod([v.size for v in (*kernel.space, *kernel.inner)])
