"""Tensors made of constants alone: they are shared between graphs, and must not pile up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tabgrad as tg
from tabgrad import ops, realize


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with realize.using(None):  # whatever engine was chosen before comes back
        tg.set_engine("reference")
        yield


def test_reading_a_constant_leaves_cached_programs_as_they_are() -> None:
    for _ in range(2):
        # The second time the Program is found in the cache: its graph must still hold constants.
        assert ops.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
        assert (ops.zeros((2, 3)) + tg.tensor([1.0, 2.0, 3.0])).tolist() == [[1.0, 2.0, 3.0]] * 2


def test_reading_a_constant_leaves_the_body_of_a_loop_as_it_is() -> None:
    def total(x: tg.Tensor) -> tg.Tensor:
        return ops.scan(lambda c, row: (c * row, None), ops.ones((3,)), x)[0].sum()

    gradient = tg.grad(total)(tg.tensor([[2.0, 3.0, 4.0], [1.0, 1.0, 2.0]]))
    # Both constants may stand inside the body of the backward loop, which has not run yet.
    assert ops.zeros((3,)).tolist() == [0.0] * 3
    assert ops.ones((3,)).tolist() == [1.0] * 3
    assert gradient.tolist() == [[1.0, 1.0, 2.0], [2.0, 3.0, 4.0]]


def test_a_long_chain_of_constants_is_computed_now_and_then(monkeypatch) -> None:
    runs: list[int] = []
    run = realize.pending.realize
    monkeypatch.setattr(realize.pending, "realize", lambda *given: (runs.append(1), run(*given)))
    one = ops.ones((3,))
    x = one
    for _ in range(10_000):
        x = x + one
    assert len(runs) <= 5
    assert x.tolist() == [10_001.0] * 3
