"""Optimizers against Keras on given gradients and slots, to 1e-6 of the largest magnitude."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import optimizers
from tabgrad.errors import ArgumentError, NotSupportedError, ShapeError, TabgradError
from tests.keras_oracle import check, keras, numbers, values

SHAPES = [(4, 3), (3,), ()]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.3, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.3, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.2}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.7, "momentum": 0.5}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 1e6}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 0.1, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.1, "weight_decay": 0.05, "clipnorm": 1.0}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.1, "rho": 0.7, "momentum": 0.5, "centered": True}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}".replace(" ", ""))
def test_updates_and_slots(case: tuple[str, dict[str, Any]]) -> None:
    name, kwargs = case
    ours = getattr(optimizers, name)(**kwargs)
    theirs = getattr(keras.optimizers, name)(**kwargs)
    start = [np.asarray(numbers(*shape, seed=i)) for i, shape in enumerate(SHAPES)]
    mine = [tg.Variable(value, name=f"v{i}") for i, value in enumerate(start)]
    other = [keras.Variable(value, name=f"v{i}") for i, value in enumerate(start)]
    ours.build(mine)
    theirs.build(other)
    assert len(ours.variables) == len(theirs.variables)
    step = tg.compile(lambda *grads: ours.apply(grads, mine))
    # Given slots, not only those that start at zero. Second moments are never negative, and in a
    # centred RMSprop exceed the square of the first.
    slots = zip(ours.variables[2:], theirs.variables[2:], strict=True)
    for i, (variable, slot) in enumerate(slots):
        value = numbers(*variable.shape, seed=20 + i) * (0.1 if name == "RMSprop" else 1.0)
        if "velocity" in variable.path:
            value = np.abs(value) + np.float32(1.0)
        variable.assign(value)
        slot.assign(value)
    for round_ in range(3):
        grads = [
            np.asarray(numbers(*shape, seed=40 + 10 * round_ + i)) for i, shape in enumerate(SHAPES)
        ]
        if round_ == 1:  # once compiled, once not: both must do the same
            ours.apply(grads, mine)
        else:
            step(*[tg.tensor(g) for g in grads])
        theirs.apply(grads, other)
        for variable, value in zip(mine, values(other)):
            check(variable.value, value, 1e-6, f"{variable.path} in round {round_}")
        for variable, value in zip(ours.variables, values(theirs.variables)):
            check(variable.value, value, 1e-6, f"{variable.path} in round {round_}")
    assert int(ours.iterations.value) == 3


def test_the_learning_rate_is_not_baked_in() -> None:
    weight = tg.Variable(np.float32([1.0]), name="w")
    sgd = optimizers.SGD(0.5)
    sgd.build([weight])
    calls = []

    def step(gradient: Any) -> None:
        calls.append(1)
        sgd.apply([gradient], [weight])

    compiled = tg.compile(step)
    compiled(tg.tensor([1.0]))
    sgd.learning_rate = 0.25
    compiled(tg.tensor([1.0]))
    assert weight.tolist() == [0.25]
    assert len(calls) == 1
    assert sgd.get_config()["learning_rate"] == 0.25


def test_weight_decay_can_leave_out_variables() -> None:
    kernel, bias = tg.Variable([1.0], name="kernel"), tg.Variable([1.0], name="bias")
    sgd = optimizers.SGD(0.5, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=["bias"])
    sgd.apply([tg.tensor([0.0]), tg.tensor([0.0])], [kernel, bias])
    assert kernel.tolist() == [0.75]
    assert bias.tolist() == [1.0]
    with pytest.raises(TabgradError, match="exclude_from_weight_decay before it is built"):
        sgd.exclude_from_weight_decay(var_list=[kernel])


def test_paths_and_configs() -> None:
    weight = tg.Variable([1.0], name="w")
    weight.path = "dense/kernel"
    adam = optimizers.Adam(amsgrad=True)
    adam.build([weight])
    assert [v.path for v in adam.variables] == [
        "optimizer/iterations",
        "optimizer/learning_rate",
        "optimizer/dense/kernel/momentum",
        "optimizer/dense/kernel/velocity",
        "optimizer/dense/kernel/velocity_hat",
    ]
    config = optimizers.serialize(adam)
    again = optimizers.get(config)
    assert again.get_config() == adam.get_config()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras reads its Variables in a way NumPy 2 warns of
        theirs = keras.optimizers.Adam(amsgrad=True).get_config()
    assert {k: theirs[k] for k in ("beta_1", "beta_2", "epsilon", "amsgrad", "clipnorm")} == {
        k: config["config"][k] for k in ("beta_1", "beta_2", "epsilon", "amsgrad", "clipnorm")
    }
    # Configs written by Keras load, because everything they add is at its default.
    assert isinstance(optimizers.Adam.from_config(theirs), optimizers.Adam)


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"an optimizer of sgd, rmsprop, adam; received 'lion'"):
        optimizers.get("lion")
    with pytest.raises(ArgumentError, match="expected a number as learning_rate"):
        optimizers.SGD(lambda: 0.1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected only one of clipnorm"):
        optimizers.SGD(clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ArgumentError, match="expected momentum to be a number from 0 to 1"):
        optimizers.SGD(momentum=2.0)
    with pytest.raises(NotSupportedError, match="use_ema"):
        optimizers.Adam(use_ema=True)
    with pytest.raises(ArgumentError, match="expected arguments it has; received decay="):
        optimizers.SGD(decay=0.1)
    weight = tg.Variable([1.0, 2.0], name="w")
    sgd = optimizers.SGD()
    with pytest.raises(ShapeError, match=r"shape \(2,\) for 'w'; received \(3,\)"):
        sgd.apply([tg.tensor([1.0, 2.0, 3.0])], [weight])
    with pytest.raises(ArgumentError, match="no gradient for any Variable"):
        sgd.apply([None], [weight])
    with pytest.raises(ArgumentError, match="was built with; received 'other'"):
        sgd.apply([tg.tensor([1.0])], [tg.Variable([1.0], name="other")])
