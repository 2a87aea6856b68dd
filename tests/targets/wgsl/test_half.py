"""float16 as f16: what shaders say, and what adapters compute that have it.

Values are held where a driver offers shader-f16 (Mesa's lavapipe does, SwiftShader does not).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.compiler import driver
from tabgrad.compiler.program import Program
from tabgrad.engines.wgpu import HALF, WgpuEngine
from tabgrad.errors import EngineError
from tabgrad.targets.wgsl.target import COOPERATIVE, SHADER_F16, WgslTarget
from tests.compiler.programs import traced
from tests.ops.halves import check_operations, check_sums
from tools.gpu import provide_adapter


def scaled(x: Any, y: Any) -> Any:
    return tg.exp(x) * y + 1


def compiled(dtype: str, features: Sequence[str]) -> Program:
    return driver.compile([traced(scaled, ((7, 12), dtype), ((12,), dtype))], WgslTarget(features))


def codes(program: Program) -> list[str]:
    return [kernel["code"] for kernel in json.loads(program.binary)["kernels"]]


def test_half_floats_are_stored_and_computed_with_as_such() -> None:
    program = compiled("float16", [SHADER_F16])
    (code,) = codes(program)
    assert program.features == (SHADER_F16,)
    assert code.startswith("enable f16;")
    assert "array<vec4<f16>, 21>" in code
    assert "1.0h" in code  # the last sum needs no conversion
    assert compiled("float16", [SHADER_F16, COOPERATIVE]).features == (COOPERATIVE, SHADER_F16)


def test_without_the_feature_half_floats_take_a_word() -> None:
    program = compiled("float16", [])
    (code,) = codes(program)
    assert program.features == ()
    assert "array<vec4<f32>, 21>" in code and "f16" not in code


def test_temporaries_of_half_floats_take_two_bytes_an_element() -> None:
    def shared(x: Any) -> Any:
        return tg.flip(tg.exp(x), axis=0).T @ x

    for dtype, features, size in (
        ("float16", [SHADER_F16], 1024),
        ("float16", [], 2048),
        ("float32", [SHADER_F16], 2048),
    ):
        graph = traced(shared, ((32, 16), dtype))
        (entry,) = json.loads(driver.compile([graph], WgslTarget(features)).binary)["entries"]
        assert entry["temps"] == [size]


def test_programs_without_half_floats_need_no_feature() -> None:
    program = compiled("float32", [SHADER_F16])
    assert program.features == ()
    assert program.binary == compiled("float32", []).binary


def test_adapters_without_the_feature_refuse_it() -> None:
    provide_adapter()
    engine = WgpuEngine(half=False)
    assert HALF not in engine.features
    with pytest.raises(EngineError, match=SHADER_F16):
        engine.load(compiled("float16", [SHADER_F16]))
    engine.close()


@pytest.fixture(scope="module", params=["serial", "cooperative"])
def engine(request: pytest.FixtureRequest) -> Iterator[WgpuEngine]:
    provide_adapter()
    import wgpu

    names = [a.info["device"] for a in wgpu.gpu.enumerate_adapters_sync() if HALF in a.features]
    if not names:
        pytest.skip("no adapter of this machine has shader-f16")
    made = WgpuEngine(names[0], request.param)
    with realize.using(made):
        yield made
    made.close()


def test_all_operations_of_half_floats(engine: WgpuEngine) -> None:
    assert HALF in engine.features
    check_operations()


def test_half_floats_take_two_bytes(engine: WgpuEngine) -> None:
    """Written and read in parts that are no words, and copied row by row."""
    values = np.arange(15, dtype=np.float16) / 8
    handle, rows = engine.alloc(30, "float16"), engine.alloc(18, "float16")
    engine.write(handle, values)
    engine.write(handle, np.float16([9, 8, 7]), 6)
    values[3:6] = [9, 8, 7]
    assert engine.read(handle, 30) == values.tobytes()
    assert engine.read(handle, 6, 10) == values[5:8].tobytes()
    engine.copy_rows(rows, handle, 6, [4, 0, 2])
    want = values.reshape(5, 3)[[4, 0, 2]]
    assert engine.read(rows, 18) == want.tobytes()
    engine.free(handle)
    engine.free(rows)


def test_a_program_with_half_floats_in_words_is_refused(engine: WgpuEngine) -> None:
    with pytest.raises(EngineError, match="half=False") as caught:
        engine.load(compiled("float16", []))
    assert caught.value.code == "features"
    engine.unload(engine.load(compiled("float32", [])))


def test_sums_are_of_32_bits(engine: WgpuEngine) -> None:
    check_sums()
