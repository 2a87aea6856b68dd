"""Rows: one Program for a batch of up to n rows, with the results of the exact smaller batch.

The caller pads a partial batch by repeating a real row and says how many rows are true. This pass
makes the graph of the full batch right for that: wherever rows are folded together, those beyond
the true count are replaced by what does not matter (0 in a sum), and `size` counts true rows only.
It runs before `simplify`, which removes the nodes it looks for. It decides nothing about buffers.

What holds rows is followed from the arguments by each primitive's own `rows` rule. Where one mixes
rows in a way no mask can undo (a flip, a softmax over the batch's order), the entry is *exact*:
it may be run with full batches only.

Three things are known of each value that holds rows, besides where they are:

- *copies*: its padded rows hold what some real row holds, so they are as finite as real rows are.
- *wild*: they may hold what no real row holds, and went through an operation with a pole, so there
  may be infinities and NaNs where the exact batch has none.
- *zero*: they are zero. A cotangent that is repeated over the rows (`broadcast_like`) is made zero
  beyond the true rows, the transpose of the mask in the sum it belongs to. All cotangents after it
  are products with it, therefore zero as well, and need no mask of their own in weight gradients.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabgrad.dtypes import int32, limits
from tabgrad.ir import build as b
from tabgrad.ir.entry import EntryGraph, Result, State
from tabgrad.ir.graph import (
    Node,
    Rows,
    RowsMixedError,
    Shape,
    layer_scope,
    make,
    remake,
    rewrite,
    toposort,
)
from tabgrad.ir.movement import Broadcast


class Masked(NamedTuple):
    """What `mask_rows` found out.

    `exact`: only full batches are legal, because of `reason`. `row_outputs`: for each output,
    whether its leading axis holds the rows.
    """

    graph: EntryGraph
    exact: bool
    row_outputs: list[bool]
    reason: str = ""


def mask_rows(graph: EntryGraph) -> Masked:
    """The same entry, right for any number of true rows from 1 to `graph.rows`.

    A graph that mixes rows comes back unchanged, as exact.
    """
    if graph.rows is None:
        return Masked(graph, False, [False] * len(graph.results))
    count, graph = graph.rows, _without_custom(graph)
    order = toposort([*graph.outputs, *(node for _, node in graph.updates)])
    try:
        where = _follow(graph, order)
        flags = [_leading(result, where[id(result.node)]) for result in graph.results]
        for state in graph.states:
            if state.update is not None and where[id(state.update)] is not None:
                raise RowsMixedError(f"the new value of {state.variable} holds rows of the batch")
    except RowsMixedError as error:
        # All rows are true then; which outputs hold them only matters for joining batches.
        shaped = [result.node.shape[:1] == (count,) for result in graph.results]
        return Masked(graph, count > 1, shaped, str(error))
    if count == 1:
        return Masked(graph, False, flags)
    new = _Masking(where).rebuild(order)
    masked = dataclasses.replace(
        graph,
        results=[Result(new[id(r.node)], r.name) for r in graph.results],
        states=[
            State(s.node, s.variable, None if s.update is None else new[id(s.update)])
            for s in graph.states
        ],
    )
    return Masked(masked, False, flags)


def _without_custom(graph: EntryGraph) -> EntryGraph:
    """The entry without nodes that only held a gradient: several results share such a node, which
    has one rule for all of them."""
    roots = [*graph.outputs, *(node for _, node in graph.updates)]
    order = toposort(roots)
    if not any(node.prim.name == "custom" for node in order):
        return graph

    def rule(old: Node, srcs: tuple[Node, ...]) -> Node:
        if old.prim.name == "custom" and len(old.outs) == 1:
            return srcs[0]
        if old.prim.name == "proj" and srcs[0].prim.name == "custom":
            index: int = old.params["index"]
            return srcs[0].srcs[index]
        return remake(old, srcs)

    rest = iter(rewrite(roots, rule))
    return dataclasses.replace(
        graph,
        results=[Result(next(rest), r.name) for r in graph.results],
        states=[
            State(s.node, s.variable, None if s.update is None else next(rest))
            for s in graph.states
        ],
    )


def _follow(graph: EntryGraph, order: Sequence[Node]) -> dict[int, Rows | None]:
    """Where the rows are in each node. Raises RowsMixedError."""
    where: dict[int, Rows | None] = {id(leaf): None for leaf in (*graph.inputs, *graph.state)}
    where |= {id(a.node): Rows(0) for a in graph.arguments if a.rows}
    for node in order:
        if id(node) in where:
            continue
        found = [where[id(src)] for src in node.srcs]
        rows, folded = node.prim.rows(node, found)
        if rows is None and not folded and any(found) and node.prim.name not in _LOOKS:
            raise RowsMixedError(f"{node.prim.name} loses sight of the rows of a batch")
        if folded and node.prim.name not in _IDENTITY:
            raise RowsMixedError(f"{node.prim.name} folds rows, and nothing is neutral for it")
        where[id(node)] = rows
    return where


def _leading(result: Result, rows: Rows | None) -> bool:
    if rows not in (None, Rows(0)):
        raise RowsMixedError(f"the output {result.name} does not hold its rows on its first axis")
    return rows is not None


# What changes nothing when it takes part in a fold.
_IDENTITY: Mapping[str, Any] = {
    "reduce_sum": lambda dtype: 0,
    "dot": lambda dtype: 0,
    "conv": lambda dtype: 0,
    "scatter": lambda dtype: 0,
    "reduce_prod": lambda dtype: 1,
    "reduce_max": lambda dtype: limits(dtype)[0],
    "reduce_min": lambda dtype: limits(dtype)[1],
    # Padded rows come last, and of equals the first wins: an index is always that of a true row.
    "argmax": lambda dtype: limits(dtype)[0],
    "argmin": lambda dtype: limits(dtype)[1],
}

# They have a source with rows that they do not read.
_LOOKS = frozenset({"size", "barrier"})

# f(0) = 0, for each element alone.
_ZERO_STAYS = frozenset(
    "neg abs sign floor ceil round trunc sqrt expm1 log1p sin tan tanh erf cast tag stop reshape "
    "permute broadcast slice flip reduce_sum reduce_max reduce_min barrier".split()
)
# Zero if all sources are.
_ZEROS_STAY = frozenset("add sub max min concatenate pad".split())
# Zero if any source is and the others are finite.
_PRODUCTS = frozenset("mul and dot conv".split())
# Finite arguments may give infinities or NaNs (overflow apart, which strikes real rows as well).
_POLES = frozenset("div floordiv mod log log1p sqrt pow exp expm1 tan bitcast".split())
# Sources of these that hold no rows serve every row alike.
_SHARES = frozenset("dot conv gather dynamic_slice reshape barrier".split())


class _Masking:
    """The rebuilding walk: sources before users, with what is known of padded rows."""

    def __init__(self, where: Mapping[int, Rows | None]) -> None:
        self.where = where
        self.new: dict[int, Node] = {}
        self.own: set[int] = set()  # nodes whose padded rows are not copies of real rows
        self.wild: set[int] = set()
        self.zero: set[int] = set()

    def rebuild(self, order: Sequence[Node]) -> Mapping[int, Node]:
        """New nodes by the ids of old ones."""
        for node in order:
            with layer_scope(node.origin.layer):
                self.new[id(node)] = self._masked(node)
            if self.where[id(node)] is not None:
                self._learn(node)
        return self.new

    def _masked(self, node: Node) -> Node:
        if not node.srcs:
            return node
        name = node.prim.name
        srcs = [self.new[id(src)] for src in node.srcs]
        source_rows = [self.where[id(src)] for src in node.srcs]
        if name == "size" and source_rows[0] is not None:
            return _count(node, source_rows[0])
        result = remake(node, self._neutral(node, srcs, source_rows))
        rows = self.where[id(node)]
        if name == "broadcast_like" and source_rows[0] is None and rows is not None:
            return _mask(result, rows, 0)
        return result

    def _neutral(
        self, node: Node, srcs: list[Node], source_rows: Sequence[Rows | None]
    ) -> list[Node]:
        """The sources, with a mask on those whose padded rows would matter."""
        folded = list(node.prim.rows(node, source_rows)[1])
        if not folded:
            return srcs
        neutral = _IDENTITY[node.prim.name](node.srcs[folded[0]].dtype)
        if node.prim.name in ("dot", "conv"):
            folded = self._factors(node, source_rows)
        elif neutral == 0:
            folded = [i for i in folded if not self._is_zero(node.srcs[i])]
        for i in folded:
            rows = source_rows[i]
            assert rows is not None, f"{node.prim.name} asked for a mask where there are no rows"
            srcs[i] = _mask(srcs[i], rows, neutral)
        return srcs

    def _factors(self, node: Node, source_rows: Sequence[Rows | None]) -> list[int]:
        """Which factors to mask so that the products of padded rows vanish: one is enough, and the
        other one only where 0 times it may not be 0."""
        having = [i for i, rows in enumerate(source_rows) if rows is not None]
        # One is usually a cotangent and zero already. If not, the mask is for this node alone: a
        # mask in a kernel's loads costs less than another buffer.
        first = next((i for i in having if self._is_zero(node.srcs[i])), having[-1])
        masked = [] if self._is_zero(node.srcs[first]) else [first]
        return masked + [i for i in having if i != first and id(node.srcs[i]) in self.wild]

    def _is_zero(self, node: Node) -> bool:
        if node.prim.name == "broadcast":
            node = node.srcs[0]
        is_const = node.prim.name == "const" and node.params["value"] == 0
        return is_const or id(node) in self.zero

    def _learn(self, node: Node) -> None:
        """What the padded rows of a node that has rows are."""
        name, key = node.prim.name, id(node)
        having = [src for src in node.srcs if self.where[id(src)] is not None]
        if any(id(src) in self.own for src in having) or not self._uniform(node):
            self.own.add(key)
        # A quotient is finite where its divisor is not 0, whatever is divided.
        judged = node.srcs[1:] if name == "div" else (node, *node.srcs)
        if self._becomes_zero(node):
            self.zero.add(key)
            self.own.add(key)
        elif node.outs[0].dtype.is_float and (
            any(id(src) in self.wild for src in having)
            or (name in _POLES and any(id(v) in self.own for v in judged))
        ):
            self.wild.add(key)

    def _uniform(self, node: Node) -> bool:
        """Whether sources without rows are the same for every row."""
        rows = self.where[id(node)]
        assert rows is not None
        name = node.prim.name
        if name == "broadcast_like":
            return rows.axis not in node.params["dims"] or self.where[id(node.srcs[0])] is not None
        if name in _SHARES:
            return name != "dot" or rows.axis >= len(node.params["batch"][0])
        for src in node.srcs:
            if self.where[id(src)] is None and src.outs[0].shape:
                if not isinstance(src.prim, Broadcast) or rows.axis not in src.prim.repeated(src):
                    return False
        return True

    def _becomes_zero(self, node: Node) -> bool:
        name, srcs = node.prim.name, node.srcs
        zeros = [self._is_zero(src) for src in srcs]
        if name == "broadcast_like":
            return self.where[id(srcs[0])] is None or zeros[0]
        if name in _ZERO_STAYS or (name == "window_reduce" and node.params["op"] == "sum"):
            return zeros[0]
        if name in _ZEROS_STAY:
            return all(zeros)
        if name in _PRODUCTS:
            return any(zeros) and not any(id(src) in self.wild for src in srcs)
        if name == "select":
            return all(zeros[1:])
        if name == "scatter":  # into zeros, of zeros
            return zeros[0] and zeros[2]
        return name == "div" and zeros[0] and self.where[id(srcs[1])] is None


def _limit(inner: int) -> Node:
    """The number of elements that belong to true rows, on an axis that holds rows."""
    rows = make("rows")
    return rows if inner == 1 else b.mul(rows, b.const(inner, int32))


def _mask(x: Node, rows: Rows, neutral: Any) -> Node:
    """x with `neutral` in the padded rows."""
    size: Shape = (x.shape[rows.axis],)
    true = b.lt(b.iota(size, 0, int32), b.broadcast(_limit(rows.inner), size, ()))
    return b.select(b.broadcast(true, x.shape, (rows.axis,)), x, b.like(x, neutral))


def _count(node: Node, rows: Rows) -> Node:
    """The run-time value of a `size` node."""
    shape, axes = node.srcs[0].shape, node.params["axes"]
    if rows.axis not in axes:
        return b.const(math.prod(shape[a] for a in axes), int32)
    others = math.prod(shape[a] for a in axes if a != rows.axis)
    return _limit(rows.inner * others)
