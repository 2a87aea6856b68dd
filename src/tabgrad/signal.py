"""Signals: pieces, windows, spectra over time, mel bands, cosine transforms: `tg.signal`.

Names and arguments are those of TensorFlow's `tf.signal`; the last axis is time, any axes may come
before it, and everything has gradients. Keras's functions on pairs (real, imag) are in `tg.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import as_dtype, float32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of, common, complex_parts, node_of, on_parts, scalar, spread
from tabgrad.ops.cosine import dct, idct
from tabgrad.ops.fourier import check_size, floating, half_dft, resized
from tabgrad.ops.manipulation import cut
from tabgrad.ops.public import publish
from tabgrad.ops.sequences import check_steps, overlapped, pieces, reassembled
from tabgrad.ops.windows import (
    bartlett_window,
    blackman_window,
    constant,
    cosine_window,
    get_window,
    hamming_window,
    hann_window,
    kaiser_window,
)
from tabgrad.tensor import Tensor

__all__ = [
    "bartlett_window",
    "blackman_window",
    "cosine_window",
    "dct",
    "frame",
    "get_window",
    "hamming_window",
    "hann_window",
    "idct",
    "istft",
    "kaiser_window",
    "linear_to_mel_weight_matrix",
    "mel_spectrogram",
    "mfcc",
    "mfccs_from_log_mel_spectrograms",
    "overlap_and_add",
    "stft",
]

MEL_BREAK, MEL_HIGH = 700.0, 1127.0
"""Frequency in Hertz to mel: 1127 ln(1 + f / 700) (O'Shaughnessy, "Speech Communication", 1987)."""


@on_parts()
def frame(
    signal: Any,
    frame_length: int,
    frame_step: int,
    pad_end: bool = False,
    pad_value: float = 0,
    axis: int = -1,
) -> Tensor:
    """A signal cut into overlapping frames.

    Args:
        signal: (..., n, ...).
        frame_length: points of a frame.
        frame_step: from the beginning of a frame to that of the next.
        pad_end: begin frames up to the last point, filled with `pad_value`; otherwise only those
            that fit.
        pad_value: what fills up the last pieces.
        axis: the time axis, which becomes (frames, frame_length).

    Raises:
        ArgumentError: a length or step that is not a positive int.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.frame(tg.tensor([1, 2, 3, 4]), 3, 2, pad_end=True).tolist()
        [[1, 2, 3], [3, 4, 0]]
    """
    check_steps("frame", frame_length=frame_length, frame_step=frame_step)
    node = node_of(signal)
    rank = len(node.shape)
    axis = axis_of("frame", axis, rank)
    order = [d for d in range(rank) if d != axis] + [axis]
    node = b.permute(node, order)
    if pad_end:
        n = node.shape[-1]
        want = (-(-n // frame_step) - 1) * frame_step + frame_length
        if want > n:
            high = (0,) * (rank - 1) + (want - n,)
            fill = scalar(pad_value, node.dtype)
            node = make("pad", node, fill, low=(0,) * rank, high=high, interior=(0,) * rank)
    cuts = pieces(node, frame_length, frame_step)
    lead = list(range(rank - 1))
    return Tensor(b.permute(cuts, [*lead[:axis], rank - 1, rank, *lead[axis:]]))


@on_parts()
def overlap_and_add(signal: Any, frame_step: int) -> Tensor:
    """Frames put `frame_step` apart and added where they overlap.

    Args:
        signal: (..., frames, frame_length).
        frame_step: from the beginning of a frame to that of the next.

    Returns:
        (..., (frames - 1) * frame_step + frame_length).

    Raises:
        ShapeError: fewer than two axes. ArgumentError: a step that is not a positive int.
        DtypeError: bools.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.overlap_and_add(tg.ones((2, 3)), 2).tolist()
        [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    check_steps("overlap_and_add", frame_step=frame_step)
    node = node_of(signal)
    if len(node.shape) < 2 or not node.shape[-2]:
        raise ShapeError(
            f"overlap_and_add expected (..., frames, frame_length); received {list(node.shape)}"
        )
    if node.dtype.kind == "b":
        raise DtypeError("overlap_and_add expected numbers; received bool. Cast the frames first")
    return Tensor(overlapped(node, frame_step))


def _window(name: str, window_fn: Any, length: int, like: Node) -> Node:
    if window_fn is None:
        return b.full((length,), 1, like.dtype)
    if isinstance(window_fn, (str, tuple)):
        return get_window(window_fn, length, like.dtype).node
    made = window_fn(length, dtype=like.dtype) if callable(window_fn) else window_fn
    node = b.cast(node_of(made), like.dtype)
    if node.shape != (length,):
        raise ShapeError(
            f"{name} expected a window of frame_length {length} points; received {list(node.shape)}"
        )
    return node


def _sizes(name: str, frame_length: int, frame_step: int, fft_length: int | None) -> int:
    check_steps(name, frame_length=frame_length, frame_step=frame_step)
    if fft_length is None:
        return 1 << (frame_length - 1).bit_length()
    return check_size(f"{name} (fft_length)", fft_length)


def stft(
    signals: Any,
    frame_length: int,
    frame_step: int,
    fft_length: int | None = None,
    window_fn: Callable[..., Any] | Any = hann_window,
    pad_end: bool = False,
) -> Tensor:
    """Short-time Fourier transform: the spectrum of each windowed frame.

    Args:
        signals: (..., n), real.
        frame_length: points of a frame.
        frame_step: from one frame to the next.
        fft_length: points of each transform, by default the next power of two; frames are filled
            with zeros behind, or cut.
        window_fn: a function of the length and a dtype, a name for `get_window`, a tensor, or None.
        pad_end: also begin frames that reach beyond the end.

    Returns:
        Complex, (..., frames, fft_length // 2 + 1).

    Raises:
        ArgumentError: sizes that are not positive ints. ShapeError: a window of another size.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.stft(tg.ones((32,)), 8, 4).shape
        (7, 5)
    """
    points = _sizes("stft", frame_length, frame_step, fft_length)
    (node,) = floating("stft", signals)
    cuts = frame(Tensor(node), frame_length, frame_step, pad_end).node
    window = _window("stft", window_fn, frame_length, node)
    return Tensor(*half_dft(resized(b.mul(cuts, spread(window, cuts.shape)), points)))


def istft(
    stfts: Any,
    frame_length: int,
    frame_step: int,
    fft_length: int | None = None,
    window_fn: Callable[..., Any] | Any = hann_window,
) -> Tensor:
    """The signal whose `stft` is nearest to a given one in the least-squares sense.

    The frames are weighted by the window, added, and divided by the sum of its squares (Griffin and
    Lim, "Signal estimation from modified short-time Fourier transform", 1984). Arguments are those
    of `stft`.

    Args:
        stfts: complex, (..., frames, fft_length // 2 + 1).
        frame_length: how many samples a piece has.
        frame_step: from piece to piece.
        fft_length: how many points were transformed; by default the next power of 2.
        window_fn: a function of (length, dtype=...) that gives the window; None for none.

    Returns:
        (..., (frames - 1) * frame_step + frame_length); 0 where no window reaches.

    Raises:
        ShapeError: fewer than two axes, or a transform shorter than a frame.

    Example:
        >>> import tabgrad as tg
        >>> spectrum = tg.signal.stft(tg.ones((16,)), 8, 4)
        >>> [round(v) for v in tg.signal.istft(spectrum, 8, 4).tolist()[1:]] == [1] * 15
        True
    """
    points = _sizes("istft", frame_length, frame_step, fft_length)
    re, im = complex_parts(stfts)
    if len(re.shape) < 2 or points < frame_length or not re.shape[-2]:
        raise ShapeError(
            "istft expected (..., frames, frequencies) and fft_length of at least frame_length; "
            f"received {list(re.shape)}, fft_length {points} and frame_length {frame_length}"
        )
    window = resized(_window("istft", window_fn, frame_length, re), points)
    whole = reassembled(re, im, window, frame_step)
    return Tensor(cut(whole, len(whole.shape) - 1, 0, whole.shape[-1] - points + frame_length))


def linear_to_mel_weight_matrix(
    num_mel_bins: int = 20,
    num_spectrogram_bins: int = 129,
    sample_rate: float = 8000,
    lower_edge_hertz: float = 125.0,
    upper_edge_hertz: float = 3800.0,
    dtype: Any = None,
) -> Tensor:
    """Triangular bands, evenly spaced in mel, as a matrix to multiply a spectrogram by.

    Args:
        num_mel_bins: number of bands.
        num_spectrogram_bins: number of frequencies, fft_length // 2 + 1.
        sample_rate: points of the signal a second.
        lower_edge_hertz, upper_edge_hertz: where the first band begins and the last one ends.
        dtype: floating point, float32 by default.

    Returns:
        (num_spectrogram_bins, num_mel_bins).

    Raises:
        ArgumentError: no bands, edges out of order or beyond half the sample rate.
        DtypeError: a dtype that is no float.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.linear_to_mel_weight_matrix(10, 33).shape
        (33, 10)
    """
    check_steps(
        "linear_to_mel_weight_matrix", num_mel_bins=num_mel_bins,
        num_spectrogram_bins=num_spectrogram_bins,
    )  # fmt: skip
    want = as_dtype(dtype or float32)
    if not want.is_float:
        raise DtypeError(f"expected a floating-point dtype; received {want.name}")
    nyquist = sample_rate / 2
    if not 0 <= lower_edge_hertz < upper_edge_hertz <= nyquist:
        raise ArgumentError(
            f"linear_to_mel_weight_matrix expected 0 <= lower edge < upper edge <= {nyquist}, half "
            f"the sample rate; received {lower_edge_hertz} and {upper_edge_hertz}"
        )

    rows = _bands(num_mel_bins, num_spectrogram_bins, nyquist, lower_edge_hertz, upper_edge_hertz)
    return constant(rows, (num_spectrogram_bins, num_mel_bins), want)


def _mel(hertz: float) -> float:
    return MEL_HIGH * math.log1p(hertz / MEL_BREAK)


@lru_cache(maxsize=16)
def _bands(bands: int, frequencies: int, nyquist: float, low: float, high: float) -> list[float]:
    """The weights of all bands for each frequency."""
    first, last = _mel(low), _mel(high)
    edges = [first + (last - first) * i / (bands + 1) for i in range(bands + 2)]
    rows = [0.0] * bands  # the constant part of a signal is in no band
    for i in range(1, frequencies):
        at = _mel(nyquist * i / (frequencies - 1))
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            rise, fall = (at - left) / (centre - left), (right - at) / (right - centre)
            rows.append(max(0.0, min(rise, fall)))
    return rows


def mel_spectrogram(
    signals: Any,
    fft_length: int = 2048,
    sequence_stride: int = 512,
    sequence_length: int | None = None,
    window: Any = "hann",
    sampling_rate: float = 16000,
    num_mel_bins: int = 128,
    min_freq: float = 20.0,
    max_freq: float | None = None,
    power_to_db: bool = True,
    top_db: float = 80.0,
    mag_exp: float = 2.0,
    min_power: float = 1e-10,
    ref_power: float = 1.0,
) -> Tensor:
    """Energy in mel bands over time, in decibels: Keras's MelSpectrogram layer as a function.

    Args:
        signals: (..., n), real.
        fft_length, sequence_stride, sequence_length, window: as for `tg.ops.stft`, centred;
            `sequence_length` is `fft_length` by default.
        sampling_rate: points a second.
        num_mel_bins, min_freq, max_freq: the bands; up to half the sampling rate by default.
        power_to_db: whether the result is 10 log10 of power over `ref_power`.
        top_db: how far below the largest it goes at most.
        mag_exp: exponent of the magnitudes, 2 for power.
        min_power: what smaller powers count as.
        ref_power: the power of 0 decibels.

    Returns:
        (..., num_mel_bins, frames).

    Raises:
        ArgumentError, ShapeError: as for `tg.ops.stft` and `linear_to_mel_weight_matrix`.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.mel_spectrogram(tg.ones((64,)), 16, 8, num_mel_bins=4).shape
        (4, 9)
    """
    (node,) = floating("mel_spectrogram", signals)
    re, im = ops.stft(
        Tensor(node), sequence_length or fft_length, sequence_stride, fft_length, window, True
    )
    power = re * re + im * im
    if mag_exp != 2.0:
        power = _root(power) ** mag_exp
    matrix = linear_to_mel_weight_matrix(
        num_mel_bins, fft_length // 2 + 1, sampling_rate, min_freq,
        max_freq if max_freq else sampling_rate / 2, node.dtype,
    )  # fmt: skip
    mel = ops.matmul(power, matrix)
    if power_to_db:
        reference = 10 * math.log10(max(abs(ref_power), min_power))
        mel = ops.log10(ops.maximum(mel, min_power)) * 10.0 - reference
        if mel.size:
            mel = ops.maximum(mel, ops.max(mel) - top_db)
    return ops.swapaxes(mel, -1, -2)


def _root(power: Tensor) -> Tensor:
    """Square root with gradient 0 at 0, where that of the magnitude is anything up to 1."""
    some = power > 0.0
    return ops.where(some, ops.sqrt(ops.where(some, power, 1.0)), 0.0)


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms: Any) -> Tensor:
    """Mel-frequency cepstral coefficients: the cosine transform (type 2) of log mel energies.

    Args:
        log_mel_spectrograms: (..., bands), logarithms.

    Returns:
        (..., bands), divided by sqrt(2 bands) as in HTK and `tf.signal`.

    Raises:
        ShapeError: a number instead of an array.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.mfccs_from_log_mel_spectrograms(tg.ones((3, 8))).shape
        (3, 8)
    """
    (node,) = common("mfccs_from_log_mel_spectrograms", log_mel_spectrograms, floating=True)
    if not node.shape:
        raise ShapeError("mfccs_from_log_mel_spectrograms expected (..., bands); received 0-d")
    return dct(Tensor(node)) * (1 / math.sqrt(2 * node.shape[-1]))


def mfcc(
    signals: Any,
    sample_rate: float = 16000,
    num_mfccs: int = 13,
    frame_length: int = 400,
    frame_step: int = 160,
    fft_length: int | None = None,
    num_mel_bins: int = 40,
    lower_edge_hertz: float = 20.0,
    upper_edge_hertz: float | None = None,
    log_offset: float = 1e-6,
) -> Tensor:
    """Mel-frequency cepstral coefficients of a signal over time.

    The magnitudes of `stft`, times `linear_to_mel_weight_matrix`, their logarithm, and
    `mfccs_from_log_mel_spectrograms` (Davis and Mermelstein, 1980).

    Args:
        signals: (..., n), real.
        sample_rate: points a second.
        num_mfccs: how many coefficients to keep.
        frame_length, frame_step, fft_length: as for `stft`.
        num_mel_bins, lower_edge_hertz, upper_edge_hertz: the bands; up to half the sample rate by
            default.
        log_offset: added before the logarithm.

    Returns:
        (..., frames, num_mfccs).

    Raises:
        ArgumentError: more coefficients than bands, and as for the functions above.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.mfcc(tg.ones((1000,))).shape
        (4, 13)
    """
    if not 0 < num_mfccs <= num_mel_bins:
        raise ArgumentError(
            f"mfcc expected num_mfccs from 1 to num_mel_bins {num_mel_bins}; received {num_mfccs}"
        )
    spectrum = stft(signals, frame_length, frame_step, fft_length)
    re, im = (Tensor(part) for part in complex_parts(spectrum))
    matrix = linear_to_mel_weight_matrix(
        num_mel_bins, re.shape[-1], sample_rate, lower_edge_hertz,
        upper_edge_hertz or sample_rate / 2, re.dtype,
    )  # fmt: skip
    mel = ops.log(ops.matmul(_root(re * re + im * im), matrix) + log_offset)
    return mfccs_from_log_mel_spectrograms(mel)[..., :num_mfccs]


publish(globals())
