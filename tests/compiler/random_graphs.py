"""Random graphs of whole numbers, on which every engine must agree to the last bit.

Values stay small whole numbers (everything that grows is clipped), so arithmetic is exact in any
order and any difference is an error of the compiler or of an engine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tabgrad import dtypes
from tabgrad.dtypes import DType, bool_, float32, int32, uint32
from tabgrad.ir import build as b
from tabgrad.ir.control import cond
from tabgrad.ir.entry import Argument, EntryGraph, Result, State
from tabgrad.ir.graph import Graph, Node, make

LIMIT = 40
SIZES = (1, 1, 2, 3, 4, 5, 8, 9, 17)
MAX_SIZE = 2500


def clipped(x: Node) -> Node:
    """x limited to what stays exact."""
    return make("min", make("max", x, b.like(x, -LIMIT)), b.like(x, LIMIT))


class Maker:
    """Makes one graph from a seed, of bools and of these floats and signed integers."""

    def __init__(
        self,
        seed: int,
        floats: Sequence[DType] = (float32,),
        ints: Sequence[DType] = (int32,),
    ) -> None:
        self.rng = random.Random(seed)
        self.floats, self.ints = tuple(floats), tuple(ints)
        self.pool: list[Node] = []
        self.data: dict[Node, np.ndarray] = {}

    def make(self) -> tuple[EntryGraph, dict[Node, np.ndarray]]:
        """An entry with inputs, states, updates and outputs, and arrays for its leaves."""
        rng = self.rng
        arguments = []
        for i in range(rng.randint(1, 4)):
            scalar = rng.random() < 0.2
            node = self.leaf(() if scalar else self.shape())
            arguments.append(Argument(node, f"x{i}", scalar=scalar and node.dtype.itemsize == 4))
        states = [self.leaf(self.shape()) for _ in range(rng.randint(0, 3))]
        for _ in range(rng.randint(2, 30)):
            self.grow()
        outputs = rng.choices(self.pool, k=rng.randint(1, 3)) + [self.pool[-1]]
        updated = []
        for i, node in enumerate(states):
            same = [n for n in self.pool if n.shape == node.shape and n.dtype is node.dtype]
            update = rng.choice(same) if rng.random() < 0.8 else None
            if update is not None and rng.random() < 0.7 and node.dtype is not bool_:
                update = clipped(b.add(update, node))
            updated.append(State(node, f"s{i}", update))
        results = [Result(node, f"y{i}") for i, node in enumerate(outputs)]
        return EntryGraph("random", arguments, updated, results), self.data

    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.rng.choice(SIZES) for _ in range(self.rng.randint(0, 4)))
        return shape if math.prod(shape) <= MAX_SIZE else shape[:2]

    def leaf(self, shape: tuple[int, ...]) -> Node:
        dtype = self.rng.choice((*self.floats * 3, *self.ints, bool_))
        node = b.input(shape, dtype)
        low, high = (0, 2) if dtype is bool_ else (-5, 6)
        values = np.random.default_rng(self.rng.getrandbits(32)).integers(low, high, shape)
        self.data[node] = np.asarray(values).astype(dtype.name)
        self.pool.append(node)
        return node

    def any(self, *dtypes: DType, rank: int = 0) -> Node:
        """A recent node of one of these dtypes and at least this rank, made if there is none."""
        found = [n for n in self.pool if n.dtype in dtypes and len(n.shape) >= rank]
        if not found:
            shape = (*self.shape()[:2], 3, 4)[-max(rank, 2) :]
            values = np.random.default_rng(1).integers(-5, 6, shape).astype(dtypes[0].name)
            return make("array", data=values.tobytes(), shape=shape, dtype=dtypes[0])
        recent = found[-6:] if self.rng.random() < 0.7 else found
        return self.rng.choice(recent)

    def like(self, node: Node) -> Node:
        """Another node of the same shape and dtype."""
        same = [n for n in self.pool if n.shape == node.shape and n.dtype is node.dtype]
        if same and self.rng.random() < 0.7:
            return self.rng.choice(same)
        other = self.any(node.dtype)
        if other.size == node.size:
            return b.reshape(other, node.shape)
        if other.shape == ():
            return b.full(node.shape, 0, node.dtype) if node.shape == () else b.broadcast(
                other, node.shape, ()
            )  # fmt: skip
        return b.full(node.shape, self.rng.randint(0, 1), node.dtype)

    def index(self, shape: tuple[int, ...]) -> Node:
        """int32 numbers of a shape, some out of any range."""
        found = [n for n in self.pool if n.dtype is int32 and n.shape == shape]
        if found and self.rng.random() < 0.5:
            return self.rng.choice(found)
        values = np.random.default_rng(self.rng.getrandbits(32)).integers(-2, 9, shape)
        data = np.asarray(values).astype(np.int32).tobytes()
        return make("array", data=data, shape=shape, dtype=int32)

    def grow(self) -> None:
        """Add one more node to the pool."""
        rule: Callable[[], Node | None] = getattr(self, self.rng.choice(RULES))
        node = rule()
        if node is not None and node.size <= MAX_SIZE:
            self.pool.append(node)

    # Rules: each gives a node, or None where the sources at hand do not fit.

    def arithmetic(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        name = self.rng.choice(("add", "sub", "mul", "max", "min"))
        return clipped(make(name, x, self.like(x)))

    def scaled(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        return clipped(b.mul(x, b.like(x, self.rng.choice((-1, 0, 1, 2, 3)))))

    def unary(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        names = ("neg", "abs", "sign", "floor", "stop") if x.dtype.is_float else ("neg", "abs")
        return make(self.rng.choice(names), x)

    def halves(self) -> Node:
        x = b.scale(self.any(*self.floats), 0.5)
        return make(self.rng.choice(("floor", "ceil", "round", "trunc")), x)

    def compare(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        return make(self.rng.choice(("eq", "ne", "lt", "le")), x, self.like(x))

    def logic(self) -> Node:
        x = self.any(bool_)
        if self.rng.random() < 0.3:
            return make("not", x)
        return make(self.rng.choice(("and", "or", "xor")), x, self.like(x))

    def select(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        y = self.like(x)
        return b.select(b.lt(x, self.like(x)), x, y)

    def cast(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_)
        return b.cast(x, self.rng.choice((*self.floats, *self.ints, bool_)))

    def divide(self) -> Node:
        x = self.any(*self.ints)
        return make(self.rng.choice(("floordiv", "mod", "gcd")), x, self.like(x))

    def reshape(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_)
        n, shape = x.size, []
        for d in (2, 3, 4, 5):
            if n % d == 0 and self.rng.random() < 0.5:
                shape.append(d)
                n //= d
        shape.append(n)
        self.rng.shuffle(shape)
        return b.reshape(x, shape)

    def permute(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=2)
        axes = list(range(len(x.shape)))
        self.rng.shuffle(axes)
        return b.permute(x, axes)

    def broadcast(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_)
        shape: list[int] = []
        dims = []
        for n in x.shape:
            if self.rng.random() < 0.3:
                shape.append(self.rng.choice((2, 3, 4)))
            dims.append(len(shape))
            shape.append(self.rng.choice((3, 4)) if n == 1 else n)
        shape.append(self.rng.choice((1, 4)))
        return b.broadcast(x, shape, dims)

    def pad(self) -> Node | None:
        x = self.any(*self.floats, *self.ints, rank=1)
        low = tuple(self.rng.choice((0, 0, 1, 2, -1)) for _ in x.shape)
        high = tuple(self.rng.choice((0, 0, 1, 2, -1)) for _ in x.shape)
        interior = tuple(self.rng.choice((0, 0, 0, 1, 2)) for _ in x.shape)
        sizes = [lo + hi + n + (n - 1) * i for n, lo, hi, i in zip(x.shape, low, high, interior,
                                                                   strict=True)]  # fmt: skip
        if min(sizes) < 1:
            return None
        fill = b.const(self.rng.choice((0, 0, 3)), x.dtype)
        return make("pad", x, fill, low=low, high=high, interior=interior)

    def slice(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        start = tuple(self.rng.randrange(n) for n in x.shape)
        stop = tuple(self.rng.randint(lo + 1, n) for lo, n in zip(start, x.shape, strict=True))
        step = tuple(self.rng.choice((1, 1, 2, 3)) for _ in x.shape)
        return make("slice", x, start=start, stop=stop, step=step)

    def flip(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        count = self.rng.randint(1, len(x.shape))
        return make("flip", x, axes=tuple(sorted(self.rng.sample(range(len(x.shape)), count))))

    def concatenate(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        parts = [x, *(self.like(x) for _ in range(self.rng.randint(1, 3)))]
        return make("concatenate", *parts, axis=self.rng.randrange(len(x.shape)))

    def reduce(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        axes = sorted(self.rng.sample(range(len(x.shape)), self.rng.randint(1, len(x.shape))))
        if x.dtype is bool_:
            return make(self.rng.choice(("reduce_max", "reduce_min")), x, axes=tuple(axes))
        name = self.rng.choice(("reduce_sum", "reduce_sum", "reduce_max", "reduce_min"))
        return clipped(make(name, x, axes=tuple(axes)))

    def argument(self) -> Node:
        x = self.any(*self.floats, *self.ints, rank=1)
        name = self.rng.choice(("argmax", "argmin"))
        return make(name, x, axis=self.rng.randrange(len(x.shape)))

    def softmax_like(self) -> Node:
        """Folds whose results meet again, broadcast over what they folded."""
        x = self.any(*self.floats, rank=1)
        axis = self.rng.randrange(len(x.shape))
        kept = [d for d in range(len(x.shape)) if d != axis]
        top = b.broadcast(make("reduce_max", x, axes=(axis,)), x.shape, kept)
        low = b.sub(x, top)
        total = clipped(make("reduce_sum", low, axes=(axis,)))
        return clipped(b.sub(low, b.broadcast(total, x.shape, kept)))

    def window(self) -> Node | None:
        x = self.any(*self.floats, rank=2)
        window = tuple(self.rng.choice((1, 2, 3)) for _ in x.shape)
        padding = tuple((self.rng.randrange(w), self.rng.randrange(w)) for w in window)
        params = {
            "window": window,
            "strides": tuple(self.rng.choice((1, 2, w)) for w in window),
            "padding": padding,
            "dilation": tuple(self.rng.choice((1, 1, 2)) for _ in window),
        }
        reach = [(w - 1) * d + 1 for w, d in zip(window, params["dilation"], strict=True)]
        if any(n + lo + hi < r for n, (lo, hi), r in zip(x.shape, padding, reach, strict=True)):
            return None
        if self.rng.random() < 0.3:
            return clipped(make("window_argmax", x, **params))
        op = self.rng.choice(("sum", "max", "min"))
        return clipped(make("window_reduce", x, op=op, **params))

    def dot(self) -> Node | None:
        x = self.any(*self.floats, rank=1)
        y = self.any(x.dtype, rank=1)
        pairs = [(i, j) for i, n in enumerate(x.shape) for j, m in enumerate(y.shape) if n == m]
        self.rng.shuffle(pairs)
        used: list[tuple[int, int]] = []
        for i, j in pairs[: self.rng.randint(0, 3)]:
            if all(i != a and j != c for a, c in used):
                used.append((i, j))
        cut = self.rng.randint(0, len(used))
        contract, batch = (
            tuple(zip(*part, strict=True)) or ((), ()) for part in (used[:cut], used[cut:])
        )
        node = make("dot", x, y, contract=contract, batch=batch)
        return clipped(node) if node.size <= MAX_SIZE else None

    def matrix(self) -> Node:
        """A product large enough for the tiled kernel, its operands seen through movement."""
        m, k, n = (self.rng.choice((1, 3, 4, 8, 13, 16, 17, 25, 33)) for _ in range(3))
        a, c = self.rng.choice((0, 1)), self.rng.choice((0, 1))  # the contracted axes
        dtype = self.rng.choice(self.floats) if len(self.floats) > 1 else self.floats[0]
        x = self._filled([k, m] if a == 0 else [m, k], dtype)
        y = self._filled([k, n] if c == 0 else [n, k], dtype)
        node = clipped(make("dot", x, y, contract=((a,), (c,)), batch=((), ())))
        if self.rng.random() < 0.5:
            bias = self._filled([node.shape[1]], dtype)
            node = clipped(b.add(node, b.broadcast(bias, node.shape, (1,))))
        return b.select(b.lt(node, b.like(node, 0)), b.like(node, 0), node)

    def conv(self) -> Node | None:
        rng = self.rng
        groups = rng.choice((1, 1, 2))
        x_shape = [rng.choice((1, 2)), 2 * groups, rng.choice((3, 4, 7)), rng.choice((4, 5))]
        w_shape = [groups * rng.choice((1, 3)), 2, rng.choice((1, 2, 3)), rng.choice((1, 3))]
        dtype = rng.choice(self.floats) if len(self.floats) > 1 else self.floats[0]
        xs = self._filled(x_shape, dtype)
        ws = self._filled(w_shape, dtype)
        padding = tuple((rng.choice((0, 1, 2)), rng.choice((0, 1, -1))) for _ in range(2))
        order, last = (0, 1, 2, 3), (0, 3, 1, 2)
        dims = (order, order, rng.choice((order, last)))
        params: dict[str, Any] = {
            "strides": (rng.choice((1, 2)), rng.choice((1, 3))),
            "padding": padding,
            "lhs_dilation": (rng.choice((1, 1, 2)), 1),
            "rhs_dilation": (1, rng.choice((1, 1, 2))),
            "groups": groups,
            "batch_groups": 1,
            "dims": dims,
        }
        for i in range(2):
            n = (x_shape[2 + i] - 1) * params["lhs_dilation"][i] + 1 + sum(padding[i])
            if n < (w_shape[2 + i] - 1) * params["rhs_dilation"][i] + 1:
                return None
        return clipped(make("conv", xs, ws, **params))

    def _filled(self, shape: list[int], dtype: DType) -> Node:
        """A float node of any shape out of what is in the pool."""
        x = self.any(dtype)
        flat = b.reshape(x, (x.size,))
        size = math.prod(shape)
        if x.size < size:
            times = -(-size // x.size)
            flat = b.reshape(b.broadcast(flat, (times, x.size), (1,)), (times * x.size,))
        return b.reshape(make("slice", flat, start=(0,), stop=(size,), step=(1,)), shape)

    def gather(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        index = self.index(self.rng.choice(((), (3,), (2, 2))))
        return make("gather", x, index, axis=self.rng.randrange(len(x.shape)))

    def scatter(self) -> Node:
        x = self.any(*self.floats, *self.ints, rank=1)
        axis = self.rng.randrange(len(x.shape))
        index = self.index(self.rng.choice(((), (3,), (2, 2))))
        update = make("gather", self.like(x), index, axis=axis)
        op = self.rng.choice(("set", "add", "max", "min"))
        return clipped(make("scatter", x, index, update, axis=axis, op=op))

    def moving_slice(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        starts = [self.index(()) for _ in x.shape]
        sizes = tuple(self.rng.randint(1, n) for n in x.shape)
        cut = make("dynamic_slice", x, *starts, sizes=sizes)
        if self.rng.random() < 0.5:
            return cut
        others = [self.index(()) for _ in x.shape]
        return make("dynamic_update_slice", self.like(x), cut, *others)

    def bits(self) -> Node:
        x = b.cast(self.any(*self.ints), uint32)
        y = b.cast(self.like(self.any(*self.ints)), uint32)
        y = y if y.shape == x.shape else x
        node = make("threefry", x, y, y, x)
        low = make("and", b.proj(node, self.rng.randrange(2)), b.like(x, 15))
        return b.cast(low, int32)

    def iota(self) -> Node:
        shape = self.shape() or (3,)
        return b.iota(
            shape, self.rng.randrange(len(shape)), self.rng.choice((*self.floats, *self.ints))
        )

    def scan(self) -> Node | None:
        xs = self.any(*self.floats, rank=1)
        carry, row, factor = (b.input(xs.shape[1:], xs.dtype) for _ in range(3))
        new = clipped(b.add(b.mul(carry, factor), row))
        seen = clipped(b.sub(new, carry))
        start = make("gather", xs, b.const(0, dtypes.int32), axis=0)
        node = make(
            "scan", self.like(start), start, xs, body=Graph([factor, carry, row], [new, seen]),
            n_const=1, n_carry=1, length=xs.shape[0], reverse=self.rng.random() < 0.5,
        )  # fmt: skip
        return b.proj(node, self.rng.randrange(2))

    def order(self) -> Node:
        x = self.any(*self.floats, *self.ints, bool_, rank=1)
        if self.rng.random() < 0.3:
            return make("sort", x)
        place = b.iota(x.shape, len(x.shape) - 1, dtypes.int32)
        return b.proj(make("sort", x, self.like(x), place), self.rng.randrange(3))

    def running(self) -> Node:
        x = self.any(*self.floats, *self.ints, rank=1)
        axis, reverse = self.rng.randrange(len(x.shape)), self.rng.random() < 0.5
        op = self.rng.choice(("sum", "sum", "max", "min"))
        return clipped(make("cumulative", x, axis=axis, op=op, reverse=reverse))

    def turns(self) -> Node:
        x, n = self.any(*self.floats, *self.ints), self.index(())
        inputs = [b.input(node.shape, node.dtype) for node in (n, x, x, n)]
        bound, factor, value, i = inputs
        test = Graph(inputs, [b.lt(i, bound)])
        new = clipped(b.sub(b.mul(value, factor), b.like(value, 1)))
        body = Graph(inputs, [new, b.add(i, b.like(i, 1))])
        start = b.const(0, dtypes.int32)
        node = make("while", n, self.like(x), x, start, test=test, body=body, n_const=2)
        return b.proj(node, self.rng.randrange(2))

    def branch(self) -> Node:
        x = self.any(*self.floats, *self.ints)
        srcs = [x, self.like(x)]
        graphs = []
        for name in ("add", "sub", "max"):
            inputs = [b.input(node.shape, node.dtype) for node in srcs]
            result = clipped(make(name, *inputs))
            graphs.append(Graph(inputs, [result, clipped(b.add(result, inputs[0]))]))
        return b.proj(cond(self.index(()), srcs, graphs), self.rng.randrange(2))


RULES = (
    *("arithmetic",) * 6, *("scaled", "unary", "halves", "compare", "logic", "select", "cast") * 2,
    "divide", "reshape", "reshape", "permute", "permute", "broadcast", "broadcast", "pad", "slice",
    "matrix", "matrix", "flip", "concatenate", *("reduce",) * 4,
    "argument", "softmax_like", "softmax_like", "window",
    "window", "dot", "dot", "conv", "gather", "scatter", "moving_slice", "bits", "iota", "scan",
    "order", "running", "turns", "branch",
)  # fmt: skip
