"""tabgrad on a page's GPU beside its peers on the same adapter: `make bench-gpu`.

The adapter is Chromium's software one, so what is compared is how well each does on a processor
that plays a GPU; no figure here tells of a real one. The rounds are those of bench/run.py, with
every contestant on WebGPU or WebGL2. Writes bench/gpu.json, which keeps the workloads and
contestants that this run left out, and bench/GPU.md; `python -m bench.gpu --report` makes the
latter anew.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from bench import contestants, run, site
from bench.browser import contest
from bench.workload import Workload
from bench.workloads import graphics
from tools.browser import flags_of

JSON, MARKDOWN = site.ROOT / "bench" / "gpu.json", site.ROOT / "bench" / "GPU.md"
APIS = ("webgpu", "webgl")
# How many times faster tabgrad is wanted than a peer, or than the best one of the same API.
WANTED = {
    "train/mlp": (("webgpu", "tfjs-webgpu", 8.0), ("webgpu", "jax-webgpu", 1.2),
                  ("webgl", "tfjs-webgl", 1.5)),
    "matmul/1024": (("webgpu", "best", 1.5), ("webgl", "best", 1.5)),
}  # fmt: skip
Row = Mapping[str, Any]


def taking_part() -> list[contestants.Contestant]:
    """The contestants that need a GPU."""
    return [each for each in contestants.ALL if each.query.get("backend") in APIS]


def read() -> dict[str, Any]:
    """The results so far."""
    found: dict[str, Any] = {"facts": {}, "workloads": {}}
    return found | json.loads(JSON.read_text()) if JSON.exists() else found


def write(results: Mapping[str, Any]) -> None:
    """Both files."""
    rows = {
        name: results["workloads"][name] for name in graphics.ALL if name in results["workloads"]
    }
    JSON.write_text(json.dumps({**results, "workloads": rows}, indent=1) + "\n", encoding="utf-8")
    MARKDOWN.write_text(text(results["facts"], rows), encoding="utf-8")


def kept(row: Row | None) -> dict[str, Any]:
    """What an earlier run has of contestants, each with its commit."""
    if row is None:
        return {}
    return {name: {"commit": row["commit"], **found} for name, found in row["contestants"].items()}


def times(row: Row, api: str, peer: str = "best") -> tuple[float, str] | None:
    """How many times faster tabgrad is than a peer, or than the best one of the same API, by their
    fastest samples: the rounds alternate, so each had its quiet moments."""
    found = row["contestants"]
    own = found.get(f"tabgrad-{api}", {}).get("min")
    timed = {
        name: each["min"]
        for name, each in found.items()
        if "min" in each and not name.startswith("tabgrad") and name.endswith(api)
    }
    if peer == "best":
        peer = min(timed, key=lambda name: timed[name], default="")
    return (timed[peer] / own, peer) if own and peer in timed else None


def judged(name: str, row: Row) -> str:
    """What was asked for, and whether it was reached."""
    parts = []
    for api, peer, least in WANTED.get(name, ()):
        found = times(row, api, peer)
        label = f"{api} {least:g} {peer.removesuffix(f'-{api}')}"
        value = "unknown" if found is None else f"{found[0]:.3g}"
        missed = found is not None and found[0] < least
        parts.append(f"{label}: {'MISSED, ' if missed else ''}{value}")
    return "; ".join(parts) or "-"


def text(facts: Mapping[str, str], rows: Mapping[str, Row]) -> str:
    """The Markdown."""
    names = [each.name for each in taking_part()]
    lines = [
        "# tabgrad on a page's GPU, beside its peers",
        "",
        "Written by `make bench-gpu`. The adapter is SwiftShader, a GPU played by the processor:",
        "nothing here tells of real GPUs, on which none of this has been measured yet: matmul,",
        "convolution and map beside the card's peak and bandwidth, and training beside PyTorch.",
        "Milliseconds a time through: median (minimum) of slices that alternate between the",
        "contestants in one browser, after results were compared with",
        "NumPy's in float64 or with each other's. *times* is the best peer's minimum on the same",
        "API over tabgrad's: the adapter's threads share the cores with whatever else runs, and",
        "minima alone tell little of that.",
        "",
        f"| workload | times WebGPU | times WebGL2 | wanted | {' | '.join(names)} |",
        f"| --- | ---: | ---: | --- |{' ---: |' * len(names)}",
    ]
    for name, row in rows.items():
        ratios = [times(row, api) for api in APIS]
        cells = [
            name,
            *("-" if found is None else f"{found[0]:.2f} {found[1]}" for found in ratios),
            judged(name, row),
            *(_cell(graphics.ALL[name], row["contestants"].get(each)) for each in names),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## What tabgrad's runs are made of", ""]
    lines += [
        "A run once everything is warm. *JavaScript* is how long the call keeps the page's thread;",
        "*ready* is from a page that has its inputs to its first result, with loading the library,",
        "compiling, and in training the steps whose losses are compared.",
        "",
        "| workload | engine | kernels | a run | JavaScript, ms | code, bytes | compiled, ms "
        "| ready, ms | ready, peers |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, row in rows.items():
        for api in APIS:
            found = row["contestants"].get(f"tabgrad-{api}", {})
            if "median" not in found:
                continue
            peers = ", ".join(
                f"{other} {each['opened']:.0f}"
                for other, each in row["contestants"].items()
                if other.endswith(api) and not other.startswith("tabgrad") and "opened" in each
            )
            counts = ", ".join(f"{count} {what}" for what, count in found["counts"].items())
            lines.append(
                f"| {name} | {api} | {found['kernels']} | {counts} | {found['javascript']:.2f} "
                f"| {found['code']} | {found['compiled']:.0f} | {found['opened']:.0f} | {peers} |"
            )
    reasons = [
        f"- {other}, {name}: {each['reason']}"
        for name, row in rows.items()
        for other, each in row["contestants"].items()
        if "reason" in each
    ]
    lines += ["", "## Without a figure", "", *reasons] if reasons else []
    lines += ["", "## Circumstances", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if name != "commit"]
    commits = {
        found.get("commit", row["commit"])
        for row in rows.values()
        for found in row["contestants"].values()
    }
    others = sorted(commits - {facts.get("commit")})
    if others:
        lines.append(f"- some figures were measured at earlier commits: {', '.join(others)}")
    return "\n".join([*lines, ""])


def _cell(workload: Workload, found: Row | None) -> str:
    if found is None:
        return "-"
    if "median" not in found:
        return "none"
    rate, unit = workload.rate(found["median"])
    return f"{found['median']:.4g} ({found['min']:.4g}), {rate:.3g} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a regular expression found in workloads' names")
    parser.add_argument("--rounds", type=int, default=5, help="slices of each contestant (5)")
    parser.add_argument("--contestants", default="", help="a regular expression found in names")
    parser.add_argument("--keep", action="store_true", help="print, and write no file")
    parser.add_argument("--report", action="store_true", help="measure nothing, write GPU.md anew")
    options = parser.parse_args()
    results = read()
    if options.report:
        write(results)
        return
    entrants = [each for each in taking_part() if re.search(options.contestants, each.name)]
    names = [name for name in graphics.ALL if re.search(options.only, name)]
    begun = time.perf_counter()
    with site.temporary() as served, contest(served.folder, gpu=True) as browser:
        facts = run.facts(browser.browser.version, flags_of(gpu=True))
        for name in names:
            start = time.perf_counter()
            workload = graphics.ALL[name]
            row = run.measure(browser, served, None, workload, entrants, options.rounds)
            row["commit"] = facts["commit"]
            row["contestants"] = kept(results["workloads"].get(name)) | row["contestants"]
            adapters = {
                found["info"].get("renderer") or " ".join(filter(None, [
                    found["info"].get("vendor"), found["info"].get("architecture")]))
                for found in row["contestants"].values()
                if "info" in found
            }  # fmt: skip
            facts["adapter"] = "; ".join(sorted(adapters)) or "none"
            results["workloads"][name] = row
            results["facts"] = facts
            print(f"[{time.perf_counter() - start:.0f} s] {name}", flush=True)
            for each, found in row["contestants"].items():
                print(f"    {each}: {found.get('reason') or _cell(workload, found)}", flush=True)
            print(f"    {[times(row, api) for api in APIS]} {judged(name, row)}", flush=True)
            if not options.keep:
                write(results)
    print(f"{len(names)} workloads in {(time.perf_counter() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
