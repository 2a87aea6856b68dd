"""Gradient rules of the primitives: float64 on the reference against central differences.

Every primitive is in `CASES` or in `WITHOUT_GRADIENT`. A case checks the gradient itself and the
gradient of the gradient, so that every rule is also differentiated. What a rule gives where no
derivative exists (ties, zeros) is decided in the tests at the end, mostly as JAX decides it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tabgrad import dtypes
from tabgrad.dtypes import as_dtype
from tabgrad.engines.reference import evaluate
from tabgrad.errors import ShapeError
from tabgrad.ir import build as b
from tabgrad.ir.graph import PRIMITIVES, Graph, Node, make
from tabgrad.ir.reverse import cotangents
from tests.ir.running import conv, inputs

NAN, INF = np.nan, np.inf


def distinct(shape: Sequence[int], seed: int, low: float, high: float) -> np.ndarray:
    """Numbers between low and high, at least a 4n-th of the range apart: no ties, no kinks."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape, dtype=int))
    steps = rng.permutation(n) + rng.uniform(0.25, 0.75, n)
    return (low + steps / max(n, 1) * (high - low)).reshape(shape)


@dataclass
class Case:
    """A node to differentiate. `fixed` sources, by position, take no gradient."""

    name: str
    shapes: Sequence[tuple[int, ...]]
    params: dict[str, Any] = field(default_factory=dict)
    low: float | Sequence[float] = -2.0
    high: float | Sequence[float] = 2.0
    fixed: dict[int, np.ndarray] = field(default_factory=dict)
    label: str = ""

    def arrays(self) -> list[np.ndarray]:
        lows = [self.low] * len(self.shapes) if isinstance(self.low, float) else self.low
        highs = [self.high] * len(self.shapes) if isinstance(self.high, float) else self.high
        return [
            distinct(shape, seed, low, high)
            for seed, (shape, low, high) in enumerate(zip(self.shapes, lows, highs, strict=True))
        ]

    def build(self, xs: Sequence[Node]) -> tuple[list[Node], dict[Node, np.ndarray]]:
        """The outputs on the given differentiable sources, and the arrays of the fixed ones."""
        fixed = inputs(*self.fixed.values())
        sources = list(xs)
        for position, source in zip(self.fixed, fixed, strict=True):
            sources.insert(position, source)
        node = make(self.name, *sources, **self.params)
        given = dict(zip(fixed, self.fixed.values(), strict=True))
        if len(node.outs) == 1:
            return [node], given
        return [b.proj(node, i) for i in range(len(node.outs))], given


def _window(op: str, window: Any, strides: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    return {
        "op": op,
        "window": window,
        "strides": strides,
        "padding": padding,
        "dilation": dilation,
    }


def _scan_body() -> Graph:
    """(weight; state; x) -> (tanh(weight * state + x); state * x)."""
    weight, state, x = (b.input(s, dtypes.float64) for s in ((3,), (3,), (3,)))
    new = make("tanh", b.add(b.mul(weight, state), x))
    return Graph([weight, state, x], [new, b.mul(state, x)])


def _branches() -> dict[str, Graph]:
    """Three branches of two sources, one that uses only the second and one that is constant."""
    graphs = []
    for number in range(3):
        x, y = b.input((2,), dtypes.float64), b.input((2,), dtypes.float64)
        first = (b.mul(x, y), make("sin", y), b.like(x, 2.0))[number]
        graphs.append(Graph([x, y], [first, b.mul(first, y)]))
    return {f"branch{i}": graph for i, graph in enumerate(graphs)}


def _counting_body() -> Graph:
    """A carry that no gradient flows through beside one where it does, and no constants."""
    count, state, x = (
        b.input((), dtypes.int32),
        b.input((), dtypes.float64),
        b.input((2,), dtypes.float64),
    )
    factor = b.cast(count, dtypes.float64)
    new = b.add(b.mul(state, factor), b.make("reduce_sum", b.mul(x, x), axes=(0,)))
    return Graph([count, state, x], [b.add(count, b.like(count, 1)), new, make("sin", new)])


def _index(*values: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    return np.array(values, np.int32).reshape(shape if shape is not None else (len(values),))


LAST = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
ODD = ((2, 0, 3, 1), (1, 3, 0, 2), (3, 1, 0, 2))

CASES = [
    *(Case(name, [(3, 4)]) for name in ("neg", "abs", "exp", "expm1", "sin", "cos", "tanh")),
    *(Case(name, [(3, 4)]) for name in ("sigmoid", "erf", "tag")),
    Case("tan", [(3, 4)], low=-1.2, high=1.2),
    *(Case(name, [(3, 4)], low=0.2, high=3.0) for name in ("sqrt", "log")),
    Case("log1p", [(3, 4)], low=-0.8, high=3.0),
    *(Case(name, [(3, 4), (3, 4)]) for name in ("add", "sub", "mul", "max", "min", "atan2")),
    Case("div", [(3, 4), (3, 4)], low=[-2.0, 0.5], high=[2.0, 2.0]),
    Case("mod", [(3, 4), (3, 4)], low=[-1.9, 1.91], high=[-0.1, 2.5]),
    Case("pow", [(3, 4), (3, 4)], low=[0.2, -3.0], high=[3.0, 3.0]),
    Case("select", [(2, 2), (2, 2)], fixed={0: np.array([[True, False], [False, True]])}),
    Case("cast", [(3,)], {"dtype": dtypes.float64}),
    Case("reshape", [(3, 4)], {"shape": (2, 6)}),
    Case("permute", [(2, 3, 4)], {"axes": (2, 0, 1)}),
    Case("broadcast", [(2, 1)], {"shape": (3, 2, 4), "dims": (1, 2)}),
    Case("broadcast", [()], {"shape": (2, 3), "dims": ()}, label="scalar"),
    Case("broadcast", [(1, 3)], {"shape": (1, 3), "dims": (0, 1)}, label="of size 1 to 1"),
    Case("broadcast_like", [(2, 4)], {"dims": (0, 2)}, fixed={1: np.zeros((2, 3, 4))}),
    Case("pad", [(3, 4), ()], {"low": (1, 0), "high": (0, 2), "interior": (0, 2)}),
    Case("pad", [(3, 4), ()], {"low": (-1, 2), "high": (3, -2), "interior": (1, 0)},
         label="negative"),
    Case("pad", [(3, 4), ()], {"low": (-2, -1), "high": (-1, -1), "interior": (2, 1)},
         label="negative with holes"),
    Case("slice", [(7, 5)], {"start": (1, 0), "stop": (7, 5), "step": (4, 2)}),
    Case("slice", [(4, 5)], {"start": (2, 3), "stop": (2, 5), "step": (1, 1)}, label="empty"),
    Case("flip", [(2, 3, 2)], {"axes": (0, 2)}),
    Case("concatenate", [(2, 1), (2, 3), (2, 2)], {"axis": 1}),
    Case("dynamic_slice", [(5, 4)], {"sizes": (2, 3)}, fixed={1: np.int32(9), 2: np.int32(-3)}),
    Case("dynamic_slice", [(5, 4)], {"sizes": (2, 3)}, fixed={1: np.int32(1), 2: np.int32(0)},
         label="inside"),
    Case("dynamic_update_slice", [(5, 4), (2, 3)], fixed={2: np.int32(9), 3: np.int32(0)}),
    *(Case("reduce_sum", [(2, 3, 4)], {"axes": axes}, label=str(axes))
      for axes in ((0,), (1,), (0, 2), (0, 1, 2))),
    *(Case(name, [(2, 3, 4)], {"axes": (0, 2)})
      for name in ("reduce_prod", "reduce_max", "reduce_min")),
    Case("reduce_max", [(6,)], {"axes": (0,)}, label="all"),
    *(
        Case("window_reduce", [(1, 6, 6, 2)], _window(op, *shape), label=f"{op} {label}")
        for op in ("sum", "max", "min")
        for label, shape in {
            "tiles": ((1, 2, 3, 1), (1, 2, 3, 1), ((0, 0),) * 4, (1,) * 4),
            "overlaps": ((1, 3, 2, 1), (1, 1, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0)), (1,) * 4),
            "gaps": ((1, 1, 2, 1), (1, 3, 4, 1), ((0, 0),) * 4, (1,) * 4),
            "dilated": ((1, 2, 2, 2), (1, 1, 2, 1), ((0, 0), (0, 2), (1, 0), (0, 0)), (1, 3, 2, 1)),
        }.items()
    ),
    Case("dot", [(3, 4), (4, 2)], {"contract": ((1,), (0,)), "batch": ((), ())}),
    Case("dot", [(3,), (2,)], {"contract": ((), ()), "batch": ((), ())}, label="outer"),
    Case("dot", [(3,), (3,)], {"contract": ((0,), (0,)), "batch": ((), ())}, label="inner"),
    Case("dot", [(3, 2, 4, 2), (2, 5, 4, 2)], {"contract": ((2, 3), (2, 0)),
                                               "batch": ((1,), (3,))}, label="two contracted"),
    Case("dot", [(2, 3, 2, 4), (4, 3, 2, 2)], {"contract": ((3,), (0,)), "batch": ((2, 1), (3, 1))},
         label="two batch"),
    Case("dot", [(2, 3), (3, 2)], {"contract": ((1, 0), (0, 1)), "batch": ((), ())}, label="all"),
    Case("conv", [(2, 2, 4, 5), (3, 2, 2, 3)], conv()),
    Case("conv", [(2, 2, 6, 5), (3, 2, 2, 2)], conv(strides=(3, 2)), label="strides with rest"),
    Case("conv", [(1, 2, 4, 5), (2, 2, 3, 3)], conv(padding=((1, 1), (2, 0))), label="padding"),
    Case("conv", [(1, 1, 6, 6), (2, 1, 2, 2)], conv(padding=((-1, -1), (2, -2))),
         label="negative padding"),
    Case("conv", [(1, 1, 4, 4), (1, 1, 2, 2)], conv(padding=((3, 3), (4, 2)), strides=(2, 3)),
         label="padding beyond the kernel"),
    Case("conv", [(1, 2, 3, 3), (2, 2, 2, 2)], conv(lhs_dilation=(2, 3)), label="lhs dilation"),
    Case("conv", [(1, 2, 6, 6), (2, 2, 2, 3)], conv(rhs_dilation=(3, 2)), label="rhs dilation"),
    Case("conv", [(2, 4, 4, 4), (4, 2, 2, 2)], conv(groups=2), label="groups"),
    Case("conv", [(1, 3, 4, 4), (6, 1, 2, 2)], conv(groups=3, padding=((1, 0), (0, 1))),
         label="depthwise"),
    Case("conv", [(4, 2, 3, 3), (4, 2, 2, 2)], conv(batch_groups=2), label="batch groups"),
    Case("conv", [(2, 4, 5, 4), (2, 2, 2, 3)], conv(
        groups=2, strides=(2, 1), padding=((1, 2), (3, 0)), lhs_dilation=(2, 1),
        rhs_dilation=(1, 2)), label="everything"),
    Case("conv", [(2, 4, 4, 2), (2, 3, 2, 3)], conv(dims=LAST, strides=(2, 1),
                                                    padding=((1, 1), (0, 1))), label="last"),
    Case("conv", [(4, 4, 2, 4), (2, 4, 2, 2)], conv(dims=ODD, groups=2, strides=(1, 2)),
         label="odd layout"),
    Case("conv", [(4, 4, 4, 4), (2, 4, 4, 4)], conv(dims=ODD, batch_groups=2,
                                                    rhs_dilation=(2, 1)),
         label="odd layout, batch groups"),
    Case("conv", [(2, 2, 7), (3, 2, 3)], conv(1, strides=(2,), padding=((2, 1),)), label="1d"),
    Case("conv", [(1, 1, 3, 3, 3), (2, 1, 2, 2, 2)], conv(3, padding=((1, 0), (0, 1), (0, 0))),
         label="3d"),
    Case("gather", [(3, 4, 2)], {"axis": 1}, fixed={1: _index(0, 3, 3, 9, -2, 1, shape=(2, 3))}),
    Case("gather", [(3, 2)], {"axis": 0}, fixed={1: _index(1, shape=())}, label="scalar"),
    *(
        Case("scatter", [(4, 3), shape], {"axis": axis, "op": op}, fixed={1: index},
             label=f"{op} {axis}")
        for op in ("set", "add", "max", "min")
        for axis, shape, index in (
            (0, (5, 3), _index(0, 2, 2, 7, -1)),
            (1, (4, 2, 2), _index(0, 2, 2, 3, shape=(2, 2))),
        )
    ),
    Case("barrier", [(3, 4)], fixed={1: np.zeros(2)}),
    Case("scan", [(3,), (3,), (4, 3)], {"body": _scan_body(), "n_const": 1, "n_carry": 1,
                                        "length": 4, "reverse": False}),
    Case("scan", [(3,), (3,), (4, 3)], {"body": _scan_body(), "n_const": 1, "n_carry": 1,
                                        "length": 4, "reverse": True}, label="reverse"),
    Case("scan", [(), (3, 2)], {"body": _counting_body(), "n_const": 0, "n_carry": 2, "length": 3,
                                "reverse": False}, fixed={0: np.int32(1)}, label="counter"),
    *(Case("cumulative", [(3, 4)], {"axis": axis, "op": op, "reverse": reverse},
           label=f"{op} {axis} {reverse}")
      for op, axis, reverse in (("sum", 0, True), ("sum", 1, False), ("prod", 0, False),
                                ("prod", 1, True), ("max", 1, False), ("min", 0, True))),
    Case("sort", [(3, 4)]),
    Case("sort", [(5,), (5,), (5,)], label="payloads"),
    Case("sort", [(2, 3), (2, 3)], fixed={1: np.arange(6, dtype=np.int32).reshape(2, 3)},
         label="indices"),
    *(Case("cond", [(2,), (2,)], {"branches": 3, **_branches()}, fixed={0: np.int32(index)},
           label=f"{index}") for index in (-1, 0, 1, 2, 7)),
]  # fmt: skip

WITHOUT_GRADIENT = {
    *("input", "value", "const", "array", "iota", "rows"),
    *("sign", "floor", "ceil", "round", "trunc", "not", "stop", "floordiv", "gcd"),
    *("and", "or", "xor", "shl", "shr", "eq", "ne", "lt", "le", "bitcast", "threefry"),
    *("argmax", "argmin", "size", "window_argmax"),
}
# Differentiated by what the user says: tests/transformations/test_custom.py.
GIVEN = {"custom"}
# Differentiated forwards only: tests/ir/test_control.py.
FORWARDS = {"while"}


def test_every_primitive_is_here():
    assert {case.name for case in CASES} | WITHOUT_GRADIENT | GIVEN | FORWARDS | {"proj"} == set(
        PRIMITIVES
    )
    assert not {case.name for case in CASES} & WITHOUT_GRADIENT


def _total(outs: Sequence[Node], weights: Sequence[Node]) -> Node:
    """The sum of all outputs times their weights: the scalar that is differentiated."""
    total = b.const(0.0, dtypes.float64)
    for out, weight in zip(outs, weights, strict=True):
        product = b.mul(out, weight)
        total = b.add(total, b.reduce("reduce_sum", product, range(len(product.shape))))
    return total


def _derivative(
    function: Callable[[np.ndarray], float], x: np.ndarray, direction: np.ndarray
) -> float:
    """By central differences with one Richardson step: the error is of order h**4."""
    h = 1e-4
    near, far = (function(x + s * direction) - function(x - s * direction) for s in (h, 2 * h))
    return (8 * near - far) / (12 * h)


def _compare(scalar: Node, given: dict[Node, np.ndarray], xs: list[Node], at: list[np.ndarray]):
    """Check the gradient of `scalar` at `at`; returns the gradient's nodes."""
    found = [
        g if g is not None else b.like(x, 0)
        for x, g in zip(xs, cotangents([scalar], [b.const(1.0, dtypes.float64)], xs), strict=True)
    ]
    assert [(g.shape, g.dtype) for g in found] == [(x.shape, x.dtype) for x in xs]
    gradients = evaluate(found, given | dict(zip(xs, at, strict=True)))
    rng = np.random.default_rng(11)
    for which, (x, here, got) in enumerate(zip(xs, at, gradients, strict=True)):

        def function(moved: np.ndarray, x: Node = x) -> float:
            arrays = given | dict(zip(xs, at, strict=True)) | {x: moved}
            return float(evaluate([scalar], arrays)[0])

        # Random directions see an error in any element; a zero-dimensional x needs only one.
        for _ in range(min(here.size, 5)):
            direction = rng.choice([-1.0, 1.0], here.shape) * rng.uniform(0.3, 1.0, here.shape)
            expected = _derivative(function, here, direction)
            np.testing.assert_allclose(
                np.sum(got * direction), expected, rtol=1e-6, atol=1e-7, err_msg=f"source {which}"
            )
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name} {c.label}".strip())
def test_gradient(case):
    at = case.arrays()
    xs = inputs(*at)
    outs, given = case.build(xs)
    smooth = [out for out in outs if out.dtype.is_float]
    # The weights are inputs too, so that the second pass also differentiates by the cotangent.
    weights = [b.input(out.shape, dtypes.float64) for out in smooth]
    values = [distinct(w.shape, 50 + i, -1.0, 1.0) for i, w in enumerate(weights)]
    first = _compare(
        _total(smooth, weights), given | dict(zip(weights, values, strict=True)), xs, at
    )
    directions = [distinct(x.shape, 90 + i, -1.0, 1.0) for i, x in enumerate(xs)]
    aims = inputs(*directions)
    given = given | dict(zip(aims, directions, strict=True))
    _compare(_total(first, aims), given, [*xs, *weights], [*at, *values])


@pytest.mark.parametrize("name", sorted(WITHOUT_GRADIENT))
def test_no_gradient_flows(name):
    x = b.input((4,), dtypes.float32)
    whole = b.cast(x, dtypes.uint32)
    params: dict[str, Any] = {
        "bitcast": {"dtype": dtypes.uint32},
        "argmax": {"axis": 0},
        "argmin": {"axis": 0},
        "size": {"axes": (0,)},
        "window_argmax": {
            "window": (2,), "strides": (1,), "padding": ((0, 0),), "dilation": (1,)
        },
    }.get(name, {})  # fmt: skip
    if PRIMITIVES[name].family == "leaf":
        return
    count = {"threefry": 4}.get(name, 2 if name in _TWO else 1)
    source = whole if name in _WHOLE else x
    node = make(name, *[source] * count, **params)
    out = b.proj(node, 0) if name == "threefry" else node
    result = b.cast(out, dtypes.float32)
    assert cotangents([result], [b.like(result, 1)], [x]) == [None]


_TWO = {"floordiv", "gcd", "and", "or", "xor", "shl", "shr", "eq", "ne", "lt", "le"}
_WHOLE = {"gcd", "not", "and", "or", "xor", "shl", "shr", "threefry"}


def gradient(build: Callable[..., Node], *arrays: np.ndarray) -> list[np.ndarray]:
    """Gradients of the sum of `build(*inputs)`, zeros where none flows."""
    xs = inputs(*arrays)
    out = build(*xs)
    found = cotangents([out], [b.like(out, 1)], xs)
    nodes = [g if g is not None else b.like(x, 0) for x, g in zip(xs, found, strict=True)]
    return evaluate(nodes, dict(zip(xs, arrays, strict=True)))


@pytest.mark.parametrize(("name", "function"), [("max", jnp.maximum), ("min", jnp.minimum)])
def test_equal_operands_share(name, function):
    x, y = np.float32([1, 2, 2, 0.0, INF]), np.float32([1, 3, 1, -0.0, INF])
    got = gradient(lambda a, c: make(name, a, c), x, y)
    expected = jax.grad(lambda a, c: function(a, c).sum(), argnums=(0, 1))(x, y)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("name", "function"), [("max", jnp.max), ("min", jnp.min)])
def test_equal_extrema_share(name, function):
    x = np.float32([[1, 3, 3, 0], [1, 1, 1, 1], [0, 3, 2, -1]])
    (got,) = gradient(lambda a: make(f"reduce_{name}", a, axes=(1,)), x)
    expected = jax.grad(lambda a: function(a, axis=1).sum())(x)
    np.testing.assert_allclose(got, expected, rtol=1e-7)


def test_the_first_of_equal_elements_takes_a_windows_gradient():
    x = np.float32([[2, 2, 0, 1], [1, 2, 1, 1]])
    params = _window("max", (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    (got,) = gradient(lambda a: make("window_reduce", a, **params), x)
    np.testing.assert_array_equal(got, np.float32([[1, 0, 0, 1], [0, 0, 0, 0]]))


def test_pow_at_the_edges():
    x = np.float32([0, 0, 0, 2, -2, -2, 0])
    y = np.float32([0, 1, 2, 0, 2, 3, 0.5])
    got_x, _ = gradient(lambda a, c: make("pow", a, c), x, y)
    np.testing.assert_array_equal(got_x, np.float32([0, 1, 0, 0, -4, 12, INF]))
    _, got_y = gradient(lambda a, c: make("pow", a, c), x[:4], y[:4])
    # Where 0**y is 0 it stays 0; at 0**0 the logarithm is replaced, as in JAX.
    np.testing.assert_allclose(got_y, np.float32([0, 0, 0, np.log(2)]), rtol=1e-6)


def test_prod_with_zeros():
    x = np.float32([[2, 0, 3], [0, 0, 5], [2, 3, 4]])
    (got,) = gradient(lambda a: make("reduce_prod", a, axes=(1,)), x)
    np.testing.assert_array_equal(got, np.float32([[0, 6, 0], [0, 0, 0], [12, 8, 6]]))


def test_select_keeps_nan_of_the_other_side_out():
    # The usual guard: a safe input to the side that would be NaN, and the choice afterwards.
    x = np.float32([-1, 0, 4])

    def safe_sqrt(a: Node) -> Node:
        positive = b.lt(b.like(a, 0), a)
        root = make("sqrt", b.select(positive, a, b.like(a, 1)))
        return b.select(positive, root, b.like(a, 0))

    (got,) = gradient(safe_sqrt, x)
    np.testing.assert_array_equal(got, np.float32([0, 0, 0.25]))


def test_kinks_and_poles():
    for name, x, expected in [
        ("abs", [0.0, -0.0], [0, 0]),
        ("sqrt", [0.0], [INF]),
        ("log", [0.0], [INF]),
        ("tanh", [INF, -INF], [0, 0]),
        ("sigmoid", [INF, -INF], [0, 0]),
        ("erf", [INF], [0]),
        ("exp", [-INF], [0]),
    ]:
        (got,) = gradient(lambda a, name=name: make(name, a), np.float32(x))
        np.testing.assert_array_equal(got, np.float32(expected), err_msg=name)


def test_a_cast_through_integers_stops_the_gradient():
    x = b.input((2,), dtypes.float32)
    y = b.cast(b.cast(x, dtypes.int32), dtypes.float32)
    assert cotangents([y], [b.like(y, 1)], [x]) == [None]


def test_a_narrower_float_gets_a_cotangent_of_its_own_dtype():
    x = b.input((2,), dtypes.float16)
    y = b.cast(x, dtypes.float32)
    (g,) = cotangents([y], [b.like(y, 1)], [x])
    assert g is not None
    assert g.dtype is as_dtype("float16")


def test_a_source_used_twice_collects_both():
    x = np.float64([3.0])
    (got,) = gradient(lambda a: b.mul(b.mul(a, a), a), x)
    np.testing.assert_array_equal(got, [27.0])


def test_gradients_of_a_long_chain_need_no_recursion():
    x = b.input((), dtypes.float64)
    node = x
    for _ in range(20_000):
        node = b.add(node, x)
    (g,) = cotangents([node], [b.like(node, 1)], [x])
    assert evaluate([g], {x: np.float64(0)})[0] == 20_001


def test_a_cotangent_of_another_shape_is_refused():
    x = b.input((2,), dtypes.float32)
    with pytest.raises(ShapeError, match=r"float32 \[2\].*float32 \[3\]"):
        cotangents([b.neg(x)], [b.full((3,), 1, dtypes.float32)], [x])


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_second_derivative_of_prod_with_zeros(size, zeros):
    x = np.array([0.0] * min(zeros, size) + [1.5, -2.0, 0.5, 3.0, 1.25, 0.75])[:size]
    x = np.random.default_rng(size).permutation(x)
    (node,) = inputs(x)
    (first,) = cotangents(
        [make("reduce_prod", node, axes=(0,))], [b.const(1.0, dtypes.float64)], [node]
    )
    weight = inputs(np.zeros(size))[0]
    total = b.reduce("reduce_sum", b.mul(first, weight), (0,))
    (second,) = cotangents([total], [b.like(total, 1)], [node])
    # d/dx_j of the product without x_i is the product without both.
    others = np.array(
        [
            [0.0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(size)]
            for i in range(size)
        ]
    )
    for i in range(size):
        row = np.eye(size)[i]
        if second is None:
            assert size == 1
            continue
        got = evaluate([second], {node: x, weight: row})[0]
        np.testing.assert_allclose(got, others[i], rtol=1e-12, atol=1e-15)
