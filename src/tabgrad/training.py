"""fit, evaluate, predict: the training loop, with Keras 3's names and arguments.

The loop is a generator of steps: the laptop runs it at once, a page a slice at a time (`run.py`).
The same loop exists in `player/training.js`; both make the same batches in the same order.

Not here: the steps themselves (`steps.py`), arrays and their batches (`data/arrays.py`), saving.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import callbacks as callbacks_module
from tabgrad import config, jit, nonfinite, ops, realize
from tabgrad.callbacks import CallbackList, History
from tabgrad.data import arrays
from tabgrad.dtypes import as_dtype
from tabgrad.errors import ArgumentError, NotSupportedError, TabgradError
from tabgrad.metrics import Metric
from tabgrad.rescue import Rescue, Work
from tabgrad.run import Run, through
from tabgrad.steps import DEFAULT_BATCH_SIZE, Steps
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable

Logs = dict[str, float]

# Reading the loss waits for the engine, so a loss that is not finite is looked for this often.
_STEPS_BETWEEN_CHECKS = 50


class Trainer(Steps):
    """What a Model can do beside being called. Mixed into `Model`."""

    def __init__(self) -> None:
        super().__init__()
        self.history: History | None = None

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
        validation_batch_size = _whole(validation_batch_size, "validation_batch_size", batch_size)
        validation_freq = _whole(validation_freq, "validation_freq", 1)
        self._reconsider_now("train_step")
        with self._on_engine():
            resident, held_out = self._with_held_out(x, y, validation_data, validation_split)
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

        def order(epoch: int) -> Work[Sequence[int] | None]:
            if not shuffle:
                return None

            def draw() -> Work[Sequence[int]]:
                bits = arrays.order_bits(seed, epoch + offset, resident.rows)
                yield [bits.node]
                return arrays.order_of(bits)

            return (yield from rescue.attempt(draw))  # type: ignore[no-any-return]

        rescue = self._rescue(resident, held_out)

        def steps() -> Work[None]:
            listeners("on_train_begin")
            logs: Logs = {}
            for epoch in range(initial_epoch, epochs):
                self.reset_metrics()
                listeners("on_epoch_begin", epoch)
                rows = yield from order(epoch)
                yield from self._train_epoch(rescue, resident, batch_size, rows, listeners, epoch)
                self._epochs_done += 1
                logs = yield from self._logs(rescue)
                if held_out is not None and (epoch + 1) % validation_freq == 0:
                    found = yield from self._evaluate_steps(
                        rescue, held_out, validation_batch_size, listeners
                    )
                    logs |= {f"val_{name}": value for name, value in found.items()}
                listeners("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
                if epoch + 1 < epochs:
                    yield from self._reconsider("train_step")
            listeners("on_train_end", logs)

        run = Run(steps(), [v for v, _ in self._state()], self._on_engine)
        self._run = history._run = run
        if _in_page():
            run.start()
        else:
            run.advance()
        return history

    def _with_held_out(
        self, x: Any, y: Any, validation_data: Any, validation_split: float
    ) -> tuple[arrays.Resident, arrays.Resident | None]:
        """The rows to train on, and those to evaluate, if any."""
        data, target = self._prepare_pair(x, y)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise ArgumentError(
                    "expected a pair (x, y) as validation_data; received "
                    f"{type(validation_data).__name__}"
                )
            held_x, held_y = validation_data
            validation = self._prepare_pair(held_x, held_y, "validation ")
        elif validation_split:
            (data, target), validation = arrays.split(data, target, validation_split)
        resident = arrays.Resident([data, target])
        return resident, arrays.Resident(validation) if validation else None

    def _train_epoch(
        self,
        rescue: Rescue,
        data: arrays.Resident,
        batch_size: int,
        order: Sequence[int] | None,
        listeners: CallbackList,
        epoch: int,
    ) -> Work[None]:
        wants_logs = listeners.listens("on_train_batch_end", "on_batch_end")
        careful = config.debug >= 1
        batches, step = self._batches("train_step", data, batch_size, order)
        yield from rescue.begin(step)
        for number, indices in enumerate(batches):
            listeners("on_train_batch_begin", number)
            before = nonfinite.Snapshot([v for v, _ in self._state()]) if careful else None
            if rescue.idle:
                step(number)
            else:
                yield from rescue.next()
            if careful or number == len(batches) - 1 or number % _STEPS_BETWEEN_CHECKS == 0:
                loss = yield from self._values(rescue, self.metrics[:1])
                self._check_loss(loss["loss"], epoch, number, before, data, indices)
            logs = (yield from self._logs(rescue)) if wants_logs else None
            listeners("on_train_batch_end", number, logs)
            yield None
            if self.stop_training:
                return

    def _check_loss(
        self,
        loss: float,
        epoch: int,
        batch: int,
        before: nonfinite.Snapshot | None,
        data: arrays.Resident,
        indices: Sequence[int],
    ) -> None:
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
        self._reconsider_now("evaluate")
        with self._on_engine():
            data = arrays.Resident(self._prepare_pair(x, y))
            listeners = CallbackList(
                callbacks, self, {"steps": math.ceil(data.rows / batch_size), "verbose": verbose}
            )
            rescue = self._rescue(data)
            logs: Logs = through(self._evaluate_steps(rescue, data, batch_size, listeners))
        if verbose:
            print(" - ".join(f"{name}: {callbacks_module.shown(v)}" for name, v in logs.items()))
        return logs if return_dict else _plain(logs)

    def _evaluate_steps(
        self, rescue: Rescue, data: arrays.Resident, batch_size: int, listeners: CallbackList
    ) -> Work[Logs]:
        wants_logs = listeners.listens("on_test_batch_end")
        listeners("on_test_begin")
        self.reset_metrics()
        batches, step = self._batches("evaluate", data, batch_size)
        yield from rescue.begin(step)
        for number in range(len(batches)):
            listeners("on_test_batch_begin", number)
            if rescue.idle:
                step(number)
            else:
                yield from rescue.next()
            found = (yield from self._logs(rescue)) if wants_logs else None
            listeners("on_test_batch_end", number, found)
            yield None
        logs: Logs = yield from self._logs(rescue)
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
        self._reconsider_now("predict")
        with self._on_engine():
            data = arrays.Resident([self._prepare_input(x)])
            listeners = CallbackList(
                callbacks, self, {"steps": math.ceil(data.rows / batch_size), "verbose": verbose}
            )
            listeners("on_predict_begin")
            parts = []
            batches, step = self._batches("predict", data, batch_size)

            def result(number: int) -> tuple[Any, bytes]:
                bound = step(number)
                if len(bound.outputs) != 1:
                    raise NotSupportedError(
                        "expected a model with one output for predict; received one with several"
                    )
                return bound.program.entries[0].outputs[0], bound.outputs[0].read()

            rescue = self._rescue(data)
            through(rescue.begin(result))
            for number in range(len(batches)):
                listeners("on_predict_batch_begin", number)
                port, raw = result(number) if rescue.idle else through(rescue.next())
                parts.append(raw)
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
            The loss before the step, and the metrics, as `evaluate` returns them.

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
            batch = self._prepare_pair(x, y)
            self.reset_metrics()
            self._function(entry)(*batch)
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

    def _batches(
        self, name: str, data: arrays.Resident, size: int, order: Sequence[int] | None = None
    ) -> tuple[list[Sequence[int]], Callable[[int], jit.Bound]]:
        """The row numbers of each batch, and a function that gathers one's rows and runs it."""
        found = list(arrays.batches(data.rows, size, order))

        def run(number: int) -> jit.Bound:
            indices = found[number]
            bound = self._bind(name, data, len(indices))
            data.fill(bound.inputs, indices)
            bound.run()
            return bound

        return found, run

    def _reconsider_now(self, name: str) -> None:
        # A page would stand still meanwhile; `fit` has pauses there.
        if realize.automatic() and not _in_page():
            through(self._reconsider(name))

    def _rescue(self, *data: arrays.Resident | None) -> Rescue:
        """Copies of all that steps change, and of the data they need."""
        columns = [column for one in data if one is not None for column in one.columns]

        def variables() -> list[Variable]:
            captured = [f.traces() for f in self._functions.values()]
            touched = [v for traces in captured for traced in traces for v in traced.variables]
            return list({id(v): v for v in [*(v for v, _ in self._state()), *touched]}.values())

        return Rescue(variables, lambda: columns, self._moved)

    def _logs(self, rescue: Rescue) -> Work[Logs]:
        return (yield from self._values(rescue, self.metrics))

    def _values(self, rescue: Rescue, metrics: Sequence[Metric]) -> Work[Logs]:
        """Numbers of metrics, by name."""

        def read() -> Work[Logs]:
            parts = [metric._parts() for metric in metrics]
            yield [part.node for some in parts for part in some]
            return {
                metric.name: metric._number([float(part) for part in some])
                for metric, some in zip(metrics, parts, strict=True)
            }

        return (yield from rescue.attempt(read))  # type: ignore[no-any-return]


def _whole(value: int | None, name: str, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"expected {name} to be a positive integer; received {value!r}")
    return value


def _plain(logs: Logs) -> Any:
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _in_page() -> bool:
    return sys.platform == "emscripten"


__all__ = ["Trainer"]
