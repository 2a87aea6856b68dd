"""Winograd's convolutions on wasmtime against NumPy: sizes around the tiles, blocks, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.ir.graph import make
from tabgrad.targets.wasm import winograd
from tests.targets.wasm.computing import Given, compute, machine
from tests.targets.wasm.convolving import (
    check_convolutions,
    conv_case,
    convolve,
    first,
    gradients,
)

SAME = ((1, 1), (1, 1))
VALID = ((0, 0), (0, 0))


def kernels():
    """What the last program's kernels are called, without what the contraction is called."""
    _, target = machine("fma")
    return [kernel.name.partition("_")[2].partition("_")[2] for kernel in target.kernels()]


@pytest.fixture
def every(monkeypatch):
    """Small convolutions, too."""
    monkeypatch.setattr(winograd, "FEWEST_PRODUCTS", 0)
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "FEWEST_TILES", 0)
    monkeypatch.setattr(winograd, "LEAST_SAVED", 0)


@pytest.fixture(params=[1 << 20, 1 << 12], ids=["whole", "in-blocks"])
def block_bytes(request, every, monkeypatch):
    """With and without blocks."""
    monkeypatch.setattr(winograd, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(winograd, "FEWEST_IN_BLOCK", 2)
    monkeypatch.setattr(winograd, "MORE_TILES", 0)
    return request.param


@pytest.mark.parametrize("padding", [SAME, VALID, ((2, 0), (0, 3)), ((-1, 2), (3, -2))])
def test_sizes_around_the_tiles(block_bytes, padding):
    """Whole numbers, of which half a sum is exact, too."""
    sizes = [(4, 6), (7, 5), (8, 8), (9, 12), (13, 5), (16, 21)]
    check_convolutions(
        "fma", [conv_case((2, *size, 8), (3, 3, 8, 12), padding=padding) for size in sizes]
    )
    assert kernels().count("product") == len(sizes)


@pytest.mark.parametrize(("channels", "filters"), [(8, 8), (9, 17), (20, 65), (33, 10), (64, 64)])
def test_channels(block_bytes, channels, filters):
    shape = (3, 3, channels, filters)
    check_convolutions("fma", [conv_case((3, 10, 11, channels), shape, padding=SAME)])
    assert "product" in kernels()


@pytest.mark.parametrize("images", [1, 2, 5, 6, 16])
def test_images(block_bytes, images):
    """Blocks are parts of an image, or several."""
    cases = [conv_case((images, size, 7, 16), (3, 3, 16, 8), padding=SAME) for size in (4, 7, 18)]
    check_convolutions("fma", cases)


@pytest.mark.parametrize("dilation", [(2, 2), (3, 1), (1, 2)])
def test_dilation(block_bytes, dilation):
    """Each remainder is an image of its own."""
    padding = tuple((d, d) for d in dilation)
    cases = [
        conv_case((2, 12, size, 8), (3, 3, 8, 12), padding=padding, rhs_dilation=dilation)
        for size in (12, 13)
    ]
    check_convolutions("fma", cases)
    assert kernels().count("product") == 2


@pytest.mark.parametrize("size", [(2, 4), (3, 9), (6, 3), (1, 7)])
def test_tiles_that_are_nearly_empty(block_bytes, size):
    """With one output of each remainder half of a tile is outside everywhere."""
    case = conv_case((2, *size, 8), (3, 3, 8, 9), padding=((3, 3), (3, 3)), rhs_dilation=(3, 3))
    check_convolutions("fma", [case])
    given, nodes, picks = gradients(*case)
    got = compute(nodes, given.arrays, "fma")
    for operand, flat, expected in picks:
        assert got[operand].flat[flat] == expected


@pytest.mark.parametrize(
    "case",
    [
        conv_case((1, 12, 12, 16), (3, 3, 16, 16), strides=(2, 2), padding=SAME),
        conv_case((1, 12, 12, 16), (3, 5, 16, 16)),
        conv_case((1, 12, 12, 16), (3, 3, 8, 16), groups=2),
        conv_case((1, 16, 12, 12), (16, 16, 3, 3), dims=first(2)),
        conv_case((1, 6, 6, 6, 8), (3, 3, 3, 8, 8)),
    ],
    ids=["stride", "3x5", "groups", "channels-first", "3d"],
)
def test_others_are_left_alone(every, case):
    check_convolutions("fma", [case])
    assert "product" not in kernels()


@pytest.mark.parametrize(
    ("shape", "padding", "dilation"),
    [
        ((2, 8, 8, 8), SAME, (1, 1)),
        ((3, 9, 7, 12), SAME, (1, 1)),
        ((2, 9, 12, 9), VALID, (1, 1)),
        ((1, 21, 15, 8), ((2, 0), (0, 3)), (1, 1)),
        ((2, 13, 12, 8), ((2, 2), (2, 2)), (2, 2)),
    ],
)
def test_gradients(block_bytes, shape, padding, dilation):
    case = conv_case(shape, (3, 3, shape[-1], 11), padding=padding, rhs_dilation=dilation)
    given, nodes, picks = gradients(*case)
    got = compute(nodes, given.arrays, "fma")
    assert kernels().count("product") == 2
    for operand, flat, expected in picks:
        assert got[operand].flat[flat] == expected


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def reference(x, w, padding=SAME):
    return convolve(x, w, conv_case(x.shape, w.shape, padding=padding)[2])


@pytest.mark.parametrize("size", [(14, 14), (13, 17)])
def test_what_is_fused(block_bytes, size):
    """What comes before the convolution, bias, a residual and an activation after it."""
    x, w = normal(2, *size, 32), normal(3, 3, 32, 32, seed=1) / 17
    bias = normal(32, seed=2)

    @tg.compile
    def block(x, w, bias):
        return tg.relu(tg.nn.conv(tg.relu(x), w, padding="same") + bias + x)

    expected = np.maximum(reference(np.maximum(x, 0), w) + bias + x, 0)
    np.testing.assert_allclose(block(x, w, bias).numpy(), expected, atol=2e-5)


def test_kernels_of_a_layer():
    """With constant weights: a border, the images' sums, the product, the results. Without fused
    multiply-add a border and the contraction."""
    w = make("array", data=normal(3, 3, 32, 32).tobytes(), shape=(3, 3, 32, 32), dtype=tg.float32)
    for variant, expected in (
        ("fma", ["border", "images", "product", "results"]),
        ("deterministic", ["border", ""]),
    ):
        given = Given()
        x = given(normal(1, 14, 14, 32))
        node = make("conv", x, w, **conv_case(x.shape, w.shape, padding=SAME)[2])
        (got,) = compute([node], given.arrays, variant)
        _, target = machine(variant)
        assert [k.name.partition("_")[2].partition("_")[2] for k in target.kernels()] == expected
        (plan,) = target.plans
        assert bool(plan.derivations)
        x, w_ = given.arrays[x], normal(3, 3, 32, 32)
        np.testing.assert_allclose(got, reference(x, w_), rtol=0, atol=1e-4)


def test_blocks_keep_their_sums_in_windows():
    """Many tiles need no more memory of the arena than the copy with a border."""
    given = Given()
    x, w = given(normal(8, 32, 32, 32)), given(normal(3, 3, 32, 32))
    compute([make("conv", x, w, **conv_case(x.shape, w.shape, padding=SAME)[2])], given.arrays)
    (plan,) = machine("fma")[1].plans
    assert "product" in kernels()
    assert plan.arena < 4 * 8 * 34 * 34 * 32 + 4 * 17 * 32 * 32 + 1024


def test_weights_that_change_are_transformed_for_enough_tiles():
    for size, expected in ((6, False), (16, True)):
        given = Given()
        x, w = given(normal(1, size, size, 64)), given(normal(3, 3, 64, 64))
        compute([make("conv", x, w, **conv_case(x.shape, w.shape, padding=SAME)[2])], given.arrays)
        assert ("product" in kernels()) == expected


@pytest.mark.parametrize("offset", [0, 100, 1e4])
@pytest.mark.parametrize("channels", [16, 128, 512])
def test_accuracy(channels, offset):
    """What the module says: errors of 1.5e-6 of the largest result, up to 512 channels."""
    rng = np.random.default_rng(channels)
    for draw in (rng.standard_normal, rng.random):
        x = (draw((1, 14, 14, channels)) + offset).astype(np.float32)
        w = draw((3, 3, channels, 32)).astype(np.float32)
        given = Given()
        node = make("conv", given(x), given(w), **conv_case(x.shape, w.shape, padding=SAME)[2])
        (got,) = compute([node], given.arrays)
        assert "product" in kernels()
        expected = reference(x, w)
        assert np.abs(got - expected).max() <= 1.5e-6 * np.abs(expected).max()


def test_large_numbers_stay_finite():
    x, w = np.full((1, 14, 14, 32), 1e37, np.float32), np.full((3, 3, 32, 32), 1e-2, np.float32)
    x[0, ::2] *= -1
    given = Given()
    node = make("conv", given(x), given(w), **conv_case(x.shape, w.shape, padding=SAME)[2])
    (got,) = compute([node], given.arrays)
    assert "product" in kernels()
    np.testing.assert_allclose(got, reference(x, w), rtol=1e-5, atol=1e32)


def test_what_is_not_finite_reaches_no_other_outputs():
    """Infinite ones may become NaN."""
    x, w = normal(1, 14, 14, 32), normal(3, 3, 32, 32)
    for row, column, value in ((4, 8, np.inf), (5, 3, -np.inf), (12, 1, np.nan), (13, 13, np.inf)):
        x[0, row, column, row] = value
    given = Given()
    node = make("conv", given(x), given(w), **conv_case(x.shape, w.shape, padding=SAME)[2])
    (got,) = compute([node], given.arrays)
    assert "product" in kernels()
    with np.errstate(invalid="ignore"):
        expected = reference(x, w)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    np.testing.assert_allclose(got[np.isfinite(got)], expected[np.isfinite(got)], atol=1e-4)
