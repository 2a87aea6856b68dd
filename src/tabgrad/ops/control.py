"""Loops inside the graph: `scan`. The body is captured once and runs at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad import realize, trees
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, make, remake, rewrite, toposort
from tabgrad.ops.arguments import node_of
from tabgrad.tensor import Tensor


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each slice x of `xs` on its first axis, as `jax.lax.scan`.

    Args:
        f: takes and returns (carry, per-step value); both may be nested containers or None.
        init: the first carry.
        xs: what is walked along, a nested container of tensors with equal leading sizes, or None.
        length: number of steps when `xs` is None.
        reverse: walk from the last slice to the first; ys keep the order of xs.

    Returns:
        The last carry, and the stacked per-step values.

    Raises:
        ShapeError: a body that changes the shape or dtype of its carry.

    Example:
        >>> import tabgrad as tg
        >>> add = lambda c, x: (c + x, c + x)
        >>> total, sums = tg.ops.scan(add, tg.tensor(0.0), tg.tensor([1.0, 2.0]))
        >>> float(total), sums.tolist()
        (3.0, [1.0, 3.0])
    """
    carry, carry_tree = trees.flatten(init)
    walked, walked_tree = trees.flatten(xs)
    carry_nodes = [node_of(c) for c in carry]
    x_nodes = [node_of(x) for x in walked]
    sizes = {node.shape[0] if node.shape else -1 for node in x_nodes}
    if length is not None:
        sizes.add(length)
    if len(sizes) != 1 or -1 in sizes:
        raise ArgumentError(
            "scan expected xs with one leading size, or length; received leading sizes "
            f"{sorted(sizes)}"
        )
    steps = sizes.pop()
    carry_in = [b.input(node.shape, node.dtype) for node in carry_nodes]
    x_in = [b.input(node.shape[1:], node.dtype) for node in x_nodes]
    with realize.capture_scope():
        result = f(
            trees.unflatten(carry_tree, [Tensor(n) for n in carry_in]),
            trees.unflatten(walked_tree, [Tensor(n) for n in x_in]),
        )
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(f"scan expected the body to return (carry, y); received {result!r}")
    new_carry, new_tree = trees.flatten(result[0])
    ys, y_tree = trees.flatten(result[1])
    if new_tree != carry_tree:
        raise ShapeError("scan expected the body to return a carry of the structure of `init`")
    outs = [node_of(c, n.dtype) for c, n in zip(new_carry, carry_nodes, strict=True)]
    outs += [node_of(y) for y in ys]
    outs, consts, const_in = _close(outs, [*carry_in, *x_in])
    node = make(
        "scan",
        *consts,
        *carry_nodes,
        *x_nodes,
        body=Graph([*const_in, *carry_in, *x_in], outs),
        n_const=len(consts),
        n_carry=len(carry_nodes),
        length=steps,
        reverse=reverse,
    )
    final = [Tensor(n) for n in projections(node)]
    count = len(carry_nodes)
    return trees.unflatten(carry_tree, final[:count]), trees.unflatten(y_tree, final[count:])


def _close(outs: list[Node], own: list[Node]) -> tuple[list[Node], list[Node], list[Node]]:
    """Make captures explicit: every node that does not depend on the body's own inputs and is used
    by one that does becomes a constant source of the scan."""
    inside = {id(node) for node in own}
    for node in toposort(outs):
        if any(id(src) in inside for src in node.srcs):
            inside.add(id(node))
    consts: dict[int, tuple[Node, Node]] = {}

    def replaced(node: Node) -> Node:
        if node.prim.family == "leaf" and node.prim.name not in ("input", "value"):
            return node
        if id(node) not in consts:
            consts[id(node)] = (node, b.input(node.shape, node.dtype))
        return consts[id(node)][1]

    def rule(old: Node, srcs: tuple[Node, ...]) -> Node:
        if id(old) not in inside or not old.srcs:
            return old
        return remake(
            old,
            [
                new if id(src) in inside else replaced(src)
                for src, new in zip(old.srcs, srcs, strict=True)
            ],
        )

    new = [
        out if id(node) in inside else replaced(node)
        for node, out in zip(outs, rewrite(outs, rule), strict=True)
    ]
    pairs = list(consts.values())
    return new, [node for node, _ in pairs], [twin for _, twin in pairs]
