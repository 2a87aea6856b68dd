"""Which launches need which others to have run: by what they read and write in memory.

Made from launches in an order that works; asked for other orders that do.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.kernel import Launch

FARTHEST = 500  # launches looked at before `reaches` gives up


class Dependence:
    """The launches by number, and for each those it `needs` and those `after` it."""

    def __init__(self, launches: Sequence[Launch]) -> None:
        self.launches = dict(enumerate(launches))
        self.needs: dict[int, set[int]] = {i: set() for i in self.launches}
        self.after: dict[int, set[int]] = {i: set() for i in self.launches}
        # The highest number that a launch up to each number has taken in: beyond it numbers are an
        # order that works.
        self._tops = list(self.launches)
        writer: dict[int, int] = {}
        readers: dict[int, list[int]] = {}
        for i, launch in self.launches.items():
            reads = {id(b.root) for b in launch.reads()}
            writes = {id(b.root) for b in launch.writes()}
            for key in reads | writes:
                if key in writer:
                    self.needs[i].add(writer[key])
            for key in writes:
                self.needs[i].update(readers.pop(key, ()))
                writer[key] = i
            for key in reads:
                readers.setdefault(key, []).append(i)
            self.needs[i].discard(i)
            for j in self.needs[i]:
                self.after[j].add(i)

    def reaches(self, start: int, goals: set[int]) -> bool:
        """Whether one of `goals` comes after `start` in every order; True also when that would take
        long to find out."""
        last = max(goals, default=-1)
        while last >= 0 and self._tops[last] > last:
            last = self._tops[last]
        seen, stack = {start}, [start]
        while stack:
            for j in self.after[stack.pop()]:
                if j in goals:
                    return True
                # What comes later than all that was taken in before `last` cannot lead back.
                if j not in seen and j <= last:
                    seen.add(j)
                    stack.append(j)
            if len(seen) > FARTHEST:
                return True
        return False

    def merge(self, i: int, j: int) -> None:
        """Launch j has become part of launch i."""
        del self.launches[j]
        for n in range(i, j):
            if self._tops[n] >= j:
                break
            self._tops[n] = j
        for k in self.needs.pop(j):
            self.after[k].discard(j)
            if k != i:
                self.after[k].add(i)
                self.needs[i].add(k)
        for k in self.after.pop(j):
            self.needs[k].discard(j)
            if k != i:
                self.needs[k].add(i)
                self.after[i].add(k)
