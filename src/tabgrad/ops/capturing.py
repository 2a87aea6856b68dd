"""Capturing of the functions that loops and branches are given: Python runs each once, on stand-ins
for what it will be given, and what it returns becomes a closed graph.

Not here: the nodes that hold these graphs (`control.py`); what `tg.compile` captures (`jit.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import realize, trees
from tabgrad.errors import CaptureError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.closing import close
from tabgrad.ir.graph import Node
from tabgrad.ops.arguments import node_of
from tabgrad.tensor import Tensor
from tabgrad.transformations.inside import Inside
from tabgrad.transformations.layout import Layout, open_up
from tabgrad.variable import scope


def capture(name: str, call: Callable[[], Any], inputs: Sequence[Node]) -> Any:
    """What a body returns, run on stand-ins, of which `inputs` are the nodes."""

    def refusal(path: str) -> CaptureError:
        return CaptureError(
            f"Variable {path!r} was assigned inside a function given to {name}, which is captured "
            "once and not run in Python. Return the value as a part of the result (the carry of a "
            "loop) and assign it outside"
        )

    with realize.capture_scope(f"tg.{name}", "its function"), scope(Inside(inputs, refusal)):
        return call()


def opened(tree: Any, *, static: bool = False) -> tuple[list[Node], Layout]:
    """The nodes of all leaves and how to put them back; numbers are constants while capturing."""
    leaves, structure = trees.flatten(tree)
    nodes = [
        Tensor(node_of(leaf)) if isinstance(leaf, (bool, int, float)) and not static else leaf
        for leaf in leaves
    ]
    return open_up(trees.unflatten(structure, nodes), static=static)


def inputs_like(nodes: Sequence[Node]) -> list[Node]:
    """A stand-in for each node."""
    return [b.input(node.shape, node.dtype) for node in nodes]


def closed(
    lists: Sequence[Sequence[Node]], inputs: Sequence[Node], own: Sequence[Node] = ()
) -> tuple[list[list[Node]], list[Node], list[Node]]:
    """Lists of outputs over `inputs` alone and over inputs that stand for what else they use; that,
    and those inputs. `own` nodes are not taken from outside, whatever they depend on."""
    flat = [node for nodes in lists for node in nodes]
    cuts = {node: node for node in inputs}
    outs, captured, stand_ins = close(flat, cuts, {id(node) for node in own})
    rest = iter(outs)
    return [[next(rest) for _ in nodes] for nodes in lists], captured, stand_ins


def returned(
    name: str, what: str, result: Any, layout: Layout, model: Sequence[Node]
) -> list[Node]:
    """The nodes of what a body returns, which must be like what it was given."""
    leaves, structure = trees.flatten(result, whole=True)
    if structure != layout.structure:
        raise ShapeError(
            f"{name} expected the body to return {what} in the structure it was given; received "
            f"{result!r}. "
            "Return the same keys, lengths and types of containers"
        )
    outs: list[Node] = []
    rest = iter(model)
    for leaf, count in zip(leaves, layout.counts, strict=True):
        wanted = [next(rest) for _ in range(count)]
        if count > 1:
            found, _ = opened(leaf)
            zero = b.like(found[0], 0)
            outs += [*found, zero] if len(found) == 1 else found
        else:
            outs.append(node_of(leaf, wanted[0].dtype))
    for out, old in zip(outs, model, strict=True):
        if out.outs != old.outs:
            raise ShapeError(
                f"{name} expected the body to return {what} as it was given, "
                f"{old.dtype.name} {list(old.shape)}; received {out.dtype.name} {list(out.shape)}. "
                "Cast or reshape it, or start with what the body returns"
            )
    return outs
