"""Running functions of the wasm math library over whole arrays, and what all of them owe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import wasmtime

from tabgrad.targets.wasm.builder import I32, F32x4, F64x2, I32x4, I64x2, Module, U32x4, U64x2
from tests.targets.wasm.machine import PAGE, Machine

VARIANTS = pytest.mark.parametrize("fma", [False, True], ids=["plain", "fma"])

DTYPES: dict[Any, Any] = {
    F32x4: np.float32,
    I32x4: np.int32,
    U32x4: np.uint32,
    F64x2: np.float64,
    I64x2: np.int64,
    U64x2: np.uint64,
}


def evaluate(emit: Callable[..., Any], kind: Any, *arrays: Any) -> Any:
    """The function over whole arrays in one loop; an array, or a list where it gives a tuple."""
    count, width = len(arrays[0]), 16 // kind.LANES
    room = -(-(width * count + 16) // PAGE) * PAGE
    module = Module()
    f = module.function("run", export=True)
    with f.loop_range(0, width * count, 16) as i:
        operands = [f.let(kind.load(i + PAGE + room * n)) for n in range(len(arrays))]
        given = emit(f, *operands)
        results = given if isinstance(given, tuple) else (given,)
        for n, result in enumerate(results):
            f.store(i + PAGE + room * (len(arrays) + n), result)
    machine = Machine(module, pages=1 + room * (len(arrays) + len(results)) // PAGE)
    for n, array in enumerate(arrays):
        machine.write(PAGE + room * n, array)
    machine.call("run")
    stored = [
        machine.read(PAGE + room * (len(arrays) + n), count, DTYPES[type(result)])
        for n, result in enumerate(results)
    ]
    return stored if isinstance(given, tuple) else stored[0]


def check_temporaries(kind: Any, functions: Iterable[Callable[..., Any]]) -> None:
    """Each function gives its temporaries back: once more, it needs at most its result's local."""
    f = Module().function("f", [I32])
    (p,) = f.params
    x = f.let(kind.load(p))
    for function in functions:
        function(f, x, True)
        before = len(f.local_types)
        function(f, x, True)
        assert len(f.local_types) <= before + 1


def check_plain(kind: Any, emit: Callable[..., Iterable[Any]]) -> None:
    """What `emit(f, x, fma)` gives needs relaxed instructions with `fma`, and none without."""
    module = Module()
    for fma in (False, True):
        f = module.function(f"f{fma}")
        for result in emit(f, f.let(kind.load(0)), fma):
            f.store(0, result)
        config = wasmtime.Config()
        config.wasm_relaxed_simd = False
        engine = wasmtime.Engine(config)
        if not fma:
            wasmtime.Module(engine, module.encode())
        else:
            with pytest.raises(wasmtime.WasmtimeError, match="relaxed SIMD"):
                wasmtime.Module(engine, module.encode())
