"""Control primitives that decide at run time: `while` and `cond`, and the projection to one of
several outputs. Closed graphs see nothing but their inputs, so whatever they need from outside is a
source of the node. The loop with a known number of turns is in `scan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.dtypes import bool_, int32
from tabgrad.errors import NotSupportedError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import batched, repeated, size_of
from tabgrad.ir.graph import Aval, Graph, Node, Primitive, Rows, RowsMixedError, register
from tabgrad.ir.reverse import cotangents


@register
class Proj(Primitive):
    """Output `index` of a node with several."""

    name = "proj"
    family = "control"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        return (params["aval"],)

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        raise AssertionError("gradients reach a projection's source by index")

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        return srcs[0], ()


def projections(node: Node) -> list[Node]:
    """All outputs of a node, as single-output nodes."""
    if len(node.outs) == 1:
        return [node]
    return [b.proj(node, i) for i in range(len(node.outs))]


class Closed(Primitive):
    """Common ground of primitives that hold closed graphs."""

    family = "control"

    def rows(self, node: Node, srcs: Sequence[Rows | None]) -> tuple[Rows | None, tuple[int, ...]]:
        if any(r is not None for r in srcs):
            raise RowsMixedError(f"{self.name} over a batch of run-time size")
        return None, ()


@register
class While(Closed):
    """`carry = body(*consts, *carry)` as long as `test(*consts, *carry)` is True.

    Sources: constants, initial carries. Outputs: final carries.
    """

    name = "while"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        carry = list(srcs[params["n_const"] :])
        for graph in (params["test"], params["body"]):
            check_inputs(self.name, graph, srcs)
        test = [node.outs[0] for node in params["test"].outputs]
        if test != [Aval((), bool_)]:
            raise ShapeError(
                f"while expected a test that gives bool []; received {[show(a) for a in test]}"
            )
        outs = [node.outs[0] for node in params["body"].outputs]
        if outs != carry:
            raise ShapeError(
                f"while expected the body to return carries {[show(a) for a in carry]}; it "
                f"returns {[show(a) for a in outs]}"
            )
        return carry

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        raise NotSupportedError(
            "a while loop has no reverse gradient: how many turns it took is not known, so what "
            "they computed is not kept. Use fori_loop with bounds that are Python integers, or "
            "scan; or differentiate forwards, with tg.jvp"
        )

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        n_const, srcs, n = node.params["n_const"], node.srcs, len(node.srcs)
        flags = [t is not None for t in tangents]
        body, carrying = settled_pushforward(node.params["body"], flags, n_const, n - n_const)
        flags[n_const:] = carrying
        ends, test = (n_const, n), node.params["test"]
        twins = [b.input(x.shape, x.dtype) for x, on in zip(srcs, flags, strict=True) if on]
        new = b.make(
            "while",
            *by_role(srcs, given_tangents(srcs, tangents, flags), flags, ends),
            test=Graph(by_role(test.inputs, twins, flags, ends), test.outputs),
            body=Graph(
                by_role(body.inputs[:n], body.inputs[n:], flags, ends),
                body.outputs,
            ),
            n_const=n_const + sum(flags[:n_const]),
        )
        found = iter(projections(new)[n - n_const :])
        return [next(found) if on else None for on in carrying]

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        n_const, size = node.params["n_const"], size_of(srcs, batched)
        test: Graph = node.params["test"]
        flags = list(batched)
        if batched_outputs(test, flags, size)[1][0]:
            # Every example decides for itself, so all of its carry is its own.
            flags[n_const:] = [True] * len(node.outs)
        body, flags[n_const:] = settled_batch(
            node.params["body"], flags, n_const, len(node.outs), size
        )
        new_test, varies = batched_outputs(test, flags, size)
        if varies[0] and not all(flags[n_const:]):
            flags[n_const:] = [True] * len(node.outs)
            body, _ = settled_batch(node.params["body"], flags, n_const, len(node.outs), size)
            new_test, varies = batched_outputs(test, flags, size)
        carry = [
            repeated(src, size, had) if on else src
            for src, on, had in zip(srcs[n_const:], flags[n_const:], batched[n_const:], strict=True)
        ]
        if varies[0]:
            # The loop goes on while any example does; those that have ended keep their carry.
            (running,) = new_test.outputs
            again = b.reduce("reduce_max", running, (0,))
            (still,) = new_test(*body.inputs)
            outs = [
                b.select(b.broadcast(still, out.shape, (0,)), out, old)
                for out, old in zip(body.outputs, body.inputs[n_const:], strict=True)
            ]
            body, new_test = Graph(body.inputs, outs), Graph(new_test.inputs, [again])
        new = b.make("while", *srcs[:n_const], *carry, test=new_test, body=body, n_const=n_const)
        return [
            repeated(out, size, on)
            for out, on in zip(projections(new), flags[n_const:], strict=True)
        ]


@register
class Cond(Closed):
    """`branch{index}(*operands)`: of several closed graphs only one runs. `index` is a 0-d int32,
    clamped to the branches there are."""

    name = "cond"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        index, *operands = srcs
        if index != Aval((), int32):
            raise ShapeError(f"cond expected an index int32 []; received {show(index)}")
        outs: list[Aval] = []
        for number, graph in enumerate(branches_of(params)):
            check_inputs(self.name, graph, operands)
            found = [node.outs[0] for node in graph.outputs]
            if number and found != outs:
                raise ShapeError(
                    "cond expected branches with results of the same shapes and dtypes; received "
                    f"{[show(a) for a in outs]} and {[show(a) for a in found]}"
                )
            outs = found
        return outs

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        operands = node.srcs[1:]
        arriving = [(i, g) for i, g in enumerate(grads) if g is not None and g.dtype.is_float]
        floats = [i for i, src in enumerate(operands) if src.dtype.is_float]
        backs: list[tuple[list[Node], list[Node | None]]] = []
        for graph in branches_of(node.params):
            given = [b.input(g.shape, g.dtype) for _, g in arriving]
            outs = [graph.outputs[i] for i, _ in arriving]
            found = cotangents(outs, given, [graph.inputs[i] for i in floats])
            backs.append(([*graph.inputs, *given], found))
        reached = [
            at for at in range(len(floats)) if any(found[at] is not None for _, found in backs)
        ]
        answer: list[Node | None] = [None] * len(node.srcs)
        if not reached:
            return answer
        graphs = []
        for inputs, found in backs:
            results = [(found[at], inputs[floats[at]]) for at in reached]
            graphs.append(Graph(inputs, [g if g is not None else b.like(x, 0) for g, x in results]))
        outputs = projections(cond(node.srcs[0], [*operands, *(g for _, g in arriving)], graphs))
        for at, g in zip(reached, outputs, strict=True):
            answer[1 + floats[at]] = g
        return answer

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        operands, given = node.srcs[1:], [t for t in tangents[1:] if t is not None]
        flags = [t is not None for t in tangents[1:]]
        some = [pushforward(graph, flags)[1] for graph in branches_of(node.params)]
        wanted = [any(found) for found in zip(*some, strict=True)]
        graphs = [pushforward(graph, flags, wanted)[0] for graph in branches_of(node.params)]
        outputs = projections(cond(node.srcs[0], [*operands, *given], graphs))
        found = iter(outputs[len(node.outs) :])
        return [next(found) if on else None for on in wanted]

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        (index, *operands), flags = srcs, list(batched[1:])
        graphs, size = branches_of(node.params), size_of(srcs, batched)
        if not batched[0]:
            mapped = []
            for graph in graphs:
                one, varies = batched_outputs(graph, flags, size)
                outs = [repeated(x, size, on) for x, on in zip(one.outputs, varies, strict=True)]
                mapped.append(Graph(one.inputs, outs))
            return projections(cond(index, operands, mapped))
        # Examples that differ in their branch: all branches, and one result picked for each.
        results: list[list[Node]] = []
        for graph in graphs:
            one, varies = batched_outputs(graph, flags, size)
            found = zip(one(*operands), varies, strict=True)
            results.append([repeated(x, size, on) for x, on in found])
        chosen = results[-1]
        for number in range(len(graphs) - 2, -1, -1):
            here = b.make("le", index, b.like(index, number))
            chosen = [
                b.select(b.broadcast(here, x.shape, (0,)), x, y)
                for x, y in zip(results[number], chosen, strict=True)
            ]
        return chosen


def cond(index: Node, operands: Sequence[Node], graphs: Sequence[Graph]) -> Node:
    """The node that runs one of the graphs on the operands."""
    named = {f"branch{i}": graph for i, graph in enumerate(graphs)}
    return b.make("cond", index, *operands, branches=len(graphs), **named)


def branches_of(params: Mapping[str, Any]) -> list[Graph]:
    """The graphs of a cond, in order."""
    return [params[f"branch{i}"] for i in range(params["branches"])]


def check_inputs(name: str, graph: Graph, srcs: Sequence[Aval]) -> None:
    """Raise unless a closed graph takes such sources."""
    want = [node.outs[0] for node in graph.inputs]
    if want != list(srcs):
        raise ShapeError(
            f"{name} expected sources {[show(a) for a in want]}; received {[show(a) for a in srcs]}"
        )


def show(aval: Aval) -> str:
    """A type as errors name it."""
    return f"{aval.dtype.name} {list(aval.shape)}"


# Closed graphs transformed


def batched_outputs(graph: Graph, flags: Sequence[bool], size: int) -> tuple[Graph, list[bool]]:
    """A closed graph that maps over its inputs with flags, and which of its outputs are batched."""
    inputs = [
        b.input((size, *node.shape), node.dtype) if on else node
        for node, on in zip(graph.inputs, flags, strict=True)
    ]
    twins = {old: new for old, new in zip(graph.inputs, inputs, strict=True) if old is not new}
    found = batched(graph.outputs, twins)
    return Graph(inputs, [out for out, _ in found]), [on for _, on in found]


def settled_batch(
    graph: Graph, flags: Sequence[bool], n_const: int, n_carry: int, size: int
) -> tuple[Graph, list[bool]]:
    """The body of a loop mapped over a batch: a carry that becomes batched in a turn is batched
    from the start. Also which carries are."""
    carry = list(flags[n_const : n_const + n_carry])
    while True:
        now = [*flags[:n_const], *carry, *flags[n_const + n_carry :]]
        mapped, varies = batched_outputs(graph, now, size)
        grown = [a or on for a, on in zip(carry, varies[:n_carry], strict=True)]
        if grown == carry:
            break
        carry = grown
    outs = [
        repeated(out, size, on) if on or number >= n_carry or carry[number] else out
        for number, (out, on) in enumerate(zip(mapped.outputs, varies, strict=True))
    ]
    return Graph(mapped.inputs, outs), carry


def pushforward(
    graph: Graph, flags: Sequence[bool], wanted: Sequence[bool] | None = None
) -> tuple[Graph, list[bool]]:
    """A closed graph of the inputs and the tangents of those with flags, which gives the outputs
    and their tangents. Also which outputs have one; `wanted` ones have, even if it is zero."""
    from tabgrad.ir.forward import tangents

    given = [
        b.input(node.shape, node.dtype) if on else None
        for node, on in zip(graph.inputs, flags, strict=True)
    ]
    pairs = {x: t for x, t in zip(graph.inputs, given, strict=True) if t is not None}
    found = tangents(graph.outputs, pairs)
    if wanted is None:
        wanted = [t is not None for t in found]
    made = [
        t if t is not None else b.like(out, 0)
        for out, t, on in zip(graph.outputs, found, wanted, strict=True)
        if on
    ]
    return Graph([*graph.inputs, *pairs.values()], [*graph.outputs, *made]), list(wanted)


def given_tangents(
    srcs: Sequence[Node], tangents: Sequence[Node | None], flags: Sequence[bool]
) -> list[Node]:
    """The tangents of the sources with flags, zeros where there is none."""
    return [
        t if t is not None else b.like(src, 0)
        for src, t, on in zip(srcs, tangents, flags, strict=True)
        if on
    ]


def settled_pushforward(
    graph: Graph, flags: Sequence[bool], n_const: int, n_carry: int
) -> tuple[Graph, list[bool]]:
    """`pushforward` of the body of a loop: a carry that gets a tangent in a turn has one from the
    start. Also which outputs have."""
    carry = list(flags[n_const : n_const + n_carry])
    while True:
        now = [*flags[:n_const], *carry, *flags[n_const + n_carry :]]
        _, varies = pushforward(graph, now)
        grown = [a or on for a, on in zip(carry, varies[:n_carry], strict=True)]
        if grown == carry:
            return pushforward(graph, now, [*carry, *varies[n_carry:]])
        carry = grown


def by_role(
    parts: Sequence[Node], tangents: Sequence[Node], flags: Sequence[bool], ends: Sequence[int]
) -> list[Node]:
    """Nodes cut at `ends` into roles, each role followed by the tangents of those with flags."""
    result: list[Node] = []
    rest, start = iter(tangents), 0
    for end in ends:
        result += parts[start:end]
        result += [next(rest) for on in flags[start:end] if on]
        start = end
    return result
