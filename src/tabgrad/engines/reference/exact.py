"""The reference in float64: what a Program's result would be without rounding on the way.

Every float of the graph becomes a float64; inputs, state and results keep their dtypes, so a result
that is to be read exactly is cast to float64 by the function itself. Bits of a float are read as
those of its own dtype, in both directions.

Not here: how far from this an engine may be (`tabgrad/verify.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tabgrad.dtypes import float64
from tabgrad.engines.reference.engine import ReferenceEngine
from tabgrad.ir import build as b
from tabgrad.ir.entry import EntryGraph, Result
from tabgrad.ir.graph import Graph, Node, make, toposort

# What is about the bits of a float, or given by whoever runs the graph.
_AS_IT_IS = frozenset({"array", "bitcast", "input", "value"})


class ExactEngine(ReferenceEngine):
    """`ReferenceEngine` with float64 in place of all other floats.

    Example:
        >>> ExactEngine().kind
        'reference'
    """

    def load(self, program: Any) -> Any:
        """Keep a Program, its graphs in float64."""
        loaded = super().load(program)
        loaded.graphs = [in_float64(graph) for graph in loaded.graphs]
        return loaded


def in_float64(graph: EntryGraph) -> EntryGraph:
    """The same entry, with float64 between its ports.

    Example:
        >>> from tabgrad.dtypes import float32
        >>> from tabgrad.ir.entry import Argument
        >>> x = b.input((2,), float32)
        >>> graph = EntryGraph("twice", [Argument(x, "x")], [], [Result(b.add(x, x), "y")])
        >>> in_float64(graph).outputs[0].srcs[0].dtype
        float64
    """
    updates = [state.update for state in graph.states]
    roots = [*graph.outputs, *(node for node in updates if node is not None)]
    made = [b.cast(new, old.dtype) for old, new in zip(roots, _doubled(roots, {}), strict=True)]
    rest = iter(made[len(graph.results) :])
    return replace(
        graph,
        results=[Result(new, r.name) for new, r in zip(made, graph.results, strict=False)],
        states=[s if s.update is None else replace(s, update=next(rest)) for s in graph.states],
    )


def _doubled(roots: Sequence[Node], inputs: Mapping[Node, Node]) -> list[Node]:
    """The roots on float64, given the stand-ins of inputs that are float64 already."""
    # Of a node with several outputs, one for each.
    new: dict[Node, Node | tuple[Node, ...]] = dict(inputs)
    for node in toposort(roots):
        if node not in new:
            new[node] = _twin(node, [new[src] for src in node.srcs])
    return [_one(new[root]) for root in roots]


def _twin(node: Node, srcs: Sequence[Node | tuple[Node, ...]]) -> Node | tuple[Node, ...]:
    name, params = node.prim.name, dict(node.params)
    if name == "proj":
        whole, index = srcs[0], params["index"]
        return whole[index] if isinstance(whole, tuple) else b.proj(whole, index)
    plain = [_one(src) for src in srcs]
    if name == "custom":  # its first sources; what the others are for has been taken already
        outs = tuple(plain[: params["n_out"]])
        return outs if len(outs) > 1 else outs[0]
    if name in _AS_IT_IS:
        if node.srcs:
            back = [b.cast(x, src.dtype) for x, src in zip(plain, node.srcs, strict=True)]
            node = make(name, *back, **params)
        return b.cast(node, float64) if node.dtype.is_float else node
    if len(node.outs) == 1 and "dtype" in params and node.dtype.is_float:
        params["dtype"] = float64
    return make(name, *plain, **{key: _closed(value) for key, value in params.items()})


def _closed(value: Any) -> Any:
    """A parameter of a node, the graphs in it on float64."""
    if isinstance(value, Graph):
        inputs = {
            node: b.input(node.shape, float64) if node.dtype.is_float else node
            for node in value.inputs
        }
        return Graph(list(inputs.values()), _doubled(value.outputs, inputs))
    if isinstance(value, tuple) and any(isinstance(one, Graph) for one in value):
        return tuple(map(_closed, value))
    return value


def _one(node: Node | tuple[Node, ...]) -> Node:
    assert isinstance(node, Node), "several outputs are read through proj"
    return node
