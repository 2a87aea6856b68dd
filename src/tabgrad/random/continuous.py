"""Continuous distributions that are a function of one uniform number (or a few): no rejection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import as_dtype, float32, float64
from tabgrad.errors import ArgumentError, ShapeError
from tabgrad.linalg import cholesky
from tabgrad.ops.special import rough_erfinv
from tabgrad.random.keys import (
    float_type,
    next_below,
    open_unit,
    shape_of,
    unit,
    working_type,
)
from tabgrad.tensor import Tensor

Shape = Sequence[int]
Number = (int, float)


def uniform(
    shape: Shape, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Uniform in [minval, maxval): maxval itself never comes. Integers with an integer dtype.

    Args:
        shape: of the result.
        minval: a number, or a tensor that broadcasts to `shape`.
        maxval: likewise.
        dtype: float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Raises:
        ArgumentError: minval above maxval.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.uniform((2, 3), seed=1).shape
        (2, 3)
    """
    want = as_dtype(dtype or float32)
    if want.is_integer:
        from tabgrad.random.discrete import randint

        return randint(shape, minval, maxval, want, seed)
    want = float_type(want)
    u = unit(seed, shape, want)
    plain = isinstance(minval, Number) and isinstance(maxval, Number)
    if plain and minval > maxval:
        raise ArgumentError(
            f"uniform expected minval <= maxval; received {minval} and {maxval}. Exchange them"
        )
    if plain and (minval, maxval) == (0, 1):
        return u
    scaled = ops.cast(u * (maxval - minval) + minval, want)
    # Rounding may lead up to maxval.
    if plain:
        return ops.minimum(scaled, next_below(maxval, want)) if minval < maxval else scaled
    top = ops.broadcast_to(ops.cast(maxval, want), scaled.shape)
    bottom = ops.broadcast_to(ops.cast(minval, want), scaled.shape)
    return ops.where(scaled < top, scaled, ops.maximum(ops.nextafter(top, bottom), bottom))


def normal(
    shape: Shape, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers, by the inverse error function of a uniform number.

    Args:
        shape: of the result.
        mean: a number, or a tensor that broadcasts to `shape`.
        stddev: likewise.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Numbers within 5.4 standard deviations (float64: 8.2), as far as the grid of uniform numbers
        reaches.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.normal((2, 3), seed=1).shape
        (2, 3)
    """
    want = float_type(dtype)
    return ops.cast(_standard(seed, shape, want) * stddev + mean, want)


def _standard(seed: Any, shape: Shape, want: Any, part: Any = 0) -> Tensor:
    work = working_type(want)
    return from_unit(open_unit(seed, shape, work, part))


def from_unit(u: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in (0, 1)."""
    inverse = ops.erfinv if u.dtype is float64 else rough_erfinv
    return inverse(u * 2.0 - 1.0) * math.sqrt(2.0)


def truncated_normal(
    shape: Shape, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers conditioned on lying within two standard deviations of the mean.

    Arguments as of `normal`.

    Args:
        shape: of the result.
        mean: a number, or a tensor that broadcasts to `shape`.
        stddev: likewise.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.truncated_normal((2, 3), seed=1).shape
        (2, 3)
    """
    want = float_type(dtype)
    work = working_type(want)
    edge = math.erf(math.sqrt(2.0))
    inside = (open_unit(seed, shape, work) * 2.0 - 1.0) * edge
    inverse = ops.erfinv if work is float64 else rough_erfinv
    z = ops.clip(inverse(inside) * math.sqrt(2.0), -2.0, 2.0)
    return ops.cast(z * stddev + mean, want)


def multivariate_normal(
    shape: Shape, mean: Any, cov: Any, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal vectors with a mean and a covariance.

    Args:
        shape: of the stack of vectors, to which the stacks of `mean` and `cov` broadcast.
        mean: (..., n).
        cov: (..., n, n), positive definite (NaN otherwise).
        dtype: a float type, by default that of `mean`.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Vectors (*shape, n).

    Raises:
        ShapeError: a mean and a covariance that do not fit.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.multivariate_normal((5,), [0.0, 1.0], [[1.0, 0.5], [0.5, 1.0]], seed=1).shape
        (5, 2)
    """
    centre, spread = ops.convert_to_tensor(mean), ops.convert_to_tensor(cov)
    if centre.ndim < 1 or spread.ndim < 2 or spread.shape[-2:] != (centre.shape[-1],) * 2:
        raise ShapeError(
            "multivariate_normal expected a mean (..., n) and a covariance (..., n, n); received "
            f"shapes {list(centre.shape)} and {list(spread.shape)}. "
            "The covariance has a row and a column for each element of the mean"
        )
    want = float_type(dtype or (centre.dtype if centre.dtype.is_float else None))
    n = centre.shape[-1]
    z = _standard(seed, (*shape_of(shape), n), want)
    factor = cholesky(ops.cast(spread, z.dtype))
    turned = ops.squeeze(ops.matmul(factor, ops.expand_dims(z, -1)), -1)
    return ops.cast(turned + centre, want)


def exponential(shape: Shape, scale: Any = 1.0, dtype: Any = None, seed: Any = None) -> Tensor:
    """Exponential numbers with mean `scale`.

    Args:
        shape: of the result.
        scale: a number, or a tensor that broadcasts to `shape`.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.exponential((3,), seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    u = unit(seed, shape, working_type(want))
    return ops.cast(ops.negative(ops.log1p(ops.negative(u))) * scale, want)


def gumbel(
    shape: Shape, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Gumbel numbers (the limit of maxima): loc - scale * log(-log(uniform)).

    Args:
        shape: of the result.
        loc: the centre, a number or a tensor that broadcasts to `shape`.
        scale: likewise, the spread.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.gumbel((3,), seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    u = open_unit(seed, shape, working_type(want))
    return ops.cast(loc - ops.log(ops.negative(ops.log(u))) * scale, want)


def laplace(
    shape: Shape, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Laplace numbers: exponential ones to both sides of `loc`.

    Args:
        shape: of the result.
        loc: the centre, a number or a tensor that broadcasts to `shape`.
        scale: likewise, the spread.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.laplace((3,), seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    side = open_unit(seed, shape, working_type(want)) * 2.0 - 1.0
    size = ops.negative(ops.log1p(ops.negative(ops.abs(side))))
    return ops.cast(ops.where(side < 0, -size, size) * scale + loc, want)


def cauchy(
    shape: Shape, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Cauchy numbers: the tangent of a uniform angle.

    Args:
        shape: of the result.
        loc: the centre, a number or a tensor that broadcasts to `shape`.
        scale: likewise, the spread.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.cauchy((3,), seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    turn = open_unit(seed, shape, working_type(want)) - 0.5
    return ops.cast(ops.tan(turn * math.pi) * scale + loc, want)


def logistic(
    shape: Shape, loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Logistic numbers: log(u / (1 - u)) of uniform numbers.

    Args:
        shape: of the result.
        loc: the centre, a number or a tensor that broadcasts to `shape`.
        scale: likewise, the spread.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.logistic((3,), seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    u = open_unit(seed, shape, working_type(want))
    return ops.cast((ops.log(u) - ops.log1p(ops.negative(u))) * scale + loc, want)


def dropout(
    inputs: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None
) -> Tensor:
    """Elements set to 0 with probability `rate`, the others divided by 1 - rate.

    Args:
        inputs: a float tensor.
        rate: at least 0 and below 1.
        noise_shape: a shape that broadcasts to that of `inputs`: what is decided together. None in
            it stands for the size of `inputs`.
        seed: None, an integer, a SeedGenerator or a key.

    Raises:
        ArgumentError: unless 0 <= rate < 1.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.dropout(tg.ones((2, 3)), 0.5, seed=1).shape
        (2, 3)
    """
    x = ops.convert_to_tensor(inputs)
    if not 0 <= rate < 1:
        raise ArgumentError(
            f"expected a rate of at least 0 and below 1; received {rate}. "
            "A rate of 1 would leave nothing: multiply by 0"
        )
    if rate == 0:
        return x
    shape = x.shape
    if noise_shape is not None:
        pairs = zip(noise_shape, x.shape[x.ndim - len(noise_shape) :], strict=True)
        shape = tuple(n if m is None else m for m, n in pairs)
    keep = ops.broadcast_to(unit(seed, shape) >= rate, x.shape)
    return ops.where(keep, x * (1.0 / (1.0 - rate)), 0.0)
