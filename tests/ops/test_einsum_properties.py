"""einsum against NumPy's, for equations and shapes found by hypothesis, and how it is lowered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tabgrad as tg
from tabgrad.ir.graph import toposort
from tests.ops.engines import chosen

LETTERS = "abcdef"


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """An equation and shapes that fit: repeated letters, "...", broadcasting, any output."""
    sizes = {letter: draw(st.integers(0, 3)) for letter in LETTERS}
    dots = draw(st.lists(st.integers(1, 3), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 4))):
        letters = draw(st.lists(st.sampled_from(LETTERS), max_size=3))
        narrow = draw(st.booleans()) and len(set(letters)) == len(letters)
        shape = [1 if narrow and draw(st.booleans()) else sizes[c] for c in letters]
        text = "".join(letters)
        if draw(st.booleans()):
            mine = [1 if draw(st.booleans()) else n for n in dots]
            mine = mine[draw(st.integers(0, len(mine))) :]
            at = draw(st.integers(0, len(letters)))
            text = text[:at] + "..." + text[at:]
            shape[at:at] = mine
        terms.append(text)
        shapes.append(tuple(shape))
    left = ",".join(terms)
    if draw(st.booleans()):
        return left, shapes
    used = sorted(set(left) & set(LETTERS))
    out = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
    text = "".join(out)
    if "..." in left:
        at = draw(st.integers(0, len(out)))
        text = text[:at] + "..." + text[at:]
    return f"{left}->{text}", shapes


@given(equations(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_equation(case: tuple[str, list[tuple[int, ...]]], optimize: bool) -> None:
    equation, shapes = case
    arrays = [
        np.random.default_rng(i).integers(-3, 4, shape).astype(np.int32)
        for i, shape in enumerate(shapes)
    ]
    expected = np.einsum(equation, *arrays)
    with chosen("reference"):
        got = tg.einsum(equation, *map(tg.tensor, arrays), optimize=optimize)
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got.numpy(), expected)


def _names(value: tg.Tensor) -> list[str]:
    return [node.prim.name for node in toposort([node for node in value.parts if node is not None])]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("ij,jk->ki", [(3, 4), (4, 5)]),
        ("ij,kj->ik", [(3, 4), (5, 4)]),
        ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
        ("bhqk,bkhd->bhqd", [(2, 2, 3, 5), (2, 5, 2, 4)]),
        ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 2)]),
    ],
)
def test_no_transposition(equation: str, shapes: list[tuple[int, ...]]) -> None:
    names = _names(tg.einsum(equation, *[tg.ops.zeros(shape) + 1 for shape in shapes]))
    assert "permute" not in names
    assert names.count("dot") == len(shapes) - 1


def test_cheapest_order() -> None:
    """(a (b c)) costs 100 times less than ((a b) c)."""
    a, b, c = (tg.ops.zeros(s) + i for i, s in enumerate([(100, 100), (100, 100), (100, 1)]))
    nodes = toposort([tg.einsum("ij,jk,kl->il", a, b, c).node])
    dots = [node for node in nodes if node.prim.name == "dot"]
    assert [node.shape for node in dots] == [(100, 1), (100, 1)]


def test_many_operands() -> None:
    """Beyond a few the order is found greedily; a chain of 30 matrices never grows."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDE"
    terms = [letters[i : i + 2] for i in range(30)]
    xs = [tg.tensor(np.eye(2, dtype=np.float32) * (1 + i % 2)) for i in range(30)]
    got = tg.einsum(",".join(terms) + "->" + letters[0] + letters[30], *xs)
    np.testing.assert_array_equal(got.numpy(), np.eye(2) * 2**15)


@pytest.mark.parametrize(
    ("equation", "shapes", "error"),
    [
        ("ij,jk", [(2, 3)], tg.errors.ArgumentError),
        ("ij", [(2, 3, 4)], tg.errors.ShapeError),
        ("ij,jk->ik", [(2, 3), (4, 5)], tg.errors.ShapeError),
        ("ij->ijk", [(2, 3)], tg.errors.ArgumentError),
        ("ij->ii", [(2, 2)], tg.errors.ArgumentError),
        ("ii", [(2, 3)], tg.errors.ShapeError),
        ("...i->i", [(2, 3)], tg.errors.ArgumentError),
        ("i-j", [(2,)], tg.errors.ArgumentError),
        ("i->j->i", [(2,)], tg.errors.ArgumentError),
        ("...i,...i", [(2, 3), (3, 3)], tg.errors.ShapeError),
    ],
)
def test_refused(equation: str, shapes: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="einsum expected"):
        tg.einsum(equation, *[np.ones(shape, np.float32) for shape in shapes])
