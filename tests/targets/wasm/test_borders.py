"""Copies with a border that several contractions read, against NumPy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.targets.wasm.computing import VARIANTS, compute, machine
from tests.targets.wasm.convolving import conv_case, gradients


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 0))], ids=str)
def test_phases_read_one_border(variant: Any, padding: Any) -> None:
    """The copy of the slopes that the largest phase makes has what the others need."""
    case = conv_case((2, 30, 30, 8), (3, 3, 8, 16), strides=(2, 2), padding=padding)
    given, nodes, picks = gradients(*case)
    (slope,) = compute(nodes[:1], given.arrays, variant)
    kernels = machine(variant)[1].kernels()
    assert [kernel.name.endswith("_border") for kernel in kernels].count(True) == 1
    assert [kernel.kind for kernel in kernels].count("contract") > 1
    for operand, flat, true in picks:
        if operand == 0:
            assert slope.flat[flat] == true
