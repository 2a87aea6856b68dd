"""Model and Sequential: layers that can be trained, saved and summarised.

Not here: the training loop (`training.py`), the table of `summary` (`summary.py`), file formats.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabgrad import layers as layers_module
from tabgrad import naming, ops, realize, summary
from tabgrad.configs import config_of
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, FormatError, ShapeError, TabgradError
from tabgrad.layers.base import InputLayer, Layer, Shape, attributes, scope_path
from tabgrad.ops.public import publish_classes
from tabgrad.tensor import Tensor
from tabgrad.training import Trainer

if TYPE_CHECKING:
    from tabgrad.verify import Verification


class Model(Trainer, Layer):
    """A layer that can be trained. Subclasses make layers in `__init__` and define `call`.

    Args:
        trainable: False freezes all weights.
        name: the model's name.

    Example:
        >>> class Twice(Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = layers_module.Dense(1)
        ...     def call(self, inputs, training=None):
        ...         return self.dense(inputs) * 2
        >>> Twice()(ops.ones((3, 2))).shape
        (3, 1)
    """

    def __init__(
        self, *, trainable: bool = True, name: str | None = None, dtype: Any = None
    ) -> None:
        Layer.__init__(self, trainable=trainable, name=name, dtype=dtype)
        Trainer.__init__(self)
        self._input_shape: Shape | None = None
        self._output_shape: Shape | None = None

    def __call__(self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """As `Layer.__call__`; a training under way in a page finishes first."""
        self._settle()
        outputs = Layer.__call__(self, inputs, *args, training=training, **kwargs)
        if self._input_shape is None and isinstance(inputs, Tensor) and isinstance(outputs, Tensor):
            self._know_shapes((None, *inputs.shape[1:]), (None, *outputs.shape[1:]))
        return outputs

    def _scope_name(self) -> str:
        # The outermost model is not part of its Variables' names: "dense/kernel".
        return self.name if scope_path else ""

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, None first for the batch."""
        if self._input_shape is None:
            raise TabgradError(
                f"{self.name!r} expected to be built before its shapes are read; received neither "
                "data nor an input_shape yet. Call it on data, or build it"
            )
        return self._input_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, None first for the batch."""
        if self._output_shape is None:
            raise TabgradError(
                f"{self.name!r} expected to be built before its shapes are read; received neither "
                "data nor an input_shape yet. Call it on data, or build it"
            )
        return self._output_shape

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside."""
        return list(attributes(self, Layer))

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place.

        Raises:
            ArgumentError: when there is none; the message lists the names.
        """
        found = self.layers
        if index is not None:
            if not -len(found) <= index < len(found):
                raise ArgumentError(
                    f"expected an index of the {len(found)} layers of {self.name!r}; received "
                    f"{index}"
                )
            return found[index]
        for layer in found:
            if layer.name == name:
                return layer
        raise ArgumentError(
            f"expected a layer of {self.name!r}: {', '.join(layer.name for layer in found)}; "
            f"received {name!r}"
        )

    def _build_for(self, row_shape: Sequence[int]) -> None:
        """Make the weights for rows of this shape. Nothing else is computed."""
        self(ops.zeros((1, *row_shape), dtype=self.dtype), training=False)

    def _know_shapes(self, input_shape: Shape, output_shape: Shape) -> None:
        self._input_shape, self._output_shape = input_shape, output_shape
        self._name_apart()

    def _name_apart(self) -> None:
        """Give Variables of the same path (layers built on their own) different ones."""
        taken: set[str] = set()
        for variable in self.variables:
            path, number = variable.path, 1
            while path in taken:
                path, number = f"{variable.path}_{number}", number + 1
            variable.path = path
            taken.add(path)

    # Saving

    def save_weights(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write all weights to a .safetensors file, under their paths.

        Args:
            path: the file; its name ends in ".safetensors".
            overwrite: whether an existing file is replaced.

        Raises:
            ArgumentError: for another ending, or an existing file without `overwrite`.
            OSError: when it cannot be written; an older file is then unharmed.

        Example:
            >>> model.save_weights("model.safetensors")
        """
        from tabgrad.formats import safetensors

        self._settle()
        _check_ending(path)
        if not overwrite and Path(path).exists():
            raise ArgumentError(
                f"expected a file that does not exist, with overwrite=False; received "
                f"{os.fspath(path)!r}. Pass overwrite=True to replace it"
            )
        if not self.built:
            raise TabgradError(
                f"expected a model with weights; received {self.name!r}, which has no weights yet. "
                "Call it on data, or build it"
            )
        arrays = {
            v.path: safetensors.Array(v.shape, v.dtype, realize.read(v.node()))
            for v in self.weights
        }
        safetensors.save(path, arrays)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read weights from a .safetensors file. When anything does not fit, none is changed.

        Weights are matched by path; automatic numbers in it do not matter, so that a model made
        again in the same process ("dense_2") loads what the first one ("dense") saved. Optimizer,
        metric and random Variables in the file, as an export writes them, are left out.

        Args:
            path: the file.

        Raises:
            FormatError: when the file is damaged, truncated or of a newer schema, or when its
                weights are not those of this model; the message says which.
            OSError: when it cannot be read.

        Example:
            >>> model.load_weights("model.safetensors")
        """
        from tabgrad.formats import safetensors

        self._settle()
        _check_ending(path)
        found = safetensors.load(path)
        if not self.built:
            raise TabgradError(
                f"expected a model with weights; received {self.name!r}, which has no weights yet. "
                "Start it with tg.Input(shape), or call it on data, before loading"
            )
        self._load(found, repr(os.fspath(path)))

    def _load(self, found: Mapping[str, Any], source: str) -> None:
        own = self.weights
        names = _matched([v.path for v in own], list(found), self._other_paths())
        missing = [v.path for v, name in zip(own, names) if name is None]
        extra = sorted(set(found) - {n for n in names if n} - self._other_paths(found))
        if missing or extra:
            raise FormatError(
                f"expected the weights of {self.name!r}; received {source}, which does not hold "
                "them: "
                + "; ".join(
                    f"{what} {', '.join(map(repr, some))}"
                    for what, some in (("it lacks", missing), ("it also has", extra))
                    if some
                )
            )
        values = []
        for variable, name in zip(own, names):
            array = found[name or ""]
            if array.shape != variable.shape:
                raise FormatError(
                    f"expected shape {variable.shape} for {variable.path!r} of {self.name!r}; "
                    f"received {array.shape} for {name!r} in {source}"
                )
            values.append(_tensor(array))
        for variable, value in zip(own, values):
            variable.assign(ops.cast(value, variable.dtype))

    def _other_paths(self, found: Mapping[str, Any] | None = None) -> set[str]:
        """Paths that are no weights: of this model, and in a file those an export writes."""
        paths = {v.path for v, role in self._state() if role != "weight"}
        for name in found or ():
            if name.startswith(("optimizer/", "metrics/")) or name.endswith("seed_generator/state"):
                paths.add(name)
        return paths

    # Printing and configs

    def summary(self, print_fn: Any = None) -> None:
        """Print the layers, their shapes and parameters, and what the compiled model costs.

        Args:
            print_fn: called with the text instead of print.

        Example:
            >>> model.summary(print_fn=lambda text: print(text.splitlines()[0]))
            Model: "sequential"
        """
        self._settle()
        (print_fn or print)(summary.text(self))

    def verify(
        self, engines: Sequence[Any] | None = None, x: Any = None, print_fn: Any = None
    ) -> Verification:
        """Run every layer on every engine of this device, compare with float64, print a table.

        Each layer is given what the model hands it for `x`, computed in float64 and rounded, and
        runs alone, as in prediction (no dropout, moving averages): its outputs, and the gradients
        of its weights and inputs for fixed cotangents. The model as a whole has the last line.
        Weights and the current engine stay as they are. Needs NumPy.

        Args:
            engines: names ("wasm", "webgpu", ...) or engines; by default all of this device.
            x: inputs of which up to 32 rows are taken; by default 4 rows of random numbers.
            print_fn: called with the table instead of print.

        Returns:
            What was found: `rows` (layer, engine, direction, largest relative error, tolerance,
            verdict), `missing` (engines that are not here, and why), and `ok`. The tolerance is
            1e-4 for float32, 2e-2 for float16 and 1e-12 for float64; where the last bit of the
            inputs decides more than that, 32 times what it decides.

        Raises:
            ArgumentError: an unknown engine; no x for a model whose shape is not known.
            MissingPackageError: NumPy, or what an engine that was named needs, is not installed.

        Example:
            >>> model = Sequential([layers_module.Input((2,)), layers_module.Dense(1)])
            >>> model.verify(engines=["wasm"], print_fn=lambda text: None).ok
            True
        """
        from tabgrad import verify

        self._settle()
        found = verify.check(self, engines, x)
        (print_fn or print)(str(found))
        return found

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype.name}


class Sequential(Model):
    """Layers one after another.

    Args:
        layers: layers; an `Input` first makes the weights at once, else the first data does.
        trainable: False freezes all weights.
        name: the model's name.

    Raises:
        ArgumentError: for something that is no layer, or two layers of one name.

    Example:
        >>> model = Sequential([layers_module.Input((2,)), layers_module.Dense(3)])
        >>> model.output_shape, model.count_params()
        ((None, 3), 9)
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(trainable=trainable, name=name)
        self._sequence: list[Layer] = []
        self._input: InputLayer | None = None
        self._shapes: list[Shape] = []
        for layer in layers or ():
            self._append(layer)
        self._rebuild()

    def add(self, layer: Layer) -> None:
        """Put a layer at the end.

        Raises:
            ArgumentError: for something that is no layer, or a name that is taken.
        """
        self._settle()
        self._append(layer)
        self._rebuild()

    def pop(self) -> Layer:
        """Take the last layer away and return it.

        Raises:
            ArgumentError: when there is none.
        """
        self._settle()
        if not self._sequence:
            raise ArgumentError(
                f"expected at least one layer in {self.name!r}; received a model without any. Add "
                "some first"
            )
        layer = self._sequence.pop()
        self._rebuild()
        return layer

    def _append(self, layer: Layer) -> None:
        if isinstance(layer, InputLayer):
            if self._input is not None or self._sequence:
                raise ArgumentError(
                    f"{self.name!r} expected Input once, before all layers; received another, or "
                    "one after layers. Make it the first of the Sequential"
                )
            self._input = layer
            return
        if not isinstance(layer, Layer):
            raise ArgumentError(
                f"{self.name!r} expected tabgrad layers; received {layer!r} of "
                f"{type(layer).__name__}"
            )
        if any(layer.name == other.name for other in self._sequence):
            raise ArgumentError(
                f"{self.name!r} expected layers of different names; received two called "
                f"{layer.name!r}. Give one another name"
            )
        self._sequence.append(layer)

    def _rebuild(self) -> None:
        self.built = False
        self._input_shape = self._output_shape = None
        self._functions = {}
        self._bound.clear()
        self._trained = []
        self._metrics = None
        if self._input is not None and self._sequence:
            self.build(self._input.batch_shape)

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the Input."""
        return list(self._sequence)

    def build(self, input_shape: Shape | None = None) -> None:
        """Make all weights.

        Args:
            input_shape: shape of the input, None first for the batch; by default that of `Input`.

        Raises:
            ShapeError: when it is not that of `Input`, or does not fit a layer; the message names
                the layer.
        """
        declared = None if self._input is None else self._input.batch_shape
        given = tuple(input_shape or declared or ())
        if not given:
            raise ArgumentError(
                f"{self.name!r} expected an input_shape; received none. Call build(input_shape), "
                "or start the model with tg.Input(shape)"
            )
        if not self._sequence:
            raise ArgumentError(
                f"expected at least one layer in {self.name!r}; received a model without any. Add "
                "some first"
            )
        if declared is not None and given[1:] != declared[1:]:
            raise ShapeError(f"{self.name!r} expected inputs of shape {declared}; received {given}")
        shapes = [(None, *given[1:])]
        for layer in self._sequence:
            shapes.append(layer.compute_output_shape(shapes[-1]))
        self._shapes = shapes[1:]
        self._know_shapes(shapes[0], shapes[-1])

    def _build_for(self, row_shape: Sequence[int]) -> None:
        self.build((None, *row_shape))

    def _input_dtype(self) -> DType:
        return self.dtype if self._input is None else self._input.dtype

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if self._input_shape is None:
            self._build_for(inputs.shape[1:])
        if len(inputs.shape) != len(self.input_shape) or inputs.shape[1:] != self.input_shape[1:]:
            raise ShapeError(
                f"expected inputs of shape {self.input_shape}; received {inputs.shape}"
            )
        for layer in self._sequence:
            inputs = layer(inputs, training=training)
        return inputs

    def get_config(self) -> dict[str, Any]:
        entries = ([self._input] if self._input is not None else []) + self._sequence
        return {
            **super().get_config(),
            "layers": [config_of(layer, "layers") for layer in entries],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Sequential:
        """The model that `get_config` described, with fresh weights.

        Raises:
            ArgumentError: for a layer class tabgrad does not have.
        """
        found: list[Layer] = []
        for entry in config["layers"]:
            kind: Any = getattr(layers_module, entry["class_name"], None)
            if entry["class_name"] == "Sequential":
                kind = Sequential
            if kind is None:
                raise ArgumentError(
                    f"expected layers of {', '.join(layers_module.__all__)}; received "
                    f"{entry['class_name']!r}"
                )
            found.append(kind.from_config(entry["config"]))
        return cls(found, trainable=config.get("trainable", True), name=config.get("name"))


def _check_ending(path: str | os.PathLike[str]) -> None:
    if not os.fspath(path).endswith(".safetensors"):
        raise ArgumentError(
            f"expected a file that ends in .safetensors; received {os.fspath(path)!r}. Name it "
            '"model.safetensors", for instance'
        )


def _matched(own: list[str], found: list[str], others: set[str]) -> list[str | None]:
    """For each of our paths that in the file: the same, or the same but for automatic numbers."""
    if set(own) <= set(found):
        return list(own)
    weights = [
        name
        for name in found
        if name not in others and not name.startswith(("optimizer/", "metrics/"))
    ]
    by_canonical = dict(zip(naming.canonical(weights), weights))
    return [by_canonical.get(name) for name in naming.canonical(own)]


def _tensor(array: Any) -> Tensor:
    return Tensor(realize.upload(bytes(array.data), array.shape, array.dtype))


__all__ = ["Model", "Sequential"]

publish_classes(globals())
