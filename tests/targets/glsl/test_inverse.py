"""The points that elements come from, against going through all points."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import pytest

from tabgrad.dtypes import int32
from tabgrad.ir.index import Div, Dyn, Index, Mod, Var, flatten, unflatten
from tabgrad.ir.kernel import Buffer, Condition, Expr
from tabgrad.targets.glsl.inverse import Inverse, invert

I, J, K = Var("i", 6), Var("j", 4), Var("k", 5)


def value(index: Index, at: Mapping[Var, int], read: Sequence[int] = ()) -> int:
    """An index as Python computes it; what is read at run time is in `read`."""
    total = index.const
    for atom, c in index.terms.items():
        if isinstance(atom, Var):
            part = at[atom]
        elif isinstance(atom, Dyn):
            part = read[value(atom.expr.index, at)]
        else:
            inner = value(atom.of, at, read)
            part = inner // atom.by if isinstance(atom, Div) else inner % atom.by
            assert isinstance(atom, (Div, Mod))
        total += c * part
    return total


def holds(condition: Condition, at: Mapping[Var, int], read: Sequence[int]) -> bool:
    """Whether a condition does."""
    here = value(condition.index, at, read)
    low = condition.low is None or condition.low <= here
    return low and (condition.high is None or here < condition.high)


def points_of(inverse: Inverse, element: int, read: Sequence[int]) -> list[dict[Var, int]]:
    """What a fragment finds for an element."""
    at = {inverse.element: element}
    if inverse.never or not all(holds(check, at, read) for check in inverse.checks):
        return []
    told = {loop: value(index, at, read) for loop, index in inverse.counters.items()}
    found = []
    for rest in itertools.product(*(range(v.size) for v in inverse.rest)):
        point = {**told, **dict(zip(inverse.rest, rest, strict=True))}
        if all(value(a, point, read) == value(b, at, read) for a, b in inverse.equal):
            found.append(point)
    return found


def agrees(
    index: Index,
    loops: Sequence[Var],
    size: int,
    read: Sequence[int] = (),
    conditions: Sequence[Condition] = (),
) -> Inverse:
    """The inverse, which finds each point where its element is and no other."""
    inverse = invert(index, loops, size, conditions)
    expected: dict[int, list[dict[Var, int]]] = {}
    for counters in itertools.product(*(range(v.size) for v in loops)):
        at = dict(zip(loops, counters, strict=True))
        if all(holds(condition, at, read) for condition in conditions):
            expected.setdefault(value(index, at, read), []).append(at)
    for element in range(size):
        found = points_of(inverse, element, read)
        # What a store's conditions exclude, the shader tests by itself.
        found = [p for p in found if all(holds(c, p, read) for c in conditions)]
        assert found == expected.get(element, []), (index, element)
    if inverse.dense:
        assert sorted(expected) == list(range(inverse.low, inverse.high + 1))
    return inverse


def of(*terms: tuple[int, Var]) -> Index:
    """A sum of loops with strides."""
    return Index(0, {loop: stride for stride, loop in terms})


@pytest.mark.parametrize(
    ("index", "size", "dense"),
    [
        (of((4, I), (1, J)), 24, True),
        (of((6, J), (1, I)), 24, True),
        (of((6, J), (-1, I)) + 5, 24, True),
        (of((10, I), (1, J)) + 3, 60, False),
        (of((4, I), (1, J)) + 8, 40, True),
        (of((8, I), (2, J)) + 1, 60, False),
        (of((-10, I), (-2, J)) + 57, 60, False),
    ],
)
def test_strides(index: Index, size: int, dense: bool) -> None:
    inverse = agrees(index, [I, J], size)
    assert not inverse.rest
    assert inverse.dense is dense


def test_quotients_and_remainders_are_put_together() -> None:
    where = flatten((Index.of(I), Index.of(J)), (6, 4))
    for shape in ((2, 12), (2, 3, 4), (3, 8), (8, 3), (4, 6), (2, 2, 2, 3)):
        for axes in itertools.permutations(range(len(shape))):
            at = unflatten(where, shape)
            index = flatten(tuple(at[a] for a in axes), tuple(shape[a] for a in axes))
            inverse = agrees(index, [I, J], 24)
            assert not inverse.rest
            assert not inverse.equal


def test_random_indices() -> None:
    """Whatever cannot be turned round is gone through."""
    generator = random.Random(3)
    for _ in range(150):
        strides = [generator.choice([1, 2, 3, 4, 5, 6, 20, 24, 30, -1, -4]) for _ in range(3)]
        index = of(*zip(strides, (I, J, K), strict=True)) + generator.randrange(-3, 9)
        low, high = index.range
        if low < 0:
            index = index - low
        agrees(index, [I, J, K], max(high - low + 1, 0) + 7)


def run_time(loop: Var, high: int) -> Dyn:
    """A place read from a buffer by a loop."""
    buffer = Buffer("x", "input", loop.size, int32)
    return Dyn(Expr("load", int32, buffer=buffer, index=Index.of(loop)), high)


def test_places_read_at_run_time() -> None:
    row = run_time(I, 2**31 - 1)
    bounded = (Condition(Index.of(row), 0, 7),)
    inverse = agrees(Index(0, {row: 4, J: 1}), [I, J], 28, [3, 0, 3, 6, 9, -1], bounded)
    assert inverse.rest == (I,)
    assert set(inverse.counters) == {J}
    inverse = agrees(Index(0, {J: 7, row: 1}), [I, J], 28, [3, 0, 3, 6, 9, -1], bounded)
    assert inverse.rest == (I,)


def test_a_window_begins_where_it_is_told_at_run_time() -> None:
    def start(number: int, high: int) -> Dyn:
        buffer = Buffer("x", "input", 2, int32)
        return Dyn(Expr("load", int32, buffer=buffer, index=Index(number)), high)

    index = Index(0, {I: 9, start(0, 4): 9, J: 1, start(1, 5): 1})
    for read in ([0, 0], [4, 5], [2, 3], [3, 1]):
        inverse = agrees(index, [I, J], 90, read)
        assert not inverse.rest
        assert not inverse.equal
