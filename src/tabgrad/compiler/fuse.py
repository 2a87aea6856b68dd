"""Cut the graph into kernels: decide which nodes are stored, and which kernel computes each.

Every folding primitive (reduction, window, contraction) is the heart of one kernel. Elementwise
and movement nodes live inside the kernels that use them; they are stored only when somebody outside
asks for them, or when recomputing them would cost more than a round trip through memory. What
follows a fold elementwise becomes its epilogue. Maps over one shape that feed each other become one
kernel with several stores.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Node, toposort

HEAVY = frozenset(
    """reduce_sum reduce_prod reduce_max reduce_min argmax argmin window_reduce window_argmax dot
    conv cumulative""".split()
)
UPDATES = frozenset({"scatter", "dynamic_update_slice"})
CONTROL = frozenset({"scan", "while", "cond"})
LEAVES = frozenset({"input", "value", "rows"})
VIEWS = frozenset({"reshape", "permute", "broadcast", "slice", "flip", "pad", "barrier"})

# Relative costs of computing one element again; 1 is an addition. Only ratios matter: a value used
# by two kernels is stored from `RECOMPUTE` on, which is about what a store and a load cost.
COSTS = {
    **dict.fromkeys(("exp", "log", "expm1", "log1p", "tanh", "sigmoid", "sin", "cos", "erf"), 12),
    **dict.fromkeys(("tan", "pow", "atan2", "mod", "floordiv"), 20),
    **dict.fromkeys(("div", "sqrt", "gather", "dynamic_slice"), 4),
    "threefry": 100,
    "gcd": 200,
}
RECOMPUTE = 4

# An expression larger than this is cut, so that kernels, their arguments and the recursion that
# lowers them stay bounded however long a chain of operations is.
MAX_COST, MAX_DEPTH, MAX_SOURCES = 400, 60, 32
MAX_REGION = 64
MAX_STORES = 8

# A concatenation is stored part by part from so many elements on, where parts are whole vectors.
MIN_JOINED = 256
VECTOR = 4


@dataclass
class Unit:
    """What one kernel (or a few launched together) computes: the `stored` nodes, from `core`."""

    kind: str  # "map", "join", "heavy", "update", "sort", "scan", "while" or "cond"
    stored: list[Node]
    core: Node | None = None
    needs: set[int] = field(default_factory=set)  # ids of stored nodes and leaves it reads
    # Of a join, which parts other units put where they belong in it, and where that begins.
    parts: dict[int, int] = field(default_factory=dict)

    @property
    def head(self) -> Node:
        """The node that stands for the unit."""
        return self.stored[0]


def is_inline(node: Node) -> bool:
    """True for nodes that can be part of other kernels' expressions."""
    name = node.prim.name
    if name == "proj":
        return node.srcs[0].prim.name == "threefry"
    return not any(name in kind for kind in (HEAVY, UPDATES, LEAVES, CONTROL)) and name != "sort"


def carry_of(node: Node) -> tuple[int, int]:
    """Which sources of a loop are its first carry: from, up to. None are for a cond."""
    if node.prim.name == "cond":
        return len(node.srcs), len(node.srcs)
    first = node.params["n_const"]
    return first, first + node.params["n_carry"] if "n_carry" in node.params else len(node.srcs)


def fuse(graph: EntryGraph) -> list[Unit]:
    """The units of a graph, in an order in which they can run."""
    # A state that stays what it is needs no kernel.
    changed = [node for at, node in graph.updates if node is not graph.state[at]]
    roots = [*graph.outputs, *changed]
    return _Fusion(graph, roots).units()


class _Fusion:
    def __init__(self, graph: EntryGraph, roots: Sequence[Node]) -> None:
        self.graph = graph
        self.order = toposort(roots)
        self.rank = {id(node): i for i, node in enumerate(self.order)}
        self.roots = {id(root) for root in roots}
        self.users: dict[int, list[Node]] = {id(node): [] for node in self.order}
        for node in self.order:
            for src in dict.fromkeys(node.srcs):
                self.users[id(src)].append(node)
        self.stored: set[int] = set()
        self.cut: set[int] = set()  # those stored to keep expressions short

    def units(self) -> list[Unit]:
        self._store_what_is_asked_for()
        self._store_what_is_shared()
        self._store_what_is_too_long()
        heavy, taken = self._epilogues()
        joins = self._joins()
        units = [*heavy, *joins, *self._maps(taken | {id(unit.head) for unit in joins})]
        return self._in_order(units)

    # What is stored

    def _store_what_is_asked_for(self) -> None:
        for node in self.order:
            if id(node) in self.roots or not is_inline(node):
                if len(node.outs) == 1:
                    self.stored.add(id(node))
            if node.prim.name in ("dot", "conv"):
                for operand in node.srcs:
                    self._store_base(operand)
            elif node.prim.name in CONTROL:
                # Read from memory in every turn; a first carry is written where the carry lives.
                for operand in (*node.srcs[: carry_of(node)[0]], *node.srcs[carry_of(node)[1] :]):
                    self.stored.add(id(operand))

    def _store_base(self, operand: Node) -> None:
        """Operands of contractions are views of something in memory: a panel of them is read many
        times, so whatever has to be computed is computed once, before."""
        while operand.prim.name in VIEWS:
            operand = operand.srcs[0]
        if operand.prim.name not in ("const", "array"):
            self.stored.add(id(operand))

    def _store_what_is_shared(self) -> None:
        costs = self._costs(capped=False)
        kernels: dict[int, set[int]] = {}
        for node in reversed(self.order):
            key = id(node)
            if len(node.outs) > 1:
                continue
            reached: set[int] = set()
            for user in self.users[key]:
                for one in self._through_outputs(user):
                    reached |= {id(one)} if not self._flows(one) else kernels[id(one)]
            kernels[key] = reached if len(reached) < 3 else set(list(reached)[:3])
            if key in self.stored or costs[key] < RECOMPUTE:
                continue
            if len(reached) > 1 or any(self._repeats(user, node) for user in self.users[key]):
                self.stored.add(id(self._without_border(node)))
        # The costs above counted everything below as recomputed; nodes that turned out cheap now
        # that their sources are stored need not be.
        real = self._costs(capped=True)
        for node in self.order:
            key = id(node)
            asked = key in self.roots or not is_inline(node)
            if key in self.stored and not asked and real[key] < RECOMPUTE - 1:
                if not any(user.prim.name in HEAVY or user.prim.name in CONTROL or
                           user.prim.name in VIEWS for user in self.users[key]):  # fmt: skip
                    self.stored.discard(key)

    def _flows(self, node: Node) -> bool:
        return is_inline(node) and id(node) not in self.stored

    def _through_outputs(self, user: Node) -> list[Node]:
        return self.users[id(user)] if len(user.outs) > 1 and is_inline(user) else [user]

    def _repeats(self, user: Node, node: Node) -> bool:
        name = user.prim.name
        if name == "broadcast":
            return node.size > 1 and user.size > node.size
        if name.startswith("window"):
            p = user.params
            return any(w > s for w, s in zip(p["window"], p["strides"], strict=True))
        return name in ("gather", "dynamic_slice") and user.srcs[0] is node

    def _without_border(self, node: Node) -> Node:
        """What is stored for a window: a border or holes around it (but for the last axis, where
        vectors are) cost less than the memory they would fill."""
        users = self.users[id(node)]
        p = node.params
        if node.prim.name != "pad" or len(users) > 1 or users[0].prim.name != "window_reduce":
            return node
        return node if p["low"][-1] or p["high"][-1] or p["interior"][-1] else node.srcs[0]

    def _costs(self, capped: bool) -> dict[int, int]:
        """Cost of one element of each node; with `capped`, stored nodes cost nothing to use."""
        costs: dict[int, int] = {}
        for node in self.order:
            name = node.prim.name
            if name in LEAVES or not is_inline(node):
                costs[id(node)] = 0
                continue
            movement = node.prim.family == "movement" or name in ("const", "array", "iota", "proj")
            total = 0 if movement else COSTS.get(name, 1)
            for src in dict.fromkeys(node.srcs):
                if not (capped and id(src) in self.stored):
                    total += costs[id(src)]
            costs[id(node)] = min(total, 1 << 30)
        return costs

    def _store_what_is_too_long(self) -> None:
        cost: dict[int, int] = {}
        depth: dict[int, int] = {}
        reads: dict[int, frozenset[int]] = {}
        for node in self.order:
            key = id(node)
            if not (self._flows(node) or len(node.outs) > 1):
                cost[key], depth[key], reads[key] = 0, 0, frozenset((key,))
                if not is_inline(node):
                    continue
            total = COSTS.get(node.prim.name, 1) if node.srcs else 0
            deepest, sources = 0, frozenset[int]()
            for src in dict.fromkeys(node.srcs):
                total += cost[id(src)]
                deepest = max(deepest, depth[id(src)])
                sources |= reads[id(src)]
            if total > MAX_COST:
                total = self._cost_together(node)
            too_long = total > MAX_COST or deepest >= MAX_DEPTH or len(sources) > MAX_SOURCES
            if too_long and self._flows(node) and len(node.outs) == 1:
                self.stored.add(key)
                self.cut.add(key)
            if self._flows(node) or len(node.outs) > 1:
                cost[key], depth[key], reads[key] = total, deepest + 1, sources
            else:
                cost[key], depth[key], reads[key] = 0, 0, frozenset((key,))

    def _cost_together(self, node: Node) -> int:
        """What an expression costs when parts it has more than once count once; more than
        `MAX_COST` as soon as that is known."""
        total, seen, stack = 0, {id(node)}, [node]
        while stack and total <= MAX_COST:
            at = stack.pop()
            total += COSTS.get(at.prim.name, 1) if at.srcs else 0
            for src in at.srcs:
                if id(src) not in seen and (self._flows(src) or len(src.outs) > 1):
                    seen.add(id(src))
                    stack.append(src)
        return total

    # Kernels

    def _epilogues(self) -> tuple[list[Unit], set[int]]:
        """A unit for each folding node, update and scan; and the nodes taken into epilogues."""
        units: list[Unit] = []
        taken: set[int] = set()
        for node in reversed(self.order):
            name = node.prim.name
            if name in HEAVY:
                epilogue = self._epilogue(node, taken)
                sink = epilogue[-1] if epilogue else node
                if epilogue:
                    self.stored.difference_update(map(id, (node, *epilogue)))
                    self.stored.add(id(sink))
                    # All of it, or another fold could end in the middle of this epilogue.
                    taken.update(map(id, epilogue))
                units.append(Unit("heavy", [sink], node))
            elif name in UPDATES:
                units.append(Unit("update", [node], node))
            elif name in CONTROL or name == "sort":
                outputs = [u for u in self.users[id(node)] if u.prim.name == "proj"]
                for output in outputs:
                    self.stored.add(id(output))
                units.append(Unit(name, outputs or [node], node))
        return units, taken

    def _epilogue(self, core: Node, taken: set[int]) -> list[Node]:
        """The nodes after a fold, up to the last such that everything between the fold and it is
        elementwise on the same elements and used nowhere else."""
        if id(core) in self.roots:
            return []
        best, waiting = 0, set(map(id, self.users[id(core)]))
        region: list[Node] = []
        while waiting and len(region) < MAX_REGION:
            node = self.order[min(self.rank[key] for key in waiting)]
            plain = node.prim.family == "elementwise" and len(node.outs) == 1
            if not (plain or node.prim.name == "reshape") or node.size != core.size:
                break
            if id(node) in taken or (
                core.prim.name in ("dot", "conv") and node.prim.name == "cast"
            ):
                break
            waiting.discard(id(node))
            region.append(node)
            closed = not waiting
            if closed and (core.prim.family != "contract" or node.dtype.is_float):
                best = len(region)
            if id(node) in self.stored:
                break
            waiting |= set(map(id, self.users[id(node)]))
        return self._turned(core, region[:best], taken)

    def _turned(self, core: Node, epilogue: list[Node], taken: set[int]) -> list[Node]:
        """An epilogue with a permutation (and reshapes) at its end, where nobody reads what is
        permuted: results go to their new places at once. The last axis stays the last, so that
        vectors stay whole."""
        sink = epilogue[-1] if epilogue else core
        turned: list[Node] = []
        while id(sink) not in self.roots and len(self.users[id(sink)]) == 1:
            (sink,) = self.users[id(sink)]
            if sink.prim.name != ("reshape" if turned else "permute") or id(sink) in taken:
                break
            if not turned and sink.params["axes"][-1] != len(sink.shape) - 1:
                break
            turned.append(sink)
            if id(sink) in self.stored:
                return [*epilogue, *turned]
        return epilogue

    def _joins(self) -> list[Unit]:
        """A unit for each concatenation that is stored, so that no element has to ask which part it
        is of. A part that is computed for it alone is put there at once by the kernel that computes
        it, which may store more of its shape; the others are copied."""
        units: list[Unit] = []
        costs = self._costs(capped=True)
        for node in self.order:
            if node.prim.name != "concatenate" or id(node) not in self.stored:
                continue
            small = node.size < MIN_JOINED or _run(node) < VECTOR
            if small or len(node.srcs) > MAX_STORES or self._is_steady(node):
                continue
            unit = Unit("join", [node], node)
            at = 0
            for src in node.srcs:
                alone = self.users[id(src)] == [node] and node.srcs.count(src) == 1
                if alone and src.size and costs[id(src)] and id(src) not in self.stored:
                    unit.parts[id(src)] = at
                    self.stored.add(id(src))
                at += src.shape[node.params["axis"]]
            units.append(unit)
        return units

    def _is_steady(self, node: Node) -> bool:
        """Whether it is made of constants and unchanged state. What one kernel makes of these alone
        may be kept from run to run, see invariant.py."""
        steady = {id(s) for s in self.graph.state} - {
            id(self.graph.state[at]) for at, _ in self.graph.updates
        }
        leaves = [leaf for leaf in toposort([node]) if leaf.prim.name in LEAVES]
        return all(id(leaf) in steady for leaf in leaves)

    def _maps(self, taken: set[int]) -> list[Unit]:
        groups: list[Unit] = []
        unit_of: dict[int, Unit] = {}
        by_shape: dict[tuple[int, ...], list[Unit]] = {}
        copies = [n for n in self.order if id(n) in self.roots and n.prim.name in LEAVES]
        for node in copies:
            groups.append(Unit("map", [node], needs={id(node)}))
        for node in self.order:
            key = id(node)
            if key not in self.stored or key in taken or not is_inline(node):
                continue
            needs, aligned = self._needs(node)
            home = None
            for unit in reversed(by_shape.get(node.shape, [])[-4:]):
                members = {id(n) for n in unit.stored}
                inside = needs & members
                shares = inside or any(self._big(n) for n in needs & unit.needs)
                if not shares or len(unit.stored) >= MAX_STORES or not inside <= aligned:
                    continue
                if len(needs | unit.needs) > MAX_SOURCES:
                    continue
                if self._depends(needs - members, unit, unit_of, node):
                    continue
                home = unit
                break
            if home is None:
                home = Unit("map", [])
                groups.append(home)
                by_shape.setdefault(node.shape, []).append(home)
            home.stored.append(node)
            home.needs |= needs - {id(n) for n in home.stored}
            unit_of[key] = home
        return groups

    def _big(self, key: int) -> bool:
        return self.order[self.rank[key]].size > 1

    def _needs(self, node: Node) -> tuple[set[int], set[int]]:
        """Stored nodes and leaves an expression reads, and those read at the same index only."""
        needs: set[int] = set()
        moved: set[int] = set()
        seen: set[tuple[int, bool]] = set()
        stack = [(src, self._aligned(node)) for src in node.srcs]
        while stack:
            at, same = stack.pop()
            key = id(at)
            if (key, same) in seen:
                continue
            seen.add((key, same))
            if key in self.stored or at.prim.name in LEAVES:
                needs.add(key)
                if not same:
                    moved.add(key)
                continue
            stack += [(src, same and self._aligned(at)) for src in at.srcs]
        return needs, needs - moved

    def _aligned(self, node: Node) -> bool:
        return node.prim.family == "elementwise" or node.prim.name == "proj"

    def _depends(
        self, keys: Container[int], unit: Unit, unit_of: Mapping[int, Unit], before: Node
    ) -> bool:
        """Whether any of these stored nodes, all `before` a node, needs a member of `unit` to be
        computed first. Asked forwards: units that may still grow have few users so far."""
        limit = self.rank[id(before)]
        stack, seen = list(unit.stored), {id(node) for node in unit.stored}
        while stack:
            for user in self.users[id(stack.pop())]:
                if id(user) in seen or self.rank[id(user)] >= limit:
                    continue
                home = unit_of.get(id(user))
                for node in (user,) if home is None else home.stored:
                    if id(node) in keys:
                        return True
                    seen.add(id(node))
                    stack.append(node)
        return False

    # Order

    def _in_order(self, units: list[Unit]) -> list[Unit]:
        producer: dict[int, int] = {}
        for i, unit in enumerate(units):
            for node in unit.stored:
                if node.prim.name not in LEAVES:
                    producer[id(node)] = i
        for unit in units:
            if unit.kind != "map":
                unit.needs = set()
                for node in unit.stored:
                    unit.needs |= self._unit_needs(node, unit.core)
                unit.needs -= {id(node) for node in unit.stored}
        self._keep_what_is_read(units)
        after: list[set[int]] = [set() for _ in units]
        for i, unit in enumerate(units):
            for key in unit.needs:
                if key in producer and producer[key] != i:
                    after[producer[key]].add(i)
        # A unit that overwrites a state should come after everybody who reads the old value.
        for position, new in self.graph.updates:
            state = self.graph.state[position]
            writer = producer.get(id(new))
            if writer is None:
                continue
            for i, unit in enumerate(units):
                if id(state) in unit.needs and i != writer and not _reaches(after, writer, i):
                    after[i].add(writer)
        waiting = [0] * len(units)
        for targets in after:
            for i in targets:
                waiting[i] += 1
        ranks = [max(self.rank[id(node)] for node in unit.stored) for unit in units]
        ready = [(ranks[i], i) for i, n in enumerate(waiting) if n == 0]
        heapq.heapify(ready)
        result: list[Unit] = []
        while ready:
            _, i = heapq.heappop(ready)
            result.append(units[i])
            for j in after[i]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    heapq.heappush(ready, (ranks[j], j))
        if len(result) != len(units):
            raise AssertionError("internal: kernels depend on each other in a circle")
        return result

    def _keep_what_is_read(self, units: Sequence[Unit]) -> None:
        """Values that were to be shared, but whose users all came into one kernel, stay in it."""
        wanted = self.roots | self.cut
        for unit in units:
            wanted |= unit.needs
        for unit in units:
            if unit.kind == "map":
                unit.stored = [n for n in unit.stored if id(n) in wanted] or unit.stored[-1:]

    def _unit_needs(self, node: Node, core: Node | None) -> set[int]:
        """What a unit with a core reads: below its sink, through the core, to stored nodes."""
        needs: set[int] = set()
        seen: set[int] = set()
        stack = [node]
        while stack:
            at = stack.pop()
            if id(at) in seen:
                continue
            seen.add(id(at))
            stops = id(at) in self.stored or at.prim.name in LEAVES
            if at is not node and at is not core and stops:
                needs.add(id(at))
                continue
            stack += at.srcs
        return needs


def _run(node: Node) -> int:
    """How many neighbouring elements come from one part of a concatenation, at the least."""
    axis = node.params["axis"]
    inner = math.prod(node.shape[axis + 1 :])
    return min([src.shape[axis] * inner for src in node.srcs if src.size], default=0)


def _reaches(after: Sequence[set[int]], start: int, goal: int) -> bool:
    stack, seen = [start], {start}
    while stack:
        i = stack.pop()
        if i == goal:
            return True
        for j in after[i]:
            if j not in seen:
                seen.add(j)
                stack.append(j)
    return False
