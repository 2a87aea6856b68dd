"""Activation functions, as in `keras.ops` and `keras.activations`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad.dtypes import as_dtype, float32, int32
from tabgrad.ir import build as b
from tabgrad.ir.graph import make
from tabgrad.ops import elementwise as e
from tabgrad.ops import reduction as r
from tabgrad.ops.arguments import axis_of, common, node_of
from tabgrad.tensor import Tensor


def relu(x: Any) -> Tensor:
    """max(x, 0); NaN stays NaN, and the gradient at 0 is 0."""
    (node,) = common("relu", x)
    zero = b.like(node, 0)
    return Tensor(b.select(make("le", node, zero), zero, node))


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6)."""
    t = relu(x)
    return e.where(e.greater_equal(t, 6), 6.0, t)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x above 0, negative_slope * x below."""
    t = Tensor(common("leaky_relu", x, floating=True)[0])
    return e.where(e.greater_equal(t, 0), t, e.multiply(t, negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (e**x - 1) below (Clevert et al., 2015)."""
    t = Tensor(common("elu", x, floating=True)[0])
    below = e.multiply(e.expm1(e.where(e.greater(t, 0), 0.0, t)), alpha)
    return e.where(e.greater(t, 0), t, below)


def selu(x: Any) -> Tensor:
    """Scaled elu with the constants of Klambauer et al. (2017)."""
    return e.multiply(elu(x, 1.6732632423543772), 1.0507009873554805)


def gelu(x: Any, approximate: bool = True) -> Tensor:
    """x * Phi(x) (Hendrycks and Gimpel, 2016), by tanh or exactly by erf."""
    t = Tensor(common("gelu", x, floating=True)[0])
    if not approximate:
        return e.multiply(e.multiply(t, 0.5), e.add(e.erf(e.multiply(t, math.sqrt(0.5))), 1.0))
    cubic = e.add(t, e.multiply(e.multiply(e.square(t), t), 0.044715))
    inner = e.tanh(e.multiply(cubic, math.sqrt(2 / math.pi)))
    return e.multiply(e.multiply(t, 0.5), e.add(inner, 1.0))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x)."""
    t = Tensor(common("silu", x, floating=True)[0])
    return e.multiply(t, e.sigmoid(t))


swish = silu


def softplus(x: Any) -> Tensor:
    """log(1 + e**x), without overflow."""
    t = Tensor(common("softplus", x, floating=True)[0])
    return e.add(e.maximum(t, 0), e.log1p(e.exp(e.negative(e.abs(t)))))


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|)."""
    t = Tensor(common("softsign", x, floating=True)[0])
    return e.divide(t, e.add(e.abs(t), 1.0))


def log_sigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return e.negative(softplus(e.negative(x)))


def hard_sigmoid(x: Any) -> Tensor:
    """relu6(x + 3) / 6."""
    return e.divide(relu6(e.add(x, 3.0)), 6.0)


def hard_silu(x: Any) -> Tensor:
    """x * hard_sigmoid(x) (Howard et al., 2019)."""
    t = Tensor(common("hard_silu", x, floating=True)[0])
    return e.multiply(t, hard_sigmoid(t))


hard_swish = hard_silu


def hard_tanh(x: Any) -> Tensor:
    """x limited to [-1, 1]."""
    return e.clip(x, -1.0, 1.0)


def mish(x: Any) -> Tensor:
    """x * tanh(softplus(x)) (Misra, 2019)."""
    t = Tensor(common("mish", x, floating=True)[0])
    return e.multiply(t, e.tanh(softplus(t)))


def _shifted(x: Any, axis: int | Sequence[int] | None) -> Tensor:
    t = Tensor(common("softmax", x, floating=True)[0])
    return e.subtract(t, e.stop_gradient(r.max(t, axis, True)))


def softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Tensor:
    """e**x divided by its sum along `axis`, without overflow."""
    powers = e.exp(_shifted(x, axis))
    return e.divide(powers, r.sum(powers, axis, True))


def log_softmax(x: Any, axis: int | Sequence[int] | None = -1) -> Tensor:
    """log(softmax(x)), without overflow or underflow."""
    shifted = _shifted(x, axis)
    return e.subtract(shifted, e.log(r.sum(e.exp(shifted), axis, True)))


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> Tensor:
    """1 at the index, 0 elsewhere, along a new axis; an index out of range gives zeros only."""
    idx = b.cast(node_of(x), int32)
    rank = len(idx.shape) + 1
    where = axis_of("one_hot", axis, rank)
    shape = (*idx.shape[:where], num_classes, *idx.shape[where:])
    dims = [d for d in range(rank) if d != where]
    hit = b.eq(b.broadcast(idx, shape, dims), b.iota(shape, where, int32))
    return Tensor(b.cast(hit, as_dtype(dtype or float32)))
