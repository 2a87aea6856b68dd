"""What to say where a value is needed of a node that has none, since it depends on an argument of a
function that is being captured, or was captured before.

Not here: values that were lost with their engine (`gone` in `values.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tabgrad.ir.graph import Capture, InCapture, Node, captures, toposort
from tabgrad.realize.values import has_value, shown

# What to do where a value is read that does not exist.
READ_OUTSIDE = "Return it and read it where the function is called"


def missing_value(nodes: Sequence[Node], instead: str) -> str:
    """What to say where a value is needed of nodes of which one has none."""
    abstract = _needing_inputs(nodes)
    strays = [n for n in abstract if n.prim.name == "input" and _capture_left(n) is not None]
    if strays:
        return foreign_value(nodes, strays[-1])
    if not captures:  # an argument of a loop's or branch's function, or what was made of it
        return _escaped([node for node in abstract if _capture_left(node)] or list(abstract))
    one, now = next(node for node in nodes if node in abstract), captures[-1]
    return (
        f"expected a tensor with a value; received {shown(one)} while {now.by} is capturing "
        f"{now.name}, when no value exists yet. {instead}"
    )


def foreign_value(nodes: Sequence[Node], leaf: Node) -> str:
    """What to say where nodes of a capture need an input of another."""
    needing, capture = list(_needing_inputs(nodes, leaf)), _capture_left(leaf)
    same = [node for node in needing if capture and _capture_left(node) is capture]
    return _escaped(same or [node for node in needing if _capture_left(node)] or needing)


def _escaped(nodes: Sequence[Node]) -> str:
    # The last one is the tensor that got out, or what its capture made of it.
    node, where = nodes[-1], "by a function captured before"
    if isinstance(node.origin, InCapture):
        made = node.origin
        where = f"at {made.at} while {made.capture.by} was capturing {made.capture.name}"
    return (
        f"expected a tensor with a value; received {shown(node)} made {where}, where it never had "
        "one. Return it from there, or keep it in a tg.Variable and assign to that"
    )


def _needing_inputs(nodes: Sequence[Node], only: Node | None = None) -> dict[Node, None]:
    """The nodes under `nodes` that need an input (`only` this one), sources first."""
    found: dict[Node, None] = {}
    for node in toposort(nodes, has_value):
        leaf = node.prim.name == "input" if only is None else node is only
        if node.buffer is None and (leaf or any(src in found for src in node.srcs)):
            found[node] = None
    return found


def _capture_left(node: Node) -> Capture | None:
    """The capture in which a node was made, if it is over."""
    made = node.origin
    return made.capture if isinstance(made, InCapture) and made.capture not in captures else None
