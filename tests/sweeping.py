"""Sweeps of the math library: whole arrays through one function, and what all functions owe.

And float64 numbers against mpmath: arguments of every size, exact references, ULP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import pytest
import wasmtime

from tabgrad.targets.wasm.builder import I32, F32x4, F64x2, I32x4, I64x2, Module, U32x4, U64x2
from tests.targets.wasm.machine import PAGE, Machine

DTYPES: dict[Any, Any] = {
    F32x4: np.float32,
    I32x4: np.int32,
    U32x4: np.uint32,
    F64x2: np.float64,
    I64x2: np.int64,
    U64x2: np.uint64,
}

NAN = math.nan
Exact = tuple[float, float]
"""A number as the sum of two floats: the nearest one and what that leaves."""

EDGE_MANTISSAS = (0, 1, (1 << 51) - 1, 1 << 51, (1 << 52) - 1)


def sweep(count: int, seed: int = 7) -> Any:
    """Float64 numbers: every exponent, both signs, edges and `count` random mantissas."""
    random = np.random.default_rng(seed)
    heads = np.arange(4096, dtype=np.uint64) << np.uint64(52)
    edge = random.choice(np.array(EDGE_MANTISSAS, np.uint64), 4096)
    drawn = random.integers(0, 1 << 52, (count, 4096), np.uint64)
    numbers = np.concatenate([heads | edge, (heads | drawn).ravel()])
    return numbers.view(np.float64)


def split(value: Any) -> Exact:
    """A number of mpmath as two floats; infinities and NaN as they are."""
    high = float(value)
    return (high, float(value - high)) if math.isfinite(high) else (high, 0.0)


def real(function: Callable[[Any], Any]) -> Callable[[float], Exact]:
    """The reference of a function: NaN for NaN and where mpmath's result is not real."""

    def reference(x: float) -> Exact:
        if math.isnan(x):
            return NAN, 0.0
        value = function(mpmath.mpf(x))
        return split(value) if isinstance(value, mpmath.mpf) else (NAN, 0.0)

    return reference


def of_finite(function: Callable[[Any], Any], low: Any, high: Any) -> Callable[[Any], Any]:
    """`function`, with its limits at the infinities."""
    return lambda x: function(x) if mpmath.isfinite(x) else mpmath.mpf(high if x > 0 else low)


def left_open(x: Any, got: Any, want: Any) -> Any:
    """Where a GPU may differ in float32: it may take subnormal numbers for zeros."""
    tiny = np.finfo(np.float32).tiny
    return (x != 0) & (np.abs(x) < tiny) | (np.abs(want) < tiny) & (got == 0)


def ulps(got: Any, want: list[Exact]) -> Any:
    """The distance of float64 numbers from exact ones in units of the last place."""
    high, low = np.array(want).T
    assert np.array_equal(np.isnan(got), np.isnan(high)), "NaN in the wrong places"
    assert np.array_equal(np.isinf(got), np.isinf(high)), "infinities in the wrong places"
    assert np.array_equal(got[np.isinf(high)], high[np.isinf(high)])
    unit = np.spacing(np.abs(high))
    error = np.abs((got - high) - low) / unit
    return np.where(np.isfinite(high), error, 0.0)


def check_worst(got: Any, want: list[Exact], bound: float, *arguments: Any) -> None:
    """Complain about the largest error above the bound."""
    error = ulps(got, want)
    at = int(error.argmax())
    found = [float(a[at]) for a in arguments]
    assert error[at] <= bound, f"{error[at]:.3f} ulp at {found}: {got[at]!r}, not {want[at]!r}"


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


def assert_same(got: Any, want: Any) -> None:
    """Equal numbers, NaN in the same places, zeros of the same sign."""
    np.testing.assert_array_equal(got, want)
    zero = np.asarray(want) == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


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
