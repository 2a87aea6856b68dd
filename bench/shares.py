"""How evenly two threads share each launch of a Program: `python -m bench.shares [REGEX]`.

Both shares run one after the other on one thread, each with its own processor time, so that nothing
else on the machine and no waiting is in the figures: what they sum up to is the most that a second
thread can bring. Wall times of both together are in the bench, in the columns that end in 2t.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import wasmtime

from bench import image, launches, workloads
from bench.image import PAGE, SPARE, Image
from tabgrad.compiler.frame import (
    ARENA,
    ARRIVED,
    ENTRY,
    SCRATCH,
    SCRATCH_BYTES,
    STATUS,
)
from tabgrad.engines.wasmtime import WasmtimeEngine

USUAL = "^train/cnn$|^infer/(mobilenet|minilm)$"
RUNS = ((0, 1), (0, 2), (1, 2))  # (thread, threads)


@dataclass
class Shared:
    """One launch: least milliseconds alone, and of the first and the second share."""

    taken: launches.Taken
    alone: float
    shares: tuple[float, float]

    @property
    def together(self) -> float:
        return max(self.shares)

    @property
    def lost(self) -> float:
        """How much longer than half of the whole it takes."""
        return self.together - self.alone / 2

    def text(self) -> str:
        most = max(self.taken.kernels, key=lambda kernel: kernel.flops)
        first, second = self.shares
        return (
            f"{self.lost:7.3f} ms lost: {self.alone:7.3f} as {first:7.3f} and {second:7.3f}, "
            f"{self.taken.kind}: {most.text().splitlines()[0][:110]}"
        )


def shared(made: Image, rounds: int) -> list[Shared]:
    """Every launch of an image's first entry. What is in a loop is not cut apart."""
    program, engine = made.program, WasmtimeEngine()._engine
    parts = launches.parts_of(program, least_shared=0)
    scratch = max(part.program.entries[0].scratch for part in parts)
    scratch += -scratch % SPARE + SPARE
    arena = max(part.program.entries[0].arena for part in parts)
    begin = made.end
    store = wasmtime.Store(engine)
    pages = -(-(begin + arena + SPARE + 2 * scratch) // PAGE)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(pages, 65536)))
    memory.write(store, made.memory, 0)

    def exports(binary: bytes) -> Any:
        module = wasmtime.Module(engine, binary)
        return wasmtime.Instance(store, module, [memory]).exports(store)

    def set_words(**words: int) -> None:
        for name, word in words.items():
            memory.write(store, word.to_bytes(4, "little"), PLACES[name])

    if made.derives:
        set_words(entry=len(program.entries))
        exports(program.binary)["run"](store)
    set_words(entry=0, arena=begin, scratch=begin + arena + SPARE, scratch_bytes=scratch)
    runs = [exports(part.program.binary)["run_part"] for part in parts]
    least = [dict.fromkeys(RUNS, float("inf")) for _ in parts]
    for _ in range(rounds):
        for part, run, times in zip(parts, runs, least, strict=True):
            for thread, threads in RUNS if part.turns == 1 else RUNS[:1]:
                # The other one has arrived where this one would wait for it.
                set_words(arrived=threads - 1, status=0)
                start = time.thread_time()
                run(store, thread, threads)
                spent = 1e3 * (time.thread_time() - start)
                times[thread, threads] = min(times[thread, threads], spent)
    found = []
    for part, times in zip(parts, least, strict=True):
        alone = times[0, 1]
        shares = (times[0, 2], times[1, 2]) if part.turns == 1 else (alone, alone)
        found.append(Shared(launches.Taken(part.members, part.turns, alone), alone, shares))
    return found


PLACES = {
    "entry": ENTRY,
    "arena": ARENA,
    "scratch": SCRATCH,
    "scratch_bytes": SCRATCH_BYTES,
    "arrived": ARRIVED,
    "status": STATUS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="?", default=USUAL, help="a regular expression of workloads")
    parser.add_argument("--rounds", type=int, default=8, help="how often each is timed (8)")
    parser.add_argument("--listed", type=int, default=10, help="launches to list of each (10)")
    options = parser.parse_args()
    for workload in workloads.computing(options.only):
        found = shared(image.of_workload(workload, relaxed=True), options.rounds)
        alone, together = (sum(each) for each in zip(*((s.alone, s.together) for s in found)))
        print(
            f"{workload.name}: {len(found)} launches, {alone:.2f} ms alone, {together:.2f} ms by "
            f"the longer shares: {alone / together:.2f} times, without waits"
        )
        for one in sorted(found, key=lambda one: -one.lost)[: options.listed]:
            print("  " + one.text())


if __name__ == "__main__":
    main()
