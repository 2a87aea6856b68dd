"""Graphs of 100,000 nodes: nothing recurses, in no transformation, on no engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.ops.engines import chosen

X = np.float32([1.0, 2.0, 3.0])


def chain(turns: int) -> Callable[[Any], Any]:
    """A function of 2 * turns operations, each on the result of the one before."""

    def function(x: Any) -> Any:
        for _ in range(turns):
            x = x * 0.5 + 1.0
        return x

    return function


CALLS: dict[str, Callable[[Callable[[Any], Any], Any], Any]] = {
    "compile": lambda f, x: tg.compile(f)(x),
    "gradient": lambda f, x: tg.compile(tg.grad(lambda x: tg.sum(f(x))))(x),
    "forward": lambda f, x: tg.compile(lambda x: tg.jvp(f, (x,), (x,))[1])(x),
    "vmap": lambda f, x: tg.compile(tg.vmap(f))(x),
    "eager": lambda f, x: f(x),
}


def check(call: str, turns: int, engine: str) -> None:
    with chosen(engine):
        got = CALLS[call](chain(turns), tg.tensor(X)).numpy()
    # x halves at every turn, and the sum of the ones nears 2.
    want = np.zeros(3) if call in ("gradient", "forward") else np.full(3, 2.0)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("engine", ["reference", "wasm"])
@pytest.mark.parametrize("call", CALLS)
def test_deeper_than_python_recurses(call: str, engine: str) -> None:
    check(call, 1_500, engine)


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ["reference", "wasm"])
@pytest.mark.parametrize("call", CALLS)
def test_a_hundred_thousand_nodes(call: str, engine: str) -> None:
    check(call, 50_000, engine)


def test_what_is_never_read_goes_without_recursion() -> None:
    x = tg.ones((3,))
    for _ in range(100_000):
        x = tg.sin(x)
    del x


@pytest.mark.exhaustive
def test_a_hundred_thousand_leaves() -> None:
    """A wide graph: as many constants, joined."""
    numbers = [tg.tensor(float(i)) for i in range(100_000)]
    with chosen("reference"):
        total = tg.sum(tg.stack(numbers))
        assert float(total) == pytest.approx(sum(range(100_000)), rel=1e-6)
