"""Signals cut into overlapping pieces and put together again; Keras's stft and istft.

The time axis is the last. Not here: TensorFlow's functions of `tg.signal`, which take complex
tensors and build on these.
"""

from __future__ import annotations

from typing import Any

from tabgrad.dtypes import int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import node_of, on_parts, spread
from tabgrad.ops.fourier import dft, half_dft, mirrored, pair_of, resized, zero_padded
from tabgrad.ops.manipulation import cut
from tabgrad.ops.repeating import pad
from tabgrad.ops.windows import get_window
from tabgrad.tensor import Tensor


def check_steps(name: str, **sizes: Any) -> None:
    """Raise ArgumentError unless all are positive ints."""
    for what, n in sizes.items():
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ArgumentError(f"{name} expected {what} to be a positive int; received {n!r}")


def pieces(x: Node, length: int, step: int) -> Node:
    """(..., n) to (..., pieces, length), those that fit entirely."""
    n, last = x.shape[-1], len(x.shape) - 1
    count = max(0, (n - length) // step + 1)
    if not count:
        return make("reshape", cut(x, last, 0, 0), shape=(*x.shape[:-1], 0, length))
    shape = (count, length)
    start = b.iota(shape, 0, int32)
    index = b.add(b.mul(start, b.like(start, step)), b.iota(shape, 1, int32))
    return make("gather", x, index, axis=last)


def overlapped(x: Node, step: int) -> Node:
    """(..., pieces, length) to a signal: pieces `step` apart, added where they overlap."""
    *lead, count, length = x.shape
    per = -(-length // step)
    axis = len(lead)
    x = resized(x, per * step)
    x = b.reshape(x, (*lead, count, per, step))
    order = [*range(axis), axis + 1, axis, axis + 2]
    x = b.permute(x, order)
    # Row i, padded by `per` and read in rows one shorter, moves right by i: onto its place.
    x = zero_padded(x, axis + 1, 0, per)
    x = b.reshape(x, (*lead, per * (count + per), step))
    x = cut(x, axis, 0, per * (count + per - 1))
    x = b.reshape(x, (*lead, per, count + per - 1, step))
    total = b.reduce("reduce_sum", x, (axis,))
    total = b.reshape(total, (*lead, (count + per - 1) * step))
    return cut(total, len(lead), 0, (count - 1) * step + length)


@on_parts()
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Tensor:
    """The last axis cut into overlapping pieces, as `keras.ops.extract_sequences`.

    Args:
        x: (..., n).
        sequence_length: size of a piece.
        sequence_stride: from the beginning of a piece to that of the next.

    Returns:
        (..., (n - sequence_length) // sequence_stride + 1, sequence_length).

    Raises:
        ArgumentError: a length or stride that is not a positive int.
        ShapeError: a 0-d x, or one shorter than a piece.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.extract_sequences(tg.tensor([1, 2, 3, 4, 5]), 3, 2).tolist()
        [[1, 2, 3], [3, 4, 5]]
    """
    node = node_of(x)
    check_steps(
        "extract_sequences", sequence_length=sequence_length, sequence_stride=sequence_stride
    )
    if not node.shape or node.shape[-1] < sequence_length:
        raise ShapeError(
            f"extract_sequences expected at least {sequence_length} elements on the last axis; "
            f"received {list(node.shape)}. Pad it, or choose shorter pieces"
        )
    return Tensor(pieces(node, sequence_length, sequence_stride))


def _window(name: str, window: Any, length: int, fft_length: int, like: Node) -> Node:
    """The window, centred in `fft_length`; None is all ones."""
    if window is None:
        return b.full((fft_length,), 1, like.dtype)
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ArgumentError(
                f"{name} expected window 'hann', 'hamming', None or a tensor; received {window!r}"
            )
        node = get_window(window, length, like.dtype).node
    else:
        node = b.cast(node_of(window), like.dtype)
    if node.shape != (length,):
        raise ShapeError(
            f"{name} expected a window of sequence_length {length} points; received "
            f"{list(node.shape)}. "
            "Take one of that size from tg.signal"
        )
    before = (fft_length - length) // 2
    return zero_padded(node, 0, before, fft_length - length - before)


def _check_fft(name: str, sequence_length: int, sequence_stride: int, fft_length: int) -> None:
    check_steps(
        name, sequence_length=sequence_length, sequence_stride=sequence_stride,
        fft_length=fft_length,
    )  # fmt: skip
    if fft_length < sequence_length:
        raise ArgumentError(
            f"{name} expected fft_length of at least sequence_length; received {fft_length} and "
            f"{sequence_length}. "
            "Longer transforms are padded with zeros"
        )


def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Tensor, Tensor]:
    """Short-time Fourier transform of a real signal, as `keras.ops.stft`.

    Args:
        x: (..., n), float.
        sequence_length: points of the window.
        sequence_stride: from one piece to the next.
        fft_length: points of each transform; the window stands in their middle.
        window: "hann", "hamming", a tensor of `sequence_length` points, or None for no window.
        center: pad the signal by reflection, so that piece i is centred at i * sequence_stride.

    Returns:
        Real and imaginary part, each (..., pieces, fft_length // 2 + 1).

    Raises:
        DtypeError: x is not float32 or float64.
        ArgumentError: sizes that are not positive, or a transform shorter than the window.
        ShapeError: a signal too short, or a window of another size.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.stft(tg.ones((32,)), 8, 4, 8)
        >>> re.shape
        (9, 5)
    """
    node = node_of(x)
    _check_fft("stft", sequence_length, sequence_stride, fft_length)
    if not node.dtype.is_float or node.dtype.itemsize < 4:
        raise DtypeError(
            f"stft expected float32 or float64; received {node.dtype.name}. Cast the signal first"
        )
    if not node.shape:
        raise ShapeError(
            "stft expected a signal (..., n); received a 0-d tensor. Insert an axis with x[None]"
        )
    weights = _window("stft", window, sequence_length, fft_length, node)
    if center:
        half, rank = fft_length // 2, len(node.shape)
        widths = [(0, 0)] * (rank - 1) + [(half, half)]
        node = pad(Tensor(node), widths, mode="reflect").node
    if node.shape[-1] < fft_length:
        raise ShapeError(
            f"stft expected at least {fft_length} points; received a signal {list(node.shape)}. "
            "Pad it, or choose a smaller fft_length"
        )
    cuts = pieces(node, fft_length, sequence_stride)
    re, im = half_dft(b.mul(cuts, spread(weights, cuts.shape)))
    return Tensor(re), Tensor(im)


def istft(
    x: tuple[Any, Any],
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Tensor:
    """The signal whose `stft` is nearest to (real, imag) in the least-squares sense.

    The pieces are weighted by the window, added, and divided by the sum of its squares (Griffin and
    Lim, "Signal estimation from modified short-time Fourier transform", 1984); `stft` with the same
    arguments is undone wherever windows overlap enough.

    Args:
        x: pair of (..., pieces, fft_length // 2 + 1).
        sequence_length, sequence_stride, fft_length, window, center: as for `stft`.
        length: points of the signal to return, from its beginning; by default all.

    Returns:
        (..., n).

    Raises:
        ArgumentError, ShapeError, DtypeError: as for `stft`.

    Example:
        >>> import tabgrad as tg
        >>> spectrum = tg.ops.stft(tg.arange(16, dtype="float32"), 8, 4, 8)
        >>> [round(v) for v in tg.ops.istft(spectrum, 8, 4, 8).tolist()]
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    """
    re, im = pair_of("istft", x)
    _check_fft("istft", sequence_length, sequence_stride, fft_length)
    if len(re.shape) < 2:
        raise ShapeError(
            f"istft expected (..., pieces, frequencies); received {list(re.shape)}. "
            "Insert an axis with x[None]"
        )
    weights = _window("istft", window, sequence_length, fft_length, re)
    signal = reassembled(re, im, weights, sequence_stride)
    n = signal.shape[-1]
    start = fft_length // 2 if center else 0
    stop = n if length is None and not center else n - start if length is None else start + length
    return Tensor(cut(signal, len(signal.shape) - 1, start, max(start, min(stop, n))))


def reassembled(re: Node, im: Node, window: Node, step: int) -> Node:
    """The inverse transforms, weighted by the window, added, divided by its squares."""
    n, count = window.shape[0], re.shape[-2]
    x, _ = dft(*mirrored(re, im, n), inverse=True, real=True)
    total = overlapped(b.scale(b.mul(x, spread(window, x.shape)), 1 / n), step)
    squares = b.broadcast(b.mul(window, window), (count, n), (1,))
    weight = overlapped(squares, step)
    # Where no window reaches, nothing is known of the signal: it stays 0.
    tiny = b.like(weight, 1e-10)
    weight = b.select(b.lt(tiny, weight), weight, b.like(weight, 1))
    return b.div(total, spread(weight, total.shape))
