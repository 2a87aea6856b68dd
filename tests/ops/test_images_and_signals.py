"""Transforms, signals, images and segments as parts of something larger: compiled, mapped over,
exported with batches that are not full; and what they say to wrong arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tabgrad as tg
from tabgrad import jit
from tabgrad.compiler.rows import mask_rows
from tabgrad.errors import ArgumentError, CaptureError, DtypeError, ShapeError
from tabgrad.ir.graph import toposort
from tests.ops.comparing import Array, random
from tests.ops.engines import chosen

IDS = np.int32([2, 0, 2, 1])
TURN = np.float32([0.9, 0.3, -1.2, -0.25, 1.1, 0.7, 0.03, -0.02])
NO_IMAGES = tg.zeros((0, 4, 5, 3))
BOXES = np.float32([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 2, 1, 3], [0, 2.1, 1, 3]])

Function = Callable[..., Any]

MAPPED: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "fft": (lambda x, y: tg.ops.fft((x, y)), [(12,), (12,)]),
    "fft of a prime": (lambda x, y: tg.ops.fft((x, y)), [(67,), (67,)]),
    "irfft": (lambda x, y: tg.ops.irfft((x, y), 9), [(5,), (5,)]),
    "stft": (lambda x: tg.ops.stft(x, 8, 4, 8), [(40,)]),
    "istft": (lambda x, y: tg.ops.istft((x, y), 8, 4, 8), [(9, 5), (9, 5)]),
    "signal.dct": (tg.signal.dct, [(7,)]),
    "signal.mfcc": (lambda x: tg.signal.mfcc(x, 8000, 4, 32, 16, num_mel_bins=6), [(80,)]),
    "resize": (lambda x: tg.image.resize(x, (7, 3), "bicubic"), [(4, 5, 2)]),
    "scale_and_translate": (
        lambda x, s: tg.image.scale_and_translate(x, (6, 5), s, [0.5, -0.3], (0, 1), "cubic"),
        [(4, 5), (2,)],
    ),
    "map_coordinates": (lambda x, c: tg.image.map_coordinates(x, c, 1, "wrap"), [(5, 6), (2, 9)]),
    "affine_transform": (lambda x: tg.image.affine_transform(x, TURN), [(5, 6, 2)]),
    "rgb_to_hsv": (tg.image.rgb_to_hsv, [(4, 5, 3)]),
    "gaussian_blur": (tg.image.gaussian_blur, [(5, 6, 2)]),
    "extract_patches": (lambda x: tg.image.extract_patches(x, 3, 1), [(5, 6, 2)]),
    "threshold": (lambda x: tg.image.threshold(x * 90, "otsu"), [(5, 6, 1)]),
    "segment sum": (lambda x: tg.segment.sum(x, IDS, 3), [(4, 3)]),
    "segment max": (lambda x: tg.segment.max(x, IDS, 3), [(4, 3)]),
    "non_max_suppression": (
        lambda s: tg.image.non_max_suppression_padded(BOXES, s, 3)[0], [(4,)]
    ),
}  # fmt: skip


def _results(value: Any) -> list[Array]:
    return [np.asarray(v) for v in (value if isinstance(value, (tuple, list)) else [value])]


@pytest.mark.parametrize("engine", ["reference", "wasm"])
@pytest.mark.parametrize("name", MAPPED)
def test_compiled_and_mapped(name: str, engine: str) -> None:
    """A function compiled, and mapped over a batch, gives what it gives row by row."""
    function, shapes = MAPPED[name]
    batch = [random((3, *shape), seed, 0.1, 2) for seed, shape in enumerate(shapes)]
    with chosen(engine):
        rows = [_results(function(*map(tg.tensor, xs))) for xs in zip(*batch, strict=True)]
        expected = [np.stack(parts) for parts in zip(*rows, strict=True)]
        tensors = list(map(tg.tensor, batch))
        for got in (
            _results(tg.vmap(function)(*tensors)),
            _results(tg.compile(tg.vmap(function))(*tensors)),
        ):
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        first = _results(tg.compile(function)(*(t[0] for t in tensors)))
        for one, other in zip(first, expected, strict=True):
            np.testing.assert_allclose(one, other[0], rtol=1e-4, atol=1e-4)


BY_ROWS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "fft": (lambda x: tg.ops.fft((x, x * 2.0)), (12,)),
    "fft of a prime": (lambda x: tg.ops.rfft(x), (67,)),
    "stft": (lambda x: tg.ops.stft(x, 8, 4, 8), (40,)),
    "mfcc": (lambda x: tg.signal.mfcc(x, 8000, 4, 32, 16, num_mel_bins=6), (80,)),
    "resize": (lambda x: tg.image.resize(x, (7, 3)), (4, 5, 2)),
    "resize channels first": (
        lambda x: tg.image.resize(x, (7, 3), data_format="channels_first"), (2, 4, 5)
    ),
    "crop and flip": (
        lambda x: tg.image.flip_left_right(
            tg.image.crop_images(x, 1, 1, target_height=2, target_width=3)
        ),
        (4, 5, 2),
    ),
    "gaussian_blur": (tg.image.gaussian_blur, (5, 6, 2)),
    "sobel_edges": (tg.image.sobel_edges, (5, 6, 2)),
    "affine_transform": (lambda x: tg.image.affine_transform(x, TURN), (5, 6, 2)),
    "transform": (lambda x: tg.image.transform(x, TURN, fill_mode="wrap"), (5, 6, 2)),
    "rotate_with_offset": (
        lambda x: tg.image.rotate_with_offset(x, 0.3, (1, 2, 3)), (5, 6, 3)
    ),
    "perspective_transform": (
        lambda x: tg.image.perspective_transform(
            x, [[0.0, 0], [5, 0], [0, 4], [5, 4]], [[1.0, 0], [5, 0], [0, 4], [4, 4]]
        ),
        (5, 6, 3),
    ),
    "rgb_to_hsv": (tg.image.rgb_to_hsv, (4, 5, 3)),
    "adjust_contrast": (lambda x: tg.image.adjust_contrast(x, 2.0), (4, 5, 3)),
    "extract_patches": (lambda x: tg.image.extract_patches(x, 3, 2, 1, "same"), (5, 6, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_ROWS)
def test_partial_batches(name: str) -> None:
    """No row of a batch has a part in another, so an exported page may run fewer."""
    function, shape = BY_ROWS[name]
    graph = jit.trace(function, [((8, *shape), "float32", True)]).graph
    masked = mask_rows(graph)
    assert not masked.exact, masked.reason
    assert all(masked.row_outputs)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    n=st.integers(1, 200),
    norm=st.sampled_from(["backward", "ortho", "forward"]),
    data=st.data(),
)
def test_any_size_axis_and_norm(shape: list[int], n: int, norm: str, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    name = data.draw(st.sampled_from(["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]))
    x = random(shape, n)
    if name not in ("rfft", "ihfft"):
        x = (x + 1j * random(shape, n + 1)).astype(np.complex64)
    with chosen("reference"):
        got = np.asarray(getattr(tg.fft, name)(tg.tensor(x), n=n, axis=axis, norm=norm))
    expected = getattr(np.fft, name)(x, n, axis, norm)
    assert got.shape == expected.shape
    scale = np.abs(expected).max() + 1e-6
    assert np.abs(got - expected).max() <= 3e-7 * (1 + math.log2(n)) * scale


EMPTY: dict[str, tuple[Function, tuple[int, ...]]] = {
    "resize": (lambda: tg.image.resize(NO_IMAGES, (2, 3)), (0, 2, 3, 3)),
    "affine_transform": (lambda: tg.image.affine_transform(NO_IMAGES, TURN), (0, 4, 5, 3)),
    "rotate_with_offset": (lambda: tg.image.rotate_with_offset(NO_IMAGES, 0.3), (0, 4, 5, 3)),
    "extract_patches": (lambda: tg.image.extract_patches(NO_IMAGES, 2), (0, 2, 2, 12)),
    "gaussian_blur": (lambda: tg.image.gaussian_blur(NO_IMAGES), (0, 4, 5, 3)),
    "threshold": (lambda: tg.image.threshold(NO_IMAGES, "otsu"), (0, 4, 5, 1)),
    "crop_and_resize": (
        lambda: tg.image.crop_and_resize(
            tg.ones((1, 4, 5, 3)), tg.zeros((0, 4)), tg.zeros((0,), "int32"), (2, 2)
        ),
        (0, 2, 2, 3),
    ),
    "non_max_suppression": (
        lambda: tg.image.non_max_suppression(tg.zeros((0, 4)), tg.zeros((0,)), 3), (0,)
    ),
    "fft": (lambda: tg.fft.fft(tg.zeros((0, 67))), (0, 67)),
    "stft": (lambda: tg.ops.stft(tg.zeros((0, 30)), 8, 4, 8)[0], (0, 8, 5)),
    "mel_spectrogram": (
        lambda: tg.signal.mel_spectrogram(tg.zeros((0, 100)), 16, 8, num_mel_bins=3), (0, 3, 13)
    ),
    "frame": (lambda: tg.signal.frame(tg.zeros((0,)), 8, 4, True), (0, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_gives_nothing(name: str) -> None:
    function, shape = EMPTY[name]
    assert np.asarray(function()).shape == shape


def test_a_transform_is_a_few_nodes_a_stage() -> None:
    sizes = {n: len(toposort([tg.ops.fft((tg.zeros((n,)), tg.ones((n,))))[0].node]))
             for n in (8**2, 8**3, 8**4, 8**5)}  # fmt: skip
    steps = np.diff(list(sizes.values()))
    assert (steps == steps[0]).all()
    assert steps[0] < 30


@pytest.mark.parametrize("n", [4096, 6000, 4099, 1 << 16])
def test_many_points(n: int) -> None:
    """Errors grow with the logarithm of the size, for one frequency as for noise."""
    with chosen("wasm"):
        at = np.arange(n)
        for x in (np.cos(2 * np.pi * 5 * at / n), random((n,), 3), np.ones(n)):
            x = x.astype(np.float32)
            expected = np.fft.fft(x.astype(np.float64))
            got = np.asarray(tg.fft.fft(tg.tensor(x)))
            error = np.abs(got - expected).max() / np.abs(expected).max()
            assert error < np.finfo(np.float32).eps * math.log2(n)


def test_values_of_a_kind_keep_it() -> None:
    half = tg.tensor(random((2, 4, 4, 3)), dtype="float16")
    for function in (
        lambda x: tg.image.resize(x, (3, 5)),
        lambda x: tg.image.affine_transform(x, TURN),
        lambda x: tg.image.hsv_to_rgb(x),
        lambda x: tg.image.gaussian_blur(x),
    ):
        assert function(half).dtype is tg.dtypes.float16
    bytes_ = tg.tensor(np.arange(48).reshape(4, 4, 3), dtype="uint8")
    for function in (
        lambda x: tg.image.resize(x, (3, 5)),
        lambda x: tg.image.affine_transform(x, TURN),
        lambda x: tg.image.rgb_to_grayscale(x),
        lambda x: tg.image.extract_patches(x, 2),
        lambda x: tg.image.rotate_with_offset(x, 0.5, (1, 2, 3)),
    ):
        assert function(bytes_).dtype is tg.dtypes.uint8
    assert tg.fft.fft(tg.tensor([1, 2, 3])).dtype is tg.dtypes.complex64
    assert tg.fft.fft(tg.tensor([1.0, 2.0], dtype="float64")).dtype is tg.dtypes.complex128


def test_elastic_transform_draws_from_the_generator() -> None:
    image = tg.tensor(random((6, 6, 1)))
    first, second = (tg.image.elastic_transform(image, sigma=1.0).tolist() for _ in range(2))
    assert first != second


CAPTURED: dict[str, tuple[Function, str]] = {
    "num_segments": (lambda x: tg.segment.sum(x, tg.ops.cast(x, "int32")), "num_segments"),
    "non_max_suppression": (
        lambda x: tg.image.non_max_suppression(BOXES, x, 3), "non_max_suppression_padded"
    ),
    "ragged_range": (lambda x: tg.segment.ragged_range(0, tg.ops.cast(x, "int32")), "padded"),
    "sparse_fill_empty_rows": (
        lambda x: tg.segment.sparse_fill_empty_rows(
            tg.ops.cast(tg.ops.reshape(x, (2, 2)), "int32"), [1.0, 2.0], (4, 4), 0.0
        ),
        "sparse_to_dense",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CAPTURED)
def test_sizes_that_depend_on_values_are_not_captured(name: str) -> None:
    function, instead = CAPTURED[name]
    with pytest.raises(CaptureError, match=instead):
        tg.compile(function)(tg.tensor([1.0, 2.0, 0.0, 3.0]))


X, IMAGE = tg.ones((4,)), tg.ones((4, 5, 3))

WRONG: dict[str, tuple[type[Exception], str, Function]] = {
    "fft of one tensor": (ArgumentError, "pair", lambda: tg.ops.fft(X)),
    "fft of integers": (DtypeError, "float", lambda: tg.ops.fft((tg.tensor([1]), tg.tensor([1])))),
    "fft of two shapes": (ShapeError, "one shape", lambda: tg.ops.fft((X, tg.ones((3,))))),
    "fft of nothing": (ArgumentError, "at least one point", lambda: tg.fft.fft(tg.ones((0,)))),
    "fft norm": (ArgumentError, "'ortho'", lambda: tg.fft.fft(X, norm="unit")),
    "fft axis": (ShapeError, "axis", lambda: tg.fft.fft(X, axis=2)),
    "fftn sizes": (ArgumentError, "as many", lambda: tg.fft.fftn(X, s=(2, 2), axes=(0,))),
    "rfft of complex": (DtypeError, "tg.fft.fft", lambda: tg.fft.rfft(tg.complex(X, X))),
    "fftfreq": (DtypeError, "floating", lambda: tg.fft.fftfreq(4, dtype="int32")),
    "stft too short": (ShapeError, "at least", lambda: tg.ops.stft(X, 8, 4, 8, center=False)),
    "stft window": (ArgumentError, "'hann'", lambda: tg.ops.stft(X, 2, 1, 2, window="round")),
    "stft sizes": (ArgumentError, "fft_length", lambda: tg.ops.stft(X, 8, 1, 4)),
    "frame step": (ArgumentError, "frame_step", lambda: tg.signal.frame(X, 2, 0)),
    "window length": (ArgumentError, "int", lambda: tg.ops.hanning(2.5)),
    "window name": (ArgumentError, "hamming", lambda: tg.signal.get_window("flat", 4)),
    "kaiser": (ArgumentError, "700", lambda: tg.ops.kaiser(4, 1e4)),
    "mel edges": (
        ArgumentError, "half", lambda: tg.signal.linear_to_mel_weight_matrix(4, 9, 8000, 0, 9000)
    ),
    "dct type": (ArgumentError, "1, 2, 3 or 4", lambda: tg.signal.dct(X, 5)),
    "resize rank": (ShapeError, "(h, w, c)", lambda: tg.image.resize(X, (2, 2))),
    "resize size": (ShapeError, "positive", lambda: tg.image.resize(IMAGE, (0, 2))),
    "resize kind": (ArgumentError, "lanczos3", lambda: tg.image.resize(IMAGE, (2, 2), "cubic")),
    "resize both": (
        ArgumentError, "Choose one", lambda: tg.image.resize(
            IMAGE, (2, 2), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True
        ),
    ),
    "transforms": (ShapeError, "(8,)", lambda: tg.image.affine_transform(IMAGE, X)),
    "fill mode": (
        ArgumentError, "mirror", lambda: tg.image.affine_transform(IMAGE, TURN, fill_mode="edge")
    ),
    "order": (ArgumentError, "0, 1", lambda: tg.image.map_coordinates(X, [[0.5]], 3)),
    "coordinates": (ShapeError, "(1, ...)", lambda: tg.image.map_coordinates(X, [0.5], 1)),
    "channels": (ShapeError, "data_format", lambda: tg.image.rgb_to_hsv(tg.ones((3, 4, 5)))),
    "integer colours": (
        DtypeError, "255", lambda: tg.image.rgb_to_hsv(tg.ones((3, 4, 3), dtype="int32"))
    ),
    "crop": (ArgumentError, "two of", lambda: tg.image.crop_images(IMAGE, 1, 1)),
    "crop outside": (
        ArgumentError, "at least 0",
        lambda: tg.image.crop_images(IMAGE, 3, 0, target_height=2, target_width=2),
    ),
    "patches": (ShapeError, "fit", lambda: tg.image.extract_patches(IMAGE, 6)),
    "blur": (ArgumentError, "kernel_size", lambda: tg.image.gaussian_blur(IMAGE, (0, 3))),
    "elastic": (ArgumentError, "sigma", lambda: tg.image.elastic_transform(IMAGE, sigma=0.0)),
    "boxes": (ShapeError, "(n, 4)", lambda: tg.image.non_max_suppression(X, X, 2)),
    "iou": (
        ArgumentError, "iou_threshold", lambda: tg.image.non_max_suppression(BOXES, X, 2, 1.5)
    ),
    "segment shapes": (ShapeError, "leading", lambda: tg.segment.sum(X, [0, 1], 2)),
    "segment dtype": (DtypeError, "integers", lambda: tg.segment.sum(X, X, 2)),
    "segment count": (ArgumentError, "num_segments", lambda: tg.segment.sum(X, IDS, -1)),
    "dense rank": (
        ShapeError, "(n, 2)", lambda: tg.segment.sparse_to_dense([[0], [1]], [1.0, 2.0], (2, 2))
    ),
    "sparse reshape": (
        ShapeError, "6 elements", lambda: tg.segment.sparse_reshape([[0, 1]], (2, 3), (4, 2))
    ),
    "sparse row": (
        ArgumentError, "rows from 0",
        lambda: tg.segment.sparse_fill_empty_rows([[5, 0]], [1.0], (3, 2), 0.0),
    ),
    "ragged index": (
        ArgumentError, "indices from 0", lambda: tg.segment.ragged_gather([[0, 2]], [1, 2], [1])
    ),
    "ragged types": (
        ArgumentError, "ROW_SPLITS",
        lambda: tg.segment.ragged_tensor_to_tensor((-1, -1), [1, 2], 0, [[0, 1]], ["ROWS"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_was_expected(name: str) -> None:
    error, words, call = WRONG[name]
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert words in message
    assert "expected" in message
    assert "received" in message
