"""Keys, seeds and the bits they give: Threefry-2x32 of (key, counter), the same on every engine.

The counter of a draw is (part, flat index): an element's bits depend on the key and its own index
alone, so padding a batch changes no row. Part 0 is what a function draws first, parts 1, 2 ... are
the rounds of samplers that reject; splitting and folding have parts of their own, so that a key's
children share nothing with what is drawn from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import DType, as_dtype, float16, float32, float64, uint32
from tabgrad.errors import ArgumentError, DtypeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.arguments import integer, scalar
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable

SPLIT, FOLD = 0xFFFFFFFF, 0xFFFFFFFE
"""Parts of the counter that belong to `split` and `fold_in`."""

MASK = 0xFFFFFFFF


class SeedGenerator:
    """A stream of keys: state (seed, number of keys drawn) in a Variable.

    The state advances when a random operation is built, so a compiled function that draws gets new
    numbers at each call.

    Args:
        seed: an integer; None takes one from the global generator.
        name: name of the Variable.

    Example:
        >>> import tabgrad as tg
        >>> first = tg.random.SeedGenerator(7)
        >>> again = tg.random.SeedGenerator(7)
        >>> a, b = tg.random.uniform((2,), seed=first), tg.random.uniform((2,), seed=again)
        >>> a.tolist() == b.tolist()
        True
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is None:
            state = ops.concatenate([bits((1,)), tensor_constant([0])])
        elif isinstance(seed, bool) or (number := integer(seed)) is None:
            raise ArgumentError(
                f"expected an integer or None as a seed; received {seed!r}. "
                "Convert it with int(...)"
            )
        else:
            state = tensor([_one_word(number), 0], dtype=uint32)
        self.state = Variable(state, trainable=False, name=f"{name or 'seed_generator'}/state")

    def next(self, ordered: bool = True) -> Tensor:
        """The next key, a uint32 tensor of two. Always in order, whatever `ordered` (as in Keras)
        says."""
        key = self.state.value
        self.state.assign(key + tensor_constant([0, 1]))
        return key


def _one_word(seed: int) -> int:
    """Seeds below 2**32 as they are; the higher words of others are mixed in."""
    word = seed & MASK
    seed = (seed >> 32) if seed >= 0 else 0
    while seed:
        word = (word * 0x9E3779B1 ^ seed) & MASK
        seed >>= 32
    return word


def tensor_constant(values: Sequence[int]) -> Tensor:
    """A small uint32 constant that stays a constant inside compiled functions."""
    data = b"".join(int(v).to_bytes(4, "little") for v in values)
    return Tensor(make("array", data=data, shape=(len(values),), dtype=uint32))


_default: list[SeedGenerator] = []


def global_generator() -> SeedGenerator:
    """The generator used when no seed is given.

    Returns:
        A `SeedGenerator`, whose state is uint32 of shape (2,).

    Example:
        >>> import tabgrad as tg
        >>> tg.random.global_generator() is tg.random.global_generator()
        True
    """
    if not _default:
        _default.append(SeedGenerator(0, "global_seed_generator"))
    return _default[0]


def seed(value: int) -> None:
    """Restart the global generator, from which everything draws that is given no seed.

    Args:
        value: an integer of any size; a scalar, no array.

    Raises:
        ArgumentError: a value that is no integer.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.seed(3)
        >>> first = tg.random.uniform((2,)).tolist()
        >>> tg.random.seed(3)
        >>> first == tg.random.uniform((2,)).tolist()
        True
    """
    number = None if isinstance(value, bool) else integer(value)
    if number is None:
        raise ArgumentError(
            f"seed expected an integer; received {value!r}. Convert it with int(...)"
        )
    global_generator().state.assign(tensor([_one_word(number), 0], dtype=uint32))


def halves(given: Any) -> tuple[Node, Node]:
    """The two words of a key; of the next one where `given` is a generator or None."""
    if given is None:
        given = global_generator()
    number = None if isinstance(given, bool) else integer(given)
    if number is not None:
        if not -(2**63) <= number < 2**64:
            digest = hashlib.blake2b(str(number).encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "little")
        # Inputs of the Program outside of captured functions, which is then compiled once for all.
        return scalar(number & MASK, uint32), scalar((number >> 32) & MASK, uint32)
    if isinstance(given, SeedGenerator):
        given = given.next()
    elif isinstance(given, Variable):
        given = given.value
    elif not isinstance(given, (Tensor, bool)) and hasattr(given, "__array__"):
        given = tensor(given, dtype=getattr(given, "dtype", None))
    if not isinstance(given, Tensor):
        raise ArgumentError(
            "expected a seed that is None, an int, a SeedGenerator or a key of two uint32; "
            f"received {given!r}"
        )
    if given.shape != (2,) or given.dtype is not uint32:
        raise ArgumentError(
            f"expected a key of two uint32; received {given.dtype.name} {list(given.shape)}. "
            "tg.random.key(seed) makes one, tg.vmap maps over several"
        )
    words = [
        b.reshape(make("slice", given.node, start=(i,), stop=(i + 1,), step=(1,)), ())
        for i in range(2)
    ]
    return words[0], words[1]


def words(seed: Any, shape: Sequence[int], part: Any = 0) -> tuple[Tensor, Tensor]:
    """Two words of uniform bits for each element; `part` is a number or a 0-d uint32 tensor."""
    shape = shape_of(shape)
    k0, k1 = (b.broadcast(k, shape, ()) for k in halves(seed))
    if isinstance(part, int):
        high = b.full(shape, part, uint32)
    else:
        high = b.broadcast(part.node, shape, ())
    found = make("threefry", k0, k1, high, b.flat_iota(shape, uint32))
    return Tensor(b.proj(found, 0)), Tensor(b.proj(found, 1))


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple; a number is one axis."""
    one = integer(shape)
    given = tuple(shape) if one is None else (one,)
    sizes = [None if isinstance(n, bool) else integer(n) for n in given]
    if any(n is None or n < 0 for n in sizes):
        raise ArgumentError(
            f"expected a shape of integers of at least 0; received {shape!r}. "
            "Give a tuple such as (2, 3)"
        )
    return tuple(n for n in sizes if n is not None)


def key(seed: Any = None) -> Tensor:
    """A key, a uint32 tensor of two, from a seed.

    Args:
        seed: an integer, a SeedGenerator (whose next key is taken), a key, or None for the next key
            of the global generator.

    Returns:
        Uint32 of shape (2,).

    Example:
        >>> import tabgrad as tg
        >>> tg.random.key(7).tolist()
        [7, 0]
    """
    return Tensor(b.reshape(_joined(*halves(seed)), (2,)))


def _joined(k0: Node, k1: Node) -> Node:
    parts = [b.reshape(k, (*k.shape, 1)) for k in (k0, k1)]
    return make("concatenate", *parts, axis=len(k0.shape))


def split(seed: Any = None, num: int = 2) -> Tensor:
    """New keys, independent of each other, of the given one, and of all that is drawn from it.

    Args:
        seed: a key, or whatever `key` takes.
        num: how many.

    Returns:
        Keys (num, 2).

    Raises:
        ArgumentError: a negative number.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.split(tg.random.key(7), 3).shape
        (3, 2)
    """
    first, second = words(seed, shape_of(num), SPLIT)
    return Tensor(_joined(first.node, second.node))


def fold_in(seed: Any, data: Any) -> Tensor:
    """The key that belongs to a number: independent keys for all numbers.

    Args:
        seed: a key, or whatever `key` takes.
        data: an integer or a 0-d integer tensor.

    Raises:
        DtypeError: data that is no integer.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.fold_in(tg.random.key(7), 3).shape
        (2,)
    """
    k0, k1 = halves(seed)
    if isinstance(data, int):
        number = scalar(data & MASK, uint32)
    else:
        value = ops.convert_to_tensor(data)
        if value.shape != () or not value.dtype.is_integer:
            raise DtypeError(
                f"fold_in expected an integer; received {value.dtype.name} {list(value.shape)}. "
                "Give one integer, such as the number of the step"
            )
        number = b.cast(value.node, uint32)
    found = make("threefry", k0, k1, b.const(FOLD, uint32), number)
    return Tensor(_joined(b.proj(found, 0), b.proj(found, 1)))


def bits(shape: Sequence[int], seed: Any = None, dtype: Any = None) -> Tensor:
    """Uniform bits.

    Args:
        shape: of the result.
        seed: None, an integer, a SeedGenerator or a key.
        dtype: an unsigned integer type, uint32 by default.

    Raises:
        DtypeError: another type.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.bits((3,), seed=1).dtype
        uint32
    """
    want = as_dtype(dtype or uint32)
    if want.kind != "u":
        raise DtypeError(
            f"bits expected an unsigned integer dtype; received {want.name}. "
            "Cast the result, or use randint"
        )
    low, high = words(seed, shape)
    if want.itemsize == 8:
        return (ops.cast(high, want) << 32) | ops.cast(low, want)
    return low if want is uint32 else ops.cast(low >> (32 - want.bits), want)


def float_type(dtype: Any) -> DType:
    """A float dtype, float32 by default; raises DtypeError for others."""
    want = as_dtype(dtype or float32)
    if not want.is_float:
        raise DtypeError(
            f"expected a float dtype for these random numbers; received {want.name}. "
            "For integers use randint"
        )
    return want


def working_type(dtype: Any) -> DType:
    """The type to compute in for results of `dtype`: float64 only where it is asked for."""
    return float64 if as_dtype(dtype) is float64 else float32


def unit(seed: Any, shape: Sequence[int], dtype: DType = float32, part: Any = 0) -> Tensor:
    """Uniform in [0, 1), on a grid of 2**-24 (float64: 2**-53, float16: 2**-11)."""
    low, high = words(seed, shape, part)
    if dtype is float64:
        wide = ops.cast(low >> 5, float64) * 2.0**26 + ops.cast(high >> 6, float64)
        return wide * 2.0**-53
    digits = 11 if dtype is float16 else 24
    return ops.cast(low >> (32 - digits), dtype) * 2.0**-digits


def open_unit(seed: Any, shape: Sequence[int], dtype: DType = float32, part: Any = 0) -> Tensor:
    """Uniform strictly between 0 and 1, symmetric about 1/2: odd multiples of 2**-24 (2**-53)."""
    return open_from(*words(seed, shape, part), dtype)


def open_from(low: Tensor, high: Tensor, dtype: DType = float32) -> Tensor:
    """Numbers strictly between 0 and 1 from words of bits."""
    if dtype is float64:
        wide = ops.cast(low >> 6, float64) * 2.0**26 + ops.cast(high >> 6, float64)
        return wide * 2.0**-52 + 2.0**-53
    return ops.cast(low >> 9, float32) * 2.0**-23 + 2.0**-24


def next_below(value: float, dtype: DType) -> float:
    """The largest number of a float type below a Python number."""
    if dtype is float64:
        return math.nextafter(value, -math.inf)
    rounded = b.const(value, dtype).params["value"]
    digits = 24 if dtype is float32 else 11
    low = -126 if dtype is float32 else -14
    if rounded < value:
        return float(rounded)
    fraction, exponent = math.frexp(rounded)
    # Just above a power of two the gap below is half as wide; small numbers share the smallest gap.
    exponent -= digits + (fraction == 0.5)
    smallest = low + 1 - digits
    return float(rounded) - math.ldexp(1.0, max(exponent, smallest) if rounded else smallest)
