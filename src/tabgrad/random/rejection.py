"""Distributions by rejection: gamma, beta, Dirichlet, Poisson, binomial, multinomial.

Proposals are drawn in rounds for all elements at once until each has accepted one. A round accepts
at least 0.8 of them, so after the ROUNDS there are at most (probability 1e-44 an element) no
elements left; if there were, they would hold the last proposal. Every round has its own part of
the counter, so numbers do not depend on what else is in a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import DType, as_dtype, int32, uint32
from tabgrad.errors import ShapeError
from tabgrad.random.continuous import from_unit
from tabgrad.random.keys import (
    float_type,
    key,
    open_from,
    open_unit,
    shape_of,
    split,
    words,
    working_type,
)
from tabgrad.tensor import Tensor

Shape = Sequence[int]

ROUNDS = 64
ARRIVALS = 128
"""Rounds of the loops that count arrivals one by one, of a mean below 10."""


def _parameter(name: str, x: Any, shape: tuple[int, ...], dtype: DType) -> Tensor:
    value = ops.cast(x, dtype)
    try:
        return ops.broadcast_to(value, shape)
    except ShapeError:
        raise ShapeError(
            f"expected {name} to broadcast to shape {list(shape)}; received {list(value.shape)}. "
            "Reshape it, or draw with a larger shape"
        ) from None


def _rounds(
    propose: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    done: Tensor,
) -> Tensor:
    """Proposals round by round until every element has one: `propose(round)` gives values and
    whether to accept them."""

    def going(number: Tensor, value: Tensor, done: Tensor) -> Tensor:
        return ops.logical_not(ops.all(done))

    def step(number: Tensor, value: Tensor, done: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        proposal, accepted = propose(number)
        return number + 1, ops.where(done, value, proposal), ops.logical_or(done, accepted)

    first = ops.cast(1, uint32)
    loop = ops.while_loop(going, step, (first, start, done), maximum_iterations=ROUNDS)
    value: Tensor = loop[1]
    return value


def loggamma(shape: Shape, alpha: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Logarithms of gamma-distributed numbers, which small alpha cannot make underflow.

    Marsaglia and Tsang, A simple method for generating gamma variables, 2000; for alpha below 1 the
    number for alpha + 1 times a power of a uniform number. No gradient reaches `alpha`.

    Args:
        shape: of the result.
        alpha: positive; a number, or a tensor that broadcasts to `shape`.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.loggamma((3,), 2.0, seed=1).shape
        (3,)
    """
    want, shape = float_type(dtype), shape_of(shape)
    work = working_type(want)
    alpha = _parameter("alpha", alpha, shape, work)
    mine = key(seed)
    boosted = alpha < 1
    d = ops.where(boosted, alpha + 1, alpha) - 1 / 3
    c = 1 / ops.sqrt(9 * d)

    def propose(number: Tensor) -> tuple[Tensor, Tensor]:
        if work.itemsize == 8:
            x = from_unit(open_unit(mine, shape, work, number * 2))
            u = open_unit(mine, shape, work, number * 2 + 1)
        else:
            first, second = words(mine, shape, number * 2)
            x, u = from_unit(open_from(first, first)), open_from(second, second)
        root = 1 + c * x
        fits = root > 0
        cube = ops.where(fits, root * root * root, 1.0)
        squared = x * x
        sure = u < 1 - 0.0331 * squared * squared
        likely = ops.log(u) < 0.5 * squared + d * (1 - cube + ops.log(cube))
        return cube, ops.logical_and(fits, ops.logical_or(sure, likely))

    strange = ops.logical_not(alpha > 0)
    cube = _rounds(propose, ops.ones(shape, work), strange)
    power = ops.log(open_unit(mine, shape, work)) / ops.where(boosted, alpha, 1.0)
    found = ops.log(d) + ops.log(cube) + ops.where(boosted, power, 0.0)
    found = ops.where(strange, ops.where(alpha == 0, -math.inf, math.nan), found)
    return ops.cast(found, want)


def gamma(shape: Shape, alpha: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Gamma-distributed numbers with shape parameter `alpha` and scale 1. See `loggamma`.

    Args:
        shape: of the result.
        alpha: positive; a number, or a tensor that broadcasts to `shape`.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.gamma((3,), 2.0, seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    return ops.cast(ops.exp(loggamma(shape, alpha, working_type(want), seed)), want)


def beta(shape: Shape, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Beta-distributed numbers, between 0 and 1: X / (X + Y) of gamma-distributed X and Y.

    Args:
        shape: of the result.
        alpha: positive; a number, or a tensor that broadcasts to `shape`.
        beta: likewise.
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.beta((3,), 2.0, 3.0, seed=1).shape
        (3,)
    """
    want = float_type(dtype)
    work, keys = working_type(want), split(seed)
    x, y = (loggamma(shape, p, work, keys[i]) for i, p in enumerate((alpha, beta)))
    return ops.cast(ops.sigmoid(x - y), want)


def dirichlet(shape: Shape, alpha: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Vectors of positive numbers that sum to 1.

    Args:
        shape: of the stack of vectors, to which the stack of `alpha` broadcasts.
        alpha: positive parameters (..., n).
        dtype: a float type, float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        (*shape, n).

    Raises:
        ShapeError: alpha without an axis.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.dirichlet((4,), [1.0, 2.0, 3.0], seed=1).shape
        (4, 3)
    """
    want = float_type(dtype)
    value = ops.convert_to_tensor(alpha)
    if value.ndim < 1:
        raise ShapeError(
            "dirichlet expected parameters (..., n); received a number. "
            "Give one number for each class"
        )
    full = (*shape_of(shape), value.shape[-1])
    return ops.cast(ops.softmax(loggamma(full, value, working_type(want), seed)), want)


_TAIL = tuple(
    math.lgamma(k + 1) - 0.5 * math.log(2 * math.pi) - (k + 0.5) * math.log(k + 1) + k + 1
    for k in range(10)
)


def _tail(k: Tensor) -> Tensor:
    """What Stirling's formula leaves of log k!, given k as floats."""
    z = k + 1
    series = (1 / 12 - (1 / 360 - 1 / (1260 * z * z)) / (z * z)) / z
    table = ops.take(ops.cast(list(_TAIL), k.dtype), ops.cast(ops.clip(k, 0, 9), int32))
    return ops.where(k < 10, table, series)


def _log_poisson(k: Tensor, mean: Tensor) -> Tensor:
    """k log(mean) - mean - log k!, but for a constant, without cancellation of large terms."""
    off = (mean - (k + 1)) / (k + 1)
    logarithm = ops.log1p(off)
    return (k + 1) * (logarithm - off) - logarithm - 0.5 * ops.log(k + 1) - _tail(k)


def _arrivals(
    gap: Callable[[Tensor], Tensor],
    within: Callable[[Tensor], Tensor],
    few: Tensor,
    work: Any,
) -> Tensor:
    """How many arrivals, each `gap(number)` after the last, are `within` the time there is.

    Counted to the end where they are `few`; of the others the result means nothing.
    """

    def going(number: Tensor, time: Tensor, count: Tensor) -> Tensor:
        return ops.any(ops.logical_and(few, within(time)))

    def step(number: Tensor, time: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return number + 1, time + gap(number), count + ops.cast(within(time), work)

    first = ops.cast(1, uint32)
    start = (first + 1, gap(first), ops.zeros(few.shape, work))
    return ops.while_loop(going, step, start, maximum_iterations=ARRIVALS)[2]  # type: ignore[no-any-return]


def poisson(shape: Shape, lam: Any = 1.0, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Poisson-distributed numbers: how often something happens that happens `lam` times on average.

    Below a mean of 10 by counting exponential intervals, beyond by transformed rejection (Hörmann,
    The transformed rejection method for generating Poisson random variables, 1993), in float32:
    beyond a mean of 2**24 not every number can come.

    Args:
        shape: of the result.
        lam: at least 0; a number, or a tensor that broadcasts to `shape`.
        dtype: int32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Counts; -1 (NaN in a float type) where `lam` is negative or NaN.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.poisson((3,), 0.0, seed=1).tolist()
        [0, 0, 0]
    """
    shape, want, work = shape_of(shape), as_dtype(dtype or int32), working_type("float32")
    lam = _parameter("lam", lam, shape, work)
    mine = key(seed)
    strange = ops.logical_not(lam >= 0)
    few = lam < 10

    def interval(number: Tensor) -> Tensor:
        return ops.negative(ops.log(open_unit(mine, shape, work, number * 2)))

    counted = _arrivals(interval, lambda time: time < lam, few, work)
    large = ops.where(few, 10.0, ops.where(strange, 10.0, lam))
    b = 0.931 + 2.53 * ops.sqrt(large)
    a = -0.059 + 0.02483 * b
    height = ops.log(1.1239 + 1.1328 / (b - 3.4))
    squeeze = 0.9277 - 3.6224 / (b - 2)
    constant = 0.5 * math.log(2 * math.pi)

    def propose(number: Tensor) -> tuple[Tensor, Tensor]:
        first, second = words(mine, shape, number * 2 + 1)
        u, v = open_from(first, first) - 0.5, open_from(second, second)
        edge = 0.5 - ops.abs(u)
        k = ops.floor((2 * a / edge + b) * u + large + 0.43)
        sure = ops.logical_and(edge >= 0.07, v <= squeeze)
        no = ops.logical_or(k < 0, ops.logical_and(edge < 0.013, v > edge))
        inside = ops.where(no, 1.0, k)
        bound = _log_poisson(inside, large) - constant
        likely = ops.log(v) + height - ops.log(a / (edge * edge) + b) <= bound
        return k, ops.logical_or(sure, ops.logical_and(ops.logical_not(no), likely))

    many = _rounds(propose, ops.zeros(shape, work), ops.logical_or(few, strange))
    found = ops.where(few, counted, many)
    return ops.cast(ops.where(strange, math.nan if want.is_float else -1.0, found), want)


def binomial(
    shape: Shape, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Binomial numbers: how many of `counts` trials succeed.

    Where fewer than 10 successes (or failures) are expected, by the gaps between them, otherwise by
    transformed rejection (Hörmann, The generation of binomial random variates, 1993), in float32:
    counts below 2**24.

    Args:
        shape: of the result.
        counts: at least 0; a number, or a tensor that broadcasts to `shape`.
        probabilities: from 0 to 1; likewise.
        dtype: float32 by default, as in Keras.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Numbers from 0 to counts; NaN (-1 in an integer type) where a parameter is out of range.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.binomial((3,), 5, 1.0, seed=1).tolist()
        [5.0, 5.0, 5.0]
    """
    shape, want, work = shape_of(shape), as_dtype(dtype or "float32"), working_type("float32")
    n = _parameter("counts", counts, shape, work)
    given = _parameter("probabilities", probabilities, shape, work)
    mine = key(seed)
    good = ops.logical_and(ops.logical_and(n >= 0, given >= 0), given <= 1)
    flipped = given > 0.5
    p = ops.where(good, ops.where(flipped, 1 - given, given), 0.0)
    n = ops.floor(ops.where(good, n, 0.0))
    few = n * p < 10
    rate = ops.log1p(ops.negative(p))

    def gap(number: Tensor) -> Tensor:
        u = ops.log(open_unit(mine, shape, work, number * 2))
        # A gap rounded down to 0 is one trial: it succeeds at once.
        trials = ops.maximum(ops.ceil(u / ops.where(p > 0, rate, 1.0)), 1.0)
        return ops.where(p > 0, trials, math.inf)

    counted = _arrivals(gap, lambda place: place <= n, few, work)
    # Elements of the other kind take harmless values.
    m, q = ops.where(few, 40.0, n), ops.where(few, 0.5, p)
    mean = m * q
    spread = ops.sqrt(mean * (1 - q))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * q
    squeeze = 0.92 - 4.2 / b
    height = (2.83 + 5.1 / b) * spread
    mode = ops.floor((m + 1) * q)

    def density(k: Tensor) -> Tensor:
        return _log_poisson(k, mean) + _log_poisson(m - k, m - mean)

    top = density(mode)

    def propose(number: Tensor) -> tuple[Tensor, Tensor]:
        first, second = words(mine, shape, number * 2 + 1)
        u, v = open_from(first, first) - 0.5, open_from(second, second)
        edge = 0.5 - ops.abs(u)
        k = ops.floor((2 * a / edge + b) * u + mean + 0.5)
        sure = ops.logical_and(edge >= 0.07, v <= squeeze)
        fits = ops.logical_and(k >= 0, k <= m)
        inside = ops.where(fits, k, mode)
        bound = density(inside) - top
        likely = ops.log(v * height / (a / (edge * edge) + b)) <= bound
        return k, ops.logical_or(sure, ops.logical_and(fits, likely))

    many = _rounds(propose, ops.zeros(shape, work), few)
    found = ops.where(few, counted, many)
    found = ops.where(flipped, n - found, found)
    return ops.cast(ops.where(good, found, math.nan if want.is_float else -1.0), want)


def multinomial(shape: Shape, n: Any, p: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """How often each of k outcomes comes in n trials.

    Args:
        shape: of the stack of results, to which n and the stack of p broadcast.
        n: number of trials.
        p: probabilities (..., k), which need not sum to 1.
        dtype: float32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Counts (*shape, k) that sum to n.

    Raises:
        ShapeError: probabilities without an axis.

    Example:
        >>> import tabgrad as tg
        >>> float(tg.sum(tg.random.multinomial((), 7, [0.2, 0.8], seed=1)))
        7.0
    """
    shape, want = shape_of(shape), as_dtype(dtype or "float32")
    weights = ops.cast(p, "float32")
    if weights.ndim < 1 or weights.shape[-1] == 0:
        raise ShapeError(
            f"multinomial expected probabilities (..., k); received {list(weights.shape)}. "
            "Give one probability for each class"
        )
    k = weights.shape[-1]
    weights = ops.moveaxis(ops.broadcast_to(weights, (*shape, k)), -1, 0)
    rest = ops.flip(ops.cumsum(ops.flip(weights, 0), 0), 0)
    trials = ops.broadcast_to(ops.cast(n, "float32"), shape)

    def step(left: Tensor, x: Any) -> tuple[Tensor, Tensor]:
        mine, weight, remaining = x
        share = ops.where(remaining > 0, weight / ops.where(remaining > 0, remaining, 1.0), 0.0)
        count = binomial(shape, left, ops.minimum(share, 1.0), seed=mine)
        return left - count, count

    # Whatever is left belongs to the last outcome.
    last, counts = ops.scan(step, trials, (split(seed, k)[:-1], weights[:-1], rest[:-1]))
    counts = ops.concatenate([counts, ops.expand_dims(last, 0)])
    return ops.cast(ops.moveaxis(counts, 0, -1), want)
