"""From units to kernels on buffers: where each value lives, and the launches of an entry.

Outputs and updated states are written directly where possible. A state that a kernel still reads
elsewhere while writing it goes through a temporary and is copied at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tabgrad.compiler.fuse import LEAVES, Unit, fuse
from tabgrad.compiler.lower import Lowering, heavy_kernel, update_kernels
from tabgrad.compiler.program import EntryGraph
from tabgrad.errors import NotSupportedError
from tabgrad.ir.graph import Node
from tabgrad.ir.index import Index, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store, walk


@dataclass
class Plan:
    """An entry as kernels in launch order. `arena` is the bytes temporaries need."""

    graph: EntryGraph
    kernels: list[Kernel]
    constants: list[Buffer]
    temporaries: list[Buffer] = field(default_factory=list)
    arena: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of one run, counting a multiply-add as two."""
        return sum(kernel.flops for kernel in self.kernels)


def plan(graph: EntryGraph) -> Plan:
    """Fuse a simplified graph and give every stored value a buffer."""
    return _Planner(graph).plan()


class _Planner:
    def __init__(self, graph: EntryGraph) -> None:
        self.graph = graph
        self.units = fuse(graph)
        self.buffers: dict[int, Buffer] = {}
        self.constants: list[Buffer] = []
        self.temporaries: list[Buffer] = []
        self.kernels: list[Kernel] = []
        self.late: list[Kernel] = []
        self.position = 0
        for slot, node in enumerate(graph.inputs):
            self.buffers[id(node)] = Buffer(f"x{slot}", "input", node.size, node.dtype, slot)
        self.states: list[Buffer] = []
        for slot, node in enumerate(graph.state):
            self.states.append(Buffer(f"s{slot}", "state", node.size, node.dtype, slot))
            self.buffers[id(node)] = self.states[-1]
        self.targets: dict[int, list[Buffer]] = {}
        for slot, node in enumerate(graph.outputs):
            out = Buffer(f"y{slot}", "output", node.size, node.dtype, slot)
            self.targets.setdefault(id(node), []).append(out)
        for position, node in graph.updates:
            if node is not graph.state[position]:
                self.targets.setdefault(id(node), []).append(self.states[position])
        self.low = Lowering(self.buffers, self.constants)

    def plan(self) -> Plan:
        for self.position, unit in enumerate(self.units):
            self.low.restart_names()
            self.low.at_hand.clear()
            if unit.kind == "map":
                self._map(unit)
            elif unit.kind == "heavy":
                self._heavy(unit)
            elif unit.kind == "update":
                self._update(unit)
            else:
                raise NotSupportedError(f"internal: no plan for a unit of kind {unit.kind}")
        result = Plan(self.graph, [*self.kernels, *self.late], self.constants, self.temporaries)
        for i, kernel in enumerate(result.kernels):
            kernel.name = f"{kernel.kind}_{i}"
        return result

    def _temporary(self, node: Node) -> Buffer:
        buffer = Buffer(f"t{len(self.temporaries)}", "temp", node.size, node.dtype)
        self.temporaries.append(buffer)
        return buffer

    def _places(self, node: Node) -> list[Buffer]:
        """The buffers a stored node goes to; the first is where others read it."""
        return self.targets.get(id(node)) or [self._temporary(node)]

    def _map(self, unit: Unit) -> None:
        shape = unit.head.shape
        space = self.low.loops(shape, "i")
        at = tuple([Index.of(v) for v in space])
        exprs = [self.low.element(node, at) for node in unit.stored]
        kernel = Kernel("map", space, [], nodes=tuple(unit.stored))
        kernel.flops = unit.head.size * _arithmetic(exprs)
        where = flatten(at, shape)
        places = [self._places(node) for node in unit.stored]
        for node, expr, buffers in zip(unit.stored, exprs, places, strict=True):
            for buffer in buffers:
                kernel.stores.append(Store(buffer, where, expr))
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
        kernel.flops += sink.size * _arithmetic([expr])
        self.low.at_hand.clear()
        self.buffers[id(sink)] = places[0]
        self._add(kernel)

    def _update(self, unit: Unit) -> None:
        node = unit.head
        places = self._places(node)
        home = places[0]
        # The copy that comes first would overwrite a state which the update still reads.
        if home.role == "state":
            home = self._temporary(node)
            places = [home, *places]
        for kernel in update_kernels(self.low, node, home):
            self._add(kernel)
        self.buffers[id(node)] = home
        for place in places[1:]:
            self.late.append(self._copy(home, place))

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
            stand_in = Buffer(
                f"t{len(self.temporaries)}", "temp", store.buffer.size, store.buffer.dtype
            )
            self.temporaries.append(stand_in)
            self.late.append(self._copy(stand_in, store.buffer))
            kernel.stores[i] = Store(stand_in, store.index, store.expr)
            for key, buffer in self.buffers.items():
                if buffer is store.buffer and not self._is_state_node(key):
                    self.buffers[key] = stand_in
        self.kernels.append(kernel)

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


def _arithmetic(exprs: Sequence[Expr]) -> int:
    """Arithmetic operations in expressions, shared ones counted once."""
    quiet = {"load", "const", "index", "guard", "acc", "output"}
    return sum(expr.op not in quiet for expr in walk(exprs))
