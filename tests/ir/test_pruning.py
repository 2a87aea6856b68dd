"""Loops without what nobody reads."""

import numpy as np

from tabgrad.dtypes import float64
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, make, toposort
from tabgrad.ir.pruning import pruned


def loop():
    """Carries p (by x), q (by p and k) and r (by y); results p, q, r, and stacks of x*k and y."""
    k, p, q, r, x, y = (b.input((), float64) for _ in range(6))
    body = Graph(
        [k, p, q, r, x, y],
        [b.add(p, x), b.add(q, b.mul(p, k)), b.mul(r, y), b.mul(x, k), b.neg(y)],
    )
    srcs = [b.input((), float64) for _ in range(4)] + [b.input((3,), float64) for _ in range(2)]
    node = make("scan", *srcs, body=body, n_const=1, n_carry=3, length=3, reverse=False)
    return srcs, [b.proj(node, i) for i in range(5)]


def leaves_under(nodes):
    return {id(n) for n in toposort(nodes) if n.prim.name == "input"}


def check(wanted, needed):
    srcs, outs = loop()
    chosen = [outs[i] for i in wanted]
    less = pruned(chosen)
    assert leaves_under(less) == {id(srcs[i]) for i in needed}
    rng = np.random.default_rng(1)
    arrays = {src: rng.normal(size=src.shape) for src in srcs}
    for one, other in zip(evaluate(chosen, arrays), evaluate(less, arrays), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_carry_alone():
    check([0], [1, 4])


def test_a_carry_that_needs_another():
    check([1], [0, 1, 2, 4])


def test_stacked_results_need_no_carry():
    check([3], [0, 4])
    check([4], [5])
    check([4, 3], [0, 4, 5])


def test_everything():
    check([0, 1, 2, 3, 4], range(6))


def test_loops_in_loops():
    c, x, d, z = (b.input((), float64) for _ in range(4))
    inner = Graph([c, d], [b.mul(c, b.const(2, float64)), b.add(d, d)])
    turn = make("scan", x, z, body=inner, n_const=0, n_carry=2, length=2, reverse=False)
    outer = Graph([x, z], [b.proj(turn, 0), b.proj(turn, 1)])
    srcs = [b.input((), float64) for _ in range(2)]
    node = make("scan", *srcs, body=outer, n_const=0, n_carry=2, length=2, reverse=False)
    (less,) = pruned([b.proj(node, 0)])
    assert leaves_under([less]) == {id(srcs[0])}
    assert evaluate([less], {srcs[0]: np.float64(3)}) == [48]
