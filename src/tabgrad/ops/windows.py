"""Window functions: weights that fade a piece of a signal in and out.

Their size is known while building, so they are computed by Python in double precision and become
constants. The formulas are those of F. J. Harris, "On the use of windows for harmonic analysis with
the discrete Fourier transform" (1978). A symmetric window ends as it begins; a periodic one is a
symmetric one of one more point without its last, so that copies of it can be overlapped.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad.dtypes import DType, as_dtype, float32
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.ir.graph import make
from tabgrad.tensor import Tensor

Shape = Callable[[float], float]
"""A window as a function on [0, 1]."""


def constant(values: Sequence[float], shape: Sequence[int], dtype: DType) -> Tensor:
    """A constant of the graph from numbers that Python computed."""
    data = struct.pack(f"<{len(values)}{dtype.format}", *values)
    return Tensor(make("array", data=data, shape=tuple(shape), dtype=dtype))


def _sampled(name: str, length: Any, shape: Shape, periodic: bool, dtype: Any = None) -> Tensor:
    try:
        n = operator.index(length)
    except TypeError:
        raise ArgumentError(
            f"{name} expected the length of a window as an int; received {length!r}. "
            "Convert it with int(...)"
        ) from None
    want = as_dtype(dtype or float32)
    if not want.is_float:
        raise DtypeError(
            f"{name} expected a floating-point dtype; received {want.name}. "
            "Cast the window if you need integers"
        )
    if n < 1:
        return constant([], (0,), want)
    if n == 1:
        return constant([1.0], (1,), want)
    last = n if periodic else n - 1
    # From the nearer end, so that both halves are the same to the bit.
    values = [shape(min(i, last - i) / last) for i in range(n)]
    return constant(values, (n,), want)


def _cosines(*weights: float) -> Shape:
    def shape(at: float) -> float:
        terms = [w * math.cos(2 * math.pi * k * at) for k, w in enumerate(weights)]
        return sum(terms[::2]) - sum(terms[1::2])

    return shape


def _triangle(at: float) -> float:
    return 1 - abs(2 * at - 1)


def bessel_i0(x: float) -> float:
    """Modified Bessel function of order 0 (Abramowitz and Stegun 9.6.12), by its power series."""
    total, term, k = 1.0, 1.0, 0
    while term > total * 1e-17:
        k += 1
        term *= (x / 2 / k) ** 2
        total += term
    return total


def _kaiser(beta: float) -> Shape:
    if not 0 <= abs(beta) < 700:
        raise ArgumentError(f"kaiser expected beta of a size below 700; received {beta}")
    return lambda at: bessel_i0(beta * math.sqrt(max(0.0, 1 - (2 * at - 1) ** 2))) / bessel_i0(beta)


HANN, HAMMING, BLACKMAN = _cosines(0.5, 0.5), _cosines(0.54, 0.46), _cosines(0.42, 0.5, 0.08)


def hanning(x: Any) -> Tensor:
    """The symmetric Hann window of x points, 0.5 - 0.5 cos(2 pi i / (x - 1)).

    Args:
        x: how many points, an integer.

    Returns:
        float32 of shape (x,).

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.hanning(5).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _sampled("hanning", x, HANN, False)


def hamming(x: Any) -> Tensor:
    """The symmetric Hamming window of x points, 0.54 - 0.46 cos(2 pi i / (x - 1)).

    Args:
        x: how many points, an integer.

    Returns:
        float32 of shape (x,).

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 2) for v in tg.ops.hamming(3).tolist()]
        [0.08, 1.0, 0.08]
    """
    return _sampled("hamming", x, HAMMING, False)


def blackman(x: Any) -> Tensor:
    """The symmetric Blackman window of x points (weights 0.42, 0.5, 0.08).

    Args:
        x: how many points, an integer.

    Returns:
        float32 of shape (x,).

    Example:
        >>> import tabgrad as tg
        >>> [abs(round(v, 2)) for v in tg.ops.blackman(5).tolist()]
        [0.0, 0.34, 1.0, 0.34, 0.0]
    """
    return _sampled("blackman", x, BLACKMAN, False)


def bartlett(x: Any) -> Tensor:
    """The symmetric Bartlett window of x points: a triangle that begins and ends with 0.

    Args:
        x: how many points, an integer.

    Returns:
        float32 of shape (x,).

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.bartlett(5).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _sampled("bartlett", x, _triangle, False)


def kaiser(x: Any, beta: Any) -> Tensor:
    """The symmetric Kaiser window of x points: a larger `beta` is wider and has lower side lobes.

    Args:
        x: how many points, an integer.
        beta: the width, a number; 0 is a rectangle.

    Returns:
        float32 of shape (x,).

    Raises:
        ArgumentError: |beta| of 700 or more, whose Bessel function overflows.

    Example:
        >>> import tabgrad as tg
        >>> tg.ops.kaiser(3, 0.0).tolist()
        [1.0, 1.0, 1.0]
    """
    return _sampled("kaiser", x, _kaiser(float(beta)), False)


def hann_window(window_length: int, periodic: bool = True, dtype: Any = None) -> Tensor:
    """The Hann window, periodic unless told otherwise.

    Args:
        window_length: number of points.
        periodic: leave out the last point of a symmetric window of one more, as for `stft`.
        dtype: floating point, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Raises:
        ArgumentError: a length that is not an int. DtypeError: a dtype that is no float.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.hann_window(4).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    return _sampled("hann_window", window_length, HANN, periodic, dtype)


def hamming_window(window_length: int, periodic: bool = True, dtype: Any = None) -> Tensor:
    """The Hamming window, periodic unless told otherwise.

    Args:
        window_length: how many numbers, an integer.
        periodic: whether the window is one period of a periodic function (for spectra) instead of
            symmetric (for filters).
        dtype: a float type, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Example:
        >>> import tabgrad as tg
        >>> [round(v, 2) for v in tg.signal.hamming_window(4).tolist()]
        [0.08, 0.54, 1.0, 0.54]
    """
    return _sampled("hamming_window", window_length, HAMMING, periodic, dtype)


def blackman_window(window_length: int, periodic: bool = True, dtype: Any = None) -> Tensor:
    """The Blackman window, periodic unless told otherwise.

    Args:
        window_length: how many numbers, an integer.
        periodic: whether the window is one period of a periodic function (for spectra) instead of
            symmetric (for filters).
        dtype: a float type, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.blackman_window(6).shape
        (6,)
    """
    return _sampled("blackman_window", window_length, BLACKMAN, periodic, dtype)


def bartlett_window(window_length: int, periodic: bool = True, dtype: Any = None) -> Tensor:
    """The Bartlett window, periodic unless told otherwise.

    Args:
        window_length: how many numbers, an integer.
        periodic: whether the window is one period of a periodic function (for spectra) instead of
            symmetric (for filters).
        dtype: a float type, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.bartlett_window(4).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    return _sampled("bartlett_window", window_length, _triangle, periodic, dtype)


def kaiser_window(
    window_length: int, beta: float = 12.0, periodic: bool = False, dtype: Any = None
) -> Tensor:
    """The Kaiser window, symmetric unless told otherwise.

    Args:
        window_length: how many numbers, an integer.
        beta: how far the ends go down: 0 is a rectangle.
        periodic: whether the window is one period of a periodic function (for spectra) instead of
            symmetric (for filters).
        dtype: a float type, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.kaiser_window(3, beta=0.0).tolist()
        [1.0, 1.0, 1.0]
    """
    return _sampled("kaiser_window", window_length, _kaiser(float(beta)), periodic, dtype)


def cosine_window(
    window_length: int, a: float, b: float, periodic: bool = True, dtype: Any = None
) -> Tensor:
    """a - b cos(2 pi i / n), the family of Hann's and Hamming's windows.

    Args:
        window_length: how many numbers, an integer.
        a: the constant part.
        b: the factor of the cosine.
        periodic: whether the window is one period of a periodic function (for spectra) instead of
            symmetric (for filters).
        dtype: a float type, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.cosine_window(4, 0.5, 0.5).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    return _sampled("cosine_window", window_length, _cosines(a, b), periodic, dtype)


NAMED: dict[str, Callable[..., Tensor]] = {
    "hann": hann_window,
    "hamming": hamming_window,
    "blackman": blackman_window,
    "bartlett": bartlett_window,
}


def get_window(window: Any, window_length: int, dtype: Any = None) -> Tensor:
    """A periodic window by its name, as `scipy.signal.get_window`.

    Args:
        window: "hann", "hamming", "blackman", "bartlett", "boxcar", or ("kaiser", beta).
        window_length: number of points.
        dtype: floating point, float32 by default.

    Returns:
        The window, of shape (window_length,).

    Raises:
        ArgumentError: an unknown name.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.get_window("hann", 4).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    if window == "boxcar":
        return _sampled("get_window", window_length, lambda at: 1.0, True, dtype)
    if isinstance(window, tuple) and len(window) == 2 and window[0] == "kaiser":
        return kaiser_window(window_length, float(window[1]), True, dtype)
    if not isinstance(window, str) or window not in NAMED:
        raise ArgumentError(
            f"get_window expected one of {', '.join(NAMED)}, boxcar or ('kaiser', beta); received "
            f"{window!r}"
        )
    return NAMED[window](window_length, dtype=dtype)
