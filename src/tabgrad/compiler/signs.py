"""What is known about the signs of values: of which nodes no element is above 0.

exp of such an element cannot overflow, which makes it a fifth cheaper (mathlib/exponential.py):
that of a softmax, whose rows have lost their maxima, and that of a bell curve.
"""

from __future__ import annotations

from tabgrad.compiler.rules.matching import constant, is_a
from tabgrad.ir.graph import Node


def never_positive(node: Node) -> bool:
    """Whether every element is at most 0, or NaN."""
    if is_a(node, "neg"):
        (x,) = node.srcs
        return is_a(x, "abs") or (is_a(x, "mul") and x.srcs[0] is x.srcs[1])
    if is_a(node, "min"):
        return any((limit := constant(src)) is not None and limit <= 0 for src in node.srcs)
    return is_a(node, "sub") and _is_maximum(node.srcs[1], node.srcs[0])


def _is_maximum(node: Node, x: Node) -> bool:
    """Whether each element is the maximum of some elements of x, that at its own place included."""
    if not is_a(node, "broadcast"):
        return False
    (folded,), dims = node.srcs, node.params["dims"]
    if not is_a(folded, "reduce_max") or folded.srcs[0] is not x:
        return False
    axes = folded.params["axes"]
    return bool(dims == tuple(d for d in range(len(x.shape)) if d not in axes))
