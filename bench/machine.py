"""What the machine can do: a module with a register-only multiply-add loop and a plain copy.

The bench runs it in every round beside the contestants, so that a fraction of the peak is one of
the same moment: clocks and neighbours come and go.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tabgrad.targets.wasm.builder import I32, F32x4, Function, Module

# As many accumulators as hide the latency of two multiply-adds a cycle, and few enough to leave
# room for the operands in V8's 15 vector registers.
ACCUMULATORS = 12
UNROLL = 4
FLOPS = 2 * 4 * ACCUMULATORS * UNROLL  # of one iteration
HEAD = 1024  # bytes in front of what is copied
COPY_UNROLL = 8


def module(largest: int, *, relaxed: bool) -> bytes:
    """The binary; it imports a memory of `pages(largest)` pages.

    It exports `arithmetic(iterations)`, FLOPS flops in each, and `copy(nbytes)`, which copies as
    many bytes, a multiple of 128 up to `largest`, from one half of the memory to the other.
    """
    made = Module(min_pages=pages(largest))
    _arithmetic(made.function("arithmetic", [I32], export=True), relaxed)
    _copy(made.function("copy", [I32], export=True), largest)
    return made.encode()


def pages(largest: int) -> int:
    """Pages of 64 KiB that hold what is copied twice."""
    return -(-(HEAD + 2 * largest) // 65536)


def _arithmetic(f: Function, relaxed: bool) -> None:
    (iterations,) = f.params
    # Every accumulator tends to 2 whatever it starts with, so nothing overflows or vanishes; each
    # depends on what it was, so no product can be taken out of the loop.
    factor = f.local(F32x4, 0.5)
    term = f.local(F32x4, 1.0)
    totals = [f.local(F32x4, float(i)) for i in range(ACCUMULATORS)]
    with f.loop_range(0, iterations):
        for _ in range(UNROLL):
            for total in totals:
                total.set(total.relaxed_madd(factor, term) if relaxed else total * factor + term)
    result = totals[0]
    for total in totals[1:]:
        result = result + total
    f.store(I32.const(0), result)


def _copy(f: Function, largest: int) -> None:
    (nbytes,) = f.params
    with f.loop_range(0, nbytes, 16 * COPY_UNROLL) as at:
        for i in range(COPY_UNROLL):
            f.store(at + (HEAD + largest + 16 * i), F32x4.load(at + (HEAD + 16 * i)))


def name() -> str:
    """What a figure has to be read with: system, processor and its generation, cores.

    Peers lose or gain by the generation: the same TF.js kernels reach 42 % of a Zen 4's peak and
    66 % of a Zen 5's, though both machines' peaks are 59 GFLOP/s.
    """
    facts: dict[str, str] = {}
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    parts = [f"{platform.system()} {platform.machine()}"]
    if "model name" in facts:
        generation = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
        parts.append(f"{facts['model name']} ({generation})")
    return ", ".join([*parts, f"{os.cpu_count()} cores"])
