"""Random graphs and contractions on every engine against the reference, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tabgrad.compiler import driver
from tabgrad.dtypes import DType, float16, float32, float64, int8, int32, int64, uint64
from tabgrad.engines.reference import ReferenceEngine, evaluate
from tabgrad.engines.wasmtime import WasmtimeEngine
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Node
from tabgrad.targets.wasm.target import WasmTarget
from tests.compiler.kernel_engine import KernelEngine
from tests.compiler.random_contractions import contraction
from tests.compiler.random_graphs import Maker

ENGINES = {
    "kernels": (KernelEngine, lambda engine: None),
    "wasm": (WasmtimeEngine, lambda engine: WasmTarget(engine.features)),
    "wasm, deterministic": (
        lambda: WasmtimeEngine(deterministic=True), lambda engine: WasmTarget(engine.features),
    ),
}  # fmt: skip


@contextmanager
def _opened(name: str) -> Iterator[Any]:
    make, target = ENGINES[name]
    made = make()
    made.target = target(made)
    yield made
    made.close()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    with _opened(request.param) as made:
        yield made


@pytest.fixture(scope="module", params=["wasm", "wasm, deterministic"])
def wasm(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Without "kernels": all products of a large contraction at once do not fit into memory."""
    with _opened(request.param) as made:
        yield made


def _run(
    engine: Any, graph: EntryGraph, data: dict[Node, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outputs and states after running an entry twice, the second time on the updated states."""
    program = driver.compile([graph], engine.target)
    loaded = engine.load(program)
    handles, args = [], []
    for argument in graph.arguments:
        value = data[argument.node]
        if argument.scalar:
            args.append(int(value.view(np.uint32)))
        else:
            args.append(_upload(engine, value))
            handles.append(args[-1])
    states = [_upload(engine, data[node]) for node in graph.state]
    outputs = [_upload(engine, np.full(node.nbytes, 0xAA, np.uint8)) for node in graph.outputs]
    for _ in range(2):
        engine.run(loaded, 0, [*args, *states, *outputs])
    results = [_download(engine, h, n) for h, n in zip(outputs, graph.outputs, strict=True)]
    after = [_download(engine, h, n) for h, n in zip(states, graph.state, strict=True)]
    for handle in (*handles, *states, *outputs):
        engine.free(handle)
    engine.unload(loaded)
    return results, after


def _upload(engine: ReferenceEngine, value: np.ndarray) -> int:
    handle = engine.alloc(value.nbytes)
    engine.write(handle, value.tobytes())
    return handle


def _download(engine: ReferenceEngine, handle: int, node: Node) -> np.ndarray:
    raw = engine.read(handle, node.nbytes)
    return np.frombuffer(raw, node.dtype.name).reshape(node.shape)


def _expected(
    graph: EntryGraph, data: dict[Node, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    state = [data[node] for node in graph.state]
    results: list[np.ndarray] = []
    for _ in range(2):
        leaves = data | dict(zip(graph.state, state, strict=True))
        new = evaluate([*graph.outputs, *(node for _, node in graph.updates)], leaves)
        results = new[: len(graph.outputs)]
        for (position, _), value in zip(graph.updates, new[len(graph.outputs) :], strict=True):
            state[position] = value
    return results, state


Made = tuple[EntryGraph, dict[Node, np.ndarray]]


def check(engine: Any, made: Made, seed: int) -> None:
    graph, data = made
    expected, expected_state = _expected(graph, data)
    got, state = _run(engine, graph, data)
    for i, (mine, true) in enumerate(zip(got, expected, strict=True)):
        np.testing.assert_array_equal(mine, true, err_msg=f"output {i} of seed {seed}")
    for i, (mine, true) in enumerate(zip(state, expected_state, strict=True)):
        np.testing.assert_array_equal(mine, true, err_msg=f"state {i} of seed {seed}")


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(engine: Any, seed: int) -> None:
    check(engine, Maker(seed).make(), seed)


@pytest.mark.parametrize("seed", range(25))
def test_random_contraction(wasm: Any, seed: int) -> None:
    check(wasm, contraction(seed), seed)


def of_all_sizes(seed: int) -> Made:
    """A graph whose values are of 8 to 64 bits."""
    return Maker(seed, (float64, float32, float16), (int64, int32, int8)).make()


@pytest.mark.parametrize("seed", range(300, 350))
def test_random_graph_of_all_sizes(engine: Any, seed: int) -> None:
    check(engine, of_all_sizes(seed), seed)


@pytest.mark.parametrize("dtype", [float64, float16, int64, uint64, int32, int8], ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_random_contraction_of_other_dtypes(wasm: Any, seed: int, dtype: DType) -> None:
    check(wasm, contraction(seed, dtype), seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_graphs_of_all_sizes(engine: Any, block: int) -> None:
    for seed in range(4000 + 50 * block, 4050 + 50 * block):
        check(engine, of_all_sizes(seed), seed)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [float64, float16, int64], ids=str)
@pytest.mark.parametrize("block", range(4))
def test_many_random_contractions_of_other_dtypes(wasm: Any, block: int, dtype: DType) -> None:
    for seed in range(2000 + 25 * block, 2025 + 25 * block):
        check(wasm, contraction(seed, dtype), seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_graphs(engine: Any, block: int) -> None:
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        check(engine, Maker(seed).make(), seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_contractions(wasm: Any, block: int) -> None:
    for seed in range(1000 + 25 * block, 1025 + 25 * block):
        check(wasm, contraction(seed), seed)
