"""The reference: evaluating whole graphs, and the engine protocol around it."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import pytest

from tabgrad import dtypes
from tabgrad.compiler.program import Entry, Program
from tabgrad.engines.engine import Engine
from tabgrad.engines.reference import ReferenceEngine, evaluate
from tabgrad.errors import EngineError, NotSupportedError, TabgradError
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result, State
from tabgrad.ir.graph import make


def float_input(*shape):
    return b.input(shape, dtypes.float32)


def test_a_hundred_thousand_nodes_in_a_row():
    x = float_input(3)
    node = x
    for _ in range(100_000):
        node = b.add(node, x)
    (result,) = evaluate([node], {x: np.float32([1, 0, 2])})
    np.testing.assert_array_equal(result, np.float32([100_001, 0, 200_002]))


def test_shared_nodes_are_evaluated_once():
    # Doubling 60 times would take 2**60 evaluations of a tree.
    x = float_input()
    node = x
    for _ in range(60):
        node = b.add(node, node)
    (result,) = evaluate([node], {x: np.float32(1)})
    assert result == 2.0**60


def test_any_node_can_be_given():
    x = float_input(2)
    middle = b.neg(x)
    (result,) = evaluate([b.mul(middle, middle)], {middle: np.float32([3, 4])})
    np.testing.assert_array_equal(result, np.float32([9, 16]))


def test_outputs_are_no_aliases():
    x = float_input(2)
    data = np.float32([1, 2])
    results = evaluate([x, x, b.reshape(x, (2, 1))], {x: data})
    for result in results:
        result += 1
    np.testing.assert_array_equal(data, np.float32([1, 2]))
    np.testing.assert_array_equal(results[1], np.float32([2, 3]))


def test_a_missing_leaf_is_an_error():
    with pytest.raises(TabgradError, match="no array for the leaf"):
        evaluate([b.neg(float_input(2))], {})


def test_a_leaf_of_another_shape_or_dtype_is_an_error():
    x = float_input(2)
    with pytest.raises(TabgradError, match=r"\(\(2,\), 'float32'\).*\(\(3,\), 'float32'\)"):
        evaluate([x], {x: np.zeros(3, np.float32)})
    with pytest.raises(TabgradError, match="float64"):
        evaluate([x], {x: np.zeros(2)})


def test_a_node_with_several_outputs_is_read_by_projection():
    ones = make("const", value=1, dtype=dtypes.uint32)
    node = make("threefry", ones, ones, ones, ones)
    with pytest.raises(TabgradError, match="proj"):
        evaluate([node], {})
    assert len(evaluate([b.proj(node, 0), b.proj(node, 1)], {})) == 2


def test_missing_numpy_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(NotSupportedError, match="python -m pip install numpy"):
        ReferenceEngine()


def test_no_warnings_of_numpy_reach_the_user():
    x = float_input(2)
    zero = b.like(x, 0)
    nodes = [b.div(x, zero), make("log", b.neg(x)), make("exp", b.scale(x, 1e30))]
    for result in evaluate(nodes, {x: np.float32([1, 2])}):
        assert not np.isfinite(result).any()


def test_it_is_an_engine():
    assert isinstance(ReferenceEngine(), Engine)


def test_buffers():
    engine = ReferenceEngine()
    handle, empty = engine.alloc(8), engine.alloc(0)
    assert handle and empty and handle != empty
    engine.write(handle, np.float32([1, 2]))
    engine.write(handle, b"\0\0\0\0", offset=4)
    assert engine.read(handle, 8) == np.float32([1, 0]).tobytes()
    assert asyncio.run(engine.read_async(handle, 4)) == np.float32(1).tobytes()
    assert engine.read(empty, 0) == b""
    assert engine.memory_use().live == 8
    engine.free(handle)
    assert engine.memory_use().live == 0
    assert engine.memory_use().peak == 8
    for act in (lambda: engine.free(handle), lambda: engine.read(handle, 1)):
        with pytest.raises(EngineError, match="no live buffer") as caught:
            act()
        assert caught.value.code == "handle"


@pytest.mark.parametrize(("offset", "nbytes"), [(0, 9), (5, 4), (-1, 2)])
def test_bytes_outside_a_buffer(offset, nbytes):
    engine = ReferenceEngine()
    handle = engine.alloc(8)
    with pytest.raises(EngineError) as caught:
        engine.read(handle, nbytes, offset)
    assert caught.value.code == "range"
    with pytest.raises(EngineError):
        engine.write(handle, bytes(nbytes), offset)


def test_copy_rows_gathers_and_repeats():
    engine = ReferenceEngine()
    source, target = engine.alloc(6), engine.alloc(8)
    engine.write(source, b"aabbcc")
    engine.copy_rows(target, source, 2, [2, 0, 2, 1])
    assert engine.read(target, 8) == b"ccaaccbb"
    with pytest.raises(EngineError):
        engine.copy_rows(target, source, 2, [3])


def program():
    """y = x * rate + w (and the row count); w becomes w - rate, v is only read."""
    x, rate, w, v = float_input(3), float_input(), float_input(3), float_input(3)
    spread = b.broadcast(rate, (3,), ())
    y = b.add(b.mul(x, spread), b.add(w, v))
    graph = EntryGraph(
        "step",
        [Argument(x, "x"), Argument(rate, "rate", scalar=True)],
        [State(v, "v"), State(w, "w", update=b.sub(w, spread))],
        [Result(y, "y"), Result(make("rows"), "rows")],
    )
    return Program("reference", (), [Entry("step", None, False, [], [], [])], b"", [graph])


def test_run_writes_outputs_and_updates_state():
    engine = ReferenceEngine()
    loaded = engine.load(program())
    x, v, w, y, rows = (engine.alloc(n) for n in (12, 12, 12, 12, 4))
    engine.write(x, np.float32([1, 2, 3]))
    engine.write(v, np.float32([100, 100, 100]))
    engine.write(w, np.float32([10, 20, 30]))
    rate = int(np.float32(0.5).view(np.uint32))
    for step in range(2):
        engine.run(loaded, 0, [x, rate, v, w, y, rows], rows=7)
        expected = np.float32([110.5, 121, 131.5]) - np.float32(0.5 * step)
        np.testing.assert_array_equal(np.frombuffer(engine.read(y, 12), np.float32), expected)
    engine.sync()
    left = np.frombuffer(engine.read(w, 12), np.float32)
    np.testing.assert_array_equal(left, np.float32([9, 19, 29]))
    assert engine.read(v, 12) == np.float32([100, 100, 100]).tobytes()
    assert np.frombuffer(engine.read(rows, 4), np.int32) == 7


def test_a_negative_word_is_the_bits_of_a_negative_scalar():
    engine = ReferenceEngine()
    loaded = engine.load(program())
    handles = [engine.alloc(12) for _ in range(5)]
    for handle in handles:
        engine.write(handle, np.zeros(3, np.float32))
    x, v, w, y, rows = handles
    engine.write(x, np.float32([1, 2, 3]))
    engine.run(loaded, 0, [x, int(np.float32(-1).view(np.int32)), v, w, y, rows])
    np.testing.assert_array_equal(
        np.frombuffer(engine.read(y, 12), np.float32), np.float32([-1, -2, -3])
    )


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_padded_rows_do_not_count(rows):
    x = float_input(4, 2)
    total = b.reduce("reduce_sum", x, (0,))
    count = b.cast(make("size", x, axes=(0,)), dtypes.float32)
    mean = b.div(total, b.broadcast(count, (2,), ()))
    graph = EntryGraph("mean", [Argument(x, "x", rows=True)], [], [Result(mean, "y")], rows=4)
    made = Program("reference", (), [Entry("mean", 4, False, [], [], [])], b"", [graph])
    engine = ReferenceEngine()
    handle, y = engine.alloc(32), engine.alloc(8)
    data = np.float32([[1, 10], [2, 20], [6, 60], [7, 70]])[[*range(rows), *[0] * (4 - rows)]]
    engine.write(handle, data)
    engine.run(engine.load(made), 0, [handle, y], rows)
    expected = data[:rows].mean(0)
    np.testing.assert_array_equal(np.frombuffer(engine.read(y, 8), np.float32), expected)


def test_wrong_slots_unloaded_and_graphless_programs():
    engine = ReferenceEngine()
    loaded = engine.load(program())
    with pytest.raises(EngineError, match=r"takes 6 arguments.*received 2"):
        engine.run(loaded, 0, [1, 2])
    engine.unload(loaded)
    with pytest.raises(EngineError, match="load it again") as caught:
        engine.run(loaded, 0, [])
    assert caught.value.code == "unloaded"
    bare = program()
    bare.graphs = []
    with pytest.raises(EngineError, match="compile it again") as caught:
        engine.load(bare)
    assert caught.value.code == "compile"


def test_a_closed_engine_refuses():
    engine = ReferenceEngine()
    handle = engine.alloc(1)
    engine.close()
    for act in (lambda: engine.alloc(1), lambda: engine.read(handle, 1), engine.sync):
        with pytest.raises(EngineError, match="closed"):
            act()
