"""An engine around another that checks every kernel it runs: TABGRAD_VALIDATE.

Programs are compiled a second time with copies after each kernel of what it stored; nothing else
about the kernels and their places in memory changes. After a run the reference evaluates, for each
stored node, the part of the graph that its kernel computes, from the values that earlier kernels
stored. So the first wrong kernel is found, not the output that it spoils.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tabgrad import config
from tabgrad.compiler import driver
from tabgrad.compiler.plan import Plan
from tabgrad.compiler.program import Port
from tabgrad.engines.reference.interpret import numpy
from tabgrad.errors import EngineError
from tabgrad.ir import build as b
from tabgrad.ir.entry import EntryGraph, Result
from tabgrad.ir.graph import Node, make, substitute, toposort
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import (
    Branch,
    Buffer,
    Expr,
    Kernel,
    Launch,
    Loop,
    Store,
    While,
    kernels_of,
)
from tabgrad.ir.text import format_graph, format_type


@dataclass(eq=False)
class Record:
    """A copy of what a kernel stored for a node, for each turn of the loops it is in."""

    node: Node
    kernel: Kernel | While | Branch
    loops: tuple[Loop, ...]
    slot: int
    values: Any = None  # an array: turns of the outermost loop first, then the node's shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Turns of the loops, then the node's shape."""
        return (*(loop.length for loop in self.loops), *self.node.shape)


class _Recorder:
    """A target that has another emit plans with copies added."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.kind, self.whole_buffers, self.room = target.kind, target.whole_buffers, target.room
        if self.whole_buffers:
            self.words = target.words
        self.plans: list[Plan] = []
        self.records: list[dict[int, list[Record]]] = []  # of each entry: by id of the kernel

    @property
    def features(self) -> Any:
        """Those the target has needed."""
        return self.target.features

    def prepare(self, plan: Plan) -> None:
        # Copies come between the kernels, so each runs alone, each time, and keeps all it computes.
        self.target.derives = False
        for kernel in kernels_of(plan.launches):
            kernel.group = None
        self.target.prepare(plan)

    def emit(self, plans: Sequence[Plan]) -> Any:
        self.plans = list(plans)
        for plan in plans:
            records: list[Record] = []
            plan.launches = _recorded(plan.launches, (), len(plan.graph.results), records)
            # A target counts the results to know where the slots of constants begin.
            more = [Result(r.node, f"record{i}") for i, r in enumerate(records)]
            plan.graph = replace(plan.graph, results=[*plan.graph.results, *more])
            by_kernel: dict[int, list[Record]] = {}
            for record in records:
                by_kernel.setdefault(id(record.kernel), []).append(record)
            self.records.append(by_kernel)
        return self.target.emit(plans)


def _recorded(
    launches: Sequence[Launch], loops: tuple[Loop, ...], slot: int, records: list[Record]
) -> list[Launch]:
    """The launches with copies after each kernel; `slot` is the first free place for an output."""
    result: list[Launch] = []
    # Of a value that several kernels store parts of, the last has it whole.
    last = {node: launch for launch in launches for node in getattr(launch, "nodes", ())}
    for launch in launches:
        result.append(launch)
        if isinstance(launch, Loop):
            launch.body = _recorded(launch.body, (*loops, launch), slot, records)
            continue
        for node, stored in dict.fromkeys(_stored_by(launch)):
            if last.get(node, launch) is not launch:
                continue
            record = Record(node, launch, loops, slot + len(records))
            records.append(record)
            size = node.size
            for loop in loops:
                size *= loop.length
            place = Buffer(f"record{record.slot}", "output", size, node.dtype, record.slot)
            for loop in loops:
                size //= max(loop.length, 1)
                place = Buffer(place.name, "slice", size, node.dtype, parent=place, loop=loop)
            at = Index.of(Var("i", node.size))
            load = Expr("load", node.dtype, buffer=stored, index=at)
            result.append(Kernel("map", (Var("i", node.size),), [Store(place, at, load)]))
    return result


def _stored_by(launch: Kernel | While | Branch) -> list[tuple[Node, Buffer]]:
    """The nodes whose values are in buffers after a launch. Of a loop or a branch that decides at
    run time only the end is looked at: nobody knows how much there is to record before."""
    if isinstance(launch, Kernel):
        pairs = zip(launch.nodes, launch.stores, strict=bool(launch.nodes))
        return [(node, store.buffer) for node, store in pairs]
    return launch.outputs


@dataclass(eq=False)
class _Loaded:
    inner: Any
    recorder: _Recorder
    graphs: list[EntryGraph] = field(default_factory=list)  # with the simplified nodes


class ValidatingEngine:
    """`inner`, with every kernel of every Program checked after each run; slow.

    `target` is the one that emits Programs for `inner`. A wrong kernel raises EngineError with the
    code "validate": which kernel and node, from which layer, the largest difference and where.
    """

    def __init__(self, inner: Any, target: Any) -> None:
        numpy()
        self.inner = inner
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def load(self, program: Any) -> _Loaded:
        """Load a Program as it is compiled with copies."""
        recorder = _Recorder(self._target)
        with config.override(debug=0):  # it was reported when it was compiled without
            watched = driver.compile(program.graphs, recorder)
        graphs = []
        for entry, plan, records in zip(
            watched.entries, recorder.plans, recorder.records, strict=True
        ):
            graphs.append(replace(plan.graph, results=plan.graph.results[: len(entry.outputs)]))
            for found in records.values():
                entry.outputs += [Port("", r.shape, r.node.dtype.name) for r in found]
        return _Loaded(self.inner.load(watched), recorder, graphs)

    def unload(self, loaded: _Loaded) -> None:
        """Forget a Program."""
        self.inner.unload(loaded.inner)

    def run(self, loaded: _Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        """Run an entry, then check what its kernels stored."""
        graph, plan = loaded.graphs[entry], loaded.recorder.plans[entry]
        by_kernel = loaded.recorder.records[entry]
        records = [record for found in by_kernel.values() for record in found]
        n_inputs, n_state = len(graph.inputs), len(graph.state)
        known: dict[Node, Any] = {make("rows"): numpy().asarray(rows, dtype="int32")}
        for argument, word in zip(graph.arguments, args, strict=False):
            node = argument.node
            raw = (word & 0xFFFFFFFF).to_bytes(4, "little")
            known[node] = _array(raw, node) if argument.scalar else self._read(word, node)
        for node, word in zip(graph.state, args[n_inputs:], strict=False):
            known[node] = self._read(word, node)
        places: list[int] = []
        try:
            for record in records:
                places.append(self.inner.alloc(_nbytes(record), record.node.dtype.name))
            self.inner.run(loaded.inner, entry, [*args, *places], rows)
            for record, place in zip(records, places, strict=True):
                raw = self.inner.read(place, _nbytes(record))
                record.values = _array(raw, record.node, record.shape)
        finally:
            for place in places:
                self.inner.free(place)
        check = _Check(graph, by_kernel)
        check.launches(plan.launches, known, ())
        words = [*args[n_inputs + n_state :], *(args[n_inputs + at] for at, _ in graph.updates)]
        ends = [(f"output {r.name}", r.node) for r in graph.results]
        ends += [(f"variable {s.variable}", s.update) for s in graph.states if s.update is not None]
        for word, (what, node) in zip(words, ends, strict=True):
            if not _equal(self._read(word, node), known[node]):
                raise EngineError(
                    f"{what} of {graph.name} does not hold what the kernels computed for it: some "
                    "kernel or copy was put at a wrong place, or in a wrong order. "
                    "TABGRAD_DEBUG=4 shows the memory plan",
                    code="validate",
                )

    def _read(self, handle: int, node: Node) -> Any:
        return _array(self.inner.read(handle, node.nbytes), node)


def _nbytes(record: Record) -> int:
    total = record.node.dtype.itemsize
    for n in record.shape:
        total *= n
    return total


def _array(raw: bytes, node: Node, shape: tuple[int, ...] | None = None) -> Any:
    return numpy().frombuffer(raw, node.dtype.name).reshape(node.shape if shape is None else shape)


def _equal(x: Any, y: Any) -> bool:
    return bool(((x == y) | ((x != x) & (y != y))).all())


class _Check:
    """Follows the launches of an entry, comparing what was stored with the reference."""

    def __init__(self, graph: EntryGraph, records: dict[int, list[Record]]) -> None:
        self.graph = graph
        self.records = records
        self.projections: dict[Node, list[Node]] = {}
        self._note_projections([*graph.outputs, *(node for _, node in graph.updates)])

    def _note_projections(self, roots: Sequence[Node]) -> None:
        for node in toposort(roots):
            if node.prim.name == "scan":
                self._note_projections(node.params["body"].outputs)
            elif node.prim.name == "proj":
                self.projections.setdefault(node.srcs[0], []).append(node)

    def launches(
        self, launches: Sequence[Launch], known: dict[Node, Any], turns: tuple[int, ...]
    ) -> None:
        """Check kernels in order; adds what they stored to `known`."""
        for launch in launches:
            if isinstance(launch, Loop):
                self._loop(launch, known, turns)
                continue
            for record in self.records.get(id(launch), []):
                stored = record.values[turns]
                self._compare(record, stored, known, turns)
                known[record.node] = stored

    def _loop(self, loop: Loop, known: dict[Node, Any], turns: tuple[int, ...]) -> None:
        np = numpy()
        node, p = loop.node, loop.node.params
        body, n_const, n_carry = p["body"], p["n_const"], p["n_carry"]
        values = [known[src] for src in node.srcs]
        consts, xs = values[:n_const], values[n_const + n_carry :]
        carry = values[n_const : n_const + n_carry]
        ys = [np.zeros(aval.shape, aval.dtype.name) for aval in node.outs[n_carry:]]
        order = range(loop.length)
        for turn in reversed(order) if loop.reverse else order:
            inside = dict(zip(body.inputs, [*consts, *carry, *(x[turn] for x in xs)], strict=True))
            inside[make("rows")] = known[make("rows")]
            self.launches(loop.body, inside, (*turns, turn))
            carry = [inside[output] for output in body.outputs[:n_carry]]
            for y, output in zip(ys, body.outputs[n_carry:], strict=True):
                if output in inside:  # what nobody asks for is not computed
                    y[turn] = inside[output]
        if len(node.outs) == 1:
            known[node] = [*carry, *ys][0]
        for projection in self.projections.get(node, []):
            known[projection] = [*carry, *ys][projection.params["index"]]

    def _compare(
        self, record: Record, stored: Any, known: dict[Node, Any], turns: tuple[int, ...]
    ) -> None:
        # NumPy is imported with this module's first use, not before.
        from tabgrad.engines.reference.rounding import differences, evaluate_with_error

        node = record.node
        if node.prim.name in ("input", "rows"):
            value, allowed = known[node], numpy().zeros(node.shape)
        else:
            value, allowed = evaluate_with_error(node, known)
        wrong = differences(stored, value, allowed)
        if not wrong.any():
            return
        np = numpy()
        worst = np.unravel_index(np.argmax(wrong), wrong.shape)
        place = f" at {list(map(int, worst))}" if worst else ""
        during = f", in turn {', '.join(map(str, turns))} of its loops" if turns else ""
        origin = " ".join(filter(None, node.origin))
        raise EngineError(
            f"kernel {record.kernel.name} of {self.graph.name} is wrong{during}: of the "
            f"{format_type(node)} it stores{f' (made in {origin})' if origin else ''}, "
            f"{np.count_nonzero(wrong)} of {wrong.size} elements differ from the reference. The "
            f"largest difference is {wrong[worst]:g}, {allowed[worst]:g} is allowed{place}: "
            f"expected {value[worst]!s}, computed {stored[worst]!s}\n{record.kernel.text()}\n"
            f"It computes\n{_text(node, known)}",
            code="validate",
        )


def _text(node: Node, known: dict[Node, Any]) -> str:
    """The part of the graph that is computed from known nodes."""
    cut = {n: b.input(n.shape, n.dtype) for n in known if n is not node and n.prim.name != "rows"}
    return format_graph(substitute([node], cut))
