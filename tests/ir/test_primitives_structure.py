"""The reference's rules of the primitives that have structure, against jax.lax and plain loops.

On small whole numbers float32 is exact, so any difference is an error and not rounding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tabgrad import dtypes
from tabgrad.engines.reference import evaluate
from tabgrad.ir import build as b
from tabgrad.ir.graph import Graph, make
from tests.ir.running import conv, identical, outputs, run, run_all

INF, NAN = np.inf, np.nan
INTEGERS = [d.name for d in dtypes.ALL if d.is_integer]
FLOATS = ["float16", "float32", "float64"]


def whole(shape, seed=0, low=-8, high=9, dtype="float32"):
    """Small whole numbers: sums and products of them are exact in float32."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_const_and_array_and_iota(dtype):
    (value,) = outputs(b.const(1, dtype), [], [])
    identical(value, np.array(1, dtype.name))
    content = np.array([[0, 1, 1], [1, 0, 1]], dtype.name)
    node = make("array", data=content.tobytes(), shape=(2, 3), dtype=dtype)
    identical(outputs(node, [], [])[0], content)
    if dtype is not dtypes.bool_:
        expected = np.broadcast_to(np.arange(3).reshape(1, 3, 1), (2, 3, 4)).astype(dtype.name)
        identical(outputs(b.iota((2, 3, 4), 1, dtype), [], [])[0], expected)


def test_reshape_permute_flip():
    x = whole((2, 3, 4))
    identical(run("reshape", x, shape=(4, 6)), x.reshape(4, 6))
    identical(run("reshape", x[:, :0], shape=(0, 7)), np.zeros((0, 7), np.float32))
    identical(run("permute", x, axes=(2, 0, 1)), np.asarray(lax.transpose(x, (2, 0, 1))))
    identical(run("flip", x, axes=(0, 2)), np.asarray(lax.rev(x, (0, 2))))


@pytest.mark.parametrize(
    ("old", "shape", "dims"),
    [
        ((), (2, 3), ()),
        ((3,), (2, 3), (1,)),
        ((2,), (2, 3), (0,)),
        ((1, 3), (2, 3, 4), (0, 1)),
        ((2, 1), (2, 3, 4), (0, 2)),
        ((1,), (0,), (0,)),
    ],
)
def test_broadcast(old, shape, dims):
    x = whole(old)
    expected = lax.broadcast_in_dim(x, shape, dims)
    identical(run("broadcast", x, shape=shape, dims=dims), np.asarray(expected))


@pytest.mark.parametrize(
    "config",
    [
        ((0, 0, 0), (1, 2, 0)),
        ((1, 2, 1), (-1, 0, 2)),
        ((-2, -1, 0), (0, 0, 3)),
        ((-1, -1, 2), (-2, 3, 1)),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4), (1, 2), (5, 5)])
def test_pad(config, shape):
    # `config` is (low, high, interior) of the two axes.
    x = whole(shape)
    low, high, interior = zip(*config, strict=True)
    if any(
        n + max(n - 1, 0) * i + lo + hi < 0 for n, (lo, hi, i) in zip(shape, config, strict=True)
    ):
        return
    fill = np.float32(-3)
    got = run("pad", x, fill, low=low, high=high, interior=interior)
    identical(got, np.asarray(lax.pad(x, fill, config)))


def test_slice():
    x = whole((7, 6))
    got = run("slice", x, start=(1, 0), stop=(7, 5), step=(3, 2))
    identical(got, np.asarray(lax.slice(x, (1, 0), (7, 5), (3, 2))))
    identical(run("slice", x, start=(2, 3), stop=(2, 6), step=(1, 1)), x[2:2, 3:6])


def test_concatenate():
    parts = [whole((2, n, 3), seed=n) for n in (1, 0, 4)]
    identical(run("concatenate", *parts, axis=1), np.concatenate(parts, axis=1))


@pytest.mark.parametrize("starts", [(0, 0), (1, 2), (5, -4), (-1, 100), (2**31 - 1, -(2**31))])
def test_run_time_slices_are_clamped(starts):
    # lax counts a negative start from the end before clamping; here it is just too small.
    x, update = whole((5, 6)), whole((2, 3), seed=1)
    at = [np.int32(s) for s in starts]
    inside = [min(max(s, 0), n - k) for s, n, k in zip(starts, (5, 6), (2, 3), strict=True)]
    identical(
        run("dynamic_slice", x, *at, sizes=(2, 3)), np.asarray(lax.dynamic_slice(x, inside, (2, 3)))
    )
    identical(
        run("dynamic_update_slice", x, update, *at),
        np.asarray(lax.dynamic_update_slice(x, update, inside)),
    )


AXES = [(0,), (1,), (2,), (0, 2), (0, 1, 2)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
def test_reductions(axes, dtype):
    x = whole((3, 4, 5), low=0 if dtype[0] in "ub" else -2, high=3, dtype=dtype)
    wide = x.astype(object) if dtype != "bool" else x
    d = dtypes.as_dtype(dtype)
    wrapped = np.vectorize(lambda v: dtypes.wrap(v, d), otypes=[dtype])
    identical(run("reduce_max", x, axes=axes), np.asarray(np.max(x, axis=axes)))
    identical(run("reduce_min", x, axes=axes), np.asarray(np.min(x, axis=axes)))
    if dtype != "bool":
        identical(run("reduce_sum", x, axes=axes), wrapped(np.sum(wide, axis=axes)))
        identical(run("reduce_prod", x, axes=axes), wrapped(np.prod(wide, axis=axes)))


def test_reductions_of_nothing_give_the_identity():
    x = np.zeros((2, 0), np.float32)
    for name, identity in [("sum", 0), ("prod", 1)]:
        identical(run(f"reduce_{name}", x, axes=(1,)), np.full(2, identity, np.float32))
    t = np.zeros((2, 0), bool)
    identical(run("reduce_max", t, axes=(1,)), np.array([False, False]))
    identical(run("reduce_min", t, axes=(1,)), np.array([True, True]))


def test_reductions_propagate_nan():
    x = np.float32([[1, NAN, 3], [1, 2, 3], [INF, -INF, 0]])
    identical(run("reduce_max", x, axes=(1,)), np.float32([NAN, 3, INF]))
    identical(run("reduce_min", x, axes=(1,)), np.float32([NAN, 1, -INF]))
    identical(run("reduce_sum", x, axes=(1,)), np.float32([NAN, 6, NAN]))


def test_sums_are_accumulated_in_float64():
    x = np.float32([1e8, 1, -1e8, 1] * 100)
    assert run("reduce_sum", x, axes=(0,)) == 200
    assert run("dot", x, np.ones(400, np.float32), contract=((0,), (0,)), batch=((), ())) == 200


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float32"])
@pytest.mark.parametrize("axis", [0, 1])
def test_argmax_takes_the_first(axis, dtype):
    x = whole((6, 7), low=0, high=3, dtype=dtype)
    numbers = x.astype(np.int64)
    first_max = np.apply_along_axis(lambda v: list(v).index(max(v)), axis, numbers)
    first_min = np.apply_along_axis(lambda v: list(v).index(min(v)), axis, numbers)
    identical(run("argmax", x, axis=axis), first_max.astype(np.int32))
    identical(run("argmin", x, axis=axis), first_min.astype(np.int32))


def test_argmax_finds_the_first_nan():
    x = np.float32([[1, NAN, NAN], [INF, 2, NAN], [-INF, -INF, -INF], [0.0, -0.0, -1]])
    identical(run("argmax", x, axis=1), np.int32([1, 2, 0, 0]))
    identical(run("argmin", x, axis=1), np.int32([1, 2, 0, 2]))


def test_size():
    identical(run("size", whole((2, 3, 5)), axes=(0, 2)), np.int32(10))


WINDOWS = [
    ((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((2, 3), (2, 2), ((1, 0), (1, 1)), (1, 1)),
    ((3, 1), (1, 3), ((2, 2), (0, 0)), (2, 1)),
    ((2, 2), (3, 2), ((0, 1), (3, 0)), (2, 3)),
    ((6, 7), (1, 1), ((0, 0), (0, 0)), (1, 1)),
]


@pytest.mark.parametrize(("window", "strides", "padding", "dilation"), WINDOWS)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_window_reduce(window, strides, padding, dilation, dtype):
    x = whole((6, 7), dtype=dtype)
    low = -np.inf if dtype == "float32" else np.iinfo(dtype).min
    high = np.inf if dtype == "float32" else np.iinfo(dtype).max
    for op, function, start in [("sum", lax.add, 0), ("max", lax.max, low), ("min", lax.min, high)]:
        expected = lax.reduce_window(
            x, np.array(start, dtype), function, window, strides, padding, (1, 1), dilation
        )
        got = run(
            "window_reduce",
            x,
            op=op,
            window=window,
            strides=strides,
            padding=padding,
            dilation=dilation,
        )
        identical(got, np.asarray(expected))


@pytest.mark.parametrize(("window", "strides", "padding", "dilation"), WINDOWS)
def test_window_argmax(window, strides, padding, dilation):
    x = whole((6, 7), high=0)
    x[2, 3], x[4, 4] = NAN, -INF
    got = run(
        "window_argmax", x, window=window, strides=strides, padding=padding, dilation=dilation
    )
    for out in np.ndindex(got.shape):
        best = None
        for at in np.ndindex(*window):
            place = [
                o * s - lo + p * d
                for o, s, (lo, _), p, d in zip(out, strides, padding, at, dilation, strict=True)
            ]
            if not all(0 <= i < n for i, n in zip(place, x.shape, strict=True)):
                continue
            value = x[tuple(place)]
            if best is None or value > best[0] or (np.isnan(value) and not np.isnan(best[0])):
                best = value, np.ravel_multi_index(place, x.shape)
        if best is not None:
            assert got[out] == best[1], out


DOTS = [
    ((3, 4), (4, 5), ((1,), (0,)), ((), ())),
    ((3, 4), (5, 4), ((1,), (1,)), ((), ())),
    ((4,), (4,), ((0,), (0,)), ((), ())),
    ((3,), (4,), ((), ()), ((), ())),
    ((), (4,), ((), ()), ((), ())),
    ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
    ((3, 2, 4, 6), (6, 5, 4, 2), ((2, 3), (2, 0)), ((1,), (3,))),
    ((2, 3, 4, 5), (5, 3, 2, 7), ((3,), (0,)), ((1, 0), (1, 2))),
    ((0, 4), (4, 5), ((1,), (0,)), ((), ())),
    ((3, 0), (0, 5), ((1,), (0,)), ((), ())),
]


@pytest.mark.parametrize(("a", "c", "contract", "batch"), DOTS)
@pytest.mark.parametrize("dtype", ["float32", "int32", "int8"])
def test_dot(a, c, contract, batch, dtype):
    x, y = whole(a, dtype=dtype), whole(c, seed=1, dtype=dtype)
    expected = lax.dot_general(x, y, (contract, batch))
    identical(run("dot", x, y, contract=contract, batch=batch), np.asarray(expected))


CONVS = {
    "plain": {"x": (2, 3, 6, 7), "w": (5, 3, 2, 3)},
    "strides": {"x": (2, 3, 6, 7), "w": (5, 3, 2, 3), "strides": (2, 3)},
    "padding": {"x": (1, 3, 4, 5), "w": (2, 3, 3, 3), "padding": ((1, 1), (0, 2))},
    "negative padding": {"x": (1, 3, 6, 7), "w": (2, 3, 2, 2), "padding": ((-1, 0), (2, -2))},
    "lhs dilation": {"x": (2, 2, 3, 4), "w": (3, 2, 2, 2), "lhs_dilation": (2, 3)},
    "rhs dilation": {"x": (2, 2, 7, 8), "w": (3, 2, 2, 3), "rhs_dilation": (3, 2)},
    "all": {
        "x": (2, 4, 5, 6),
        "w": (6, 2, 2, 3),
        "strides": (2, 1),
        "padding": ((1, 2), (3, 0)),
        "lhs_dilation": (2, 1),
        "rhs_dilation": (1, 2),
        "groups": 2,
    },
    "depthwise": {"x": (2, 4, 5, 6), "w": (8, 1, 3, 3), "groups": 4, "padding": ((1, 1), (1, 1))},
    "batch groups": {"x": (6, 2, 5, 5), "w": (3, 2, 2, 2), "batch_groups": 3},
    "batch groups 2": {
        "x": (4, 3, 5, 4),
        "w": (6, 3, 3, 2),
        "batch_groups": 2,
        "rhs_dilation": (2, 1),
    },
    "1d": {"x": (2, 3, 9), "w": (4, 3, 3), "strides": (2,), "padding": ((2, 1),)},
    "3d": {"x": (1, 2, 4, 3, 5), "w": (2, 2, 2, 2, 2), "padding": ((1, 0), (0, 1), (1, 1))},
    "0d": {"x": (3, 4), "w": (5, 4)},
    "one left": {"x": (2, 3, 4, 7), "w": (5, 3, 4, 7)},
    "no rows": {"x": (0, 3, 4, 4), "w": (5, 3, 2, 2)},
}


@pytest.mark.parametrize("layout", ["first", "last", "odd"])
@pytest.mark.parametrize("case", CONVS)
def test_conv(case, layout):
    options = dict(CONVS[case])
    x, w = whole(options.pop("x")), whole(options.pop("w"), seed=1)
    rank = x.ndim - 2
    ident = tuple(range(x.ndim))
    last = (0, x.ndim - 1, *range(1, x.ndim - 1))
    specs = {
        "first": (ident, ident, ident),
        "last": (last, (x.ndim - 1, x.ndim - 2, *range(rank)), last),
        "odd": (ident[::-1], (*ident[1:], 0), (*ident[2:], 1, 0)),
    }[layout]
    x_shaped = x.transpose(np.argsort(specs[0]))
    w_shaped = w.transpose(np.argsort(specs[1]))
    full = conv(rank, dims=specs, **options)
    expected = lax.conv_general_dilated(
        x_shaped,
        w_shaped,
        full["strides"],
        full["padding"],
        full["lhs_dilation"],
        full["rhs_dilation"],
        lax.ConvDimensionNumbers(*specs),
        feature_group_count=full["groups"],
        batch_group_count=full["batch_groups"],
    )
    identical(run("conv", x_shaped, w_shaped, **full), np.asarray(expected))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
def test_gather_clamps(axis, shape):
    x = whole((3, 4, 5))
    index = np.random.default_rng(1).integers(-3, 8, shape).astype(np.int32)
    expected = jnp.take(x, jnp.clip(index, 0, x.shape[axis] - 1), axis=axis)
    identical(run("gather", x, index, axis=axis), np.asarray(expected))


@pytest.mark.parametrize("op", ["set", "add", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (0,)])
def test_scatter_drops_and_repeats_in_order(axis, shape, op):
    x = whole((3, 4, 5))
    index = np.random.default_rng(1).integers(-2, 6, shape).astype(np.int32)
    update = whole((*x.shape[:axis], *shape, *x.shape[axis + 1 :]), seed=2)
    expected = np.moveaxis(x.copy(), axis, 0)
    parts = np.moveaxis(update, tuple(range(axis, axis + len(shape))), tuple(range(len(shape))))
    for at in np.ndindex(shape):
        place = int(index[at])
        if not 0 <= place < expected.shape[0]:
            continue
        old, new = expected[place].copy(), parts[at]
        expected[place] = {
            "set": new,
            "add": old + new,
            "max": np.maximum(old, new),
            "min": np.minimum(old, new),
        }[op]
    got = run("scatter", x, index, update, axis=axis, op=op)
    identical(got, np.moveaxis(expected, 0, axis))
    if shape == (6,) and axis == 0:
        where = jnp.where((index < 0) | (index > 2), 99, index)
        jax_way = getattr(jnp.asarray(x).at[where], op)(update, mode="drop")
        if op != "set":  # the order of repeated `set` is unspecified in JAX
            identical(got, np.asarray(jax_way))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse):
    factor, carry, x = (
        b.input((), dtypes.float32),
        b.input((3,), dtypes.float32),
        b.input((3,), dtypes.float32),
    )
    spread = b.broadcast(factor, (3,), ())
    new = b.add(b.mul(carry, spread), x)
    body = Graph([factor, carry, x], [new, b.make("reduce_sum", new, axes=(0,))])
    start, xs, k = whole((3,)), whole((5, 3), seed=1), np.float32(0.5)
    got = run_all("scan", k, start, xs, body=body, n_const=1, n_carry=1, length=5, reverse=reverse)

    def step(c, row):
        c = c * k + row
        return c, c.sum()

    expected = lax.scan(step, jnp.asarray(start), jnp.asarray(xs), reverse=reverse)
    for mine, theirs in zip(got, jax.tree.leaves(expected), strict=True):
        identical(mine, np.asarray(theirs))


def test_a_scan_with_one_output_is_read_directly():
    carry = b.input((2,), dtypes.float32)
    body = Graph([carry], [b.add(carry, carry)])
    start = b.input((2,), dtypes.float32)
    node = make("scan", start, body=body, n_const=0, n_carry=1, length=3, reverse=False)
    given = {start: whole((2,))}
    (got,) = evaluate([b.neg(node)], given)
    identical(got, -8 * given[start])


def test_scan_without_steps_returns_the_carry():
    carry = b.input((2,), dtypes.float32)
    body = Graph([carry], [b.add(carry, carry), carry])
    start = whole((2,))
    got = run_all("scan", start, body=body, n_const=0, n_carry=1, length=0, reverse=False)
    identical(got[0], start)
    identical(got[1], np.zeros((0, 2), np.float32))
