"""Random numbers from a counter: Threefry-2x32 of (key, flat index), the same on every engine.

An element's bits depend on the key and its flat index alone, so padding a batch changes no row.
Seeds are an int, a `SeedGenerator`, a key (a uint32 tensor of two), or None for the global
generator, which `tg.random.seed` sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tabgrad import ops
from tabgrad.dtypes import as_dtype, float32, int32, uint32
from tabgrad.errors import ArgumentError
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tabgrad.ops.special import rough_erfinv
from tabgrad.tensor import Tensor, tensor
from tabgrad.variable import Variable


class SeedGenerator:
    """A stream of keys: state (seed, number of keys drawn) in a Variable.

    The state advances when a random operation is built, so a compiled function that draws gets new
    numbers at each call.

    Example:
        >>> import tabgrad as tg
        >>> first = tg.random.SeedGenerator(7)
        >>> again = tg.random.SeedGenerator(7)
        >>> a, b = tg.random.uniform((2,), seed=first), tg.random.uniform((2,), seed=again)
        >>> a.tolist() == b.tolist()
        True
    """

    def __init__(self, seed: int = 0, name: str = "seed_generator") -> None:
        self.state = Variable(
            tensor([seed & 0xFFFFFFFF, 0], dtype=uint32),
            trainable=False,
            name=f"{name}/state",
        )

    def next(self) -> Tensor:
        """The next key, a uint32 tensor of two."""
        key = self.state.value
        self.state.assign(key + tensor_constant([0, 1]))
        return key


def tensor_constant(values: Sequence[int]) -> Tensor:
    """A small uint32 constant that stays a constant inside compiled functions."""
    data = b"".join(int(v).to_bytes(4, "little") for v in values)
    return Tensor(make("array", data=data, shape=(len(values),), dtype=uint32))


_default: list[SeedGenerator] = []


def global_generator() -> SeedGenerator:
    """The generator used when no seed is given."""
    if not _default:
        _default.append(SeedGenerator(0, "global_seed_generator"))
    return _default[0]


def seed(value: int) -> None:
    """Restart the global generator."""
    global_generator().state.assign(tensor([value & 0xFFFFFFFF, 0], dtype=uint32))


def _key(given: Any) -> tuple[Node, Node]:
    if given is None:
        given = global_generator()
    if isinstance(given, bool) or not isinstance(given, (int, SeedGenerator, Tensor, Variable)):
        raise ArgumentError(
            "expected a seed that is None, an int, a SeedGenerator or a key of two uint32; "
            f"received {given!r}"
        )
    if isinstance(given, int):
        return b.const(given & 0xFFFFFFFF, uint32), b.const(0, uint32)
    if isinstance(given, SeedGenerator):
        given = given.next()
    elif isinstance(given, Variable):
        given = given.value
    if given.shape != (2,) or given.dtype is not uint32:
        raise ArgumentError(
            f"expected a key of two uint32; received {given.dtype.name} {list(given.shape)}"
        )
    halves = [
        b.reshape(make("slice", given.node, start=(i,), stop=(i + 1,), step=(1,)), ())
        for i in range(2)
    ]
    return halves[0], halves[1]


def bits(shape: Sequence[int], seed: Any = None) -> Tensor:
    """Uniform uint32 bits."""
    shape = tuple(shape)
    k0, k1 = (b.broadcast(k, shape, ()) for k in _key(seed))
    counter = b.flat_iota(shape, uint32)
    words = make("threefry", k0, k1, b.full(shape, 0, uint32), counter)
    return Tensor(b.proj(words, 0))


def _unit(shape: Sequence[int], seed: Any) -> Tensor:
    """Uniform float32 in [0, 1) on a grid of 2**-24."""
    return ops.cast(bits(shape, seed) >> 8, float32) * 2.0**-24


def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Tensor:
    """Uniform in [minval, maxval); integers with an integer dtype.

    Example:
        >>> import tabgrad as tg
        >>> tg.random.uniform((2, 3), seed=1).shape
        (2, 3)
    """
    want = as_dtype(dtype or float32)
    if want.is_integer:
        return randint(shape, int(minval), int(maxval), want, seed)
    return ops.cast(_unit(shape, seed) * (maxval - minval) + minval, want)


def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Integers in [minval, maxval); the bias is below 2**-32 times the width of the range."""
    want = as_dtype(dtype or int32)
    if maxval <= minval:
        raise ArgumentError(f"expected minval < maxval; received {minval} and {maxval}")
    width = tensor_constant([maxval - minval])[0]
    return ops.cast(ops.mod(bits(shape, seed), width), want) + minval


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Tensor:
    """Normal numbers, by the inverse error function of a uniform number."""
    open_unit = (_unit(shape, seed) + 2.0**-25) * 2.0 - 1.0
    return ops.cast(rough_erfinv(open_unit) * (math.sqrt(2.0) * stddev) + mean, dtype or float32)


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Tensor:
    """Normal numbers conditioned on lying within two standard deviations of the mean."""
    edge = math.erf(math.sqrt(2.0))
    inside = (_unit(shape, seed) + 2.0**-25) * (2.0 * edge) - edge
    return ops.cast(rough_erfinv(inside) * (math.sqrt(2.0) * stddev) + mean, dtype or float32)


def categorical(logits: Any, num_samples: int, dtype: Any = None, seed: Any = None) -> Tensor:
    """`num_samples` draws for each row of `logits` (batch, classes), by the Gumbel maximum."""
    given = ops.convert_to_tensor(logits)
    batch, classes = given.shape
    u = _unit((batch, num_samples, classes), seed) + 2.0**-25
    gumbel = ops.negative(ops.log(ops.negative(ops.log(u))))
    return ops.cast(ops.argmax(ops.expand_dims(given, 1) + gumbel, axis=-1), dtype or int32)


def dropout(
    inputs: Any, rate: float, noise_shape: Sequence[int] | None = None, seed: Any = None
) -> Tensor:
    """Elements set to 0 with probability `rate`, the others divided by 1 - rate.

    Raises:
        ArgumentError: unless 0 <= rate < 1.
    """
    x = ops.convert_to_tensor(inputs)
    if not 0 <= rate < 1:
        raise ArgumentError(f"expected a rate of at least 0 and below 1; received {rate}")
    if rate == 0:
        return x
    keep = ops.broadcast_to(_unit(noise_shape or x.shape, seed) >= rate, x.shape)
    return ops.where(keep, x * (1.0 / (1.0 - rate)), 0.0)
