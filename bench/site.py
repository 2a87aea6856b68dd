"""The folder that the bench serves: pages, peers, the machine's kernels, every workload's files.

pages/              bench/pages
peers/              bench/node_modules
machine/            bench/machine.py's modules
workloads/NAME/     arrays, parameters, the ONNX graph
trees/TREE/player/  tabgrad's player from one tree of sources
trees/TREE/NAME/    what tg.export made there
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.workload import Arrays, Workload

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "node_modules"
LARGEST_COPY = 32 << 20
ITERATIONS = 20_000
HERE = "this"


class ExportError(Exception):
    """tabgrad could not export a workload; the message is what it wrote."""


@contextmanager
def temporary() -> Iterator[Site]:
    """A site of this run's own, since several may go on at once; gone when it is over."""
    with tempfile.TemporaryDirectory(prefix="tabgrad-bench-") as folder:
        yield Site(Path(folder))


class Site:
    """A folder laid out for the bench; workloads and tabgrad's exports are added to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "bench" / "pages", folder / "pages")
        if PEERS.exists():
            (folder / "peers").symlink_to(PEERS)
        kernels = folder / "machine"
        kernels.mkdir()
        for name, relaxed in (("relaxed", True), ("plain", False)):
            (kernels / f"{name}.wasm").write_bytes(machine.module(LARGEST_COPY, relaxed=relaxed))
        facts = {"pages": machine.pages(LARGEST_COPY), "iterations": ITERATIONS}
        (kernels / "machine.json").write_text(json.dumps(facts))

    def add(self, workload: Workload) -> Arrays:
        """Writes the arrays and parameters of a workload, and its graph where it has one."""
        folder = self.folder / "workloads" / workload.folder
        folder.mkdir(parents=True)
        arrays = workload.arrays()
        described: dict[str, list[dict[str, Any]]] = {"inputs": [], "constants": []}
        for kind, entries in described.items():
            with open(folder / f"{kind}.bin", "wb") as file:
                for name, array in arrays.items():
                    if (name in workload.constants) == (kind == "constants"):
                        at = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
                        entries.append({**at, "offset": file.tell()})
                        file.write(np.ascontiguousarray(array).tobytes())
        task = {
            "kind": workload.kind,
            "parameters": dict(workload.parameters),
            "repeats": workload.repeats,
            "arrays": described,
        }
        (folder / "workload.json").write_text(json.dumps(task))
        if workload.graph is not None:
            (folder / "graph.onnx").write_bytes(workload.graph(arrays, workload.repeats))
        return arrays

    def export(
        self,
        workloads: Sequence[Workload],
        tree: str = HERE,
        source: Path | None = None,
        *,
        gpu: bool = False,
    ) -> None:
        """tabgrad's part of some workloads, made by the sources in `source` or by those here."""
        environment = dict(os.environ)
        if source is not None:
            environment["PYTHONPATH"] = str(source)
        names = [workload.name for workload in workloads]
        folder = self.folder / "trees" / tree
        program = "bench.gpu_build" if gpu else "bench.build"
        command = [sys.executable, "-m", program, str(folder), *names]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise ExportError(done.stderr.strip() or f"{program} ended with {done.returncode}")

    def drop(self, workload: Workload) -> None:
        """Removes a workload's files, which may be large, once it is measured."""
        shutil.rmtree(self.folder / "workloads" / workload.folder)
        for tree in (self.folder / "trees").glob("*"):
            shutil.rmtree(tree / workload.folder, ignore_errors=True)


def copied_bytes(workload: Workload) -> int:
    """What a copy is to read, and to write, to compare with the workload."""
    half = int(workload.nbytes) // 2 // 128 * 128
    return max(128, min(half, LARGEST_COPY))
