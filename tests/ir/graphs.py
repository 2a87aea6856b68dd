"""Graphs to test passes with: one node of every primitive, and random graphs for hypothesis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tabgrad.dtypes import as_dtype, bool_, float32, int32, uint32
from tabgrad.ir import build as b
from tabgrad.ir.control import cond
from tabgrad.ir.graph import PRIMITIVES, Graph, Node, make

TWO_FLOATS = "add sub mul div floordiv mod pow atan2 max min eq ne lt le".split()


def gallery() -> dict[str, Node]:
    """A node of each primitive, by name; of those with several outputs, a projection."""
    x, y = b.input((2, 3), float32), b.input((2, 3), float32)
    i, j = b.input((2, 3), int32), b.input((2, 3), int32)
    cond, zero, start = b.lt(x, y), b.const(0, float32), b.const(1, int32)
    image = b.input((1, 4, 4, 2), float32)
    words = b.input((4,), uint32)
    window = {
        "window": (1, 2, 2, 1),
        "strides": (1, 2, 1, 1),
        "padding": ((0, 0), (0, 1), (1, 0), (0, 0)),
        "dilation": (1, 1, 1, 1),
    }
    nodes = {
        "input": x,
        "value": make("value", id=-1, shape=(2,), dtype=float32),
        "const": b.const(0.1, float32),
        "array": make("array", data=b"\x00\x00\x80\x3f", shape=(1,), dtype=float32),
        "iota": b.iota((2, 3), 1, int32),
        "rows": make("rows"),
        "not": make("not", cond),
        "cast": b.cast(x, int32),
        "bitcast": make("bitcast", x, dtype=int32),
        "tag": make("tag", x, id=-7),
        "select": b.select(cond, x, y),
        "threefry": b.proj(make("threefry", words, words, words, words), 1),
        "proj": b.proj(make("threefry", words, words, words, words), 0),
        "reshape": b.reshape(x, (3, 2)),
        "permute": b.permute(x, (1, 0)),
        "broadcast": b.broadcast(x, (4, 2, 3), (1, 2)),
        "broadcast_like": make("broadcast_like", b.input((3,), float32), x, dims=(1,)),
        "pad": make("pad", x, zero, low=(1, -1), high=(0, 2), interior=(0, 1)),
        "slice": make("slice", x, start=(0, 1), stop=(2, 3), step=(1, 2)),
        "flip": make("flip", x, axes=(0, 1)),
        "concatenate": make("concatenate", x, y, x, axis=1),
        "dynamic_slice": make("dynamic_slice", x, start, start, sizes=(1, 2)),
        "dynamic_update_slice": make(
            "dynamic_update_slice", x, b.input((1, 2), float32), start, start
        ),
        "argmax": make("argmax", x, axis=1),
        "argmin": make("argmin", x, axis=0),
        "window_reduce": make("window_reduce", image, op="max", **window),
        "window_argmax": make("window_argmax", image, **window),
        "dot": make("dot", x, y, contract=((1,), (1,)), batch=((), ())),
        "conv": make(
            "conv", image, b.input((2, 2, 2, 5), float32), strides=(1, 2),
            padding=((0, 1), (1, 0)), lhs_dilation=(1, 1), rhs_dilation=(1, 1), groups=1,
            batch_groups=1, dims=((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)),
        ),
        "gather": make("gather", x, b.input((4,), int32), axis=1),
        "scatter": make(
            "scatter", x, b.input((4,), int32), b.input((2, 4), float32), axis=1, op="add"
        ),
        "barrier": make("barrier", x, cond),
        "custom": custom_example(),
        "scan": scan_example(),
        "while": while_example(),
        "cond": cond_example(),
        "sort": b.proj(make("sort", x, i), 1),
        "cumulative": make("cumulative", x, axis=1, op="max", reverse=True),
    }  # fmt: skip
    for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "size"):
        nodes[name] = make(name, x, axes=(0,))
    for name in ("gcd", "and", "or", "xor", "shl", "shr"):
        nodes[name] = make(name, i, j)
    for name, prim in PRIMITIVES.items():
        if prim.family == "elementwise" and name not in nodes:
            nodes[name] = make(name, x, y) if name in TWO_FLOATS else make(name, x)
    return nodes


def custom_example() -> Node:
    """exp(x) with a gradient of its own, which captures a node."""
    x, g, k, s = (b.input((2, 3), float32) for _ in range(4))
    back = Graph([g, x, k], [b.mul(g, b.mul(x, k))])
    return make("custom", make("exp", s), s, b.neg(s), back=back, n_out=1, n_x=1)


def scan_example() -> Node:
    """The last carry of a scan whose body holds another scan."""
    c, x, k = b.input((), float32), b.input((2,), float32), b.input((), float32)
    inner_c, inner_x = b.input((), float32), b.input((), float32)
    inner = Graph([inner_c, inner_x], [b.add(inner_c, b.mul(inner_x, b.const(2, float32)))])
    walk = make("scan", c, x, body=inner, n_const=0, n_carry=1, length=2, reverse=True)
    carry = b.mul(walk, k)
    body = Graph([k, c, x], [carry, b.neg(x)])
    srcs = [b.input(shape, float32) for shape in ((), (), (3, 2))]
    node = make("scan", *srcs, body=body, n_const=1, n_carry=1, length=3, reverse=False)
    return b.proj(node, 1)


def while_example() -> Node:
    """The last of two carries, of which a constant stops the first from growing."""
    limit, grown, other = (b.input((), float32) for _ in range(3))
    inputs = [limit, grown, other]
    test = Graph(inputs, [b.lt(b.mul(grown, grown), limit)])
    body = Graph(inputs, [b.add(b.scale(grown, 2), b.like(grown, 1)), b.mul(other, grown)])
    srcs = [b.input((), float32) for _ in range(3)]
    return b.proj(make("while", *srcs, test=test, body=body, n_const=1), 1)


def cond_example() -> Node:
    """One of two results of each of three branches."""
    graphs = []
    for name in ("exp", "neg", "tanh"):
        x, y = b.input((2,), float32), b.input((2,), float32)
        graphs.append(Graph([x, y], [make(name, x), b.mul(x, y)]))
    srcs = [b.input((), int32), b.input((2,), float32), b.input((2,), float32)]
    return b.proj(cond(srcs[0], srcs[1:], graphs), 0)


SHAPES = [(), (1,), (3,), (2, 3), (1, 3), (2, 1), (2, 1, 3), (6,)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, -3.0, math.inf, -math.inf, math.nan]
UNARY = {
    "f": "neg abs sign floor ceil round trunc exp tanh stop".split(),
    "i": "neg abs sign not stop".split(),
    "b": ["not", "stop"],
}
BINARY = {
    "f": "add sub mul div max min eq ne lt le".split(),
    "i": "add sub mul floordiv mod gcd max min and or xor eq ne lt le".split(),
    "b": "max min and or xor eq ne".split(),
}


@st.composite
def random_graphs(draw: Any, size: int = 14) -> tuple[list[Node], list[Node]]:
    """(inputs, outputs) of a graph of elementwise nodes, movement and folds on small shapes."""
    inputs = [
        b.input(draw(st.sampled_from(SHAPES)), draw(st.sampled_from([float32, int32])))
        for _ in range(draw(st.integers(1, 3)))
    ]
    nodes = list(inputs)
    for _ in range(draw(st.integers(1, size))):
        nodes.append(_another(draw, nodes))
    return inputs, draw(st.lists(st.sampled_from(nodes[-4:]), min_size=1, max_size=3))


def _another(draw: Any, nodes: list[Node]) -> Node:
    x = draw(st.sampled_from(nodes))
    kind = x.dtype.kind
    action = draw(st.sampled_from(["const", "unary", "binary", "binary", "move", "move", "fold"]))
    if action == "const":
        dtype = as_dtype(draw(st.sampled_from(["float32", "int32", "bool"])))
        number = draw(st.sampled_from(NUMBERS if dtype.is_float else [0, 1, -1, 2, 7]))
        return b.full(draw(st.sampled_from(SHAPES)), number, dtype)
    if action == "unary":
        name = draw(st.sampled_from([*UNARY[kind], "cast"]))
        if name == "cast":
            target = draw(st.sampled_from(["float32", "int32", "int8", "float64", "bool"]))
            wide = b.cast(x, as_dtype(target))
            return b.cast(wide, as_dtype("float32")) if target in ("int8", "float64") else wide
        return make(name, x)
    if action == "binary":
        return _binary(draw, nodes, x)
    if action == "fold" and x.shape and x.size:
        axes = draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1))
        # A float sum of sums may be added up in another order, so only integers are summed.
        names = ["max", "min", "sum", "prod"] if kind == "i" else ["max", "min"]
        return make(f"reduce_{draw(st.sampled_from(names))}", x, axes=tuple(sorted(axes)))
    return _move(draw, x)


def _binary(draw: Any, nodes: list[Node], x: Node) -> Node:
    same = [n for n in nodes if n.dtype is x.dtype and n.shape == x.shape]
    y = draw(st.sampled_from(same))
    if draw(st.booleans()):
        numbers = NUMBERS if x.dtype.is_float else [0, 1, -1, 2, 7]
        y = b.like(x, draw(st.sampled_from(numbers)))
        if draw(st.booleans()):
            x, y = y, x
    conditions = [n for n in nodes if n.dtype is bool_ and n.shape == x.shape]
    if conditions and draw(st.booleans()):
        return b.select(draw(st.sampled_from(conditions)), x, y)
    return make(draw(st.sampled_from(BINARY[x.dtype.kind])), x, y)


def _move(draw: Any, x: Node) -> Node:
    rank = len(x.shape)
    action = draw(st.sampled_from(["reshape", "permute", "broadcast", "slice", "flip", "pad"]))
    if action == "reshape":
        wanted = [s for s in SHAPES if math.prod(s) == x.size]
        return b.reshape(x, draw(st.sampled_from([*wanted, (1, *x.shape)])))
    if action == "permute":
        return b.permute(x, draw(st.permutations(range(rank))))
    if action == "broadcast":
        shape = [draw(st.sampled_from([1, 2])) if n == 1 else n for n in x.shape]
        at = draw(st.integers(0, rank))
        shape.insert(at, draw(st.sampled_from([1, 2])))
        return b.broadcast(x, shape, [d + (d >= at) for d in range(rank)])
    if action == "flip" and rank:
        axes = draw(st.sets(st.integers(0, rank - 1), min_size=1))
        return make("flip", x, axes=tuple(sorted(axes)))
    bounds = [(draw(st.integers(0, n)), draw(st.integers(0, n))) for n in x.shape]
    if action == "pad":
        low = tuple(draw(st.integers(-(n // 2), 1)) for n in x.shape)
        high = tuple(draw(st.integers(-(n // 2), 1)) for n in x.shape)
        interior = tuple(draw(st.integers(0, 1)) for _ in x.shape)
        fill = b.const(draw(st.sampled_from([0, 1])), x.dtype)
        return make("pad", x, fill, low=low, high=high, interior=interior)
    step = tuple(draw(st.integers(1, 2)) for _ in bounds)
    start, stop = tuple(min(p) for p in bounds), tuple(max(p) for p in bounds)
    return make("slice", x, start=start, stop=stop, step=step)


def random_arrays(inputs: list[Node], seed: int) -> list[np.ndarray]:
    """Values for inputs, with the special ones among them."""
    rng = np.random.default_rng(seed)
    arrays = []
    for node in inputs:
        if node.dtype.is_float:
            array = rng.choice([*NUMBERS, *rng.normal(size=8)], size=node.shape)
        else:
            array = rng.choice([0, 1, -1, 7, -(2**31), 2**31 - 1], size=node.shape)
        arrays.append(array.astype(node.dtype.name))
    return arrays
