"""Gradients of plain Python: reading values on the way, branching on them, calling compiled
functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops


def test_reading_an_intermediate_keeps_the_path() -> None:
    seen = []

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * x
        seen.append(float(y.sum()))
        z = y * x
        seen.append(z.tolist())
        return (z + y).sum()

    slope = tg.grad(f)(tg.tensor([2.0, 3.0]))
    assert seen == [13, [8, 27]]
    assert slope.tolist() == [16, 33]  # 3x² + 2x


def test_reading_the_result_itself() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = (x * x).sum()
        assert float(y) == 25
        return y

    value, slope = tg.value_and_grad(f)(tg.tensor([3.0, 4.0]))
    assert (float(value), slope.tolist()) == (25, [6, 8])


def test_a_number_that_was_read_is_a_constant() -> None:
    """float() leaves the graph: its gradient is not followed."""
    slope = tg.grad(lambda x: (x * float(x.sum())).sum())(tg.tensor([3.0, 4.0]))
    assert slope.tolist() == [7, 7]


def branching(x: tg.Tensor) -> tg.Tensor:
    if x.sum() > 0:
        return (x * x).sum()
    return (-3.0 * x).sum()


def collatz(x: tg.Tensor) -> tg.Tensor:
    """Halves until small: how often depends on the value."""
    while ops.max(ops.abs(x)) > 1:
        x = x * 0.5 if float(x[0]) < 100 else ops.sqrt(x)
    return x.sum()


@pytest.mark.parametrize(
    "f, x, slope",
    [
        (branching, [1.0, 2.0], [2, 4]),
        (branching, [-1.0, -2.0], [-3, -3]),
        (collatz, [3.0, 4.0], [0.25, 0.25]),
        (collatz, [0.5], [1]),
        (collatz, [256.0], [1 / 32 / 16]),
    ],
)
def test_control_flow_on_values(
    f: Callable[..., tg.Tensor], x: list[float], slope: list[float]
) -> None:
    assert tg.grad(f)(tg.tensor(x)).tolist() == pytest.approx(slope)


def test_second_derivatives_with_reads_on_both_levels() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * x * x
        float(y)
        return y

    def slope(x: tg.Tensor) -> tg.Tensor:
        first = tg.grad(f)(x)
        float(first)
        return first

    assert float(slope(tg.tensor(2.0))) == 12
    assert float(tg.grad(slope)(tg.tensor(2.0))) == 12
    assert float(tg.grad(tg.grad(slope))(tg.tensor(2.0))) == 6


def test_variables_read_and_branched_on() -> None:
    v = tg.Variable([1.0, -2.0])

    def loss(scale: float) -> tg.Tensor:
        y = v * scale
        if float(y.sum()) < 0:
            y = y * 10
        return (y * y).sum()

    value, (slope,) = tg.value_and_grad(loss, variables=[v])(2.0)
    assert float(value) == 2000
    assert slope.tolist() == [800, -1600]
    v.assign([1.0, 2.0])
    assert tg.value_and_grad(loss, variables=[v])(2.0)[1][0].tolist() == [8, 16]


def test_a_long_loop_inside_a_gradient() -> None:
    """More nodes than are left pending: computing parts on the way loses no gradient."""

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x
        for _ in range(5_000):
            y = y * 0.9999 + 0.0001
        return y.sum()

    slope = tg.grad(f)(tg.tensor([2.0, 3.0]))
    np.testing.assert_allclose(slope, [0.9999**5000] * 2, rtol=1e-3)


def test_the_gradient_path_is_given_up_afterwards() -> None:
    """What was read inside is not kept alive by the gradient that is done."""
    from tabgrad import realize

    x = tg.tensor(np.ones((256, 256), np.float32))
    kept = []

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        float(y.sum())
        kept.append(y.sum(axis=0))
        return (y * y).sum()

    tg.grad(f)(x).realize()
    kept.clear()
    before = realize.engine().memory_use().live
    for _ in range(20):
        tg.grad(f)(x).realize()
        kept.clear()
    assert realize.engine().memory_use().live - before < 300_000


def test_a_compiled_function_inside_a_gradient() -> None:
    """Its Program has no sources to follow, so inside it is part of the graph around it."""
    v = tg.Variable([2.0, 3.0])

    @tg.compile
    def f(x: tg.Tensor, power: float) -> tg.Tensor:
        return (x * x * v).sum() * power

    x = tg.tensor([5.0, 7.0])
    assert float(f(x, 2.0)) == 394
    assert tg.grad(f)(x, 2.0).tolist() == [40, 84]
    assert tg.grad(lambda x: f(x, 2.0))(x).tolist() == [40, 84]
    assert tg.value_and_grad(lambda: f(x, 1.0), variables=[v])()[1][0].tolist() == [25, 49]
    both = tg.compile(tg.value_and_grad(f))
    value, slope = both(x, 2.0)
    assert (float(value), slope.tolist()) == (394, [40, 84])


def test_a_compiled_function_inside_a_scan() -> None:
    @tg.compile
    def add(c: tg.Tensor, x: tg.Tensor) -> Any:
        return c + x, c * x

    add(tg.tensor(1.0), tg.tensor(1.0))
    total, products = ops.scan(add, tg.tensor(0.0), tg.tensor([1.0, 2.0, 3.0]))
    assert (float(total), products.tolist()) == (6, [0, 2, 9])


def test_assigning_inside_a_gradient() -> None:
    v, count = tg.Variable([1.0, 2.0]), tg.Variable(0.0)

    def loss() -> tg.Tensor:
        count.assign(count + 1)
        return (v * v).sum() * count

    for i in (1, 2):
        value, (slope,) = tg.value_and_grad(loss, variables=[v])()
        assert float(value) == 5 * i
        assert slope.tolist() == [2 * i, 4 * i]
    assert float(count.value) == 2


def test_an_unused_argument_and_an_integer_path() -> None:
    slope = tg.grad(lambda x, y: (y * 2).sum(), argnums=(0, 1))(
        tg.tensor([1.0]), tg.tensor([1.0, 2.0])
    )
    assert [s.tolist() for s in slope] == [[0], [2, 2]]
    through_ints = tg.grad(lambda x: ops.cast(ops.cast(x, "int32"), "float32").sum())
    assert through_ints(tg.tensor([1.5, 2.5])).tolist() == [0, 0]


def test_a_pullback_keeps_the_values_it_was_made_with() -> None:
    """A Variable may change, in place too, between a function and its pullback."""
    w = tg.Variable([2.0, 3.0])

    @tg.compile
    def step() -> None:
        w.assign(w * 10)

    step()  # from here on the Variable has a buffer that Programs write in place
    x = tg.tensor([1.0, 1.0])
    y, back = tg.vjp(lambda x: x * x * w, x)
    push = tg.linearize(lambda x: x * x * w, x)[1]
    step()
    assert w.tolist() == [200, 300]
    assert back(tg.tensor([1.0, 1.0]))[0].tolist() == [40, 60]
    assert push(tg.tensor([1.0, 2.0])).tolist() == [40, 120]
    assert y.tolist() == [20, 30]


def test_a_pullback_made_inside_a_gradient_and_used_outside() -> None:
    kept = []

    def f(x: tg.Tensor) -> tg.Tensor:
        y, back = tg.vjp(lambda z: z * z * z, x)
        kept.append(back)
        return (y * back(tg.ones_like(x))[0]).sum()  # x³ 3x² = 3x⁵

    assert tg.grad(f)(tg.tensor([2.0])).tolist() == [240]
    assert kept[0](tg.tensor([1.0]))[0].tolist() == [12]


def test_assignments_inside_transformed_functions_happen_once() -> None:
    calls = tg.Variable(0, dtype="int32")

    def f(x: tg.Tensor) -> tg.Tensor:
        calls.assign(calls + 1)
        return (x * x).sum()

    x = tg.tensor([1.0, 2.0])
    for run in (
        lambda: tg.jvp(f, (x,), (x,)),
        lambda: tg.hessian(f)(x),
        lambda: tg.vjp(f, x),
        lambda: tg.grad(tg.checkpoint(f))(x),
        lambda: tg.vmap(f)(tg.ones((5, 2))),
    ):
        before = int(calls.value)
        run()
        assert int(calls.value) == before + 1


def test_a_checkpoint_recomputes_with_the_values_of_its_time() -> None:
    w = tg.Variable([3.0])

    def f(x: tg.Tensor) -> tg.Tensor:
        y = tg.checkpoint(lambda x: x * x * w)(x)
        w.assign([100.0])
        return y.sum()

    assert tg.grad(f)(tg.tensor([2.0])).tolist() == [12]
    w.assign([3.0])
    assert tg.compile(tg.grad(f))(tg.tensor([2.0])).tolist() == [12]
    assert w.tolist() == [100]


def test_random_numbers_in_a_checkpoint_are_drawn_once() -> None:
    """What is computed again is computed with the key of the first time."""

    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(lambda x: x * tg.random.uniform((4,)))(x).sum()

    x = tg.ones((4,))
    slope, value = [], []
    for run in (tg.value_and_grad(f), tg.compile(tg.value_and_grad(f))):
        v, g = run(x)
        assert abs(float(v) - float(g.sum())) < 1e-5  # the factors are the slope
        value.append(float(v))
        slope.append(g.tolist())
    assert value[0] != value[1]


def test_the_standard_deviation_of_equal_numbers_has_no_slope() -> None:
    """As in JAX; an epsilon under the root gives it one."""
    x = np.float32([[1, 1, 1], [1, 2, 4]])
    got = tg.grad(lambda x: tg.std(x, axis=1).sum())(tg.tensor(x))
    np.testing.assert_allclose(got, jax.grad(lambda x: jnp.std(x, axis=1).sum())(x), rtol=1e-5)
    assert np.isnan(got.numpy()[0]).all()
    padded = tg.grad(lambda x: tg.sqrt(tg.var(x, axis=1) + 1e-6).sum())(tg.tensor(x)).numpy()
    assert padded[0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(padded[1], got.numpy()[1], rtol=1e-5)
