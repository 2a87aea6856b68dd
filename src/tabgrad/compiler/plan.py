"""From units to kernels on buffers: where each value lives, and the launches of an entry.

Outputs and updated states are written directly where possible. A state that a kernel still reads
elsewhere while writing it goes through a temporary and is copied at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tabgrad.compiler.fuse import LEAVES, Unit, fuse
from tabgrad.compiler.lower import Lowering, heavy_kernel, update_kernels
from tabgrad.dtypes import DType
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import Graph, Node
from tabgrad.ir.index import Index, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Loop, Store, walk


@dataclass
class Plan:
    """An entry as kernels and loops in launch order. `arena` is the bytes temporaries need."""

    graph: EntryGraph
    launches: list[Kernel | Loop]
    constants: list[Buffer]
    temporaries: list[Buffer] = field(default_factory=list)
    arena: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of one run, counting a multiply-add as two."""
        return _flops(self.launches)


def _flops(launches: Sequence[Kernel | Loop]) -> int:
    return sum(x.flops if isinstance(x, Kernel) else x.length * _flops(x.body) for x in launches)


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
    launches = _Planner(graph, inputs, outputs, constants, temporaries).launches()
    _name(launches, itertools.count())
    return Plan(graph, launches, constants, temporaries)


def _name(launches: Sequence[Kernel | Loop], numbers: Iterator[int]) -> None:
    for launch in launches:
        kind = launch.kind if isinstance(launch, Kernel) else "loop"
        launch.name = f"{kind}_{next(numbers)}"
        if isinstance(launch, Loop):
            _name(launch.body, numbers)


class _Planner:
    """Plans one graph: an entry, or the body of a scan, whose ports are buffers of the entry's."""

    def __init__(
        self,
        graph: EntryGraph,
        inputs: Sequence[Buffer],
        outputs: Sequence[Buffer],
        constants: list[Buffer],
        temporaries: list[Buffer],
    ) -> None:
        self.graph = graph
        self.units = fuse(graph)
        self.constants = constants
        self.temporaries = temporaries
        self.done: list[Kernel | Loop] = []
        self.late: list[Kernel] = []
        self.position = 0
        self.buffers: dict[int, Buffer] = {
            id(node): buffer for node, buffer in zip(graph.inputs, inputs, strict=True)
        }
        self.states: list[Buffer] = []
        for slot, node in enumerate(graph.state):
            self.states.append(Buffer(f"s{slot}", "state", node.size, node.dtype, slot))
            self.buffers[id(node)] = self.states[-1]
        self.targets: dict[int, list[Buffer]] = {}
        for node, out in zip(graph.outputs, outputs, strict=True):
            self.targets.setdefault(id(node), []).append(out)
        for position, node in graph.updates:
            if node is not graph.state[position]:
                self.targets.setdefault(id(node), []).append(self.states[position])
        self.low = Lowering(self.buffers, self.constants)

    def launches(self) -> list[Kernel | Loop]:
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
            else:
                self._scan(unit)
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
        if places[0].role == "state":
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
        places = [self._places(node) for node in unit.stored]
        for node, expr, buffers in zip(unit.stored, exprs, places, strict=True):
            for buffer in buffers:
                kernel.stores.append(Store(buffer, where, expr))
                kernel.nodes += (node,)
            if node.prim.name not in LEAVES:
                self.buffers[id(node)] = buffers[0]
        self._add(kernel)

    def _heavy(self, unit: Unit) -> None:
        core, sink = unit.core, unit.head
        assert core is not None
        kernel, at = heavy_kernel(self.low, core)
        acc = Expr("acc", core.dtype)
        self.low.at_hand[id(core)] = lambda _: acc
        where = flatten(at, core.shape)
        expr = self.low.element(sink, unflatten(where, sink.shape)) if sink is not core else acc
        places = self._places(sink)
        kernel.stores = [Store(buffer, where, expr) for buffer in places]
        kernel.nodes = (sink,) * len(places)
        kernel.flops += sink.size * _arithmetic([expr])
        self.low.at_hand.clear()
        self.buffers[id(sink)] = places[0]
        self._add(kernel)

    def _update(self, unit: Unit) -> None:
        node = unit.head
        home, *others = self._places_written_early(node)
        for kernel in update_kernels(self.low, node, home):
            self._add(kernel)
        self.buffers[id(node)] = home
        self.late += [self._copy(home, place) for place in others]

    def _scan(self, unit: Unit) -> None:
        """A loop around the body's kernels. The carry lives in buffers of its own: a turn reads
        them, writes the new carry elsewhere and copies it over at its end."""
        node = unit.core
        assert node is not None
        p = node.params
        body: Graph = p["body"]
        n_const, n_carry = p["n_const"], p["n_carry"]
        loop = Loop("", p["length"], p["reverse"], node)
        sources = [self.buffers[id(src)] for src in node.srcs]
        places: dict[int, list[Buffer]] = {}
        for output in unit.stored:
            found = self._places_written_early(output)
            places[output.params["index"] if output is not node else 0] = found
            self.buffers[id(output)] = found[0]
        stacked = [
            places[i][0] if i in places else self._temporary(_size(aval.shape), aval.dtype)
            for i, aval in enumerate(node.outs)
        ]
        carry, ys = stacked[:n_carry], stacked[n_carry:]
        fresh = [self._temporary(b.size, b.dtype) for b in carry]
        for source, own in zip(sources[n_const : n_const + n_carry], carry, strict=True):
            self._add(self._copy(source, own))
        inputs = [*sources[:n_const], *carry]
        inputs += [_slice(xs, loop) for xs in sources[n_const + n_carry :]]
        graph = EntryGraph(
            "body",
            [Argument(x, "") for x in body.inputs],
            [],
            [Result(y, "") for y in body.outputs],
        )
        outputs = [*fresh, *(_slice(y, loop) for y in ys)]
        planner = _Planner(graph, inputs, outputs, self.constants, self.temporaries)
        loop.body = planner.launches()
        loop.body += [self._copy(new, own) for new, own in zip(fresh, carry, strict=True)]
        self.done.append(loop)
        for home, *others in places.values():
            self.late += [self._copy(home, place) for place in others]

    def _copy(self, source: Buffer, target: Buffer) -> Kernel:
        self.low.restart_names()
        (loop,) = self.low.loops((source.size,), "i")
        at = Index.of(loop)
        return Kernel("map", (loop,), [Store(target, at, self.low.load(source, at))])

    def _add(self, kernel: Kernel) -> None:
        """Append a kernel, sending states it must not write yet through temporaries."""
        for i, store in enumerate(kernel.stores):
            if store.buffer.role != "state" or self._may_write(kernel, store):
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
