"""Convolutions on wasmtime against NumPy: strides, padding, groups, dimensions, gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tabgrad.ir.graph import make
from tests.targets.wasm.arrays import whole_numbers
from tests.targets.wasm.computing import Given, compute
from tests.targets.wasm.convolving import LAST, check_convolutions, conv_case, first, gradients

IMAGE, FILTER = (2, 11, 10, 5), (3, 3, 5, 12)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1), (1, 4)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 3)),
                                     ((-1, 2), (3, -2))])  # fmt: skip
def test_strides_and_padding(variant, stride, padding):
    """With and without dilation of the kernel, the input, and both."""
    check_convolutions(
        variant,
        [
            conv_case(
                IMAGE,
                FILTER,
                strides=stride,
                padding=padding,
                lhs_dilation=holes,
                rhs_dilation=taps,
            )
            for holes in ((1, 1), (2, 3))
            for taps in ((1, 1), (2, 1), (3, 2))
        ],
    )


@pytest.mark.parametrize("window", [(1, 1), (2, 2), (5, 5), (1, 7), (8, 1), (11, 10)])
def test_windows(variant, window):
    padded = tuple((n // 2, n // 2) for n in window)
    check_convolutions(
        variant,
        [
            conv_case(IMAGE, (*window, 5, 12)),
            conv_case(IMAGE, (*window, 5, 12), padding=padded),
            conv_case((2, 5, 11, 10), (12, 5, *window), padding=padded, dims=first(2)),
        ],
    )


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 8, 9, 17])
@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_channels(variant, channels, features):
    check_convolutions(
        variant,
        [
            conv_case((1, 12, 9, channels), (3, 3, channels, features), padding=((1, 1), (1, 1))),
            conv_case((3, channels, 12, 9), (features, channels, 3, 3), dims=first(2)),
        ],
    )


@pytest.mark.parametrize(
    ("groups", "channels", "features"),
    [(2, 6, 8), (3, 9, 3), (8, 8, 8), (8, 8, 16), (5, 5, 5), (16, 16, 16)],
)
def test_groups(variant, groups, channels, features):
    share = channels // groups
    check_convolutions(
        variant,
        [
            conv_case(
                (2, 11, 10, channels),
                (3, 3, share, features),
                groups=groups,
                strides=s,
                padding=((1, 1), (1, 1)),
            )
            for s in ((1, 1), (2, 2))
        ]
        + [
            conv_case((2, channels, 11, 10), (features, share, 3, 3), groups=groups, dims=first(2)),
            conv_case(
                (2, channels, 11, 10),
                (3, 3, share, features),
                groups=groups,
                dims=(first(2)[0], LAST[2][1], LAST[2][2]),
            ),
        ],
    )


@pytest.mark.parametrize("batch_groups", [2, 3])
def test_batch_groups(variant, batch_groups):
    rows, features = 2 * batch_groups, 4 * batch_groups
    check_convolutions(
        variant,
        [
            conv_case((rows, 9, 8, 7), (3, 3, 7, features), batch_groups=batch_groups),
            conv_case((rows, 7, 9, 8), (features, 7, 3, 3), batch_groups=batch_groups,
                      dims=first(2), padding=((1, 2), (0, 1))),
        ],
    )  # fmt: skip


SPATIAL = {1: (23,), 2: (11, 10), 3: (6, 7, 5)}


@pytest.mark.parametrize("rank", SPATIAL)
def test_spatial_dimensions(variant, rank):
    size, window = SPATIAL[rank], (3, 2, 3)[:rank]
    cases = []
    for stride, pad, holes, taps in itertools.product((1, 2), (0, 1), (1, 2), (1, 2)):
        params = {
            "strides": (stride,) * rank, "padding": ((pad, 1),) * rank,
            "lhs_dilation": (holes,) * rank, "rhs_dilation": (taps,) * rank,
        }  # fmt: skip
        cases.append(conv_case((2, *size, 3), (*window, 3, 5), **params))
        cases.append(conv_case((2, 3, *size), (5, 3, *window), dims=first(rank), **params))
    check_convolutions(variant, cases)


GRADIENTS = [
    conv_case((3, 9, 8, 4), (3, 3, 4, 6), padding=((1, 1), (1, 1))),
    conv_case((3, 9, 8, 4), (3, 3, 4, 6), strides=(2, 2), padding=((0, 1), (1, 0))),
    conv_case((3, 9, 8, 4), (3, 2, 4, 6), strides=(3, 2), rhs_dilation=(1, 2)),
    conv_case((3, 10, 10, 6), (3, 3, 2, 6), groups=3, strides=(2, 1), padding=((1, 1), (1, 1))),
    conv_case((3, 10, 10, 6), (3, 3, 1, 6), groups=6, padding=((1, 1), (1, 1))),
    conv_case((3, 4, 9, 8), (6, 4, 3, 3), strides=(2, 2), dims=first(2)),
    conv_case((2, 20, 3), (5, 3, 7), strides=(3,), padding=((2, 2),)),
    conv_case((2, 5, 6, 7, 2), (2, 3, 2, 2, 3), strides=(2, 1, 2)),
    conv_case((3, 9, 8, 4), (3, 3, 4, 6), lhs_dilation=(2, 1), padding=((1, 2), (0, 0))),
]


@pytest.mark.parametrize("case", GRADIENTS, ids=str)
def test_gradients(variant, case):
    given, nodes, picks = gradients(*case)
    slopes = compute(nodes, given.arrays, variant)
    for operand, flat, true in picks:
        assert slopes[operand].flat[flat] == true


def test_empty_convolutions(variant):
    for x_shape, w_shape in (((0, 9, 9, 3), (3, 3, 3, 4)), ((2, 9, 9, 3), (3, 3, 3, 0)),
                             ((2, 9, 9, 0), (3, 3, 0, 4))):  # fmt: skip
        given = Given()
        node = make("conv", given(whole_numbers(*x_shape)), given(whole_numbers(*w_shape)),
                    **conv_case(x_shape, w_shape)[2])  # fmt: skip
        (got,) = compute([node], given.arrays, variant)
        np.testing.assert_array_equal(got, np.zeros(node.shape))


@pytest.mark.parametrize("channels", [150, 300, 700])
def test_a_long_window_of_channels(variant, channels):
    """More steps than one block, from a packed image: blocks of rows of the window, of its columns,
    and of the channels; with filters that are read in place and with packed ones."""
    check_convolutions(
        variant,
        [
            conv_case((1, 7, 6, channels), (3, 3, channels, features), padding=((1, 1), (1, 1)))
            for features in (20, 100)
        ],
    )
