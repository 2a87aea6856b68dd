"""Simplification of whole graphs: every bit stays, and a graph grows only where that saves work."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tabgrad.compiler.simplify import simplify
from tabgrad.dtypes import float32, int32
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, layer_scope, make, toposort
from tabgrad.ir.verify import BEFORE_SIMPLIFY, verify_graph
from tests.ir.graphs import gallery, random_arrays, random_graphs
from tests.ir.running import identical

F = b.input((2, 3), float32)


def is_number(node):
    """Whether a node is a constant, of whatever shape: kernels hold it as a number."""
    return node.prim.name == "const" or (
        node.prim.name == "broadcast" and node.srcs[0].prim.name == "const"
    )


def computing(roots):
    """The nodes that compute something; those that move elements become index arithmetic."""
    return [node for node in toposort(roots) if node.prim.family not in ("leaf", "movement")]


def work(nodes):
    """How many elements the nodes compute, or look at to fold them."""
    return sum(
        node.size if node.prim.family == "elementwise" else max(src.size for src in node.srcs)
        for node in nodes
    )


def asked_again(nodes):
    """Comparisons of what a limit has been put to, which `keep_activations` makes."""

    def limited(node):
        return node.prim.name == "select" and node.srcs[0].prim.name in ("le", "lt")

    return [n for n in nodes if n.prim.name in ("le", "lt") and any(map(limited, n.srcs))]


def moved_later(roots):
    """How many nodes have nothing but moved elements and numbers for sources, so that they can be
    computed from what was there before the movement."""
    moved, count = set(), 0
    for node in toposort(roots):
        if is_number(node):
            continue
        later = bool(node.srcs) and all(is_number(s) or id(s) in moved for s in node.srcs)
        reshapes = node.prim.family == "reduce" and node.size == node.srcs[0].size
        count += later
        if later or reshapes or node.prim.family == "movement":
            moved.add(id(node))
    return count


def check_growth(outputs, simple):
    """A graph may only grow by nodes that save work or come to nothing in kernels."""
    before, after = computing(outputs), computing(simple)
    # A sum of copies becomes a sum of fewer, and a product. A limit's comparison may be asked of
    # its result once more, so that its argument need not be kept.
    products = sum(node.prim.name == "reduce_sum" for node in before)
    asked = asked_again(after)
    assert len(after) <= len(before) + products + len(asked)
    assert work(after) <= work(before) + work(asked)
    # What is computed before it is repeated leaves a broadcast behind, and a reshape where it has
    # axes of size 1, which sources of broadcasts do not have.
    squeezed = [
        node for node in toposort(outputs)
        if node.prim.name == "broadcast" and 1 in node.srcs[0].shape
    ]  # fmt: skip
    movement = len(squeezed) + 2 * moved_later(outputs)
    nodes, simple_nodes = (
        sum(not is_number(node) for node in toposort(roots)) for roots in (outputs, simple)
    )
    assert simple_nodes <= nodes + movement + products + len(asked)


@given(random_graphs(24), st.integers(0, 9))
@settings(max_examples=400, deadline=None)
def test_random_graphs_keep_every_bit(graph, seed):
    inputs, outputs = graph
    simple = simplify(outputs)
    verify_graph(simple, simplified=True)
    leaves = dict(zip(inputs, random_arrays(inputs, seed), strict=True))
    for got, want in zip(evaluate(simple, leaves), evaluate(outputs, leaves), strict=True):
        identical(got, want)
    assert simplify(simple) == simple
    check_growth(outputs, simple)


def test_bounds_of_growth_are_reached():
    one = b.input((1,), float32)
    copies = b.broadcast(one, (4, 1), (1,))
    outputs = [copies, *(b.unary(name, copies) for name in ("neg", "exp", "tanh"))]
    simple = simplify(outputs)
    check_growth(outputs, simple)
    assert len(toposort(simple)) == len(toposort(outputs)) + 1 + 2 * 3
    assert (work(computing(outputs)), work(computing(simple))) == (12, 3)

    rows = b.input((5, 3), int32)
    outputs = [make("reduce_sum", b.broadcast(rows, (4, 5, 3), (1, 2)), axes=(0, 1))]
    simple = simplify(outputs)
    check_growth(outputs, simple)
    assert [node.prim.name for node in computing(simple)] == ["reduce_sum", "mul"]
    assert (work(computing(outputs)), work(computing(simple))) == (60, 15 + 3)


def test_every_primitive_passes_through():
    nodes = list(gallery().values())
    simple = simplify(nodes)
    verify_graph(simple, simplified=True)
    assert not {n.prim.name for n in toposort(simple)} & BEFORE_SIMPLIFY


def test_bodies_of_scans_are_simplified_too():
    c, x = b.input((), float32), b.input((2,), float32)
    inner_c, inner_x = b.input((), float32), b.input((), float32)
    inner = Graph([inner_c, inner_x], [b.add(b.neg(b.neg(inner_c)), b.scale(inner_x, 1))])
    walk = make("scan", c, x, body=inner, n_const=0, n_carry=1, length=2, reverse=False)
    outer = Graph([c, x], [b.unary("stop", walk), b.neg(b.neg(x))])
    srcs = [b.input((), float32), b.input((3, 2), float32)]
    node = make("scan", *srcs, body=outer, n_const=0, n_carry=1, length=3, reverse=False)
    roots = [b.proj(node, 0), b.proj(node, 1)]
    simple = simplify(roots)
    verify_graph(simple, simplified=True)
    body = simple[0].srcs[0].params["body"]
    assert body == Graph([c, x], [
        make("scan", c, x, body=Graph([inner_c, inner_x], [b.add(inner_c, inner_x)]),
             n_const=0, n_carry=1, length=2, reverse=False), x,
    ])  # fmt: skip
    leaves = dict(zip(srcs, [np.float32(1), np.ones((3, 2), np.float32)], strict=True))
    for got, want in zip(evaluate(simple, leaves), evaluate(roots, leaves), strict=True):
        identical(got, want)
    assert simplify(simple) == simple


def test_layers_stay_with_their_nodes():
    with layer_scope("dense"):
        node = b.scale(b.neg(b.unary("tan", F)), 0.25)
    (simple,) = simplify([node])
    assert simple.prim.name == "mul" and simple.origin.layer == "dense"


def long_chain():
    node, zero = F, b.like(F, 0)
    for _ in range(12_500):
        node = b.neg(b.neg(b.reshape(b.reshape(b.unary("tanh", node), (6,)), (2, 3))))
        node = b.select(make("le", node, zero), zero, node)
        node = b.add(node, b.like(node, -0.0))
    return node


def test_a_hundred_thousand_nodes():
    node = long_chain()
    assert len(toposort([node])) > 100_000
    (simple,) = simplify([node])
    assert len(toposort([simple])) == 3 * 12_500 + 3
