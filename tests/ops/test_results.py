"""tests/ops/RESULTS.md lists every public operation; what one run found, the next does not redo."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.ops import results
from tests.ops.comparing import Case
from tests.ops.engines import chosen
from tests.ops.slopes import derivatives_of
from tests.ops.test_table import CASES, NOT_ON_TENSORS, public_names


def rows() -> list[list[str]]:
    """The cells of every row of the table in RESULTS.md."""
    text = results.DOCUMENT.read_text(encoding="utf-8")
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return found[2:]


def test_every_operation_has_results() -> None:
    listed = {row[0] for row in rows()}
    assert listed == public_names() - NOT_ON_TENSORS, "run make test-all and commit what it writes"


def test_all_pass() -> None:
    assert not [row for row in rows() if row[-1] != "pass"]


def test_a_run_goes_on_where_another_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "CACHE", tmp_path / "table.json")
    done: list[Any] = []

    class Pool:
        """Runs what it is given at once, in this process."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, function: Any, job: results.Job) -> Any:
            done.append(job)
            future: Future[Any] = Future()
            future.set_result({"error": 0.5, "bound": 2, "wrong": []})
            return future

    monkeypatch.setattr(results, "ProcessPoolExecutor", Pool)
    relu, exp = results.Job("relu", "wasm"), results.Job("exp", "wasm")
    keys = {"relu wasm": "a", "exp wasm": "b"}
    results.run_all([relu], keys, 1)
    assert done == [relu]
    first = results.run_all([relu, exp], keys, 1)
    assert done == [relu, exp]
    assert first["exp wasm"]["error"] == 0.5
    results.run_all([relu, exp], {**keys, "relu wasm": "changed"}, 1)
    assert done == [relu, exp, relu]
    assert re.findall(r"(\d+) of them to run", capsys.readouterr().out) == ["1", "1", "1"]


def test_a_wrong_gradient_is_found() -> None:
    import tabgrad as tg

    @tg.custom_gradient
    def wrong(x: Any) -> Any:
        return tg.exp(x), lambda upstream: upstream * tg.exp(x) * 1.001

    case = next(case for case in CASES if case.op == "custom_gradient" and not case.label)
    with chosen("reference"):
        right = derivatives_of("custom", [Case("exp", "", tg.exp, case.oracle, case.inputs, 2)])
        found = derivatives_of("custom", [Case("exp", "", wrong, case.oracle, case.inputs, 2)])
    assert right.outcome == "2nd order" and not right.wrong
    assert found.outcome == "wrong" and "difference quotient" in found.wrong[0]
