"""Properties of functions that arrange, join, order and map elements: the results are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tabgrad as tg
from tests.ops.properties import FEW, counting

pytestmark = pytest.mark.usefixtures("reference")

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)
ANY_SIZE = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)


def same(mine: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(np.asarray(mine), theirs)


@FEW
@given(st.data(), SHAPES, st.sampled_from(["constant", "reflect", "symmetric"]))
def test_pad(data: Any, shape: tuple[int, ...], mode: str) -> None:
    x = counting(shape)
    # NumPy reflects several times where a width is larger than the array.
    largest = [n - 1 if mode == "reflect" else n for n in shape]
    width = [tuple(data.draw(st.integers(0, n)) for _ in range(2)) for n in largest]
    same(tg.pad(tg.tensor(x), width, mode=mode), np.pad(x, width, mode=mode))


@FEW
@given(st.data(), ANY_SIZE)
def test_split_and_join(data: Any, shape: tuple[int, ...]) -> None:
    x = counting(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    edges = sorted(data.draw(st.lists(st.integers(0, shape[axis]), max_size=3)))
    parts = tg.split(tg.tensor(x), edges, axis=axis)
    for mine, theirs in zip(parts, np.split(x, edges, axis=axis), strict=True):
        same(mine, theirs)
    same(tg.concat(parts, axis=axis), x)
    count = data.draw(st.integers(1, 6))
    wanted = np.array_split(x, count, axis=axis)
    for mine, theirs in zip(tg.ops.array_split(tg.tensor(x), count, axis), wanted, strict=True):
        same(mine, theirs)


@FEW
@given(st.data(), ANY_SIZE)
def test_repetition(data: Any, shape: tuple[int, ...]) -> None:
    x = counting(shape)
    times = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    same(tg.tile(tg.tensor(x), times), np.tile(x, times))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    size = x.size if axis is None else shape[axis]
    each = data.draw(st.integers(0, 3) | hnp.arrays(np.int32, (size,), elements=st.integers(0, 2)))
    same(tg.repeat(tg.tensor(x), each, axis=axis), np.repeat(x, each, axis=axis))


@FEW
@given(st.data(), SHAPES)
def test_axes(data: Any, shape: tuple[int, ...]) -> None:
    x = counting(shape)
    t = tg.tensor(x)
    one, other = (data.draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
    same(tg.swapaxes(t, one, other), x.swapaxes(one, other))
    same(tg.moveaxis(t, one, other), np.moveaxis(x, one, other))
    new = data.draw(st.integers(-x.ndim - 1, x.ndim))
    same(tg.squeeze(tg.expand_dims(t, axis=new), axis=new), x)
    if x.ndim > 1 and one % x.ndim != other % x.ndim:
        turns = data.draw(st.integers(-5, 5))
        same(tg.ops.rot90(t, turns, (one, other)), np.rot90(x, turns, (one, other)))
        offset = data.draw(st.integers(-6, 6))
        same(tg.ops.diagonal(t, offset, one, other), x.diagonal(offset, one, other))


@FEW
@given(st.data(), SHAPES)
def test_taking(data: Any, shape: tuple[int, ...]) -> None:
    x = counting(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = shape[axis]
    where = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    indices = data.draw(hnp.arrays(np.int32, where, elements=st.integers(-n, n - 1)))
    same(tg.take(tg.tensor(x), tg.tensor(indices), axis=axis), np.take(x, indices, axis=axis))
    along = list(shape)
    along[axis] = data.draw(st.integers(0, 4))
    indices = data.draw(hnp.arrays(np.int32, along, elements=st.integers(-n, n - 1)))
    same(
        tg.take_along_axis(tg.tensor(x), tg.tensor(indices), axis=axis),
        np.take_along_axis(x, indices, axis=axis),
    )


@FEW
@given(st.data(), ANY_SIZE)
def test_order(data: Any, shape: tuple[int, ...]) -> None:
    x = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-5, 5)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = tg.tensor(x)
    same(tg.sort(t, axis=axis), np.sort(x, axis=axis))
    same(tg.argsort(t, axis=axis), np.argsort(x, axis=axis, kind="stable"))
    same(tg.cumulative_sum(t, axis=axis), np.cumsum(x, axis=axis, dtype=np.int32))
    same(tg.diff(t, axis=axis), np.diff(x, axis=axis))
    edges = np.sort(data.draw(hnp.arrays(np.int32, (4,), elements=st.integers(-5, 5))))
    side = data.draw(st.sampled_from(["left", "right"]))
    same(tg.searchsorted(tg.tensor(edges), t, side), np.searchsorted(edges, x, side))


@FEW
@given(st.data(), hnp.mutually_broadcastable_shapes(signature="(m,n),(n)->(m)", max_dims=2,
                                                    min_side=1, max_side=3))  # fmt: skip
def test_vectorize(data: Any, shapes: Any) -> None:
    x, y = (counting(shape) for shape in shapes.input_shapes)
    mine = tg.ops.vectorize(lambda m, v: tg.sum(m * v, axis=1), signature="(m,n),(n)->(m)")
    same(mine(tg.tensor(x), tg.tensor(y)), (x * y[..., None, :]).sum(-1))


@FEW
@given(st.data(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_tensordot(data: Any, left: int, shared: int, right: int) -> None:
    sizes = [data.draw(st.integers(0, 3)) for _ in range(left + shared + right)]
    one, other = sizes[: left + shared], sizes[left:]
    first = data.draw(st.permutations(range(len(one))))
    second = data.draw(st.permutations(range(len(other))))
    x = counting(tuple(one)).transpose(np.argsort(first))
    y = counting(tuple(other)).transpose(np.argsort(second))
    axes = [list(first[left:]), list(second[:shared])]
    same(
        tg.tensordot(tg.tensor(x), tg.tensor(y), axes),
        np.tensordot(x, y, axes).astype(np.int32),
    )
