"""Fourier transforms on real and complex tensors: the `fft` extension of the Array API standard
(2024.12), with its names, arguments and norms.

The algorithm is in `tabgrad.ops.fourier`, together with Keras's functions on pairs (real, imag).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import as_dtype, float32, int32
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node
from tabgrad.ops.arguments import axes_of, axis_of, parts_of
from tabgrad.ops.fourier import along, check_size, floating, half_dft, mirrored, resized
from tabgrad.ops.public import publish
from tabgrad.ops.repeating import roll
from tabgrad.tensor import Tensor

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

NORMS = ("backward", "ortho", "forward")


def _scale(name: str, norm: str | None, n: int, inverse: bool) -> float:
    norm = norm or "backward"
    if norm not in NORMS:
        raise ArgumentError(f"{name} expected norm to be one of {NORMS}; received {norm!r}")
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "backward") == inverse else 1.0


def _scaled(node: Node, factor: float) -> Node:
    return node if factor == 1.0 else b.scale(node, factor)


def _parts(name: str, x: Any) -> tuple[Node, Node | None]:
    re, im = parts_of(x)
    if im is None:
        return floating(name, Tensor(re))[0], None
    return re, im


def _real(name: str, x: Any) -> Node:
    re, im = _parts(name, x)
    if im is not None:
        raise DtypeError(
            f"{name} expected a real tensor; received a complex one of shape {list(re.shape)}. Use "
            f"tg.fft.{name.replace('rf', 'f').replace('ihfft', 'ifft')}, or tg.real first"
        )
    return re


def _complex(x: Node, y: Node | None, factor: float) -> Tensor:
    """A complex tensor; without an imaginary part (a single point) that is 0."""
    return Tensor(_scaled(x, factor), _scaled(b.like(x, 0) if y is None else y, factor))


def _one(name: str, x: Any, n: int | None, axis: int, norm: str | None, inverse: bool) -> Tensor:
    re, im = _parts(name, x)
    axis = axis_of(name, axis, len(re.shape))
    size = check_size(name, re.shape[axis] if n is None else n)
    factor = _scale(name, norm, size, inverse)
    return _complex(*along(axis, re, im, size, inverse), factor)


def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Discrete Fourier transform along one axis: sum_j x_j exp(-2 pi i jk / n).

    Args:
        x: real or complex.
        n: cut or zero-pad the axis to this size first.
        axis: which axis.
        norm: "backward" (no factor), "ortho" (1 / sqrt(n)) or "forward" (1 / n).

    Returns:
        A complex tensor with n elements on `axis`.

    Raises:
        ArgumentError: an unknown norm, or no point to transform.
        ShapeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.fft(tg.tensor([1.0, 2.0])).tolist()
        [(3+0j), (-1+0j)]
    """
    return _one("fft", x, n, axis, norm, False)


def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Inverse of `fft`: the other sign, and the factor 1 / n with norm "backward".

    Args:
        x: of any shape, real or complex; integers become float32.
        n: cut or zero-pad the axis to this size first.
        axis: the axis to transform, the last by default.
        norm: "backward", "ortho" or "forward".

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.ifft(tg.tensor([3.0, -1.0])).tolist()
        [(1+0j), (2+0j)]
    """
    return _one("ifft", x, n, axis, norm, True)


def _several(
    name: str, shape: Sequence[int], s: Sequence[int] | None, axes: Sequence[int] | None
) -> list[tuple[int, int]]:
    """(axis, size) for each axis to transform, in the order given."""
    rank = len(shape)
    if axes is None:
        chosen = list(range(rank)) if s is None else list(range(rank - len(s), rank))
        if s is not None and len(s) > rank:
            raise ShapeError(
                f"{name} expected at most {rank} sizes for shape {list(shape)}; received s={s}"
            )
    else:
        axes_of(name, axes, rank)
        chosen = [axis_of(name, a, rank) for a in axes]
    if s is not None and len(s) != len(chosen):
        raise ArgumentError(
            f"{name} expected as many sizes as axes; received s={tuple(s)} for axes {chosen}"
        )
    sizes = [shape[a] for a in chosen] if s is None else list(s)
    return [(a, check_size(name, n)) for a, n in zip(chosen, sizes, strict=True)]


def _many(
    name: str, x: Any, s: Sequence[int] | None, axes: Sequence[int] | None, norm: str | None,
    inverse: bool,
) -> Tensor:  # fmt: skip
    re, im = _parts(name, x)
    factor = 1.0
    for axis, n in _several(name, re.shape, s, axes):
        re, im = along(axis, re, im, n, inverse)
        factor *= _scale(name, norm, n, inverse)
    return _complex(re, im, factor)


def fftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fmt: skip
    """`fft` along several axes, by default along all.

    Args:
        x: real or complex.
        s: sizes to cut or zero-pad the axes to; without `axes` those of the last axes.
        axes: which axes, all different.
        norm: as for `fft`, with n the product of the sizes.

    Raises:
        ArgumentError: sizes that do not fit the axes, an unknown norm.
        ShapeError: axes that x does not have, or repeated ones.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.fftn(tg.ones((2, 2))).tolist()
        [[(4+0j), 0j], [0j, 0j]]
    """
    return _many("fftn", x, s, axes, norm, False)


def ifftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fmt: skip
    """Inverse of `fftn`.

    Args:
        x: of any shape, real or complex; integers become float32.
        s: how many points to use on each axis.
        axes: the axes to transform, all (or the last of `s`) by default.
        norm: "backward", "ortho" or "forward".

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.ifftn(tg.ones((2, 2))).tolist()
        [[(1+0j), 0j], [0j, 0j]]
    """
    return _many("ifftn", x, s, axes, norm, True)


def _to_last(axis: int, *nodes: Node) -> tuple[list[Node], list[int]]:
    rank = len(nodes[0].shape)
    order = [d for d in range(rank) if d != axis] + [axis]
    return [b.permute(node, order) for node in nodes], [order.index(d) for d in range(rank)]


def _half(
    name: str, x: Any, n: int | None, axis: int, norm: str | None, inverse: bool = False
) -> tuple[Node, Node]:
    re = _real(name, x)
    axis = axis_of(name, axis, len(re.shape))
    size = check_size(name, re.shape[axis] if n is None else n)
    (moved,), back = _to_last(axis, re)
    factor = _scale(name, norm, size, inverse)
    x_, y_ = half_dft(resized(moved, size), inverse)
    return _scaled(b.permute(x_, back), factor), _scaled(b.permute(y_, back), factor)


def _whole(name: str, x: Any, n: int | None, axis: int, norm: str | None, inverse: bool) -> Tensor:
    """The real signal of n points, given the first half of its spectrum."""
    re, im = _parts(name, x)
    axis = axis_of(name, axis, len(re.shape))
    size = check_size(name, 2 * (re.shape[axis] - 1) if n is None else n)
    factor = _scale(name, norm, size, inverse)
    (re, im), back = _to_last(axis, re, b.like(re, 0) if im is None else im)
    re, im = mirrored(re, im, size)
    last = len(re.shape) - 1
    out, _ = along(last, re, im, None, inverse, real=True)
    return Tensor(_scaled(b.permute(out, back), factor))


def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """`fft` of a real signal: its first n // 2 + 1 frequencies, which determine the others.

    Args:
        x: real numbers of any shape; integers become float32.
        n: cut or zero-pad the axis to this size first.
        axis: the axis to transform, the last by default.
        norm: "backward", "ortho" or "forward".

    Raises:
        DtypeError: x is complex.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.rfft(tg.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
        [(10+0j), (-2+2j), (-2+0j)]
    """
    return Tensor(*_half("rfft", x, n, axis, norm))


def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Inverse of `rfft`: a real signal of n points (2 * (m - 1) for m frequencies by default).

    Args:
        x: of any shape, real or complex; integers become float32.
        n: how many points the signal has.
        axis: the axis to transform, the last by default.
        norm: "backward", "ortho" or "forward".

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.irfft(tg.fft.rfft(tg.tensor([1.0, 2.0, 3.0, 4.0]))).tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    return _whole("irfft", x, n, axis, norm, True)


def rfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fmt: skip
    """`rfft` along the last of `axes`, then `fft` along the others.

    Args:
        x: real numbers of any shape; integers become float32.
        s: how many points to use on each axis.
        axes: the axes to transform, all (or the last of `s`) by default.
        norm: "backward", "ortho" or "forward".

    Raises:
        ArgumentError: no axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.rfftn(tg.ones((2, 4))).shape
        (2, 3)
    """
    re = _real("rfftn", x)
    where = _several("rfftn", re.shape, s, axes)
    if not where:
        raise ArgumentError("rfftn expected at least one axis; received none")
    axis, n = where[-1]
    out, im = _half("rfftn", Tensor(re), n, axis, norm)
    rest = where[:-1]
    return _many("rfftn", Tensor(out, im), [m for _, m in rest], [a for a, _ in rest], norm, False)


def irfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fmt: skip
    """Inverse of `rfftn`: `ifft` along all of `axes` but the last, then `irfft` along that.

    Args:
        x: of any shape, real or complex; integers become float32.
        s: how many points to use on each axis.
        axes: the axes to transform, all (or the last of `s`) by default.
        norm: "backward", "ortho" or "forward".

    Raises:
        ArgumentError: no axes.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.irfftn(tg.fft.rfftn(tg.ones((2, 4)))).shape
        (2, 4)
    """
    re, im = _parts("irfftn", x)
    where = _several("irfftn", re.shape, s, axes)
    if not where:
        raise ArgumentError("irfftn expected at least one axis; received none")
    rest, (axis, n) = where[:-1], where[-1]
    whole = _many("irfftn", Tensor(re, im), [m for _, m in rest], [a for a, _ in rest], norm, True)
    return _whole("irfftn", whole, None if s is None else n, axis, norm, True)


def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """`fft` of a signal whose second half is the conjugate of its first: a real spectrum.

    Args:
        x: the first n // 2 + 1 points.
        n: number of points, 2 * (m - 1) for m given ones by default.
        axis: the axis to transform, the last by default.
        norm: "backward", "ortho" or "forward".

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.hfft(tg.tensor([1.0, 2.0, 3.0])).tolist()
        [8.0, -2.0, 0.0, -2.0]
    """
    return _whole("hfft", x, n, axis, norm, False)


def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Inverse of `hfft`: the first n // 2 + 1 points.

    Args:
        x: real numbers of any shape; integers become float32.
        n: cut or zero-pad the axis to this size first.
        axis: the axis to transform, the last by default.
        norm: "backward", "ortho" or "forward".

    Raises:
        DtypeError: x is complex.

    Example:
        >>> import tabgrad as tg
        >>> tg.real(tg.fft.ihfft(tg.tensor([8.0, -2.0, 0.0, -2.0]))).tolist()
        [1.0, 2.0, 3.0]
    """
    return Tensor(*_half("ihfft", x, n, axis, norm, True))


def fftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of the n results of `fft` for samples `d` apart: 0, 1, ..., -2, -1 over n d.

    Returns:
        (n,).

    Raises:
        ArgumentError: no point, or an unknown device.
        DtypeError: a dtype that is not a real floating-point type.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.fftfreq(4, d=0.5).tolist()
        [0.0, 0.5, -1.0, -0.5]
    """
    check_size("fftfreq", n)
    index = b.iota((n,), 0, int32)
    behind = b.lt(b.like(index, (n - 1) // 2), index)
    return _frequencies("fftfreq", b.select(behind, b.sub(index, b.like(index, n)), index), n, d,
                        dtype, device)  # fmt: skip


def rfftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Frequencies of the n // 2 + 1 results of `rfft` for samples `d` apart.

    Args:
        n: how many points were transformed, an integer.
        d: their distance, a number.
        dtype: float32 by default.
        device: "cpu" or None.

    Returns:
        (n // 2 + 1,).

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.rfftfreq(4, d=0.5).tolist()
        [0.0, 0.5, 1.0]
    """
    check_size("rfftfreq", n)
    return _frequencies("rfftfreq", b.iota((n // 2 + 1,), 0, int32), n, d, dtype, device)


def _frequencies(name: str, index: Node, n: int, d: float, dtype: Any, device: Any) -> Tensor:
    want = as_dtype(dtype or float32)
    if not want.is_float:
        raise DtypeError(
            f"{name} expected a real floating-point dtype; received {want.name}. Cast the result"
        )
    if device not in (None, "cpu"):
        raise ArgumentError(f"{name} expected device None or 'cpu'; received {device!r}")
    return Tensor(b.scale(b.cast(index, want), 1 / (n * d)))


def fftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The frequency 0 moved to the middle of `axes`, by default of all.

    Args:
        x: of any dtype, which the result has, too.
        axes: the axes to shift, all by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.fftshift(tg.fft.fftfreq(4)).tolist()
        [-0.5, -0.25, 0.0, 0.25]
    """
    return _shift("fftshift", x, axes, lambda n: n // 2)


def ifftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Inverse of `fftshift`.

    Args:
        x: of any dtype, which the result has, too.
        axes: the axes to shift, all by default.

    Example:
        >>> import tabgrad as tg
        >>> tg.fft.ifftshift(tg.tensor([-1.0, 0.0, 1.0])).tolist()
        [0.0, 1.0, -1.0]
    """
    return _shift("ifftshift", x, axes, lambda n: -(n // 2))


def _shift(name: str, x: Any, axes: int | Sequence[int] | None, by: Any) -> Tensor:
    re, im = parts_of(x)
    where = axes_of(name, axes, len(re.shape))

    def moved(node: Node) -> Node:
        for axis in where:
            node = roll(Tensor(node), by(node.shape[axis]), axis).node
        return node

    return Tensor(moved(re), None if im is None else moved(im))


publish(globals())
