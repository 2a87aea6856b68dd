"""`tabgrad doctor` says what there is, what is wrong and what to do, whatever an engine does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tabgrad import doctor, realize
from tabgrad.__main__ import main
from tabgrad.errors import EngineError
from tabgrad.targets.wasm import operations


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures a small product and map, a moment each."""
    monkeypatch.setattr(doctor, "SIDE", 32)
    monkeypatch.setattr(doctor, "ELEMENTS", 1 << 10)
    best = doctor._best
    monkeypatch.setattr(doctor, "_best", lambda run, seconds=0.0: best(run, 0.0))


def test_this_laptop() -> None:
    """As users call it, in processes of its own."""
    command = [sys.executable, "-m", "tabgrad", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["cores"] == os.cpu_count() and found["memory"]["total"] > 1 << 28
    assert list(found["engines"]) == ["wasm", "webgpu", "jax"]
    wasm = found["engines"]["wasm"]
    assert wasm["available"] and wasm["version"].startswith("wasmtime ")
    assert wasm["precision"]["exp (ULP)"] <= 2 and wasm["precision"]["tanh (ULP)"] <= 4
    assert wasm["benchmark"].keys() == {"matmul GFLOP/s", "map GB/s", "launch us"}
    assert all(rate > 0 for rate in wasm["benchmark"].values())
    for engine in found["engines"].values():  # whatever this machine has
        assert engine["available"] or engine["why"]
    text = doctor.text(found)
    assert "wasm: available" in text and "matmul GFLOP/s" in text


def test_a_gpu_is_described() -> None:
    from tools.gpu import provide_adapter

    provide_adapter()
    found = doctor.alone("webgpu")
    assert found["available"], found
    assert {"adapter", "driver", "backend", "software", "limits", "features"} <= found.keys()
    assert found["precision"]["exp (ULP)"] <= 4
    assert ("advice" in found) == found["software"]
    assert "  adapter:" in doctor.text(report_of(webgpu=found))


def report_of(**engines: Any) -> dict[str, Any]:
    rest = doctor.report(only={})
    return {**rest, "engines": engines}


def test_imprecise_functions_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = operations._OPERATIONS["exp"]
    monkeypatch.setitem(operations._OPERATIONS, "exp", lambda *args: right(*args) * 1.001)
    found = doctor.alone("wasm")
    assert found["precision"]["exp (ULP)"] > 8000  # a thousandth is 8389 units of 2**-23
    assert found["precision"]["log (ULP)"] <= 2


def test_missing_packages_name_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    found = doctor.report()
    assert not any(engine["available"] for engine in found["engines"].values())
    text = doctor.text(found)
    assert (
        "webgpu: not available: the package wgpu is not installed. Run: "
        "pip install 'tabgrad[gpu]'\n" in text
    )
    assert "jax: not available: the package jax is not installed. Run: pip install" in text
    assert "  numpy:        not installed. Run: pip install numpy (for " in text


@pytest.mark.parametrize("error", [EngineError("no adapter"), RuntimeError("odd"), OSError("lost")])
def test_an_engine_that_fails_says_why(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, deterministic: bool) -> Any:
        raise error

    monkeypatch.setattr(realize, "make_engine", fails)
    found = doctor.alone("webgpu")
    assert not found["available"] and str(error) in found["why"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "its process ended with -6: it said nothing"),
        ("raise SystemExit('driver is broken')", "its process ended with 1: driver is broken"),
        ("import time; time.sleep(60)", "nothing came of it: "),
    ],
)
def test_a_crash_takes_nothing_with_it(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run
    monkeypatch.setattr(doctor, "PATIENCE", 5)
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda command, **kw: run([sys.executable, "-c", code], **kw)
    )
    found = doctor.report(only={"wasm": ""})
    assert said in found["engines"]["wasm"]["why"]
    assert f"wasm: not available: {said}" in doctor.text(found)


def test_a_process_prints_one_engine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--engine", "wasm"])
    assert json.loads(capsys.readouterr().out)["available"]
