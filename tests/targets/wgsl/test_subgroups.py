"""Folds in which threads of a subgroup exchange values: the bits are those of the tree.

On an adapter that wgpu has here (SwiftShader's subgroups are of 4 threads, lavapipe's of 8), and
for every other size on one of which the exchange goes through memory. The same in a page is
tests/player/test_webgpu_subgroups.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.engines.wgpu import NATIVE_SUBGROUPS, WgpuEngine
from tabgrad.errors import EngineError
from tabgrad.targets.wgsl.target import COOPERATIVE, SHADER_F16, SUBGROUPS, WgslTarget
from tests.compiler.programs import traced
from tests.targets.wgsl.folds import FOLDS, check_folds, numbers, results
from tools.gpu import provide_adapter

ENABLED = "enable subgroups;"
BOTH = [COOPERATIVE, SUBGROUPS]


def compiled(function: Any, *specs: Any, features: list[str]) -> Any:
    return driver.compile([traced(function, *specs)], WgslTarget(features))


def codes(program: Any) -> list[str]:
    return [kernel["code"] for kernel in json.loads(program.binary)["kernels"]]


def total(x: Any) -> Any:
    return x.sum(axis=1)


def test_programs_record_the_feature_where_a_kernel_has_use_for_it() -> None:
    program = compiled(total, ((3, 64), "float32"), features=BOTH)
    assert program.features == (COOPERATIVE, SUBGROUPS)
    (code,) = codes(program)
    assert code.startswith(ENABLED) and "subgroupShuffleXor" in code
    for function, spec, features in (
        (total, ((3, 63), "float32"), BOTH),  # a thread's own work
        (total, ((3, 64), "float32"), [SUBGROUPS]),  # in the serial schedule there are no groups
        (lambda x: x @ x, ((64, 64), "float32"), BOTH),
        (lambda x: tg.argmax(x, axis=1), ((3, 64), "float32"), BOTH),
    ):
        program = compiled(function, spec, features=features)
        without = [name for name in features if name != SUBGROUPS]
        assert program.features == tuple(without)
        assert program.binary == compiled(function, spec, features=without).binary


def test_only_folds_of_a_program_ask_for_it() -> None:
    program = compiled(lambda x: tg.exp(x @ x).sum(), ((64, 64), "float32"), features=BOTH)
    asking = [code.startswith(ENABLED) for code in codes(program)]
    assert program.features == tuple(BOTH) and sorted(set(asking)) == [False, True]


def test_with_floats_of_16_bits() -> None:
    """Exchanged in 32, which every adapter with subgroups can."""

    def largest(x: Any) -> Any:
        return x.max(axis=1)

    program = compiled(largest, ((3, 64), "float16"), features=[*BOTH, SHADER_F16])
    assert set(program.features) == {*BOTH, SHADER_F16}
    (code,) = codes(program)
    assert code.startswith(f"enable f16;\n{ENABLED}\n")
    assert "f16(subgroupShuffleXor(f32(" in code


def test_engines_without_it_refuse_such_programs() -> None:
    provide_adapter()
    engine = WgpuEngine(schedule="serial")
    assert SUBGROUPS not in engine.features
    with pytest.raises(EngineError, match=f"uses {COOPERATIVE}, {SUBGROUPS}"):
        engine.load(compiled(total, ((3, 64), "float32"), features=BOTH))
    engine.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[WgpuEngine]:
    provide_adapter()
    import wgpu

    for adapter in wgpu.gpu.enumerate_adapters_sync():
        if NATIVE_SUBGROUPS in adapter.features:
            made = WgpuEngine(adapter.info["device"], "cooperative")
            yield made
            made.close()
            return
    pytest.skip("no adapter of this machine has subgroups")


@pytest.mark.parametrize("fold", FOLDS)
def test_the_bits_are_those_of_the_tree(engine: WgpuEngine, fold: str) -> None:
    assert engine.features >= set(BOTH)
    check_folds(engine, fold)


EXCHANGE = """
var<workgroup> told: array<{word}, 64>;
fn exchange(member: u32, value: {word}, mask: u32) -> {word} {{
  told[member] = value;
  workgroupBarrier();
  let found = told[member ^ mask];
  workgroupBarrier();
  return found;
}}
@compute"""
MEMBER = """
  let member = (thread * 37u + 11u) % 64u;
  let lane = member % {size}u;
"""


def pretended(program: Any, size: int, used: int | None = None, last: int | None = None) -> Any:
    """A Program for an adapter without the feature, of which subgroups of some size, whose threads
    are from anywhere in a workgroup, exchange in memory; they have some lanes in use, and a last
    one of these."""
    used = min(size, 64) if used is None else used
    counted = {"subgroupAdd(1u)": used, "subgroupMax(lane)": used - 1 if last is None else last}
    document = json.loads(program.binary)
    for kernel in document["kernels"]:
        code = kernel["code"]
        if not code.startswith(ENABLED):
            continue
        (word,) = re.findall(r"staged: array<(\w+), 64>", code)
        code = code.removeprefix(ENABLED)
        code = code.replace("@compute", EXCHANGE.format(word=word))
        code = re.sub(r", @builtin\(subgroup.*(?=\) \{)", "", code)
        for text, number in counted.items():
            assert code.count(text) == 1
            code = code.replace(text, f"{number}u")
        code = code.replace("i32(thread);", "i32(thread);" + MEMBER.format(size=size), 1)
        kernel["code"] = code.replace("subgroupShuffleXor(", "exchange(member, ")
        assert "subgroup" not in kernel["code"]
    binary = json.dumps(document).encode()
    return SimpleNamespace(features=(COOPERATIVE,), entries=program.entries, binary=binary)


@pytest.mark.parametrize(
    "subgroups",
    [
        *((4,), (8,), (16,), (32,), (64,)),
        (128,),  # of which a workgroup has half in use
        (128, 64, 127),  # every second lane
        (64, 48),  # what is no power of two
        (16, 1),
    ],
)
def test_the_bits_are_those_of_the_tree_for_all_subgroups(subgroups: tuple[int, ...]) -> None:
    provide_adapter()
    engine = WgpuEngine(schedule="cooperative", half=False)
    for fold, dtypes in FOLDS.items():
        arrays = [numbers(dtypes[0], fold, length) for length in (64, 65, 1000)]
        found = results(engine, BOTH, fold, arrays, lambda program: pretended(program, *subgroups))
        assert found == results(engine, [COOPERATIVE], fold, arrays), fold
    engine.close()
