"""Running what the shading library emits: whole arrays through one function on this machine's GPU.

Of one lane or of four, so that both forms of every function are met.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tabgrad.dtypes import as_dtype
from tabgrad.engines.wgpu import WgpuEngine
from tabgrad.ir.kernel import Buffer
from tabgrad.targets.shading.bindings import SCALARS
from tabgrad.targets.shading.values import LANES, Block, Value
from tabgrad.targets.wgsl.shader import Bindings, write
from tools.gpu import provide_adapter


@functools.cache
def engine() -> WgpuEngine:
    """One engine for all tests of this process."""
    provide_adapter()
    return WgpuEngine()


def evaluate(
    emit: Callable[..., Any], width: int, results: Sequence[str], *arrays: Any
) -> list[Any]:
    """What a function of `Value`s gives for every element: arrays of the dtypes in `results`.

    A thread takes one element, or four neighbours at once.
    """
    count = len(arrays[0])
    whole = -(-count // LANES) * LANES
    given = [np.resize(array, whole) for array in arrays]
    inputs = [
        Buffer(f"x{i}", "input", whole, as_dtype(array.dtype.name), slot=i)
        for i, array in enumerate(given)
    ]
    outputs = [
        Buffer(f"y{i}", "output", whole, as_dtype(name), slot=i) for i, name in enumerate(results)
    ]
    fours = [id(b) for b in (*inputs, *outputs)] if width == LANES else []
    bindings = Bindings(outputs, fours, {}, ())

    def body(block: Block, thread: Value) -> None:
        at = block.let(thread * width)
        load = bindings.load_four if width == LANES else bindings.load
        store = bindings.store_four if width == LANES else bindings.store
        found = emit(*[block.let(load(block, buffer, at)) for buffer in inputs])
        for buffer, value in zip(
            outputs, found if isinstance(found, tuple) else (found,), strict=True
        ):
            store(block, buffer, at, value.splat(width))

    shader = write(bindings, whole // width, body, SCALARS)
    places = {id(b): i for i, b in enumerate((*inputs, *outputs))}
    kernel = {"code": shader.code, "writes": shader.writes, "turns": False}
    launch = {
        "kernel": 0,
        "buffers": [places[id(b)] for b in shader.buffers],
        "groups": shader.groups,
    }
    plan = {"words": SCALARS, "temps": [], "constants": [], "scalars": [], "launches": [launch]}
    entry = SimpleNamespace(inputs=inputs, state=(), outputs=outputs, constants=())
    binary = json.dumps({"kernels": [kernel], "entries": [plan]}).encode()
    program = SimpleNamespace(features=(), entries=[entry], binary=binary)
    return _run(program, given, outputs, count)


def _run(program: Any, given: Sequence[Any], outputs: Sequence[Buffer], count: int) -> list[Any]:
    gpu = engine()
    loaded = gpu.load(program)
    handles = [gpu.alloc(array.nbytes, array.dtype.name) for array in given]
    for handle, array in zip(handles, given, strict=True):
        gpu.write(handle, array)
    made = [gpu.alloc(buffer.nbytes, buffer.dtype.name) for buffer in outputs]
    gpu.run(loaded, 0, [*handles, *made])
    found = [
        np.frombuffer(gpu.read(handle, buffer.nbytes), buffer.dtype.name)[:count]
        for handle, buffer in zip(made, outputs, strict=True)
    ]
    for handle in (*handles, *made):
        gpu.free(handle)
    gpu.unload(loaded)
    return found
