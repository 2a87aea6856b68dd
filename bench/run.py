"""tabgrad and its peers in one browser: `make bench`, `make bench ONLY=regex ROUNDS=n`.

For each workload every contestant gets a page of its own in the same headless Chromium. A page
makes its workload ready and warm, then hands over its result, which has to agree with NumPy's, or
with the others', before its time counts. Then slices of all contestants alternate, together with
the machine's own: a loop of multiply-adds in registers and a plain copy. Writes bench/results.json,
which keeps the workloads that this run left out, and bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import tabgrad as tg
from bench import contestants, machine, native, report, site, startup, workloads
from bench.browser import Contest, Entrant, PageError, contest
from bench.compare import Reference, WrongResultError
from bench.contestants import Contestant
from bench.workload import Workload
from tools.browser import flags_of

# A contestant that takes longer than this for one time through is measured twice and not more.
SLOW_MS = 1500.0
OPENING_SECONDS = 150.0
WARM_MS, SLICE_MS, BATCH_MS = 300.0, 60.0, 15.0
# How long a slice runs before it counts: the page before may still collect garbage, its threads
# look for work, its data fill the caches. Two threads feel that most: the first MobileNetV2 of a
# slice took 17 ms, the next ones 9.
SETTLE_MS = 30.0
# A workload that breaks off is tried so often, each time in a new browser.
ATTEMPTS = 2


def figures(samples: list[float]) -> dict[str, float]:
    return {"median": statistics.median(samples), "min": min(samples), "samples": len(samples)}


def absent(contestant: Contestant, workload: Workload) -> str | None:
    """Why a contestant does not run a workload, known without trying."""
    if contestant.library in workload.cannot:
        return workload.cannot[contestant.library]
    if contestant.native:
        if native.installed(contestant.library):
            return None
        return f"{contestant.library} is not installed"
    if not contestant.is_tabgrad and contestants.version(contestant.package) is None:
        return f"{contestant.package} is not installed"
    if contestant.library == "ort" and workload.graph is None:
        return "runs graphs only, and this is training or has no graph"
    return None


class Machine:
    """The machine's peak and copy bandwidth, in two pages that stay open."""

    def __init__(self, browser: Contest) -> None:
        self._browser = browser
        self._pages: dict[str, Entrant] = {}

    def open(self, workload: Workload) -> dict[str, float]:
        """Makes ready what this workload is compared with; gives the work in one step of each."""
        nbytes = site.copied_bytes(workload)
        work = {"arithmetic": float(machine.FLOPS * site.ITERATIONS), "copy": 2.0 * nbytes}
        for measure in work:
            if measure == "copy" and measure in self._pages:
                self._pages.pop(measure).close()
            if measure not in self._pages:
                query = {"measure": measure, "bytes": str(nbytes), "workload": workload.folder}
                # Isolated for the finer clock; it uses one thread all the same.
                page = self._pages[measure] = self._browser.open("machine", query, isolated=True)
                page.ask("open", warm=100)
        return work

    def slice(self, measure: str) -> list[float]:
        return list(self._pages[measure].ask("slice", ms=15, batch=5))


def measure(
    browser: Contest,
    served: site.Site,
    own: Machine | None,
    workload: Workload,
    entrants: list[Contestant],
    rounds: int,
    *,
    dry: bool = False,
) -> dict[str, Any]:
    """One workload: its row for every contestant, and what the machine could do meanwhile, or
    without that where they run on its GPU; `dry` is for finding errors, and its figures mean
    nothing."""
    warm, ms, batch = (1.0, 1.0, 1.0) if dry else (WARM_MS, SLICE_MS, BATCH_MS)
    reference = Reference(workload, served.add(workload))
    work = own.open(workload) if own else {}
    rows: dict[str, dict[str, Any]] = {}
    try:
        served.export([workload], gpu=own is None)
    except site.ExportError as failure:
        last = str(failure).splitlines()[-1]
        rows |= {each.name: {"reason": last} for each in entrants if each.is_tabgrad}
    pages: dict[str, Entrant | native.Process] = {}
    samples: dict[str, list[float]] = {}
    for contestant in entrants:
        if contestant.name in rows:
            continue
        reason = absent(contestant, workload)
        if reason is not None:
            rows[contestant.name] = {"reason": reason}
            continue
        try:
            page = _opened(browser, workload, contestant)
        except PageError as failure:
            rows[contestant.name] = {"reason": str(failure)}
            continue
        try:
            answer = page.ask("open", timeout=OPENING_SECONDS, warm=warm)
            error = reference.error(answer)
        except (PageError, WrongResultError) as failure:
            rows[contestant.name] = {"reason": str(failure)}
            page.close()
            continue
        rows[contestant.name] = {
            **{name: answer[name] for name in ("first", "opened", "repeats") if name in answer},
            "error": error,
            **answer["notes"],
        }
        pages[contestant.name] = page
        samples[contestant.name] = []
    own_samples: dict[str, list[float]] = {measured: [] for measured in work}
    order = random.Random(workload.name)
    for _ in range(rounds):
        # Another order each round, so that nobody always comes after the same one.
        for name in order.sample([*pages], len(pages)):
            slow = samples[name] and max(samples[name]) * rows[name]["repeats"] > SLOW_MS
            if not (slow and len(samples[name]) >= 2):
                try:
                    samples[name] += pages[name].ask(
                        "slice", ms=ms, batch=batch, settle=0 if dry else SETTLE_MS
                    )
                except PageError as failure:
                    rows[name] = {"reason": str(failure)}
                    pages.pop(name).close()
        if own:
            for measured, found in own_samples.items():
                found += own.slice(measured)
    for name, page in pages.items():
        rows[name] |= figures(samples[name])
        page.close()
    served.drop(workload)
    rates = {
        measured: {
            "median": work[measured] / statistics.median(found) / 1e6,
            "best": work[measured] / min(found) / 1e6,
        }
        for measured, found in own_samples.items()
    }
    return {"group": workload.group, "machine": rates, "contestants": rows, "rounds": rounds}


def _opened(
    browser: Contest, workload: Workload, contestant: Contestant
) -> Entrant | native.Process:
    if contestant.native:
        return native.Process(contestant.library, contestant.threads, workload)
    return browser.open(
        contestant.page,
        {**contestant.full_query, "workload": workload.folder},
        isolated=contestant.threads > 1,
        script=contestant.script,
    )


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=site.ROOT, capture_output=True, text=True).stdout.strip()


def commit() -> str:
    """The commit of the sources; "-dirty" where they are others by now."""
    # What a run writes itself does not make the sources others.
    written = [f":!{path.relative_to(site.ROOT)}" for path in (report.JSON, report.MARKDOWN)]
    changed = _git("status", "--porcelain", "-uno", "--", ".", *written)
    return _git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def facts(chromium: str, flags: Sequence[str]) -> dict[str, str]:
    """Versions and circumstances of a run."""
    at = commit()
    peers = ("@tensorflow/tfjs", "onnxruntime-web", "@jax-js/jax", "@jax-js/onnx")
    versions = {name: contestants.version(name) or "not installed" for name in peers}
    return {
        "tabgrad": f"{tg.__version__}, commit {at}",
        **versions,
        "Chromium": f"{chromium}, headless, {' '.join(flags)}",
        "machine": f"{machine.name()}, no GPU",
        "measured": f"{date.today():%Y-%m-%d}, load before {os.getloadavg()[0]:.1f}",
        "commit": at,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a regular expression found in workloads' names")
    parser.add_argument("--rounds", type=int, default=10, help="slices of each contestant (10)")
    parser.add_argument(
        "--contestants",
        help="a regular expression found in contestants' names; by default all but those that need "
        "a GPU: " + ", ".join(each.name for each in contestants.ALL),
    )
    parser.add_argument("--list", action="store_true", help="only list the workloads")
    parser.add_argument(
        "--resume", action="store_true", help="leave out what was measured at this commit"
    )
    parser.add_argument("--keep", action="store_true", help="print, and write no file")
    parser.add_argument(
        "--dry",
        action="store_true",
        help="go once through everything to find errors, print how long a run takes, write no file",
    )
    options = parser.parse_args()
    chosen = workloads.chosen(options.only)
    if options.list:
        print("\n".join(workload.name for workload in chosen))
        return
    pattern = options.contestants
    taking_part = [
        each
        for each in contestants.ALL
        if (each.usual if pattern is None else re.search(f"^tabgrad$|{pattern}", each.name))
    ]
    results = report.read()
    waiting = list(chosen)
    attempts: Counter[str] = Counter()
    seconds = 0.0
    while waiting:
        try:
            for row_seconds in _measured(waiting, len(chosen), taking_part, results, options):
                seconds += row_seconds
        except Exception as failure:  # the browser may have died, and is then started anew
            name = waiting[0].name
            attempts[name] += 1
            print(f"{name} broke off: {type(failure).__name__}: {failure}", flush=True)
            if attempts[name] == ATTEMPTS:
                waiting.pop(0)
    measured = [each.name for each in chosen if each.name in results["workloads"]]
    print("\n" + report.text(results, measured))
    if options.dry:
        print(f"{len(measured)} workloads would take {seconds / 60:.0f} minutes.")
    broken = [name for name, count in attempts.items() if count == ATTEMPTS]
    if broken:
        sys.exit(f"no figures: {', '.join(broken)}; --resume goes on with these")


def _measured(
    waiting: list[Workload],
    count: int,
    taking_part: list[Contestant],
    results: dict[str, Any],
    options: argparse.Namespace,
) -> Iterator[float]:
    """Measures what waits, in one browser, and takes it off the list; yields how many seconds each
    took, or would have taken."""
    gpu = any("webg" in each.name for each in taking_part)
    rounds = 1 if options.dry else options.rounds
    with site.temporary() as served, contest(served.folder, gpu=gpu) as browser:
        own = Machine(browser)
        visited: dict[str, startup.Rows] = {}
        circumstances = facts(browser.browser.version, flags_of(gpu=gpu))
        while waiting:
            workload = waiting[0]
            known = results["workloads"].get(workload.name, {})
            if options.resume and known.get("commit") == circumstances["commit"]:
                waiting.pop(0)
                continue
            start = time.perf_counter()
            visits = workload.visits
            entrants = [
                each
                for each in taking_part
                if (each.threads == 1 or workload.threaded) and (visits or not each.visits)
            ]
            if visits:
                kind = workload.kind.removeprefix("visit-")
                if kind not in visited:
                    visited[kind] = startup.measure(kind, browser, served, entrants, rounds)
                row = visited[kind][workload.name]
            else:
                row = measure(browser, served, own, workload, entrants, rounds, dry=options.dry)
            row["commit"] = circumstances["commit"]
            results["workloads"][workload.name] = row
            results["facts"] = circumstances
            waiting.pop(0)
            seconds = time.perf_counter() - start
            print(
                f"[{count - len(waiting)}/{count}, {seconds:.0f} s]",
                report.line(workload, row),
                flush=True,
            )
            if options.dry:
                seconds = seconds_of(row, seconds, options.rounds, visits=visits)
            elif not options.keep:
                report.write(results)
            yield seconds


def seconds_of(row: dict[str, Any], dry: float, rounds: int, *, visits: bool) -> float:
    """How long a workload takes with so many rounds, given its row and seconds of a dry run."""
    if visits:  # a round that does not count, and one that does
        return dry * (rounds + 1) / 2
    for found in row["contestants"].values():
        if "median" in found:
            step = found["median"] * found["repeats"]
            slices = 2 if step > SLOW_MS else rounds
            dry += (WARM_MS + slices * max(SLICE_MS, step)) / 1e3
    return dry


if __name__ == "__main__":
    main()
