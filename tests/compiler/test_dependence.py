"""Orders of launches, also after some have become part of others."""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad.compiler.dependence import Dependence
from tests.ops.engines import chosen


class _Buffer:
    def __init__(self) -> None:
        self.root = self


class _Launch:
    def __init__(self, reads: list[_Buffer], write: _Buffer) -> None:
        self._reads, self._write = reads, write

    def reads(self) -> list[_Buffer]:
        return self._reads

    def writes(self) -> list[_Buffer]:
        return [self._write]


def _order(*needs: set[int]) -> Dependence:
    """Launch i reads what the launches in needs[i] write."""
    buffers = [_Buffer() for _ in needs]
    launches: list[Any] = [
        _Launch([buffers[j] for j in sorted(js)], buffers[i]) for i, js in enumerate(needs)
    ]
    return Dependence(launches)


def test_reaches() -> None:
    order = _order(set(), {0}, {1}, {0}, {3})
    assert order.reaches(0, {2})
    assert order.reaches(0, {4})
    assert not order.reaches(1, {4})
    assert not order.reaches(2, {0, 1})


def test_numbers_are_no_order_after_a_merge() -> None:
    """Launch 0 takes in 3, which needs 2, which needs 1: now 0 comes after 1."""
    order = _order(set(), set(), {1}, {0, 2}, {1, 3})
    assert not order.reaches(1, {0})
    order.merge(0, 3)
    assert order.needs[0] == {2}
    assert order.reaches(1, {0})
    assert not order.reaches(0, {1, 2})


def test_maps_taken_in_by_reductions_that_need_each_other() -> None:
    """Two sums of one shape, whose results go on together: taken in by one, not by both."""
    x = np.random.default_rng(0).standard_normal((2, 2, 2)).astype(np.float32)

    def turned(x: tg.Tensor) -> tg.Tensor:
        a = tg.sum(tg.where(tg.ops.eye(2) > 0, x, 0.0), (-2, -1), keepdims=True)
        b = tg.sum(x * x, (-2, -1), keepdims=True)
        c = tg.sum(x * (a * 0.5 + b), (-2, -1), keepdims=True)
        return x + (a * c - b) / (c * c + 1.0) + c

    with chosen("wasm"):
        got = tg.compile(turned)(tg.tensor(x)).numpy()
    with chosen("reference"):
        expected = turned(tg.tensor(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5)
