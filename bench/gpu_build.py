"""Writes tabgrad's part of workloads for a page's GPU: `python -m bench.gpu_build FOLDER NAME...`.

Of each function "main" the same graph as an export's, compiled for the software adapters that the
bench has: NAME/webgpu.json and NAME/webgl.json describe it, webgpu.bin and webgl.bin are the
Programs' binaries, state.bin what the Variables begin with. bench/pages/tabgrad-gpu.js gives them
to the player's engines, so what is measured is these and nothing around them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.build import copy_player
from bench.workloads import graphics
from tabgrad import realize
from tabgrad.compiler import driver
from tabgrad.targets.glsl.target import EIGHT, GlslTarget
from tabgrad.targets.wgsl.target import WgslTarget
from tabgrad.tensor import Tensor
from tabgrad.variable import Variable

TARGETS = {"webgpu": WgslTarget(), "webgl": GlslTarget([EIGHT])}


def write(folder: Path, function: Any) -> None:
    """The files of one function that was made by `tg.compile` and captured once."""
    traced = function.traces()[-1]
    variables = {variable.path: variable for variable in traced.variables}

    def constant(value: Tensor) -> Variable:
        made = Variable(value, trainable=False, name=f"constants/{len(variables)}")
        variables[made.path] = made
        return made

    graph = traced.with_constants("main", constant)
    folder.mkdir(parents=True)
    state = []
    with open(folder / "state.bin", "wb") as file:
        for each in graph.states:
            variable = variables[each.variable]
            data = bytes(realize.read(variable.node()))
            at = {"dtype": variable.dtype.name, "offset": file.tell(), "nbytes": len(data)}
            state.append({"name": each.variable, **at})
            file.write(data)
            file.write(bytes(-len(data) % 8))
    for engine, target in TARGETS.items():
        program = driver.compile([graph], target)
        (folder / f"{engine}.bin").write_bytes(program.binary)
        about = {"entry": program.entries[0].header(), "state": state}
        (folder / f"{engine}.json").write_text(json.dumps(about))


def main(folder: Path, names: list[str]) -> None:
    copy_player(folder)
    for name in names:
        workload = graphics.ALL[name]
        (function,) = workload.functions(workload.arrays()).values()
        write(folder / workload.folder, function)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
