"""`make demo`'s program: the same results here and in the page, and no browser is no failure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_demo(**environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.demo"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page_computes_what_this_machine_computes():
    printed = run_demo()
    here, sent, trained = map(float, re.findall(r"prediction for 5: ([\d.]+)", printed))
    assert abs(here - 9) < 1.3  # from any initial weight
    assert sent == pytest.approx(here, abs=2e-6)
    assert trained == pytest.approx(here, abs=2e-6)
    here, sent, trained = map(float, re.findall(r"([\d.]+) % of held-out digits right", printed))
    assert here >= 98
    assert sent == here
    assert trained >= 98
    (apart,) = re.findall(r"probabilities within (\S+)", printed)
    assert float(apart) < 1e-5
    command = printed.strip().splitlines()[-1].split()
    assert command[:-1] == [".venv/bin/python", "-m", "tabgrad", "serve"]
    for name in ("seed", "digits"):
        assert (ROOT / command[-1] / name / "index.html").is_file()


@pytest.mark.slow
def test_without_a_browser_it_does_the_rest(tmp_path):
    printed = run_demo(PATH=str(tmp_path), CHROMIUM="")
    assert len(re.findall(r"prediction for 5: ", printed)) == 1
    assert len(re.findall(r"held-out digits right", printed)) == 1
    assert "Left out: the same two models inside a browser page" in printed
    assert "sudo apt-get install -y chromium" in printed
