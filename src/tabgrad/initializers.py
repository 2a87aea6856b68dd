"""Initial values of weights, with Keras 3's names, arguments and scales.

Not here: random numbers themselves (`tabgrad.random`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabgrad import ops, random
from tabgrad.configs import config_of
from tabgrad.errors import ArgumentError, undefined
from tabgrad.naming import to_snake_case
from tabgrad.ops.arguments import sizes_of
from tabgrad.ops.public import publish_classes
from tabgrad.tensor import Tensor

Shape = Sequence[int]

# The standard deviation of a unit normal cut off at two standard deviations: dividing by it makes
# the values that are left have the deviation that was asked for.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer:
    """Base class: an object called with a shape and a dtype that returns the initial Tensor.

    Example:
        >>> class Halves(Initializer):
        ...     def __call__(self, shape, dtype=None):
        ...         return ops.full(shape, 0.5, dtype=dtype)
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """The initial value: a Tensor of this shape and dtype (float32 when None)."""
        raise undefined(self, "__call__(self, shape, dtype=None)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """The initializer that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({inside})"


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return ops.zeros(shape, dtype=dtype or "float32")


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return ops.ones(shape, dtype=dtype or "float32")


class Constant(Initializer):
    """All the same `value`.

    Args:
        value: a Python number.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return ops.full(shape, self.value, dtype=dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class RandomInitializer(Initializer):
    """Base class of the initializers that draw random numbers.

    Args:
        seed: an integer (the same values at each call), a `tabgrad.random.SeedGenerator`, or None
            for the global random state that `tabgrad.random.seed` sets.
    """

    def __init__(self, seed: Any = None) -> None:
        if not (seed is None or isinstance(seed, (int, random.SeedGenerator))):
            raise ArgumentError(
                f"{type(self).__name__} expected an integer, a tabgrad.random.SeedGenerator or "
                f"None as seed; received {seed!r}"
            )
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed if isinstance(self.seed, int) else None}


class RandomNormal(RandomInitializer):
    """Values of a normal distribution.

    Args:
        mean: mean of the values.
        stddev: standard deviation of the values.
        seed: see `RandomInitializer`.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return random.normal(shape, self.mean, self.stddev, dtype or "float32", self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Values of a normal distribution; those beyond two standard deviations are drawn again.

    Args:
        mean: mean before truncation.
        stddev: standard deviation before truncation.
        seed: see `RandomInitializer`.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype or "float32", self.seed)


class RandomUniform(RandomInitializer):
    """Values of a uniform distribution on [minval, maxval).

    Args:
        minval: lower end.
        maxval: upper end.
        seed: see `RandomInitializer`.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return random.uniform(shape, self.minval, self.maxval, dtype or "float32", self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class VarianceScaling(RandomInitializer):
    """Random values whose variance is `scale / n`, n being a number of inputs or outputs.

    Args:
        scale: a positive number.
        mode: what n is: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (also "normal"), "untruncated_normal" or "uniform".
        seed: see `RandomInitializer`.
        input_axes: the axes whose sizes make fan_in; by default all but the last.
        output_axes: the axes whose sizes make fan_out; by default all but the one before the last.

    Raises:
        ArgumentError: for a scale that is not positive, or an unknown mode or distribution.

    Example:
        >>> VarianceScaling(2.0, "fan_in", "uniform")((3, 3, 16, 32)).shape
        (3, 3, 16, 32)
    """

    _MODES = ("fan_in", "fan_out", "fan_avg")
    _DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        kind = type(self).__name__
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if scale <= 0:
            raise ArgumentError(f"{kind} expected a positive scale; received {scale!r}")
        if mode not in self._MODES:
            raise ArgumentError(f"{kind} expected a mode of {self._MODES}; received {mode!r}")
        if distribution not in self._DISTRIBUTIONS:
            raise ArgumentError(
                f"{kind} expected a distribution of {self._DISTRIBUTIONS}; received "
                f"{distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        dtype = dtype or "float32"
        shape = sizes_of(type(self).__name__, shape)
        fan_in, fan_out = fans(shape)
        if self.input_axes is not None and self.output_axes is not None:
            fan_in = math.prod(shape[axis] for axis in self.input_axes)
            fan_out = math.prod(shape[axis] for axis in self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return random.truncated_normal(shape, 0.0, stddev, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
            **super().get_config(),
        }


class _Scaled(VarianceScaling):
    """A VarianceScaling with everything but the seed fixed by its class."""

    _SCALE: float
    _MODE: str
    _DISTRIBUTION: str

    def __init__(self, seed: Any = None) -> None:
        super().__init__(self._SCALE, self._MODE, self._DISTRIBUTION, seed)

    def get_config(self) -> dict[str, Any]:
        return RandomInitializer.get_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """As in the base class; the fixed arguments, which Keras writes as well, are left out."""
        return cls(config.get("seed"))


class GlorotUniform(_Scaled):
    """Uniform on ±sqrt(6 / (fan_in + fan_out)), the default of layers; also "Xavier uniform"."""

    _SCALE, _MODE, _DISTRIBUTION = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Scaled):
    """Truncated normal of variance 2 / (fan_in + fan_out); also called Xavier normal."""

    _SCALE, _MODE, _DISTRIBUTION = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_Scaled):
    """Uniform on ±sqrt(6 / fan_in); suits layers followed by relu."""

    _SCALE, _MODE, _DISTRIBUTION = 2.0, "fan_in", "uniform"


class HeNormal(_Scaled):
    """Truncated normal of variance 2 / fan_in; suits layers followed by relu."""

    _SCALE, _MODE, _DISTRIBUTION = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_Scaled):
    """Uniform on ±sqrt(3 / fan_in)."""

    _SCALE, _MODE, _DISTRIBUTION = 1.0, "fan_in", "uniform"


class LecunNormal(_Scaled):
    """Truncated normal of variance 1 / fan_in."""

    _SCALE, _MODE, _DISTRIBUTION = 1.0, "fan_in", "truncated_normal"


def fans(shape: Shape) -> tuple[int, int]:
    """Numbers of inputs and outputs of one unit, for a kernel shaped (*window, inputs, outputs).

    Example:
        >>> fans((3, 3, 16, 32))
        (144, 288)
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


_CLASSES: tuple[type[Initializer], ...] = (
    Zeros, Ones, Constant, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling,
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
)  # fmt: skip
_BY_NAME: dict[str, type[Initializer]] = {cls.__name__: cls for cls in _CLASSES}
_BY_NAME |= {to_snake_case(cls.__name__): cls for cls in _CLASSES}
_BY_NAME |= {"zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform}


def get(identifier: Any) -> Initializer | Callable[..., Any] | None:
    """The initializer for a name, a config, a class, an object or a function; None stays None.

    Raises:
        ArgumentError: for an unknown name; the message lists the known ones.

    Example:
        >>> get("glorot_uniform")
        GlorotUniform(seed=None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            raise ArgumentError(
                "expected an initializer of "
                f"{', '.join(sorted(to_snake_case(cls.__name__) for cls in _CLASSES))}; received "
                f"{identifier!r}"
            )
        return _BY_NAME[identifier]()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]  # any callable is trusted to be one
    raise ArgumentError(
        "expected a name, a config, a tabgrad.initializers.Initializer or a function of (shape, "
        f"dtype) as an initializer; received {identifier!r}"
    )


def serialize(initializer: Any) -> Any:
    """The config dict of an Initializer in Keras's form; the name of a function; None of None."""
    if initializer is None:
        return None
    if not isinstance(initializer, Initializer):
        return initializer.__name__
    return config_of(initializer, "initializers")


def deserialize(config: Mapping[str, Any]) -> Initializer:
    """The Initializer that `serialize` described.

    Raises:
        ArgumentError: when the class is unknown.
    """
    name = config.get("class_name")
    if name not in _BY_NAME:
        raise ArgumentError(
            f"expected an initializer class of {', '.join(cls.__name__ for cls in _CLASSES)}; "
            f"received {name!r} in the config {dict(config)!r}"
        )
    return _BY_NAME[name].from_config(config.get("config") or {})


zeros, ones, constant = Zeros, Ones, Constant
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "fans",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

publish_classes(globals())
