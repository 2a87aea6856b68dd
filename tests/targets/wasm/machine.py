"""Runs modules written with the builder in wasmtime, for the tests of this folder."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import wasmtime

from tabgrad.targets.wasm.builder import I32, Function, Module, Value

PAGE = 65536
OUTPUT = 1024


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


def run(write: Callable[..., None], *arrays: Any, shape: Any = (4,), dtype: Any = None) -> Any:
    """Run `write(f, *addresses, output)` over arrays in memory and return what it stored."""
    module = Module()
    f = module.function("run", export=True)
    addresses = [I32.const(PAGE * (1 + i)) for i in range(len(arrays))]
    write(f, *addresses, I32.const(OUTPUT))
    machine = Machine(module, pages=1 + len(arrays))
    for i, array in enumerate(arrays):
        machine.write(PAGE * (1 + i), array)
    machine.call("run")
    return machine.read(OUTPUT, shape, arrays[0].dtype if dtype is None else dtype)


def each(expressions: Sequence[Callable[..., Value[Any]]], kind: Any, *arrays: Any) -> list[Any]:
    """Each expression of one vector (or scalar) of every array, as the 16 bytes it stores."""

    def write(f: Function, *addresses: I32) -> None:
        for i, expression in enumerate(expressions):
            operands = [f.let(kind.load(a)) for a in addresses[:-1]]
            f.store(addresses[-1] + 16 * i, expression(*operands))

    stored = run(write, *arrays, shape=(len(expressions), 16), dtype=np.uint8)
    return [row.tobytes() for row in stored]
