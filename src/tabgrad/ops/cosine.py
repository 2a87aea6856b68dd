"""Discrete cosine transforms of types 1 to 4, with the names and norms of `scipy.fft`.

All are Fourier transforms of twice the size with phases before and after. Definitions: Rao and Yip,
"Discrete Cosine Transform" (1990); scipy.fft.dct.
"""

from __future__ import annotations

import math
from typing import Any

from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import axis_of
from tabgrad.ops.fourier import check_size, dft, floating, resized, root
from tabgrad.ops.manipulation import cut
from tabgrad.ops.windows import constant
from tabgrad.tensor import Tensor

NORMS = (None, "backward", "ortho", "forward")
INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}


def dct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None
) -> Tensor:
    """Discrete cosine transform along one axis.

    Type 2, the usual one, is 2 sum_j x_j cos(pi k (2j + 1) / (2n)).

    Args:
        x: real.
        type: 1, 2, 3 or 4.
        n: cut or zero-pad the axis to this size first.
        axis: which axis.
        norm: "backward" or None (as above), "ortho" (an orthonormal matrix) or "forward" (divided
            by 2n, for type 1 by 2 (n - 1)).

    Raises:
        ArgumentError: an unknown type or norm, or fewer points than the type needs.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.dct(tg.tensor([1.0, 1.0, 1.0, 1.0])).tolist()[0]
        8.0
    """
    return _transform("dct", x, type, n, axis, norm, False)


def idct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None
) -> Tensor:
    """Inverse of `dct` with the same arguments.

    Args:
        x: floats (..., n).
        type: 1, 2, 3 or 4.
        n: None, as in TensorFlow.
        axis: -1, the last.
        norm: None or "ortho".

    Returns:
        The shape and dtype of x.

    Example:
        >>> import tabgrad as tg
        >>> tg.signal.idct(tg.tensor([8.0, 0.0, 0.0, 0.0])).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return _transform("idct", x, type, n, axis, norm, True)


def _transform(
    name: str, x: Any, type: int, n: int | None, axis: int, norm: str | None, inverse: bool
) -> Tensor:
    (node,) = floating(name, x)
    if type not in INVERSE:
        raise ArgumentError(f"{name} expected type 1, 2, 3 or 4; received {type!r}")
    if norm not in NORMS:
        raise ArgumentError(f"{name} expected norm to be one of {NORMS}; received {norm!r}")
    if not node.shape:
        raise ShapeError(
            f"{name} expected at least one axis; received a 0-d tensor. Insert one with x[None]"
        )
    axis = axis_of(name, axis, len(node.shape))
    order = [d for d in range(len(node.shape)) if d != axis] + [axis]
    size = check_size(name, node.shape[axis] if n is None else n)
    if type == 1 and size < 2:
        raise ArgumentError(
            f"{name} of type 1 expected at least 2 points; received {size}. "
            "Pad it, or use another type"
        )
    node = resized(b.permute(node, order), size)
    if inverse:
        type = INVERSE[type]
    period = 2 * (size - 1) if type == 1 else 2 * size
    if norm == "ortho":
        node = b.scale(_ortho(node, type), 1 / math.sqrt(period))
    else:
        node = _plain(node, type)
        if (norm == "forward") != inverse:
            node = b.scale(node, 1 / period)
    return Tensor(b.permute(node, [order.index(d) for d in range(len(order))]))


def _ortho(x: Node, type: int) -> Node:
    """The transform between ends weighted so that the matrix becomes orthogonal."""
    n = x.shape[-1]
    half = math.sqrt(0.5)
    ends = {0, n - 1} if type == 1 else {0}
    if type in (1, 3):
        x = _weighted(x, [1 / half if j in ends else 1.0 for j in range(n)])
    y = _plain(x, type)
    if type in (1, 2):
        y = _weighted(y, [half if k in ends else 1.0 for k in range(n)])
    return y


def _weighted(x: Node, weights: list[float]) -> Node:
    row = constant(weights, (len(weights),), x.dtype).node
    return b.mul(x, b.broadcast(row, x.shape, (len(x.shape) - 1,)))


def _plain(x: Node, type: int) -> Node:
    n, last = x.shape[-1], len(x.shape) - 1
    if type == 1:
        around = make("flip", cut(x, last, 1, n - 1), axes=(last,))
        whole = make("concatenate", x, around, axis=last) if n > 2 else x
        return cut(dft(whole, None, real=True)[0], last, 0, n)
    re: Node = x
    im: Node | None = None
    if type != 2:
        before = [root(-j, 4 * n) for j in range(n)]
        if type == 3:
            before[0] = 0.5 + 0j
        re, im = (_weighted(x, part) for part in _parts(before))
    re, im = dft(resized(re, 2 * n), None if im is None else resized(im, 2 * n))
    assert im is not None
    re, im = cut(re, last, 0, n), cut(im, last, 0, n)
    if type == 3:
        return b.scale(re, 2)
    # Real part of the transform turned by minus the phase that the definition has and it lacks.
    after = [root(-k, 4 * n) if type == 2 else root(-(2 * k + 1), 8 * n) for k in range(n)]
    c, s = _parts([2 * v for v in after])
    return b.sub(_weighted(re, c), _weighted(im, s))


def _parts(values: list[complex]) -> tuple[list[float], list[float]]:
    return [v.real for v in values], [v.imag for v in values]
