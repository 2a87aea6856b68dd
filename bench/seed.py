"""The seed program in a browser: tabgrad beside TensorFlow.js, measured in the same run.

`make bench` measures, in one headless Chromium, in interleaved rounds:

1. startup: from the start of the navigation until the prediction after training is on the page,
   less the median of a blank page that prints a number. tabgrad is there twice: in a page as bare
   as TensorFlow.js's, which is the like against like, and in the page that tg.export writes, which
   loads and shows forms and charts besides;
2. fit: training the warm model for 100 epochs more.

Every visit has a fresh browser context, so nothing is cached. It prints every figure and writes
bench/RESULTS.md and bench/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

import tabgrad as tg
from examples import seed
from tools.browser import FLAGS, launch
from tools.static_server import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "bench" / "pages"
SITE = ROOT / "build" / "bench"
TFJS = ROOT / "node_modules" / "@tensorflow"
# WebGL on a machine without a GPU: drawn by the CPU, which newer Chromium must be asked for.
EXTRA_FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# TensorFlow.js's bundle as its documentation has it, and a smaller one that starts sooner.
BUNDLES = ("tf", "tf.es2017")
REPORT = "contest: "
# What was asked for when the project began: how many times faster than the best TensorFlow.js.
WANTED = {"startup": 5.0, "fit": 10.0}


@dataclass
class Contestant:
    """One page, and what its visits measured, in milliseconds."""

    name: str
    address: str
    scripts: tuple[str, ...] = ()  # put into the page from outside
    startup: list[float] = field(default_factory=list)
    fit: list[float] = field(default_factory=list)

    @property
    def is_tabgrad(self) -> bool:
        return self.name.startswith("tabgrad")


def contestants() -> list[Contestant]:
    tfjs = [
        Contestant(
            f"TensorFlow.js {backend}, {bundle}.min.js",
            f"seed-tfjs.html?backend={backend}&bundle={bundle}",
        )
        for backend in ("cpu", "wasm", "webgl")
        for bundle in BUNDLES
    ]
    return [
        Contestant("blank page", "blank.html"),
        Contestant("tabgrad, exported page", "seed/", scripts=("contest.js", "exported.js")),
        Contestant("tabgrad, bare page", "seed-tabgrad.html"),
        *tfjs,
    ]


def lay_out_site() -> None:
    """Puts the pages, TensorFlow.js and the exported seed model into one folder."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(PAGES, SITE)
    bundles = SITE / "tfjs"
    bundles.mkdir()
    wasm = TFJS / "tfjs-backend-wasm" / "dist"
    for bundle in BUNDLES:
        shutil.copy(TFJS / "tfjs" / "dist" / f"{bundle}.min.js", bundles)
        backend = bundle.replace("tf", "tf-backend-wasm")
        shutil.copy(wasm / f"{backend}.min.js", bundles)
    for file in wasm.glob("*.wasm"):
        shutil.copy(file, bundles)
    tg.export(seed.make_model(), SITE / "seed", batch_sizes=[1, 32])


def visit(browser: Browser, contestant: Contestant, site: str) -> None:
    """Opens the contestant's page once and adds what it measured."""
    context = browser.new_context()
    page = context.new_page()
    for script in contestant.scripts:
        page.add_init_script(path=PAGES / script)
    page.wait_for_timeout(500)  # until the processes of the page before have ended
    # The page reports by its console: a question asked of it would be a script run in it, and
    # Playwright's own, which it sends along, takes 10 ms and more of what is measured.
    with page.expect_console_message(_is_report, timeout=60_000) as event:
        page.goto(site + contestant.address, wait_until="commit")
    result: dict[str, Any] = json.loads(event.value.text.removeprefix(REPORT))
    context.close()
    if "error" in result:
        raise RuntimeError(f"{contestant.name}: {result['error']}")
    if abs(result["value"] - 9) > 1.3:  # 100 epochs bring any initial weight that near
        raise RuntimeError(f"{contestant.name}: predicted {result['value']} and not about 9")
    contestant.startup.append(result["printed"])
    contestant.fit += result.get("fits", [])


def _is_report(message: ConsoleMessage) -> bool:
    return message.text.startswith(REPORT)


def measure(rounds: int) -> tuple[list[Contestant], str]:
    """Visits every page once a round, each round beginning with another one."""
    entrants = contestants()
    with sync_playwright() as playwright, serve(SITE) as site:
        browser = launch(playwright, EXTRA_FLAGS)
        version = browser.version
        for contestant in entrants:  # not counted: the browser's own first use of things
            visit(browser, contestant, site)
            contestant.startup.clear()
            contestant.fit.clear()
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", flush=True)
            shift = turn % len(entrants)
            for contestant in entrants[shift:] + entrants[:shift]:
                visit(browser, contestant, site)
        browser.close()
    return entrants, version


def summarise(entrants: list[Contestant]) -> dict[str, Any]:
    """Medians and minima, with the blank page's median taken off each startup, and the ratios."""
    blank = statistics.median(entrants[0].startup)
    rows = {}
    for contestant in entrants[1:]:
        startup = [value - blank for value in contestant.startup]
        rows[contestant.name] = {
            "startup": {"median": statistics.median(startup), "min": min(startup)},
            "fit": {"median": statistics.median(contestant.fit), "min": min(contestant.fit)},
        }
    ratios: dict[str, dict[str, dict[str, float]]] = {}
    for measured in WANTED:
        ratios[measured] = {}
        for bundle in BUNDLES:
            peers = [row for name, row in rows.items() if name.endswith(f" {bundle}.min.js")]
            best = min(row[measured]["median"] for row in peers)
            ratios[measured][bundle] = {
                c.name: best / rows[c.name][measured]["median"] for c in entrants if c.is_tabgrad
            }
    blanks = {"median": blank, "min": min(entrants[0].startup)}
    return {"blank": blanks, "rows": rows, "ratios": ratios}


def report(summary: dict[str, Any], facts: dict[str, str]) -> str:
    """The summary as Markdown, which reads well in a terminal too."""

    def figure(value: dict[str, float]) -> str:
        return f"{value['median']:.2f} ({value['min']:.2f})"

    lines = [
        "# The seed program beside TensorFlow.js",
        "",
        "Written by `make bench`. Milliseconds: median (minimum). Startup is from the start of the",
        "navigation to the printed prediction after training, less the median of a blank page,",
        f"which was {figure(summary['blank'])}. Fit is 100 epochs more on the warm model.",
        "",
        "| | startup | fit |",
        "| --- | ---: | ---: |",
    ]
    for name, row in summary["rows"].items():
        lines.append(f"| {name} | {figure(row['startup'])} | {figure(row['fit'])} |")
    lines += ["", "How many times faster than TensorFlow.js's best backend (medians):", ""]
    for measured, wanted in WANTED.items():
        for bundle, ratios in summary["ratios"][measured].items():
            for name, ratio in ratios.items():
                verdict = "reached" if ratio >= wanted else "MISSED"
                lines.append(
                    f"- {measured}, {name} against {bundle}.min.js: {ratio:.1f}× "
                    f"(wanted {wanted:g}×: {verdict})"
                )
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12, help="visits to each page (12)")
    rounds = parser.parse_args().rounds
    load = os.getloadavg()[0]
    lay_out_site()
    entrants, chromium = measure(rounds)
    summary = summarise(entrants)
    version = json.loads((TFJS / "tfjs" / "package.json").read_text())["version"]
    facts = {
        "tabgrad": tg.__version__,
        "TensorFlow.js": f"{version}; tf.min.js is the bundle its documentation names",
        "Chromium": f"{chromium}, headless, {' '.join((*FLAGS, *EXTRA_FLAGS))}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU",
        "measured": f"{date.today():%Y-%m-%d}, {rounds} interleaved rounds, load before {load:.1f}",
    }
    text = report(summary, facts)
    print("\n" + text)
    (ROOT / "bench" / "RESULTS.md").write_text(text, encoding="utf-8")
    visits = {c.name: {"startup": c.startup, "fit": c.fit} for c in entrants}
    data = json.dumps({"facts": facts, **summary, "visits": visits}, indent=1)
    (ROOT / "bench" / "results.json").write_text(data + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
