"""How much memory a page needs at most: the high-water mark of its process, less a blank page's.

Each page is the only one of a browser that nobody looks into. One that is automated, as everywhere
else in the bench, keeps what pages fetch for its inspector, in the very process in question.
"""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench import site, workloads
from bench.browser import Contest
from bench.compare import Reference, WrongResultError
from bench.contestants import Contestant
from bench.server import Server
from bench.workload import Workload
from tools.browser import FLAGS, require_browser

OPENING_SECONDS = 110.0
WARM_MS = 1000
# A blank page's process has all that it will have when it stays as it is for so long.
SETTLED_SECONDS, START_SECONDS = 2.0, 60.0


def measure(
    browser: Contest, served: site.Site, entrants: list[Contestant]
) -> dict[str, dict[str, Any]]:
    """The rows of all workloads called memory/*, in megabytes."""
    rows: dict[str, dict[str, Any]] = {}
    with _page(f"{browser.plain.address}pages/blank.html") as process:
        least = _settled(process)
    for name in (each for each in workloads.ALL if each.startswith("memory/")):
        workload = workloads.ALL[f"{workloads.ALL[name].parameters['like']}"]
        reference = Reference(workload, served.add(workload))
        served.export([workload])
        cells: dict[str, Any] = {}
        for entrant in entrants:
            absent = entrant.native or entrant.visits or entrant.library in workload.cannot
            if entrant.threads == 1 and not absent:
                cells[entrant.name] = _peak(browser.plain, workload, reference, entrant, least)
        served.drop(workload)
        rows[name] = {"group": workloads.ALL[name].group, "machine": {}, "contestants": cells}
    return rows


def _peak(
    server: Server, workload: Workload, reference: Reference, entrant: Contestant, least: float
) -> dict[str, Any]:
    query = {**entrant.full_query, "workload": workload.folder, "report": str(WARM_MS)}
    while not server.reports.empty():
        server.reports.get()
    with _page(f"{server.address}pages/{entrant.page}.html?{urlencode(query)}") as process:
        try:
            answer = json.loads(server.reports.get(timeout=OPENING_SECONDS))
            if "error" in answer:
                return {"reason": answer["error"]}
            reference.error(answer["value"])
        except queue.Empty:
            return {"reason": f"no answer in {OPENING_SECONDS:g} s"}
        except WrongResultError as failure:
            return {"reason": str(failure)}
        peak = _mark(process) - least
    return {"median": peak, "min": peak, "samples": 1}


@contextmanager
def _page(address: str) -> Iterator[int]:
    """A browser with this one page; its process id."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        own = (
            "--headless",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
        )
        command = [require_browser(), *own, *FLAGS, address]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _settled(browser: int) -> float:
    """The mark of a page that nothing happens in, once it no longer rises."""
    end = time.monotonic() + START_SECONDS
    before, now = -1.0, 0.0
    while now != before and time.monotonic() < end:
        time.sleep(SETTLED_SECONDS)
        before, now = now or -1.0, _mark(browser)
    return now


def _mark(browser: int) -> float:
    """The most resident memory that the largest page of a browser had, in megabytes."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of a program, in parentheses, may have spaces in it.
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    marks = []
    for process in parents:
        above = process
        while above in parents and above != browser:
            above = parents[above]
        command = Path(f"/proc/{process}/cmdline")
        if above == browser and b"--type=renderer" in (arguments := command.read_bytes()):
            # The browser draws its own windows in renderers, too.
            if b"--top-chrome-webui" not in arguments:
                marks.append(_high_water(process))
    return max(marks, default=0.0)


def _high_water(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
