"""The bench's own parts: what results are compared with, the graphs, the machine's kernels.

NumPy's results, with which every contestant's are compared in the bench, are held to the reference
evaluator of the `onnx` package here, by the graphs that onnxruntime-web is given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
import wasmtime
from onnx.reference import ReferenceEvaluator

from bench import machine, native, onnx_file, workloads
from bench.compare import Reference, WrongResultError
from bench.workload import Workload, sampled

# One of each kind that has a graph, small enough for the evaluator, which is in Python.
WITH_GRAPHS = [
    "matmul/64", "matmul/128x128x784", "matmul/a-transposed-128", "matmul/b-transposed-128",
    "matmul/batch-12x128x32x128", "matmul/fresh-64", "gemv/1x784x128",
    "conv/1x1-14x14x576-96", "conv/3x3-28x28x128-128-groups4", "conv/3x3-56x56x64-128-stride2",
    "conv/3x3-28x28x128-128-dilated2", "conv/3x3-14x14x256-128-stride2-transposed",
    "depthwise/3x3-7x7x960", "depthwise/3x3-14x14x576-stride2",
    "softmax/1000x1000", "layer-norm/1000x1000", "sum/1000x1000", "transpose/1000x1000",
    "steps/products", "steps/adds",
]  # fmt: skip


@pytest.mark.parametrize("name", WITH_GRAPHS)
def test_numpy_and_the_graph_agree(name: str) -> None:
    workload = workloads.ALL[name]
    repeats = min(workload.repeats, 2)
    arrays = workload.arrays()
    assert workload.graph is not None and workload.expected is not None
    file = onnx.load_from_string(workload.graph(arrays, repeats))
    onnx.checker.check_model(file, full_check=True)
    evaluator = ReferenceEvaluator(file)
    images = bool(workload.parameters.get("images"))
    feeds = {
        each.name: arrays[each.name].transpose(0, 3, 1, 2) if images else arrays[each.name]
        for each in file.graph.input
    }
    found = evaluator.run(["y"], feeds)[0]
    found = found.transpose(0, 2, 3, 1) if images else found
    # A convolution's further kernels are others, and their results are not this one.
    expected = workload.expected(arrays, 1 if images else repeats)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=workload.tolerance * scale)


@pytest.mark.parametrize("name", ["conv/3x3-13x15x250-259", "depthwise/3x3-57x55x143-stride2"])
def test_tabgrad_agrees_where_nothing_is_even(name: str) -> None:
    workload = workloads.ALL[name]
    arrays = workload.arrays()
    found = workload.functions(arrays)["main"](arrays["x"])
    answer = {"finite": True, "shape": list(found.shape), "repeats": 1}
    answer["sample"] = sampled(np.array(found.tolist(), np.float32)).tolist()
    error = Reference(workload, arrays).error(answer)
    assert error is not None and error < 1e-5


def test_names_are_unique_and_refer_to_workloads() -> None:
    everything = list(workloads.ALL.values())
    assert len({each.folder for each in everything}) == len(everything)
    for workload in everything:
        assert workload.name == next(n for n, w in workloads.ALL.items() if w is workload)
        for other, part in workload.beside:
            assert other in workloads.ALL and 0 < part < 1


def test_what_computes_has_functions_and_pages_have_none() -> None:
    found = workloads.computing("mobilenet|minilm|seed/|start/")
    assert [each.name for each in found] == ["infer/mobilenet", "infer/minilm"]
    for workload in workloads.ALL.values():
        assert workload.visits != (workload in workloads.computing(""))
        assert not workload.visits or not workload.functions(workload.arrays())
    with pytest.raises(SystemExit, match=r"'train/mobilenet'.*bench.run --list"):
        workloads.computing("train/mobilenet")


def small(**options: Any) -> Workload:
    made = Workload(
        name="small",
        kind="small",
        group="tests",
        arrays=dict,
        functions=lambda arrays: {},
        expected=lambda arrays, repeats: np.arange(6.0).reshape(2, 3) * repeats,
        **options,
    )
    return made


def answer_of(values: np.ndarray[Any, Any], repeats: int = 1) -> dict[str, Any]:
    return {
        "finite": bool(np.isfinite(values).all()),
        "shape": list(values.shape),
        "sample": values.reshape(-1).tolist(),
        "repeats": repeats,
    }


def test_results_are_compared() -> None:
    right = np.arange(6.0).reshape(2, 3)
    reference = Reference(small(), {})
    assert reference.error(answer_of(right)) == 0
    assert reference.error(answer_of(right * 3, repeats=3)) == 0
    for wrong, words in (
        (right.T, "shape"),
        (right + [[0, 0, 0.01], [0, 0, 0]], "off by"),
        (right * math.nan, "finite"),
    ):
        with pytest.raises(WrongResultError, match=words):
            Reference(small(), {}).error(answer_of(wrong))


def test_the_first_result_is_the_reference_where_there_is_none() -> None:
    workload = Workload("x", "x", "tests", arrays=dict, functions=lambda arrays: {})
    reference = Reference(workload, {})
    assert reference.error(answer_of(np.ones(3))) is None
    assert reference.error(answer_of(np.ones(3))) == 0
    with pytest.raises(WrongResultError):
        reference.error(answer_of(np.array([1.0, 1.0, 1.1])))


@pytest.mark.parametrize("relaxed", [True, False])
def test_the_machine_computes_and_copies(relaxed: bool) -> None:
    largest = 1 << 16
    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    store = wasmtime.Store(wasmtime.Engine(config))
    limits = wasmtime.Limits(machine.pages(largest), 65536)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(limits))
    module = wasmtime.Module(store.engine, machine.module(largest, relaxed=relaxed))
    exports = wasmtime.Instance(store, module, [memory]).exports(store)
    # Each of the accumulators tends to 2.
    exports["arithmetic"](store, 100)  # type: ignore[operator]
    total = np.frombuffer(memory.read(store, 0, 16), np.float32)
    np.testing.assert_allclose(total, 2.0 * machine.ACCUMULATORS, rtol=1e-6)
    data = np.random.default_rng(1).integers(0, 256, 1280, np.uint8).tobytes()
    memory.write(store, data, machine.HEAD)
    exports["copy"](store, len(data))  # type: ignore[operator]
    copied = memory.read(store, machine.HEAD + largest, machine.HEAD + largest + len(data) + 1)
    assert bytes(copied) == data + b"\0"


def test_a_process_answers_as_a_page_does() -> None:
    workload = workloads.ALL["steps/adds"]
    process = native.Process("wasmtime", 1, workload)
    try:
        answer = process.ask("open", warm=1)
        assert Reference(workload, workload.arrays()).error(answer) == 0
        assert all(sample > 0 for sample in process.ask("slice", ms=1, batch=1))
        with pytest.raises(native.PageError, match="unexpected keyword"):
            process.ask("slice", what=1)
    finally:
        process.close()


def test_several_results_of_one_node() -> None:
    graph = onnx_file.Graph()
    values = np.array([3.0, 1.0, 2.0], np.float32)
    count = graph.constant("count", np.array([2], np.int64))
    node = graph.node("TopK", [graph.input("x", values), count], results=2, largest=0)
    graph.output(node, (2,))
    (found,) = ReferenceEvaluator(onnx.load_from_string(graph.encode())).run(None, {"x": values})
    np.testing.assert_array_equal(found, [1, 2])
