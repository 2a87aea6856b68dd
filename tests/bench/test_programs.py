"""The script that takes Programs apart: every launch is timed once, loops are left as they were."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench import launches
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
    made = launches.planned(program.graphs[0], WasmTarget(program.features)).launches
    before, expected = text_of(made), [id(kernel) for kernel in kernels_of(made)]
    found, turns = [], set()
    for members, times in launches.pieces(made):
        found += [id(kernel) for kernel in kernels_of(members)]
        turns.add(times)
        assert times == (members[0].length if isinstance(members[0], Loop) else 1)
    assert found == expected and text_of(made) == before
    assert turns == ({1, lstm.LENGTH} if model is lstm else {1})


def ready(step: Any, given: list[Any]) -> Any:
    bound = step.bind(*given)
    for buffer, value in zip(bound.inputs, given, strict=True):
        bound.engine.write(buffer.handle, value.tobytes())
    return bound


def test_launches_apart_compute_what_the_program_does() -> None:
    step, given = step_of(mlp)
    loss = float(step(*given))
    step, given = step_of(mlp)
    program, bound = step.program(*given), ready(step, given)  # type: ignore[attr-defined]
    taken = launches.on_laptop(bound, program, 1)
    assert np.frombuffer(bound.engine.read(bound.outputs[0].handle, 4), np.float32)[0] == loss
    assert all(one.milliseconds > 0 and one.text() for one in taken)
    assert {one.kind for one in taken} >= {"contractions", "maps and small kernels"}


def test_a_browser_times_the_same_launches() -> None:
    step, given = step_of(mlp)
    program, bound = step.program(*given), ready(step, given)  # type: ignore[attr-defined]
    here = launches.on_laptop(bound, program, 1)
    there = launches.in_browser(bound, program, 100.0)
    assert [one.kind for one in here] == [one.kind for one in there]
    assert sum(one.milliseconds for one in there) > 0.1
