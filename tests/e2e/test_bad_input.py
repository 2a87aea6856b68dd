"""What a visitor's program gets wrong with a real exported model: a clear error, and the model
goes on as before, its optimizer included. What is wrong with calls in general is tested on the
player's own model in tests/player."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.models import digits_data, digits_model, export, for_js

if TYPE_CHECKING:
    from tests.e2e.conftest import Run


def _values(value: Any) -> Any:
    """The arguments of a call as places.js takes them."""
    return for_js(value) if isinstance(value, np.ndarray) else value


def test_calls_that_fail_change_nothing(places: dict[str, Run], tmp_path: Path) -> None:
    x, y = digits_data()[0][:40], digits_data()[2][:40]
    spoilt = x.copy()
    spoilt[20, 3, 3] = np.nan
    wild = x.copy()
    wild[39] = np.inf
    high, low = y.copy(), y.copy()
    high[7], low[8] = 10, -1
    cases: dict[str, tuple[list[Any], str, list[str]]] = {
        "image shape": (["fit", x[:, :, :7], y], "shape", ["[n, 8, 8, 1]", "[40, 8, 7, 1]"]),
        "predict shape": (["predict", x[:, 1:]], "shape", ["[40, 7, 8, 1]"]),
        "other lengths": (["fit", x, y[:39]], "shape", ["40", "39"]),
        "no rows": (["fit", x[:0], y[:0]], "empty", ["no rows"]),
        "no rows to predict": (["predict", x[:0]], "empty", ["no rows"]),
        "no rows to evaluate": (["evaluate", x[:0], y[:0]], "empty", ["no rows"]),
        "label above": (["fit", x, high], "label", ["0 to 9", "received 10 at position 7"]),
        "label below": (["evaluate", x, low], "label", ["received -1 at position 8"]),
        "batch size": (["fit", x, y, {"batchSize": 7}], "batch_size", ["8, 32", "batch_sizes="]),
        "nan": (["fit", spoilt, y, {"epochs": 3}], "nan_loss", ["epoch 1", "NaN in the data"]),
        "infinity": (["fit", wild, y], "nan_loss", ["the weights are as before"]),
    }
    calls = [[name, *map(_values, call)] for name, (call, _, _) in cases.items()]
    model = digits_model(tg.optimizers.Adam())
    model.fit(x, y, epochs=2, verbose=0)
    export(model, tmp_path, 8, 32, deterministic=True)
    history = model.fit(x, y, epochs=2, verbose=0, seed=4).history
    after = {"x": for_js(x), "y": for_js(y), "options": {"epochs": 2, "seed": 4}}
    for where, run in places.items():
        found = run(tmp_path, "failures", {"calls": calls, "then": after})
        for name, (_, code, words) in cases.items():
            error = found["errors"][name]
            assert error.get("name") == "TabgradError", (where, name, error)
            assert error["code"] == code, (where, name, error)
            for word in words:
                assert word in error["message"], (where, name, error)
        assert found["same"], where
        # Slots, random state and counters are as if nothing had happened, too.
        for key, losses in history.items():
            np.testing.assert_allclose(found["history"][key], losses, rtol=2e-6, err_msg=where)


def test_rows_that_fill_no_batch(places: dict[str, Run], tmp_path: Path) -> None:
    """A batch larger than the data, and a single row: no error at all."""
    x, y = digits_data()[0], digits_data()[2]
    model = digits_model(tg.optimizers.Adam())
    export(model, tmp_path, deterministic=True)
    expected = []
    for rows in (1, 5):
        expected.append(model.fit(x[:rows], y[:rows], 32, 2, verbose=0, seed=1).history)
    options = {"epochs": 2, "seed": 1}
    fits = [{"x": for_js(x[:n]), "y": for_js(y[:n]), "options": options} for n in (1, 5)]
    for where, run in places.items():
        histories = [
            each["history"] for each in run(tmp_path, "train", {"fits": fits})["histories"]
        ]
        for found, wanted in zip(histories, expected, strict=True):
            for key, values in wanted.items():
                np.testing.assert_allclose(found[key], values, rtol=5e-6, err_msg=where)


def test_fit_of_a_model_that_was_not_compiled(in_node: Run, tmp_path: Path) -> None:
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(2)])
    export(model, tmp_path)
    x = np.zeros((4, 3), np.float32)
    calls = [["fit", "fit", for_js(x), for_js(x)], ["evaluate", "evaluate", for_js(x), for_js(x)]]
    errors = in_node(tmp_path, "failures", {"calls": calls})["errors"]
    for error in errors.values():
        assert error["code"] == "not_trainable"
        assert "call compile() before tg.export()" in error["message"]


@pytest.mark.parametrize("file", ["model.json", "kernels.wasm", "weights.safetensors"])
def test_a_damaged_export_is_refused(file: str, in_chromium: Run, tmp_path: Path) -> None:
    export(digits_model("sgd"), tmp_path, deterministic=True)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Exception, match=rf"TabgradError: .*{file}.*(not JSON|says|refused)"):
        in_chromium(tmp_path, "train", {"fits": []})
