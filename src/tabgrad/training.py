"""compile, fit, evaluate, predict: the training loop, with Keras 3's names and arguments.

One step (forward, backward, update, metrics) is one compiled function, so one Program and one call.
The loop is a generator of steps: the laptop runs it at once, a page a slice at a time (`Run`).
The same loop exists in `player/training.js`; both make the same batches in the same order.

Not here: arrays and their batches (`data/arrays.py`), what layers compute, and saving.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabgrad import config, jit, losses, metrics, nonfinite, ops, optimizers, realize
from tabgrad import callbacks as callbacks_module
from tabgrad.callbacks import CallbackList, History
from tabgrad.data import arrays
from tabgrad.dtypes import DType, as_dtype, float32, int32
from tabgrad.errors import ArgumentError, NotSupportedError, TabgradError
from tabgrad.grad import value_and_grad
from tabgrad.ir.graph import Node, layer_scope
from tabgrad.losses import Loss
from tabgrad.metrics import Metric
from tabgrad.optimizers import Optimizer
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable, scope

if TYPE_CHECKING:
    from tabgrad.layers.base import Layer

Logs = dict[str, float]
Steps = Generator[None, None, Any]

DEFAULT_BATCH_SIZE = 32
# A page repaints about 60 times a second; a slice of training leaves it the time.
_SLICE_SECONDS = 0.012
# Reading the loss waits for the engine, so a loss that is not finite is looked for this often.
_STEPS_BETWEEN_CHECKS = 50
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


class Run:
    """A training that is under way: on the laptop it runs through, in a page slice by slice.

    Args:
        steps: the generator of its steps.
        variables: what it changes. Nobody else reads them before it has finished.
        engine: a context in which the steps run.
    """

    def __init__(
        self,
        steps: Steps,
        variables: Sequence[Variable],
        engine: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.done = False
        self._steps = steps
        self._engine = engine
        self._inside = False
        self._error: BaseException | None = None
        self._task: asyncio.Future[None] | None = None
        self._guarded = {id(v) for v in variables}
        self._guard = scope(self)

    def advance(self, seconds: float = math.inf) -> None:
        """Run steps for about this long, at least one."""
        end = time.perf_counter() + seconds
        self._inside = True
        try:
            with self._engine():
                while True:
                    next(self._steps)
                    if time.perf_counter() >= end:
                        return
        except StopIteration:
            self.done = True
        except BaseException:
            self.done = True
            raise
        finally:
            self._inside = False

    def start(self) -> None:
        """Run in slices on the event loop, between which the page stays alive."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.advance()  # nothing will ever run a slice
            return
        self._guard.__enter__()
        self._task = loop.create_task(self._drive())

    async def _drive(self) -> None:
        while not self.done:
            self._slice(_SLICE_SECONDS)
            await asyncio.sleep(0)

    def _slice(self, seconds: float) -> None:
        try:
            self.advance(seconds)
        except Exception as error:
            self._error = error
        finally:
            if self.done:
                self._guard.__exit__()

    async def wait(self) -> None:
        """Wait until training has finished; raises what it raised."""
        if self._task is not None:
            await self._task
        self._raise()

    def finish(self) -> None:
        """Run everything that is left now; raises what it raised."""
        if self._inside:
            return  # a callback of this very training
        if not self.done:
            warnings.warn(
                "the model was used while fit was still training in the page, so the rest of the "
                "training ran at once and the page stood still; write `await model.fit(...)`",
                stacklevel=4,
            )
            self._slice(math.inf)
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    # A Variable asks these before it is read or assigned (`variable.Scope`).

    def read(self, variable: Variable, outer: int) -> Node | None:
        """Finish first when the Variable is being trained; then it is read as always."""
        if id(variable) in self._guarded:
            self.finish()
        return None

    def assign(self, variable: Variable, node: Node) -> bool:
        """Finish first when the Variable is being trained; then it is assigned as always."""
        if id(variable) in self._guarded:
            self.finish()
        return False


class Trainer:
    """What a Model can do beside being called. Mixed into `Model`."""

    if TYPE_CHECKING:
        name: str
        path: str
        dtype: DType
        built: bool
        input_shape: tuple[int | None, ...]
        output_shape: tuple[int | None, ...]
        trainable_weights: list[Variable]
        variables: list[Variable]
        weights: list[Variable]

        def __call__(self, inputs: Any, *, training: bool | None = None) -> Any: ...
        def _flatten_layers(self) -> list[Layer]: ...
        def _build_for(self, row_shape: Sequence[int]) -> None: ...

    def __init__(self) -> None:
        self.optimizer: Optimizer | None = None
        self.loss: Any = None
        self.history: History | None = None
        self.stop_training = False
        self._loss: Loss | None = None
        self._loss_tracker: metrics.Mean | None = None
        self._asked_metrics: list[Any] = []
        self._metrics: list[Metric] | None = None
        self._trained: list[Variable] = []
        self._target: Spec | None = None
        self._own_engine: Any = None
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
            ArgumentError: for an unknown name; the message lists the known ones.

        Example:
            >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        """
        self._settle()
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
        self._own_engine = _deterministic_engine() if deterministic else None
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
                f"call model.compile(optimizer=..., loss=...) before model.{method}"
            )
        if self._loss is None:
            raise ArgumentError(
                f"model.{method} needs a loss: call model.compile(optimizer=..., loss=...)"
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
            raise ArgumentError(f"{name} is missing: the loss needs targets")
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
                "training needs a model with one output; received "
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
            function = {
                "predict": self._predict_step,
                "train_step": self._train_step,
                "evaluate": self._evaluate_step,
            }[name]
            self._functions[name] = jit.compile(function)
        return self._functions[name]

    def _bind(self, name: str, data: arrays.Resident, rows: int) -> jit.Bound:
        """The compiled function for batches of so many rows, with input buffers of its own."""
        examples = data.like_batch(rows)
        key = (name, realize.engine(), *((t.shape, t.dtype) for t in examples))
        if key not in self._bound:
            self._bound[key] = self._function(name).bind(*examples)
            if len(self._bound) > _MOST_BOUND:
                self._bound.popitem(last=False)
        self._bound.move_to_end(key)
        return self._bound[key]

    def _batches(
        self, name: str, data: arrays.Resident, size: int, order: Sequence[int] | None = None
    ) -> Generator[tuple[int, Sequence[int], Callable[[], jit.Bound]], None, None]:
        """(number, row numbers, run) for each batch; calling `run` gathers the rows and runs."""
        for number, indices in enumerate(arrays.batches(data.rows, size, order)):

            def run(indices: Sequence[int] = indices) -> jit.Bound:
                bound = self._bind(name, data, len(indices))
                data.fill(bound.inputs, indices)
                bound.run()
                return bound

            yield number, indices, run

    # fit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        *,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        seed: int | None = None,
    ) -> History:
        """Train for some epochs.

        Args:
            x: inputs, with rows on the first axis; uploaded once.
            y: targets, as many rows.
            batch_size: rows in a batch, 32 by default; the last batch may be smaller.
            epochs: number of the last epoch.
            verbose: "auto" or 1 for progress, 2 for a line an epoch, 0 for nothing.
            callbacks: a list of `tabgrad.callbacks.Callback`.
            validation_split: the last part of the rows is not trained on but evaluated.
            validation_data: (x, y) to evaluate after each epoch.
            shuffle: whether each epoch has its own order of rows.
            initial_epoch: number of the first epoch, to go on with a training.
            validation_batch_size: batch_size of the evaluation.
            validation_freq: evaluate after every so many epochs.
            seed: fixes the orders. By default they go on where the last `fit` stopped.

        Returns:
            A `History`. In a page `await model.fit(...)` waits for it; on the laptop training has
            finished when this returns.

        Raises:
            TabgradError: before `compile`; and when the loss is not finite (code "non-finite").
            ShapeError: when rows do not fit the model, or x and y have different lengths.
            ArgumentError: for labels out of range and arguments out of range.

        Example:
            >>> history = model.fit(x, y, epochs=2, verbose=0)
            >>> len(history.history["loss"])
            2
        """
        self._settle()
        self._need_compile("fit")
        batch_size = _whole(batch_size, "batch_size", DEFAULT_BATCH_SIZE)
        validation_batch_size = _whole(
            validation_batch_size, "validation_batch_size", batch_size
        )
        validation_freq = _whole(validation_freq, "validation_freq", 1)
        with self._on_engine():
            data, target = self._prepare_pair(x, y)
            validation = None
            if validation_data is not None:
                if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                    raise ArgumentError("validation_data must be a pair (x, y)")
                validation = self._prepare_pair(*validation_data, prefix="validation ")
            elif validation_split:
                (data, target), validation = arrays.split(data, target, validation_split)
            resident = arrays.Resident([data, target])
            held_out = arrays.Resident(validation) if validation else None
        batches = math.ceil(resident.rows / batch_size)
        history = History()
        listeners = CallbackList(
            [history, *callbacks_module.progress(verbose), *callbacks_module.flat(callbacks)],
            self,
            {"epochs": epochs, "steps": batches, "verbose": verbose},
        )
        self.history = history
        self.stop_training = False
        self._batch_size = batch_size
        offset = 0
        if seed is None:
            seed, offset = 0, self._epochs_done - initial_epoch

        def order(epoch: int) -> Sequence[int] | None:
            if not shuffle:
                return None
            return arrays.order(seed, epoch + offset, resident.rows)

        def steps() -> Steps:
            listeners("on_train_begin")
            logs: Logs = {}
            for epoch in range(initial_epoch, epochs):
                self.reset_metrics()
                listeners("on_epoch_begin", epoch)
                yield from self._train_epoch(resident, batch_size, order(epoch), listeners, epoch)
                self._epochs_done += 1
                logs = self._read_metrics()
                if held_out is not None and (epoch + 1) % validation_freq == 0:
                    found = yield from self._evaluate_steps(
                        held_out, validation_batch_size, listeners
                    )
                    logs |= {f"val_{name}": value for name, value in found.items()}
                listeners("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
            listeners("on_train_end", logs)

        run = Run(steps(), [v for v, _ in self._state()], self._on_engine)
        self._run = history._run = run
        if _in_page():
            run.start()
        else:
            run.advance()
        return history

    def _train_epoch(
        self,
        data: arrays.Resident,
        batch_size: int,
        order: Sequence[int] | None,
        listeners: CallbackList,
        epoch: int,
    ) -> Steps:
        wants_logs = listeners.listens("on_train_batch_end", "on_batch_end")
        careful = config.debug >= 1
        last = math.ceil(data.rows / batch_size) - 1
        for number, indices, run in self._batches("train_step", data, batch_size, order):
            listeners("on_train_batch_begin", number)
            before = nonfinite.Snapshot([v for v, _ in self._state()]) if careful else None
            run()
            if careful or number == last or number % _STEPS_BETWEEN_CHECKS == 0:
                self._check_loss(epoch, number, before, data, indices)
            if wants_logs:
                listeners("on_train_batch_end", number, self._read_metrics())
            else:
                listeners("on_train_batch_end", number, None)
            yield
            if self.stop_training:
                return

    def _check_loss(
        self,
        epoch: int,
        batch: int,
        before: nonfinite.Snapshot | None,
        data: arrays.Resident,
        indices: Sequence[int],
    ) -> None:
        assert self._loss_tracker is not None
        loss = self._loss_tracker._read()
        if math.isfinite(loss):
            return
        text = f"the loss became {loss} in epoch {epoch + 1}, batch {batch + 1}: "
        if before is None:
            text += (
                "training stopped. Run it again with TABGRAD_DEBUG=1 (or inside "
                "`with tabgrad.config.override(debug=1):`) to learn which layer first gives a "
                "value that is not finite. Usual reasons are a learning rate that is too high, "
                "inputs that are not scaled, and NaN in the data"
            )
        else:
            chosen = ops.convert_to_tensor(list(indices))
            x, y = (ops.take(column, chosen, axis=0) for column in data.columns)
            text += nonfinite.explain(
                before, x, y, lambda: self(x, training=True), lambda p: self._loss_of(y, p)
            )
            text += ". Training stopped and the weights are those before this batch"
        raise TabgradError(text, code="non-finite")

    # evaluate and predict

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        *,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics on data, without training.

        Args:
            x: inputs, with rows on the first axis.
            y: targets, as many rows.
            batch_size: rows in a batch, 32 by default; it changes no result but rounding.
            verbose: 0 prints nothing, anything else one line.
            callbacks: a list of `tabgrad.callbacks.Callback`.
            return_dict: whether to return numbers by name.

        Returns:
            The loss; [loss, *metrics] when there are metrics; or a dict.

        Raises:
            TabgradError: before `compile`.
            ShapeError: when rows do not fit the model, or x and y have different lengths.

        Example:
            >>> model.evaluate(x, y, verbose=0, return_dict=True)["loss"] >= 0
            True
        """
        self._settle()
        self._need_compile("evaluate")
        batch_size = _whole(batch_size, "batch_size", DEFAULT_BATCH_SIZE)
        callbacks_module.progress(verbose)
        with self._on_engine():
            data = arrays.Resident(self._prepare_pair(x, y))
            listeners = CallbackList(
                callbacks, self, {"steps": math.ceil(data.rows / batch_size), "verbose": verbose}
            )
            logs: Logs = _run_through(self._evaluate_steps(data, batch_size, listeners))
        if verbose:
            print(" - ".join(f"{name}: {callbacks_module.shown(v)}" for name, v in logs.items()))
        return logs if return_dict else _plain(logs)

    def _evaluate_steps(
        self, data: arrays.Resident, batch_size: int, listeners: CallbackList
    ) -> Generator[None, None, Logs]:
        wants_logs = listeners.listens("on_test_batch_end")
        listeners("on_test_begin")
        self.reset_metrics()
        for number, _, run in self._batches("evaluate", data, batch_size):
            listeners("on_test_batch_begin", number)
            run()
            listeners("on_test_batch_end", number, self._read_metrics() if wants_logs else None)
            yield
        logs = self._read_metrics()
        listeners("on_test_end", logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        *,
        callbacks: Any = None,
    ) -> Tensor:
        """The model's outputs for all rows.

        Args:
            x: inputs, with rows on the first axis.
            batch_size: rows in a batch, 32 by default; it changes no result.
            verbose: accepted for Keras's sake.
            callbacks: a list of `tabgrad.callbacks.Callback`.

        Returns:
            A Tensor with one row for each row of x. `numpy.asarray` makes it an array.

        Raises:
            ShapeError: when rows do not fit the model.

        Example:
            >>> model.predict(x).shape[0] == x.shape[0]
            True
        """
        self._settle()
        batch_size = _whole(batch_size, "batch_size", DEFAULT_BATCH_SIZE)
        callbacks_module.progress(verbose)
        with self._on_engine():
            data = arrays.Resident([self._prepare_input(x)])
            listeners = CallbackList(
                callbacks, self, {"steps": math.ceil(data.rows / batch_size), "verbose": verbose}
            )
            listeners("on_predict_begin")
            parts = []
            for number, _, run in self._batches("predict", data, batch_size):
                listeners("on_predict_batch_begin", number)
                bound = run()
                output = bound.outputs[0]
                if len(bound.outputs) != 1:
                    raise NotSupportedError("predict needs a model with one output")
                parts.append(realize.engine().read(output.handle, output.nbytes))
                port = bound.program.entries[0].outputs[0]
                listeners("on_predict_batch_end", number)
            listeners("on_predict_end")
            shape = (data.rows, *port.shape[1:])
            return Tensor(realize.upload(b"".join(parts), shape, as_dtype(port.dtype)))

    def train_on_batch(self, x: Any, y: Any = None, *, return_dict: bool = False) -> Any:
        """Train one step on these rows as one batch.

        Args:
            x: inputs of one batch.
            y: targets of one batch.
            return_dict: whether to return numbers by name.

        Returns:
            The metrics since the last `reset_metrics`, as `evaluate` returns them.

        Raises:
            TabgradError: before `compile`.
            ShapeError: when rows do not fit the model, or x and y have different lengths.

        Example:
            >>> loss = model.train_on_batch(x, y)
        """
        return self._on_batch("train_step", "train_on_batch", x, y, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, *, return_dict: bool = False) -> Any:
        """The loss and metrics of these rows as one batch; arguments as `train_on_batch`.

        Example:
            >>> loss = model.test_on_batch(x, y)
        """
        return self._on_batch("evaluate", "test_on_batch", x, y, return_dict)

    def _on_batch(self, entry: str, method: str, x: Any, y: Any, return_dict: bool) -> Any:
        self._settle()
        self._need_compile(method)
        with self._on_engine():
            self._function(entry)(*self._prepare_pair(x, y))
            logs = self._read_metrics()
        return logs if return_dict else _plain(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's outputs for these rows as one batch.

        Example:
            >>> model.predict_on_batch(x).shape[0] == x.shape[0]
            True
        """
        self._settle()
        with self._on_engine():
            return self._function("predict")(self._prepare_input(x))

    # What others need to know

    def _read_metrics(self) -> Logs:
        return {metric.name: metric._read() for metric in self.metrics}

    def _on_engine(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._own_engine is None else realize.using(self._own_engine)

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
                f"the input shape of {self.name!r} is not known: start the Sequential with "
                "tg.Input(shape), or call the model on data"
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

    def _training(self) -> dict[str, Any] | None:
        """The `training` object of an exported model.json; None before `compile`."""
        if self.optimizer is None or self._loss is None:
            return None
        return {
            "loss": self._loss.name,
            "optimizer": type(self.optimizer).__name__.lower(),
            "seed": 0,
            "batch_size": self._batch_size or DEFAULT_BATCH_SIZE,
            "inputs": ["x"],
            "targets": ["y"],
            "metrics": [
                {"name": m.name, "total": m.total.path, "count": m.count.path}
                for m in self.metrics
                if isinstance(m, metrics.Mean)
            ],
        }


# `Trainer.compile` has an argument called metrics, which hides the module of that name there.
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


def _whole(value: int | None, name: str, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer; received {value!r}")
    return value


def _plain(logs: Logs) -> Any:
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _run_through(steps: Generator[None, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _deterministic_engine() -> Any:
    """An engine like the current one that computes the same bits everywhere; None if it does."""
    current = realize.engine()
    if not current.features:
        return None
    if not _deterministic_engines:
        _deterministic_engines.append(realize._make_engine(current.kind, True))
    return _deterministic_engines[0]


def _in_page() -> bool:
    return sys.platform == "emscripten"


__all__ = ["EntryPoint", "Run", "Spec", "Trainer"]
