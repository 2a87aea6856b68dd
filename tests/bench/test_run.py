"""One workload through the whole bench: every contestant, one round, a table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.contestants import ALL, version
from bench.site import ROOT


@pytest.mark.slow
def test_a_round_of_one_workload() -> None:
    columns = ["tabgrad", "tfjs-wasm", "tfjs-cpu", "ort-wasm", "jax-wasm", "wasmtime"]
    pattern = f"^({'|'.join(columns)})$"
    command = [sys.executable, "-m", "bench.run", "--only", "^matmul/64$", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--keep", "--contestants", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    header = next(line for line in lines if line.startswith("| workload |"))
    row = next(line for line in lines if line.startswith("| matmul/64 |"))
    cells = dict(zip(header.split("|"), row.split("|"), strict=True))
    assert [name.strip() for name in cells][6:] == columns
    known = {each.name: each for each in ALL}
    for name in columns:
        # The peers are development dependencies of the bench alone.
        contestant = known[name]
        there = contestant.is_tabgrad or version(contestant.package) is not None
        assert ("(" in cells[f" {name} "]) == there, f"{name}: {done.stdout}"
        if not there:
            assert f"- {name}: matmul/64: {contestant.package} is not installed" in lines
