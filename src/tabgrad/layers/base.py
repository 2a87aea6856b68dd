"""The base class of all layers: naming, weights, building on first use, calling, configs.

A layer owns Variables and other layers simply by having them as attributes (also inside lists,
tuples and dicts). Not here: what any layer computes, training (`training.py`) and files.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from tabgrad import dtypes, initializers, naming, ops, realize
from tabgrad.errors import ArgumentError, CaptureError, ShapeError, TabgradError, undefined
from tabgrad.random import SeedGenerator
from tabgrad.tensor import Tensor, layer_scope
from tabgrad.variable import Variable

Shape = tuple[int | None, ...]

# Arguments of Keras's layers that no layer here has yet, with Keras's defaults. Those values are
# accepted, so that configs written by Keras load.
_NOT_YET = {
    "activity_regularizer": None,
    "autocast": True,
    "beta_constraint": None,
    "beta_regularizer": None,
    "bias_constraint": None,
    "bias_regularizer": None,
    "gamma_constraint": None,
    "gamma_regularizer": None,
    "kernel_constraint": None,
    "kernel_regularizer": None,
    "lora_alpha": None,
    "lora_rank": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "synchronized": False,
}

# Names of the layers being built or called now, outermost first: what variable paths start with.
# The outermost model is there as "".
scope_path: list[str] = []
# The `training` argument of the layer calls around this one.
_training: list[bool | None] = [None]
# Functions of (layer, inputs, outputs, args, kwargs) called after each layer call, inner layers
# first; the last two are what `call` was given beside the inputs.
observers: list[Callable[[Any, Any, Any, Any, Any], None]] = []


class Layer:
    """A function with weights. Subclasses define `build(input_shape)` and `call(inputs)`.

    Args:
        trainable: False freezes the layer's weights.
        dtype: dtype of weights and of the computation; float inputs are cast to it.
        name: a name that is unique in the model; by default the class name and a number.

    Example:
        >>> class Scale(Layer):
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
        ...     def call(self, inputs):
        ...         return inputs * self.factor
        >>> Scale()([[1.0, 2.0]]).tolist()
        [[1.0, 2.0]]
    """

    # What `call` accepts: (least rank, greatest rank, words for the axes). None does not check.
    _rank: tuple[int, int, str] | None = None

    def __init__(
        self, *, trainable: bool = True, dtype: Any = None, name: str | None = None, **kwargs: Any
    ) -> None:
        for key, value in kwargs.items():
            if key not in _NOT_YET:
                raise ArgumentError(
                    f"{type(self).__name__} expected arguments of "
                    f"{', '.join(_arguments(type(self)))}; received {key!r}"
                )
            if value is not None and value != _NOT_YET[key]:
                raise ArgumentError(
                    f"{type(self).__name__} expected {key}, an argument of Keras that tabgrad does "
                    f"not have yet, to be left out; received {value!r}"
                )
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ArgumentError(
                f"{type(self).__name__} expected a name without '/'; received {name!r}"
            )
        self.name = name or naming.auto_name(type(self).__name__)
        self.dtype = dtypes.as_dtype("float32" if dtype is None else dtype)
        self.built = False
        self.path = self.name
        self._trainable = bool(trainable)
        self._own_trainable: list[Variable] = []
        self._own_fixed: list[Variable] = []
        self._building = False
        self._scoped = False
        self._input_axes: dict[int, int] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _scoped_build(cls.build)  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Variable):
            self._own(value)

    # Weights

    def _own(self, variable: Variable) -> None:
        if "_own_trainable" not in self.__dict__:
            raise TabgradError(
                f"{type(self).__name__} expected to be initialised before it has weights; received "
                f"{variable.path!r}. Call super().__init__() first in its __init__"
            )
        if not any(variable is known for known in self._own_trainable + self._own_fixed):
            (self._own_trainable if variable.trainable else self._own_fixed).append(variable)

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> Variable:
        """Make a Variable of this layer.

        Args:
            shape: its shape.
            initializer: a name, an Initializer, or a function of (shape, dtype); by default
                glorot_uniform for floats and zeros for everything else.
            dtype: its dtype, by default the layer's.
            trainable: whether training changes it by its gradient.
            name: its last name; "dense/kernel" is the `kernel` of the layer "dense".

        Returns:
            The Variable.
        """
        if realize.capturing():
            raise CaptureError(
                f"expected layer {self.path!r} to have its weights before a function that uses it "
                "is compiled; received a call of it there, where it would make them again at every "
                "call. Call it once on data, or build(input_shape), before"
            )
        dtype = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.is_float else "zeros"
        initialize = initializers.get(initializer)
        assert initialize is not None
        name = name or naming.auto_name("variable")
        value = initialize(tuple(shape), dtype=dtype)
        variable = Variable(value, name=name, trainable=trainable, dtype=dtype)
        parent = _joined() if self._scoped else self.path
        variable.path = f"{parent}/{name}" if parent else name
        self._own(variable)
        return variable

    add_variable = add_weight

    def _flatten_layers(self) -> list[Layer]:
        """This layer and all below it, each once, parents first."""
        found: dict[int, Layer] = {}
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                stack += reversed(list(attributes(layer, Layer)))
        return list(found.values())

    def _seed_generators(self) -> list[SeedGenerator]:
        return _unique(
            g for layer in self._flatten_layers() for g in attributes(layer, SeedGenerator)
        )

    @property
    def weights(self) -> list[Variable]:
        """Trainable and other weights, in Keras's order; neither metrics nor random states."""
        return _unique(
            v for layer in self._flatten_layers() for v in layer._own_trainable + layer._own_fixed
        )

    @property
    def variables(self) -> list[Variable]:
        """The weights and the states of the random generators."""
        return self.weights + [generator.state for generator in self._seed_generators()]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes by their gradients; none when `trainable` is False."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The other weights; all of them when `trainable` is False."""
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes this layer; setting it also sets the layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._flatten_layers():
            layer._trainable = bool(value)
            for variable in layer._own_trainable:
                variable.trainable = bool(value)

    def count_params(self) -> int:
        """Number of elements of all weights.

        Raises:
            TabgradError: when the layer has not been built.
        """
        if not self.built:
            raise TabgradError(
                f"expected a layer with weights; received {self.name!r}, which has no weights yet. "
                "Call it on data, or build(input_shape)"
            )
        return sum(math.prod(v.shape) for v in self.weights)

    def get_weights(self) -> list[Any]:
        """Copies of the weights, as NumPy arrays where NumPy is installed, else as Tensors."""
        self._settle()
        return [_host(v) for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights, or none when anything does not fit.

        Args:
            weights: arrays, nested lists or Tensors in the order and shapes of `weights`.

        Raises:
            ShapeError: when the number or a shape differs.
        """
        self._settle()
        own = self.weights
        if not hasattr(weights, "__len__") or len(weights) != len(own):
            many = len(weights) if hasattr(weights, "__len__") else type(weights).__name__
            raise ShapeError(
                f"{self.name!r} expected {len(own)} weights ({', '.join(v.path for v in own)}); "
                f"received {many}"
            )
        values = [ops.convert_to_tensor(value, dtype=v.dtype) for v, value in zip(own, weights)]
        for variable, value in zip(own, values):
            if value.shape != variable.shape:
                raise ShapeError(
                    f"{self.name!r} expected shape {variable.shape} for weight {variable.path!r}; "
                    f"received {value.shape}"
                )
        for variable, value in zip(own, values):
            variable.assign(value)

    def _settle(self) -> None:
        """Let a training that is under way in a page finish before anything reads this layer."""

    # Building and calling

    def build(self, input_shape: Shape) -> None:
        """Make the weights. Subclasses with weights override it; called once, on the first call.

        Args:
            input_shape: shape of the input with the batch axis, which may be None.
        """
        self.built = True

    def call(self, inputs: Any) -> Any:
        """What the layer computes; subclasses define it, with `training=None` if they need it."""
        raise undefined(self, "call(self, inputs)")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for an input of this shape; the batch axis may be None.

        Builds the layer if need be. Nothing is computed: the graph alone knows its shapes.
        """
        given = tuple(input_shape)
        if None in given[1:]:
            raise ShapeError(
                f"{self.name!r} expected every size but the batch's; received shape {given}"
            )
        batch = 1 if given[0] is None else given[0]
        row = tuple(n for n in given[1:] if n is not None)
        output = self(ops.zeros((batch, *row), dtype=self.dtype), training=False)
        return (given[0], *output.shape[1:])

    def __call__(self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Build the layer if need be, then run `call`.

        Args:
            inputs: a Tensor, or anything that makes one; a list, tuple or dict of Tensors for a
                layer that takes several.
            args: further positional arguments of `call`.
            training: True while training. By default that of the surrounding call, else False.
            kwargs: further arguments of `call`.

        Returns:
            What `call` returns, usually a Tensor.

        Raises:
            ShapeError: when the input does not fit; the message names the layer and the shapes.
        """
        inputs = _convert(inputs, self.dtype)
        if training is None:
            training = _training[-1]
        if self._takes_training():
            kwargs["training"] = training
        _training.append(training)
        try:
            with self._scope():
                self._check_input(inputs)
                if not self.built:
                    self._build_now(_shapes(inputs))
                outputs = self.call(inputs, *args, **kwargs)
            for observe in observers:
                observe(self, inputs, outputs, args, kwargs)
            return outputs
        except TabgradError as error:
            if _names_a_layer(error):
                raise
            named = type(error)(f"{self._called_with(inputs)}: {error}", code=error.code)
            _names_a_layer(named)
            raise named from error
        except Exception as error:
            if not _names_a_layer(error):
                error.add_note(f"in {self._called_with(inputs)}")
            raise
        finally:
            _training.pop()

    def _build_now(self, input_shape: Any) -> None:
        self.build(input_shape)
        self.built = True

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Nodes and Variables made inside belong to this layer."""
        if self._scoped:
            yield
            return
        name = self._scope_name()
        scope_path.append(name)
        self.path = _joined() or self.name
        self._scoped = True
        try:
            with layer_scope(name) if name else nullcontext():
                yield
        finally:
            self._scoped = False
            scope_path.pop()

    def _scope_name(self) -> str:
        return self.name

    @classmethod
    @functools.cache
    def _takes_training(cls) -> bool:
        return "training" in inspect.signature(cls.call).parameters

    def _called_with(self, inputs: Any) -> str:
        if isinstance(inputs, Tensor):
            received = f"{inputs.shape} {inputs.dtype}"
        else:
            received = str(_shapes(inputs))
        return f"layer {self.path!r} ({type(self).__name__}), called with {received}"

    def _check_input(self, inputs: Any) -> None:
        """Raise ShapeError when the rank, or an axis that the weights depend on, does not fit."""
        if self._rank is None:
            return
        least, greatest, words = self._rank
        if not isinstance(inputs, Tensor):
            raise ShapeError(f"expected one input of shape {words}; received {_shapes(inputs)}")
        rank = len(inputs.shape)
        if not least <= rank <= greatest:
            raise ShapeError(f"expected an input of shape {words}; received {inputs.shape}")
        for axis, size in self._input_axes.items():
            if inputs.shape[axis] != size:
                raise ShapeError(
                    f"expected inputs with {size} on axis {axis}, for which the weights were made; "
                    f"received {inputs.shape}"
                )

    # Configs

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal, unbuilt layer."""
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """The layer that `get_config` described, with fresh weights."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class InputLayer(Layer):
    """The shape and dtype of what enters a Sequential; made by `Input`. It computes nothing.

    Args:
        shape: shape of one row, without the batch axis.
        batch_size: the batch size if it is fixed, else None.
        dtype: dtype of the inputs.
        name: the input's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        batch_size: int | None = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(dtype=dtype, name=name)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(type(n) is int and n > 0 for n in sizes):
            raise ShapeError(
                "Input expected a shape of positive sizes without the batch axis, as in "
                f"Input((28, 28, 1)); received {shape!r}"
            )
        self.batch_shape: Shape = (batch_size, *sizes)
        self.built = True

    @property
    def shape(self) -> Shape:
        """The shape with the batch axis first, which is None unless it is fixed."""
        return self.batch_shape

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {
            "shape": self.batch_shape[1:],
            "batch_size": self.batch_shape[0],
            "dtype": self.dtype.name,
            "name": self.name,
        }


def Input(
    shape: Sequence[int],
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> InputLayer:
    """The first element of a Sequential: what one row of its input looks like.

    Args:
        shape: shape of one row, without the batch axis.
        batch_size: the batch size if it is fixed, else None.
        dtype: dtype of the inputs, float32 by default.
        name: the input's name.

    Returns:
        An `InputLayer`, whose `shape` starts with the batch axis.

    Raises:
        ShapeError: when a size is not a positive integer.

    Example:
        >>> Input((28, 28, 1)).shape
        (None, 28, 28, 1)
    """
    return InputLayer(shape, batch_size, dtype, name or naming.auto_name("keras_tensor"))


def _joined() -> str:
    return "/".join(filter(None, scope_path))


def _names_a_layer(error: Exception) -> bool:
    """Whether an error says which layer it comes from; it counts as saying so from now on.

    The layers around the one that failed then leave it alone.
    """
    known = bool(error.__dict__.get("_names_a_layer"))
    error.__dict__["_names_a_layer"] = True
    return known


def _arguments(cls: type) -> list[str]:
    names = [
        name
        for base in cls.__mro__
        if "__init__" in base.__dict__
        for name, p in inspect.signature(base.__dict__["__init__"]).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self"
    ]
    return list(dict.fromkeys(names))


def _scoped_build(build: Callable[..., None]) -> Callable[..., None]:
    """Wrap an overridden `build`, so that it also works when users call it themselves."""

    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        if self._building:  # super().build(...) inside an overridden build
            return build(self, *args, **kwargs)
        if self._rank is not None:
            _check_shape(self.name, kwargs["input_shape"] if "input_shape" in kwargs else args[0])
        self._building = True
        try:
            with self._scope():
                build(self, *args, **kwargs)
        finally:
            self._building = False
        self.built = True

    return wrapped


def _check_shape(name: str, shape: Any) -> None:
    sizes = isinstance(shape, (list, tuple)) and all(n is None or type(n) is int for n in shape)
    if not sizes or not shape:
        raise ShapeError(
            f"{name!r} expected an input_shape of sizes, None for the batch; received {shape!r}"
        )


def attributes(layer: Layer, kind: type) -> Iterator[Any]:
    """The objects of a class among a layer's attributes, in order, also in nested containers."""
    stack = list(reversed(layer.__dict__.values()))
    while stack:
        value = stack.pop()
        if isinstance(value, kind):
            yield value
        elif isinstance(value, (list, tuple)):
            stack += reversed(value)
        elif isinstance(value, dict):
            stack += reversed(value.values())


def _unique(items: Any) -> list[Any]:
    # By identity: == of Variables is elementwise.
    return list({id(item): item for item in items}.values())


def _host(variable: Variable) -> Any:
    try:
        import numpy  # noqa: F401  # only to learn whether it is there
    except ImportError:
        return variable.value
    return variable.numpy()


def _convert(inputs: Any, dtype: dtypes.DType) -> Any:
    """Tensors of whatever came in; floats in the layer's dtype."""
    if isinstance(inputs, Variable):
        inputs = inputs.value
    if isinstance(inputs, Tensor):
        if inputs.dtype.is_float and inputs.dtype is not dtype:
            return ops.cast(inputs, dtype)
        return inputs
    if isinstance(inputs, dict):
        return {key: _convert(value, dtype) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)) and any(isinstance(x, (Tensor, Variable)) for x in inputs):
        return type(inputs)(_convert(value, dtype) for value in inputs)
    return _convert(ops.convert_to_tensor(inputs), dtype)


def _shapes(inputs: Any) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.shape
    if isinstance(inputs, dict):
        return {key: _shapes(value) for key, value in inputs.items()}
    return [_shapes(value) for value in inputs]
