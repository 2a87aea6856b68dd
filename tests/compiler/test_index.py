"""Index algebra against counting: every rule is tried on all values its variables can take."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabgrad.dtypes import int32
from tabgrad.ir.index import Div, Dyn, Index, Mod, Var, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Condition, Expr, in_range
from tests.compiler import places

NAMES = "ijk"


def value(index, env):
    """What an index is, given its variables by their names."""
    return places.value(index, lambda var: env[var.name])


def points(sizes):
    """All values of the variables."""
    for at in itertools.product(*map(range, sizes)):
        yield dict(zip(NAMES, at, strict=False))


SIZES = st.lists(st.integers(1, 6), min_size=3, max_size=3)
FACTORS = st.lists(st.sampled_from([0, 1, 1, 2, 3, 4, 6, 8, 12, -1, -2, -6]), min_size=3,
                   max_size=3)  # fmt: skip
DIVISORS = st.integers(1, 13)


def affine(sizes, factors, const):
    total = Index(const)
    for name, size, factor in zip(NAMES, sizes, factors, strict=True):
        total = total + Index.of(Var(name, size)) * factor
    return total


@given(SIZES, FACTORS, FACTORS, st.integers(-9, 9), st.integers(-9, 9))
def test_arithmetic(sizes, left, right, const, factor):
    x, y = affine(sizes, left, const), affine(sizes, right, 0)
    for env in points(sizes):
        assert value(x + y, env) == value(x, env) + value(y, env)
        assert value(x - y, env) == value(x, env) - value(y, env)
        assert value(x + const, env) == value(x - -const, env) == value(x, env) + const
        assert value(x * factor, env) == value(x, env) * factor


@given(SIZES, FACTORS, st.integers(-40, 40))
def test_ranges_are_exact_for_sums_of_variables(sizes, factors, const):
    index = affine(sizes, factors, const)
    found = [value(index, env) for env in points(sizes)]
    assert index.range == (min(found), max(found))


@given(SIZES, FACTORS, st.integers(-40, 40), DIVISORS, DIVISORS)
def test_splits(sizes, factors, const, by, again):
    """Quotient and remainder are those of floor division, also of what was split before; ranges
    hold all values."""
    index = affine(sizes, factors, const)
    outer, inner = index.split(by)
    deeper = [(outer, *outer.split(again), again), (inner, *inner.split(again), again)]
    for env in points(sizes):
        for whole, q, r, divisor in ((index, outer, inner, by), *deeper):
            assert (value(q, env), value(r, env)) == divmod(value(whole, env), divisor)
            for part in (q, r):
                low, high = part.range
                assert low <= value(part, env) <= high


def test_what_cannot_reach_a_divisor_disappears():
    """The reason for it all: i * 12 + j, with j below 12, splits without leaving a quotient."""
    i, j = Var("i", 5), Var("j", 12)
    assert (Index.of(i) * 12 + Index.of(j)).split(12) == (Index.of(i), Index.of(j))
    assert (Index.of(i) * 24 + Index.of(j) + 12).split(12) == (
        Index.of(i) * 2 + 1,
        Index.of(j),
    )
    quotient, rest = (Index.of(i) * 6 + Index.of(j)).split(12)
    assert any(isinstance(atom, Div) for atom in quotient.terms)
    assert any(isinstance(atom, Mod) for atom in rest.terms)


def test_a_quotient_is_not_a_remainder():
    """They hold the same fields; as keys they must differ."""
    of = Index.of(Var("i", 5)) * 2
    assert Div(of, 4) != Mod(of, 4)
    assert Index.of(Div(of, 4)) != Index.of(Mod(of, 4))


SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=4).map(tuple)


@given(SHAPES)
def test_flatten_and_unflatten_undo_each_other(shape):
    at = tuple(Index.of(Var(f"i{d}", n)) for d, n in enumerate(shape))
    assert unflatten(flatten(at, shape), shape) == at
    total = math.prod(shape)
    flat = Index.of(Var("i", total))
    for i in range(total):
        found = tuple(value(part, {"i": i}) for part in unflatten(flat, shape))
        assert found == tuple(map(int, np.unravel_index(i, shape)))


@settings(deadline=None)
@given(st.data())
def test_chains_of_reshapes_find_the_right_element(data):
    """Reshapes to random groupings of the same sizes, with transpositions between them."""
    array = np.arange(48).reshape(4, 3, 4)
    steps = []
    for _ in range(data.draw(st.integers(1, 4))):
        sizes = data.draw(st.permutations([2, 2, 3, 4]))
        cut = data.draw(st.integers(1, 3))
        shape = (math.prod(sizes[:cut]), *sizes[cut:])
        axes = tuple(data.draw(st.permutations(range(len(shape)))))
        steps.append((array.shape, shape, axes))
        array = array.reshape(shape).transpose(axes)
    at = tuple(Index.of(Var(f"v{d}", n)) for d, n in enumerate(array.shape))
    for before, shape, axes in reversed(steps):
        at = unflatten(flatten(tuple(at[axes.index(d)] for d in range(len(shape))), shape), before)
    where = flatten(at, (4, 3, 4))
    for point in np.ndindex(array.shape):
        assert value(where, {f"v{d}": i for d, i in enumerate(point)}) == array[point]


@given(SIZES, FACTORS, st.integers(-9, 30), DIVISORS, SIZES, FACTORS)
def test_replacing_is_substitution(sizes, factors, const, by, others, more):
    """In quotients and remainders too, where what is put in may cancel what stood there."""
    quotient, rest = affine(sizes, factors, const).split(by)
    index = quotient * 3 + rest * 5 + Index.of(Var("j", sizes[1]))
    new = affine(others, more, 0)
    new = new - new.range[0]
    replaced = index.replace({Var("i", sizes[0]): new})
    for env in points((1, sizes[1], sizes[2])):
        for inner in points(others):
            # The names of what is put in mean the same variables outside.
            if (inner["j"], inner["k"]) != (env["j"], env["k"]):
                continue
            outside = env | {"i": value(new, inner)}
            assert value(replaced, inner) == value(index, outside)


@given(SIZES, FACTORS, st.integers(0, 30), DIVISORS)
def test_coefficients_are_steps(sizes, factors, const, by):
    quotient, rest = affine(sizes, factors, const).split(by)
    index = quotient + rest * 7
    for name, size in zip(NAMES, sizes, strict=True):
        step = index.coefficient(Var(name, size))
        if step is None:
            assert Var(name, size) in index.variables()
            continue
        for env in points(sizes):
            if env[name] + 1 < size:
                assert value(index, env | {name: env[name] + 1}) - value(index, env) == step


@given(SIZES, FACTORS, st.integers(-40, 40), st.integers(1, 30))
def test_conditions_of_a_range(sizes, factors, const, size):
    index = affine(sizes, factors, const)
    conditions = in_range(index, size)
    for env in points(sizes):
        at = value(index, env)
        inside = conditions is not None and all(
            (c.low is None or c.low <= at) and (c.high is None or at < c.high) for c in conditions
        )
        assert inside == (0 <= at < size)


def test_loops_of_one_step_are_zero():
    assert Index.of(Var("i", 1)) == Index() == Index.of(Var("i", 0))
    assert Index.of(Mod(Index.of(Var("i", 9)), 1)) == Index()


def run_time(name):
    load = Expr("load", int32, buffer=Buffer(name, "input", 9, int32), index=Index.of(Var("i", 9)))
    return load


def test_run_time_indices_keep_their_range_and_their_identity():
    load = run_time("x0")
    index = Index.of(Dyn(load, 7)) * 3 + 1
    assert index.range == (1, 22)
    assert index.variables() == {Var("i", 9)}
    assert index.coefficient(Var("i", 9)) is None
    assert Index.of(Dyn(load, 0)) != Index()  # it may still trap or be needed as a value
    moved = index.replace({Var("i", 9): Index.of(Var("j", 3)) * 2})
    (atom,) = moved.terms
    assert atom.expr.index == Index.of(Var("j", 3)) * 2
    kept = run_time("x1")
    assert index.replace({Var("i", 9): Index()}, lambda expr: kept).terms == {Dyn(kept, 7): 3}


def test_texts():
    i, j = Index.of(Var("i", 9)), Index.of(Var("j", 5))
    assert repr(Index()) == "0"
    assert repr(i * 4 - j + 2) == "i*4+j*-1+2"
    assert repr((i * 3 + j).split(7)[0]) == "(i*3+j)//7"
    assert repr((i * 3 + j).split(7)[1]) == "(i*3+j)%7"
    assert repr(Index.of(Dyn(run_time("x0"), 7))) == "[x0[i]]"
    assert Index.of(Dyn(run_time("x0"), 7)).text(lambda _: "v1") == "[v1]"
    assert repr(Condition(i - 2, 0, 5)) == "0<=i-2<5"
    assert repr(Condition(i, None, 5)) == "i<5"
    assert repr(Condition(i, modulo=3)) == "i%3==0"


@pytest.mark.parametrize("other", [0, "i", None])
def test_an_index_equals_indices_only(other):
    assert Index() != other
    assert Condition(Index(), 0) != other
    assert len({Index(3), Index(3, {}), Index() + 3, Index(4)}) == 2
