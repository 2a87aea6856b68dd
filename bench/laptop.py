"""What Python costs on the laptop: compiling graphs of growing size, and operations run eagerly.

`make bench-laptop` prints the figures and writes bench/LAPTOP.md. Compiling is timed on two kinds
of graphs whose nodes are all different: a long chain of elementwise steps and means, and the
gradient of a deep network. Eager operations are each forced on their own with their kernels cached,
a thousand at a time, with one read at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import tabgrad as tg
from bench import machine
from tabgrad import jit, ops
from tabgrad.compiler import driver
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import toposort
from tabgrad.targets.wasm.target import WasmTarget

ROOT = Path(__file__).resolve().parent.parent
SIZES = (250, 500, 1000, 2000, 4000)
OPERATIONS = 1000


def chain(nodes: int) -> EntryGraph:
    """Elementwise steps and means of rows, each of what came before."""

    def function(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        for _ in range(nodes // 11):
            x = ops.tanh(x * y) + ops.mean(x, axis=-1, keepdims=True)
            y = y - x
        return x + y

    return jit.trace(function, [((16, 32), "float32", False)] * 2).graph


def network(nodes: int) -> EntryGraph:
    """The gradient of a network of dense layers."""
    layers = nodes // 9

    def function(x: tg.Tensor, *weights: tg.Tensor) -> list[tg.Tensor]:
        def loss(weights: list[tg.Tensor]) -> tg.Tensor:
            h = x
            for w in weights:
                h = ops.relu(h @ w)
            return ops.mean(h)

        gradient: list[tg.Tensor] = tg.grad(loss)(list(weights))
        return gradient

    specs = [((32, 64), "float32", False), *[((64, 64), "float32", False)] * layers]
    names = [f"x{i}" for i in range(len(specs))]
    return jit.trace(function, specs, names=names).graph


def compiling(make: Callable[[int], EntryGraph], rounds: int) -> list[tuple[int, float]]:
    """(nodes, median seconds) for each size."""
    rows = []
    for size in SIZES:
        graph = make(size)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            driver.compile([graph], WasmTarget())
            seconds.append(time.perf_counter() - start)
        rows.append((len(toposort(graph.outputs)), statistics.median(seconds)))
    return rows


def one_operation() -> None:
    x = tg.ones((8, 8))
    for _ in range(OPERATIONS):
        x = (x * 0.5).realize()
    x.tolist()


def different_operations() -> None:
    x, y = tg.ones((8, 8)), tg.ones((8, 8))
    for _ in range(OPERATIONS // 4):
        z = (x + y).realize()
        z = z.tanh().realize()
        z = z.sum(axis=0).realize()
        x = (x * z).realize()
    x.tolist()


def eager(program: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median and least microseconds an operation."""
    program()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        program()
        found.append((time.perf_counter() - start) / OPERATIONS * 1e6)
    return statistics.median(found), min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (5)")
    parser.add_argument("--keep", action="store_true", help="print, and write no file")
    options = parser.parse_args()
    rounds = options.rounds
    load = os.getloadavg()[0]
    lines = [
        "# What Python costs on the laptop",
        "",
        "Written by `make bench-laptop`; medians.",
        "",
        "| compiled graph | nodes | ms | µs a node |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, make in (("chain", chain), ("gradient of a network", network)):
        for nodes, seconds in compiling(make, rounds):
            each = seconds / nodes * 1e6
            lines.append(f"| {name} | {nodes:,} | {seconds * 1e3:.0f} | {each:.0f} |")
    lines += [
        "",
        "| eager operations on 8 × 8 floats, each forced | µs an operation (least) |",
        "| --- | ---: |",
    ]
    for title, program in (("x * 0.5", one_operation), ("+, tanh, sum, *", different_operations)):
        middle, least = eager(program, 4 * rounds)
        lines.append(f"| {title} | {middle:.1f} ({least:.1f}) |")
    lines += [
        "",
        f"- Python {platform.python_version()}, {machine.name()}",
        f"- measured: {date.today():%Y-%m-%d}, {rounds} rounds, load before {load:.1f}",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not options.keep:
        (ROOT / "bench" / "LAPTOP.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
