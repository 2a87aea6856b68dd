"""Transposition in blocks, alone and fused: every element where NumPy has it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.targets.wasm.turning import turned_loop
from tests.targets.wasm.arrays import normal
from tests.targets.wasm.computing import VARIANTS, Given, compute, machine

SHAPES = [(4, 4), (5, 7), (3, 64), (64, 3), (16, 32), (17, 33), (40, 4), (130, 65)]


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int16", "bool", "float16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transposed_matrices(shape: tuple[int, ...], dtype: str) -> None:
    x = (normal(*shape) * 50).astype(dtype)
    given = Given()
    (found,) = compute([b.permute(given(x), (1, 0))], given.arrays)
    np.testing.assert_array_equal(found, x.T)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("shape", [(6, 9, 21), (4, 20, 5), (18, 4, 4), (2, 3, 70)], ids=str)
def test_axes_in_any_order(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    x = normal(*shape)
    given = Given()
    (found,) = compute([b.permute(given(x), order)], given.arrays)
    np.testing.assert_array_equal(found, x.transpose(order))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [4, 19, 50])
def test_fused_with_what_is_not_turned(size: int, variant: str) -> None:
    x, row, column = normal(size, size), normal(size, seed=1), normal(size, seed=2)
    given = Given()
    a = given(x)
    beside = b.broadcast(given(row), x.shape, (1,))
    below = b.broadcast(given(column), x.shape, (0,))
    turned = b.permute(a, (1, 0))
    product = b.mul(b.add(turned, a), b.sub(beside, below))
    outputs = [product, b.unary("exp", turned)]
    found = compute(outputs, given.arrays, variant)
    want = (x.T + x) * (row - column[:, None])
    np.testing.assert_allclose(found[0], want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[1], np.exp(x.T), rtol=3e-7)


def test_a_part_of_a_larger_array() -> None:
    x = normal(30, 50)
    given = Given()
    part = make("slice", given(x), start=(3, 5), stop=(28, 44), step=(1, 2))
    (found,) = compute([b.permute(part, (1, 0))], given.arrays)
    np.testing.assert_array_equal(found, x[3:28, 5:44:2].T)


def test_which_kernels_turn() -> None:
    given = Given()
    a = given(normal(40, 30))
    compute([b.permute(a, (1, 0)), b.add(a, a)], given.arrays)
    loops = [turned_loop(kernel) for kernel in machine("fma")[1].kernels()]
    assert sorted(loop is not None for loop in loops) == [False, True]
