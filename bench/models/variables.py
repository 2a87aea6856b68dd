"""What the models of the benchmark share: weights as Variables, and one compiled step with Adam.

No model is here. The state of a step, weights and Adam's slots, are Variables, so an export holds
all of it and a page trains further from the weights that every contestant was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tabgrad as tg

Params = Mapping[str, Any]


def variables(weights: Mapping[str, Any], trainable: bool) -> dict[str, tg.Variable]:
    """A Variable of its own for each array, under the array's name."""
    return {
        name: tg.Variable(value, trainable=trainable, name=name) for name, value in weights.items()
    }


def compiled(function: Callable[..., Any], *examples: Any) -> Any:
    """`tg.compile(function)`, captured and compiled for arguments like the examples. It is not run,
    so that a step leaves the weights as they are."""
    made = tg.compile(function)
    made.program(*examples)
    return made


def training_step(
    forward: Callable[[Params, Any], tg.Tensor], weights: Mapping[str, Any]
) -> Callable[[Any, Any], tg.Tensor]:
    """A function (inputs, class numbers) to the loss, which moves its own copy of the weights by
    Adam with Keras's defaults.

    Args:
        forward: (params, inputs) to logits, (batch, classes).
        weights: the first weights by name.

    Returns:
        The step; the loss is the mean cross-entropy before it.
    """
    params = variables(weights, trainable=True)
    trained = list(params.values())
    optimizer = tg.optimizers.Adam()
    optimizer.build(trained)

    def step(x: Any, y: Any) -> tg.Tensor:
        def loss() -> tg.Tensor:
            logits = forward(params, x)
            return tg.mean(tg.nn.sparse_categorical_crossentropy(y, logits, from_logits=True))

        value: tg.Tensor
        value, gradients = tg.value_and_grad(loss, variables=trained)()
        optimizer.apply(gradients, trained)
        return value

    return step
