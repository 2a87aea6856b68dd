"""How much of a sort is asked for: of the largest few, not all need to be sorted."""

from __future__ import annotations

from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Node, toposort


class Readers:
    """Who reads what in a graph."""

    def __init__(self, graph: EntryGraph) -> None:
        roots = [*graph.outputs, *(new for _, new in graph.updates)]
        self._given = set(map(id, roots))
        self._users: dict[int, list[Node]] = {}
        for user in toposort(roots):
            for src in user.srcs:
                self._users.setdefault(id(src), []).append(user)

    def last_asked(self, node: Node) -> int:
        """How many elements at the end of each row of a sort are read, by slices, also of what was
        flipped; the size of a row where anything else reads it."""
        if len(node.outs) == 1:
            return self._asked(node, False)
        parts = [user for user in self._users.get(id(node), ()) if user.prim.name == "proj"]
        return max([self._asked(part, False) for part in parts])

    def _asked(self, x: Node, flipped: bool) -> int:
        axis = len(x.shape) - 1
        n = x.shape[axis]
        if id(x) in self._given:
            return n
        most = 0
        for user in self._users.get(id(x), ()):
            if user.prim.name == "slice":
                start, stop = user.params["start"][axis], user.params["stop"][axis]
                most = max(most, stop if flipped else n - start)
            elif user.prim.name == "flip":
                most = max(most, self._asked(user, flipped != (axis in user.params["axes"])))
            else:
                return n
        return most
