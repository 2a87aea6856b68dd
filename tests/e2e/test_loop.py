"""The training loop exists twice, in training.py and in player/training.js. One table of cases
holds them to the same batches, orders, metrics and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import naming
from tests.e2e.models import (
    assert_same_bits,
    export,
    for_js,
    from_js,
    largest_difference,
    weights_of,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Run

L = tg.layers
SIZES = (1, 5, 8)


@dataclass
class Case:
    """Calls of `fit`, one after the other: rows of the data and options in Python's names."""

    name: str
    fits: list[dict[str, Any]]
    rows: int = 20
    stop_after: int | None = None
    whole: bool = field(init=False)  # all batches are full: then every bit must be the same

    def __post_init__(self) -> None:
        self.whole = all(self._whole(fit) for fit in self.fits)

    def _whole(self, fit: dict[str, Any]) -> bool:
        kept = int(self.rows * (1 - fit.get("validation_split", 0.0)))
        counts = [kept, self.rows - kept, fit.get("validation_rows", 0), self.rows]
        return not any(count % fit["batch_size"] for count in counts)


CASES = [
    Case("one row a batch", [{"batch_size": 1, "epochs": 2, "seed": 1}]),
    Case("whole batches", [{"batch_size": 5, "epochs": 3, "seed": 1}]),
    Case("a partial batch", [{"batch_size": 8, "epochs": 3, "seed": 1}]),
    Case("one row left over", [{"batch_size": 8, "epochs": 2, "seed": 0}], rows=17),
    Case("fewer rows than a batch", [{"batch_size": 8, "epochs": 4, "seed": 2}], rows=3),
    Case("a single row", [{"batch_size": 5, "epochs": 3, "seed": 2}], rows=1),
    Case("in order", [{"batch_size": 5, "epochs": 3, "shuffle": False}]),
    Case("in order, partial", [{"batch_size": 8, "epochs": 2, "shuffle": False}]),
    Case("a negative seed", [{"batch_size": 5, "epochs": 2, "seed": -7}]),
    Case("a large seed", [{"batch_size": 5, "epochs": 2, "seed": 2**40 + 12345}]),
    Case("without a seed", [{"batch_size": 5, "epochs": 3}]),
    Case("a split", [{"batch_size": 5, "epochs": 3, "seed": 1, "validation_split": 0.25}]),
    Case("an uneven split", [{"batch_size": 8, "epochs": 2, "seed": 1, "validation_split": 0.3}]),
    # 1 - 0.1 is not 0.9 in floating point: both must keep the same number of rows.
    Case("a split in tenths", [{"batch_size": 5, "epochs": 1, "validation_split": 0.1}], rows=30),
    Case("validation data", [{"batch_size": 5, "epochs": 3, "seed": 1, "validation_rows": 10}]),
    Case("partial validation", [{"batch_size": 5, "epochs": 2, "seed": 1, "validation_rows": 7}]),
    Case(
        "data before split",
        [{"batch_size": 5, "epochs": 2, "validation_rows": 10, "validation_split": 0.5}],
    ),
    Case("a later start", [{"batch_size": 5, "epochs": 7, "initial_epoch": 4, "seed": 3}]),
    Case(
        "going on",
        [
            {"batch_size": 5, "epochs": 2, "seed": 3},
            {"batch_size": 5, "epochs": 5, "initial_epoch": 2, "seed": 3},
        ],
    ),
    Case("going on without a seed", [{"batch_size": 5, "epochs": 2}] * 3),
    Case(
        "going on from an epoch without a seed",
        [
            {"batch_size": 5, "epochs": 2},
            {"batch_size": 5, "epochs": 4, "initial_epoch": 2},
            {"batch_size": 5, "epochs": 1},
        ],
    ),
    Case("stopped by a callback", [{"batch_size": 5, "epochs": 9, "seed": 1}], stop_after=2),
    Case(
        "going on after a stop without a seed",
        [{"batch_size": 5, "epochs": 4}, {"batch_size": 5, "epochs": 2}],
        stop_after=1,
    ),
    Case("nothing to do", [{"batch_size": 5, "epochs": 2, "initial_epoch": 2, "seed": 1}]),
]


def regression() -> tuple[tg.Sequential, Callable[[int], tuple[Any, Any]]]:
    model = tg.Sequential([tg.Input((3,)), L.Dense(6, "tanh"), L.Dense(2)])
    model.compile("sgd", "mean_squared_error", metrics=["mae", "mse"])

    def data(rows: int) -> tuple[Any, Any]:
        numbers = np.random.default_rng(rows).standard_normal((rows, 5), np.float32)
        return numbers[:, :3], numbers[:, 3:]

    return model, data


def classes() -> tuple[tg.Sequential, Callable[[int], tuple[Any, Any]]]:
    model = tg.Sequential(
        [tg.Input((3,)), L.Dense(8, "relu"), L.Dropout(0.25), L.Dense(4, "softmax")]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(tg.optimizers.Adam(0.01), loss, metrics=["accuracy", loss])

    def data(rows: int) -> tuple[Any, Any]:
        x, _ = regression()[1](rows)
        return x, np.arange(rows, dtype=np.int32) % 4

    return model, data


def normalized() -> tuple[tg.Sequential, Callable[[int], tuple[Any, Any]]]:
    model = tg.Sequential(
        [tg.Input((3,)), L.Dense(6), L.BatchNormalization(), L.ReLU(), L.Dense(1, "sigmoid")]
    )
    optimizer = tg.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy", "mean_squared_error"])

    def data(rows: int) -> tuple[Any, Any]:
        x, _ = regression()[1](rows)
        return x, (x[:, :1] > 0).astype(np.float32)

    return model, data


NAMES = {
    "batch_size": "batchSize",
    "initial_epoch": "initialEpoch",
    "validation_split": "validationSplit",
}


def here(make: Callable[..., Any], case: Case) -> dict[str, Any]:
    naming.reset()
    tg.random.seed(1)
    model, data = make()
    x, y = data(case.rows)
    runs = []
    for given in case.fits:
        options = dict(given)
        if "validation_rows" in options:
            options["validation_data"] = data(options.pop("validation_rows"))
        seen: list[Any] = []

        def ended(epoch: int, logs: Any, seen: list[Any] = seen) -> None:
            seen.append([epoch, dict(logs)])
            model.stop_training = epoch == case.stop_after

        callback = tg.callbacks.LambdaCallback(on_epoch_end=ended)
        history = model.fit(x, y, verbose=0, callbacks=[callback], **options)
        runs.append({"epoch": history.epoch, "history": history.history, "seen": seen})
    size = case.fits[0]["batch_size"]
    evaluated = model.evaluate(x, y, size, verbose=0, return_dict=True)
    return {"runs": runs, "evaluated": evaluated, "weights": weights_of(model)}


def for_page(data: Callable[[int], Any], case: Case) -> dict[str, Any]:
    fits = []
    x, y = map(for_js, data(case.rows))
    for given in case.fits:
        options = {NAMES.get(name, name): value for name, value in given.items()}
        if "validation_rows" in options:
            options["validationData"] = [*map(for_js, data(options.pop("validation_rows")))]
        fits.append({"x": x, "y": y, "options": options})
    return {"fits": fits, "stopAfter": case.stop_after}


def numbers(value: Any) -> list[float]:
    """All numbers in nested lists and dicts, in order."""
    parts = value.values() if isinstance(value, dict) else value
    return [x for part in parts for x in ([part] if is_number(part) else numbers(part))]


def structure(value: Any) -> Any:
    """The same lists and dicts without the numbers."""
    if isinstance(value, dict):
        return [(key, structure(part)) for key, part in value.items()]
    return None if is_number(value) else [structure(part) for part in value]


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


@pytest.mark.parametrize("make", [regression, classes, normalized])
def test_both_loops_do_the_same(
    make: Callable[..., Any], places: dict[str, Run], tmp_path: Path
) -> None:
    tg.random.seed(1)
    model, data = make()
    export(model, tmp_path, *SIZES, deterministic=True)
    expected = [here(make, case) for case in CASES]
    given = {"cases": [for_page(data, case) for case in CASES]}
    for where, run in places.items():
        answers = run(tmp_path, "loop", given)
        worst = 0.0
        for case, mine, theirs in zip(CASES, expected, answers, strict=True):
            what = f"{case.name}, {where}"
            weights = from_js(theirs.pop("weights"))
            ours = {name: mine[name] for name in ("runs", "evaluated")}
            if case.whole:
                assert theirs == ours, what
                assert_same_bits(weights, mine["weights"], what)
            else:
                # Masked sums add up in another order than those of the exact rows.
                assert structure(theirs) == structure(ours), what
                np.testing.assert_allclose(
                    numbers(theirs), numbers(ours), rtol=2e-6, atol=2e-6, err_msg=what
                )
                worst = max(worst, largest_difference(weights, mine["weights"]))
        print(f"{make.__name__}, {where}: weights after partial batches within {worst:.2g}")
        assert worst < 1e-5


@pytest.mark.parametrize("make", [regression, classes, normalized])
def test_a_page_goes_on_where_the_laptop_stopped(
    make: Callable[..., Any], in_node: Run, tmp_path: Path
) -> None:
    """Weights, the optimizer's slots, the dropout's and the shuffle's state go into the export."""
    model, data = make()
    x, y = data(20)
    model.fit(x, y, 5, epochs=2, verbose=0)
    export(model, tmp_path, 5, deterministic=True)
    history = model.fit(x, y, 5, epochs=3, verbose=0).history
    fits = [{"x": for_js(x), "y": for_js(y), "options": {"epochs": 3}}]
    found = in_node(tmp_path, "train", {"fits": fits})
    assert found["histories"][0]["history"] == history
    assert_same_bits(from_js(found["weights"]), weights_of(model), "Node")
