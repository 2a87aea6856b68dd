"""Layers, losses, metrics, optimizers, initializers, callbacks made and called with wrong things:
whatever is refused is refused in words, and nothing that the signature excludes is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import TabgradError
from tabgrad.ops.public import _fits

MODULES = (tg.layers, tg.losses, tg.metrics, tg.optimizers, tg.initializers, tg.callbacks)
NEEDED: dict[str, Any] = {
    "activation": "relu", "callbacks": [], "filters": 2, "fn": tg.losses.mean_squared_error,
    "initializer": "zeros", "kernel_size": 3, "learning_rate": 0.1, "model": None, "params": {},
    "pool_size": 2, "rate": 0.5, "shape": (3,), "target_shape": (3,), "units": 2,
}  # fmt: skip
"""What makes the classes whose arguments have no defaults."""


class Odd:
    """Something that belongs nowhere."""

    def __repr__(self) -> str:
        return "Odd()"


WRONG: list[Any] = [
    "nonsense", Odd(), None, 1.5, -1, 0, True, float("nan"), (), [-1], ["a"], {}, (1, 2, 3, 4, 5),
    tg.ones((2, 3)), np.int64(3), np.ones(2),
]  # fmt: skip


def classes() -> dict[str, type]:
    found = {}
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and value.__name__ == name:
                found[f"{module.__name__.removeprefix('tabgrad.')}.{name}"] = value
    return found


CLASSES = classes()


def arguments_of(made: type) -> dict[str, Any]:
    return {
        p.name: NEEDED[p.name]
        for p in inspect.signature(made).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def used(thing: Any) -> None:
    """Call what was made, so that an argument that was let through is used."""
    if isinstance(thing, tg.layers.Conv2D | tg.layers.MaxPooling2D | tg.layers.AveragePooling2D):
        np.asarray(thing(tg.ones((2, 6, 6, 2)), training=True))
    elif isinstance(thing, tg.layers.GlobalAveragePooling2D):
        np.asarray(thing(tg.ones((2, 6, 6, 2))))
    elif isinstance(thing, tg.layers.Layer) and type(thing) is not tg.layers.Layer:
        np.asarray(thing(tg.ones((2, 3)), training=True))
    elif isinstance(thing, tg.losses.Loss) and type(thing) is not tg.losses.Loss:
        sparse = "Sparse" in type(thing).__name__
        np.asarray(thing([0, 1] if sparse else tg.ones((2, 3)) / 3, tg.ones((2, 3)) / 3))
    elif isinstance(thing, tg.initializers.Initializer) and type(thing).__call__ is not (
        tg.initializers.Initializer.__call__
    ):
        np.asarray(thing((3, 2)))
    elif isinstance(thing, tg.optimizers.Optimizer) and type(thing) is not tg.optimizers.Optimizer:
        thing.apply([tg.ones((2,))], [tg.Variable(tg.ones((2,)))])


def refusal(act: Callable[[], Any]) -> str | None:
    """What is wrong with how a call fails; None where nothing is."""
    try:
        act()
    except TabgradError as error:
        said = str(error)
        return None if "expected" in said and "received" in said else repr(error)
    except Exception as error:
        return repr(error)
    return None


@pytest.mark.parametrize("name", CLASSES)
def test_made_with_wrong_arguments(name: str) -> None:
    made = CLASSES[name]
    arguments = arguments_of(made)
    used(made(**arguments))
    wrong = []
    for parameter in inspect.signature(made).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        for value in WRONG:
            said = refusal(lambda p=parameter, v=value: used(made(**arguments | {p.name: v})))
            if said is not None:
                wrong.append(f"{parameter.name}={value!r}: {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_is_taken_that_the_signature_excludes(name: str) -> None:
    made = CLASSES[name]
    arguments = arguments_of(made)
    hints = inspect.signature(made).parameters
    kinds = {"str": str, "bool": bool, "int": int, "float": float}
    for parameter in hints.values():
        kind = kinds.get(str(parameter.annotation).removesuffix(" | None"))
        for value in WRONG if kind else []:
            if value is None or isinstance(value, np.integer) or _fits(value, kind):
                continue
            with pytest.raises(TabgradError, match=r"(?s)expected.*received"):
                made(**arguments | {parameter.name: value})


@pytest.mark.parametrize("name", [name for name in CLASSES if "Wrapper" not in name])
def test_wrong_names(name: str) -> None:
    """The wrappers hand further arguments to their function."""
    words = "(?s)expected.*received.*nonsense|unexpected keyword|takes no arguments"
    with pytest.raises((TabgradError, TypeError), match=words):
        CLASSES[name](**arguments_of(CLASSES[name]), nonsense=3)


@pytest.mark.parametrize(
    "module", [m for m in MODULES if hasattr(m, "get")], ids=lambda m: str(m.__name__)
)
def test_get_of_what_there_is_not(module: Any) -> None:
    for wrong in ("nonsense", 3, Odd(), 1.5, [], {"class_name": "Nonsense", "config": {}}):
        with pytest.raises(TabgradError, match=r"(?s)expected.*received"):
            module.get(wrong)


@pytest.mark.parametrize(
    "call",
    [
        *[
            lambda x, loss=loss: loss(x, tg.ones((2, 3)))
            for loss in (
                tg.losses.MeanSquaredError(), tg.losses.BinaryCrossentropy(),
                tg.losses.CategoricalCrossentropy(), tg.losses.SparseCategoricalCrossentropy(),
                tg.losses.mean_absolute_error, tg.metrics.MeanSquaredError(),
                tg.metrics.CategoricalAccuracy(), tg.metrics.Mean(),
            )
        ],
        *[
            lambda x, layer=layer: layer(x)
            for layer in (
                tg.layers.Dense(2), tg.layers.Conv2D(2, 3), tg.layers.Reshape((5,)),
                tg.layers.BatchNormalization(axis=2), tg.layers.MaxPooling2D(), tg.layers.Flatten(),
            )
        ],
        lambda x: tg.initializers.GlorotUniform()(x),
        lambda x: tg.optimizers.SGD().apply([x], [tg.Variable(tg.ones((2,)))]),
        lambda x: tg.optimizers.SGD().apply([tg.ones((2,))], x),
        lambda x: tg.layers.Dense(2).set_weights(x),
        lambda x: tg.layers.Dense(2).build(x),
    ],
)  # fmt: skip
def test_called_with_wrong_things(call: Callable[[Any], Any]) -> None:
    wrong = []
    for value in ("nonsense", Odd(), None, [], {}, ["a"], tg.ones((7, 5, 4, 1, 2)), [[1], [2, 3]]):
        said = refusal(lambda value=value: np.asarray(call(value)))
        if said is not None:
            wrong.append(f"{value!r}: {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("base", "use", "method"),
    [
        (tg.layers.Layer, lambda layer: layer(tg.ones((2, 3))), "call(self, inputs)"),
        (
            tg.layers.Layer,
            lambda layer: tg.Sequential([tg.Input((3,)), layer]),
            "call(self, inputs)",
        ),
        (tg.losses.Loss, lambda loss: loss([1.0], [2.0]), "call(self, y_true, y_pred)"),
        (
            tg.metrics.Metric,
            lambda metric: metric.update_state([1.0], [2.0]),
            "update_state(self, y_true, y_pred, sample_weight=None)",
        ),
        (tg.metrics.Metric, lambda metric: metric.result(), "result(self)"),
        (
            lambda: tg.optimizers.Optimizer(0.1),
            lambda optimizer: optimizer.apply([tg.ones((2,))], [tg.Variable(tg.ones((2,)))]),
            "update_step(self, gradient, variable, learning_rate)",
        ),
        (
            tg.initializers.Initializer,
            lambda initializer: initializer((3, 2)),
            "__call__(self, shape, dtype=None)",
        ),
    ],
)
def test_classes_that_define_too_little(
    base: Callable[[], Any], use: Callable[[Any], Any], method: str
) -> None:
    """Keras raises NotImplementedError, and so do we; with what is missing, and where."""
    made = base()
    with pytest.raises(NotImplementedError) as caught:
        use(made)
    assert isinstance(caught.value, TabgradError)
    said = f"expected {type(made).__name__} to define {method}; received a class without it. Write"
    assert said in str(caught.value)
