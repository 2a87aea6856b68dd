"""What is computed once for many runs, and before a loop instead of in it."""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad.ir.kernel import Kernel, Loop
from tests.compiler.programs import made_of, traced, variable


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def names(launches: Any) -> list[str]:
    return [launch.name for launch in launches]


def test_weights_that_are_only_read_are_packed_once() -> None:
    w = variable("w", 200 * 300)
    entry = traced(lambda x: x @ tg.reshape(w.value, (200, 300)), ((64, 200), "float32"))
    plan = made_of(entry).plan
    assert names(plan.launches) == ["contract_0"]
    assert names(plan.derivations) == ["contract_0_pack", "contract_0_pack_rest"]
    assert plan.derived >= 200 * 300 * 4
    assert not plan.temporaries


def test_weights_that_are_updated_are_not() -> None:
    w = variable("w", 600 * 300)

    def step(x: Any) -> Any:
        y = x @ tg.reshape(w.value, (600, 300))
        w.assign_sub(0.1 * w.value)
        return y

    plan = made_of(traced(step, ((64, 600), "float32"))).plan
    assert names(plan.derivations) == []
    assert plan.derived == 0


def test_chains_are_derived_as_a_whole_and_keep_only_their_end() -> None:
    w, scale = variable("w", 64 * 96), variable("scale", 96)

    def f(x: Any) -> Any:
        folded = tg.reshape(w.value, (64, 96)) * tg.rsqrt(tg.square(scale.value) + 1.0)
        return x @ tg.cumulative_sum(folded, axis=0)

    plan = made_of(traced(f, ((64, 64), "float32"))).plan
    assert [k.kind for k in plan.launches if isinstance(k, Kernel)] == ["contract"]
    assert {k.kind for k in plan.derivations if isinstance(k, Kernel)} == {"map", "cumulative"}
    # Only what the contraction reads is kept; what leads there lies in the arena meanwhile.
    assert plan.derived < 2 * 64 * 96 * 4


def test_little_is_computed_each_time() -> None:
    scale = variable("scale", 96)
    entry = traced(lambda x: x * tg.sum(scale.value), ((64, 96), "float32"))
    plan = made_of(entry).plan
    assert plan.derivations == []


def test_operands_packed_alike_in_each_turn_are_packed_before_the_loop() -> None:
    def f(x: Any, w: Any) -> Any:
        def turn(h: Any, step: Any) -> Any:
            h = tg.tanh(step + h @ w)
            return h, h

        return tg.scan(turn, tg.zeros((64, 400)), x)[1]

    shapes = [((7, 64, 400), "float32"), ((400, 400), "float32")]
    plan = made_of(traced(f, *shapes)).plan
    (loop,) = [launch for launch in plan.launches if isinstance(launch, Loop)]
    assert not [name for name in names(loop.body) if name.endswith("_pack")]
    before = names(plan.launches[: plan.launches.index(loop)])
    assert [name for name in before if name.endswith("_pack")]


def test_values_follow_the_weights() -> None:
    """On the laptop, whoever changes them: an assignment, a compiled step, another value."""
    w = tg.Variable(random(200, 300), trainable=False)
    x = random(64, 200, seed=1)
    predict = tg.compile(lambda x: x @ w.value)
    double = tg.compile(lambda: w.assign(w.value * 2.0))

    def check() -> None:
        got = np.asarray(predict(tg.tensor(x)))
        want = x.astype(np.float64) @ w.numpy().astype(np.float64)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-3)

    check()
    w.assign(w.value + 1.0)
    check()
    double()
    check()
    held = w.value
    double()
    check()
    w.assign(held)
    check()
    check()


def test_a_recurrent_sum_of_products() -> None:
    w = random(64, 64, seed=2) * 0.1
    x = random(9, 32, 64, seed=3)

    @tg.compile
    def f(x: Any, w: Any) -> Any:
        def turn(h: Any, step: Any) -> Any:
            h = tg.tanh(step @ w + h @ w)
            return h, h

        return tg.scan(turn, tg.zeros((32, 64)), x)[0]

    h = np.zeros((32, 64))
    for step in x.astype(np.float64):
        h = np.tanh(step @ w + h @ w)
    np.testing.assert_allclose(np.asarray(f(tg.tensor(x), tg.tensor(w))), h, rtol=1e-4, atol=1e-5)
