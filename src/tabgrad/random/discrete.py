"""Whole numbers, categories and orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import as_dtype, bool_, int32, uint32, uint64
from tabgrad.errors import ArgumentError, DtypeError, ShapeError
from tabgrad.ir import build as b
from tabgrad.random.continuous import gumbel
from tabgrad.random.keys import shape_of, tensor_constant, unit, words
from tabgrad.tensor import Tensor

Shape = Sequence[int]


def randint(
    shape: Shape, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None
) -> Tensor:
    """Integers in [minval, maxval), all with the same probability to within 2**-32 of it.

    Args:
        shape: of the result.
        minval: an integer, or an integer tensor that broadcasts to `shape`.
        maxval: likewise; above minval.
        dtype: an integer type, int32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Raises:
        ArgumentError: minval not below maxval, or a range that the dtype does not hold.
        DtypeError: a dtype that is no integer.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.randint((2, 3), 0, 10, seed=1).shape
        (2, 3)
    """
    want = as_dtype(dtype or int32)
    if not want.is_integer:
        raise DtypeError(
            f"randint expected an integer dtype; received {want.name}. "
            "For other dtypes draw with uniform"
        )
    first, second = words(seed, shape)
    if isinstance(minval, (int, float)) and isinstance(maxval, (int, float)):
        minval, maxval = int(minval), int(maxval)
        low, high = _limits(want)
        if not low <= minval < maxval <= high + 1:
            raise ArgumentError(
                f"randint expected minval < maxval within {want.name}; received {minval} and "
                f"{maxval}. "
                "Exchange them, or choose a wider dtype"
            )
        width = maxval - minval
        if width > 2**32:
            wide = (ops.cast(first, uint64) << 32) | ops.cast(second, uint64)
            if width < 2**64:
                wide = ops.mod(wide, Tensor(b.const(width, uint64)))
            return ops.add(ops.cast(wide, want), minval)
        offset = first if width == 2**32 else _share(first, second, tensor_constant([width])[0])
        if want.itemsize == 8:
            return ops.add(ops.cast(offset, want), minval)
        return ops.cast(offset + tensor_constant([minval & 0xFFFFFFFF])[0], want)
    start, end = ops.cast(minval, int32), ops.cast(maxval, int32)
    span = ops.broadcast_to(ops.cast(end - start, uint32), shape_of(shape))
    return ops.cast(ops.cast(_share(first, second, span), int32) + start, want)


def _limits(dtype: Any) -> tuple[int, int]:
    if dtype.kind == "u":
        return 0, 2**dtype.bits - 1
    return -(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1


def _share(first: Tensor, second: Tensor, width: Tensor) -> Tensor:
    """width times the fraction (first, second) / 2**64, rounded down: no remainder is favoured by
    more than width / 2**64."""
    upper, lower = _product(first, width)
    total = lower + _product(second, width)[0]
    return upper + ops.cast(total < lower, uint32)


def _product(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The high and the low word of the product of 32-bit numbers, by halves."""
    x_low, x_high = x & 0xFFFF, x >> 16
    y_low, y_high = y & 0xFFFF, y >> 16
    one, other = x_low * y_high, x_high * y_low
    middle = (x_low * y_low >> 16) + (one & 0xFFFF) + (other & 0xFFFF)
    return x_high * y_high + (one >> 16) + (other >> 16) + (middle >> 16), x * y


def bernoulli(shape: Shape, p: Any = 0.5, dtype: Any = "bool", seed: Any = None) -> Tensor:
    """True with probability p.

    Args:
        shape: of the result.
        p: a number, or a tensor that broadcasts to `shape`.
        dtype: bool by default; 1 for True in others.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.bernoulli((3,), 1.0, seed=1).tolist()
        [True, True, True]
    """
    return ops.cast(unit(seed, shape) < p, as_dtype(dtype or bool_))


def rademacher(shape: Shape, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """-1 or 1, each half of the time.

    Args:
        shape: of the result.
        dtype: int32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.rademacher((3,), seed=1).shape
        (3,)
    """
    first, _ = words(seed, shape)
    return ops.cast(ops.cast(first >> 31, int32) * 2 - 1, as_dtype(dtype or int32))


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Draws of categories by their unnormalised log-probabilities, by the Gumbel maximum.

    Args:
        logits: (batch, classes).
        num_samples: draws for each row.
        dtype: an integer type, int32 by default.
        seed: None, an integer, a SeedGenerator or a key.

    Returns:
        Categories (batch, num_samples).

    Raises:
        ShapeError: logits of another rank, or no classes.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.categorical([[0.0, -float("inf")]], 3, seed=1).tolist()
        [[0, 0, 0]]
    """
    given = ops.convert_to_tensor(logits)
    if given.ndim != 2 or given.shape[1] == 0:
        raise ShapeError(
            f"categorical expected logits (batch, classes); received {list(given.shape)}. "
            "A single distribution is a batch of one, logits[None]"
        )
    batch, classes = given.shape
    noise = gumbel((batch, num_samples, classes), seed=seed)
    return ops.cast(ops.argmax(ops.expand_dims(given, 1) + noise, axis=-1), dtype or int32)


def _order(n: int, seed: Any) -> Tensor:
    """A random order of n things."""
    first, second = words(seed, (n,))
    order = ops.argsort(first)
    if n > 2**11:
        # Equal bits keep their order; by both words together nothing is equal.
        order = ops.argsort(second)
        order = ops.take(order, ops.argsort(ops.take(first, order)))
    return order


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Tensor:
    """x with its slices along an axis in random order.

    Args:
        x: of any dtype, which the result has, too.
        axis: what to shuffle.
        seed: None, an integer, a SeedGenerator or a key.

    Raises:
        ShapeError: an axis that x does not have.

    Example:
        >>> import tabgrad as tg
        >>> sorted(tg.random.shuffle([1, 2, 3], seed=1).tolist())
        [1, 2, 3]
    """
    value = ops.convert_to_tensor(x)
    if not -value.ndim <= axis < value.ndim:
        raise ShapeError(
            f"shuffle expected an axis of {list(value.shape)}; received {axis}. "
            "Negative axes count from the last one"
        )
    n = value.shape[axis]
    return value if n < 2 else ops.take(value, _order(n, seed), axis)


def permutation(x: Any, axis: int = 0, independent: bool = False, seed: Any = None) -> Tensor:
    """The numbers below x in random order, or x with its slices along an axis in random order.

    Args:
        x: an integer, or a tensor.
        axis: of a tensor.
        independent: shuffle each line along `axis` on its own.
        seed: None, an integer, a SeedGenerator or a key.

    Example:
        >>> import tabgrad as tg
        >>> sorted(tg.random.permutation(4, seed=1).tolist())
        [0, 1, 2, 3]
    """
    if isinstance(x, int):
        return shuffle(ops.arange(x), seed=seed)
    if not independent:
        return shuffle(x, axis, seed)
    value = ops.convert_to_tensor(x)
    return ops.take_along_axis(value, ops.argsort(words(seed, value.shape)[0], axis=axis), axis)


def choice(
    a: Any,
    shape: Shape = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    seed: Any = None,
) -> Tensor:
    """Random elements of a, or numbers below it.

    Args:
        a: an integer, or a tensor whose slices along `axis` are chosen from.
        shape: of the choices; it takes the place of `axis`.
        replace: whether the same may be chosen again.
        p: probabilities (n,), which need not sum to 1; equal ones by default.
        axis: of a.
        seed: None, an integer, a SeedGenerator or a key.

    Raises:
        ArgumentError: more choices than there are elements, without replacement.
        ShapeError: probabilities of another number.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.choice(5, (2,), seed=1).shape
        (2,)
    """
    shape = shape_of(shape)
    values = None if isinstance(a, int) else ops.convert_to_tensor(a)
    n = a if values is None else values.shape[axis]
    count = 1
    for size in shape:
        count *= size
    if (n < 1 and count) or (not replace and count > n):
        raise ArgumentError(
            f"choice expected at most {n} choices without replacement from {n}; received {count}"
            if n > 0
            else f"choice expected something to choose from; received {n} elements"
        )
    weights = None if p is None else ops.convert_to_tensor(p)
    if weights is not None and weights.shape != (n,):
        raise ShapeError(
            f"choice expected {n} probabilities; received {list(weights.shape)}. "
            "Give a probability for each element of a"
        )
    if weights is None and replace:
        found = randint(shape, 0, n, seed=seed) if count else ops.zeros(shape, int32)
    elif weights is None:
        found = ops.reshape(_order(n, seed)[:count], shape)
    elif replace:
        sums = ops.cumsum(ops.cast(weights, "float32"))
        point = unit(seed, shape) * sums[-1]
        found = ops.minimum(ops.cast(ops.searchsorted(sums, point, side="right"), int32), n - 1)
    else:
        # The largest sums of logarithm and Gumbel noise are a sample without replacement (Vieira,
        # Gumbel-max trick and weighted reservoir sampling, 2014).
        scores = ops.log(ops.cast(weights, "float32")) + gumbel((n,), seed=seed)
        found = ops.reshape(ops.argsort(ops.negative(scores))[:count], shape)
    return found if values is None else ops.take(values, found, axis)
