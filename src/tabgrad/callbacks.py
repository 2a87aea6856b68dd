"""Callbacks: what users run at points of training. With Keras 3's hooks, names and arguments.

`History` is also what `fit` returns. Not here: the loop that calls the hooks (`training.py`).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Mapping
from typing import Any

from tabgrad.errors import ArgumentError
from tabgrad.ops.public import publish_classes

Logs = dict[str, float]


class Callback:
    """Base class: override the hooks you need. `self.model` and `self.params` are set by `fit`.

    Setting `self.model.stop_training = True` ends training after the present batch.

    Example:
        >>> class Stop(Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         self.model.stop_training = logs["loss"] < 0.01
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called with {"epochs", "steps", "verbose"} before training."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called with the model before training."""
        self.model = model

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, with its logs."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation, with all metrics."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch, with the metrics of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation, also that of validation data."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation, with its metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of an evaluation, with the metrics so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of a prediction."""


class CallbackList:
    """Several callbacks called as one.

    Args:
        callbacks: callbacks, or None.
        model: the model they are told about.
        params: what `set_params` gives them.

    Raises:
        ArgumentError: when something else than a Callback is among them.
    """

    def __init__(self, callbacks: Any, model: Any, params: Mapping[str, Any]) -> None:
        self.callbacks = flat(callbacks)
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def __call__(self, hook: str, *args: Any) -> None:
        """Call the hook of this name of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def listens(self, *hooks: str) -> bool:
        """Whether any callback overrides one of these hooks.

        Reading metrics after every batch waits for the engine, so it is done only for a listener.
        """
        return any(
            # A LambdaCallback has plain functions as attributes, which have no __func__.
            getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
            for callback in self.callbacks
            for hook in hooks
        )


def flat(callbacks: Any) -> list[Callback]:
    """The callbacks in a nested list of them, in order; None is none.

    Raises:
        ArgumentError: when something else than a Callback is among them.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    if isinstance(callbacks, (list, tuple)):
        return [each for item in callbacks for each in flat(item)]
    raise ArgumentError(
        f"expected tabgrad.callbacks.Callback objects as callbacks; received {callbacks!r}"
    )


class History(Callback):
    """The metrics of every epoch, returned by `fit`.

    Attributes:
        history: a list for each metric, one number an epoch.
        epoch: the numbers of the epochs.

    In a page, `await model.fit(...)` waits until training has finished; on the laptop it has
    finished when `fit` returns, and awaiting it is allowed and does nothing.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self._run: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def __await__(self) -> Generator[Any, None, History]:
        if self._run is not None:
            yield from self._run.wait().__await__()
        return self

    def _finish(self) -> None:
        """Run what is left of the training at once."""
        if self._run is not None:
            self._run.finish()

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: a function of (epoch, logs).
        on_epoch_end: a function of (epoch, logs).
        on_train_begin: a function of (logs).
        on_train_end: a function of (logs).
        on_train_batch_begin: a function of (batch, logs).
        on_train_batch_end: a function of (batch, logs).
        kwargs: functions for any other hook, by its name.

    Raises:
        ArgumentError: for a name that is no hook.

    Example:
        >>> log = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any],
    ) -> None:
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in given.items():
            if name not in hooks:
                raise ArgumentError(
                    f"LambdaCallback expected hooks of {', '.join(hooks)}; received {name!r}"
                )
            if function is not None:
                setattr(self, name, function)


class EarlyStopping(Callback):
    """Ends training when a metric has stopped improving.

    Args:
        monitor: the metric, as it is called in the logs.
        min_delta: the least change that counts as an improvement.
        patience: how many epochs without improvement are allowed.
        verbose: 1 prints a line when it acts.
        mode: "min", "max", or "auto": chosen by the metric.
        baseline: a value that must be beaten, or None.
        restore_best_weights: whether the model gets back the weights of its best epoch.
        start_from_epoch: epochs before this one are not looked at.

    Raises:
        ArgumentError: for an unknown mode, or "auto" with a metric of unknown direction.

    Example:
        >>> stop = EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                f'EarlyStopping expected mode "auto", "min" or "max"; received {mode!r}'
            )
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = (logs or {}).get(self.monitor)
        if current is None:
            warnings.warn(
                f"EarlyStopping watches {self.monitor!r}, which is not among the metrics "
                f"({', '.join(logs or {})}); training goes on",
                stacklevel=2,
            )
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._improves(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring the weights of epoch {self.best_epoch + 1}, the best one")
            self.model.set_weights(self.best_weights)

    def _improves(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        if self._upwards():
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def _upwards(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        direction = "down" if name == "loss" else None
        for metric in getattr(self.model, "metrics", []):
            if metric.name == name:
                direction = metric.direction or direction
        if direction is None:
            raise ArgumentError(
                "EarlyStopping expected a metric that is known to rise or to fall with "
                "mode='auto'; "
                f'received {self.monitor!r}. Pass mode="max" or mode="min"'
            )
        return direction == "up"


class ProgressLogger(Callback):
    """Prints how training goes: a bar for each epoch where tqdm is installed, else a line.

    Args:
        verbose: 1 for bars (lines without tqdm), 2 for one line an epoch.
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = verbose
        self._bar: Any = None
        self._tqdm = _tqdm() if verbose == 1 else None
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._started = time.perf_counter()
        if self._tqdm is not None:
            label = f"Epoch {epoch + 1}/{self.params['epochs']}"
            self._bar = self._tqdm(total=self.params["steps"], desc=label)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        # At the begin of the next batch, not the end of this one: no metrics are read for it.
        if self._bar is not None and batch:
            self._bar.update(1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        text = " - ".join(f"{name}: {shown(value)}" for name, value in (logs or {}).items())
        if self._bar is not None:
            self._bar.update(self._bar.total - self._bar.n)
            self._bar.set_postfix_str(text)
            self._bar.close()
            self._bar = None
            return
        seconds = time.perf_counter() - self._started
        print(f"Epoch {epoch + 1}/{self.params['epochs']} - {seconds:.2f}s - {text}", flush=True)


def shown(value: float) -> str:
    """A number as progress output shows it.

    Example:
        >>> shown(0.123456), shown(1e-7)
        ('0.1235', '1.0000e-07')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4e}"


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return None
    return tqdm


def progress(verbose: Any) -> list[Callback]:
    """The callback that `fit(verbose=...)` adds.

    Raises:
        ArgumentError: unless verbose is "auto", 0, 1 or 2.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError(f'expected "auto", 0, 1 or 2 as verbose; received {verbose!r}')
    if not verbose:
        return []
    return [ProgressLogger(1 if verbose == "auto" else int(verbose))]


__all__ = [
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ProgressLogger",
]

publish_classes(globals())
