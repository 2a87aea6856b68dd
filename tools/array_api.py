"""Run the Array API's conformance suite on tabgrad and write docs/array-api.md.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    pip install -r array-api-tests/requirements.txt
    python -m tools.array_api array-api-tests

The suite draws its inputs at random, so a few runs with many examples say more than one: see
`--max-examples`. Failures are listed with a reason from `REASONS`; one without is a bug to find.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "array-api.md"

# Part of a test's name -> why it cannot pass. What is not here is expected to pass.
REASONS: dict[str, str] = {}

HEAD = """# Array API conformance

`tabgrad` is an [Array API](https://data-apis.org/array-api/2024.12/) namespace, version 2024.12,
with the `linalg` and `fft` extensions. This page is written by `make array-api SUITE=<path>`
(tools/array_api.py), which runs the public suite
[data-apis/array-api-tests](https://github.com/data-apis/array-api-tests).

What differs from NumPy, and is allowed by the standard:

- The default dtypes are float32, int32 and complex64. `asarray` turns Python floats and NumPy's
  float64 into float32 unless `dtype` is given; `from_dlpack` keeps dtypes.
- There is one device, "cpu": the engine chosen by `tg.set_engine` gets at all values by itself.
- Values never change. `x[i] = v` and `x += v` make `x` stand for a new value; other tensors that
  shared the old one keep it. `x.at[i].set(v)` returns the new value.
- `from_dlpack` and `__dlpack__` copy, with `ctypes` alone: an engine's memory may move.
- Data-dependent shapes (boolean masks, `nonzero`, `unique_*`) work, but raise `CaptureError` inside
  `tg.compile`.
- Mixed kinds promote as in JAX: an integer array beside a float array takes the float's dtype.
"""


class Outcome(NamedTuple):
    """What one test did."""

    file: str
    name: str
    result: str
    message: str


def run(suite: Path, engine: str, examples: int, extra: list[str]) -> list[Outcome]:
    """Run the suite in a process of its own."""
    module = f"exec('import tabgrad as xp; xp.set_engine(\"{engine}\")')"
    environment = os.environ | {
        "ARRAY_API_TESTS_MODULE": module,
        "ARRAY_API_TESTS_VERSION": "2024.12",
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "array_api_tests", "--quiet", "--tb=line"),
                *("-p", "no:cacheprovider", "--disable-deadline", f"--max-examples={examples}"),
                *(f"--junitxml={report}", *extra),
            ],
            cwd=suite,
            env=environment,
            check=False,
        )
        if not report.exists():
            sys.exit(
                "expected the suite to run; it did not. Install what it needs: "
                f"pip install -r {suite / 'requirements.txt'}"
            )
        return [_outcome(case) for case in ElementTree.parse(report).iter("testcase")]


def _outcome(case: ElementTree.Element) -> Outcome:
    file = case.get("classname", "").rpartition(".")[2]
    if not file.startswith("test_"):  # a method of a class
        file = case.get("classname", "").split(".")[1]
    for result in ("failure", "error", "skipped"):
        found = case.find(result)
        if found is not None:
            lines = (found.get("message") or "").strip().splitlines()
            return Outcome(file, case.get("name", ""), result, lines[0] if lines else "")
    return Outcome(file, case.get("name", ""), "passed", "")


def reason(name: str) -> str:
    """Why a test is known not to pass, or what to do about it."""
    return next((why for part, why in REASONS.items() if part in name), "not explained yet")


def document(outcomes: list[Outcome], engine: str, examples: int, version: str) -> str:
    """The page: counts for each file of the suite, then every failure and skip."""
    counts = Counter((o.file, "failed" if o.result in ("failure", "error") else o.result)
                     for o in outcomes)  # fmt: skip
    files = sorted({o.file for o in outcomes})
    passed = sum(o.result == "passed" for o in outcomes)
    ran = sum(o.result != "skipped" for o in outcomes)
    lines = [
        HEAD,
        f"## {passed:,} of {ran:,} tests pass ({passed / ran:.1%})",
        "",
        f"Engine `{engine}`, {examples} examples a test, suite {version}.",
        "",
        "| file | passed | failed | skipped |",
        "|---|---|---|---|",
        *(
            f"| {file} | " + " | ".join(str(counts[file, r]) for r in _COLUMNS) + " |"
            for file in files
        ),
        "",
    ]
    failed = [o for o in outcomes if o.result in ("failure", "error")]
    lines += ["## Failures", ""]
    lines += [f"- `{o.file}::{o.name}`: {reason(o.name)}" for o in failed] or ["None."]
    skipped = Counter(o.message for o in outcomes if o.result == "skipped")
    lines += ["", "## Skipped by the suite itself", ""]
    lines += [f"- {n} tests: {message}" for message, n in sorted(skipped.items())] or ["None."]
    return "\n".join(lines) + "\n"


_COLUMNS = ("passed", "failed", "skipped")


def _version(suite: Path) -> str:
    found = subprocess.run(
        ["git", "-C", str(suite), "log", "-1", "--format=%h (%cs)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "of unknown version"


def main() -> None:
    """Run, write the page, and fail where a failure has no reason."""
    parser = argparse.ArgumentParser(description="Run the Array API's conformance suite.")
    parser.add_argument("suite", type=Path, help="a checkout of data-apis/array-api-tests")
    parser.add_argument("--engine", default="wasm", help="what computes (default wasm)")
    parser.add_argument("--max-examples", type=int, default=10, help="inputs a test (default 10)")
    parser.add_argument("--no-write", action="store_true", help="leave docs/array-api.md alone")
    arguments, extra = parser.parse_known_args()
    if not (arguments.suite / "array-api" / "src").is_dir():
        sys.exit(
            f"expected a checkout with its submodule in {arguments.suite}/array-api; found none. "
            "Run git submodule update --init there"
        )
    outcomes = run(arguments.suite, arguments.engine, arguments.max_examples, extra)
    page = document(outcomes, arguments.engine, arguments.max_examples, _version(arguments.suite))
    if not arguments.no_write:
        DOCUMENT.write_text(page, encoding="utf-8")
    failed = [o for o in outcomes if o.result in ("failure", "error")]
    unexplained = [o.name for o in failed if reason(o.name) == "not explained yet"]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} without failure")
    if unexplained:
        sys.exit("unexplained failures:\n" + "\n".join(unexplained))


if __name__ == "__main__":
    main()
