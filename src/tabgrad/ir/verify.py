"""What every graph must satisfy, checked from scratch. Runs in tests and under TABGRAD_DEBUG.

The rules of primitives are asked again about each node, so a pass that puts a wrong shape, dtype or
parameter into a node is found here, with the line of the node, and not in a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from tabgrad import dtypes
from tabgrad.errors import TabgradError
from tabgrad.ir.arity import ARITY
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import PRIMITIVES, Graph, Node, Primitive, toposort
from tabgrad.ir.text import format_node

# What `compiler.simplify` always removes.
BEFORE_SIMPLIFY = frozenset({"tag", "stop", "size", "broadcast_like", "custom"})


def verify_graph(graph: EntryGraph | Graph | Sequence[Node], *, simplified: bool = False) -> None:
    """Check everything under some nodes, or a closed graph and that its leaves are declared.

    Args:
        graph: an entry (whose states are leaves and whose updates are results as well), a graph,
            or nodes.
        simplified: whether the primitives that simplification removes are errors.

    Raises:
        TabgradError: with the line of the first node that is wrong, and what is wrong with it.

    Example:
        >>> from tabgrad import dtypes
        >>> from tabgrad.ir import build as b
        >>> verify_graph([b.neg(b.input((2,), dtypes.float32))])
    """
    # A closed sub-graph is not told the row count; an entry is.
    if isinstance(graph, Graph):
        _verify(graph.outputs, graph.inputs, False, simplified)
    elif isinstance(graph, EntryGraph):
        updates = [node for _, node in graph.updates]
        _verify([*graph.outputs, *updates], [*graph.inputs, *graph.state], True, simplified)
    else:
        _verify(graph, None, True, simplified)


def _verify(
    roots: Sequence[Node], leaves: Sequence[Node] | None, rows: bool, simplified: bool
) -> None:
    _refuse_cycles(roots)
    order = toposort(roots)
    names = {id(node): f"%{i}" for i, node in enumerate(order)}
    declared = None if leaves is None else {id(node) for node in leaves}
    if declared is not None and leaves is not None and len(declared) != len(leaves):
        twice = next(node for i, node in enumerate(leaves) if node in leaves[:i])
        _fail(twice, names, "is declared as an input twice")
    for leaf in leaves or ():
        if leaf.prim.name not in ("input", "value"):
            _fail(leaf, names, "is declared as an input but is computed")
    for root in roots:
        if len(root.outs) != 1:
            _fail(root, names, "is a result but has several outputs; take one with proj")
    for node in order:
        name = node.prim.name
        if simplified and name in BEFORE_SIMPLIFY:
            _fail(node, names, "is still there after simplification")
        if name in ("input", "value") and declared is not None and id(node) not in declared:
            _fail(node, names, "is used but is none of the declared inputs")
        if name == "rows" and not rows:
            _fail(node, names, "is in a closed sub-graph, which is not told the row count")
        _verify_node(node, names)
        for body in node.params.values():
            if isinstance(body, Graph):
                try:
                    _verify(body.outputs, body.inputs, False, simplified)
                except TabgradError as error:
                    line = format_node(node, names, layers=True)
                    raise TabgradError(f"{error}\nin a sub-graph of\n  {line}") from None


def _verify_node(node: Node, names: Mapping[int, str]) -> None:
    name = node.prim.name
    if not isinstance(node.prim, Primitive) or PRIMITIVES.get(name) is not node.prim:
        _fail(node, names, "is of a primitive that is not registered")
    least = ARITY[name]
    n = len(node.srcs)
    if n < least[0] if isinstance(least, tuple) else n != least:
        _fail(node, names, f"has {n} sources; expected {least}")
    for src in node.srcs:
        if len(src.outs) != 1 and name != "proj":
            _fail(node, names, f"reads {src!r}, which has several outputs, without proj")
    for shape, dtype in node.outs:
        if dtype not in dtypes.ALL:
            _fail(node, names, f"has the dtype {dtype!r}, which does not exist")
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            _fail(node, names, f"has the shape {shape!r}; expected sizes of 0 or more")
    if name == "proj":
        index, outs = node.params["index"], node.srcs[0].outs
        if not 0 <= index < len(outs) or node.params["aval"] != outs[index]:
            _fail(node, names, f"does not match output {index} of {node.srcs[0]!r}")
    if name == "const" and not _same(node.params["value"], node.dtype):
        _fail(node, names, f"holds a value that is not one of {node.dtype.name}")
    if name == "array" and len(node.params["data"]) != node.nbytes:
        _fail(node, names, f"holds {len(node.params['data'])} bytes; expected {node.nbytes}")
    try:
        outs = tuple(node.prim.infer([src.outs[0] for src in node.srcs], node.params))
    except Exception as error:  # whatever a rule raises on nonsense, the line is what helps
        _fail(node, names, f"is refused by its own rule: {error}", error)
    if outs != node.outs:
        _fail(node, names, f"should have the outputs {[f'{d}{list(s)}' for s, d in outs]}")


def _same(value: Any, dtype: dtypes.DType) -> bool:
    wrapped = dtypes.wrap(value, dtype)
    return type(value) is type(wrapped) and (value == wrapped or value != value)


def _refuse_cycles(roots: Iterable[Node]) -> None:
    done: set[int] = set()
    above: set[int] = set()  # nodes between a root and the one looked at
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, left = stack.pop()
            if left:
                above.discard(id(node))
                done.add(id(node))
            elif id(node) in above:
                _fail(node, {}, "depends on itself")
            elif id(node) not in done:
                above.add(id(node))
                stack.append((node, True))
                stack += [(src, False) for src in node.srcs if id(src) not in done]


def _fail(
    node: Node, names: Mapping[int, str], what: str, cause: Exception | None = None
) -> NoReturn:
    line = format_node(node, names, layers=True)
    raise TabgradError(f"internal: this node {what}:\n  {line}") from cause
