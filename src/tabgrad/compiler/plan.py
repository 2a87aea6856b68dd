"""From units to kernels on buffers: where each value lives, and the launches of an entry.

Outputs and updated states are written directly where possible. A state that a kernel still reads
elsewhere while writing it goes through a temporary and is copied at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tabgrad.compiler.asked import Readers
from tabgrad.compiler.fuse import LEAVES, Unit, fuse
from tabgrad.compiler.lower import Lowering, heavy_kernel, place_in, update_kernels
from tabgrad.dtypes import DType, bool_
from tabgrad.ir.control import projections
from tabgrad.ir.entry import Argument, EntryGraph, Result, State
from tabgrad.ir.graph import Graph, Node
from tabgrad.ir.index import Index, flatten, unflatten
from tabgrad.ir.kernel import Branch, Buffer, Expr, Kernel, Launch, Loop, Store, While, walk


@dataclass
class Plan:
    """An entry as kernels and loops in launch order. `arena` is the bytes temporaries need.
    `derivations` come before and only when state has changed, see invariant.py; what they leave
    needs `derived` bytes."""

    graph: EntryGraph
    launches: list[Launch]
    constants: list[Buffer]
    temporaries: list[Buffer] = field(default_factory=list)
    arena: int = 0
    derivations: list[Launch] = field(default_factory=list)
    derived: int = 0
    buffers: list[int] = field(default_factory=list)  # words of each, where there is no arena

    @property
    def flops(self) -> int:
        """Floating-point operations of one run, counting a multiply-add as two."""
        return _flops(self.launches)


def _flops(launches: Sequence[Launch]) -> int:
    """Of a loop that ends at run time, one turn is counted; of branches, the longest."""
    total = 0
    for launch in launches:
        if isinstance(launch, Kernel):
            total += launch.flops
            continue
        inside = [_flops(body) for body in launch.bodies()]
        if isinstance(launch, Branch):
            total += max(inside)
        else:
            total += sum(inside) * (launch.length if isinstance(launch, Loop) else 1)
    return total


def plan(graph: EntryGraph) -> Plan:
    """Fuse a simplified graph and give every stored value a buffer."""
    constants: list[Buffer] = []
    temporaries: list[Buffer] = []
    inputs = [
        Buffer(f"x{slot}", "input", node.size, node.dtype, slot)
        for slot, node in enumerate(graph.inputs)
    ]
    outputs = [
        Buffer(f"y{slot}", "output", node.size, node.dtype, slot)
        for slot, node in enumerate(graph.outputs)
    ]
    states = [
        Buffer(f"s{slot}", "state", node.size, node.dtype, slot)
        for slot, node in enumerate(graph.state)
    ]
    launches = _Planner(graph, inputs, states, outputs, constants, temporaries).launches()
    _name(launches, itertools.count())
    return Plan(graph, launches, constants, temporaries)


def _name(launches: Sequence[Launch], numbers: Iterator[int]) -> None:
    for launch in launches:
        launch.name = f"{launch.kind}_{next(numbers)}"
        for body in launch.bodies():
            _name(body, numbers)


class _Planner:
    """Plans one graph: an entry, or a closed graph inside, whose ports are buffers of the entry's
    and whose states are the carry of a loop."""

    def __init__(
        self,
        graph: EntryGraph,
        inputs: Sequence[Buffer],
        states: Sequence[Buffer],
        outputs: Sequence[Buffer],
        constants: list[Buffer],
        temporaries: list[Buffer],
    ) -> None:
        self.graph = graph
        self.units = fuse(graph)
        self.constants = constants
        self.temporaries = temporaries
        self.done: list[Launch] = []
        self.late: list[Kernel] = []
        self.position = 0
        self.buffers: dict[int, Buffer] = {
            id(node): buffer for node, buffer in zip(graph.inputs, inputs, strict=True)
        }
        self.states = list(states)
        self.kept = {id(buffer) for buffer in states}
        self.buffers |= {id(n): buffer for n, buffer in zip(graph.state, states, strict=True)}
        self.targets: dict[int, list[Buffer]] = {}
        for node, out in zip(graph.outputs, outputs, strict=True):
            self.targets.setdefault(id(node), []).append(out)
        for position, node in graph.updates:
            if node is not graph.state[position]:
                self.targets.setdefault(id(node), []).append(self.states[position])
        self.low = Lowering(self.buffers, self.constants)
        self.parts = {
            part: (unit.head, start) for unit in self.units for part, start in unit.parts.items()
        }

    @cached_property
    def readers(self) -> Readers:
        """Who reads what in the graph."""
        return Readers(self.graph)

    def launches(self) -> list[Launch]:
        """Kernels and loops in launch order."""
        for position, unit in enumerate(self.units):
            self.position = position
            self.low.restart_names()
            self.low.at_hand.clear()
            if unit.kind == "map":
                self._map(unit)
            elif unit.kind == "heavy":
                self._heavy(unit)
            elif unit.kind == "update":
                self._update(unit)
            elif unit.kind == "join":
                self._join(unit)
            else:
                {"sort": self._sort, "scan": self._scan, "while": self._while, "cond": self._cond}[
                    unit.kind
                ](unit)
        return [*self.done, *self.late]

    def _temporary(self, size: int, dtype: DType) -> Buffer:
        buffer = Buffer(f"t{len(self.temporaries)}", "temp", size, dtype)
        self.temporaries.append(buffer)
        return buffer

    def _places(self, node: Node) -> list[Buffer]:
        """The buffers a stored node goes to; the first is where others read it."""
        return self.targets.get(id(node)) or [self._temporary(node.size, node.dtype)]

    def _places_written_early(self, node: Node) -> list[Buffer]:
        """Places whose first may be written before the old values of states have been read."""
        places = self._places(node)
        if id(places[0]) in self.kept:
            places = [self._temporary(node.size, node.dtype), *places]
        return places

    def _map(self, unit: Unit) -> None:
        shape = unit.head.shape
        space = self.low.loops(shape, "i")
        at = tuple([Index.of(v) for v in space])
        exprs = [self.low.element(node, at) for node in unit.stored]
        kernel = Kernel("map", space, [])
        kernel.flops = unit.head.size * _arithmetic(exprs)
        where = flatten(at, shape)
        for node, expr in zip(unit.stored, exprs, strict=True):
            part = self.parts.get(id(node))
            if part is not None:
                kernel.stores.append(Store(self._whole(part[0]), place_in(*part, at), expr))
                kernel.nodes += (part[0],)
                continue
            buffers = self._places(node)
            for buffer in buffers:
                kernel.stores.append(Store(buffer, where, expr))
                kernel.nodes += (node,)
            if node.prim.name not in LEAVES:
                self.buffers[id(node)] = buffers[0]
        self._add(kernel)

    def _whole(self, node: Node) -> Buffer:
        """Where a concatenation is put together. No state: parts of it may still be read."""
        if id(node) not in self.buffers:
            home, *others = self._places_written_early(node)
            self.buffers[id(node)] = home
            self.late += [self._copy(home, place) for place in others]
        return self.buffers[id(node)]

    def _join(self, unit: Unit) -> None:
        """Put those parts into a concatenation that nobody has put there while computing them."""
        node, at = unit.head, 0
        home = self._whole(node)
        for src in node.srcs:
            if src.size and id(src) not in unit.parts:
                self.low.restart_names()
                space = self.low.loops(src.shape, "i")
                here = tuple([Index.of(v) for v in space])
                value = self.low.element(src, here)
                kernel = Kernel("map", space, [Store(home, place_in(node, at, here), value)])
                kernel.nodes = (node,)
                kernel.flops = src.size * _arithmetic([value])
                self._add(kernel)
            at += src.shape[node.params["axis"]]

    def _heavy(self, unit: Unit) -> None:
        core, sink = unit.core, unit.head
        assert core is not None
        kernel, at = heavy_kernel(self.low, core)
        acc = Expr("acc", core.dtype)
        self.low.at_hand[id(core)] = lambda _: acc
        where = flatten(at, core.shape)
        turned = sink  # an epilogue may end with a permutation, and reshapes after it
        while turned.prim.name == "reshape":
            turned = turned.srcs[0]
        last = turned.srcs[0] if turned.prim.name == "permute" else sink
        place = unflatten(where, last.shape)
        expr = self.low.element(last, place) if last is not core else acc
        if last is not sink:
            where = flatten(tuple([place[axis] for axis in turned.params["axes"]]), turned.shape)
        places = self._places(sink)
        kernel.stores = [Store(buffer, where, expr) for buffer in places]
        kernel.nodes = (sink,) * len(places)
        kernel.flops += sink.size * _arithmetic([expr])
        self.low.at_hand.clear()
        self.buffers[id(sink)] = places[0]
        self._add(kernel)

    def _update(self, unit: Unit) -> None:
        node = unit.head
        if self._updates_in_place(node):
            return
        home, *others = self._places_written_early(node)
        for kernel in update_kernels(self.low, node, home):
            self._add(kernel)
        self.buffers[id(node)] = home
        self.late += [self._copy(home, place) for place in others]

    def _updates_in_place(self, node: Node) -> bool:
        """Update a state where it is, without a copy: if nobody reads it later, and what is put
        into it does not come from it."""
        old = node.srcs[0]
        home, *others = self.targets.get(id(node), [None])
        if home is None or self.buffers.get(id(old)) is not home or id(home) not in self.kept:
            return False
        if any(id(old) in unit.needs for unit in self.units[self.position + 1 :]):
            return False
        _, update = update_kernels(self.low, node, home)
        self.low.restart_names()
        if any(buffer is home for buffer in update.reads()):
            return False
        self.buffers[id(node)] = home
        self._add(update)
        self.late += [self._copy(home, place) for place in others if place is not None]
        return True

    def _sort(self, unit: Unit) -> None:
        """Everything to be sorted is put in its place in the old order, then sorted there. Payloads
        that nobody reads are left out."""
        node = unit.core
        assert node is not None
        homes = self._homes(unit)
        key, used = node.srcs[0], sorted(homes.keys() | {0})
        for i in used:
            homes.setdefault(i, self._temporary(key.size, node.outs[i].dtype))
        buffers = [homes[i] for i in used]
        space = self.low.loops(key.shape, "i")
        at = tuple([Index.of(v) for v in space])
        where = flatten(at, key.shape)
        values = [self.low.element(node.srcs[i], at) for i in used]
        stores = [Store(b, where, value) for b, value in zip(buffers, values, strict=True)]
        self._add(Kernel("map", space, stores))
        self.low.restart_names()
        *outer, n = key.shape
        last = self.readers.last_asked(node)
        row, column = self.low.loops((_size(outer), n), "i")
        place = Index.of(row) * n + Index.of(column)
        self._add(
            Kernel(
                "sort",
                (row,),
                [Store(b, place, self.low.load(b, place)) for b in buffers],
                (column,),
                scratch=tuple([self._temporary(b.size, b.dtype) for b in buffers]),
                nodes=tuple([projections(node)[i] for i in used]),
                last=0 if last == n else last,
            )
        )

    def _homes(self, unit: Unit) -> dict[int, Buffer]:
        """Buffers for those outputs of a node with several that are asked for, by their number."""
        homes: dict[int, Buffer] = {}
        for output in unit.stored:
            home, *others = self._places_written_early(output)
            homes[output.params["index"] if output is not unit.core else 0] = home
            self.buffers[id(output)] = home
            self.late += [self._copy(home, place) for place in others]
        return homes

    def _scan(self, unit: Unit) -> None:
        """A loop around the body's kernels. The carry lives in buffers of its own, which a turn
        updates as a Program does its states."""
        node = unit.core
        assert node is not None
        p = node.params
        body: Graph = p["body"]
        n_const, n_carry = p["n_const"], p["n_carry"]
        loop = Loop("", p["length"], p["reverse"], node)
        homes = self._homes(unit)
        carry = self._carry(homes, node.srcs[n_const : n_const + n_carry])
        inputs = [self.buffers[id(src)] for src in node.srcs[:n_const]]
        xs = [self.buffers[id(src)] for src in node.srcs[n_const + n_carry :]]
        inputs += [_slice(x, loop) for x in xs]
        kept = [i for i in range(n_carry, len(node.outs)) if i in homes]
        loop.body = self._inner(
            [*body.inputs[:n_const], *body.inputs[n_const + n_carry :]],
            inputs,
            [(body.outputs[i], _slice(homes[i], loop)) for i in kept],
            body.inputs[n_const : n_const + n_carry],
            carry,
            body.outputs[:n_carry],
        )
        self.done.append(loop)

    def _while(self, unit: Unit) -> None:
        """A test and a body, which share a carry as it is in `_scan`."""
        node = unit.core
        assert node is not None
        test, body, n_const = node.params["test"], node.params["body"], node.params["n_const"]
        consts = [self.buffers[id(src)] for src in node.srcs[:n_const]]
        carry = self._carry(self._homes(unit), node.srcs[n_const:])
        flag = self._temporary(1, bool_)
        loop = While("", node, flag, outputs=[(out, self.buffers[id(out)]) for out in unit.stored])
        loop.test = self._inner(test.inputs, [*consts, *carry], [(test.outputs[0], flag)])
        loop.body = self._inner(
            body.inputs[:n_const], consts, [], body.inputs[n_const:], carry, body.outputs
        )
        self.done.append(loop)

    def _cond(self, unit: Unit) -> None:
        """The kernels of all branches, all of which write to the same buffers."""
        node = unit.core
        assert node is not None
        index, *sources = [self.buffers[id(src)] for src in node.srcs]
        homes = self._homes(unit)
        outputs = [(out, self.buffers[id(out)]) for out in unit.stored]
        choice = Branch("", node, index, outputs=outputs)
        for i in range(node.params["branches"]):
            graph: Graph = node.params[f"branch{i}"]
            results = [(graph.outputs[at], home) for at, home in homes.items()]
            choice.branches.append(self._inner(graph.inputs, sources, results))
        self.done.append(choice)

    def _carry(self, homes: Mapping[int, Buffer], first: Sequence[Node]) -> list[Buffer]:
        """Buffers with the first carry of a loop."""
        carry = []
        for i, node in enumerate(first):
            own = homes.get(i) or self._temporary(node.size, node.dtype)
            self.low.restart_names()
            space = self.low.loops(node.shape, "i")
            at = tuple([Index.of(v) for v in space])
            value = self.low.element(node, at)
            store = Store(own, flatten(at, node.shape), value)
            kernel = Kernel("map", space, [store], nodes=(node,))
            kernel.flops = node.size * _arithmetic([value])
            self._add(kernel)
            carry.append(own)
        return carry

    def _inner(
        self,
        inputs: Sequence[Node],
        buffers: Sequence[Buffer],
        results: Sequence[tuple[Node, Buffer]],
        states: Sequence[Node] = (),
        carry: Sequence[Buffer] = (),
        updates: Sequence[Node] = (),
    ) -> list[Launch]:
        """The launches of a closed graph whose inputs and states are in these buffers."""
        graph = EntryGraph(
            "body",
            [Argument(node, "") for node in inputs],
            [State(node, "", new) for node, new in zip(states, updates, strict=True)],
            [Result(node, "") for node, _ in results],
        )
        homes = [home for _, home in results]
        planner = _Planner(graph, buffers, carry, homes, self.constants, self.temporaries)
        return planner.launches()

    def _copy(self, source: Buffer, target: Buffer) -> Kernel:
        self.low.restart_names()
        (loop,) = self.low.loops((source.size,), "i")
        at = Index.of(loop)
        return Kernel("map", (loop,), [Store(target, at, self.low.load(source, at))])

    def _add(self, kernel: Kernel) -> None:
        """Append a kernel, sending states it must not write yet through temporaries."""
        for i, store in enumerate(kernel.stores):
            if id(store.buffer) not in self.kept or self._may_write(kernel, store):
                continue
            stand_in = self._temporary(store.buffer.size, store.buffer.dtype)
            self.late.append(self._copy(stand_in, store.buffer))
            kernel.stores[i] = Store(stand_in, store.index, store.expr)
            for key, buffer in self.buffers.items():
                if buffer is store.buffer and not self._is_state_node(key):
                    self.buffers[key] = stand_in
        self.done.append(kernel)

    def _is_state_node(self, key: int) -> bool:
        return any(id(node) == key for node in self.graph.state)

    def _may_write(self, kernel: Kernel, store: Store) -> bool:
        """In place is safe when nobody reads the old value later, and this kernel reads it only at
        the element it is about to write."""
        folded = [e for e in (kernel.body, kernel.body_index, kernel.a, kernel.b) if e is not None]
        if any(e.buffer is store.buffer for e in walk(folded)):
            return False
        loads = [e for e in walk([s.expr for s in kernel.stores]) if e.buffer is store.buffer]
        if any(e.index != store.index for e in loads):
            return False
        old = next(n for n in self.graph.state if self.buffers[id(n)] is store.buffer)
        return not any(id(old) in unit.needs for unit in self.units[self.position + 1 :])


def _slice(whole: Buffer, loop: Loop) -> Buffer:
    size = whole.size // loop.length if loop.length else 0
    return Buffer(f"{whole.name}[]", "slice", size, whole.dtype, parent=whole, loop=loop)


def _size(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _arithmetic(exprs: Sequence[Expr]) -> int:
    """Arithmetic operations in expressions, shared ones counted once."""
    quiet = {"load", "const", "index", "guard", "acc", "output"}
    return sum(expr.op not in quiet for expr in walk(exprs))
