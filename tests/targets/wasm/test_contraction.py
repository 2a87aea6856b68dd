"""Contractions on wasmtime against NumPy: sizes around every tile, views, order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tabgrad.dtypes import as_dtype
from tabgrad.ir import build as b
from tabgrad.ir.graph import Node, make
from tests.targets.wasm.arrays import normal, whole_numbers
from tests.targets.wasm.computing import Given, compute, machine
from tests.targets.wasm.convolving import LAST, conv_case, convolve, first

EDGES = sorted({n + d for n in (4, 6, 8, 96) for d in (-1, 0, 1)} | {1, 2, 12, 24, 25})
LONG_EDGES = sorted({n + d for n in (512, 1024) for d in (-1, 0, 1)})


def dot(a, b_, contract=((1,), (0,)), batch=((), ())):
    return make("dot", a, b_, contract=contract, batch=batch)


def kinds(variant):
    """What the kernels of the last Program are."""
    return [kernel.kind for kernel in machine(variant)[1].kernels()]


def check_products(variant, sizes):
    """Products of whole numbers, each in all four transpositions, in one Program."""
    given, nodes, expected = Given(), [], []
    for m, n, k in sizes:
        x, y = whole_numbers(m, k, seed=m), whole_numbers(k, n, seed=n)
        xs, ys = (given(x), given(x.T.copy())), (given(y), given(y.T.copy()))
        for i, j in itertools.product((0, 1), repeat=2):
            nodes.append(dot(xs[i], ys[j], ((1 - i,), (j,))))
            expected.append(x.astype(np.float64) @ y.astype(np.float64))
    for got, true in zip(compute(nodes, given.arrays, variant), expected, strict=True):
        np.testing.assert_array_equal(got, true)


@pytest.mark.parametrize("m", EDGES)
def test_rows(variant, m):
    check_products(variant, [(m, 9, 70), (m, 33, 21)])


@pytest.mark.parametrize("n", EDGES)
def test_columns(variant, n):
    check_products(variant, [(9, n, 70), (1, n, 300), (33, n, 21)])


@pytest.mark.parametrize("k", EDGES)
def test_steps(variant, k):
    check_products(variant, [(9, 33, k), (26, 70, k)])


@pytest.mark.parametrize("size", LONG_EDGES)
def test_long(variant, size):
    check_products(variant, [(size, 9, 10), (9, size, 10), (9, 10, size)])


@pytest.mark.slow
@pytest.mark.parametrize("m", (3, 5, 7, 95, 97))
@pytest.mark.parametrize("n", (3, 4, 7, 8, 9, 17, 100))
def test_many_sizes(variant, m, n):
    check_products(variant, [(m, n, k) for k in (2, 3, 63, 65, 511, 513, 1025)])


def test_large_operands_are_packed(variant):
    """Past a quarter of a megabyte, B goes through panels."""
    x, y = whole_numbers(30, 300), whole_numbers(300, 401)
    given = Given()
    (got,) = compute([dot(given(x), given(y))], given.arrays, variant)
    np.testing.assert_array_equal(got, x.astype(np.float64) @ y)


EMPTY = [(0, 5, 6), (5, 0, 6), (5, 6, 0), (0, 0, 6), (0, 0, 0), (0, 90, 90), (90, 90, 0)]


@pytest.mark.parametrize(("m", "n", "k"), EMPTY)
def test_empty(variant, m, n, k):
    given = Given()
    x, y = given(whole_numbers(m, k)), given(whole_numbers(k, n))
    (got,) = compute([b.add(dot(x, y), b.full((m, n), 1, as_dtype("float32")))], given.arrays)
    np.testing.assert_array_equal(got, np.ones((m, n)))


def test_empty_axes_beside_long_ones(variant):
    """However large the other axes are: nothing is written, and empty sums are 0."""
    given = Given()
    x, y = given(whole_numbers(9, 0, 70)), given(whole_numbers(40, 70))
    z, w = given(whole_numbers(9, 70, 0)), given(whole_numbers(70, 0, 90))
    nodes = [dot(x, y, ((2,), (1,))), dot(z, w, ((1, 2), (0, 1)))]
    for got, node in zip(compute(nodes, given.arrays, variant), nodes, strict=True):
        np.testing.assert_array_equal(got, np.zeros(node.shape))


# Operands that are views


def moved(node: Node, name: str) -> Node:
    """A (rows, columns) view, without copying, of what another name would be too."""
    rows, columns = node.shape
    if name == "flip":
        return make("flip", node, axes=(1,))
    if name == "flip both":
        return make("flip", node, axes=(0, 1))
    if name == "step":
        return make("slice", node, start=(0, 1), stop=(rows, columns), step=(1, 2))
    if name == "steps of rows":
        return make("slice", node, start=(1, 0), stop=(rows, columns), step=(2, 1))
    if name == "pad":
        return make("pad", node, b.const(0.0, node.dtype), low=(0, 1), high=(0, 2), interior=(0, 0))
    if name == "pad with 3":
        return make("pad", node, b.const(3.0, node.dtype), low=(1, 1), high=(1, 0), interior=(0, 0))
    if name == "holes":
        return make("pad", node, b.const(0.0, node.dtype), low=(0, 0), high=(0, 0), interior=(1, 1))
    if name == "crop":
        return make(
            "pad", node, b.const(0.0, node.dtype), low=(0, -3), high=(-1, -1), interior=(0, 0)
        )
    if name == "broadcast rows":
        one = make("slice", node, start=(1, 0), stop=(2, columns), step=(1, 1))
        return b.broadcast(one, (rows, columns), (0, 1))
    if name == "broadcast columns":
        one = make("slice", node, start=(0, 1), stop=(rows, 2), step=(1, 1))
        return b.broadcast(one, (rows, columns), (0, 1))
    if name == "regrouped":
        return b.reshape(b.permute(b.reshape(node, (rows, 4, columns // 4)), (0, 2, 1)), node.shape)
    if name == "turned":
        return b.reshape(b.permute(node, (1, 0)), (rows, columns))
    if name == "concatenated":
        half = make("slice", node, start=(0, 0), stop=(rows, columns // 2), step=(1, 1))
        return make("concatenate", half, half, half, axis=1)
    assert name == "plain"
    return node


VIEWS = (
    "plain", "flip", "flip both", "step", "steps of rows", "pad", "pad with 3", "holes", "crop",
    "broadcast rows", "broadcast columns", "regrouped", "turned", "concatenated",
)  # fmt: skip


def numbers(node: Node, arrays: dict[Node, Any]) -> Any:
    """The value of a view, by the reference's rules for movement."""
    from tabgrad.engines.reference import evaluate

    return evaluate([node], arrays)[0].astype(np.float64)


@pytest.mark.parametrize("name", VIEWS)
def test_views(variant, name):
    """Both operands of products are views of the same kind, in every orientation."""
    given, nodes, expected = Given(), [], []
    for rows, columns in ((14, 16), (40, 100)):
        x = moved(given(whole_numbers(rows, columns)), name)
        y = moved(given(whole_numbers(rows, columns, seed=1)), name)
        for axis in (0, 1):
            nodes.append(dot(x, y, ((axis,), (axis,))))
            a, c = numbers(x, given.arrays), numbers(y, given.arrays)
            expected.append(a @ c.T if axis else a.T @ c)
    for got, true in zip(compute(nodes, given.arrays, variant), expected, strict=True):
        np.testing.assert_array_equal(got, true)


BATCHED = [
    # (a shape, b shape, contract, batch, einsum)
    ((5, 9, 10), (5, 10, 12), ((2,), (1,)), ((0,), (0,)), "bmk,bkn->bmn"),
    ((9, 5, 10), (10, 12, 5), ((2,), (0,)), ((1,), (2,)), "mbk,knb->bmn"),
    ((2, 3, 20, 8), (2, 3, 20, 8), ((3,), (3,)), ((0, 1), (0, 1)), "bhqd,bhkd->bhqk"),
    ((2, 20, 3, 8), (2, 20, 3, 8), ((3,), (3,)), ((0, 2), (0, 2)), "bqhd,bkhd->bhqk"),
    ((2, 3, 20, 20), (2, 20, 3, 8), ((3,), (1,)), ((0, 1), (0, 2)), "bhqk,bkhd->bhqd"),
    ((4, 6, 50), (6, 50, 33), ((1, 2), (0, 1)), ((), ()), "mij,ijn->mn"),
    ((6, 4, 50), (50, 33, 6), ((0, 2), (2, 0)), ((), ()), "imj,jni->mn"),
    ((3, 4, 60), (60, 5, 7), ((2,), (0,)), ((), ()), "apk,kbq->apbq"),
    ((1, 1, 70), (1, 70, 40), ((2,), (1,)), ((0,), (0,)), "bmk,bkn->bmn"),
    ((70,), (70, 40), ((0,), (0,)), ((), ()), "k,kn->n"),
    ((40, 70), (70,), ((1,), (0,)), ((), ()), "mk,k->m"),
    ((5000,), (5000,), ((0,), (0,)), ((), ()), "k,k->"),
    ((60,), (70,), ((), ()), ((), ()), "m,n->mn"),
    ((300, 9), (300, 9), ((), ()), ((0, 1), (0, 1)), "ab,ab->ab"),
    ((7, 300), (7, 300), ((1,), (1,)), ((0,), (0,)), "bk,bk->b"),
]


@pytest.mark.parametrize("case", BATCHED, ids=lambda case: case[4])
def test_batches_and_several_axes(variant, case):
    x_shape, y_shape, contract, batch, formula = case
    x, y = whole_numbers(*x_shape, seed=1), whole_numbers(*y_shape, seed=2)
    given = Given()
    (got,) = compute([dot(given(x), given(y), contract, batch)], given.arrays, variant)
    np.testing.assert_array_equal(got, np.einsum(formula, x.astype(np.float64), y))


@pytest.mark.parametrize("broadcast", ["a", "b"])
def test_a_batch_shares_an_operand(variant, broadcast):
    """One operand is the same for the whole batch, as a broadcast."""
    given = Given()
    x = whole_numbers(*((1, 20, 30) if broadcast == "a" else (6, 20, 30)))
    y = whole_numbers(*((6, 30, 40) if broadcast == "a" else (1, 30, 40)))
    nodes = [b.broadcast(given(v), (6, *v.shape[1:]), (0, 1, 2)) for v in (x, y)]
    node = dot(*nodes, ((2,), (1,)), ((0,), (0,)))
    (got,) = compute([node], given.arrays, variant)
    np.testing.assert_array_equal(got, x.astype(np.float64) @ y)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int8", "uint8", "int16", "uint16"])
def test_integers_wrap(dtype):
    rng, info = np.random.default_rng(0), np.iinfo(dtype)
    x, y = (rng.integers(info.min, info.max, s, dtype, True) for s in ((20, 33), (33, 17)))
    given = Given()
    (got,) = compute([dot(given(x), given(y))], given.arrays)
    np.testing.assert_array_equal(got, x @ y)


@pytest.mark.parametrize("rows", [1, 4, 40])
def test_what_follows_is_one_kernel(variant, rows):
    """Bias, activation, a residual and a reshape run on the tile, whatever its shape."""
    given = Given()
    x, w = normal(rows, 50), normal(50, 45, seed=1)
    bias, residual = normal(45, seed=2), normal(rows, 45, seed=3)
    full = b.add(dot(given(x), given(w)), b.broadcast(given(bias), (rows, 45), (1,)))
    relu = make("max", full, b.full((rows, 45), 0, full.dtype))
    total = b.reshape(b.mul(b.add(relu, given(residual)), b.full((rows, 45), 2, full.dtype)),
                      (rows, 5, 9))  # fmt: skip
    (got,) = compute([total], given.arrays, variant)
    assert len(machine(variant)[1].kernels()) == 1
    true = 2 * (np.maximum(x.astype(np.float64) @ w + bias, 0) + residual)
    np.testing.assert_allclose(got, true.reshape(rows, 5, 9), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", ["dense", "batched", "image", "channels first"])
def test_residuals_lie_in_any_order(variant, shape):
    """What the epilogue reads beside the tile is permuted, flipped, padded or one row of many."""
    given = Given()
    if shape == "dense":
        x, y = whole_numbers(9, 10, 21), whole_numbers(21, 13)
        product = dot(given(x), given(y), ((2,), (0,)))
        true = x.astype(np.float64) @ y
    elif shape == "batched":
        x, y = whole_numbers(3, 11, 21), whole_numbers(3, 21, 13)
        product = dot(given(x), given(y), ((2,), (1,)), ((0,), (0,)))
        true = x.astype(np.float64) @ y
    else:
        dims = LAST[2] if shape == "image" else first(2)
        sizes = ((2, 8, 7, 5), (3, 3, 5, 6)) if shape == "image" else ((2, 5, 8, 7), (6, 5, 3, 3))
        case = conv_case(*sizes, dims=dims, padding=((1, 1), (1, 1)))
        x, y = whole_numbers(*case[0]), whole_numbers(*case[1])
        product = make("conv", given(x), given(y), **case[2])
        true = convolve(x, y, case[2])
    nodes, expected = [], []
    for axes in itertools.permutations(range(true.ndim)):
        z = whole_numbers(*(true.shape[a] for a in axes), seed=7)
        back = tuple(int(i) for i in np.argsort(axes))
        nodes.append(b.add(product, b.permute(given(z), back)))
        expected.append(true + z.transpose(back))
    z = whole_numbers(*true.shape, seed=8)
    ones = (1,) * true.ndim
    row = whole_numbers(*true.shape[:1], *ones[1:], seed=9)
    cut = tuple(n - 1 for n in true.shape)
    part = whole_numbers(*cut, seed=10)
    views = [
        (make("flip", given(z), axes=tuple(range(true.ndim))), np.flip(z)),
        (b.broadcast(given(row), true.shape, tuple(range(true.ndim))), row),
        (make("pad", given(part), b.const(2.0, product.dtype), low=(0,) * true.ndim, high=ones,
              interior=(0,) * true.ndim),
         np.pad(part, [(0, 1)] * true.ndim, constant_values=2)),
    ]  # fmt: skip
    for view, array in views:
        nodes.append(b.mul(view, product))
        expected.append(array * true)
    # Each in a Program of its own, or the product would be stored once for all.
    for node, right in zip(nodes, expected, strict=True):
        (got,) = compute([node], given.arrays, variant)
        np.testing.assert_array_equal(got, right)
        assert "contract" in kinds(variant)


# Order


def in_order(a, c, fused):
    """Products added one after the other in float32."""
    total = np.zeros((a.shape[0], c.shape[1]), np.float32)
    for k in range(a.shape[1]):
        if fused:
            product = np.multiply.outer(a[:, k].astype(np.longdouble), c[k].astype(np.longdouble))
            total = (total + product).astype(np.float32)
        else:
            total = total + np.multiply.outer(a[:, k], c[k])
    return total


@pytest.mark.parametrize(("m", "n", "k"), [(7, 13, 100), (97, 33, 600), (5, 40, 1500), (1, 50, 99)])
def test_sums_run_in_the_order_of_k(variant, m, n, k):
    x, y = normal(m, k, seed=1), normal(k, n, seed=2)
    given = Given()
    (got,) = compute([dot(given(x), given(y))], given.arrays, variant)
    np.testing.assert_array_equal(got, in_order(x, y, variant == "fma"))


def test_blocks_of_steps_keep_the_order(variant):
    """A view that has to be packed, longer than one block: sums wait in memory between blocks."""
    x, y = normal(3, 1700, 7, seed=1), normal(1700, 21, seed=2)
    given = Given()
    padded = make(
        "pad", given(x), b.const(0.0, as_dtype("float32")),
        low=(0, 30, 0), high=(0, 0, 0), interior=(0, 0, 0),
    )  # fmt: skip
    rows = make("concatenate", given(normal(30, 21, seed=3)), given(y), axis=0)
    (got,) = compute([dot(padded, rows, ((1,), (0,)))], given.arrays, variant)
    assert "contract" in kinds(variant)
    flat = np.concatenate([np.zeros((3, 30, 7), np.float32), x], 1)
    flat = flat.transpose(0, 2, 1).reshape(21, 1730)
    all_rows = np.concatenate([normal(30, 21, seed=3), y])
    true = in_order(flat, all_rows, variant == "fma").reshape(3, 7, 21)
    np.testing.assert_array_equal(got, true)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 10, 33])
@pytest.mark.parametrize("k", [3, 10, 64, 600])
def test_a_row_is_the_same_in_any_batch(variant, n, k):
    """Small products are reductions and large ones tiles; both add in the order of k."""
    x, w = normal(40, k, seed=1), normal(k, n, seed=2)
    true = in_order(x, w, variant == "fma")
    for rows in (1, 2, 5, 33, 40):
        given = Given()
        xs, ws, turned = given(x[:rows]), given(w), given(w.T.copy())
        nodes = [dot(xs, ws), dot(xs, turned, ((1,), (1,))), dot(ws, xs, ((0,), (1,)))]
        expected = (true[:rows], true[:rows], true[:rows].T)
        for got, part in zip(compute(nodes, given.arrays, variant), expected, strict=True):
            np.testing.assert_array_equal(got, part)


@pytest.mark.parametrize("features", [1, 2, 5])
def test_an_image_is_the_same_in_any_batch(variant, features):
    x, w = normal(5, 7, 6, 3, seed=1), normal(3, 3, 3, features, seed=2)
    results = []
    for rows in (1, 2, 5):
        given = Given()
        case = conv_case((rows, 7, 6, 3), w.shape, padding=((1, 1), (1, 1)))
        node = make("conv", given(x[:rows]), given(w), **case[2])
        results.append(compute([node], given.arrays, variant)[0])
    for got in results:
        np.testing.assert_array_equal(got, results[-1][: len(got)])


def test_a_single_feature_does_not_unfold_the_image():
    """The image is packed strip by strip, never all of its windows at once."""
    given = Given()
    case = conv_case((4, 40, 40, 16), (3, 3, 16, 1), padding=((1, 1), (1, 1)))
    x, w = whole_numbers(*case[0]), whole_numbers(*case[1], seed=1)
    (got,) = compute([make("conv", given(x), given(w), **case[2])], given.arrays)
    np.testing.assert_array_equal(got, convolve(x, w, case[2]))
    (plan,) = machine("fma")[1].plans
    # The image gets a border of zeros; unfolded it would be nine times as large.
    assert plan.arena < x.nbytes * 1.25


def test_values_that_are_no_numbers(variant):
    """NaN and infinities stay in their row and column: padding does not spread them."""
    x, y = whole_numbers(30, 50), whole_numbers(50, 37)
    x[3, 4], x[7, 9], y[5, 6] = np.nan, np.inf, -np.inf
    given = Given()
    (got,) = compute([dot(given(x), given(y))], given.arrays, variant)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got, x.astype(np.float64) @ y)
