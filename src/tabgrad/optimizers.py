"""Optimizers, with Keras 3's names, arguments and numbers: SGD, RMSprop, Adam.

Everything that changes while training is a Variable: the learning rate, the number of iterations
and the slots. So a compiled step reads them, and changing the learning rate compiles nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabgrad import naming, ops
from tabgrad.configs import config_of
from tabgrad.errors import ArgumentError, NotSupportedError, ShapeError, TabgradError, undefined
from tabgrad.ops.public import publish_classes
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable


class Optimizer:
    """Base class: subclasses define `build` (their slots) and `update_step` (their rule).

    Args:
        learning_rate: a number; `optimizer.learning_rate = 0.1` changes it at any time.
        weight_decay: the part of each weight, times the learning rate, taken away at each step.
        clipnorm: largest norm of each gradient by itself.
        clipvalue: largest magnitude of each element of a gradient.
        global_clipnorm: largest norm of all gradients together.
        name: the optimizer's name; by default that of its class.

    Raises:
        ArgumentError: for a learning rate that is not a number, or more than one kind of clipping.

    Example:
        >>> class Plain(Optimizer):
        ...     def update_step(self, gradient, variable, learning_rate):
        ...         variable.assign(variable - gradient * learning_rate)
    """

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(learning_rate, (int, float)) or isinstance(learning_rate, bool):
            raise ArgumentError(
                f"{type(self).__name__} expected a number as learning_rate; received "
                f"{learning_rate!r}. To change it while training, set optimizer.learning_rate in a "
                "callback"
            )
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ArgumentError(
                f"{type(self).__name__} expected only one of {', '.join(clips)}; received {given}"
            )
        for key, value in given.items():
            _check(self, key, value, value > 0, "a positive number or None")
        if weight_decay is not None:
            _check(self, "weight_decay", weight_decay, weight_decay >= 0, "at least 0 or None")
        self.name = name or naming.auto_name(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.built = False
        self._variables: list[Variable] = []
        self._trainable: list[Variable] = []
        self._undecayed: tuple[set[int], tuple[str, ...]] = (set(), ())
        self._iterations = self._track(ops.convert_to_tensor(0, dtype="int32"), "iterations")
        self._learning_rate = self._track(
            ops.convert_to_tensor(float(learning_rate), dtype="float32"), "learning_rate"
        )

    def _track(self, value: Tensor, path: str) -> Variable:
        name = path.rpartition("/")[2]
        variable = Variable(value, name=name, trainable=False, dtype=value.dtype)
        variable.path = f"optimizer/{path}"
        self._variables.append(variable)
        return variable

    @property
    def iterations(self) -> Variable:
        """How many updates have been made, a 0-d int32 Variable."""
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate, a 0-d float32 Variable; set it to a number to change it."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate.assign(value)

    @property
    def variables(self) -> list[Variable]:
        """Iterations, learning rate, then the slots in Keras's order."""
        return list(self._variables)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots for these Variables. Subclasses with slots extend it."""
        self._trainable = list(variables)
        self.built = True

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str | Sequence[str]
    ) -> Any:
        """Zeros shaped like each Variable: a list for one name, a tuple of lists for several."""
        names = [name] if isinstance(name, str) else list(name)
        slots: tuple[list[Variable], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for each, slot in zip(names, slots):
                zeros = ops.zeros(variable.shape, dtype=variable.dtype)
                slot.append(self._track(zeros, f"{variable.path}/{each}"))
        return slots[0] if isinstance(name, str) else slots

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Name Variables that weight decay leaves alone: themselves, or parts of their paths.

        Raises:
            TabgradError: after `build`.
        """
        if self.built:
            raise TabgradError(
                f"{self.name} expected exclude_from_weight_decay before it is built; received it "
                "afterwards. Call it first, or make a new optimizer"
            )
        self._undecayed = ({id(v) for v in var_list or ()}, tuple(var_names or ()))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Variable:
        """`apply` for pairs of a gradient and its Variable; returns `iterations`."""
        pairs = list(grads_and_vars)
        self.apply([grad for grad, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """Update Variables by their gradients, once.

        Args:
            grads: a gradient (or None) for each Variable, of its shape.
            trainable_variables: the Variables; by default those the optimizer was built with.

        Raises:
            ShapeError: when a gradient has another shape than its Variable, or there are more or
                fewer of them.
            ArgumentError: for a Variable the optimizer was not built with, or without gradients.
        """
        if trainable_variables is None:
            if not self.built:
                raise TabgradError(
                    f"{self.name} expected trainable_variables, because it has not been built; "
                    "received None. Pass them, or call build(variables) first"
                )
            trainable_variables = self._trainable
        if not all(isinstance(v, Variable) for v in _listed("Variables", trainable_variables)):
            raise ArgumentError(
                f"{self.name} expected Variables to update; received {trainable_variables!r}"
            )
        grads, variables = _listed("gradients", grads), list(trainable_variables)
        if len(grads) != len(variables):
            raise ShapeError(
                f"{self.name} expected {len(variables)} gradients, one for each Variable; received "
                f"{len(grads)}. Give None for a Variable without one"
            )
        if not self.built:
            self.build(variables)
        pairs = []
        for grad, variable in zip(grads, variables):
            self._index(variable)
            if grad is None:
                continue
            gradient = ops.convert_to_tensor(grad, dtype=variable.dtype)
            if gradient.shape != variable.shape:
                raise ShapeError(
                    f"{self.name} expected a gradient of shape {variable.shape} for "
                    f"{variable.path!r}; received {gradient.shape}"
                )
            pairs.append((gradient, variable))
        if grads and not pairs:
            raise ArgumentError(
                f"{self.name} expected a gradient for at least one of "
                f"{', '.join(v.path for v in variables)}; received no gradient for any Variable. "
                "The loss does not depend on them"
            )
        gradients = self._clip([gradient for gradient, _ in pairs])
        rate = self._learning_rate.value
        for _, variable in pairs:
            self._decay(variable, rate)
        for gradient, (_, variable) in zip(gradients, pairs):
            self.update_step(gradient, variable, ops.cast(rate, variable.dtype))
        self._iterations.assign(self._iterations.value + 1)

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        """Update one Variable; subclasses define it."""
        raise undefined(self, "update_step(self, gradient, variable, learning_rate)")

    def _index(self, variable: Variable) -> int:
        for index, known in enumerate(self._trainable):
            if known is variable:
                return index
        raise ArgumentError(
            f"{self.name} expected one of the {len(self._trainable)} Variables it was built with; "
            f"received {variable.path!r} {variable.shape}. Make a new optimizer for new Variables "
            "(model.compile does)"
        )

    def _clip(self, grads: list[Tensor]) -> list[Tensor]:
        if self.clipvalue is not None:
            return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        if self.clipnorm is not None:
            limit = self.clipnorm
            return [g * limit / ops.maximum(_norm([g]), limit) for g in grads]
        if self.global_clipnorm is not None and grads:
            limit = self.global_clipnorm
            norm = _norm(grads)
            factor = limit * ops.minimum(1.0 / norm, 1.0 / limit)
            # An infinite norm makes every update NaN, as in Keras, instead of silently 0.
            factor = factor + (norm - norm)
            return [g * ops.cast(factor, g.dtype) for g in grads]
        return grads

    def _decay(self, variable: Variable, rate: Tensor) -> None:
        if self.weight_decay is None or id(variable) in self._undecayed[0]:
            return
        if any(part in variable.path for part in self._undecayed[1]):
            return
        factor = ops.cast(rate, variable.dtype)
        value = variable.value
        variable.assign(value - value * self.weight_decay * factor)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer, with the present learning rate."""
        return {
            "name": self.name,
            "learning_rate": float(self._learning_rate.value),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Optimizer:
        """The optimizer that `get_config` described, with empty slots."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _norm(grads: Sequence[Tensor]) -> Tensor:
    total = ops.sum(ops.square(grads[0]))
    for gradient in grads[1:]:
        total = total + ops.sum(ops.square(gradient))
    return ops.sqrt(total)


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    Args:
        learning_rate: see `Optimizer`.
        momentum: how much of the last step stays, from 0 to 1.
        nesterov: whether momentum looks ahead.
        weight_decay: see `Optimizer`.
        clipnorm: see `Optimizer`.
        clipvalue: see `Optimizer`.
        global_clipnorm: see `Optimizer`.
        name: see `Optimizer`.
        kwargs: Keras arguments that are not available raise; None and False are accepted.

    Raises:
        ArgumentError: for a momentum outside 0 to 1.

    Example:
        >>> v = Variable(ops.ones((2,)), name="v")
        >>> SGD(0.5).apply([ops.ones((2,))], [v])
        >>> v.value.tolist()
        [0.5, 0.5]
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse(type(self).__name__, kwargs)
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        _check(self, "momentum", momentum, 0 <= momentum <= 1, "a number from 0 to 1")
        self.momentum = float(momentum)
        self.nesterov = nesterov

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums: list[Variable] = (
            self.add_optimizer_variables(variables, "momentum") if self.momentum else []
        )

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        step = gradient * learning_rate
        if not self.momentum:
            variable.assign(variable.value - step)
            return
        slot = self.momentums[self._index(variable)]
        velocity = slot.value * self.momentum - step
        slot.assign(velocity)
        ahead = velocity * self.momentum - step if self.nesterov else velocity
        variable.assign(variable.value + ahead)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: how much of the mean of gradients stays.
        beta_2: how much of the mean of their squares stays.
        epsilon: added to the root of the latter.
        amsgrad: whether that mean may never fall.
        weight_decay: see `Optimizer`.
        clipnorm: see `Optimizer`.
        clipvalue: see `Optimizer`.
        global_clipnorm: see `Optimizer`.
        name: see `Optimizer`.
        kwargs: Keras arguments that are not available raise; None and False are accepted.

    Example:
        >>> v = Variable(ops.ones((1,)), name="v")
        >>> Adam(0.5).apply([ops.ones((1,))], [v])
        >>> round(v.value.tolist()[0], 4)
        0.5
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse(type(self).__name__, kwargs)
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )
        if self.amsgrad:
            self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        index = self._index(variable)
        dtype = variable.dtype
        step = ops.cast(self._iterations.value + 1, dtype)
        power_1 = ops.power(ops.full((), self.beta_1, dtype=dtype), step)
        power_2 = ops.power(ops.full((), self.beta_2, dtype=dtype), step)
        rate = learning_rate * ops.sqrt(1.0 - power_2) / (1.0 - power_1)
        m, v = self._momentums[index], self._velocities[index]
        mean = m.value + (gradient - m) * (1.0 - self.beta_1)
        square = v.value + (ops.square(gradient) - v) * (1.0 - self.beta_2)
        m.assign(mean)
        v.assign(square)
        if self.amsgrad:
            highest = self._velocity_hats[index]
            square = ops.maximum(highest, square)
            highest.assign(square)
        variable.assign(variable.value - mean * rate / (ops.sqrt(square) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of the squared gradient. Keras's default.

    Args:
        learning_rate: see `Optimizer`.
        rho: how much of the mean of squares stays.
        momentum: how much of the last step stays.
        epsilon: added under the root.
        centered: whether the running mean of the gradient is taken out of the squares.
        weight_decay: see `Optimizer`.
        clipnorm: see `Optimizer`.
        clipvalue: see `Optimizer`.
        global_clipnorm: see `Optimizer`.
        name: see `Optimizer`.
        kwargs: Keras arguments that are not available raise; None and False are accepted.

    Example:
        >>> v = Variable(ops.ones((1,)), name="v")
        >>> RMSprop(0.1).apply([ops.ones((1,))], [v])
        >>> round(v.value.tolist()[0], 4)
        0.6838
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse(type(self).__name__, kwargs)
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._momentums = (
            self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else []
        )
        self._averages = (
            self.add_optimizer_variables(variables, "average_gradient") if self.centered else []
        )

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        index = self._index(variable)
        v = self._velocities[index]
        square = self.rho * v.value + (1.0 - self.rho) * ops.square(gradient)
        v.assign(square)
        if self.centered:
            average = self._averages[index]
            mean = self.rho * average.value + (1.0 - self.rho) * gradient
            average.assign(mean)
            square = square - ops.square(mean)
        step = learning_rate * gradient / ops.sqrt(square + self.epsilon)
        if self.momentum > 0:
            slot = self._momentums[index]
            step = self.momentum * slot.value + step
            slot.assign(step)
        variable.assign(variable.value - step)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


def _listed(what: str, given: Any) -> list[Any]:
    if not isinstance(given, (list, tuple)):
        raise ArgumentError(f"an optimizer expected a list of {what}; received {given!r}")
    return list(given)


def _check(optimizer: Optimizer, name: str, value: Any, fits: bool, words: str) -> None:
    if not fits:
        raise ArgumentError(
            f"{type(optimizer).__name__} expected {name} to be {words}; received {value!r}"
        )


_NOT_YET = (
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "use_ema",
)


def _refuse(name: str, kwargs: Mapping[str, Any]) -> None:
    for key, value in kwargs.items():
        if key not in _NOT_YET:
            raise ArgumentError(
                f"{name} expected arguments it has; received {key}={value!r}. See "
                f"help(tabgrad.optimizers.{name})"
            )
        # Keras writes these into every config, so their defaults are accepted.
        if value not in (None, False) and not (key == "ema_momentum" and value == 0.99):
            raise NotSupportedError(
                f"{name} expected {key}, an argument of Keras that tabgrad does not have yet, to "
                f"be left out; received {value!r}"
            )


_CLASSES: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get(identifier: Any) -> Optimizer:
    """The optimizer for a name in any case, a config, a class, or an Optimizer.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> type(get("sgd")).__name__
        'SGD'
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, Mapping):
        named: Any = _named(identifier.get("class_name"))
        found: Optimizer = named.from_config(identifier.get("config") or {})
        return found
    if isinstance(identifier, str) or inspect.isclass(identifier):
        made: Optimizer = _named(identifier)()
        return made
    raise ArgumentError(
        f"expected an optimizer's name ({', '.join(_CLASSES)}) or a tabgrad.optimizers.Optimizer; "
        f"received {identifier!r}"
    )


def _named(name: Any) -> Any:
    if inspect.isclass(name) and issubclass(name, Optimizer):
        return name
    found = _CLASSES.get(name.lower()) if isinstance(name, str) else None
    if found is None:
        raise ArgumentError(f"expected an optimizer of {', '.join(_CLASSES)}; received {name!r}")
    return found


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The config dict of an optimizer in Keras's form."""
    return config_of(optimizer, "optimizers")


__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "get", "serialize"]

publish_classes(globals())
