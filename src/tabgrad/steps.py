"""Steps: a model's compiled functions (train_step, evaluate, predict) and all they need to exist.

One step (forward, backward, update, metrics) is one compiled function, so one Program and one call.
Not here: the loop that calls them (`training.py`), arrays (`data/arrays.py`), what layers compute.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabgrad import jit, losses, metrics, ops, optimizers, realize
from tabgrad.data import arrays
from tabgrad.dtypes import DType, float32, int32
from tabgrad.errors import ArgumentError, NotSupportedError, TabgradError
from tabgrad.losses import Loss
from tabgrad.metrics import Metric
from tabgrad.optimizers import Optimizer
from tabgrad.rescue import Work
from tabgrad.run import Run
from tabgrad.tensor import Tensor, layer_scope
from tabgrad.transformations.reverse import value_and_grad
from tabgrad.variable import Variable

DEFAULT_BATCH_SIZE = 32

# Bound Programs keep buffers for their inputs; one model rarely uses more than these.
_MOST_BOUND = 8

# One for all models compiled with deterministic=True, made when it is first asked for.
_deterministic_engines: list[Any] = []


@dataclass(frozen=True)
class Spec:
    """An input of an entry: its name, its shape with None for the batch axis, and its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: DType


@dataclass(frozen=True)
class EntryPoint:
    """A function of a model that an export offers under a name, for any batch size."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Spec, ...]
    outputs: tuple[str, ...]


class Steps:
    """What a model needs to be compiled. Mixed into `Model` by `Trainer`."""

    if TYPE_CHECKING:
        name: str
        path: str
        dtype: DType
        built: bool

        @property
        def input_shape(self) -> tuple[int | None, ...]: ...
        @property
        def output_shape(self) -> tuple[int | None, ...]: ...
        @property
        def trainable_weights(self) -> list[Variable]: ...
        @property
        def variables(self) -> list[Variable]: ...
        @property
        def weights(self) -> list[Variable]: ...
        def __call__(self, inputs: Any, *, training: bool | None = None) -> Any: ...
        def _build_for(self, row_shape: Sequence[int]) -> None: ...

    def __init__(self) -> None:
        self.optimizer: Optimizer | None = None
        self.loss: Any = None
        self.stop_training = False
        self._loss: Loss | None = None
        self._loss_tracker: metrics.Mean | None = None
        self._asked_metrics: list[Any] = []
        self._metrics: list[Metric] | None = None
        self._trained: list[Variable] = []
        self._target: Spec | None = None
        self._own_engine: Any = None
        self._faster: realize.Choice | None = None  # what "auto" has found
        self._stays = False  # whether "auto" is not to look for any other engine
        self._functions: dict[str, jit.Compiled] = {}
        self._bound: OrderedDict[Any, jit.Bound] = OrderedDict()
        self._run: Run | None = None
        self._batch_size: int | None = None
        self._epochs_done = 0

    # Set-up

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        metrics: Any = None,
        deterministic: bool = False,
    ) -> None:
        """Choose how the model is trained.

        Args:
            optimizer: a name ("sgd", "rmsprop", "adam") or a `tabgrad.optimizers.Optimizer`.
            loss: a name ("mse", "sparse_categorical_crossentropy", ...), a `tabgrad.losses.Loss`,
                or a function of (y_true, y_pred) with one value per row.
            metrics: a list of names ("accuracy", ...), `tabgrad.metrics.Metric` objects, or
                functions of (y_true, y_pred).
            deterministic: compute the same bits on every machine, without fused multiply-add.

        Raises:
            ArgumentError: for an unknown name; the message lists the known ones. For
                `deterministic` on a GPU, whose instructions are the adapter's.

        Example:
            >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        """
        self._settle()
        own_engine = _deterministic_engine() if deterministic else None
        chosen = optimizers.get(optimizer)
        self._loss = _as_loss(loss)
        self._asked_metrics = _as_metrics(metrics)
        self.loss = loss
        self.optimizer = chosen
        self._loss_tracker = _loss_tracker()
        self._metrics = None
        self._target = None
        self._trained = []
        self._functions = {}
        self._bound.clear()
        self._own_engine = own_engine
        self.stop_training = False
        self._epochs_done = 0

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self.optimizer is not None

    @property
    def metrics(self) -> list[Metric]:
        """The loss's mean, then the metrics of `compile` once the shape of y is known."""
        if self._loss_tracker is None:
            return []
        return [self._loss_tracker, *(self._metrics or [])]

    @property
    def metrics_names(self) -> list[str]:
        """Names of `metrics`: the keys of logs."""
        return [metric.name for metric in self.metrics]

    def reset_metrics(self) -> None:
        """Let all metrics start again."""
        for metric in self.metrics:
            metric.reset_state()

    def _need_compile(self, method: str) -> None:
        if self.optimizer is None:
            raise TabgradError(
                f"model.{method} expected a compiled model; received one that is not. Call "
                "model.compile(optimizer=..., loss=...) first"
            )
        if self._loss is None:
            raise ArgumentError(
                f"model.{method} expected a loss; received a model compiled without one. Call "
                "model.compile(optimizer=..., loss=...)"
            )

    def _prepare_input(self, x: Any, name: str = "x") -> Tensor:
        """x in the engine's memory, with rows of the shape the model takes."""
        data = arrays.upload(x, name, self._input_dtype())
        if not self.built:
            self._build_for(data.shape[1:])
        return arrays.fit_rows(data, self.input_shape[1:], name)

    def _prepare_target(self, y: Any, name: str = "y") -> Tensor:
        """y in the engine's memory; metrics and slots exist afterwards."""
        if y is None:
            raise ArgumentError(f"expected {name}, the targets of the loss; received None")
        sparse = _is(self._loss, losses.sparse_categorical_crossentropy)
        data = arrays.upload(y, name, int32 if sparse else float32)
        if sparse:
            classes = self.output_shape[-1]
            assert classes is not None
            arrays.check_labels(data, classes)
        elif _is(self._loss, losses.binary_crossentropy):
            arrays.check_probabilities(data)
        self._ready(Spec("y", (None, *data.shape[1:]), data.dtype))
        return data

    def _ready(self, target: Spec) -> None:
        """Make everything a training step touches, now that the shape of y is known."""
        assert self.optimizer is not None
        if self._metrics is None:
            self._metrics = _unique_names(
                [metrics.resolve(m, target.shape, self.output_shape) for m in self._asked_metrics]  # type: ignore[arg-type]
            )
        if not self._trained:
            self._trained = self.trainable_weights
        if not self.optimizer.built:
            self.optimizer.build(self._trained)
        self._target = target

    def _prepare_pair(self, x: Any, y: Any, prefix: str = "") -> tuple[Tensor, Tensor]:
        data = self._prepare_input(x, f"{prefix}x")
        target = self._prepare_target(y, f"{prefix}y")
        arrays.same_length(data, target, f"{prefix}x and {prefix}y")
        return data, target

    def _input_dtype(self) -> DType:
        return self.dtype

    # The compiled functions

    def _train_step(self, x: Tensor, y: Tensor) -> None:
        assert self.optimizer is not None

        def objective() -> tuple[Tensor, Tensor]:
            predicted = self(x, training=True)
            return self._loss_of(y, predicted), predicted

        trained = self._trained
        (loss, predicted), grads = value_and_grad(objective, has_aux=True, variables=trained)()
        with layer_scope("optimizer"):
            self.optimizer.apply(grads, trained)
        self._update_metrics(y, predicted, loss)

    def _evaluate_step(self, x: Tensor, y: Tensor) -> None:
        predicted = self(x, training=False)
        self._update_metrics(y, predicted, self._loss_of(y, predicted))

    def _predict_step(self, x: Tensor) -> Any:
        return self(x, training=False)

    def _loss_of(self, y: Tensor, predicted: Tensor) -> Tensor:
        assert self._loss is not None
        if not isinstance(predicted, Tensor):
            raise NotSupportedError(
                "expected a model with one output to train; received "
                f"{type(predicted).__name__} from {self.name!r}"
            )
        with layer_scope("loss"):
            return self._loss(y, predicted)

    def _update_metrics(self, y: Tensor, predicted: Tensor, loss: Tensor) -> None:
        assert self._loss_tracker is not None
        with layer_scope("metrics"):
            # Each batch counts by its rows: a node, so that a partial batch counts its true rows.
            rows = ops.cast(ops.count(predicted, axis=0), loss.dtype)
            self._loss_tracker.update_state(loss, sample_weight=rows)
            for metric in self._metrics or []:
                metric.update_state(y, predicted)

    def _function(self, name: str) -> jit.Compiled:
        if name not in self._functions:
            steps: dict[str, Callable[..., Any]] = {
                "predict": self._predict_step,
                "train_step": self._train_step,
                "evaluate": self._evaluate_step,
            }
            self._functions[name] = jit.compile(steps[name])
        return self._functions[name]

    def _bind(self, name: str, data: arrays.Resident, rows: int) -> jit.Bound:
        """The compiled function for batches of so many rows, with input buffers of its own."""
        kinds = tuple((t.shape[1:], t.dtype) for t in data.columns)
        key = (name, realize.engine(), rows, kinds)
        if key not in self._bound:
            self._bound[key] = self._function(name).bind(*data.like_batch(rows))
            if len(self._bound) > _MOST_BOUND:
                self._bound.popitem(last=False)
        self._bound.move_to_end(key)
        return self._bound[key]

    # What others need to know

    def _read_metrics(self) -> dict[str, float]:
        return {metric.name: metric._read() for metric in self.metrics}

    def _on_engine(self) -> AbstractContextManager[Any]:
        if self._own_engine is not None:
            return realize.using(self._own_engine)
        if self._faster is not None and realize.automatic():
            return realize.using(self._faster.engine)
        return nullcontext()

    def _reconsider(self, name: str) -> Work[None]:
        """Between calls or epochs: may another engine take over a function that has run here?"""
        if self._own_engine is not None or self._faster is not None or self._stays:
            return
        if not realize.automatic():
            return
        here = realize.engine()
        found = [b for key, b in self._bound.items() if key[0] == name and b.engine is here]
        worth = [bound for bound in found if bound.worth_timing]
        if worth:
            for bound in worth:  # other sizes of a batch go where the one with most work goes
                bound.considered = True
            most = max(worth, key=lambda bound: bound.program.entries[0].flops)
            yield self._choose(most.faster(f"{name} of {self.name!r}"))

    async def _choose(self, looking: Coroutine[Any, Any, realize.Choice | None]) -> None:
        found = await looking
        if found is not None:
            self._faster = found
            text = (
                f"tabgrad: {found.engine.kind} computes {self.name!r} from here on: {found.reason}"
            )
            print(text, file=sys.stderr, flush=True)

    def _moved(self) -> None:
        """Another engine has taken over after a fault."""
        self._bound.clear()
        if self._faster is not None:
            realize.failed_choice(self._faster)
            self._faster, self._stays = None, True

    def _settle(self) -> None:
        """Let a training under way in a page finish before the model is used."""
        if self._run is not None:
            self._run.finish()

    def _entries(self) -> dict[str, EntryPoint]:
        """The functions an export offers: "predict", and once compiled "train_step", "evaluate".

        Raises:
            TabgradError: when the shape of the input is not known yet.
        """
        self._settle()
        if not self.built:
            raise TabgradError(
                f"expected a known input shape of {self.name!r}; received a model without one. "
                "Start the Sequential with tg.Input(shape), or call the model on data"
            )
        x = Spec("x", self.input_shape, self._input_dtype())
        found = {"predict": EntryPoint("predict", self._predict_step, (x,), ("y",))}
        if self.optimizer is not None and self._loss is not None:
            if self._target is None:
                self._ready(self._likely_target())
            assert self._target is not None
            inputs = (x, self._target)
            for name, step in (("train_step", self._train_step), ("evaluate", self._evaluate_step)):
                found[name] = EntryPoint(name, step, inputs, ())
        return found

    def _likely_target(self) -> Spec:
        """The shape of y that the loss goes with, for a model that has not seen any."""
        if _is(self._loss, losses.sparse_categorical_crossentropy):
            return Spec("y", self.output_shape[:-1], int32)
        return Spec("y", self.output_shape, float32)

    def _state(self) -> list[tuple[Variable, str]]:
        """Every Variable with its role: "weight", "random", "optimizer" or "metric"."""
        weights = self.weights
        known = {id(v) for v in weights}
        found = [(v, "weight") for v in weights]
        found += [(v, "random") for v in self.variables if id(v) not in known]
        if self.optimizer is not None:
            found += [(v, "optimizer") for v in self.optimizer.variables]
        found += [(v, "metric") for metric in self.metrics for v in metric.variables]
        return found

    def _predicts_logits(self) -> bool:
        """Whether the loss takes outputs before the sigmoid or softmax."""
        loss = self._loss
        return isinstance(loss, losses.LossFunctionWrapper) and loss.get_config().get(
            "from_logits", False
        )

    def _training(self) -> dict[str, Any] | None:
        """The `training` object of an exported model.json; None before `compile`."""
        if self.optimizer is None or self._loss is None:
            return None
        function = getattr(self._loss, "fn", None)
        return {
            # The function's own name where there is one: "mean_squared_error", not "mse".
            "loss": getattr(function, "__name__", self._loss.name),
            "optimizer": type(self.optimizer).__name__.lower(),
            "seed": 0,
            "epochs": self._epochs_done,
            "batch_size": self._batch_size or DEFAULT_BATCH_SIZE,
            "inputs": ["x"],
            "targets": ["y"],
            "metrics": [
                {"name": m.name, "total": m.total.path, "count": m.count.path}
                for m in self.metrics
                if isinstance(m, metrics.Mean)
            ],
        }


# `Steps.compile` has an argument called metrics, which hides the module of that name there.
def _as_metrics(given: Any) -> list[Any]:
    if given is None:
        return []
    found = list(given) if isinstance(given, (list, tuple)) else [given]
    for identifier in found:
        if not (isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc")):
            metrics.get(identifier)  # raises now, not in the first fit
    return found


def _loss_tracker() -> metrics.Mean:
    return metrics.Mean(name="loss")


def _as_loss(given: Any) -> Loss | None:
    found = losses.get(given)
    if found is None or isinstance(found, Loss):
        return found
    name = given if isinstance(given, str) else getattr(found, "__name__", None)
    return losses.LossFunctionWrapper(found, name=name)


def _is(loss: Loss | None, function: Callable[..., Any]) -> bool:
    return isinstance(loss, losses.LossFunctionWrapper) and loss.fn is function


def _unique_names(found: list[Metric]) -> list[Metric]:
    """Metrics whose names, and so whose Variables' paths, are unique."""
    taken = {"loss"}
    for metric in found:
        name, number = metric.name, 1
        while name in taken:
            name, number = f"{metric.name}_{number}", number + 1
        if name != metric.name:
            metric._rename(name)
        taken.add(name)
    return found


def _deterministic_engine() -> Any:
    """An engine like the current one that computes the same bits everywhere; None if it does."""
    current = realize.engine()
    if current.kind not in ("wasm", "reference"):
        return realize.make_engine(current.kind, True)  # which refuses: see there
    if not current.features:
        return None
    if not _deterministic_engines:
        _deterministic_engines.append(realize.make_engine(current.kind, True))
    return _deterministic_engines[0]


__all__ = ["DEFAULT_BATCH_SIZE", "EntryPoint", "Spec", "Steps"]
