"""Shaders of small functions, as texts in tests/golden/wgsl for people to read.

What they compute is for other tests; here a change of how kernels are written shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.targets.wgsl.target import COOPERATIVE, SUBGROUPS, WgslTarget
from tests.compiler.programs import Spec, traced
from tests.golden.compare import check_golden


def relu_sum(x: Any, w: Any) -> Any:
    """The function of ARCHITECTURE.md."""
    return (x @ w).relu().sum()


def softmax(x: Any) -> Any:
    """Of rows that are no multiple of four long."""
    return tg.ops.softmax(x)


def row_sum(x: Any) -> Any:
    """A fold of which each result is one workgroup's."""
    return x.sum(axis=1)


PRODUCT: list[Spec] = [((64, 32), "float32"), ((32, 48), "float32")]
CASES: dict[str, tuple[Callable[..., Any], list[Spec], list[str]]] = {
    "relu_sum": (relu_sum, PRODUCT, []),
    "relu_sum_cooperative": (relu_sum, PRODUCT, [COOPERATIVE]),
    "row_sum_subgroups": (row_sum, [((3, 100), "float32")], [COOPERATIVE, SUBGROUPS]),
    "softmax": (softmax, [((5, 10), "float32")], []),
}


@pytest.mark.parametrize("name", CASES)
def test_golden_shaders(name: str) -> None:
    function, specs, features = CASES[name]
    target = WgslTarget(features)
    program = driver.compile([traced(function, *specs)], target)
    check_golden(f"wgsl/{name}", target.listing(program.binary).rstrip())
