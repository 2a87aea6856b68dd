"""One launch of a Program after the other, each timed alone, on wasmtime or in headless Chromium.

Every launch is emitted as a Program of its own over the memory of the whole one, and they run in
its order, so that caches are as they were. The least time of each counts. On the laptop that is
time of the processor, which other programs disturb less; a page has only the clock on the wall.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench import image
from bench.browser import ISOLATION
from tabgrad import jit
from tabgrad.compiler import driver, memory
from tabgrad.compiler.frame import ARENA, SCRATCH, SCRATCH_BYTES
from tabgrad.compiler.group import group
from tabgrad.compiler.plan import Plan, plan
from tabgrad.compiler.program import Program
from tabgrad.compiler.rows import mask_rows
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.kernel import Kernel, Launch, Loop, in_groups, kernels_of
from tabgrad.targets.wasm.target import LEAST_SHARED, WasmTarget
from tools.browser import launch
from tools.static_server import serve

# Runs the modules in turn on one memory for so long, after half a second for the optimising
# compiler to come in.
SCRIPT = """async ({ names, frame, bytes, ms }) => {
  const pages = Math.ceil(bytes / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
  const image = await (await fetch('memory.bin')).arrayBuffer();
  new Uint8Array(memory.buffer).set(new Uint8Array(image));
  const view = new DataView(memory.buffer);
  for (const [at, word] of frame) view.setUint32(at, word, true);
  const runs = [];
  for (const name of names) {
    const code = await (await fetch(name)).arrayBuffer();
    const { instance } = await WebAssembly.instantiate(code, { tabgrad: { memory } });
    runs.push(instance.exports.run);
  }
  const least = names.map(() => Infinity);
  for (const [length, counts] of [[500, false], [ms, true]]) {
    for (const end = performance.now() + length; performance.now() < end; ) {
      for (let i = 0; i < runs.length; i++) {
        const start = performance.now();
        runs[i]();
        if (counts) least[i] = Math.min(least[i], performance.now() - start);
      }
    }
  }
  return least;
}"""


def planned(graph: EntryGraph, target: WasmTarget) -> Plan:
    """The launches of an entry, as `driver.compile` has them before it emits code."""
    made = plan(driver.simplified(mask_rows(graph).graph))
    made.launches = group(made.launches)
    target.prepare(made)
    made.arena = memory.place(made.launches, made.temporaries)
    return made


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
        """What sort of work most of it is."""
        most = max(self.kernels, key=lambda kernel: kernel.flops)
        if most.name.endswith("_pack"):
            return "packed operands"
        if most.kind == "contract":
            return "contractions"
        if most.name.startswith("contract"):
            return "depthwise"
        single = len(self.kernels) == 1 and most.kind != "map"
        return "reductions" if single else "maps and small kernels"

    def text(self) -> str:
        """What it does, shortened."""
        kernels = self.kernels
        flops = self.turns * sum(kernel.flops for kernel in kernels)
        moved = sum(b.nbytes for k in kernels for b in (*k.reads(), *k.writes()))
        # A page's clock may not see a short one at all.
        rate = flops / self.milliseconds / 1e6 if self.milliseconds else 0.0
        numbers = f"{moved / 1e6:7.2f} MB {rate:6.1f} GFLOP/s"
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


@dataclass
class Part:
    """A launch as a Program of its own."""

    members: list[Launch]
    turns: int
    program: Program


def parts_of(program: Program, *, least_shared: int = LEAST_SHARED) -> list[Part]:
    """Every launch of a Program's first entry, in order; those of `least_shared` flops and more can
    be shared by threads."""
    target = WasmTarget(program.features, least_shared=least_shared)
    whole = planned(program.graphs[0], target)
    parts = []
    for members, turns in pieces(whole.launches):
        emitted = target.emit([replace(whole, launches=members)])
        entry = replace(
            program.entries[0],
            arena=whole.arena,
            scratch=emitted.scratch[0],
            kernels=emitted.kernels[0],
        )
        alone = replace(program, entries=[entry], binary=emitted.binary)
        first = members[0]
        parts.append(Part(list(first.body if isinstance(first, Loop) else members), turns, alone))
    return parts


def on_laptop(bound: jit.Bound, program: Program, rounds: int) -> list[Taken]:
    """The least time of every launch of a Program that is bound, on the engine at hand."""
    arguments, parts = image.arguments_of(bound), parts_of(program)
    loaded = [bound.engine.load(part.program) for part in parts]
    taken = [Taken(part.members, part.turns, float("inf")) for part in parts]
    for _ in range(rounds):
        for one, ready in zip(taken, loaded, strict=True):
            start = time.thread_time()
            bound.engine.run(ready, 0, arguments)
            one.milliseconds = min(one.milliseconds, 1e3 * (time.thread_time() - start))
    for ready in loaded:
        bound.engine.unload(ready)
    return taken


def in_browser(bound: jit.Bound, program: Program, ms: float) -> list[Taken]:
    """The same in headless Chromium, on a copy of what the buffers hold now."""
    parts, made = parts_of(program), image.of_bound(bound, program)
    scratch = max(part.program.entries[0].scratch for part in parts)
    beyond = made.end + parts[0].program.entries[0].arena + image.SPARE
    frame = {**made.frame, ARENA: made.end, SCRATCH: beyond, SCRATCH_BYTES: scratch}
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{i}.wasm" for i in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            Path(folder, name).write_bytes(part.program.binary)
        Path(folder, "memory.bin").write_bytes(made.memory)
        Path(folder, "index.html").write_text("<!doctype html>")
        with sync_playwright() as playwright, serve(folder, ISOLATION) as site:
            browser = launch(playwright)
            page = browser.new_page()
            page.goto(site)
            given = {
                "names": names,
                "frame": list(frame.items()),
                "bytes": beyond + scratch + image.PAGE,
                "ms": ms,
            }
            least = page.evaluate(SCRIPT, given)
            browser.close()
    return [Taken(part.members, part.turns, t) for part, t in zip(parts, least, strict=True)]


def show(name: str, taken: Sequence[Taken], listed: int) -> None:
    """Print sums by kind of work, and what takes longest."""
    total = sum(one.milliseconds for one in taken)
    print(f"\n{name}: {total:.2f} ms in launches apart")
    kinds: dict[str, list[Taken]] = {}
    for one in taken:
        kinds.setdefault(one.kind, []).append(one)
    for kind, ones in kinds.items():
        spent = sum(one.milliseconds for one in ones)
        flops = sum(one.turns * kernel.flops for one in ones for kernel in one.kernels)
        rate = flops / spent / 1e6 if spent else 0.0
        print(
            f"  {100 * spent / total:5.1f} % {spent:8.3f} ms {len(ones):4} {kind}, "
            f"{rate:.1f} GFLOP/s"
        )
    for one in sorted(taken, key=lambda one: -one.milliseconds)[:listed]:
        print(f"  {100 * one.milliseconds / total:5.1f} % {one.text()}")
