"""Contestants without a browser: tabgrad on wasmtime, and PyTorch on the CPU where it is installed.

Each runs in a process of its own that answers the same questions as a page does, one line of JSON
for each: `python -m bench.native LIBRARY THREADS WORKLOAD`. `Process` is the side that asks.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench import workloads
from bench.browser import PageError
from bench.site import ROOT
from bench.workload import Array, Workload, sampled

# Everything that starts threads asks one of these.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def installed(library: str) -> bool:
    """Whether this machine has it."""
    return library == "wasmtime" or find_spec(library) is not None


class Process:
    """A contestant in a process of its own; answers as a page does."""

    def __init__(self, library: str, threads: int, workload: Workload) -> None:
        command = [sys.executable, "-m", "bench.native", library, str(threads), workload.name]
        environment = {**os.environ, **{name: str(threads) for name in THREADS}}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, method: str, timeout: float = 60.0, **options: Any) -> Any:
        """The answer; raises PageError when it is an error or takes too long."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([method, options]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise PageError(self._last_words()) from None
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        if not ready:
            raise PageError(f"no answer in {timeout:g} s")
        line = process.stdout.readline()
        if not line:
            raise PageError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise PageError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _last_words(self) -> str:
        _, words = self._process.communicate()
        return words.strip().splitlines()[-1] if words.strip() else "the process ended"


# The side that is asked.


@dataclass
class Running:
    """A workload that is ready, as in bench/pages/measure.js."""

    step: Callable[[int], object]
    output: Callable[[], Array]


class Server:
    """Times a workload as bench/pages/measure.js does."""

    def __init__(self, make: Callable[[], Running]) -> None:
        self._make = make
        self._running: Running | None = None
        self._estimate = 0.0  # milliseconds

    def open(self, warm: float = 300) -> dict[str, Any]:
        self._running = self._make()
        first = self._estimate = self._timed(1)
        start = time.perf_counter()
        while first < 5000 and (time.perf_counter() - start) * 1e3 < warm:
            n = max(1, round(20 / max(self._estimate, 1e-4)))
            self._estimate = self._timed(n) / n
        values = np.asarray(self._running.output(), np.float64)
        return {
            "first": first,
            "repeats": 1,
            "notes": {},
            "shape": list(values.shape),
            "finite": bool(np.isfinite(values).all()),
            "sample": sampled(values).tolist(),
        }

    def slice(self, ms: float = 150, batch: float = 20, settle: float = 0) -> list[float]:
        samples: list[float] = []
        start = time.perf_counter()
        while self._estimate < settle and (time.perf_counter() - start) * 1e3 < settle:
            self._timed(max(1, round(batch / self._estimate)))
        start = time.perf_counter()
        while not samples or (time.perf_counter() - start) * 1e3 < ms:
            n = max(1, round(batch / self._estimate))
            samples.append(self._timed(n) / n)
            self._estimate = samples[-1]
        return samples

    def _timed(self, n: int) -> float:
        assert self._running is not None
        start = time.perf_counter()
        self._running.step(n)
        return (time.perf_counter() - start) * 1e3


def on_wasmtime(workload: Workload) -> Running:
    """tabgrad's Program, as the page has it, with its arrays in the engine's memory."""
    arrays = workload.arrays()
    function = workload.functions(arrays)["main"]
    others = {*workload.constants, *workload.parameters.get("chained", ())}
    inputs = [array for name, array in arrays.items() if name not in others]
    bound = function.bind(*inputs)
    port = bound.program.entries[0].outputs[0]
    out = bound.outputs[0]

    inference, training = (workload.parameters.get(name) for name in ("inference", "training"))

    def write() -> None:
        for buffer, array in zip(bound.inputs, inputs, strict=True):
            bound.engine.write(buffer.handle, np.ascontiguousarray(array).tobytes())

    def read() -> Array:
        raw = bytes(bound.engine.read(out.handle, out.nbytes))
        return np.frombuffer(raw, port.dtype).reshape(port.shape)

    def once() -> Array | None:
        if inference:
            write()
        bound.run()
        return read() if inference or training else None

    write()
    if training:
        losses = [float(loss) for loss in _losses(workload, once)]
        return Running(_again(once), lambda: np.array(losses))

    def output() -> Array:
        once()
        return read()

    return Running(_again(once), output)


def _again(once: Callable[[], object]) -> Callable[[int], object]:
    def step(n: int) -> None:
        for _ in range(n):
            once()

    return step


def _losses(workload: Workload, once: Callable[[], Any]) -> list[Any]:
    return [once() for _ in range(workload.parameters["compared"])]


def on_torch(workload: Workload, threads: int) -> Running:
    """PyTorch's operations, without recording gradients where none are asked for."""
    import torch

    from bench import native_torch

    torch.set_num_threads(threads)
    arrays = workload.arrays()
    given = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    make = native_torch.KINDS.get(workload.kind)
    if make is None:
        raise NotImplementedError(f"not written for PyTorch: {workload.kind}")
    if workload.parameters.get("training"):
        once = make(given, workload.parameters)
        losses = _losses(workload, once)
        return Running(_again(once), lambda: np.array(losses))

    operation = make(given, workload.parameters)

    def step(n: int) -> None:
        with torch.inference_mode():
            for _ in range(n):
                operation()

    def output() -> Array:
        with torch.inference_mode():
            found: Array = operation().numpy()
            return found

    return Running(step, output)


def main() -> None:
    library, threads, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    workload = workloads.ALL[name]
    makers: Mapping[str, Callable[[], Running]] = {
        "wasmtime": lambda: on_wasmtime(workload),
        "torch": lambda: on_torch(workload, threads),
    }
    server = Server(makers[library])
    for line in sys.stdin:
        method, options = json.loads(line)
        try:
            answer = {"value": getattr(server, method)(**options)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
