"""verify_graph accepts every legal graph and names the line of what is wrong in others."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given, settings

from tabgrad.dtypes import as_dtype, float32, int32
from tabgrad.errors import TabgradError
from tabgrad.ir import build as b
from tabgrad.ir.arity import ARITY
from tabgrad.ir.graph import PRIMITIVES, Aval, Graph, Node, make
from tabgrad.ir.text import parse_entry
from tabgrad.ir.verify import BEFORE_SIMPLIFY, verify_graph
from tests.ir.graphs import gallery, random_graphs


def forged(name, *srcs, outs, **params):
    """A node that no rule has looked at; it is in no table, so other tests never meet it."""
    node = Node.__new__(Node)
    template = b.input((), float32)
    for slot in ("buffer", "depth", "held", "origin"):
        setattr(node, slot, getattr(template, slot))
    node.prim, node.srcs, node.params = PRIMITIVES[name], srcs, MappingProxyType(params)
    node.outs = tuple(outs)
    node._key = (name, tuple(map(id, srcs)), tuple(sorted(params.items())))
    return node


X = b.input((2, 3), float32)
PLAIN = [Aval((2, 3), float32)]


def refused(roots, message, **options):
    with pytest.raises(TabgradError, match=message):
        verify_graph(roots, **options)


def test_every_primitive_is_accepted():
    nodes = gallery()
    assert set(nodes) == set(PRIMITIVES) == set(ARITY)
    verify_graph(list(nodes.values()))
    for name, node in nodes.items():
        found = name in BEFORE_SIMPLIFY
        if found:
            refused([node], f"still there after simplification:\n.*{name}", simplified=True)
        else:
            verify_graph([node], simplified=True)


@given(random_graphs())
@settings(max_examples=50, deadline=None)
def test_random_graphs_are_accepted(graph):
    inputs, outputs = graph
    verify_graph(Graph(inputs, outputs))


# These take any number of sources, as long as their graphs and outputs fit them.
MANY = {"scan", "while", "cond", "sort", "concatenate", "custom"}


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - MANY))
def test_one_source_too_many_is_refused(name):
    node = gallery()[name]
    if node.prim.name != name:  # of several outputs, the gallery holds a projection
        node = node.srcs[0]
    if name in ("dynamic_slice", "dynamic_update_slice"):
        message = "is refused by its own rule"
    else:
        message = rf"has {len(node.srcs) + 1} sources; expected {len(node.srcs)}:"
    more = forged(name, *node.srcs, X, outs=node.outs, **node.params)
    outputs = [more] if len(more.outs) == 1 else [forged("neg", more, outs=[more.outs[0]])]
    refused(outputs, message)


@pytest.mark.parametrize("name", [n for n in sorted(PRIMITIVES) if isinstance(ARITY[n], int)])
def test_a_wrong_number_of_sources_is_refused_at_once(name):
    node = gallery()[name]
    if node.prim.name != name:
        node = node.srcs[0]
    for srcs in ((*node.srcs, X), node.srcs[:-1]):
        if len(srcs) != len(node.srcs):
            message = rf"{name} expected {len(node.srcs)} sources; received {len(srcs)}:"
            with pytest.raises(TabgradError, match=message):
                make(name, *srcs, **node.params)


WRONG = {
    "shape": (forged("neg", X, outs=[Aval((3, 2), float32)]), r"should have the outputs.*\[2, 3\]"),
    "dtype": (forged("neg", X, outs=[Aval((2, 3), int32)]), "should have the outputs"),
    "sources": (forged("add", X, b.cast(X, int32), outs=PLAIN), "refused by its own rule: add"),
    "no parameter": (forged("permute", X, outs=PLAIN), "refused by its own rule: 'axes'"),
    "negative size": (forged("neg", X, outs=[Aval((2, -3), float32)]), "has the shape"),
    "list as shape": (forged("neg", X, outs=[Aval([2, 3], float32)]), "has the shape"),
    "unknown dtype": (forged("neg", X, outs=[Aval((2, 3), "complex64")]), "dtype 'complex64'"),
    "rounding": (
        forged("const", outs=[Aval((), float32)], value=0.1, dtype=float32),
        "a value that is not one of float32",
    ),
    "range": (
        forged("const", outs=[Aval((), int32)], value=2**31, dtype=int32),
        "a value that is not one of int32",
    ),
    "kind": (
        forged("const", outs=[Aval((), int32)], value=True, dtype=int32),
        "a value that is not one of int32",
    ),
    "bytes": (
        forged("array", outs=[Aval((2,), float32)], data=b"1234", shape=(2,), dtype=float32),
        "holds 4 bytes; expected 8",
    ),
    "projection": (
        forged("proj", X, outs=PLAIN, index=1, aval=PLAIN[0]),
        "does not match output 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_nodes_are_refused_with_their_line(name):
    node, message = WRONG[name]
    refused([node], message)
    with pytest.raises(TabgradError, match=rf"\n  %\d+ = {node.prim.name}\("):
        verify_graph([node])


def test_wrong_nodes_are_found_below_others():
    refused([b.neg(X), make("neg", WRONG["shape"][0])], r"%\d+ = neg\(%\d+\) : float32\[3,2\]")


def test_several_outputs_need_a_projection():
    words = b.input((4,), as_dtype("uint32"))
    both = make("threefry", words, words, words, words)
    refused([both], "has several outputs")
    refused([forged("neg", both, outs=[both.outs[0]])], "without proj")


def test_cycles_are_refused():
    a = forged("neg", X, outs=PLAIN)
    c = forged("exp", a, outs=PLAIN)
    a.srcs = (c,)
    refused([c], "depends on itself")


def test_leaves_must_be_declared():
    y = b.input((2, 3), float32)
    graph = Graph([X, y], [b.add(X, y)])
    verify_graph(graph)
    graph.inputs = (X,)
    refused(graph, r"none of the declared inputs:\n  %1 = input")
    graph.inputs = (X, y, X)
    refused(graph, "declared as an input twice")
    graph.inputs = (X, b.neg(X))
    refused(graph, "declared as an input but is computed")


def test_sub_graphs_are_checked():
    c = b.input((), float32)
    wrong = Graph([c], [c])
    wrong.outputs = (forged("neg", c, outs=[Aval((), float32), Aval((), float32)]),)
    scan = forged(
        "scan", c, outs=[Aval((), float32)], body=wrong, n_const=0, n_carry=1, length=2,
        reverse=False,
    )  # fmt: skip
    refused([scan], r"(?s)several outputs.*in a sub-graph of.*scan")
    counting = Graph([c], [c])
    counting.outputs = (b.cast(make("rows"), float32),)
    scan = make("scan", c, body=counting, n_const=0, n_carry=1, length=2, reverse=False)
    refused([scan], r"(?s)rows\(\).*in a sub-graph of.*scan")


def test_entries_are_checked_with_their_states_and_updates():
    entry = parse_entry(
        """entry step {
          %0 = input x : float32[2]
          %1 = state v : float32[2]
          %2 = add(%0, %1) : float32[2]
          %3 = rows() : int32[]
          output y = %0
          output n = %3
          update v = %2
        }"""
    )
    verify_graph(entry)
    entry.states = []
    verify_graph(entry)
    entry.results = [*entry.results, entry.results[0]]
    entry.arguments = []
    refused(entry, "none of the declared inputs")


def test_a_hundred_thousand_nodes():
    node = b.input((), float32)
    for _ in range(50_000):
        node = b.neg(b.unary("exp", node))
    verify_graph([node])
