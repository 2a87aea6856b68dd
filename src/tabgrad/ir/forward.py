"""Forward-mode differentiation: tangents of outputs from tangents of inputs, as more nodes.

Primitives need no rules of their own for this: `vjp` is linear in the cotangent, so its transpose,
found by differentiating it by the cotangent, is the pushforward of the node. Loops of unknown
length have a rule (`jvp`), because they have no `vjp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabgrad.errors import NotSupportedError
from tabgrad.ir import build as b
from tabgrad.ir.custom import refuse_closed
from tabgrad.ir.graph import Node, fresh_id, layer_scope, toposort
from tabgrad.ir.pruning import pruned
from tabgrad.ir.reverse import check_alike, cotangents


def tangents(outputs: Sequence[Node], given: Mapping[Node, Node]) -> list[Node | None]:
    """For each output its tangent, when the keys of `given` move along their values; None where no
    differentiable path leads."""
    for node, tangent in given.items():
        check_alike("tangent", node, tangent)
    known: dict[int, Sequence[Node | None]] = {id(node): (t,) for node, t in given.items()}
    order = toposort(outputs, given.__contains__)
    placeholders: dict[int, Node] = {}
    active = set(known)
    for node in order:
        if id(node) in known:
            continue
        moving = [known[id(src)][0] if id(src) in known else None for src in node.srcs]
        if node.prim.name == "proj":
            parts = known.get(id(node.srcs[0]))
            if parts is not None and parts[node.params["index"]] is not None:
                known[id(node)] = (parts[node.params["index"]],)
                active.add(id(node))
            continue
        if all(t is None for t in moving):
            if len(node.outs) > 1 and any(id(src) in known for src in node.srcs):
                known[id(node)] = (None,) * len(node.outs)
            continue
        if node.prim.name == "custom":
            refuse_closed(node, active)
        with layer_scope(node.origin.layer):
            found = node.prim.jvp(node, moving)
            if found is None:
                found = _transposed(node, moving, placeholders)
        if len(node.outs) > 1 or found[0] is not None:
            known[id(node)] = found
            active.add(id(node))
    results = [known[id(out)][0] if id(out) in known else None for out in outputs]
    if not placeholders:
        return results
    # A loop in a custom gradient mentions the cotangent wherever any of its results needs it.
    rest = iter(pruned([t for t in results if t is not None]))
    results = [None if t is None else next(rest) for t in results]
    _refuse_nonlinear([t for t in results if t is not None], placeholders)
    return results


def _transposed(
    node: Node, moving: Sequence[Node | None], placeholders: dict[int, Node]
) -> list[Node | None]:
    """Tangents of the outputs of one node: `vjp` as a function of the cotangents, turned round."""
    # A rule may look at the shape of a cotangent (`broadcast_like`) or come after it (`barrier`),
    # which stays in the graph; so the cotangents differentiated by are nodes that have a value.
    outs = [node] if len(node.outs) == 1 else [b.proj(node, i) for i in range(len(node.outs))]
    given = [b.make("tag", out, id=fresh_id()) if out.dtype.is_float else None for out in outs]
    floats = [g for g in given if g is not None]
    if not floats:
        return [None] * len(node.outs)
    pairs = [
        (slope, tangent)
        for slope, tangent in zip(node.prim.vjp(node, given), moving, strict=True)
        if slope is not None and tangent is not None
    ]
    # The rule's own nodes are above these; without the limit every node would look at all below.
    edge = {id(node), *map(id, node.srcs)}
    found = iter(
        cotangents(
            [slope for slope, _ in pairs],
            [tangent for _, tangent in pairs],
            floats,
            lambda below: id(below) in edge,
        )
    )
    if node.prim.name == "custom":
        placeholders |= {id(g): g for g in floats}
    return [None if g is None else next(found) for g in given]


def _refuse_nonlinear(results: Sequence[Node], placeholders: Mapping[int, Node]) -> None:
    stack, seen = list(results), set(map(id, results))
    nonlinear = False
    while stack and not nonlinear:
        node = stack.pop()
        nonlinear = id(node) in placeholders
        read = node.srcs[:1] if node.prim.name in ("broadcast_like", "barrier") else node.srcs
        for src in read:
            if id(src) not in seen:
                seen.add(id(src))
                stack.append(src)
    if nonlinear:
        raise NotSupportedError(
            "forward mode through a custom gradient expects one that is linear in the upstream "
            "cotangent; this one is not (it clips or rounds it, say). Use tg.grad or tg.vjp"
        )
