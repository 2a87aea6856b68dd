"""What TABGRAD_DEBUG prints at each level."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config, jit
from tabgrad.compiler import driver
from tabgrad.dtypes import float32
from tabgrad.engines.reference import ReferenceEngine
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import layer_scope
from tabgrad.targets.wasm.target import WasmTarget


def step_graph():
    w = tg.Variable(np.ones((8, 2), np.float32), name="dense/kernel")

    def step(x):
        def loss(x):
            with layer_scope("dense"):
                return tg.ops.sum(tg.ops.exp(tg.ops.relu(x @ w)))

        value, (slope,) = tg.value_and_grad(loss, variables=[w])(x)
        w.assign(w - 0.5 * slope)
        return value

    return jit.trace(step, [((4, 8), "float32", False)], name="step").graph


def printed(capsys, level):
    with config.override(debug=level):
        graph = step_graph()
        capsys.readouterr()
        driver.compile([graph], WasmTarget())
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_silent_by_default(capsys):
    assert printed(capsys, 0) == ""


def test_level_1_is_a_line_for_the_program_and_one_for_each_entry(capsys):
    program, entry = printed(capsys, 1).splitlines()
    assert program.startswith("tabgrad: compiled step for wasm: ")
    for name in ("bytes of code", "rows", "simplify", "fuse", "prepare", "memory", "emit"):
        assert name in program
    assert entry.startswith("  step: ") and "kernels" in entry and "FLOP" in entry
    assert "arena" in entry and "peak" in entry


def test_each_level_adds_to_those_below(capsys):
    marks = ["bytes of code", "= dot(%", "acc = sum over", "memory of step", "local.get"]
    for level in range(1, 6):
        text = printed(capsys, level)
        assert [mark in text for mark in marks] == [True] * level + [False] * (5 - level)


def test_graphs_and_kernels_name_layers_and_lines(capsys):
    text = printed(capsys, 3)
    (line,) = (line for line in text.splitlines() if "= dot(%0, %1)" in line)
    assert "# dense " in line and "test_report.py:" in line
    (line,) = (line for line in text.splitlines() if "contract_0" in line)
    assert "# function " in line and "dense" in line


def test_memory_is_listed_with_places_and_lifetimes(capsys):
    text = printed(capsys, 4)
    lines = text[text.index("memory of step") :].splitlines()
    assert lines[0].endswith("in an arena of 384")
    assert any("t0: 8 float32, 32 bytes at 0, from contract_0 to " in line for line in lines)
    assert any("s0: 16 float32, 64 bytes, state dense/kernel (updated)" in line for line in lines)
    assert any("x0: 32 float32, 128 bytes, input x0" in line for line in lines)


def test_several_entries_are_one_report(capsys):
    def entry(name, size):
        x = b.input((size,), float32)
        return EntryGraph(name, [Argument(x, "x")], [], [Result(b.neg(x), "y")])

    with config.override(debug=1):
        driver.compile([entry("one", 2), entry("two", 3)], WasmTarget())
    program, *entries = capsys.readouterr().err.splitlines()
    assert program.startswith("tabgrad: compiled one, two for wasm")
    assert [line.split(":")[0].strip() for line in entries] == ["one", "two"]


def test_loops_are_listed_with_what_they_repeat(capsys):
    def sums(xs):
        return tg.ops.scan(lambda c, x: (c + x, None), tg.ops.zeros((3,)), xs)[0]

    graph = jit.trace(sums, [((5, 3), "float32", False)]).graph
    with config.override(debug=4):
        driver.compile([graph], WasmTarget())
    text = capsys.readouterr().err
    assert "      loop_1: 5 times\n        map_2: map over i0<3" in text
    assert "memory of sums: 0 temporaries" in text  # the carry lives in the output


@pytest.mark.parametrize("level", [4, 5])
def test_names_reach_the_binary_only_for_people(level):
    """The bytes of a Program do not depend on the switch, but for the names at level 5."""
    graph = step_graph()
    plain = driver.compile([graph], WasmTarget()).binary
    with config.override(debug=level):
        watched = driver.compile([graph], WasmTarget()).binary
    assert (watched == plain) == (level < 5) and watched.startswith(plain)


def test_runs_are_timed_at_level_5(capsys):
    with config.override(debug=5):
        before = tg.realize.engine()
        tg.set_engine("reference")
        try:
            assert float(tg.tensor([1.0, 2.0]).sum()) == 3.0
        finally:
            tg.realize.current._session.engine = before
    assert "tabgrad: ran eager in " in capsys.readouterr().err
    assert not isinstance(tg.realize.engine(), ReferenceEngine)
