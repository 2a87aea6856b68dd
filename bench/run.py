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
import platform
import re
import statistics
import subprocess
import time
from datetime import date
from typing import Any

import tabgrad as tg
from bench import contestants, machine, native, report, site, startup, workloads
from bench.browser import Contest, Entrant, PageError, contest
from bench.compare import Reference, WrongResultError
from bench.contestants import Contestant
from bench.workload import Workload

# A contestant that takes longer than this for one time through is measured twice and not more.
SLOW_MS = 1500.0
OPENING_SECONDS = 150.0


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
    own: Machine,
    workload: Workload,
    entrants: list[Contestant],
    rounds: int,
) -> dict[str, Any]:
    """One workload: its row for every contestant, and what the machine could do meanwhile."""
    reference = Reference(workload, served.add(workload))
    work = own.open(workload)
    rows: dict[str, dict[str, Any]] = {}
    try:
        served.export([workload])
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
        page = _opened(browser, workload, contestant)
        try:
            answer = page.ask("open", timeout=OPENING_SECONDS)
            error = reference.error(answer)
        except (PageError, WrongResultError) as failure:
            rows[contestant.name] = {"reason": str(failure)}
            page.close()
            continue
        rows[contestant.name] = {
            "first": answer["first"],
            "error": error,
            "repeats": answer["repeats"],
            **answer["notes"],
        }
        pages[contestant.name] = page
        samples[contestant.name] = []
    own_samples: dict[str, list[float]] = {measured: [] for measured in work}
    for turn in range(rounds):
        names = [*pages]
        shift = turn % max(1, len(names))
        for name in names[shift:] + names[:shift]:
            slow = samples[name] and max(samples[name]) * rows[name]["repeats"] > SLOW_MS
            if not (slow and len(samples[name]) >= 2):
                try:
                    samples[name] += pages[name].ask("slice", ms=60, batch=15)
                except PageError as failure:
                    rows[name] = {"reason": str(failure)}
                    pages.pop(name).close()
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


def facts(chromium: str, flags: tuple[str, ...]) -> dict[str, str]:
    """Versions and circumstances of a run."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=site.ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    peers = ("@tensorflow/tfjs", "onnxruntime-web", "@jax-js/jax", "@jax-js/onnx")
    versions = {name: contestants.version(name) or "not installed" for name in peers}
    return {
        "tabgrad": f"{tg.__version__}, commit {commit}",
        **versions,
        "Chromium": f"{chromium}, headless, {' '.join(flags)}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU",
        "measured": f"{date.today():%Y-%m-%d}, load before {os.getloadavg()[0]:.1f}",
        "commit": commit,
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
    gpu = any("webg" in each.name for each in taking_part)
    flags = contestants.SOFTWARE_GPU if gpu else ()
    results = report.read()
    with site.temporary() as served, contest(served.folder, flags) as browser:
        own = Machine(browser)
        visited: dict[str, startup.Rows] = {}
        circumstances = facts(browser.browser.version, (*contestants.FLAGS, *flags))
        for number, workload in enumerate(chosen):
            known = results["workloads"].get(workload.name, {})
            if options.resume and known.get("commit") == circumstances["commit"]:
                continue
            start = time.perf_counter()
            entrants = [each for each in taking_part if each.threads == 1 or workload.threaded]
            if workload.kind.startswith("visit-"):
                kind = workload.kind.removeprefix("visit-")
                if kind not in visited:
                    visited[kind] = startup.measure(kind, browser, served, entrants, options.rounds)
                row = visited[kind][workload.name]
            else:
                row = measure(browser, served, own, workload, entrants, options.rounds)
            row["commit"] = circumstances["commit"]
            results["workloads"][workload.name] = row
            seconds = time.perf_counter() - start
            print(
                f"[{number + 1}/{len(chosen)}, {seconds:.0f} s]",
                report.line(workload, row),
                flush=True,
            )
            results["facts"] = circumstances
            if not options.keep:
                report.write(results)
    print("\n" + report.text(results, [workload.name for workload in chosen]))


if __name__ == "__main__":
    main()
