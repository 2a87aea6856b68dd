"""The bench of a page's GPU: one workload through the whole of it, and what its report says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bench import gpu, workloads
from bench.site import ROOT
from bench.workloads import graphics


def _row(**medians: float) -> dict[str, Any]:
    return {"contestants": {name.replace("_", "-"): {"min": ms} for name, ms in medians.items()}}


def test_who_is_faster_by_what() -> None:
    row = _row(tabgrad_webgpu=2.0, jax_webgpu=3.0, tfjs_webgpu=18.0, tabgrad_webgl=5.0)
    assert gpu.times(row, "webgpu") == (1.5, "jax-webgpu")
    assert gpu.times(row, "webgpu", "tfjs-webgpu") == (9.0, "tfjs-webgpu")
    assert gpu.times(row, "webgl") is None
    assert (
        gpu.judged("train/mlp", row)
        == "webgpu 8 tfjs: 9; webgpu 1.2 jax: 1.5; webgl 1.5 tfjs: unknown"
    )
    row = _row(tabgrad_webgl=5.0, tfjs_webgl=4.0)
    assert gpu.judged("matmul/1024", row) == "webgpu 1.5 best: unknown; webgl 1.5 best: MISSED, 0.8"
    assert gpu.judged("chain/4Mi", row) == "-"


def test_the_report_is_that_of_the_results() -> None:
    results = gpu.read()
    assert gpu.MARKDOWN.read_text(encoding="utf-8") == gpu.text(
        results["facts"], results["workloads"]
    )


def test_a_batch_for_software_adapters() -> None:
    whole, small = graphics.ALL["train/cnn"], graphics.ALL["train/cnn-8"]
    assert small.name == "train/cnn-8"
    arrays = small.arrays()
    assert [len(arrays[name]) for name in ("x", "y")] == [8, 8]
    assert small.flops == whole.flops / 8
    (step,) = small.functions(arrays).values()
    counted = step.program(arrays["x"], arrays["y"]).entries[0].flops
    assert 0.5 < counted / small.flops < 1.1  # as tests/bench/test_models.py has it for 64
    assert "jax" not in whole.cannot and {"ort", "tfjs"} <= whole.cannot.keys()
    assert [*graphics.ALL] == [each.name for each in graphics.ALL.values()]
    # A chain of one product is that product.
    once = graphics.ALL["matmul/1024"]
    assert once.repeats == 1 and once.flops == workloads.ALL["matmul/1024"].flops


def test_figures_that_a_run_leaves_alone_keep_their_commit() -> None:
    first = {**_row(tabgrad_webgpu=2.0, jax_webgpu=3.0), "commit": "one"}
    second = gpu.kept(first) | {"tabgrad-webgpu": {"min": 1.0}}
    assert second == {"tabgrad-webgpu": {"min": 1.0}, "jax-webgpu": {"min": 3.0, "commit": "one"}}
    third = gpu.kept({"contestants": second, "commit": "two"})
    assert {name: found["commit"] for name, found in third.items()} == {
        "tabgrad-webgpu": "two",
        "jax-webgpu": "one",
    }
    cells = {name: {"reason": "none", "commit": found["commit"]} for name, found in third.items()}
    said = gpu.text({"commit": "three"}, {"train/mlp": {"contestants": cells, "commit": "three"}})
    assert "- some figures were measured at earlier commits: one, two" in said
    assert gpu.kept(None) == {}


@pytest.mark.slow
def test_a_round_of_one_workload() -> None:
    command = [sys.executable, "-m", "bench.gpu", "--only", "^matmul/256$", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--keep", "--contestants", "^tabgrad"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(":") for line in done.stdout.splitlines() if line.startswith("    tabgrad")]
    assert [name.strip() for name, _ in rows] == ["tabgrad-webgpu", "tabgrad-webgl"]
    assert all("GFLOP/s" in figures for _, figures in rows), done.stdout
