"""Discrete Fourier transforms of pairs of real arrays: the core of `tg.fft`, and Keras's functions.

A size with small prime factors is taken apart by Stockham's autosorting form of Cooley and Tukey's
algorithm (Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1992): each stage is
one small matrix product and one multiplication by roots of unity. Any other size is a convolution
with a chirp (Bluestein, 1970). Roots are computed in double precision by Python.

Not here: complex tensors and norms, which are in `tabgrad.fft`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import common
from tabgrad.ops.manipulation import cut
from tabgrad.tensor import Tensor

RADIX = 8
"""Preferred size of a stage: products of this size are near memory speed on WASM."""
LARGEST_PRIME = 64
"""Larger prime factors cost more as a matrix product than a chirp convolution does."""

Pair = tuple[Node, Node | None]


def dft(re: Node, im: Node | None, inverse: bool = False, real: bool = False) -> Pair:
    """The transform along the last axis, unscaled; `im` None stands for zeros.

    With `real` only the real part is computed, and the imaginary one is None.
    """
    n = re.shape[-1]
    if n == 1:
        return re, None if real else (b.like(re, 0) if im is None else im)
    radices = _radices(n)
    if radices is None:
        return _bluestein(re, im, inverse, real)
    lead, batch = re.shape[:-1], re.size // n
    parts = [b.reshape(part, (batch, 1, n)) for part in (re, im) if part is not None]
    z = make("concatenate", *parts, axis=1) if len(parts) > 1 else parts[0]
    done, left = 1, n
    for radix in radices:
        left //= radix
        last = left == 1
        z = _stage(z, radix, left, done, inverse, 1 if real and last else 2)
        done *= radix
    out = [b.reshape(cut(z, 1, i, i + 1), (*lead, n)) for i in range(z.shape[1])]
    return out[0], None if real else out[1]


def _stage(z: Node, radix: int, left: int, done: int, inverse: bool, parts: int) -> Node:
    """Transform over the outermost `radix` of what is left; z is (batch, part, left..., done).

    The frequencies found go outside of those found before, so the last stage leaves them in order.
    """
    batch, have = z.shape[:2]
    z = b.reshape(z, (batch, have, radix, left, done))
    matrix = _constant(_small_dft(radix, inverse, z.dtype), (2, radix, 2, radix), z.dtype)
    matrix = cut(cut(matrix, 0, 0, have), 2, 0, parts)
    z = make("dot", z, matrix, contract=((1, 2), (0, 1)), batch=((), ()))
    z = b.permute(z, (0, 3, 1, 4, 2))
    if left > 1:
        cosine, sine = _turns(left, radix, inverse, z.dtype)
        shape = z.shape
        c = b.broadcast(_constant(cosine, (left, radix), z.dtype), shape, (2, 3))
        s = b.broadcast(_constant(sine, (2, left, radix), z.dtype), shape, (1, 2, 3))
        z = b.add(b.mul(z, c), b.mul(make("flip", z, axes=(1,)), s))
    return b.reshape(z, (batch, parts, radix * left * done))


def _bluestein(re: Node, im: Node | None, inverse: bool, real: bool) -> Pair:
    """A transform of any size: jk = (j**2 + k**2 - (k - j)**2) / 2 makes it a convolution."""
    n = re.shape[-1]
    size = _smooth(2 * n - 1)
    cosine, sine, filters = _chirp(n, size, inverse, re.dtype)
    c, s = (_constant(data, (n,), re.dtype) for data in (cosine, sine))

    def turned(x: Node, y: Node | None) -> tuple[Node, Node]:
        cos, sin = (b.broadcast(v, x.shape, (len(x.shape) - 1,)) for v in (c, s))
        if y is None:
            return b.mul(x, cos), b.mul(x, sin)
        return (
            b.sub(b.mul(x, cos), b.mul(y, sin)),
            b.add(b.mul(x, sin), b.mul(y, cos)),
        )

    first, second = turned(re, im)
    x, y = dft(resized(first, size), resized(second, size))
    rising, falling = (_constant(data, (size,), re.dtype) for data in filters)
    h, g = dft(rising, falling)
    assert y is not None and g is not None
    h, g = (b.broadcast(v, x.shape, (len(x.shape) - 1,)) for v in (h, g))
    x, y = b.sub(b.mul(x, h), b.mul(y, g)), b.add(b.mul(x, g), b.mul(y, h))
    x, y = dft(x, y, inverse=True)
    assert y is not None
    last = len(x.shape) - 1
    x, y = (b.scale(cut(part, last, 0, n), 1 / size) for part in (x, y))
    x, y = turned(x, y)
    return x, None if real else y


def resized(x: Node, n: int) -> Node:
    """The last axis cut or padded with zeros to n."""
    have, last = x.shape[-1], len(x.shape) - 1
    if have > n:
        return cut(x, last, 0, n)
    return zero_padded(x, last, 0, n - have)


def zero_padded(x: Node, axis: int, low: int, high: int) -> Node:
    """Zeros before and after on one axis."""
    if not low and not high:
        return x
    rank = len(x.shape)
    return make(
        "pad",
        x,
        b.const(0, x.dtype),
        low=tuple(low if d == axis else 0 for d in range(rank)),
        high=tuple(high if d == axis else 0 for d in range(rank)),
        interior=(0,) * rank,
    )


def mirrored(re: Node, im: Node, n: int) -> tuple[Node, Node]:
    """All n frequencies of a real signal from the first n // 2 + 1."""
    half, last = n // 2 + 1, len(re.shape) - 1
    re, im = resized(re, half), resized(im, half)
    rest = n - half
    if not rest:
        return re, im
    tails = [make("flip", cut(part, last, 1, rest + 1), axes=(last,)) for part in (re, im)]
    return (
        make("concatenate", re, tails[0], axis=last),
        make("concatenate", im, b.neg(tails[1]), axis=last),
    )


def half_dft(re: Node, inverse: bool = False) -> tuple[Node, Node]:
    """The first n // 2 + 1 frequencies of a real signal."""
    n, last = re.shape[-1], len(re.shape) - 1
    x, y = dft(re, None, inverse)
    assert y is not None
    return cut(x, last, 0, n // 2 + 1), cut(y, last, 0, n // 2 + 1)


def along(
    axis: int, re: Node, im: Node | None, size: int | None, inverse: bool, real: bool = False
) -> Pair:
    """`dft` along any axis, of which `size` elements are taken or to which zeros are added."""
    order = [d for d in range(len(re.shape)) if d != axis] + [axis]
    back = [order.index(d) for d in range(len(order))]
    n = re.shape[axis] if size is None else size
    x, y = (None if part is None else resized(b.permute(part, order), n) for part in (re, im))
    assert x is not None
    x, y = dft(x, y, inverse, real)
    return b.permute(x, back), None if y is None else b.permute(y, back)


def _radices(n: int) -> list[int] | None:
    """The sizes of the stages for n, or None where a prime factor is too large for one."""
    factors: dict[int, int] = {}
    rest, p = n, 2
    while p * p <= rest:
        while rest % p == 0:
            factors[p] = factors.get(p, 0) + 1
            rest //= p
        p += 1
    if rest > 1:
        factors[rest] = factors.get(rest, 0) + 1
    if max(factors) > LARGEST_PRIME:
        return None
    if n <= 2 * RADIX:
        return [n]
    odd = [p for p in sorted(factors, reverse=True) if p > 2 for _ in range(factors[p])]
    stages: list[int] = []
    for p in odd:
        fits = [i for i, stage in enumerate(stages) if stage * p <= 2 * RADIX]
        if fits:
            stages[fits[0]] *= p
        else:
            stages.append(p)
    twos = factors.get(2, 0)
    stages += [RADIX] * (twos // 3)
    if twos % 3:
        small = 2 ** (twos % 3)
        fits = [i for i, stage in enumerate(stages) if stage * small <= 2 * RADIX]
        if fits:
            stages[fits[-1]] *= small
        else:
            stages.append(small)
    return sorted(stages, reverse=True)


def _smooth(least: int) -> int:
    """The smallest 2**a, 3 * 2**a or 5 * 2**a that is at least `least`."""
    return min(k << max(0, math.ceil(least / k) - 1).bit_length() for k in (1, 3, 5))


def root(k: int, n: int) -> complex:
    """exp(2 pi i k / n), correctly rounded up to the last place for any k."""
    quarter, rest = divmod(4 * (k % n), n)
    if 2 * rest > n:  # the other half of a quadrant, so that the angle is at most pi / 4
        at = math.pi / 2 * (n - rest) / n
        x, y = math.sin(at), math.cos(at)
    else:
        at = math.pi / 2 * rest / n
        x, y = math.cos(at), math.sin(at)
    return (complex(x, y), complex(-y, x), complex(-x, -y), complex(y, -x))[quarter]


# The tables are kept as bytes: a transform built again shares its constants with the first, and the
# hash of bytes is computed once.


@lru_cache(maxsize=64)
def _small_dft(n: int, inverse: bool, dtype: DType) -> bytes:
    """The matrix (part, j, part, k) of a transform of n points on pairs."""
    roots = [root(k, n) for k in range(n)]
    turn = [[roots[(j * k if inverse else -j * k) % n] for k in range(n)] for j in range(n)]
    from_real = [[v.real for v in row] + [v.imag for v in row] for row in turn]
    from_imag = [[-v.imag for v in row] + [v.real for v in row] for row in turn]
    return _packed([v for row in (*from_real, *from_imag) for v in row], dtype)


@lru_cache(maxsize=64)
def _turns(left: int, radix: int, inverse: bool, dtype: DType) -> tuple[bytes, bytes]:
    """Cosines (left, radix) and sines (part, left, radix) of the angles 2 pi jk / (left radix)."""
    n = left * radix
    roots = [root(k, n) for k in range(n)]
    turn = [roots[j * k] for j in range(left) for k in range(radix)]
    sine = [v.imag if inverse else -v.imag for v in turn]
    return _packed([v.real for v in turn], dtype), _packed([-v for v in sine] + sine, dtype)


@lru_cache(maxsize=16)
def _chirp(
    n: int, size: int, inverse: bool, dtype: DType
) -> tuple[bytes, bytes, tuple[bytes, bytes]]:
    """Cosines and sines of the chirp, and the filter: its conjugate, wrapped around to `size`."""
    sign = 1 if inverse else -1
    roots = [root(k, 2 * n) for k in range(2 * n)]
    chirp = [roots[sign * k * k % (2 * n)] for k in range(n)]
    cosine, sine = [v.real for v in chirp], [v.imag for v in chirp]
    wrapped = [
        _packed([*part, *[0.0] * (size - 2 * n + 1), *reversed(part[1:])], dtype)
        for part in (cosine, [-v for v in sine])
    ]
    return _packed(cosine, dtype), _packed(sine, dtype), (wrapped[0], wrapped[1])


def _packed(values: Sequence[float], dtype: DType) -> bytes:
    return struct.pack(f"<{len(values)}{dtype.format}", *values)


def _constant(data: bytes, shape: Sequence[int], dtype: DType) -> Node:
    return make("array", data=data, shape=tuple(shape), dtype=dtype)


def floating(name: str, *xs: Any) -> list[Node]:
    """Nodes of one float dtype that transforms compute in: float32, or float64 if any is."""
    nodes = common(name, *xs, floating=True)
    return [b.cast(x, dtypes.float32) if x.dtype is dtypes.float16 else x for x in nodes]


def pair_of(name: str, x: Any) -> tuple[Node, Node]:
    """The two nodes of Keras's (real, imag); raises ArgumentError, ShapeError or DtypeError."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ArgumentError(
            f"{name} expected a pair (real, imag) of tensors; received {type(x).__name__}. "
            f"tg.fft has the functions on complex tensors"
        )
    re, im = (common(name, part)[0] for part in x)
    if not re.dtype.is_float or not im.dtype.is_float:
        raise DtypeError(
            f"{name} expected two float tensors; received {re.dtype.name} and {im.dtype.name}. "
            "Cast them first"
        )
    if re.shape != im.shape:
        raise ShapeError(
            f"{name} expected real and imaginary parts of one shape; received {list(re.shape)} and "
            f"{list(im.shape)}. "
            "Broadcast one of them, or give zeros as the imaginary part"
        )
    re, im = floating(name, Tensor(re), Tensor(im))
    return re, im


def check_size(name: str, n: int) -> int:
    """n, where a transform of so many points exists; else ArgumentError."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ArgumentError(
            f"{name} expected at least one point to transform; received n={n!r}. "
            "Leave n out for the size of the axis"
        )
    return n


def _transform(name: str, x: Any, axes: Sequence[int], inverse: bool) -> tuple[Tensor, Tensor]:
    re, im = pair_of(name, x)
    rank = len(re.shape)
    if rank < len(axes):
        raise ShapeError(
            f"{name} expected tensors of at least {len(axes)} axes; received {list(re.shape)}. "
            "Insert axes with x[None], or transform fewer"
        )
    total = 1
    for axis in axes:
        total *= check_size(name, re.shape[axis])
        x, y = along(axis % rank, re, im, None, inverse)
        assert y is not None
        re, im = x, y
    if inverse:
        re, im = b.scale(re, 1 / total), b.scale(im, 1 / total)
    return Tensor(re), Tensor(im)


def fft(x: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    """Discrete Fourier transform along the last axis of (real, imag), as `keras.ops.fft`.

    Args:
        x: real and imaginary part, float tensors of one shape.

    Returns:
        Real and imaginary part of sum_j x_j exp(-2 pi i jk / n).

    Raises:
        ArgumentError, ShapeError, DtypeError: anything but two float tensors of one shape.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.fft((tg.tensor([1.0, 2.0]), tg.tensor([0.0, 0.0])))
        >>> re.tolist()
        [3.0, -1.0]
    """
    return _transform("fft", x, (-1,), False)


def ifft(x: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    """Inverse of `fft`: the transform with the other sign, divided by the number of points.

    Args:
        x: a pair (real, imag) of float tensors of one shape.

    Returns:
        Such a pair.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.ifft((tg.tensor([3.0, -1.0]), tg.tensor([0.0, 0.0])))
        >>> re.tolist()
        [1.0, 2.0]
    """
    return _transform("ifft", x, (-1,), True)


def fft2(x: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    """`fft` along the last two axes.

    Args:
        x: a pair (real, imag) of float tensors of one shape.

    Returns:
        Such a pair.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.fft2((tg.ones((2, 2)), tg.zeros((2, 2))))
        >>> re.tolist()
        [[4.0, 0.0], [0.0, 0.0]]
    """
    return _transform("fft2", x, (-1, -2), False)


def ifft2(x: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    """Inverse of `fft2`.

    Args:
        x: a pair (real, imag) of float tensors of one shape.

    Returns:
        Such a pair.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.ifft2((tg.ones((2, 2)), tg.zeros((2, 2))))
        >>> re.tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    return _transform("ifft2", x, (-1, -2), True)


def rfft(x: Any, fft_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Transform of a real signal along the last axis: the first n // 2 + 1 frequencies.

    Args:
        x: (..., n), real.
        fft_length: cut or zero-pad the signal to this length first.

    Returns:
        Real and imaginary part, as `keras.ops.rfft`: floats (..., fft_length // 2 + 1).

    Raises:
        ShapeError: a number instead of an array.

    Example:
        >>> import tabgrad as tg
        >>> re, im = tg.ops.rfft(tg.tensor([1.0, 2.0, 3.0, 4.0]))
        >>> re.tolist(), im.tolist()
        ([10.0, -2.0, -2.0], [0.0, 2.0, 0.0])
    """
    (node,) = floating("rfft", x)
    if not node.shape:
        raise ShapeError(
            "rfft expected at least one axis; received a 0-d tensor. Insert one with x[None]"
        )
    n = check_size("rfft", node.shape[-1] if fft_length is None else fft_length)
    re, im = half_dft(resized(node, n))
    return Tensor(re), Tensor(im)


def irfft(x: tuple[Any, Any], fft_length: int | None = None) -> Tensor:
    """Inverse of `rfft`: the real signal whose first frequencies are (real, imag).

    Args:
        x: pair (real, imag) of floats (..., m).
        fft_length: length of the signal, 2 * (m - 1) by default.

    Returns:
        Floats (..., fft_length).

    Raises:
        ShapeError: parts without an axis.

    Example:
        >>> import tabgrad as tg
        >>> spectrum = tg.tensor([10.0, -2.0, -2.0]), tg.tensor([0.0, 2.0, 0.0])
        >>> tg.ops.irfft(spectrum).tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    re, im = pair_of("irfft", x)
    if not re.shape:
        raise ShapeError(
            "irfft expected at least one axis; received 0-d tensors. Insert one with x[None]"
        )
    n = check_size("irfft", 2 * (re.shape[-1] - 1) if fft_length is None else fft_length)
    out, _ = dft(*mirrored(re, im, n), inverse=True, real=True)
    return Tensor(b.scale(out, 1 / n))
