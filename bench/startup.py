"""What a page costs before and around the arithmetic: starting, the seed program, bytes.

Start-up is measured by visits: each in a fresh browser context, so that nothing is cached, in
rounds that begin with another contestant each time. The page reports by its console, because a
question asked of it would be a script run in it, and the automation's own, which comes along,
takes 10 ms and more of what is measured.
"""

from __future__ import annotations

import json
import statistics
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import numpy as np

import tabgrad as tg
from bench import onnx_file, resident, server, site, workloads
from bench.browser import Contest
from bench.contestants import Contestant
from examples import seed

Rows = dict[str, dict[str, Any]]  # by workload
REPORT = "contest: "
PAGES = site.ROOT / "bench" / "pages"
# The epochs bring any initial weight that near to 9.
PREDICTED, NEAR = 9.0, 1.3


@dataclass
class Visited:
    """One page, and what its visits gave, by workload."""

    contestant: str
    address: str
    scripts: tuple[str, ...] = ()
    found: dict[str, list[float]] = field(default_factory=dict)
    reason: str = ""

    def add(self, workload: str, *values: float) -> None:
        self.found.setdefault(workload, []).extend(values)

    def cell(self, workload: str) -> dict[str, Any]:
        """What stands in the row of a workload."""
        values = self.found.get(workload)
        if self.reason or not values:
            return {"reason": self.reason or "not measured"}
        return {"median": statistics.median(values), "min": min(values), "samples": len(values)}


def measure(
    kind: str, browser: Contest, served: site.Site, entrants: list[Contestant], rounds: int
) -> Rows:
    """The rows of every workload of one kind: "seed", "start" or "memory"."""
    if kind == "memory":
        return resident.measure(browser, served, entrants)
    return {"seed": _seed, "start": _start}[kind](browser, served, entrants, rounds)


def _seed(browser: Contest, served: site.Site, entrants: list[Contestant], rounds: int) -> Rows:
    """The seed program: from the start of the navigation to the prediction after training, less a
    blank page, and 100 epochs more of the warm model."""
    with redirect_stdout(StringIO()):
        tg.export(seed.make_model(), served.folder / "seed", batch_sizes=[1, 32])
    blank = Visited("blank", "pages/blank.html")
    pages = [
        blank,
        Visited("tabgrad", "pages/seed-tabgrad.html"),
        Visited("tabgrad-exported", "seed/", ("contest.js", "exported.js")),
    ]
    smaller = []
    for entrant in entrants:
        if entrant.library == "tfjs" and entrant.threads == 1:
            address = f"pages/seed-tfjs.html?backend={entrant.query['backend']}&bundle=tf"
            pages.append(Visited(entrant.name, address))
            smaller.append(Visited(entrant.name, f"{address}.es2017"))
        if entrant.name == "jax-wasm":
            pages.append(Visited(entrant.name, "pages/seed-jax.html"))

    def take(page: Visited, result: dict[str, Any]) -> None:
        if abs(float(result["value"]) - PREDICTED) > NEAR:
            page.reason = f"predicted {result['value']} and not about {PREDICTED:g}"
        page.add("seed/page", result["printed"])
        page.add("seed/fit", *result.get("fits", []))

    _visit_all(browser, [*pages, *smaller], rounds, take)
    least = statistics.median(blank.found["seed/page"])
    for page in [*pages, *smaller]:
        page.found["seed/page"] = [value - least for value in page.found.get("seed/page", [])]
    own = [page for page in pages[1:] if page.contestant.startswith("tabgrad")]
    rows = {name: _row(name, pages[1:], name) for name in ("seed/page", "seed/fit")}
    rows["seed/page-es2017"] = _row("seed/page-es2017", [*own, *smaller], "seed/page")
    return rows


def _start(browser: Contest, served: site.Site, entrants: list[Contestant], rounds: int) -> Rows:
    """[1, 2, 3, 4] + 1: when it is there, and how much code it took."""
    folder = served.folder / "first"
    x = np.arange(1, 5, dtype=np.float32)
    main = tg.compile(lambda x: x + 1)
    main(tg.tensor(x))
    with redirect_stdout(StringIO()):
        tg.export({"main": main}, folder)
    graph = onnx_file.Graph()
    one = graph.constant("one", np.ones(1, np.float32))
    graph.output(graph.node("Add", [graph.input("x", x), one]), (4,))
    (folder / "graph.onnx").write_bytes(graph.encode())
    pages = []
    for entrant in entrants:
        if entrant.threads == 1 and not entrant.native:
            query = f"library={entrant.library}&backend={entrant.query.get('backend', '')}"
            pages.append(Visited(entrant.name, f"pages/first.html?{query}"))
    own_script = ("pages/first.js", "pages/contest.js")
    scripts = {served.folder / path for path in own_script}

    def take(page: Visited, result: dict[str, Any]) -> None:
        if result["value"] != "2 3 4 5":
            page.reason = f"printed {result['value']}"
        code = [each for each in browser.plain.code() if each.path not in scripts]
        page.add("start/whole-page", result["printed"])
        page.add("start/first-result", result["at"] - max(each.at for each in code))
        page.add("start/code", server.sizes(code)[1] / 1e3)
        programs = [each for each in code if each.path.suffix in (".js", ".mjs")]
        page.add("start/javascript", server.sizes(programs)[1] / 1e3)

    _visit_all(browser, pages, rounds, take)
    names = ("start/first-result", "start/whole-page", "start/code", "start/javascript")
    return {name: _row(name, pages, name) for name in names}


def _visit_all(browser: Contest, pages: list[Visited], rounds: int, take: Any) -> None:
    """Visits every page once a round, and once before that does not count."""
    for turn in range(-1, rounds):
        shift = max(turn, 0) % len(pages)
        for page in pages[shift:] + pages[:shift]:
            if page.reason:
                continue
            result = _visit(browser, page)
            if "error" in result:
                page.reason = str(result["error"])
            elif turn >= 0:
                take(page, result)


def _visit(browser: Contest, visited: Visited) -> dict[str, Any]:
    context = browser.browser.new_context()
    page = context.new_page()
    for script in visited.scripts:
        page.add_init_script(path=PAGES / script)
    page.wait_for_timeout(500)  # until the processes of the page before have ended
    browser.plain.sent.clear()
    try:
        with page.expect_console_message(
            lambda message: message.text.startswith(REPORT), timeout=60_000
        ) as event:
            page.goto(browser.plain.address + visited.address, wait_until="commit")
        result: dict[str, Any] = json.loads(event.value.text.removeprefix(REPORT))
    except Exception as failure:
        return {"error": str(failure).splitlines()[0]}
    finally:
        context.close()
    return result


def _row(name: str, pages: list[Visited], measured: str) -> dict[str, Any]:
    cells = {page.contestant: page.cell(measured) for page in pages}
    return {"group": workloads.ALL[name].group, "machine": {}, "contestants": cells}
