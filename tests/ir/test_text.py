"""Graphs as text: printed as expected, parsed back to an equal graph; errors name the line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

import tabgrad as tg
from tabgrad import config, jit, ops, realize
from tabgrad.dtypes import as_dtype, float32
from tabgrad.engines.reference import ReferenceEngine
from tabgrad.errors import FormatError, TabgradError
from tabgrad.ir import build as b
from tabgrad.ir.graph import PRIMITIVES, Graph, layer_scope, make
from tabgrad.ir.text import format_graph, parse_entry, parse_graph
from tests.ir.graphs import gallery, random_graphs

SIMPLE = """\
graph {
  %0 = input : float32[4,8]
  %1 = input : float32[8,2]
  %2 = dot(%0, %1) batch=((), ()) contract=((1,), (0,)) : float32[4,2]
  %3 = const() value=0.1 : float32[]
  %4 = broadcast(%3) dims=() : float32[4,2]
  %5 = mul(%2, %4) : float32[4,2]
  %6 = cast(%5) : int8[4,2]
  return %6, %2
}"""

WITH_BODY = """\
graph {
  %0 = input : float32[]
  %1 = input : float32[3]
  %2 = scan(%0, %1) length=3 n_carry=1 n_const=0 reverse=False : float32[], float32[3]
    body {
      %0 = input : float32[]
      %1 = input : float32[]
      %2 = add(%0, %1) : float32[]
      return %2, %2
    }
  %3 = proj(%2) index=1 : float32[3]
  return %3
}"""


def round_trip(graph):
    text = format_graph(graph)
    parsed = parse_graph(text)
    assert parsed == graph
    assert format_graph(parsed) == text


@pytest.mark.parametrize("text", [SIMPLE, WITH_BODY])
def test_text_survives(text):
    assert format_graph(parse_graph(text)) == text


def test_a_graph_built_by_hand_prints_as_expected():
    x, w = b.input((4, 8), float32), b.input((8, 2), float32)
    y = make("dot", x, w, contract=((1,), (0,)), batch=((), ()))
    assert format_graph(Graph([x, w], [b.cast(b.scale(y, 0.1), as_dtype("int8")), y])) == SIMPLE


def test_every_primitive_survives():
    nodes = gallery()
    assert set(nodes) == set(PRIMITIVES)
    for name, node in nodes.items():
        text = format_graph([node])
        assert name in text
        round_trip(parse_graph(text))


@given(random_graphs())
@settings(max_examples=150, deadline=None)
def test_random_graphs_survive(graph):
    inputs, outputs = graph
    round_trip(Graph(inputs, outputs))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "value", [0.1, 1e-45, 65504.0, 1 / 3, -0.0, 1e30, math.pi, math.inf, -math.inf, math.nan]
)
def test_constants_survive_to_the_bit(value, dtype):
    node = b.const(value, as_dtype(dtype))
    (parsed,) = parse_graph(format_graph([node])).outputs
    assert parsed is node


def test_constants_take_few_digits():
    assert "value=0.1 " in format_graph([b.const(0.1, float32)])
    assert "value=1.0 " in format_graph([b.const(1, float32)])
    assert "value=-0.0 " in format_graph([b.const(-0.0, float32)])
    assert "value=7 " in format_graph([b.const(7, as_dtype("uint8"))])
    assert "value=True " in format_graph([b.const(True, as_dtype("bool"))])


def test_unused_inputs_are_kept():
    x, y = b.input((2,), float32), b.input((3,), float32)
    assert len(parse_graph(format_graph(Graph([x, y], [y]))).inputs) == 2


def test_leaves_of_loose_nodes_become_inputs_in_order_of_appearance():
    x, y = b.input((2,), float32), b.input((2,), float32)
    assert format_graph([b.sub(y, x)]) == format_graph(Graph([y, x], [b.sub(y, x)]))


def test_layers_and_lines_are_comments_on_request():
    x = b.input((2,), float32)
    with config.override(debug=1), layer_scope("dense"):
        node = make("erf", x)
    text = format_graph([node], layers=True)
    assert "erf(%0) : float32[2]  # dense " in text and "test_text.py:" in text
    assert "#" not in format_graph([node])
    assert parse_graph(text) == parse_graph(format_graph([node]))


ENTRY = """\
entry step rows=8 {
  %0 = input x : float32[8,4] rows
  %1 = input "learning rate" : float32[] scalar
  %2 = state dense/kernel : float32[4]
  %3 = state count : int32[]
  %4 = broadcast(%1) dims=() : float32[4]
  %5 = mul(%2, %4) : float32[4]
  output y = %0
  update dense/kernel = %5
}"""


def test_entries_survive():
    entry = parse_entry(ENTRY)
    assert format_graph(entry) == ENTRY
    assert entry.name == "step" and entry.rows == 8
    assert [(a.name, a.rows, a.scalar) for a in entry.arguments] == [
        ("x", True, False),
        ("learning rate", False, True),
    ]
    assert [(s.variable, s.update is None) for s in entry.states] == [
        ("dense/kernel", False),
        ("count", True),
    ]


def test_a_traced_function_survives():
    with realize.using(ReferenceEngine()):
        w = tg.Variable([[1.0, 2.0]], name="w")

    def fn(x):
        loss, slopes = tg.value_and_grad(lambda x: ops.sum(ops.relu(x * w)), variables=[w])(x)
        w.assign(w - slopes[0])
        return loss

    entry = jit.trace(fn, [((3, 2), "float32", True)]).graph
    text = format_graph(entry)
    assert format_graph(parse_entry(text)) == text


BROKEN = {
    "no head": ("", "line 1: expected a line ending in"),
    "an entry": (ENTRY, "expected text beginning with 'graph {'"),
    "no end": ("graph {\n  return %0", "line 2: expected a node defined above instead of %0"),
    "unfinished": ("graph {\n  %0 = input : int8[]\n", "received 'the end'"),
    "no such primitive": (SIMPLE.replace("mul(", "mull("), "line 7: expected a primitive"),
    "a wrong type": (SIMPLE.replace("%5) : int8[4,2]", "%5) : int8[4,3]"), "line 8"),
    "a wrong source": (SIMPLE.replace("cast(%5)", "cast(%6)"), "line 8.*instead of %6"),
    "no type": (SIMPLE.replace(" : int8[4,2]", ""), "line 8: expected a node, a result"),
    "a wrong value": (SIMPLE.replace("value=0.1", "value=abc"), "line 5: expected a value"),
    "a missing parameter": (SIMPLE.replace(" dims=()", ""), "line 6: broadcast cannot be made"),
    "a missing source": (
        SIMPLE.replace("mul(%2, %4)", "select(%2, %4)"),
        "line 7: expected 3 sources",
    ),
    "text behind": (SIMPLE + "\n}", "line 11: expected nothing after"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_errors_name_the_line(name):
    text, message = BROKEN[name]
    with pytest.raises(FormatError, match=message):
        parse_graph(text)


def test_a_graph_is_no_entry():
    with pytest.raises(FormatError, match=r"beginning with 'entry name \{'"):
        parse_entry(SIMPLE)


def test_shape_rules_are_applied():
    with pytest.raises(TabgradError, match="dot expected equal contracted sizes"):
        parse_graph(SIMPLE.replace("contract=((1,), (0,))", "contract=((0,), (0,))"))


def test_a_hundred_thousand_nodes():
    node = b.input((), float32)
    for _ in range(50_000):
        node = b.neg(b.unary("exp", node))
    text = format_graph([node])
    assert text.count("\n") == 100_003
    assert format_graph(parse_graph(text)) == text
