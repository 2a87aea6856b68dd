"""The script that takes Programs apart: every launch is timed once, loops are left as they were."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench import programs
from bench.models import lstm, mlp
from tabgrad.ir.kernel import Loop, kernels_of, text_of
from tabgrad.targets.wasm.target import WasmTarget


def step_of(model: ModuleType) -> tuple[Callable[..., Any], list[Any]]:
    (step,) = model.functions(model.weights()).values()
    return step, list(model.inputs().values())


@pytest.mark.parametrize("model", [mlp, lstm], ids=["mlp", "lstm"])
def test_pieces_have_every_kernel_once(model: ModuleType) -> None:
    step, given = step_of(model)
    program = step.program(*given)  # type: ignore[attr-defined]
    launches = programs.planned(program.graphs[0], WasmTarget(program.features)).launches
    before, expected = text_of(launches), [id(kernel) for kernel in kernels_of(launches)]
    found, turns = [], set()
    for members, times in programs.pieces(launches):
        found += [id(kernel) for kernel in kernels_of(members)]
        turns.add(times)
        assert times == (members[0].length if isinstance(members[0], Loop) else 1)
    assert found == expected and text_of(launches) == before
    assert turns == ({1, lstm.LENGTH} if model is lstm else {1})


def test_launches_apart_compute_what_the_program_does() -> None:
    step, given = step_of(mlp)
    loss = float(step(*given))
    step, given = step_of(mlp)
    program = step.program(*given)  # type: ignore[attr-defined]
    bound = step.bind(*given)  # type: ignore[attr-defined]
    for buffer, value in zip(bound.inputs, given, strict=True):
        bound.engine.write(buffer.handle, value.tobytes())
    taken = programs.each_launch(bound, program, 1)
    assert np.frombuffer(bound.engine.read(bound.outputs[0].handle, 4), np.float32)[0] == loss
    assert all(one.milliseconds > 0 and one.text() for one in taken)
    assert {one.kind for one in taken} >= {"contractions", "maps and small kernels"}
