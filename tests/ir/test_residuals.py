"""What a loop keeps for its walk back: which values, how much memory, and gradients as JAX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler.simplify import simplify
from tabgrad.dtypes import bool_, float32
from tabgrad.ir import build as b
from tabgrad.ir import residuals
from tabgrad.ir.control import projections
from tabgrad.ir.graph import Graph, Node, make, toposort
from tabgrad.ir.reverse import cotangents

N, UNITS, TURNS = 3, 4, 5
SIZES = {"h": (N, UNITS), "c": (N, UNITS), "u": (UNITS, 4 * UNITS), "x": (TURNS, N, 4 * UNITS)}


def values(*names: str) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    made = {name: random.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
    return [made[name] for name in names]


def lstm(o: Any, scan: Any, sigmoid: Any, around: Callable[[Any], Any]) -> Callable[..., Any]:
    """An LSTM of one library; `around` wraps its turn."""

    def function(h: Any, c: Any, u: Any, x: Any) -> Any:
        def turn(h: Any, c: Any, row: Any, u: Any) -> Any:
            enter, forget, new, leave = o.split(row + o.matmul(h, u), 4, axis=1)
            c = sigmoid(forget) * c + sigmoid(enter) * o.tanh(new)
            return sigmoid(leave) * o.tanh(c), c

        wrapped = around(turn)
        (h, c), ys = scan(lambda hc, row: (wrapped(*hc, row, u), hc[1]), (h, c), x)
        return (h * c).sum() + (ys * ys).sum()

    return function


def mine(around: Callable[[Any], Any] = lambda turn: turn) -> Callable[..., Any]:
    return lstm(tg, tg.scan, tg.sigmoid, around)


THEIRS = lstm(jnp, jax.lax.scan, jax.nn.sigmoid, lambda turn: turn)


def product_of(x: Node, w: Node) -> Node:
    return make("dot", x, w, batch=((), ()), contract=((1,), (0,)))


def walks(function: Callable[..., Any], *arrays: np.ndarray) -> list[Node]:
    """The loops of a compiled function, simplified."""
    program = tg.compile(function).program(*map(tg.tensor, arrays))
    graph = program.graphs[0]
    return [n for n in toposort(simplify(graph.outputs)) if n.prim.name == "scan"]


def contents(loop: Node) -> list[str]:
    return sorted(node.prim.name for node in toposort(loop.params["body"].outputs))


def test_the_walk_back_of_an_lstm_computes_nothing_costly_again() -> None:
    arrays = values("h", "c", "u", "x")
    slopes = tg.grad(mine(), argnums=(0, 1, 2, 3))
    forward, back = walks(slopes, *arrays)
    assert [contents(forward).count(name) for name in ("dot", "sigmoid", "tanh")] == [1, 3, 2]
    # One for the state, one for the weights.
    assert [contents(back).count(name) for name in ("dot", "sigmoid", "tanh")] == [2, 0, 0]
    # Two carries, the memory as a result, two carries that entered, five activations.
    assert len(forward.outs) == 9
    expected = jax.grad(THEIRS, argnums=(0, 1, 2, 3))(*arrays)
    for got, want in zip(slopes(*map(tg.tensor, arrays)), expected, strict=True):
        np.testing.assert_allclose(np.asarray(got), want, rtol=2e-5, atol=2e-6)


def test_a_checkpoint_computes_again() -> None:
    arrays = values("h", "c", "u", "x")
    slopes = tg.grad(mine(tg.checkpoint), argnums=(0, 2))
    _, back = walks(slopes, *arrays)
    assert [contents(back).count(name) for name in ("dot", "sigmoid", "tanh")] == [3, 3, 2]
    expected = jax.grad(THEIRS, argnums=(0, 2))(*arrays)
    for got, want in zip(slopes(*map(tg.tensor, arrays)), expected, strict=True):
        np.testing.assert_allclose(np.asarray(got), want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("limit", "dots", "tanhs"), [(1, 1, 2), (400, 0, 1), (10_000, 0, 0)])
def test_less_is_kept_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, limit: int, dots: int, tanhs: int
) -> None:
    """Of a turn tanh(exp(tanh(x @ w))) any value is 240 bytes in all turns. What stands for the
    product is the tanh that alone is made of it."""
    monkeypatch.setattr(residuals, "MOST_BYTES", limit)
    x, w, g = (b.input(shape, float32) for shape in ((N, UNITS), (UNITS, UNITS), (N, UNITS)))
    product = product_of(x, w)
    y = make("tanh", make("exp", make("tanh", product)))
    (slope,) = cotangents([y], [g], [x])
    assert slope is not None
    kept = residuals.kept_values([slope], [x], [g], TURNS)
    needed = toposort([slope], lambda node: node in kept)
    names = [node.prim.name for node in needed if node not in kept]
    assert names.count("dot") - 1 == dots
    assert names.count("tanh") == tanhs


def test_a_mask_is_kept_instead_of_what_it_asks() -> None:
    x, w, g = (b.input(shape, float32) for shape in ((N, UNITS), (UNITS, UNITS), (N, UNITS)))
    z = product_of(x, w)
    y = b.select(make("le", z, b.like(z, 0)), b.like(z, 0), z)
    (slope,) = cotangents([y], [g], [x])
    assert slope is not None
    (kept,) = residuals.kept_values([slope], [x], [g], TURNS)
    assert kept.prim.name == "le" and kept.dtype is bool_


def test_what_does_not_change_from_turn_to_turn_is_not_kept() -> None:
    x, w, g = (b.input((N,), float32) for _ in range(3))
    (slope,) = cotangents([b.mul(x, make("exp", w))], [g], [x])
    assert slope is not None
    assert residuals.kept_values([slope], [x], [g], TURNS) == []


def test_values_with_a_gradient_of_their_own_are_seen_through() -> None:
    """tanh with the gradient of exp: what is kept of tanh is what stands for it."""
    x, g, inner, arriving = (b.input((N,), float32) for _ in range(4))
    back = Graph([arriving, inner], [b.mul(arriving, make("exp", inner))])
    node = make("custom", make("tanh", x), x, back=back, n_out=1, n_x=1)
    (out,) = projections(node)
    (slope,) = cotangents([b.mul(out, out)], [g], [x])
    assert slope is not None
    kept = residuals.kept_values([slope], [x], [g], TURNS)
    assert sorted(value.prim.name for value in kept) == ["custom", "exp"]


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_gradients_go_through_what_is_kept(reverse: bool) -> None:
    def function(o: Any, scan: Any) -> Callable[..., Any]:
        def inner(x: Any, w: Any) -> Any:
            def turn(carry: Any, row: Any) -> Any:
                carry = o.tanh(o.matmul(carry, w) + o.exp(row) * carry)
                return carry, o.sin(carry)

            return scan(turn, x[0], x, reverse=reverse)[1].sum()

        return inner

    random = np.random.default_rng(1)
    x = random.normal(size=(4, 3)).astype(np.float32)
    w = random.normal(size=(3, 3)).astype(np.float32)

    def squared(grad: Callable[..., Any], f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, w: (grad(f)(x, w) ** 2).sum()

    ours = tg.grad(squared(tg.grad, function(tg, tg.scan)), argnums=(0, 1))
    theirs = jax.grad(squared(jax.grad, function(jnp, jax.lax.scan)), argnums=(0, 1))
    for got, want in zip(ours(tg.tensor(x), tg.tensor(w)), theirs(x, w), strict=True):
        np.testing.assert_allclose(np.asarray(got), want, rtol=2e-4, atol=2e-5)
