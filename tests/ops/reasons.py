"""Why an operation lacks a dimension of the op table (coverage.py), each reason with its check.

Where an operation refuses what would give it a dimension, derived.txt has the call, and that it
raises is tested. Where its values are left open there, the call is tested to run and to have the
shape and dtype it has otherwise. The other reasons are read off the cases.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from tests.ops.comparing import Case
from tests.ops.coverage import DTYPES, SHAPES, VALUES, function_of

REFUSED: dict[str, str] = {
    "0-d": "works along an axis, or on vectors, matrices, images or sequences",
    "empty": "a choice, a window, a matrix of elements: there has to be one",
    "one": "vectors of two or three elements, windows, whole blocks or colours do not fit",
    "broadcast": "arguments of one shape, or of different kinds: values and places",
    "bool": "numbers only",
    "signed": "floats only",
    "unsigned": "floats only",
    "float16": "integers, or floats of 32 bits and more",
    "float32": "integers only",
    "float64": "integers only",
    "complex": "real numbers only: ordered, rounded, counted, or places",
    **dict.fromkeys(VALUES, "integers only"),
    **dict.fromkeys(SHAPES[3:12], "a size that its other arguments leave no choice of"),
}
"""What a refusal of each dimension means; the error of the call says it exactly."""

MATRICES = (
    "linalg.", "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "logdet", "lstsq",
    "lu_factor", "matrix_rank", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd",
)  # fmt: skip

TRANSFORMS = (
    "fft.", "fft", "fft2", "ifft", "ifft2", "rfft", "irfft", "stft", "istft", "signal.stft",
    "signal.istft", "signal.dct", "signal.idct", "signal.inverse_stft_window", "signal.mfcc",
    "signal.mfccs_from_log_mel_spectrograms", "signal.mel_spectrogram",
)  # fmt: skip

OVERFLOW = (
    "binary_crossentropy", "categorical_crossentropy", "corrcoef", "cov", "dot_product_attention",
    "histogram", "image.adjust_hue", "image.adjust_saturation", "image.sobel_edges", "image.ssim",
    "layer_normalization", "nanstd", "nanvar", "nn.absolute_difference", "nn.cosine_distance",
    "nn.group_normalization", "nn.huber_loss", "nn.l2_normalize",
    "nn.local_response_normalization", "nn.log_loss", "nn.mean_squared_error", "nn.normalize",
    "nn.psnr", "nn.rms_normalization", "nn.sigmoid_cross_entropy", "nn.softmax_cross_entropy",
    "nn.sparsemax", "std", "var", "correlate", "moments",
)  # fmt: skip

COLOURS = ("image.adjust_hue", "image.adjust_saturation", "image.hsv_to_rgb", "image.rgb_to_hsv")

WEIGHED = (
    "image.crop_and_resize", "image.scale_and_translate", "image.sobel_edges", "linspace",
    "nanpercentile", "nanquantile", "nn.sparsemax", "percentile", "quantile", "correlate",
    "nn.sigmoid_cross_entropy", "geomspace", "logspace",
)  # fmt: skip

PLACES = ("multi_hot", "nn.multi_hot", "nn.one_hot", "one_hot")

OPEN: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "a matrix is decomposed as a whole: what is not finite spoils all of it, and the largest "
        "numbers overflow in the products (test_spoiled.py: its neighbours stay)",
        ("nan", "inf", "limits"),
        MATRICES,
    ),
    (
        "a transform mixes all its elements, so which parts are NaN is up to the algorithm, and "
        "the largest numbers overflow in the sums (test_spoiled.py: its neighbours stay)",
        ("nan", "inf", "limits"),
        TRANSFORMS,
    ),
    (
        "squares, exponentials or sums of the largest numbers overflow on the way, in the dtype "
        "they are in; oracles compute in float64",
        ("limits",),
        OVERFLOW,
    ),
    (
        "a colour that is not finite has no hue, and as in Keras what is below the machine's "
        "epsilon is black",
        ("nan", "inf", "subnormal"),
        COLOURS,
    ),
    (
        "infinity times a weight of 0 is NaN or nothing, as the algorithm has the weight or not",
        ("nan", "inf"),
        WEIGHED,
    ),
    (
        "the sign of a vector is free where its pivot is 0, and what is divided by a subnormal "
        "pivot overflows",
        ("zeros", "subnormal"),
        ("cholesky_inverse", "linalg.qr", "linalg.solve_triangular"),
    ),
    ("floats given as places are cast to integers first", VALUES, PLACES),
)
"""Values that are left open: why, of which dimensions, of which operations."""


def _is_among(aliases: Sequence[str], names: Sequence[str]) -> bool:
    return any(
        name == alias or (name.endswith(".") and alias.startswith(name))
        for alias in aliases
        for name in names
    )


def open_reason(aliases: Sequence[str], dimension: str) -> str:
    """Why the values of the operation of these names are left open; empty where they are not."""
    for reason, dimensions, names in OPEN:
        if dimension in dimensions and _is_among(aliases, names):
            return reason
    return ""


def reason_for(aliases: Sequence[str], dimension: str, cases: Sequence[Case]) -> str:
    """Why the operation of these names lacks a dimension, read off its cases; else empty."""
    count = max(len(case.inputs) for case in cases)
    if not count and dimension in ("broadcast", "view", *VALUES):
        return "it takes no arrays"
    parameters = inspect.signature(function_of(aliases[0])).parameters
    if not count and dimension == "0-d" and "shape" not in parameters:
        return "it makes vectors or matrices"
    if not count and dimension in DTYPES and "dtype" not in parameters:
        return "its dtype is no argument"
    if count == 1 and dimension == "broadcast":
        return "it takes one array"
    return PARTICULAR.get((aliases[0], dimension), "")


RAGGED = "its values are the lengths of its results"

PARTICULAR: dict[tuple[str, str], str] = {
    ("geomspace", "zeros"): "neither end is 0",
    ("histogram", "broadcast"): "weights have the shape of x",
    ("histogram", "inf"): "no bins of one width reach infinity",
    ("indices", "bool"): "indices are numbers",
    ("indices", "complex"): "indices are real numbers",
    ("jvp", "signed"): "integers do not move",
    ("jvp", "unsigned"): "integers do not move",
    ("stft", "one"): "Hann's window of one sample is 0, which leaves the oracle's rounding",
    **{("segment.ragged_range", name): RAGGED for name in ("nan", "inf", "limits", "subnormal")},
}
"""What is so for one operation only."""

assert set(REFUSED) <= {*SHAPES, *DTYPES, *VALUES}
