"""The table of the bench: what is judged as missed, and that every miss has its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import misses, report, workloads


def row(**medians: float) -> dict[str, Any]:
    cells = {
        name.replace("_", "-"): {"median": median, "min": median, "samples": 1}
        for name, median in medians.items()
    }
    machine = {"arithmetic": {"median": 60.0, "best": 60.0}, "copy": {"median": 9.0, "best": 9.0}}
    return {"group": "x", "machine": machine, "contestants": cells, "rounds": 1, "commit": "x"}


def results(**rows: Any) -> dict[str, Any]:
    return {
        "facts": {"commit": "x"},
        "workloads": {n.replace("__", "/"): r for n, r in rows.items()},
    }


def test_what_is_missed() -> None:
    slow = results(train__mlp=row(tabgrad=2.0, tfjs_wasm=19.0, jax_wasm=7.0))
    assert report.missed(slow) == {"train/mlp": "10 tfjs: MISSED, 9.5"}
    fast = results(train__mlp=row(tabgrad=2.0, tfjs_wasm=21.0, jax_wasm=7.0))
    assert report.missed(fast) == {}
    threads = results(infer__minilm=row(tabgrad=10.0, tabgrad_2t=8.0, ort_wasm=30.0))
    assert report.missed(threads) == {"infer/minilm": "1.6 by a second thread: MISSED, 1.25"}
    # Of TensorFlow.js the backend whose speed is compared, not the smallest.
    large = results(memory__minilm=row(tabgrad=150.0, tfjs_wasm=310.0, tfjs_cpu=200.0))
    assert report.missed(large) == {}


def test_reasons_stand_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "misses.md"
    file.write_text(
        "# Why\n\n- figure: of the introduction\n\n## train/*, memory/mlp\n\n- figure: 50 of 60\n"
        "- profile: all in one\n  kernel\n- experiment: without it\n\n"
        "## infer/minilm\n\n- figure: 1\n"
    )
    reasons = misses.read(file)
    assert reasons[0].patterns == ("train/*", "memory/mlp")
    assert reasons[0].items["profile"] == "all in one kernel"
    assert reasons[1].lacking == ["profile", "experiment"]
    missed = dict.fromkeys(("train/cnn", "infer/minilm", "seed/fit"), "MISSED")
    assert misses.unexplained([*missed], reasons) == ["infer/minilm", "seed/fit"]
    lines = misses.section(missed, reasons)
    assert lines[:4] == ["## Misses", "", "### train/cnn", ""]
    assert "- figure: 50 of 60" in lines
    assert "- seed/fit: MISSED: no reason is written yet" in lines


def test_every_miss_of_a_whole_run_has_its_reason() -> None:
    found = report.read()
    if found["workloads"].keys() != workloads.ALL.keys():
        pytest.skip("bench/results.json holds a part of the workloads")
    missing = misses.unexplained([*report.missed(found)], misses.read())
    assert not missing, f"bench/misses.md does not say why; run python -m bench.misses: {missing}"


def test_the_table_is_that_of_the_results() -> None:
    found = report.read()
    assert report.MARKDOWN.read_text() == report.text(found, [*found["workloads"]])
