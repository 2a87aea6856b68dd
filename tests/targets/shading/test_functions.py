"""The text of shaders' own functions, where its length matters; not what they compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.targets.glsl.target import GlslTarget
from tabgrad.targets.wgsl.target import WgslTarget
from tests.compiler.programs import traced

SPECS = (((8,), "int32"), ((8,), "int32"))


@pytest.mark.parametrize("target", [WgslTarget, GlslTarget])
@pytest.mark.parametrize("function", [tg.gcd, tg.lcm])
def test_common_divisors_are_one_loop(
    function: Callable[..., Any], target: Callable[[], Any]
) -> None:
    """Not Euclid's steps one after the other, which took a browser's compiler 8 GB."""
    document = json.loads(driver.compile([traced(function, *SPECS)], target()).binary)
    (kernel,) = document["kernels"]
    assert kernel["code"].count("while (") == kernel["code"].count(" % ") == 1
