"""Shaders of two small functions, as texts in tests/golden/wgsl for people to read.

What they compute is for other tests; here a change of how kernels are written shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.targets.wgsl.target import COOPERATIVE, WgslTarget
from tests.compiler.programs import Spec, traced
from tests.golden.compare import check_golden


def relu_sum(x: Any, w: Any) -> Any:
    """The function of ARCHITECTURE.md."""
    return (x @ w).relu().sum()


def softmax(x: Any) -> Any:
    """Of rows that are no multiple of four long."""
    return tg.ops.softmax(x)


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Spec]]] = {
    "relu_sum": (relu_sum, [((64, 32), "float32"), ((32, 48), "float32")]),
    "softmax": (softmax, [((5, 10), "float32")]),
}


@pytest.mark.parametrize("name", ["relu_sum", "relu_sum_cooperative", "softmax"])
def test_golden_shaders(name: str) -> None:
    function, specs = FUNCTIONS[name.removesuffix("_cooperative")]
    target = WgslTarget([COOPERATIVE] if name.endswith("_cooperative") else [])
    program = driver.compile([traced(function, *specs)], target)
    check_golden(f"wgsl/{name}", target.listing(program.binary).rstrip())
