"""What holds of folds on every engine that has subgroups: right values, in the bits of the tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.targets.wgsl.target import COOPERATIVE, SHADER_F16, SUBGROUPS, WgslTarget
from tests.compiler.programs import traced

LENGTHS = (63, 64, 65, 100, 127, 128, 1000, 4097)
ROWS = 3
FOLDS = {
    "sum": ("float32", "float16", "int32", "uint8"),
    "prod": ("float32", "int32"),
    "max": ("float32", "float16", "int32", "uint32"),
    "min": ("float32", "float16", "int32", "uint32"),
    "any": ("bool",),
    "all": ("bool",),
}


def numbers(dtype: str, fold: str, length: int) -> Any:
    """Rows of numbers; extremes meet both zeros, a NaN and infinities, truths few exceptions."""
    rng = np.random.default_rng(length)
    shape = (ROWS, length)
    if dtype == "bool":
        found = np.full(shape, fold == "all")
        found[1, rng.integers(length)] ^= True
        return found
    if fold == "prod":
        found = rng.uniform(0.9, 1.1, shape) if dtype == "float32" else rng.integers(-7, 7, shape)
        return (found * 2 + 1 if dtype == "int32" else found).astype(dtype)
    if not dtype.startswith("float"):
        bounds = np.iinfo(dtype)
        return rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)
    found = rng.normal(size=shape).astype(dtype)
    if fold in ("max", "min"):
        found[1] = np.where(rng.random(length) < 0.5, -0.0, 0.0)
        found[2, rng.integers(length)] = np.nan if length % 2 else np.inf
    return found


def results(
    engine: Any,
    features: Sequence[str],
    fold: str,
    arrays: Sequence[Any],
    changed: Callable[[Any], Any] = lambda program: program,
) -> list[bytes]:
    """What an engine gives for each array's rows, by kernels for some features."""
    function = getattr(tg, fold)
    graphs = [traced(lambda x: function(x, axis=1), (a.shape, a.dtype.name)) for a in arrays]
    halves = {SHADER_F16} & engine.features
    program = driver.compile(graphs, WgslTarget([*features, *halves]))
    assert set(program.features) - halves == set(features)
    loaded = engine.load(changed(program))
    found = []
    for number, array in enumerate(arrays):
        (port,) = program.entries[number].outputs
        nbytes = ROWS * np.dtype(port.dtype).itemsize
        x, y = engine.alloc(array.nbytes, array.dtype.name), engine.alloc(nbytes, port.dtype)
        engine.write(x, array)
        engine.run(loaded, number, [x, y])
        found.append(engine.read(y, nbytes))
        engine.free(x)
        engine.free(y)
    engine.unload(loaded)
    return found


def check_folds(engine: Any, fold: str) -> None:
    """Of every length and dtype."""
    arrays = [numbers(dtype, fold, length) for dtype in FOLDS[fold] for length in LENGTHS]
    found = results(engine, [COOPERATIVE, SUBGROUPS], fold, arrays)
    assert found == results(engine, [COOPERATIVE], fold, arrays)
    for array, raw in zip(arrays, found, strict=True):
        name = f"{array.dtype} {array.shape[1]}"
        exact = getattr(np, fold)(array.astype("float64") if array.dtype.kind == "f" else array, 1)
        if array.dtype.kind != "f":
            kind = np.dtype(f"{exact.dtype.kind}4") if exact.dtype.kind in "iu" else exact.dtype
            assert raw == exact.astype(kind).tobytes(), name
            continue
        got = np.frombuffer(raw, array.dtype)
        if fold in ("max", "min"):
            np.testing.assert_array_equal(got, exact.astype(array.dtype), name)
            assert np.signbit(got[1]) == (fold == "min"), name  # +0 is above -0
            continue
        rounded = np.finfo(array.dtype).eps * np.abs(exact)
        size = np.abs(array.astype("float64")).sum(1) if fold == "sum" else array.shape[1] * exact
        error = np.abs(got - exact)
        assert (error <= rounded + np.finfo("float32").eps * size).all(), (name, error)
