"""Values stay what they were, whatever is assigned, trained or computed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import ops


def _model() -> tg.Sequential:
    model = tg.Sequential(
        [tg.Input((3,)), tg.layers.Dense(4), tg.layers.BatchNormalization(), tg.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def test_values_of_weights_taken_before_fit() -> None:
    """Read before or after the fit, and also what was computed from them lazily."""
    model = _model()
    aliases = [variable.value for variable in model.weights]
    read = [alias.tolist() for alias in aliases[::2]]
    doubled = [alias * 2 for alias in aliases]
    copies = [np.array(variable.value) for variable in model.weights]
    for _ in range(2):
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0)
        for alias, copy in zip(aliases, copies, strict=True):
            np.testing.assert_array_equal(alias, copy)
    for twice, copy in zip(doubled, copies, strict=True):
        np.testing.assert_array_equal(twice, copy * 2)
    assert read == [copy.tolist() for copy in copies[::2]]
    moved = [(np.asarray(v.value) != c).any() for v, c in zip(model.weights, copies, strict=True)]
    assert all(moved)


def test_an_alias_of_every_epoch() -> None:
    """As a callback keeps them: each is another version."""
    model = _model()
    kept: list[Any] = []
    copies: list[Any] = []

    def keep(epoch: int, logs: Any) -> None:
        kept.append(model.weights[0].value)
        copies.append(np.array(model.weights[0].value))

    callback = tg.callbacks.LambdaCallback(on_epoch_end=keep)
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[callback])
    for alias, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(alias, copy)
    assert len({copy.tobytes() for copy in copies}) == 4


def test_an_alias_of_a_variable_assigned_eagerly() -> None:
    v = tg.Variable([1.0, 2.0])
    first = v.value
    v.assign(v + 1)
    second = v.value
    v.assign_add([10.0, 10.0])
    v.assign_sub([0.5, 0.5])
    assert (first.tolist(), second.tolist()) == ([1, 2], [2, 3])
    assert v.tolist() == [11.5, 12.5]


def test_an_alias_of_a_variable_updated_in_place() -> None:
    """Also between two updates, and of several Variables that share one value."""
    start = tg.tensor([1.0, 2.0])
    v, w = tg.Variable(start), tg.Variable(start)

    @tg.compile
    def step() -> None:
        v.assign(v * 2)

    seen = [v.value]
    for _ in range(3):
        step()
        seen.append(v.value)
    assert [each.tolist() for each in seen] == [[1, 2], [2, 4], [4, 8], [8, 16]]
    assert start.tolist() == w.tolist() == [1, 2]


def test_what_was_assigned_is_no_alias_of_the_variable() -> None:
    """A Tensor given to `assign` keeps its value when the Variable is updated in place."""
    given = tg.tensor([1.0, 2.0]) + 0.0
    v = tg.Variable([0.0, 0.0])
    v.assign(given)

    @tg.compile
    def step() -> Any:
        v.assign(v + 1)
        return v.value

    after = step()
    step()
    assert given.tolist() == [1, 2]
    assert after.tolist() == [2, 3]
    assert v.tolist() == [3, 4]


def test_set_weights_copies_arrays() -> None:
    model = _model()
    weights = [np.full(v.shape, 0.5, np.float32) for v in model.weights]
    model.set_weights(weights)
    for array in weights:
        array[...] = 7
    assert all((np.asarray(v.value) == 0.5).all() for v in model.weights)
    taken = model.get_weights()
    model.fit(X, Y, epochs=1, verbose=0)
    assert all((array == 0.5).all() for array in taken)


def test_tensors_of_arrays_that_change() -> None:
    array = np.array([1.0, 2.0], np.float32)
    t = tg.tensor(array)
    array[:] = 9
    read = t.numpy()
    read[:] = 7
    assert t.tolist() == [1, 2]


def test_what_a_compiled_function_returned_stays() -> None:
    """Results of earlier calls are not overwritten by the next: arrays, numbers, several."""

    @tg.compile
    def f(x: tg.Tensor) -> Any:
        return {"all": x * 2, "one": x.sum(), "same": x}

    inputs = [tg.tensor([float(i), 1.0]) for i in range(5)]
    results = [f(x) for x in inputs]
    for i, result in enumerate(results):
        assert result["all"].tolist() == [2.0 * i, 2]
        assert float(result["one"]) == i + 1
        assert result["same"].tolist() == [i, 1]
    model = _model()
    predictions = [model.predict(X + i, verbose=0) for i in range(3)]
    batches = [model.predict_on_batch(X + i) for i in range(3)]
    for prediction, batch in zip(predictions, batches, strict=True):
        np.testing.assert_allclose(prediction, batch, rtol=1e-6)
    assert not np.array_equal(predictions[0], predictions[1])


def test_a_returned_variable_is_its_value_then() -> None:
    v = tg.Variable([1.0, 1.0])

    @tg.compile
    def step() -> Any:
        before = v.value
        v.assign(v + 1)
        return before, v

    results = [step() for _ in range(3)]
    assert [(a.tolist()[0], b.tolist()[0]) for a, b in results] == [(1, 2), (2, 3), (3, 4)]
    assert v.tolist() == [4, 4]


def test_inputs_of_a_compiled_function_are_left_alone() -> None:
    """Also where the function passes them on, and where they become the value of a Variable."""
    v = tg.Variable([0.0, 0.0])
    x = tg.tensor([1.0, 2.0])

    @tg.compile
    def keep(x: tg.Tensor) -> Any:
        v.assign(x)
        return x

    @tg.compile
    def grow() -> None:
        v.assign(v * 10)

    same = keep(x)
    grow()
    assert (x.tolist(), same.tolist(), v.tolist()) == ([1, 2], [1, 2], [10, 20])


def _swap(a: tg.Variable, b: tg.Variable) -> None:
    old = a.value
    a.assign(b)
    b.assign(old)


def _swap_in_a_tuple(a: tg.Variable, b: tg.Variable) -> None:
    first, second = b.value, a.value
    a.assign(first)
    b.assign(second)


@pytest.mark.parametrize("swap", [_swap, _swap_in_a_tuple])
@pytest.mark.parametrize("compiled", [False, True])
def test_swapping(swap: Callable[..., None], compiled: bool) -> None:
    for size in (1, 3, 100_000):
        a, b = tg.Variable(np.full(size, 1.0)), tg.Variable(np.full(size, 2.0))

        def act(a: tg.Variable = a, b: tg.Variable = b) -> None:
            swap(a, b)

        run = tg.compile(act) if compiled else act
        for _ in range(3):
            run()
        assert (set(a.tolist()), set(b.tolist())) == ({2.0}, {1.0})
        run()
        assert (set(a.tolist()), set(b.tolist())) == ({1.0}, {2.0})


@pytest.mark.parametrize("compiled", [False, True])
def test_assigning_one_after_the_other_is_no_swap(compiled: bool) -> None:
    """`a.assign(b); b.assign(a)` reads the new a, as Python would."""
    a, b = tg.Variable([1.0, 1.0]), tg.Variable([2.0, 2.0])

    def act() -> None:
        a.assign(b)
        b.assign(a)

    (tg.compile(act) if compiled else act)()
    assert (a.tolist(), b.tolist()) == ([2, 2], [2, 2])
    a.assign(a + 1)
    assert (a.tolist(), b.tolist()) == ([3, 3], [2, 2])


def test_rotating_three() -> None:
    a, b, c = (tg.Variable(np.full((5, 7), float(i))) for i in range(3))

    @tg.compile
    def rotate() -> None:
        first = a.value
        a.assign(b)
        b.assign(c)
        c.assign(first)

    rotate()
    assert [v.numpy()[0, 0] for v in (a, b, c)] == [1, 2, 0]
    rotate()
    assert [v.numpy()[0, 0] for v in (a, b, c)] == [2, 0, 1]


VIEWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "reversed": (lambda x: ops.flip(x, axis=0), lambda x: x[::-1]),
    "reversed by a slice": (lambda x: x[::-1], lambda x: x[::-1]),
    "transposed": (lambda x: x.T, lambda x: x.T),
    "shifted": (
        lambda x: ops.concatenate([x[1:], x[:1]], axis=0),
        lambda x: np.concatenate([x[1:], x[:1]]),
    ),
    "rolled": (lambda x: ops.roll(x, 3, axis=1), lambda x: np.roll(x, 3, axis=1)),
    "reversed, added to itself": (lambda x: x + ops.flip(x, axis=1), lambda x: x + x[:, ::-1]),
    "transposed, scaled": (lambda x: x.T * 2 - x, lambda x: x.T * 2 - x),
    "multiplied by itself": (lambda x: x @ x * 0.01, lambda x: x @ x * np.float32(0.01)),
    "minus its mean": (lambda x: x - x.mean(axis=0), lambda x: x - x.mean(axis=0)),
    "gathered": (
        lambda x: ops.take(x, tg.tensor(list(range(32, -1, -1))), axis=0),
        lambda x: x[::-1],
    ),
    "of its row sums": (
        lambda x: ops.flip(x, axis=0) + x.sum(axis=1),
        lambda x: x[::-1] + x.sum(axis=1),
    ),
    "shifted neighbours": (
        lambda x: ops.pad(x[:-1], ((1, 0), (0, 0))) + x,
        lambda x: np.pad(x[:-1], ((1, 0), (0, 0))) + x,
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_assigning_a_variable_from_another_view_of_itself(name: str) -> None:
    """The update in place must not read what it has written already."""
    ours, numpys = VIEWS[name]
    start = np.random.default_rng(1).standard_normal((33, 33)).astype(np.float32)
    v = tg.Variable(start)

    @tg.compile
    def step() -> None:
        v.assign(ours(v.value))

    expected = start
    for _ in range(3):
        step()
        expected = numpys(expected)
    np.testing.assert_allclose(v.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_reading_a_variable_after_assigning_it_in_the_same_function() -> None:
    v, log = tg.Variable([1.0, 2.0]), tg.Variable([0.0, 0.0])

    @tg.compile
    def step(x: tg.Tensor) -> Any:
        old = v.value
        v.assign(v + x)
        middle = v * 1.0
        v.assign(v * 2)
        log.assign(old)
        return old, middle, v.value, v + old

    for start in ([1.0, 2.0], [4.0, 6.0]):
        old, middle, new, both = (t.tolist() for t in step(tg.tensor([1.0, 1.0])))
        assert old == log.tolist() == start
        assert middle == [s + 1 for s in start]
        assert new == v.tolist() == [2 * (s + 1) for s in start]
        assert both == [2 * (s + 1) + s for s in start]


def test_a_variable_shared_by_two_compiled_functions() -> None:
    """Each sees what the other, and eager code between them, has done."""
    v = tg.Variable([1.0, 1.0])

    @tg.compile
    def add(x: float) -> Any:
        v.assign(v + x)
        return v.value

    @tg.compile
    def double() -> Any:
        v.assign(v * 2)
        return v.sum()

    a = add(1.0)
    assert float(double()) == 8
    b = add(3.0)
    v.assign([0.5, 0.25])
    assert float(double()) == 1.5
    assert add(1.0).tolist() == v.tolist() == [2, 1.5]
    assert (a.tolist(), b.tolist()) == ([2, 2], [7, 7])


def test_a_compiled_function_inside_another() -> None:
    v = tg.Variable([1.0, 1.0])

    @tg.compile
    def inner(x: tg.Tensor) -> Any:
        v.assign(v + x)
        return v * 1

    @tg.compile
    def outer(x: tg.Tensor) -> Any:
        return inner(x) + inner(x)

    assert outer(tg.tensor([1.0, 2.0])).tolist() == [5, 8]
    assert v.tolist() == [3, 5]
    assert outer(tg.tensor([1.0, 2.0])).tolist() == [9, 16]
