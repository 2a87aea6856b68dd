"""Strided gradients, cut into phases: the same values, and no more products than count."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tabgrad.compiler.driver import simplified
from tabgrad.compiler.phases import in_phases
from tabgrad.compiler.plan import plan
from tabgrad.dtypes import float32
from tabgrad.ir import build as b
from tabgrad.ir.entry import Argument, EntryGraph, Result
from tabgrad.ir.graph import make
from tabgrad.ir.kernel import Kernel
from tabgrad.ir.reverse import cotangents
from tests.targets.wasm.computing import VARIANTS, Given, compute

SHAPES = [
    pytest.param(stride, kernel, size, id=f"stride {stride}, kernel {kernel}, size {size}")
    for stride, kernel, size in itertools.product((2, 3), (1, 2, 3, 5), (7, 8, 9))
]


def padding_of(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """As "same" has it."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def gradient(given: Any, size: int, kernel: int, stride: int, c: int, o: int) -> Any:
    """The gradient of a strided convolution with regard to its image, as a node."""
    pads = (padding_of(size, kernel, stride), padding_of(size + stride, kernel, stride))
    x, w = b.input((2, size, size + stride, c), float32), given((kernel, kernel, c, o), 1)
    y = make(
        "conv", x, w, dims=((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)), strides=(stride, stride),
        padding=pads, lhs_dilation=(1, 1), rhs_dilation=(1, 1), groups=1, batch_groups=1,
    )  # fmt: skip
    (found,) = cotangents([y], [given(y.shape, 2)], [x])
    return found, y.shape, pads


def directly(g: Any, w: Any, shape: Any, pads: Any, stride: int) -> Any:
    """Each element of the cotangent spread over the window it came from."""
    (top, below), (left, right) = pads
    kernel = w.shape[0]
    dx = np.zeros((shape[0], shape[1] + top + below, shape[2] + left + right, shape[3]))
    for y, x in np.ndindex(g.shape[1:3]):
        part = np.einsum("bo,hwco->bhwc", g[:, y, x], w)
        dx[:, y * stride : y * stride + kernel, x * stride : x * stride + kernel] += part
    return dx[:, top : top + shape[1], left : left + shape[2]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("stride", "kernel", "size"), SHAPES)
def test_values(variant: Any, stride: int, kernel: int, size: int) -> None:
    collected, arrays = Given(), []

    def given(shape: tuple[int, ...], seed: int) -> Any:
        arrays.append(np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32))
        return collected(arrays[-1])

    node, _, pads = gradient(given, size, kernel, stride, 3, 8)
    (got,) = compute([b.add(node, b.like(node, 1))], collected.arrays, variant)
    w, g = arrays
    want = directly(g, w, (2, size, size + stride, 3), pads, stride)
    np.testing.assert_array_equal(got, want + 1)


@pytest.mark.parametrize("stride", [2, 3])
def test_products_that_count(stride: int) -> None:
    """Every product of the forward pass once; none with a zero that was put in between."""
    inputs = []

    def given(shape: tuple[int, ...], _: int) -> Any:
        inputs.append(b.input(shape, float32))
        return inputs[-1]

    node, out, _ = gradient(given, 6 * stride, stride, stride, 4, 8)
    arguments = [Argument(x, f"x{i}") for i, x in enumerate(inputs)]
    graph = simplified(EntryGraph("g", arguments, [], [Result(node, "y")]))
    (kernel,) = [k for k in plan(graph).launches if isinstance(k, Kernel) and k.kind == "contract"]
    phases = in_phases(kernel)
    assert len(phases) == stride**2
    assert sum(k.flops for k in phases) == 2 * np.prod(out) * 4 * stride**2
    assert not any(c.modulo != 1 for k in phases for e in (k.a, k.b) if e for c in e.conditions)
    assert [bool(k.nodes) for k in phases] == [False] * (stride**2 - 1) + [True]


def test_others_stay_whole() -> None:
    x, w = b.input((2, 9, 9, 3), float32), b.input((3, 3, 3, 8), float32)
    y = make(
        "conv", x, w, dims=((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)), strides=(2, 2),
        padding=((1, 1), (1, 1)), lhs_dilation=(1, 1), rhs_dilation=(1, 1), groups=1,
        batch_groups=1,
    )  # fmt: skip
    graph = EntryGraph("g", [Argument(x, "x"), Argument(w, "w")], [], [Result(y, "y")])
    (kernel,) = [k for k in plan(simplified(graph)).launches if isinstance(k, Kernel)]
    assert in_phases(kernel) == [kernel]
