"""What the benchmark's models become: compile time, kernels, bytes, memory and time on the laptop.

`python -m bench.programs [names]` prints a table and writes bench/PROGRAMS.md; `--launches 20`
lists what takes longest in each. For that every launch is a Program of its own, and they run in the
order of the whole one, so that caches are as they were. Times are of the processor,
not of the clock on the wall, so that other programs disturb them less.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from tabgrad import jit
from tabgrad.compiler import driver, memory, report
from tabgrad.compiler.group import group
from tabgrad.compiler.plan import Plan, plan
from tabgrad.compiler.program import Program
from tabgrad.compiler.rows import mask_rows
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.kernel import Kernel, Launch, Loop, in_groups, kernels_of
from tabgrad.targets.wasm.target import WasmTarget

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("mlp", "cnn", "lstm", "mobilenet", "minilm")


def planned(graph: EntryGraph, target: WasmTarget) -> Plan:
    """The launches of an entry, as `driver.compile` has them before it emits code."""
    made = plan(driver.simplified(mask_rows(graph).graph))
    made.launches = group(made.launches)
    target.prepare(made)
    made.arena = memory.place(made.launches, made.temporaries)
    return made


class _Recorder:
    """Stands for an engine, to find out what a bound Program hands it."""

    def run(self, loaded: Any, entry: int, args: Sequence[int], rows: int) -> None:
        self.args = list(args)


@dataclass
class Taken:
    """One launch in all turns of the loops around it, and its time."""

    members: list[Launch]
    turns: int
    milliseconds: float

    @property
    def kernels(self) -> list[Kernel]:
        return list(kernels_of(self.members))

    @property
    def kind(self) -> str:
        """What sort of work it is."""
        first = self.kernels[0]
        if first.name.endswith("_pack"):
            return "packed operands"
        if len(self.kernels) > 1 or first.kind == "map":
            return "maps and small kernels"
        if first.kind == "contract":
            return "contractions"
        return "depthwise" if first.name.startswith("contract") else "reductions"

    def text(self) -> str:
        """What it does, shortened."""
        kernels = self.kernels
        flops = self.turns * sum(kernel.flops for kernel in kernels)
        moved = sum(b.nbytes for k in kernels for b in (*k.reads(), *k.writes()))
        numbers = f"{moved / 1e6:7.2f} MB {flops / self.milliseconds / 1e6:6.1f} GFLOP/s"
        times = f" {self.turns} times" if self.turns > 1 else ""
        lines = [line for member in self.members for line in member.text().splitlines()]
        body = "\n      ".join(line[:160] for line in lines)
        return f"{self.milliseconds:8.3f} ms{times} {numbers}  {body}"


def pieces(launches: list[Launch], turns: int = 1) -> Iterator[tuple[list[Launch], int]]:
    """Every group of launches in turn, those in loops with their number of turns. A loop yields
    while only the group at hand is in it."""
    for members in list(in_groups(launches)):
        loop = members[0]
        if not isinstance(loop, Loop):
            yield members, turns
            continue
        body = list(loop.body)
        for inner, times in pieces(body, turns * loop.length):
            loop.body[:] = inner
            yield [loop], times
        loop.body[:] = body


def each_launch(bound: jit.Bound, program: Program, rounds: int) -> list[Taken]:
    """The least time of every launch of a Program that is bound, in order."""
    engine, recorder = bound.engine, _Recorder()
    bound.engine = recorder
    bound.run()
    bound.engine = engine
    target = WasmTarget(program.features)
    whole = planned(program.graphs[0], target)
    loaded, taken = [], []
    for part, turns in pieces(whole.launches):
        emitted = target.emit([replace(whole, launches=part)])
        entry = replace(
            program.entries[0],
            arena=whole.arena,
            scratch=emitted.scratch[0],
            kernels=emitted.kernels[0],
        )
        alone = replace(program, entries=[entry], binary=emitted.binary)
        loaded.append(engine.load(alone))
        members = part[0].body if isinstance(part[0], Loop) else part
        taken.append(Taken(list(members), turns, float("inf")))
    for _ in range(rounds):
        for one, ready in zip(taken, loaded, strict=True):
            start = time.thread_time()
            engine.run(ready, 0, recorder.args)
            one.milliseconds = min(one.milliseconds, 1e3 * (time.thread_time() - start))
    for ready in loaded:
        engine.unload(ready)
    return taken


def show(name: str, call: float, taken: Sequence[Taken], listed: int) -> None:
    """Print sums by kind of work, and what takes longest."""
    total = sum(one.milliseconds for one in taken)
    print(f"\n{name}: {call:.2f} ms a call, {total:.2f} ms in launches apart")
    kinds: dict[str, list[Taken]] = {}
    for one in taken:
        kinds.setdefault(one.kind, []).append(one)
    for kind, ones in kinds.items():
        spent = sum(one.milliseconds for one in ones)
        flops = sum(one.turns * kernel.flops for one in ones for kernel in one.kernels)
        print(
            f"  {100 * spent / total:5.1f} % {spent:8.3f} ms {len(ones):4} {kind}, "
            f"{flops / spent / 1e6:.1f} GFLOP/s"
        )
    for one in sorted(taken, key=lambda one: -one.milliseconds)[:listed]:
        print(f"  {100 * one.milliseconds / total:5.1f} % {one.text()}")


def seconds_of(action: Any, rounds: int) -> list[float]:
    """How long each of several runs takes."""
    found = []
    for _ in range(rounds):
        start = time.thread_time()
        action()
        found.append(time.thread_time() - start)
    return found


def look_at(name: str, rounds: int, listed: int) -> str:
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
        show(name, 1e3 * min(runs), each_launch(bound, program, max(5, rounds)), listed)
    kernels = list(kernels_of(planned(graph, relaxed).launches))
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
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [look_at(name, chosen.rounds, chosen.launches) for name in chosen.models]
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
        f"- Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores",
        f"- measured: {date.today():%Y-%m-%d}, {chosen.rounds} rounds, load before {load:.1f}",
        "",
    ]
    text = "\n".join(lines)
    print(f"\n{text}")
    if tuple(chosen.models) == MODELS:
        (ROOT / "bench" / "PROGRAMS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
