"""Callbacks: when hooks are called and with what, early stopping against Keras, progress output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import callbacks
from tabgrad.errors import ArgumentError
from tests.keras_oracle import check, keras, numbers, values

X = numbers(10, 3, seed=1)
Y = numbers(10, 1, seed=2)


def _model(k: Any = tg, rate: float = 0.05) -> Any:
    model = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
    model.set_weights([numbers(3, 1, seed=5), np.zeros(1, np.float32)])
    model.compile(optimizer=k.optimizers.SGD(rate), loss="mse", metrics=["mae"])
    return model


def _recorder(base: Any) -> Any:
    hooks = [name for name in dir(callbacks.Callback) if name.startswith("on_")]

    class Record(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[Any] = []

    for hook in hooks:

        def method(self: Any, *args: Any, hook: str = hook, **kwargs: Any) -> None:
            logs = args[-1] if args and isinstance(args[-1], dict) else kwargs.get("logs")
            number = args[0] if args and isinstance(args[0], int) else None
            keys = sorted(logs) if isinstance(logs, dict) else []
            if "batch" not in hook or "predict" not in hook:
                self.calls.append((hook, number, keys))
            else:
                self.calls.append((hook, number))

        setattr(Record, hook, method)
    return Record()


def test_hooks_come_as_in_keras() -> None:
    """The same calls in the same order, with the same keys in the logs."""
    ours, theirs = _model(tg), _model(keras)
    mine, other = _recorder(callbacks.Callback), _recorder(keras.callbacks.Callback)
    for model, record in ((ours, mine), (theirs, other)):
        model.fit(X, Y, batch_size=4, epochs=2, verbose=0, validation_split=0.3, callbacks=[record])
        model.evaluate(X, Y, batch_size=4, verbose=0, callbacks=[record])
        model.predict(X, batch_size=4, verbose=0, callbacks=[record])
    # Keras's base class forwards on_train_batch_* to on_batch_*; the recorder overrides both.
    skip = ("on_batch_begin", "on_batch_end")
    ours_calls = [c for c in mine.calls if c[0] not in skip]
    their_calls = [c for c in other.calls if c[0] not in skip]
    assert ours_calls == their_calls


def test_batch_logs_are_those_of_keras() -> None:
    found: dict[str, list[Any]] = {}
    for name, k in (("ours", tg), ("theirs", keras)):
        rows = found.setdefault(name, [])
        log = k.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, rows=rows: rows.append(
                [float(logs["loss"]), float(logs["mae"])]
            )
        )
        _model(k).fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[log])
    check(np.array(found["ours"]), np.array(found["theirs"]), 1e-5)


def test_metrics_are_read_only_when_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    model = _model()
    original = type(model)._logs
    monkeypatch.setattr(
        type(model), "_logs", lambda self, rescue: reads.append(1) or original(self, rescue)
    )
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    assert len(reads) == 2
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=[
        callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    ])  # fmt: skip
    assert len(reads) == 2 + 2 + 10


def test_stop_training() -> None:
    model = _model()
    batches = []

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            batches.append(batch)
            self.model.stop_training = batch == 2

    history = model.fit(X, Y, batch_size=2, epochs=5, verbose=0, callbacks=[Stop()])
    assert batches == [0, 1, 2]
    assert history.epoch == [0]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own get_weights
@pytest.mark.parametrize(
    "arguments",
    [
        {"monitor": "loss", "min_delta": 0.05, "patience": 1},
        {"monitor": "loss", "min_delta": 0.5, "patience": 2, "restore_best_weights": True},
        {"monitor": "mae", "min_delta": 0.05, "start_from_epoch": 3},
        {"monitor": "loss", "baseline": 0.1, "min_delta": 0.05, "restore_best_weights": True},
        {"monitor": "val_loss", "mode": "max", "patience": 1},
    ],
    ids=str,
)
def test_early_stopping(arguments: dict[str, Any]) -> None:
    ours, theirs = _model(tg, 0.1), _model(keras, 0.1)
    histories = [
        model.fit(
            X, Y, epochs=12, shuffle=False, verbose=0, validation_split=0.2,
            callbacks=[k.callbacks.EarlyStopping(**arguments)],
        )
        for model, k in ((ours, tg), (theirs, keras))
    ]  # fmt: skip
    assert histories[0].epoch == histories[1].epoch
    assert len(histories[0].epoch) < 12
    for variable, value in zip(ours.weights, values(theirs.weights)):
        check(variable.value, value, 1e-5, variable.path)


def test_early_stopping_warns_and_refuses() -> None:
    model = _model()
    with pytest.warns(UserWarning, match=r"watches 'val_loss', which is not among .*loss, mae"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.EarlyStopping()])
    with pytest.raises(ArgumentError, match='expected mode "auto"'):
        callbacks.EarlyStopping(mode="least")
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: abs(y_true - y_pred)[:, 0]])
    name = model.fit(X, Y, verbose=0) and model.metrics_names[1]
    stop = callbacks.EarlyStopping(monitor=name)
    with pytest.raises(ArgumentError, match='Pass mode="max" or mode="min"'):
        model.fit(X, Y, verbose=0, epochs=2, callbacks=[stop])
    with pytest.raises(ArgumentError, match=r"expected hooks of .*received 'on_epoch'"):
        callbacks.LambdaCallback(on_epoch=print)


def test_progress_is_a_line_an_epoch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "_tqdm", lambda: None)
    for verbose in ("auto", 1, 2):
        _model().fit(X, Y, epochs=2, verbose=verbose, validation_split=0.2)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("Epoch 1/2 - ")
        for word in ("s - loss: ", " - mae: ", " - val_loss: ", " - val_mae: "):
            assert word in lines[1]
    _model().evaluate(X, Y)
    out = capsys.readouterr().out
    assert out.startswith("loss: ")
    assert " - mae: " in out
    _model().fit(X, Y, verbose=0)
    _model().predict(X)
    assert capsys.readouterr().out == ""


def test_progress_uses_tqdm_where_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, total: int, desc: str) -> None:
            self.total, self.desc, self.n, self.text, self.closed = total, desc, 0, "", False
            bars.append(self)

        def update(self, n: int) -> None:
            self.n += n

        def set_postfix_str(self, text: str) -> None:
            self.text = text

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(callbacks, "_tqdm", lambda: Bar)
    _model().fit(X, Y, batch_size=4, epochs=2)
    assert [(b.total, b.n, b.desc, b.closed) for b in bars] == [
        (3, 3, "Epoch 1/2", True), (3, 3, "Epoch 2/2", True),
    ]  # fmt: skip
    assert bars[0].text.startswith("loss: ")
    assert capsys.readouterr().out == ""


def test_history_without_numpy_is_plain_numbers() -> None:
    history = _model().fit(X, Y, verbose=0)
    assert all(type(v) is float for values in history.history.values() for v in values)
