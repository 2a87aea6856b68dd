"""Computes nodes with wasmtime and hands back arrays, for the tests of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tabgrad.compiler import driver
from tabgrad.compiler.plan import Plan
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import Node
from tabgrad.ir.kernel import Kernel, kernels_of
from tabgrad.targets.wasm.target import WasmTarget
from tests.targets.wasm.arrays import Array

VARIANTS = ("fma", "deterministic")


class KeepingTarget(WasmTarget):
    """The WASM target, keeping the plans of the last Program."""

    plans: Sequence[Plan] = ()

    def emit(self, plans: Sequence[Plan]) -> Any:
        self.plans = plans
        return super().emit(plans)

    def kernels(self) -> list[Kernel]:
        """The kernels of the last Program's only entry."""
        (plan,) = self.plans
        return list(kernels_of(plan.launches))


@cache
def machine(variant: str) -> tuple[WasmtimeEngine, KeepingTarget]:
    """The engine and the target of one of `VARIANTS`."""
    engine = WasmtimeEngine(deterministic=variant == "deterministic")
    return engine, KeepingTarget(engine.features)


class Given:
    """Inputs with arrays: `given(array)` is a node, `given.arrays` what to run it on."""

    def __init__(self) -> None:
        self.arrays: dict[Node, Array] = {}

    def __call__(self, array: Any) -> Node:
        array = np.asarray(array)
        node = b.input(array.shape, dtype_of(array))
        self.arrays[node] = array
        return node


def dtype_of(array: Array) -> Any:
    """The library's dtype of an array."""
    from tabgrad.dtypes import as_dtype

    return as_dtype(array.dtype.name)


def compute(
    outputs: Sequence[Node], arrays: Mapping[Node, Array], variant: str = "fma"
) -> list[Array]:
    """The values of nodes, as wasmtime computes them in one Program."""
    engine, target = machine(variant)
    graph = EntryGraph(
        "test",
        [Argument(node, f"x{i}") for i, node in enumerate(arrays)],
        [],
        [Result(node, f"y{i}") for i, node in enumerate(outputs)],
    )
    loaded = engine.load(driver.compile([graph], target))
    handles = []
    for node, array in arrays.items():
        handles.append(engine.alloc(node.nbytes))
        engine.write(handles[-1], np.ascontiguousarray(array).tobytes())
    for node in outputs:
        handles.append(engine.alloc(node.nbytes))
        engine.write(handles[-1], b"\xaa" * node.nbytes)
    engine.run(loaded, 0, handles)
    results = [
        np.frombuffer(engine.read(handle, node.nbytes), node.dtype.name).reshape(node.shape)
        for handle, node in zip(handles[len(arrays) :], outputs, strict=True)
    ]
    for handle in handles:
        engine.free(handle)
    engine.unload(loaded)
    return results


def run(
    variant: str,
    given: Given,
    nodes: Sequence[Node],
    expected: Sequence[Any],
    names: Sequence[Any] | None = None,
) -> None:
    """Compute and compare to the bit; `names` says which node is which."""
    got = compute(nodes, given.arrays, variant)
    for i, (mine, true) in enumerate(zip(got, expected, strict=True)):
        true = np.asarray(true)
        assert mine.dtype == true.dtype, names and names[i]
        np.testing.assert_array_equal(mine, true, err_msg=str(names[i] if names else i))


def subsets(rank: int) -> list[tuple[int, ...]]:
    """Every choice of at least one axis."""
    return [c for n in range(1, rank + 1) for c in itertools.combinations(range(rank), n)]
