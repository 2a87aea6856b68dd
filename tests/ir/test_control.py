"""While and cond on the reference: what runs, how often, forwards derivatives, joined loops."""

from __future__ import annotations

import numpy as np
import pytest

from tabgrad.compiler.simplify import simplify
from tabgrad.dtypes import bool_, float32, float64, int32
from tabgrad.engines.reference import evaluate
from tabgrad.errors import NotSupportedError
from tabgrad.ir import build as b
from tabgrad.ir.batching import batched
from tabgrad.ir.control import cond, projections
from tabgrad.ir.forward import tangents
from tabgrad.ir.graph import Graph, Node, make, toposort
from tabgrad.ir.reverse import cotangents


def doubling(limit: Node, x: Node, n: Node) -> Node:
    """x doubled (and n counted) while it is below the limit."""
    inputs = [b.input(node.shape, node.dtype) for node in (limit, x, n)]
    top, value, count = inputs
    test = Graph(inputs, [b.lt(value, top)])
    body = Graph(inputs, [b.add(value, value), b.add(count, b.like(count, 1))])
    return make("while", limit, x, n, test=test, body=body, n_const=1)


@pytest.mark.parametrize(("start", "turns"), [(1.0, 4), (9.0, 1), (10.0, 0), (np.nan, 0)])
def test_a_while_runs_until_its_test_fails(start, turns):
    top, x, n = b.input((), float64), b.input((), float64), b.input((), int32)
    value, count = evaluate(
        projections(doubling(top, x, n)),
        {top: np.float64(10), x: np.float64(start), n: np.int32(0)},
    )
    np.testing.assert_array_equal(value, start * 2**turns)
    assert count == turns


def test_a_while_is_differentiated_forwards_only():
    top, x, n = b.input((), float64), b.input((), float64), b.input((), int32)
    value = b.proj(doubling(top, x, n), 0)
    leaves = {top: np.float64(10), x: np.float64(3), n: np.int32(0)}
    t = b.input((), float64)
    (moved,) = tangents([value], {x: t})
    assert evaluate([moved], leaves | {t: np.float64(5)}) == [20]
    (still,) = tangents([value], {top: t})
    assert still is None or evaluate([still], leaves | {t: np.float64(5)}) == [0]
    with pytest.raises(NotSupportedError, match=r"fori_loop.*scan.*jvp"):
        cotangents([value], [b.like(value, 1)], [x])


def test_a_tangent_reaches_carries_turn_by_turn():
    """The second carry moves only because the first one does."""
    inputs = [b.input((), float64), b.input((), float64), b.input((), int32)]
    x, y, i = inputs
    test = Graph(inputs, [b.lt(i, b.like(i, 3))])
    body = Graph(inputs, [b.mul(x, x), b.add(y, x), b.add(i, b.like(i, 1))])
    srcs = [b.input((), float64), b.input((), float64), b.const(0, int32)]
    out = b.proj(make("while", *srcs, test=test, body=body, n_const=0), 1)
    t = b.input((), float64)
    (found,) = tangents([out], {srcs[0]: t})
    leaves = {srcs[0]: np.float64(1.5), srcs[1]: np.float64(0), t: np.float64(1)}
    assert evaluate([found], leaves)[0] == pytest.approx(1 + 2 * 1.5 + 4 * 1.5**3)


def test_examples_of_a_batch_end_when_they_are_done():
    top, x, n = b.input((), float64), b.input((), float64), b.input((), int32)
    twin = b.input((4,), float64)
    outs = batched(projections(doubling(top, x, n)), {x: twin})
    starts = np.array([1.0, 9.0, 30.0, np.nan])
    value, count = evaluate(
        [out for out, _ in outs], {top: np.float64(10), twin: starts, n: np.int32(0)}
    )
    np.testing.assert_array_equal(value, [16.0, 18.0, 30.0, np.nan])
    np.testing.assert_array_equal(count, [4, 1, 0, 0])


def test_a_count_stays_single_where_the_batch_does_not_decide():
    """The test does not depend on the batch, so it stays a scalar and nothing is selected."""
    inputs = [b.input((), int32), b.input((), float64)]
    i, x = inputs
    test = Graph(inputs, [b.lt(i, b.like(i, 5))])
    body = Graph(inputs, [b.add(i, b.like(i, 1)), b.add(x, x)])
    start, count = b.input((), float64), b.const(0, int32)
    node = make("while", count, start, test=test, body=body, n_const=0)
    twin = b.input((3,), float64)
    ((out, flag),) = batched([b.proj(node, 1)], {start: twin})
    assert flag
    np.testing.assert_array_equal(evaluate([out], {twin: np.arange(3.0)})[0], np.arange(3.0) * 32)
    loops = [n for n in toposort([out]) if n.prim.name == "while"]
    assert [aval.shape for aval in loops[0].outs] == [(), (3,)]
    assert not [n for n in toposort(loops[0].params["body"].outputs) if n.prim.name == "select"]


def test_a_batch_in_the_index_picks_for_each_example():
    x = b.input((), float64)
    graphs = []
    for name in ("neg", "abs", "exp"):
        inner = b.input((), float64)
        graphs.append(Graph([inner], [make(name, inner)]))
    index, twin = b.input((), int32), b.input((5,), int32)
    ((out, _),) = batched([cond(index, [x], graphs)], {index: twin})
    picked = np.array([0, 1, 2, -4, 9], np.int32)
    got = evaluate([out], {x: np.float64(-2), twin: picked})[0]
    np.testing.assert_allclose(got, [2, 2, np.exp(-2), 2, np.exp(-2)])


def test_branches_without_operands_that_move_have_no_gradient():
    x, y = b.input((), float32), b.input((), float32)
    graphs = []
    for value in (1.0, 2.0):
        inner = b.input((), float32)
        graphs.append(Graph([inner], [b.const(value, float32)]))
    node = cond(b.cast(b.lt(x, y), int32), [x], graphs)
    assert cotangents([node], [b.like(node, 1)], [x, y]) == [None, None]


def walking() -> tuple[Node, list[Node]]:
    c, x = b.input((3,), float32), b.input((3,), float32)
    body = Graph([c, x], [make("tanh", b.add(c, x)), b.mul(c, x)])
    srcs = [b.input((3,), float32), b.input((5, 3), float32)]
    node = make("scan", *srcs, body=body, n_const=0, n_carry=1, length=5, reverse=False)
    return node, srcs


def scans(roots: list[Node]) -> list[Node]:
    return [node for node in toposort(roots) if node.prim.name == "scan"]


def test_a_scan_and_its_gradient_walk_forwards_once():
    node, srcs = walking()
    last, ys = projections(node)
    total = b.add(b.reduce("reduce_sum", last, (0,)), b.reduce("reduce_sum", ys, (0, 1)))
    found = [g for g in cotangents([total], [b.like(total, 1)], srcs) if g is not None]
    roots = [total, *found]
    assert len(scans(roots)) == 3
    simple = simplify(roots)
    assert len(scans(simple)) == 2
    rng = np.random.default_rng(0)
    leaves = {s: rng.normal(size=s.shape).astype(np.float32) for s in srcs}
    for mine, plain in zip(evaluate(simple, leaves), evaluate(roots, leaves), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_a_sort_and_its_gradient_sort_once():
    x = b.input((7,), float32)
    y = make("sort", x)
    g = b.input((7,), float32)
    (slope,) = cotangents([y], [g], [x])
    assert slope is not None
    simple = simplify([y, slope])
    assert sum(node.prim.name == "sort" for node in toposort(simple)) == 1
    values, there = np.float32([3, 1, 2, 1, 9, 0, 5]), np.arange(7, dtype=np.float32)
    for mine, plain in zip(
        evaluate(simple, {x: values, g: there}), evaluate([y, slope], {x: values, g: there}),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(mine, plain)


def test_a_payload_made_of_another_sort_is_not_joined_with_it():
    x = b.input((4,), float32)
    first = make("sort", x, b.iota((4,), 0, int32))
    second = make("sort", x, b.proj(first, 1))
    roots = [b.proj(first, 1), b.proj(second, 1)]
    values = np.float32([3, 1, 2, 0])
    for mine, plain in zip(
        evaluate(simplify(roots), {x: values}), evaluate(roots, {x: values}), strict=True
    ):
        np.testing.assert_array_equal(mine, plain)


def test_a_known_branch_takes_the_place_of_its_cond():
    x = b.input((), float32)
    graphs = []
    for name in ("neg", "exp"):
        inner = b.input((), float32)
        graphs.append(Graph([inner], [make(name, inner), inner]))
    for index, name in ((0, "neg"), (1, "exp"), (7, "exp")):
        node = cond(b.const(index, int32), [x], graphs)
        assert simplify(projections(node)) == [make(name, x), x]


def test_bodies_of_whiles_and_conds_are_simplified():
    x, flag = b.input((), float32), b.input((), bool_)
    inner, other = b.input((), float32), b.input((), float32)
    graphs = [Graph([inner], [b.neg(b.neg(inner))]), Graph([other], [make("stop", other)])]
    (node,) = simplify([cond(b.cast(flag, int32), [x], graphs)])
    for i in range(2):
        graph = node.params[f"branch{i}"]
        assert graph.outputs == graph.inputs
