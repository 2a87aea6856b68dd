"""TABGRAD_VALIDATE finds the kernel that is wrong, and accepts those that round differently."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config, ops, realize
from tabgrad.dtypes import float32
from tabgrad.engines.reference import ReferenceEngine
from tabgrad.engines.validate import ValidatingEngine
from tabgrad.errors import EngineError
from tabgrad.ir.graph import Node, layer_scope, make
from tabgrad.targets.wasm import operations
from tests.compiler.programs import overlay_temporaries
from tests.compiler.random_graphs import Maker
from tools.gpu import provide_adapter


@pytest.fixture(autouse=True)
def validating() -> Iterator[None]:
    with config.override(validate=True), realize.using(realize.make_engine("wasm", False)):
        assert isinstance(realize.engine(), ValidatingEngine)
        yield


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, factor: float) -> None:
    """Let kernels compute a primitive a little wrong."""
    right = operations._OPERATIONS[name]
    monkeypatch.setitem(
        operations._OPERATIONS, name, lambda *args: right(*args) * np.float32(factor).item()
    )


def digits_like() -> tg.Sequential:
    tg.random.seed(0)
    model = tg.Sequential(
        [
            tg.Input((8, 8, 1)),
            tg.layers.Conv2D(4, 3, padding="same", activation="relu"),
            tg.layers.BatchNormalization(),
            tg.layers.MaxPooling2D(),
            tg.layers.Flatten(),
            tg.layers.Dropout(0.4),
            tg.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((rows, 8, 8, 1), np.float32), rng.integers(0, 10, rows, np.int32)


def test_training_is_clean() -> None:
    """Full and partial batches of a convolutional network, its evaluation and its predictions."""
    model = digits_like()
    x, y = images(40)
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    model.evaluate(x, y, batch_size=16, verbose=0)
    assert model.predict(x, batch_size=16, verbose=0).shape == (40, 10)


def test_numbers_are_those_of_the_bare_engine() -> None:
    x, y = images(32)
    weights = []
    for engine in (realize.engine(), realize.engine().inner):
        with realize.using(engine):
            model = digits_like()
            model.fit(x, y, batch_size=16, epochs=1, verbose=0)
            weights.append([v.numpy() for v in model.weights])
    for mine, bare in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, bare)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_shaders_are_checked(dtype: str) -> None:
    provide_adapter()
    x = np.random.default_rng(0).uniform(-1, 1, (9, 16)).astype(dtype)
    with realize.using(realize.make_engine("webgpu", False)):
        assert isinstance(realize.engine(), ValidatingEngine)
        product = tg.compile(lambda x: tg.tanh(x @ tg.flip(x, axis=0).T))
        got = product(tg.tensor(x, dtype=dtype)).numpy()
    wide = x.astype(np.float64)
    want = np.tanh(wide @ wide[::-1].T)
    np.testing.assert_allclose(got.astype(np.float64), want, atol=8 * np.finfo(dtype).eps)


def test_a_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "sqrt", 1.001)
    x = tg.tensor(np.arange(1, 7, dtype=np.float32).reshape(2, 3))

    @tg.compile
    def three_kernels(x):
        totals = ops.sum(x, axis=1)
        with layer_scope("block/norm"):
            scaled = x / ops.reshape(ops.sqrt(totals), (2, 1))
        return ops.sum(scaled, axis=0)

    with pytest.raises(EngineError) as caught:
        three_kernels(x)
    assert caught.value.code == "validate"
    message = str(caught.value)
    assert message.startswith("kernel reduce_0 of three_kernels is wrong: of the float32[2]")
    assert "(made in block/norm), 2 of 2 elements differ" in message
    assert "at [1]: expected 3.87" in message  # the square root of 15
    assert "= sqrt(acc)" in message and "= sqrt(%" in message


def test_an_error_of_the_last_place_is_found_where_rounding_is_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, "div", 1 + 2.0**-23)
    x = tg.tensor(np.linspace(1, 2, 50, dtype=np.float32))
    with pytest.raises(EngineError, match="0 is allowed"):
        (x / (x + 1)).numpy()


def test_approximations_and_sums_may_round_differently() -> None:
    """Cancellation, jumps and long sums magnify what is right; none of it is an error."""
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(7, 5000)).astype(np.float32))
    large = ops.exp(x * 3)
    (large - ops.mean(large, axis=1, keepdims=True)).numpy()
    ops.sum(ops.floor(ops.exp(x)), axis=1).numpy()
    (ops.log(ops.exp(x)) - x).numpy()
    ops.sin(ops.exp(x * 2) * 50).numpy()
    ops.softmax(x * 100).numpy()
    ops.where(ops.tanh(x) > ops.sigmoid(x), x, -x).numpy()
    ops.argmax(ops.exp(x), axis=0).numpy()
    ops.matmul(x, ops.transpose(x)).numpy()
    (ops.full((3000,), 0.1).sum() - 300).numpy()
    ops.exp(x * 40).numpy()  # some infinite, some 0
    ops.prod(ops.cos(x), axis=1).numpy()


def test_a_wrong_sum_is_found_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One term of a thousand is lost."""
    x = tg.tensor(np.random.default_rng(0).random((4, 1000), np.float32))
    from tabgrad.targets.wasm import loops

    right = loops.Reduction._merged
    monkeypatch.setattr(
        loops.Reduction, "_merged",
        lambda self, sums: right(self, [sums[0] * 0.996, *sums[1:]]),
    )  # fmt: skip
    with pytest.raises(EngineError, match=r"kernel reduce_0 .* 4 of 4 elements differ"):
        ops.sum(x, axis=1).numpy()


def recurrence(xs):
    def turn(h, x):
        with layer_scope("cell"):
            return ops.sqrt(h * h + x), h

    return ops.scan(turn, ops.ones((4,)), xs)


def test_every_turn_of_a_loop_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    xs = tg.tensor(np.random.default_rng(0).random((6, 4), np.float32))
    _, states = tg.compile(recurrence)(xs)
    assert states.shape == (6, 4)
    # Wrong for numbers above 1.5 only, which come late.
    right = operations._OPERATIONS["sqrt"]

    def late(e, x, a):
        root = e.f.let(right(e, x, a))
        return (root > 1.5).select(root * 1.01, root)

    monkeypatch.setitem(operations._OPERATIONS, "sqrt", late)
    with pytest.raises(EngineError, match=r"is wrong, in turn [2-5] of its loops: .*made in cell"):
        tg.compile(lambda xs: recurrence(xs))(xs)


def test_gradients_through_loops_are_clean() -> None:
    xs = tg.tensor(np.random.default_rng(0).random((6, 4), np.float32))
    tg.compile(tg.grad(lambda xs: ops.sum(recurrence(xs)[0])))(xs).numpy()

    def nested(xs):
        return ops.scan(lambda c, x: ops.scan(lambda d, r: (d * r, d), c, x), ops.ones(()), xs)

    last, _ = tg.compile(nested)(xs)
    np.testing.assert_allclose(last.numpy(), np.prod(xs.numpy()), rtol=1e-5)


def test_a_wrong_memory_plan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporaries that overwrite each other: the kernels are right, but read the wrong values."""
    x = tg.tensor(np.random.default_rng(0).random((30, 40), np.float32))

    @tg.compile
    def gram(x):
        wide = ops.exp(x)
        return ops.matmul(ops.matmul(wide, ops.transpose(wide)), wide)

    gram(x)
    overlay_temporaries(monkeypatch)
    with pytest.raises(EngineError) as caught:
        tg.compile(lambda x: gram._fn(x))(x)
    assert caught.value.code == "validate"


class RealNumbers(Maker):
    """Random graphs of any floats and of functions that kernels approximate."""

    def leaf(self, shape: tuple[int, ...]) -> Node:
        node = super().leaf(shape)
        if node.dtype is float32:
            rng = np.random.default_rng(self.rng.getrandbits(32))
            self.data[node] = np.asarray(rng.normal(size=shape)).astype(np.float32)
        return node

    def unary(self) -> Node:
        names = "exp log1p sin tanh sigmoid sqrt erf cos expm1 neg abs".split()
        return make(self.rng.choice(names), self.any(float32))


def check_random_graph(seed: int) -> None:
    engine = realize.engine()
    graph, data = RealNumbers(seed).make()
    _, loaded = realize.load([graph])
    args, handles = [], []
    scalars = {argument.node for argument in graph.arguments if argument.scalar}
    for i, node in enumerate((*graph.inputs, *graph.state, *graph.outputs)):
        if i < len(graph.inputs) and node in scalars:
            args.append(int(data[node].view(np.uint32)))
            continue
        args.append(engine.alloc(node.nbytes))
        handles.append(args[-1])
        if node in data:
            engine.write(args[-1], data[node].tobytes())
    for _ in range(2):
        engine.run(loaded, 0, args)
    for handle in handles:
        engine.free(handle)
    engine.unload(loaded)


@pytest.mark.parametrize("block", range(3))
def test_random_graphs_are_clean(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        check_random_graph(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_graphs_are_clean(block: int) -> None:
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        check_random_graph(seed)


def test_states_numbers_and_integers() -> None:
    count = tg.Variable(np.zeros(3, np.int32), name="count")

    @tg.compile
    def step(x, factor):
        before = count.value
        count.assign(count + ops.cast(x * factor, "int32"))
        return before, x > factor

    for _ in range(3):
        before, larger = step(np.float32([1, 2, 3]), 1.5)
    assert count.numpy().tolist() == [3, 9, 12] and before.tolist() == [2, 6, 8]
    assert larger.tolist() == [False, True, True]


def test_empty_arrays() -> None:
    x = tg.tensor(np.zeros((0, 4), np.float32))
    assert ops.sum(ops.exp(x), axis=0).tolist() == [0, 0, 0, 0]
    assert (x * 2).shape == (0, 4)


def test_programs_can_be_unloaded() -> None:
    engine = realize.engine()
    before = engine.memory_use().live
    _, loaded = realize.load([tg.jit.trace(ops.exp, [((3,), "float32", False)]).graph])
    engine.unload(loaded)
    assert engine.memory_use().live == before
    with pytest.raises(EngineError):
        engine.run(loaded, 0, [0, 0])


def test_the_environment_turns_it_on() -> None:
    """With all that is printed, in a process of its own."""
    code = "from examples import seed; m = seed.make_model(); m.fit(*seed.load_data(), verbose=0)"
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    switches = {"TABGRAD_VALIDATE": "1", "TABGRAD_DEBUG": "5", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **switches}, cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tabgrad: compiled _train_step for wasm" in done.stderr
    assert "tabgrad: ran _train_step in " in done.stderr


def test_only_where_the_switch_is_on() -> None:
    with config.override(validate=False):
        assert not isinstance(realize.make_engine("wasm", False), ValidatingEngine)
    assert isinstance(realize.make_engine("reference", False), ReferenceEngine)
    deterministic = realize.make_engine("wasm", True)
    assert deterministic.kind == "wasm" and deterministic.features == frozenset()
