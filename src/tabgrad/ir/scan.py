"""`scan`: a loop with a known number of turns, the one that can be differentiated backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.batching import repeated, size_of
from tabgrad.ir.control import (
    Closed,
    by_role,
    given_tangents,
    projections,
    settled_batch,
    settled_pushforward,
    show,
)
from tabgrad.ir.graph import Aval, Graph, Node, register, rewrite, substitute
from tabgrad.ir.pruning import without_likes
from tabgrad.ir.residuals import kept_values
from tabgrad.ir.reverse import cotangents


@register
class Scan(Closed):
    """`length` turns of `body(*consts, *carry, *x) -> (*carry, *y)`, x and y slices on axis 0.

    Sources: constants, initial carries, stacked xs. Outputs: final carries, stacked ys. `reverse`
    walks from the last slice to the first.
    """

    name = "scan"

    def infer(self, srcs: Sequence[Aval], params: Mapping[str, Any]) -> Sequence[Aval]:
        body: Graph = params["body"]
        n_const, n_carry, length = params["n_const"], params["n_carry"], params["length"]
        want = [node.outs[0] for node in body.inputs]
        xs = srcs[n_const + n_carry :]
        slices = [Aval(x.shape[1:], x.dtype) for x in xs if x.shape[:1] == (length,)]
        have = [*srcs[: n_const + n_carry], *slices]
        outs = [node.outs[0] for node in body.outputs]
        carry = want[n_const : n_const + n_carry]
        if have != want or len(slices) != len(xs):
            raise ShapeError(
                f"scan expected sources {[show(a) for a in want]} (xs with a leading axis of "
                f"{length}); received {[show(a) for a in srcs]}"
            )
        if outs[:n_carry] != carry:
            raise ShapeError(
                f"scan expected the body to return carries {[show(a) for a in carry]}; it "
                f"returns {[show(a) for a in outs[:n_carry]]}"
            )
        return (*carry, *(Aval((length, *y.shape), y.dtype) for y in outs[n_carry:]))

    def vjp(self, node: Node, grads: Sequence[Node | None]) -> Sequence[Node | None]:
        return _scan_vjp(node, grads)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        p, srcs, n = node.params, node.srcs, len(node.srcs)
        n_const, n_carry = p["n_const"], p["n_carry"]
        flags = [t is not None for t in tangents]
        body, found = settled_pushforward(p["body"], flags, n_const, n_carry)
        flags[n_const : n_const + n_carry] = found[:n_carry]
        ends, n_out = (n_const, n_const + n_carry, n), len(node.outs)
        new = b.make(
            "scan",
            *by_role(srcs, given_tangents(srcs, tangents, flags), flags, ends),
            body=Graph(
                by_role(body.inputs[:n], body.inputs[n:], flags, ends),
                by_role(body.outputs[:n_out], body.outputs[n_out:], found, (n_carry, n_out)),
            ),
            n_const=n_const + sum(flags[:n_const]),
            n_carry=n_carry + sum(found[:n_carry]),
            length=p["length"],
            reverse=p["reverse"],
        )
        # Carries, their tangents, ys, their tangents.
        outs, carried = projections(new), n_carry + sum(found[:n_carry])
        rest = iter([*outs[n_carry:carried], *outs[carried + n_out - n_carry :]])
        return [next(rest) if on else None for on in found]

    def batch(self, node: Node, srcs: Sequence[Node], batched: Sequence[bool]) -> Sequence[Node]:
        p = node.params
        n_const, n_carry, size = p["n_const"], p["n_carry"], size_of(srcs, batched)
        body, carrying = settled_batch(p["body"], batched, n_const, n_carry, size)
        new = list(srcs)
        for i, (src, on) in enumerate(zip(srcs, batched, strict=True)):
            if n_const <= i < n_const + n_carry and carrying[i - n_const]:
                new[i] = repeated(src, size, on)
            elif i >= n_const + n_carry and on:
                new[i] = _swapped(src)
        outs = projections(b.make("scan", *new, **{**p, "body": body}))
        return [
            repeated(out, size, carrying[i]) if i < n_carry else _swapped(out)
            for i, out in enumerate(outs)
        ]


def _scan_vjp(node: Node, grads: Sequence[Node | None]) -> list[Node | None]:
    """Run the scan again keeping every carry, then walk back through the turns.

    Each backward turn recomputes its forward turn from the carry that entered it and from those of
    its values that were worth keeping, see residuals.py.
    """
    p = node.params
    body: Graph = p["body"]
    n_const, n_carry, length = p["n_const"], p["n_carry"], p["length"]
    consts, carry, xs = (
        node.srcs[:n_const],
        node.srcs[n_const : n_const + n_carry],
        node.srcs[n_const + n_carry :],
    )
    n_x = len(xs)
    float_carry = [i for i in range(n_carry) if carry[i].dtype.is_float]
    float_const = [i for i in range(n_const) if consts[i].dtype.is_float]
    float_x = [i for i in range(n_x) if xs[i].dtype.is_float]
    wanted = [
        *(body.inputs[n_const + i] for i in float_carry),
        *(body.inputs[i] for i in float_const),
        *(body.inputs[n_const + n_carry + i] for i in float_x),
    ]
    # The backward body. Consts: the forward consts. Carry: cotangents of the carries, running sums
    # for the consts. xs: the carries that entered, the forward xs, the values kept, cotangents of
    # the ys.
    g_carry = [b.input(carry[i].shape, carry[i].dtype) for i in float_carry]
    sums = [b.input(consts[i].shape, consts[i].dtype) for i in float_const]
    y_nodes = body.outputs[n_carry:]
    float_y = [
        i for i, y in enumerate(y_nodes) if y.dtype.is_float and grads[n_carry + i] is not None
    ]
    g_y = [b.input(y_nodes[i].shape, y_nodes[i].dtype) for i in float_y]
    outs = [*(body.outputs[i] for i in float_carry), *(y_nodes[i] for i in float_y)]
    found = cotangents(outs, [*g_carry, *g_y], wanted)
    result = [g if g is not None else b.like(w, 0) for g, w in zip(found, wanted, strict=True)]
    result = rewrite(result, without_likes)
    nc, ns = len(float_carry), len(float_const)
    values = kept_values(result, body.inputs[n_const:], [*g_carry, *g_y], length)
    stand_ins = [b.input(value.shape, value.dtype) for value in values]
    result = substitute(result, dict(zip(values, stand_ins, strict=True)))
    keeping = Graph(
        body.inputs, [*body.outputs, *body.inputs[n_const : n_const + n_carry], *values]
    )
    kept = projections(b.make("scan", *node.srcs, **{**p, "body": keeping}))[len(body.outputs) :]
    back = Graph(
        [
            *body.inputs[:n_const],
            *g_carry,
            *sums,
            *body.inputs[n_const : n_const + n_carry],
            *body.inputs[n_const + n_carry :],
            *stand_ins,
            *g_y,
        ],
        [
            *result[:nc],
            *(b.add(s, r) for s, r in zip(sums, result[nc : nc + ns], strict=True)),
            *result[nc + ns :],
        ],
    )
    first = [grads[i] if grads[i] is not None else b.like(carry[i], 0) for i in float_carry]
    zeros = [b.like(consts[i], 0) for i in float_const]
    g_ys = [grads[n_carry + i] for i in float_y]
    back_node = b.make(
        "scan",
        *consts,
        *(g for g in first if g is not None),
        *zeros,
        *kept[:n_carry],
        *xs,
        *kept[n_carry:],
        *(g for g in g_ys if g is not None),
        body=back,
        n_const=n_const,
        n_carry=nc + ns,
        length=length,
        reverse=not p["reverse"],
    )
    outputs = projections(back_node)
    answer: list[Node | None] = [None] * len(node.srcs)
    for place, i in enumerate(float_carry):
        answer[n_const + i] = outputs[place]
    for place, i in enumerate(float_const):
        answer[i] = outputs[nc + place]
    for place, i in enumerate(float_x):
        answer[n_const + n_carry + i] = outputs[nc + ns + place]
    return answer


def _swapped(x: Node) -> Node:
    """The turns and the batch, which are the first two axes, in the other order."""
    return b.permute(x, (1, 0, *range(2, len(x.shape))))
