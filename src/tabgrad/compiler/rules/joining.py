"""Nodes that do partly the same become one: the loop of a forward pass and the same loop as its
gradient wants it, with every carry kept; a sort of keys and the sort that says where they went.
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, make, remake, toposort


def join_equals(roots: Sequence[Node]) -> list[Node]:
    """The roots with scans over the same sources and sorts of the same keys joined."""
    order = toposort(roots)
    alike: dict[object, list[Node]] = {}
    for node in order:
        if node.prim.name in ("scan", "sort"):
            alike.setdefault(_key(node), []).append(node)
    family = {id(node): nodes for nodes in alike.values() if len(nodes) > 1 for node in nodes}
    if not family:
        return list(roots)
    new: dict[int, Node] = {}
    joined: dict[int, list[Node]] = {}
    for node in order:
        if id(node) in family:
            nodes = family[id(node)]
            first = nodes[0]
            if id(first) not in joined:
                srcs = {
                    id(src): new[id(src)] for one in nodes for src in one.srcs if id(src) in new
                }
                if len(srcs) < len({id(src) for one in nodes for src in one.srcs}):
                    # A payload is computed from another of these sorts.
                    del family[id(node)]
                    nodes.remove(node)
                    new[id(node)] = remake(node, [new[id(src)] for src in node.srcs])
                    continue
                _join(nodes, new, joined)
            outs = joined[id(node)]
            new[id(node)] = outs[0]
        elif node.prim.name == "proj" and id(node.srcs[0]) in joined:
            new[id(node)] = joined[id(node.srcs[0])][node.params["index"]]
        else:
            new[id(node)] = remake(node, [new[id(src)] for src in node.srcs])
    return [new[id(root)] for root in roots]


def _key(node: Node) -> object:
    if node.prim.name == "sort":
        return ("sort", id(node.srcs[0]))
    p = node.params
    body: Graph = p["body"]
    carry = body.outputs[: p["n_carry"]]
    return (
        "scan",
        *map(id, (*node.srcs, *body.inputs, *carry)),
        p["n_const"],
        p["length"],
        p["reverse"],
    )


def _join(nodes: Sequence[Node], new: dict[int, Node], joined: dict[int, list[Node]]) -> None:
    """Note the outputs of each of the nodes as outputs of one."""
    first = nodes[0]
    places: dict[int, int] = {}  # by what an output is made of
    made_of: list[list[Node]] = []
    for node in nodes:
        parts = node.srcs if first.prim.name == "sort" else node.params["body"].outputs
        made_of.append(list(parts))
    n_carry = 0 if first.prim.name == "sort" else first.params["n_carry"]
    kept = list(made_of[0])
    places = {id(part): i for i, part in enumerate(kept) if i >= n_carry}
    for parts in made_of[1:]:
        for part in parts[n_carry:]:
            if id(part) not in places:
                places[id(part)] = len(kept)
                kept.append(part)
    if first.prim.name == "sort":
        whole = make("sort", *(new[id(part)] for part in kept))
    else:
        body = Graph(first.params["body"].inputs, kept)
        srcs = [new[id(src)] for src in first.srcs]
        whole = make("scan", *srcs, **{**first.params, "body": body})
    outs = projections(whole)
    for node, parts in zip(nodes, made_of, strict=True):
        joined[id(node)] = [*outs[:n_carry], *(outs[places[id(part)]] for part in parts[n_carry:])]
