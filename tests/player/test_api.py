"""What callers of the player's API get, in Node and in Chromium with a strict policy.

The model is a line fitted by SGD (linear.py), so NumPy says what every bit must be.
"""

from __future__ import annotations

import numpy as np
import pytest

from tabgrad.formats import safetensors
from tests.player.linear import Oracle, shuffled


def bits(values):
    return np.asarray(values, np.float32).view(np.uint32).tolist()


def training_data(rows=21):
    x = np.linspace(-1, 1.5, rows, dtype=np.float32)[:, None]
    return x, np.float32(3) * x - np.float32(1) + np.sin(40 * x, dtype=np.float32) / 8


def test_describes_itself(play):
    found = play("describe")
    assert found["engine"] == "wasm"
    assert found["worker"] == (play.where == "worker")
    assert found["title"] == "A line <fitted> & tested"
    assert found["names"][:3] == [["predict", 1], ["train_step", 1], ["evaluate", 1]]
    assert found["step"]["inputs"][0] == {
        "name": "x",
        "shape": [1, 1],
        "dtype": "float32",
        "rows": True,
    }
    assert found["step"]["state"][:2] == ["linear/kernel", "linear/bias"]


def test_predicts_any_number_of_rows(play):
    sizes = [1, 2, 3, 7, 8, 9, 11, 16, 31, 33]
    inputs = [training_data(rows)[0] for rows in sizes]
    results = play("predict", [x.tolist() for x in inputs])
    for x, result in zip(inputs, results):
        assert result["shape"] == [len(x), 1]
        assert (result["dtype"], result["type"]) == ("float32", "Float32Array")
        assert bits(result["data"]) == bits(Oracle().predict(x).ravel())


def test_takes_inputs_in_many_forms(play):
    expected = Oracle().predict(np.array([[1], [2], [3]])).tolist()
    *results, from_result = play("inputForms")
    assert results == [expected] * len(results)
    inner = Oracle().predict(np.array([[2], [6], [10]]))
    assert from_result == Oracle().predict(inner).tolist()


def test_inputs_and_results_belong_to_the_caller(play):
    found = play("ownership")
    expected = Oracle().predict(np.array([[1], [2]])).tolist()
    assert found["first"] == expected
    assert found["second"] == expected
    assert found["kept"] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 3},
        {"epochs": 3, "seed": 1},
        {"epochs": 2, "seed": -3, "batchSize": 1},
        {"epochs": 3, "shuffle": False},
        {"epochs": 5, "initialEpoch": 3, "seed": 123456789012},
    ],
    ids=str,
)
def test_fit_is_the_oracle_to_the_bit(play, options):
    x, y = training_data()
    found = play("fit", {"x": x.tolist(), "y": y.tolist(), "options": options})

    oracle = Oracle()
    epochs = range(options.get("initialEpoch", 0), options["epochs"])
    logs = []
    for epoch in epochs:
        order = range(len(x))
        if options.get("shuffle", True):
            order = shuffled(len(x), options.get("seed", 7) & 0xFFFFFFFF, epoch)
        logs.append(oracle.epoch(x, y, order, options.get("batchSize", 8)))
    assert found["epoch"] == list(epochs)
    assert found["history"] == {name: [log[name] for log in logs] for name in logs[0]}
    assert found["epochs"] == [list(pair) for pair in zip(epochs, logs)]
    assert bits(found["weights"]["linear/kernel"]) == bits([[oracle.kernel]])
    assert bits(found["weights"]["linear/bias"]) == bits([oracle.bias])
    assert found["same"], "callbacks change the training"


@pytest.mark.parametrize("given", ["split", "data", "both"])
def test_fit_validates(play, given):
    x, y = training_data(21)
    vx, vy = training_data(13)
    options = {"epochs": 2}
    kept = 21
    if given in ("split", "both"):
        options["validationSplit"] = 0.3
    if given in ("data", "both"):
        options["validationData"] = [vx.tolist(), vy.tolist()]
    else:
        kept = 14  # floor(21 * 0.7)
        vx, vy = x[kept:], y[kept:]
    found = play("fit", {"x": x.tolist(), "y": y.tolist(), "options": options})

    oracle = Oracle()
    logs = []
    for epoch in range(2):
        log = oracle.epoch(x, y, shuffled(kept, 7, epoch))
        measured = oracle.evaluate(vx, vy)
        logs.append(log | {f"val_{name}": value for name, value in measured.items()})
    assert found["history"] == {name: [log[name] for log in logs] for name in logs[0]}


@pytest.mark.parametrize("rows", [1, 8, 13])
def test_evaluates(play, rows):
    x, y = training_data(rows)
    found = play("evaluate", {"x": x.tolist(), "y": y.tolist(), "sizes": [1, 8]})
    assert found == [Oracle().evaluate(x, y, size) for size in (1, 8, 8)]


def test_runs_functions_by_name(play):
    found = play("functions")
    assert found["object"] == [[10, 20, 30], 6]
    assert found["array"] == 9
    assert found["whole"] == [3, 3, 7, 7, 11, 11, 15, 15]
    assert found["wholeTwice"] == [16]
    assert found["counts"] == [0, 1, 2]
    assert found["temporaries"] == [-1, -2, -3, -4]
    for case, code, words in [
        ("tooMany", "rows", "1 to 8 rows, received 9"),
        ("notWhole", "rows", "takes 8 rows, received 3"),
        ("missing", "inputs", "factor"),
        ("few", "inputs", "2 values"),
        ("unknown", "entry", "predict, train_step, evaluate, scaled"),
    ]:
        assert found[case]["code"] == code
        assert words in found[case]["message"]


def test_bad_inputs_are_clear_errors_and_change_nothing(play):
    found = play("badInputs")
    expected = {
        "shape": ("shape", '"x" needs shape [n, 1] (n rows), received shape [1, 2]'),
        "rank": ("shape", "received shape [1, 2, 2]"),
        "scalar": ("shape", "received a single value"),
        "ragged": ("shape", "ragged"),
        "raggedDeep": ("shape", "ragged"),
        "text": ("dtype", 'expected numbers, received "a" at position 0'),
        "nothing": ("shape", "received a single value"),
        "nulls": ("dtype", "received null"),
        "empty": ("empty", "no rows"),
        "emptyTyped": ("empty", "no rows"),
        "product": ("shape", "3 values for shape [2, 1]"),
        "rows": ("shape", '"x" has 8 rows, "y" has 7'),
        "batchSize": ("batch_size", "batchSize 3 is not in this export, which has 1, 8"),
        "evaluateBatchSize": ("batch_size", "1, 8"),
        "predictBatchSize": ("batch_size", "1, 8"),
        "epochs": ("option", "epochs: expected a whole number of at least 1, received 0"),
        "seed": ("option", "seed"),
        "split": ("option", "validationSplit"),
        "splitAll": ("option", "leaves 0 to train on"),
        "validationData": ("option", "validationData"),
        "validationRows": ("shape", '"x" has 8 rows, "y" has 1'),
        "callback": ("option", "onEpochEnd: expected a function"),
        "noInitial": ("no_initial", "initial"),
        "weightsType": ("dtype", "bytes of a file"),
    }
    for case, (code, words) in expected.items():
        error = found["errors"][case]
        assert error.get("name") == "TabgradError", (case, error)
        assert error["code"] == code, case
        assert words in error["message"], case
    assert found["errors"].keys() == expected.keys()


def test_labels_are_checked(play):
    found = play("badLabels", labels=True)
    assert found["fine"] == 1
    expected = {
        "high": ("label", "classes 0 to 9, received 10 at position 1"),
        "low": ("label", "received -1 at position 0"),
        "fraction": ("dtype", '"y" is int32: expected whole numbers, received 0.5'),
        "typed": ("label", "received 12"),
        "floats": ("dtype", "received 2.5"),
        "huge": ("dtype", "int32"),
        "nan": ("dtype", "received NaN"),
    }
    for case, (code, words) in expected.items():
        assert found["errors"][case]["code"] == code, case
        assert words in found["errors"][case]["message"], case


def test_a_trap_is_an_error_and_leaves_the_weights(play):
    found = play("trap")
    for error in found["errors"]:
        assert (error["name"], error["code"]) == ("TabgradError", "trap")
        assert "unreachable" in error["message"]
    assert found["before"] == found["after"]
    assert found["usable"]


def test_a_loss_that_is_not_finite_stops(play):
    found = play("nan")
    oracle = Oracle()
    row = np.array([[1e4]])
    with np.errstate(over="ignore", invalid="ignore"):
        losses = [oracle.epoch(row, row / 1e4, [0])["loss"] for _ in range(10)]
    first = int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
    assert found["explode"]["code"] == "nan_loss"
    assert f"epoch {first};" in found["explode"]["message"]
    assert found["nan"]["code"] == "nan_loss"
    assert "epoch 1;" in found["nan"]["message"]
    assert found["before"] == found["after"]


def test_aborting_restores_and_stopping_keeps(play):
    found = play("abort")
    for case in ("aborted", "already"):
        assert (found[case]["name"], found[case]["code"]) == ("TabgradError", "aborted")
    assert found["inCallback"] | {"code": None} == {
        "name": "RangeError",
        "message": "from the callback",
        "code": None,
    }
    assert found["inProgress"]["message"] == "from the progress"
    assert found["before"] == found["after"]
    assert found["stopped"] == [0, 1, 2, 3, 4]
    assert found["asynchronous"] == [0, 1]
    assert found["learnt"] != found["after"]


def test_the_model_answers_while_it_is_trained(play):
    found = play("meanwhile")
    assert found["predicted"] == [1, 1]
    assert found["saved"] > 0
    assert found["stillRunning"]
    assert found["evaluated"].keys() == found["before"].keys()
    assert [error["code"] for error in found["busy"]] == ["busy"] * 3
    assert found["before"] == found["after"]
    assert found["histories"][0] == found["histories"][1]


def test_saves_and_loads_weights(play):
    found = play("saving")
    assert found["trained"] != found["further"]
    assert found["trained"] == found["back"] == found["elsewhere"]
    assert found["same"], "a file that was refused changed the weights"
    arrays = safetensors.loads(bytes(found["bytes"]))
    assert arrays.keys() == {"linear/kernel", "linear/bias"}
    kernel = arrays["linear/kernel"]
    assert (kernel.shape, kernel.dtype.name) == ((1, 1), "float32")
    assert np.frombuffer(kernel.data, "<f4").tolist() == found["trained"]["linear/kernel"][0]
    codes = {name: error["code"] for name, error in found["errors"].items()}
    assert codes == {
        "truncated": "truncated",
        "short": "truncated",
        "garbage": "truncated",
        "json": "corrupt",
        "other": "weights",
    }


def test_a_disposed_model_says_so(play):
    found = play("disposed")
    assert found["during"]["code"] == "disposed"
    assert found["after"]["code"] == "disposed"


def test_memory_stays_flat(play):
    """Thousands of calls; a leak of one dataset a call would end in an out-of-memory error."""
    assert play("many", {"count": 60}) == 600
