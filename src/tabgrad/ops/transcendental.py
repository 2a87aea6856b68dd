"""Roots, exponentials, logarithms and trigonometry, element by element, in floats.

Each is one primitive, but for `rsqrt`. Others of this kind are compositions: `special.py`,
`hyperbolic.py`. Found in `elementwise.py`, too, with the bounds of their errors.
"""

from __future__ import annotations

from typing import Any

from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops.arguments import also_complex, common
from tabgrad.tensor import Tensor


def _real(name: str, x: Any) -> Tensor:
    (node,) = common(name, x, floating=True)
    return Tensor(make(name, node))


@also_complex
def sqrt(x: Any) -> Tensor:
    """Square root; NaN below 0.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.sqrt([4.0, 9.0]).tolist()
        [2.0, 3.0]
    """
    return _real("sqrt", x)


def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x).

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.rsqrt([4.0]).tolist()
        [0.5]
    """
    return reciprocal(sqrt(x))


@also_complex
def reciprocal(x: Any) -> Tensor:
    """1 / x.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.reciprocal([4.0]).tolist()
        [0.25]
    """
    (node,) = common("reciprocal", x, floating=True)
    return Tensor(b.div(b.like(node, 1), node))


@also_complex
def exp(x: Any) -> Tensor:
    """e**x.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.exp([0.0]).tolist()
        [1.0]
    """
    return _real("exp", x)


@also_complex
def expm1(x: Any) -> Tensor:
    """e**x - 1, accurate near 0.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.expm1([0.0]).tolist()
        [0.0]
    """
    return _real("expm1", x)


@also_complex
def log(x: Any) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.log([1.0, 0.0]).tolist()
        [0.0, -inf]
    """
    return _real("log", x)


@also_complex
def log1p(x: Any) -> Tensor:
    """log(1 + x), accurate near 0.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.log1p([0.0]).tolist()
        [0.0]
    """
    return _real("log1p", x)


@also_complex
def sin(x: Any) -> Tensor:
    """Sine of x in radians.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.sin([0.0]).tolist()
        [0.0]
    """
    return _real("sin", x)


@also_complex
def cos(x: Any) -> Tensor:
    """Cosine of x in radians.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.cos([0.0]).tolist()
        [1.0]
    """
    return _real("cos", x)


@also_complex
def tan(x: Any) -> Tensor:
    """Tangent of x in radians.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.tan([0.0]).tolist()
        [0.0]
    """
    return _real("tan", x)


@also_complex
def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent.

    Args:
        x: of any shape, real or complex; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.tanh([0.0]).tolist()
        [0.0]
    """
    return _real("tanh", x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e**-x).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.sigmoid([0.0]).tolist()
        [0.5]
    """
    return _real("sigmoid", x)


def erf(x: Any) -> Tensor:
    """Error function (Abramowitz and Stegun 7.1.1).

    Args:
        x: real numbers of any shape; integers and bools become float32.

    Example:
        >>> import tabgrad as tg
        >>> tg.erf([0.0]).tolist()
        [0.0]
    """
    return _real("erf", x)
