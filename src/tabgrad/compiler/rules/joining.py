"""Nodes that do partly the same become one: the loop of a forward pass and the same loop as its
gradient wants it, with every carry kept; a sort of keys and the sort that says where they went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, make, remake, toposort


def join_equals(roots: Sequence[Node]) -> list[Node]:
    """The roots with scans over the same sources and sorts of the same keys joined."""
    alike: dict[object, list[Node]] = {}
    for node in toposort(roots):
        if node.prim.name in ("scan", "sort"):
            alike.setdefault(_key(node), []).append(node)
    families = [nodes for nodes in alike.values() if len(nodes) > 1 and not _depend(nodes)]
    if not families:
        return list(roots)
    family = {id(node): nodes for nodes in families for node in nodes}
    new: dict[int, Node] = {}
    joined: dict[int, list[Node]] = {}
    for node in _order(roots, family):
        if id(node) in family:
            if id(node) not in joined:
                _join(family[id(node)], new, joined)
            new[id(node)] = joined[id(node)][0]
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
    ids = tuple(map(id, (*node.srcs, *body.inputs, *carry)))
    return "scan", ids, p["n_const"], p["length"], p["reverse"]


def _depend(nodes: Sequence[Node]) -> bool:
    """Whether one of the nodes is made from another, so that they cannot be one. Scans have the
    same sources; payloads of sorts may come from anywhere."""
    if nodes[0].prim.name == "scan":
        return False
    members = set(map(id, nodes))
    lowest = min(node.depth for node in nodes)
    payloads = [src for node in nodes for src in node.srcs[1:] if src.depth > lowest]
    return any(id(node) in members for node in toposort(payloads))


def _order(roots: Sequence[Node], family: Mapping[int, list[Node]]) -> list[Node]:
    """Sources before users, and the sources of a whole family before any of it."""
    order: list[Node] = []
    done: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if id(node) in done:
            continue
        if expanded:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((node, True))
        for member in family.get(id(node), [node]):
            stack += [(src, False) for src in reversed(member.srcs) if id(src) not in done]
    return order


def _join(nodes: Sequence[Node], new: Mapping[int, Node], joined: dict[int, list[Node]]) -> None:
    """Note the outputs of each of the nodes as outputs of one."""
    first, p = nodes[0], nodes[0].params
    sort = first.prim.name == "sort"
    n_carry = 0 if sort else p["n_carry"]
    made_of = [node.srcs if sort else node.params["body"].outputs for node in nodes]
    kept = list(made_of[0])
    places = {id(part): i for i, part in enumerate(kept) if i >= n_carry}
    for parts in made_of[1:]:
        for part in parts[n_carry:]:
            if id(part) not in places:
                places[id(part)] = len(kept)
                kept.append(part)
    if sort:
        whole = make("sort", *(new[id(part)] for part in kept))
    else:
        body = Graph(p["body"].inputs, kept)
        whole = make("scan", *(new[id(src)] for src in first.srcs), **{**p, "body": body})
    outs = projections(whole)
    for node, parts in zip(nodes, made_of, strict=True):
        joined[id(node)] = [*outs[:n_carry], *(outs[places[id(part)]] for part in parts[n_carry:])]
