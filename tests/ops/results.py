"""The whole op table on every engine, and tests/ops/RESULTS.md from what it finds.

    .venv/bin/python -m tests.ops.results [--jobs 2] [name ...]

`make test-all` runs it. What one operation does on one engine is kept in build/op-table.json
under the state of the sources, so a run that was stopped goes on where it was, and after a change
only what the change touches runs again. With names, only those operations run and nothing is
written but the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from tests.ops import slopes
from tests.ops.comparing import Case
from tests.ops.coverage import names_by_function
from tests.ops.engines import ENGINES, PAGE_ENGINES, chosen
from tests.ops.test_table import CASES, NOT_ON_TENSORS, TABLES, public_names, run

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "op-table.json"
DOCUMENT = ROOT / "tests" / "ops" / "RESULTS.md"

NAMES = (
    *(engine if isinstance(engine, str) else engine.values[0] for engine in ENGINES),
    *PAGE_ENGINES,
)
GRADIENT = "gradient"
"""Stands in the place of an engine for the derivatives, which the reference computes."""

ABOVE = ("data/", "formats/", "layers/", "player/", "web/")
"""Folders of the package that no operation runs."""
OF_SHADERS = ("engines/words", "targets/shading/")
"""What all GPUs have in common."""
OF_ENGINES = {
    "webgpu": (*OF_SHADERS, "engines/wgpu", "targets/wgsl/"),
    "webgpu in a page": (*OF_SHADERS, "targets/wgsl/"),
    "webgl in a page": (*OF_SHADERS, "targets/glsl/"),
}
"""What runs on an engine and not on those of the processor."""

HEAD = """# Every operation on every engine

The results of the whole op table (`tests/ops/table_*.py`), written by `make test-all`. Oracles are
NumPy, SciPy, JAX, Keras 3 and mpmath in float64.

- **exact**: every case gives the oracle's bits and dtype. Otherwise the largest error over all
  cases, in units in the last place (of the result, or of the magnitude that is summed), and the
  bound of that case: `0.9 / 2`.
- **kernels** is the compiler's kernels run by NumPy: it tells an error of the compiler from one of
  the emitter of WebAssembly.
- **webgpu** runs on whatever adapter wgpu finds, in the published run SwiftShader. Elements of 64
  bits are refused with the documented error, which counts as passed; *refused* where that is all.
  Subnormal numbers of 32 bits may count as zeros (`comparing.py`).
- **webgpu in a page**, **webgl in a page**: the player's engines in Chromium, in the published run
  on SwiftShader, too.
- **gradient**: derivatives along random directions against finite differences in float64, 1st
  order or 2nd, in the first cases that can be moved; else why there is nothing to check. Files
  `tests/ops/test_*gradients.py` check chosen functions at edges and to higher orders.
"""


class Job(NamedTuple):
    """What one operation does on one engine."""

    op: str
    engine: str

    def __str__(self) -> str:
        return f"{self.op} {self.engine}"


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]


def states(engine: str) -> dict[str, str]:
    """For each operation, the state of everything that its results on an engine depend on (of the
    check of derivatives, for `GRADIENT`)."""
    package = ROOT / "src" / "tabgrad"
    own = OF_ENGINES.get(engine, ())
    leaves = {"engines/page", *ABOVE, *(each for some in OF_ENGINES.values() for each in some)}
    leaves -= set(own)
    common = [
        path
        for path in sorted(package.rglob("*.py"))
        if not path.relative_to(package).as_posix().startswith(tuple(leaves))
    ]
    if engine in PAGE_ENGINES:
        common += sorted((package / "player" / "tabgrad").glob("*.js"))
        common += sorted((ROOT / "tests" / "engines").glob("browser.*"))
    here = Path(__file__).parent
    common += [here / name for name in ("building.py", "comparing.py", "engines.py", "imaging.py")]
    common.append(ROOT / "tests" / "compiler" / "kernel_engine.py")
    if engine == GRADIENT:
        common.append(here / "slopes.py")
    shared = _digest(common)
    tables: dict[str, list[str]] = {}
    for name in TABLES:
        module = sys.modules[f"tests.ops.{name}"]
        files = [here / f"{name}.py"]
        if name == "table_derived":
            files += [here / "deriving.py", here / "derived.txt"]
        text = _digest(files)
        for op in {case.op for case in module.CASES}:
            tables.setdefault(op, [shared]).append(text)
    return {op: "-".join(texts) for op, texts in tables.items()}


def cases_of(op: str) -> list[Case]:
    return [case for case in CASES if case.op == op]


def _other_names(op: str) -> list[str]:
    for names in names_by_function(public_names() - NOT_ON_TENSORS):
        if op in names:
            return [name for name in names if name != op]
    return []


def do(job: Job) -> dict[str, Any]:
    """Run a job: what goes into the cache."""
    warnings.simplefilter("error")
    started = time.perf_counter()
    if job.engine == GRADIENT:
        with chosen("reference"):
            cases = cases_of(job.op)
            # A name given again may have but one case; the function's other names have more.
            cases += [case for name in _other_names(job.op) for case in cases_of(name)]
            result: dict[str, Any] = slopes.derivatives_of(job.op, cases)._asdict()
    else:
        result = {"error": 0.0, "bound": None, "wrong": [], "refused": True}
        with chosen(job.engine):
            for case in cases_of(job.op):
                try:
                    error = run(case)
                except Exception as problem:  # whatever it is, the case has not passed
                    result["wrong"].append(f"{case}: {type(problem).__name__}: {problem}"[:500])
                    continue
                if error is None:
                    continue
                result["refused"] = False
                if case.ulp is not None:
                    before = result["bound"]
                    # A bound of 0 units is met exactly or not at all.
                    if before is None or error * before > result["error"] * case.ulp:
                        result["error"], result["bound"] = error, case.ulp
    return {**result, "seconds": round(time.perf_counter() - started, 2)}


def run_all(jobs: list[Job], keys: dict[str, str], processes: int) -> dict[str, Any]:
    """The results of all jobs; those that the cache does not have are run now."""
    kept: dict[str, Any] = json.loads(CACHE.read_text()) if CACHE.exists() else {}
    results = {
        str(job): kept[str(job)]
        for job in jobs
        if str(job) in kept and kept[str(job)]["state"] == keys[str(job)]
    }
    missing = [job for job in jobs if str(job) not in results]
    print(f"{len(jobs)} jobs, {len(missing)} of them to run", flush=True)
    CACHE.parent.mkdir(exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running = {pool.submit(do, job): job for job in missing}
        for count, future in enumerate(as_completed(running), 1):
            job = running[future]
            results[str(job)] = kept[str(job)] = {"state": keys[str(job)], **future.result()}
            for line in results[str(job)]["wrong"]:
                print(f"{job}: {line}", flush=True)
            if count % 20 == 0 or count == len(missing):
                scratch = CACHE.with_suffix(".tmp")
                scratch.write_text(json.dumps(kept, indent=0))
                os.replace(scratch, CACHE)
                print(f"{count} of {len(missing)}: {job}", flush=True)
    return results


def _dtypes(op: str) -> str:
    found = {x.dtype.name for case in cases_of(op) for x in case.inputs}
    kinds: dict[str, list[str]] = {kind: [] for kind in ("bool", "int", "uint", "float", "complex")}
    for name in found:
        kind = name.rstrip("0123456789")
        kinds[kind].append(name.removeprefix(kind))
    texts = []
    for kind, widths in kinds.items():
        if widths:
            texts.append(kind + "/".join(sorted(widths, key=lambda w: int(w or 0))))
    return ", ".join(texts) or "none"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _accuracy(result: dict[str, Any]) -> str:
    if result["wrong"]:
        return f"{len(result['wrong'])} wrong"
    if result["bound"] is None:
        return "refused" if result.get("refused") else "exact"
    return f"{_number(result['error'])} / {_number(result['bound'])}"


def document(results: dict[str, Any]) -> str:
    """RESULTS.md."""
    ops = sorted(public_names() - NOT_ON_TENSORS)
    rows, failed = [], []
    for op in ops:
        each = {engine: results[f"{op} {engine}"] for engine in (*NAMES, GRADIENT)}
        wrong = [line for result in each.values() for line in result["wrong"]]
        failed += wrong
        cells = [op, str(len(cases_of(op))), _dtypes(op)]
        cells += [_accuracy(each[engine]) for engine in NAMES]
        cells += [each[GRADIENT]["outcome"], "**fail**" if wrong else "pass"]
        rows.append(f"| {' | '.join(cells)} |")
    outcomes = [results[f"{op} {GRADIENT}"]["outcome"] for op in ops]
    with_gradient = sum(outcome.startswith(("1st", "2nd")) for outcome in outcomes)
    head = ["operation", "cases", "dtypes", *NAMES, "gradient", "result"]
    count = sum(case.op in ops for case in CASES)
    summary = (
        f"{len(ops)} operations, {count} cases on each of {len(NAMES)} engines: "
        f"{'all pass' if not failed else f'{len(failed)} wrong'}. Derivatives of {with_gradient} "
        "operations agree with finite differences."
    )
    lines = [HEAD, summary, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]
    if failed:
        lines += ["", "## What is wrong", "", *(f"- {' '.join(line.split())}" for line in failed)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="operations; all of them if there is none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    ops = sorted(arguments.names or public_names() - NOT_ON_TENSORS)
    jobs = [Job(op, engine) for engine in (*NAMES, GRADIENT) for op in ops]
    each = {engine: states(engine) for engine in (*NAMES, GRADIENT)}
    keys = {str(job): each[job.engine][job.op] for job in jobs}
    results = run_all(jobs, keys, arguments.jobs)
    if not arguments.names:
        DOCUMENT.write_text(document(results), encoding="utf-8")
        print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    wrong = sum(len(result["wrong"]) for result in results.values())
    print(f"{wrong} wrong" if wrong else "all pass")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
