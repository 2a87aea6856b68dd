"""What the benchmark's models become: compile time, kernels, bytes, memory and time on the laptop.

`python -m bench.programs [names]` prints a table and writes bench/PROGRAMS.md; `--launches 20`
lists the launches that take longest in each, with `--browser` in headless Chromium. Times in the
table are of the processor, not of the clock on the wall, so that other programs disturb them less.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import os
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

from bench import launches, machine
from tabgrad.compiler import driver, report
from tabgrad.ir.kernel import kernels_of
from tabgrad.targets.wasm.target import WasmTarget

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("mlp", "cnn", "lstm", "mobilenet", "minilm")


def seconds_of(action: Any, rounds: int) -> list[float]:
    """How long each of several runs takes."""
    found = []
    for _ in range(rounds):
        start = time.thread_time()
        action()
        found.append(time.thread_time() - start)
    return found


def look_at(name: str, rounds: int, listed: int, browser: bool) -> str:
    """Measures one model; its line of the table."""
    model = importlib.import_module(f"bench.models.{name}")
    given = list(model.inputs().values())
    weights = model.weights()
    (function,) = model.functions(weights).values()
    program = function.program(*given)
    graph, entry = program.graphs[0], program.entries[0]

    # A second time, so that caches of Python's own are warm: what a first use costs is noise.
    capture = min(seconds_of(lambda: model.functions(weights), 1))
    plain = driver.compile([graph], WasmTarget())
    relaxed = WasmTarget(program.features)
    compiling = seconds_of(lambda: driver.compile([graph], relaxed), rounds)

    bound = function.bind(*given)
    for buffer, value in zip(bound.inputs, given, strict=True):
        bound.engine.write(buffer.handle, value.tobytes())
    bound.run()
    runs = seconds_of(bound.run, max(5, 2 * rounds))
    if listed:
        if browser:
            taken = launches.in_browser(bound, program, 1000.0 * rounds)
        else:
            taken = launches.on_laptop(bound, program, max(5, rounds))
        launches.show(name, taken, listed)
    kernels = list(kernels_of(launches.planned(graph, relaxed).launches))
    sizes = [f"{len(b):,} / {len(gzip.compress(b)):,}" for b in (program.binary, plain.binary)]
    least, middle = 1e3 * min(runs), 1e3 * statistics.median(runs)
    cells = [
        name,
        f"{report.count_nodes(graph)}",
        f"{1e3 * statistics.median(compiling):.0f} ({1e3 * min(compiling):.0f})",
        f"{1e3 * capture:.0f}",
        f"{len(kernels)}, {entry.launches}, {len(set(entry.kernels))}",
        *sizes,
        f"{entry.arena / 1e6:.2f}",
        f"{entry.peak / 1e6:.1f}",
        f"{model.FLOPS / 1e9:.3f} ({entry.flops / 1e9:.3f})",
        f"{middle:.2f} ({least:.2f})",
        f"{model.FLOPS / least / 1e6:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=", ".join(MODELS))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is compiled (5)")
    parser.add_argument("--launches", type=int, default=0, help="how many launches to list (none)")
    parser.add_argument("--browser", action="store_true", help="list those of Chromium")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [look_at(name, chosen.rounds, chosen.launches, chosen.browser) for name in chosen.models]
    lines = [
        "# What the benchmark's models become",
        "",
        "Written by `python -m bench.programs`. Compiling is the driver's passes on a captured",
        "graph; with capture and wasmtime's machine code is what `functions()` takes. Launches",
        "count groups of kernels once, functions equal kernels once. Bytes of code are raw / gzip,",
        "FLOP those of the model (and of what is run), times medians (least) of one thread on the",
        "processor.",
        "",
        "| model | nodes | compile, ms | with capture and load, ms | kernels, launches, functions "
        "| relaxed SIMD, bytes | plain, bytes | arena, MB | peak, MB | GFLOP | wasmtime, ms "
        "| GFLOP/s |",
        "| --- |" + " ---: |" * 11,
        *rows,
        "",
        f"- Python {platform.python_version()}, {machine.name()}",
        f"- measured: {date.today():%Y-%m-%d}, {chosen.rounds} rounds, load before {load:.1f}",
        "",
    ]
    text = "\n".join(lines)
    print(f"\n{text}")
    if tuple(chosen.models) == MODELS:
        (ROOT / "bench" / "PROGRAMS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
