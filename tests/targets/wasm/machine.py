"""Runs modules written with the builder in wasmtime, for the tests of this folder."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import wasmtime

from tabgrad.targets.wasm.builder import I32, Function, Module


class Machine:
    """An instance of a module with a memory that NumPy arrays are written to and read from."""

    def __init__(self, module: Module, pages: int = 1) -> None:
        config = wasmtime.Config()
        config.wasm_threads = True
        config.wasm_relaxed_simd = True
        engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(engine)
        limits = wasmtime.Limits(max(pages, module.min_pages), module.max_pages)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(limits))
        compiled = wasmtime.Module(engine, module.encode(names=True))
        instance = wasmtime.Instance(self.store, compiled, [self.memory])
        self.exports = instance.exports(self.store)

    def call(self, name: str, *args: Any) -> Any:
        return self.exports[name](self.store, *args)

    def write(self, address: int, array: Any) -> None:
        self.memory.write(self.store, np.ascontiguousarray(array).tobytes(), address)

    def read(self, address: int, shape: Any, dtype: Any) -> Any:
        count = int(np.prod(shape))
        at = ctypes.addressof(self.memory.data_ptr(self.store).contents) + address
        data = ctypes.string_at(at, count * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype).reshape(shape)


def run(write: Callable[[Function], None], *arrays: Any, shape: Any, dtype: Any) -> Any:
    """Run one function body over arrays stored from address 1024 on, 64 KiB apart.

    The body finds array i at `inputs(i)` and leaves its result at address 0 of `output()`.
    """
    module = Module()
    write(module.function("run", export=True))
    machine = Machine(module, pages=2 + len(arrays))
    for i, array in enumerate(arrays):
        machine.write(INPUT + SPACING * i, array)
    machine.call("run")
    return machine.read(OUTPUT, shape, dtype)


SPACING = 65536
INPUT = 65536
OUTPUT = 1024


def address(index: int) -> I32:
    """Where `run` puts array `index`."""
    return I32.const(INPUT + SPACING * index)
