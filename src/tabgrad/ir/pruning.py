"""Taking out of loops what nobody reads: results, the carries only those need, and their sources.

A `scan` computes all its results at once, so a graph that uses some of them depends, as it is
written, on everything the others need. Pruned, it depends on what it is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, Node, remake, rewrite, toposort


class _Plan(NamedTuple):
    """What is kept of a scan: positions of its sources and results, and the smaller body."""

    sources: list[int]
    results: list[int]
    body: Graph
    n_const: int
    n_carry: int


def pruned(outputs: Sequence[Node]) -> list[Node]:
    """Equal nodes whose loops compute only what these outputs need."""
    order = toposort(outputs)
    needed = {id(node) for node in outputs}
    read: dict[int, set[int]] = {}
    plans: dict[int, _Plan] = {}
    for node in reversed(order):
        if id(node) not in needed:
            continue
        srcs: Sequence[Node] = node.srcs
        if _of_scan(node):
            read.setdefault(id(node.srcs[0]), set()).add(node.params["index"])
        elif node.prim.name == "scan":
            plan = plans[id(node)] = _plan(node, read.get(id(node), {0}))
            srcs = [node.srcs[i] for i in plan.sources]
        needed.update(map(id, srcs))

    new: dict[int, Node] = {}
    for node in order:
        if id(node) not in needed:
            continue
        if id(node) in plans:
            plan = plans[id(node)]
            new[id(node)] = b.make(
                "scan",
                *[new[id(node.srcs[i])] for i in plan.sources],
                **{
                    **node.params,
                    "body": plan.body,
                    "n_const": plan.n_const,
                    "n_carry": plan.n_carry,
                },
            )
        elif _of_scan(node):
            loop, at = new[id(node.srcs[0])], plans[id(node.srcs[0])].results
            single = len(loop.outs) == 1
            new[id(node)] = loop if single else b.proj(loop, at.index(node.params["index"]))
        else:
            new[id(node)] = remake(node, [new[id(src)] for src in node.srcs])
    return [new[id(node)] for node in outputs]


def _of_scan(node: Node) -> bool:
    return node.prim.name == "proj" and node.srcs[0].prim.name == "scan"


def _plan(node: Node, wanted: set[int]) -> _Plan:
    p, body = node.params, node.params["body"]
    n_const, n_carry = p["n_const"], p["n_carry"]
    outs = rewrite(body.outputs, without_likes)
    number = {id(x): i for i, x in enumerate(body.inputs)}
    # Each alone: a loop inside may need less for one of them than for all.
    uses = [{number[id(n)] for n in toposort(pruned([out])) if id(n) in number} for out in outs]
    kept = set(wanted)
    while True:
        sources = set().union(*(uses[i] for i in kept))
        carries = {i - n_const for i in sources if n_const <= i < n_const + n_carry}
        if carries <= kept:
            break
        kept |= carries
    # A carry that is a result has a beginning, even if its body does not look at it.
    sources |= {n_const + i for i in kept if i < n_carry}
    inputs, results = sorted(sources), sorted(kept)
    return _Plan(
        inputs,
        results,
        Graph([body.inputs[i] for i in inputs], pruned([outs[i] for i in results])),
        sum(i < n_const for i in inputs),
        sum(i < n_carry for i in results),
    )


def without_likes(old: Node, srcs: tuple[Node, ...]) -> Node:
    """The other value is there for its rows, which there are none of in a loop."""
    if old.prim.name == "broadcast_like":
        return b.broadcast(srcs[0], old.shape, old.params["dims"])
    return remake(old, srcs)
