"""Contractions with two to four columns, added four steps at once, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tabgrad.ir.graph import make
from tabgrad.targets.wasm.fewcolumns import MOST_COLUMNS, rows_of_dots
from tabgrad.targets.wasm.matrix import Matrix
from tests.targets.wasm.arrays import normal
from tests.targets.wasm.computing import VARIANTS, Given, compute, machine
from tests.targets.wasm.convolving import check_convolutions, conv_case, convolve, gradients


def dots(variant: Any) -> int:
    """How many contractions of the last Program were so computed."""
    kernels = [k for k in machine(variant)[1].kernels() if k.kind == "contract"]
    found = [Matrix.of(kernel) for kernel in kernels]
    return sum(matrix is not None and matrix.dots() for matrix in found)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("features", range(2, MOST_COLUMNS + 1))
@pytest.mark.parametrize("channels", [4, 8, 12, 20])
def test_a_few_features(variant: Any, channels: int, features: int) -> None:
    """With widths around the tile's number of rows, strides and images of several shapes."""
    rows = rows_of_dots(features, variant == "fma")
    check_convolutions(
        variant,
        [
            conv_case((2, 9, width, channels), (5, 3, channels, features), strides=(stride, stride),
                      padding=((2, 1), (1, 0)))
            for stride in (1, 2)
            for width in (40, *(16 * rows + d for d in (-1, 0, 1)))
        ],
    )  # fmt: skip
    assert dots(variant) == 8
    check_convolutions(variant, [conv_case((3, 90, channels), (6, channels, features))])
    assert dots(variant) == 1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("stride", [2, 3])
def test_gradient_of_an_image(variant: Any, channels: int, stride: int) -> None:
    """Each phase of the strides has its own window."""
    case = conv_case((2, 20, 152, channels), (5, 3, channels, 16), strides=(stride, stride),
                     padding=((1, 2), (0, 1)))  # fmt: skip
    given, nodes, picks = gradients(*case)
    slopes = compute(nodes, given.arrays, variant)
    assert dots(variant) >= 2
    for operand, flat, true in picks:
        assert slopes[operand].flat[flat] == true


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_has_the_same_bits_alone_and_among_many(variant: Any) -> None:
    images, w = normal(5, 12, 40, 8, seed=1), normal(3, 3, 8, 3, seed=2)
    p = conv_case(images.shape, w.shape, strides=(2, 1), padding=((1, 1), (1, 1)))[2]
    results = []
    for count in (1, 2, 5):
        given = Given()
        node = make("conv", given(images[:count]), given(w), **p)
        results.append(compute([node], given.arrays, variant)[0])
        assert dots(variant) == 1
    for got in results:
        np.testing.assert_array_equal(got, results[-1][: len(got)])
    np.testing.assert_allclose(results[-1], convolve(images, w, p), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_product_with_few_columns_stays_in_the_order_of_steps(variant: Any) -> None:
    """As with the rows of a batch, whose number must not decide."""
    x, w = normal(300, 64, seed=1), normal(64, 3, seed=2)
    given = Given()
    params = {"contract": ((1,), (0,)), "batch": ((), ())}
    node = make("dot", given(x), given(w), **params)
    (got,) = compute([node], given.arrays, variant)
    assert dots(variant) == 0
    np.testing.assert_allclose(got, x.astype(float) @ w, rtol=1e-4, atol=1e-5)
