"""The bench's other programs: how long a run takes, shares of threads, code generators, memory."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench import generators, image, launches, run, shares, workloads
from bench.site import ROOT


def test_how_long_a_run_would_take() -> None:
    def row(median: float, repeats: int = 1) -> dict[str, object]:
        return {"median": median, "repeats": repeats}

    cells = {"a": row(1.0), "b": row(50.0, 4), "c": row(2000.0), "d": {"reason": "none"}}
    found = run.seconds_of({"contestants": cells}, 5.0, 10, visits=False)
    warm = 3 * 0.3
    assert found == pytest.approx(5.0 + warm + 10 * 0.06 + 10 * 0.2 + 2 * 2.0)
    assert run.seconds_of({"contestants": {}}, 4.0, 10, visits=True) == 22.0


def test_shares_of_two_threads() -> None:
    made = image.of_workload(workloads.ALL["matmul/128"], relaxed=True)
    found = shares.shared(made, 3)
    assert len(found) == len(launches.parts_of(made.program)) > 0
    largest = max(found, key=lambda one: one.alone)
    assert 0 < largest.shares[0] < largest.alone and 0 < largest.shares[1] < largest.alone
    assert largest.lost == pytest.approx(max(largest.shares) - largest.alone / 2)
    assert "contractions" in largest.text()


@pytest.mark.parametrize("relaxed", [True, False])
def test_generators_run_what_a_page_would(relaxed: bool) -> None:
    made = image.of_workload(workloads.ALL["matmul/64"], relaxed=relaxed)
    assert ("relaxed-simd" in made.program.features) == relaxed
    makers = {name: make for name, (_, make) in generators.generators().items()}
    assert "wasmtime" in makers
    with generators.by_wasmtime(made) as timed:
        if made.derives:
            timed(len(made.program.entries), 1)
        assert timed(0, 10) > 0


@pytest.mark.slow
def test_the_memory_of_a_page() -> None:
    command = [sys.executable, "-m", "bench.run", "--only", "^memory/mlp$", "--keep"]
    done = subprocess.run(
        [*command, "--contestants", "^tabgrad$"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"memory/mlp, ([\d.]+) MB", done.stdout)
    assert found is not None, done.stdout
    assert 2 < float(found[1]) < 80  # the engine's heap alone has 2 MB
