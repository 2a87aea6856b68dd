"""How functions of single elements are put together from others, with a gradient by formula.

The functions themselves are in `hyperbolic.py`, `special.py` and `floats.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabgrad import realize
from tabgrad.dtypes import DType, float16, float32, float64, int16, int32, int64
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, Node, make
from tabgrad.ops import elementwise as e
from tabgrad.ops.arguments import aligned
from tabgrad.tensor import Tensor

Slopes = Callable[..., tuple[Tensor, ...]]


def composed(name: str, body: Callable[..., Tensor], *xs: Any, slopes: Slopes | None) -> Tensor:
    """`body` of the arguments as floats of one shape and dtype.

    `body` and `slopes` see float32 or float64 (float16 is widened and its result rounded once), and
    their Python numbers are constants of the Program. `slopes(*xs)` gives the partial derivatives,
    so that no gradient passes through a branch that was not taken; None leaves it to the body.
    """
    nodes = aligned(name, *xs, floating=True)
    dtype = nodes[0].dtype
    if dtype is float16:
        nodes = [b.cast(node, float32) for node in nodes]
    with realize.capture_scope():
        result = body(*map(Tensor, nodes)).node
        if slopes is not None:
            result = with_slopes(result, nodes, slopes)
    return Tensor(b.cast(result, dtype) if result.dtype.is_float else result)


def with_slopes(result: Node, xs: list[Node], slopes: Slopes) -> Node:
    """`result`, whose partial derivatives are `slopes(*xs)`."""
    if not realize.wants_rules():
        return result
    cotangent = b.input(result.shape, result.dtype)
    stand_ins = [b.input(x.shape, x.dtype) for x in xs]
    with realize.rule_scope():
        given = slopes(*map(Tensor, stand_ins))
    back = [b.mul(cotangent, slope.node) for slope in given]
    graph = Graph([cotangent, *stand_ins], back)
    return make("custom", result, *xs, back=graph, n_out=1, n_x=len(xs))


def constant(x: Tensor, value: float) -> Tensor:
    """A number in the shape and dtype of x."""
    return Tensor(b.like(x.node, value))


def bits_type(dtype: DType) -> DType:
    """The signed integers of a float's size."""
    return {float16: int16, float32: int32, float64: int64}[dtype]


def sign_mask(dtype: DType) -> int:
    """The sign bit of a float, as such an integer."""
    return -(1 << dtype.bits - 1)


def with_sign_of(magnitude: Tensor, x: Tensor) -> Tensor:
    """|magnitude| with the sign bit of x, also that of zeros and NaN; no gradient passes."""
    dtype = x.dtype
    kind, sign = bits_type(dtype), sign_mask(dtype)
    size = e.bitwise_and(e.bitcast(magnitude, kind), ~sign)
    return e.bitcast(e.bitwise_or(size, e.bitwise_and(e.bitcast(x, kind), sign)), dtype)


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial with these coefficients, highest power first, by Horner's rule."""
    # In nodes: some functions have dozens of coefficients, and promotion takes longer than a node.
    at = x.node
    total = b.like(at, coefficients[0])
    for coefficient in coefficients[1:]:
        total = b.add(b.mul(total, at), b.like(at, coefficient))
    return Tensor(total)


def is_wide(x: Tensor) -> bool:
    """True for float64, which needs more terms."""
    return x.dtype is float64
