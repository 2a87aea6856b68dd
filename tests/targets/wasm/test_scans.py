"""Loops in modules against NumPy: what turns hand on, what they read and what they leave."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops
from tabgrad.dtypes import bool_, float32, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, Node, make
from tests.targets.wasm.arrays import whole_numbers
from tests.targets.wasm.computing import Given, compute


def leaf(*shape, dtype=float32):
    return b.input(shape, dtype)


def scan(body, length, reverse, consts=(), carry=(), xs=()):
    """All results of a scan."""
    node = make(
        "scan", *consts, *carry, *xs, body=body, n_const=len(consts), n_carry=len(carry),
        length=length, reverse=reverse,
    )  # fmt: skip
    return [b.proj(node, i) for i in range(len(node.outs))]


def turns(length, reverse):
    return list(reversed(range(length)) if reverse else range(length))


def check(results: list[Node], given: Given, expected):
    got = compute(results, given.arrays)
    for i, (mine, true) in enumerate(zip(got, expected, strict=True)):
        np.testing.assert_array_equal(mine, true, err_msg=f"result {i}")


@pytest.fixture(params=[0, 1, 2, 5])
def length(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def reverse(request):
    return request.param


def test_carries_change_places(length, reverse):
    """With arithmetic and without: neither may be overwritten before it is read."""
    given = Given()
    k, c, d, x = leaf(3), leaf(3), leaf(3), leaf(3)
    kv, cv, dv = (whole_numbers(3, seed=i) for i in range(3))
    xv = whole_numbers(length, 3, seed=3)
    both = [given(cv), given(dv)]
    body = Graph([k, c, d, x], [d, b.add(c, x), c, k, x])
    results = scan(body, length, reverse, [given(kv)], both, [given(xv)])
    results += scan(Graph([c, d], [d, c]), length, reverse, carry=both)
    one, two, seen = cv, dv, np.zeros((length, 3), np.float32)
    for t in turns(length, reverse):
        seen[t] = one
        one, two = two, one + xv[t]
    turned = (dv, cv) if length % 2 else (cv, dv)
    constants = np.broadcast_to(kv, (length, 3))
    check(results, given, [one, two, seen, constants, xv, *turned])


def test_one_value_starts_two_carries(length, reverse):
    given = Given()
    c, d, x = leaf(3), leaf(3), leaf(3)
    start, xv = whole_numbers(3), whole_numbers(length, 3, seed=1)
    body = Graph([c, d, x], [b.add(c, d), b.sub(d, x), b.add(c, d)])
    results = scan(body, length, reverse, (), [given(start)] * 2, [given(xv)])
    one, two, seen = start, start, np.zeros((length, 3), np.float32)
    for t in turns(length, reverse):
        one, two = one + two, two - xv[t]
        seen[t] = one
    check(results, given, [one, two, seen])


def test_without_a_carry_and_with_one_that_stays(length, reverse):
    given = Given()
    c, x = leaf(3), leaf(3)
    start, xv = whole_numbers(3), whole_numbers(length, 3, seed=1)
    rows = given(xv)
    results = scan(Graph([x], [b.mul(x, x)]), length, reverse, xs=[rows])
    results += scan(Graph([c, x], [c, b.full((2,), 3, float32)]), length, reverse, (),
                    [given(start)], [rows])  # fmt: skip
    check(results, given, [xv * xv, start, np.full((length, 2), 3)])


def test_products_and_flips_of_the_carry(length, reverse):
    """Every element of the new carry reads others of the old."""
    given = Given()
    m, c, d = leaf(3, 3), leaf(3), leaf(3)
    mv, cv, dv = whole_numbers(3, 3, low=-1, high=2), whole_numbers(3), whole_numbers(3, seed=1)
    product = make("dot", m, c, contract=((1,), (0,)), batch=((), ()))
    body = Graph([m, c, d], [product, make("flip", d, axes=(0,)), b.add(c, d)])
    results = scan(body, length, reverse, [given(mv)], [given(cv), given(dv)])
    one, two, seen = cv, dv, np.zeros((length, 3), np.float32)
    for t in turns(length, reverse):
        seen[t] = one + two
        one, two = mv @ one, two[::-1]
    check(results, given, [one, two, seen])


def test_a_carry_is_changed_at_places_known_at_run_time(length, reverse):
    given = Given()
    t, i = leaf(4), leaf(dtype=int32)
    start, places = whole_numbers(4), (np.arange(length, dtype=np.int32) * 3) % 4
    at, rows = given(start), given(places)
    added = make("scatter", t, b.reshape(i, (1,)), b.full((1,), 2, float32), axis=0, op="add")
    results = scan(Graph([t, i], [added, make("gather", t, i, axis=0)]), length, reverse, (),
                   [at], [rows])  # fmt: skip
    put = make("dynamic_update_slice", t, b.full((2,), 7, float32), i)
    results += scan(Graph([t, i], [put]), length, reverse, (), [at], [rows])
    one, two, seen = start.copy(), start.copy(), np.zeros(length, np.float32)
    for turn in turns(length, reverse):
        seen[turn] = one[places[turn]]
        one[places[turn]] += 2
        begin = min(places[turn], 2)
        two[begin : begin + 2] = 7
    check(results, given, [one, seen, two])


def test_a_loop_in_a_loop(length, reverse):
    """The inner one runs the other way and reads rows of the outer one's rows."""
    given = Given()
    q, r, c, block = leaf(3), leaf(3), leaf(3), leaf(2, 3)
    inner = scan(Graph([q, r], [b.add(q, r), b.sub(q, r)]), 2, not reverse, (), [c], [block])
    start, xv = whole_numbers(3), whole_numbers(length, 2, 3, seed=1)
    results = scan(Graph([c, block], [*inner, c]), length, reverse, (), [given(start)], [given(xv)])
    one = start
    parts, seen = np.zeros((length, 2, 3), np.float32), np.zeros((length, 3), np.float32)
    for t in turns(length, reverse):
        seen[t] = one
        for u in turns(2, not reverse):
            parts[t, u] = one - xv[t, u]
            one = one + xv[t, u]
    check(results, given, [one, parts, seen])


def test_carries_of_other_dtypes_and_of_nothing(length, reverse):
    given = Given()
    flag, count, none, x = leaf(3, dtype=bool_), leaf(dtype=int32), leaf(0), leaf(3)
    xv = whole_numbers(length, 3)
    below = b.lt(x, b.full((3,), -5, float32))
    body = Graph([flag, count, none, x], [make("or", flag, below), b.add(count, b.const(2, int32)),
                                          none, flag])  # fmt: skip
    start = np.array([False, True, False])
    carry = [given(start), given(np.int32(5)), given(np.zeros(0, np.float32))]
    results = scan(body, length, reverse, (), carry, [given(xv)])
    one, seen = start, np.zeros((length, 3), bool)
    for t in turns(length, reverse):
        seen[t] = one
        one = one | (xv[t] < -5)
    check(results, given, [one, np.int32(5 + 2 * length), np.zeros(0), seen])


def test_loops_read_and_update_variables():
    """A Variable that starts the carry, is read in every turn, and takes the result."""
    w = tg.Variable(np.float32([1, 2, 3]), name="w")

    @tg.compile
    def step(xs):
        before = w.value
        last, seen = ops.scan(lambda c, x: (c + x * before, c), before, xs)
        w.assign(last)
        return seen, before * 2

    value = np.float32([1, 2, 3])
    for seed in range(3):
        xs = whole_numbers(4, 3, seed=seed, low=-2, high=3)
        seen, double = step(xs)
        states, carry = [], value
        for x in xs:
            states.append(carry)
            carry = carry + x * value
        np.testing.assert_array_equal(seen.numpy(), states)
        np.testing.assert_array_equal(double.numpy(), value * 2)
        value = carry
        np.testing.assert_array_equal(w.numpy(), value)
