"""Random numbers of compiled functions: new at each call, repeated by a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad import ops


def test_new_numbers_at_each_call_of_a_compiled_function() -> None:
    @tg.compile
    def draw() -> Any:
        return tg.random.uniform((50,)), tg.random.normal((50,))

    draws = [[t.tolist() for t in draw()] for _ in range(4)]
    flat = [tuple(numbers) for pair in draws for numbers in pair]
    assert len(set(flat)) == 8


def test_a_seed_repeats_them() -> None:
    @tg.compile
    def draw() -> Any:
        return tg.random.uniform((5,))

    def several() -> list[Any]:
        tg.random.seed(7)
        return [draw().tolist() for _ in range(3)]

    first = several()
    tg.random.uniform((3,)).tolist()
    assert several() == first
    tg.random.seed(8)
    assert draw().tolist() != first[0]


def test_compiled_and_eager_draw_from_one_stream() -> None:
    @tg.compile
    def draw() -> Any:
        return tg.random.uniform((5,))

    tg.random.seed(3)
    eager = [tg.random.uniform((5,)).tolist() for _ in range(4)]
    tg.random.seed(3)
    mixed = [draw().tolist(), tg.random.uniform((5,)).tolist(), draw().tolist()]
    mixed.append(tg.random.uniform((5,)).tolist())
    assert mixed == eager


def test_numbers_that_are_never_read_are_drawn_all_the_same() -> None:
    """The state advances when a random tensor is made, not when it is computed."""
    tg.random.seed(3)
    _, second = tg.random.uniform((5,)), tg.random.uniform((5,)).tolist()
    tg.random.seed(3)
    first, again = tg.random.uniform((5,)), tg.random.uniform((5,))
    assert again.tolist() == second  # read in the other order
    assert first.tolist() != second


def test_a_fixed_seed_gives_the_same_each_time() -> None:
    @tg.compile
    def draw() -> Any:
        return tg.random.uniform((5,), seed=1)

    assert draw().tolist() == draw().tolist() == tg.random.uniform((5,), seed=1).tolist()


def test_one_read_tensor_is_one_draw() -> None:
    noise = tg.random.normal((1000,))
    first = noise.tolist()
    assert (noise + 0).tolist() == first
    assert float((noise - noise).sum()) == 0


def test_generators_of_one_s_own() -> None:
    generator = tg.random.SeedGenerator(5)

    @tg.compile
    def draw() -> Any:
        return tg.random.uniform((5,), seed=generator)

    first = [draw().tolist() for _ in range(2)]
    again = tg.random.SeedGenerator(5)
    assert first == [tg.random.uniform((5,), seed=again).tolist() for _ in range(2)]
    assert first[0] != first[1]


def test_dropout_of_a_compiled_step_differs_from_call_to_call() -> None:
    layer = tg.layers.Dropout(0.5)
    x = ops.ones((200,))
    step = tg.compile(lambda x: layer(x, training=True))
    masks = {tuple(step(x).tolist()) for _ in range(5)}
    assert len(masks) == 5
    assert all(set(mask) == {0.0, 2.0} for mask in masks)


def test_drawing_inside_a_gradient_and_a_scan() -> None:
    """The value and its gradient see the same numbers; each step of a scan draws its own."""

    def loss(x: tg.Tensor) -> tg.Tensor:
        return (x * tg.random.uniform((100,))).sum()

    x = ops.ones((100,))
    value, slope = tg.value_and_grad(loss)(x)
    np.testing.assert_allclose(float(value), slope.numpy().sum(), rtol=1e-5)
    value2, _ = tg.value_and_grad(loss)(x)
    assert float(value2) != float(value)


def test_two_models_with_one_seed_start_alike_and_train_alike() -> None:
    def train() -> list[Any]:
        tg.random.seed(11)
        model = tg.Sequential(
            [tg.Input((3,)), tg.layers.Dense(8), tg.layers.Dropout(0.5), tg.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        x = np.arange(30, dtype=np.float32).reshape(10, 3) / 30
        model.fit(x, x[:, :1], batch_size=4, epochs=3, verbose=0)
        return model.get_weights()

    for a, b in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(a, b)
