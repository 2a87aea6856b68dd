"""What is no product: elementwise chains, folds along rows, sorting, random numbers, small steps.

Gigabytes a second count one read of the inputs and one write of the results, whatever is really
moved. onnxruntime-web copies inputs and results at every call; where an operation cannot be
repeated within its graph, its time has those copies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import tabgrad as tg
from bench import onnx_file
from bench.workload import Array, Arrays, Workload, normal

SIDE = 1000
LONG = 4 << 20
MILLION = 1_000_000
STEPS = 1000
EPSILON = 1e-5


def _called(main: Callable[..., Any], *examples: Array) -> Mapping[str, Any]:
    compiled = tg.compile(main)
    compiled(*(tg.tensor(example) for example in examples))
    return {"main": compiled}


def _of_x(main: Callable[..., Any]) -> Callable[[Arrays], Mapping[str, Any]]:
    """The functions of a workload whose only array is x."""
    return lambda arrays: _called(main, arrays["x"])


def _square() -> Arrays:
    return {"x": normal(1, SIDE, SIDE)}


def _repeated(step: Callable[[Array], Array], arrays: Arrays, repeats: int) -> Array:
    value = arrays["x"].astype(np.float64)
    for _ in range(repeats):
        value = step(value)
    return value


def _graph_of_x(
    step: Callable[[onnx_file.Graph, str], str],
    shape: Callable[[Array], tuple[int, ...]],
    arrays: Arrays,
    repeats: int,
) -> bytes:
    graph = onnx_file.Graph()
    value = graph.input("x", arrays["x"])
    for _ in range(repeats):
        value = step(graph, value)
    graph.output(value, shape(arrays["x"]))
    return graph.encode()


# relu(x * 1.5 + 0.25) * sigmoid(x)


def _chain(x: Array) -> Array:
    line: Array = np.maximum(x * 1.5 + 0.25, 0)
    line /= 1 + np.exp(-x)
    return line


def _chain_graph(graph: onnx_file.Graph, x: str) -> str:
    factor = graph.constant("", np.array(1.5, np.float32))
    term = graph.constant("", np.array(0.25, np.float32))
    line = graph.node("Add", [graph.node("Mul", [x, factor]), term])
    return graph.node("Mul", [graph.node("Relu", [line]), graph.node("Sigmoid", [x])])


# Folds along rows


def _softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e


def _layer_norm(x: Array) -> Array:
    centred: Array = x - x.mean(-1, keepdims=True)
    centred /= np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    return centred


def _layer_norm_graph(graph: onnx_file.Graph, x: str) -> str:
    scale = graph.constant("", np.ones(SIDE, np.float32))
    shift = graph.constant("", np.zeros(SIDE, np.float32))
    return graph.node("LayerNormalization", [x, scale, shift], axis=-1, epsilon=EPSILON)


def _sort_graph(arrays: Arrays, repeats: int) -> bytes:
    graph = onnx_file.Graph()
    x = graph.input("x", arrays["x"])
    count = graph.constant("count", np.array([MILLION], np.int64))
    graph.output(graph.node("TopK", [x, count], largest=0, sorted=1, results=2), (MILLION,))
    return graph.encode()


# Random numbers


def _normal_functions(arrays: Arrays) -> Mapping[str, Any]:
    return _called(lambda: tg.random.normal((MILLION,)))


def _normal_graph(arrays: Arrays, repeats: int) -> bytes:
    graph = onnx_file.Graph()
    graph.output(graph.node("RandomNormal", [], shape=[MILLION]), (MILLION,))
    return graph.encode()


def _wrong_normal(sample: Array) -> str | None:
    """Moments of 4,096 numbers, with bounds of about five standard errors."""
    mean, deviation, fourth = sample.mean(), sample.std(), (sample**4).mean()
    if abs(mean) > 0.08 or abs(deviation - 1) > 0.06 or abs(fourth - 3) > 0.8:
        return f"not normal: mean {mean:.3f}, deviation {deviation:.3f}, fourth moment {fourth:.2f}"
    return None


# A thousand steps that depend on one another


def _small_arrays() -> Arrays:
    """Rotations, so that the vector neither grows nor vanishes."""
    turns, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((STEPS, 4, 4)))
    return {"x": normal(1, 1, 4), "w": turns.astype(np.float32)}


def _small_functions(arrays: Arrays) -> Mapping[str, Any]:
    weights = [tg.tensor(w) for w in arrays["w"]]

    def main(x: tg.Tensor) -> tg.Tensor:
        for w in weights:
            x = x @ w
        return x

    made = _called(main, arrays["x"])
    count = len(made["main"].program(tg.tensor(arrays["x"])).entries[0].kernels)
    if count != STEPS:
        raise AssertionError(f"expected {STEPS} kernels, one a product; the program has {count}")
    return made


def _small_expected(arrays: Arrays, repeats: int) -> Array:
    x = arrays["x"].astype(np.float64)
    for w in arrays["w"]:
        x = x @ w
    return x


def _small_graph(arrays: Arrays, repeats: int) -> bytes:
    graph = onnx_file.Graph()
    x = graph.input("x", arrays["x"])
    for w in arrays["w"]:
        x = graph.node("MatMul", [x, graph.constant("", w)])
    graph.output(x, (1, 4))
    return graph.encode()


def _adds_arrays() -> Arrays:
    return {"x": np.zeros(4, np.float32), "one": np.ones(4, np.float32)}


def _adds_functions(arrays: Arrays) -> Mapping[str, Any]:
    def main(x: tg.Tensor, one: tg.Tensor) -> tg.Tensor:
        for _ in range(STEPS):
            x = x + one
        return x

    return _called(main, arrays["x"], arrays["one"])


def _adds_graph(arrays: Arrays, repeats: int) -> bytes:
    graph = onnx_file.Graph()
    x, one = (graph.input(name, arrays[name]) for name in ("x", "one"))
    for _ in range(STEPS):
        x = graph.node("Add", [x, one])
    graph.output(x, (4,))
    return graph.encode()


def _same_shape(x: Array) -> tuple[int, ...]:
    return x.shape


WORKLOADS = [
    Workload(
        name="chain/4Mi",
        kind="chain",
        group="elementwise",
        wanted={"best": 2.0},
        arrays=lambda: {"x": normal(1, LONG)},
        functions=_of_x(lambda x: tg.relu(x * 1.5 + 0.25) * tg.sigmoid(x)),
        nbytes=8 * LONG,
        repeats=4,
        expected=partial(_repeated, _chain),
        graph=partial(_graph_of_x, _chain_graph, _same_shape),
    ),
    Workload(
        name="softmax/1000x1000",
        kind="softmax",
        group="rows",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=_square,
        functions=_of_x(lambda x: tg.softmax(x)),
        nbytes=8 * SIDE**2,
        repeats=4,
        expected=partial(_repeated, _softmax),
        graph=partial(
            _graph_of_x, lambda graph, x: graph.node("Softmax", [x], axis=-1), _same_shape
        ),
    ),
    Workload(
        name="layer-norm/1000x1000",
        kind="layer_norm",
        group="rows",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=_square,
        functions=_of_x(lambda x: tg.nn.layer_normalization(x, epsilon=EPSILON)),
        parameters={"epsilon": EPSILON},
        nbytes=8 * SIDE**2,
        repeats=4,
        expected=partial(_repeated, _layer_norm),
        graph=partial(_graph_of_x, _layer_norm_graph, _same_shape),
    ),
    Workload(
        name="sum/1000x1000",
        kind="sum",
        group="rows",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=lambda: {"x": np.abs(normal(1, SIDE, SIDE))},
        functions=_of_x(lambda x: tg.sum(x)),
        nbytes=4 * SIDE**2,
        expected=lambda arrays, _: np.asarray(arrays["x"].sum(dtype=np.float64)),
        tolerance=2e-4,  # the peers have one running sum, or few
        graph=partial(
            _graph_of_x, lambda graph, x: graph.node("ReduceSum", [x], keepdims=0), lambda x: ()
        ),
    ),
    Workload(
        name="transpose/1000x1000",
        kind="transpose",
        group="rows",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=_square,
        functions=_of_x(lambda x: tg.transpose(x)),
        nbytes=8 * SIDE**2,
        expected=lambda arrays, _: arrays["x"].T,
        tolerance=0.0,
        graph=partial(
            _graph_of_x,
            lambda graph, x: graph.node("Transpose", [x], perm=[1, 0]),
            _same_shape,
        ),
    ),
    Workload(
        name="sort/1M",
        kind="sort",
        group="sorting and random numbers",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=lambda: {"x": normal(1, MILLION)},
        functions=_of_x(lambda x: tg.sort(x)),
        nbytes=8 * MILLION,
        expected=lambda arrays, _: np.sort(arrays["x"]),
        tolerance=0.0,
        graph=_sort_graph,
    ),
    Workload(
        name="normal/1M",
        kind="normal",
        group="sorting and random numbers",
        wanted={"best": 1.5},
        of_peak=0.8,
        either=True,
        arrays=dict,
        functions=_normal_functions,
        parameters={"count": MILLION},
        nbytes=4 * MILLION,
        check=_wrong_normal,
        graph=_normal_graph,
    ),
    Workload(
        name="steps/products",
        kind="small_products",
        group="a thousand dependent steps",
        at_most=0.0003 * STEPS,
        arrays=_small_arrays,
        functions=_small_functions,
        constants=frozenset({"w"}),
        count=STEPS,
        expected=_small_expected,
        tolerance=1e-4,
        graph=_small_graph,
    ),
    Workload(
        name="steps/adds",
        kind="adds",
        group="a thousand dependent steps",
        arrays=_adds_arrays,
        functions=_adds_functions,
        parameters={"steps": STEPS},
        count=STEPS,
        expected=lambda arrays, _: arrays["x"].astype(np.float64) + STEPS,
        graph=_adds_graph,
    ),
]
