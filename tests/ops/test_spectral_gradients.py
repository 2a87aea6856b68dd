"""Gradients of transforms, signals, images and segments by finite differences in float64.

Each function is a loss of its results squared, so that it has a second order; the derivative is
taken in one random direction, which every element of the gradient has a part in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.ops.comparing import Array
from tests.ops.engines import chosen

STEP = 1e-5
IDS = np.int32([2, 0, 2, 1, 0, -1])
BOXES = np.array([[0.11, 0.23, 0.73, 0.91], [0.83, 0.17, 0.22, 0.64]])
POINTS = np.array([[0.3, 0.2], [5.6, 0.4], [0.1, 4.7], [5.3, 4.4]])
PLACES = np.random.default_rng(5).uniform(-2, 7, (2, 9))
TURN = np.array([0.917, 0.313, -1.271, -0.257, 1.103, 0.719, 0.031, -0.023])
# No pixel is read at a whole place, where interpolation has a kink.


@pytest.fixture(scope="module", autouse=True)
def reference() -> Iterator[None]:
    with chosen("reference"):
        yield


def _parts(z: Any) -> list[tg.Tensor]:
    return [tg.real(z), tg.imag(z)]


Function = Callable[..., Any]
Inputs = list[tuple[int, ...] | Array]

CASES: dict[str, tuple[Function, Inputs]] = {
    "fft": (lambda x, y: list(tg.ops.fft((x, y))), [(2, 12), (2, 12)]),
    "fft of a prime": (lambda x, y: list(tg.ops.fft((x, y))), [(67,), (67,)]),
    "ifft2": (lambda x, y: list(tg.ops.ifft2((x, y))), [(3, 4), (3, 4)]),
    "rfft": (lambda x: list(tg.ops.rfft(x, 11)), [(2, 9)]),
    "irfft": (lambda x, y: tg.ops.irfft((x, y), 9), [(2, 5), (2, 5)]),
    "fft.fftn": (lambda x: _parts(tg.fft.fftn(x, s=(3, 5))), [(4, 4)]),
    "fft.hfft": (lambda x, y: tg.fft.hfft(tg.complex(x, y), norm="ortho"), [(2, 5), (2, 5)]),
    "stft": (lambda x: list(tg.ops.stft(x, 8, 3, 10)), [(2, 30)]),
    "istft": (lambda x, y: tg.ops.istft((x, y), 8, 4, 8), [(2, 6, 5), (2, 6, 5)]),
    "signal.stft": (lambda x: _parts(tg.signal.stft(x, 8, 4)), [(2, 30)]),
    "signal.istft": (lambda x, y: tg.signal.istft(tg.complex(x, y), 8, 4), [(3, 5), (3, 5)]),
    "signal.frame": (lambda x: tg.signal.frame(x, 5, 2, True), [(2, 13)]),
    "signal.overlap_and_add": (lambda x: tg.signal.overlap_and_add(x, 2), [(2, 4, 5)]),
    "signal.dct": (lambda x: [tg.signal.dct(x, k, norm="ortho") for k in (1, 2, 3, 4)], [(2, 6)]),
    "signal.mfcc": (
        lambda x: tg.signal.mfcc(x, 8000, 4, 32, 16, num_mel_bins=6, lower_edge_hertz=300.0),
        [(80,)],
    ),
    "signal.mel_spectrogram": (
        lambda x: tg.signal.mel_spectrogram(x, 16, 8, num_mel_bins=3, power_to_db=False), [(40,)]
    ),
    "resize bilinear": (lambda x: tg.image.resize(x, (7, 3)), [(1, 4, 5, 2)]),
    "resize bicubic": (
        lambda x: tg.image.resize(x, (3, 9), "bicubic", antialias=True), [(1, 6, 5, 2)]
    ),
    "resize lanczos3": (lambda x: tg.image.resize(x, (6, 4), "lanczos3"), [(9, 5, 1)]),
    "resize nearest": (lambda x: tg.image.resize(x, (7, 3), "nearest"), [(1, 4, 5, 2)]),
    "scale_and_translate": (
        lambda x, s, t: tg.image.scale_and_translate(x, (6, 7), s, t, (0, 1), "lanczos3"),
        [(5, 6), np.array([1.3, 0.7]), np.array([-0.8, 1.1])],
    ),
    "crop_and_resize": (
        lambda x, b: tg.image.crop_and_resize(x, b, [0, 1], (3, 4)), [(2, 5, 6, 2), BOXES]
    ),
    "map_coordinates": (
        lambda x, c: tg.image.map_coordinates(x, c, 1, "mirror"), [(5, 6), PLACES]
    ),
    "affine_transform": (
        lambda x, t: tg.image.affine_transform(x, t, fill_mode="reflect"), [(5, 6, 2), TURN]
    ),
    "transform": (
        lambda x, t: tg.image.transform(x, t, "bilinear", "constant", 0.3), [(5, 6, 2), TURN]
    ),
    "perspective_transform": (
        lambda x, p: tg.image.perspective_transform(
            x, p, [[0.0, 0.0], [5.0, 0.0], [0.0, 4.0], [5.0, 4.0]]
        ),
        [(5, 6, 2), POINTS],
    ),
    "elastic_transform": (
        lambda x: tg.image.elastic_transform(x, 1.5, 1.0, seed=2), [(5, 6, 2)]
    ),
    "rotate_with_offset": (lambda x: tg.image.rotate_with_offset(x, 0.7), [(5, 6, 2)]),
    "rgb_to_hsv": (tg.image.rgb_to_hsv, [(3, 4, 3)]),
    "hsv_to_rgb": (tg.image.hsv_to_rgb, [(3, 4, 3)]),
    "adjust_saturation": (lambda x: tg.image.adjust_saturation(x, 0.6), [(3, 4, 3)]),
    "gaussian_blur": (
        lambda x, s: tg.image.gaussian_blur(x, (3, 5), s), [(5, 6, 2), np.array([0.8, 1.2])]
    ),
    "sobel_edges": (tg.image.sobel_edges, [(1, 4, 5, 2)]),
    "ssim": (lambda x, y: tg.image.ssim(x, y, filter_size=3), [(5, 6, 2), (5, 6, 2)]),
    "extract_patches": (lambda x: tg.image.extract_patches(x, 3, 2, 1, "same"), [(1, 5, 6, 2)]),
    "segment sum": (lambda x: tg.segment.sum(x, IDS, 4), [(6, 3)]),
    "segment mean": (lambda x: tg.segment.mean(x, IDS, 4), [(6, 3)]),
    "segment max": (lambda x: tg.segment.max(x, IDS, 3), [(6, 3)]),
    "segment min": (lambda x: tg.segment.min(x, IDS, 3), [(6, 3)]),
    "segment prod": (lambda x: tg.segment.prod(x, IDS, 4), [(6, 3)]),
    "sparse_to_dense": (
        lambda v: tg.segment.sparse_to_dense([[0, 1], [2, 0], [1, 1]], v, (3, 3)), [(3,)]
    ),
    "sparse_fill_empty_rows": (
        lambda v: tg.segment.sparse_fill_empty_rows([[0, 1], [2, 0]], v, (4, 2), 1.5)[1], [(2,)]
    ),
    "sparse_segment_mean": (
        lambda x: tg.segment.sparse_segment_mean(x, [0, 2, 2], [0, 0, 1], 2), [(3, 2)]
    ),
    "ragged_tensor_to_tensor": (
        lambda x: tg.segment.ragged_tensor_to_tensor(
            (-1, -1), x, 0.5, [[0, 2, 2, 3]], ["ROW_SPLITS"]
        ),
        [(3,)],
    ),
}  # fmt: skip


def _arrays(inputs: Inputs) -> list[Array]:
    rng = np.random.default_rng(1)
    return [x if isinstance(x, np.ndarray) else rng.uniform(0.1, 0.9, x) for x in inputs]


def _loss(function: Function) -> Function:
    def loss(*xs: tg.Tensor) -> tg.Tensor:
        results = function(*xs)
        total = tg.tensor(0.0, dtype="float64")
        for i, y in enumerate(results if isinstance(results, list) else [results]):
            weights = np.random.default_rng(10 + i).uniform(-1, 1, y.shape)
            total = total + tg.ops.sum(y * y * tg.tensor(weights, dtype="float64"))
        return total

    return loss


def _tensors(arrays: list[Array]) -> list[tg.Tensor]:
    return [tg.tensor(x, dtype="float64") for x in arrays]


def _slope(value: Function, arrays: list[Array], aims: list[Array]) -> float:
    ends = [
        float(value(*_tensors([x + s * STEP * d for x, d in zip(arrays, aims, strict=True)])))
        for s in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * STEP)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    function, inputs = CASES[name]
    arrays, rng = _arrays(inputs), np.random.default_rng(2)
    aims = [rng.uniform(-1, 1, x.shape) for x in arrays]
    every = tuple(range(len(arrays)))
    gradient = tg.grad(_loss(function), argnums=every)

    def along(*xs: tg.Tensor) -> tg.Tensor:
        total = tg.tensor(0.0, dtype="float64")
        for g, d in zip(gradient(*xs), aims, strict=True):
            total = total + tg.ops.sum(g * tg.tensor(d, dtype="float64"))
        return total

    mine, theirs = float(along(*_tensors(arrays))), _slope(_loss(function), arrays, aims)
    assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-7)
    second = tg.grad(along, argnums=every)(*_tensors(arrays))
    mine = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(second, aims, strict=True))
    assert mine == pytest.approx(_slope(along, arrays, aims), rel=1e-5, abs=1e-6)


def test_gradients_on_wasm_are_those_of_the_reference() -> None:
    """Backward graphs become kernels of other shapes than forward ones."""
    for name in ("fft of a prime", "signal.stft", "resize bicubic", "affine_transform",
                 "segment max", "gaussian_blur"):  # fmt: skip
        function, inputs = CASES[name]
        arrays = [x.astype(np.float32) for x in _arrays(inputs)]

        def loss(*xs: tg.Tensor, function: Function = function) -> tg.Tensor:
            results = function(*xs)
            parts = results if isinstance(results, list) else [results]
            return tg.ops.sum(tg.ops.stack([tg.ops.sum(y * y) for y in parts]))

        found = []
        for engine in ("reference", "wasm"):
            with chosen(engine):
                gradient = tg.grad(loss, argnums=tuple(range(len(arrays))))
                found.append([np.asarray(g) for g in gradient(*map(tg.tensor, arrays))])
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4, err_msg=name)


def test_silence_has_a_gradient() -> None:
    """The magnitude of nothing has no slope, but training on it must go on."""
    silence = tg.tensor(np.zeros(80), dtype="float64")
    slope = tg.grad(lambda x: tg.ops.sum(tg.signal.mfcc(x, 8000, 4, 32, 16, num_mel_bins=6)))
    assert np.isfinite(np.asarray(slope(silence))).all()
