"""Properties that hold for every input: shapes, indices and folds are NumPy's.

Inputs are drawn by hypothesis, always the same ones, so that a failure is seen by everybody.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tabgrad as tg
from tests.ops.properties import FEW, counting

pytestmark = [
    pytest.mark.usefixtures("reference"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy at its edges
]

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ANY = st.sampled_from(["bool", "int8", "int32", "uint16", "float32"])


@st.composite
def indexed(draw: Any) -> tuple[np.ndarray, Any]:
    """An array and an index of every kind that fits it, mixed in any order."""
    x = counting(draw(SHAPES))
    items: list[Any] = []
    axis = 0
    while axis < x.ndim:
        n = x.shape[axis]
        kinds = ["slice", "new", "stop"] + (["int", "array", "mask"] if n else ["mask"])
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "new":
            items.append(None)
            if len(items) > 6:
                break
            continue
        if kind == "slice":
            items.append(draw(st.slices(n)))
        elif kind == "int":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            shape = draw(st.sampled_from([(), (1,), (2,), (3, 1), (3, 2)]))
            items.append(draw(hnp.arrays(np.int64, shape, elements=st.integers(-n, n - 1))))
        else:
            items.append(draw(hnp.arrays(np.bool_, (n,))))
        axis += 1
    if axis < x.ndim and draw(st.booleans()):
        items.append(Ellipsis)
    return x, tuple(items)


@FEW
@given(indexed())
def test_reading_by_index(given_: tuple[np.ndarray, Any]) -> None:
    x, index = given_
    try:
        want = x[index]
    except IndexError:  # masks and arrays that do not broadcast together
        with pytest.raises((IndexError, ValueError)):
            tg.tensor(x)[index]
        return
    np.testing.assert_array_equal(tg.tensor(x)[index].numpy(), want)


@FEW
@given(indexed(), st.data())
def test_writing_by_index(given_: tuple[np.ndarray, Any], data: Any) -> None:
    x, index = given_
    try:
        shape = x[index].shape
    except IndexError:
        return
    values = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-99, -1)))
    for op, ufunc in (("add", np.add), ("min", np.minimum), ("max", np.maximum)):
        want = x.copy()
        ufunc.at(want, index, values)
        got = getattr(tg.tensor(x).at[index], op)(values)
        np.testing.assert_array_equal(got.numpy(), want)
    want = x.copy()
    want[index] = -7
    target = tg.tensor(x)
    target[index] = -7
    np.testing.assert_array_equal(target.numpy(), want)


@FEW
@given(SHAPES, st.data())
def test_reshaping(shape: tuple[int, ...], data: Any) -> None:
    x = counting(shape)
    order = data.draw(st.permutations(range(len(shape))))
    t = tg.permute_dims(tg.tensor(x), order)
    y = x.transpose(order)
    np.testing.assert_array_equal(t.numpy(), y)
    np.testing.assert_array_equal(tg.reshape(t, (x.size,)).numpy(), y.reshape(-1))
    if x.size:
        divisors = [n for n in range(1, x.size + 1) if x.size % n == 0]
        first = data.draw(st.sampled_from(divisors))
        np.testing.assert_array_equal(tg.reshape(t, (first, -1)).numpy(), y.reshape(first, -1))
    for axis in range(len(shape)):
        np.testing.assert_array_equal(tg.flip(t, axis=axis).numpy(), np.flip(y, axis))
        shift = data.draw(st.integers(-9, 9))
        np.testing.assert_array_equal(tg.roll(t, shift, axis=axis).numpy(), np.roll(y, shift, axis))
        parts = tg.unstack(t, axis=axis)
        assert len(parts) == y.shape[axis]
        if parts:
            np.testing.assert_array_equal(tg.stack(parts, axis=axis).numpy(), y)
            joined = tg.concat([t, t], axis=axis).numpy()
            np.testing.assert_array_equal(joined, np.concatenate([y, y], axis))


@FEW
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=4), st.data())
def test_broadcasting(shapes: Any, data: Any) -> None:
    one, other, third = (counting(s) for s in shapes.input_shapes)
    tensors = [tg.tensor(v) for v in (one, other, third)]
    assert tg.broadcast_shapes(*shapes.input_shapes) == shapes.result_shape
    for t, v in zip(tg.broadcast_arrays(*tensors), np.broadcast_arrays(one, other, third)):
        np.testing.assert_array_equal(t.numpy(), v)
    got = tg.where(tensors[0] % 2 == 0, tensors[1] - 3, tensors[2] * 2).numpy()
    np.testing.assert_array_equal(got, np.where(one % 2 == 0, other - 3, third * 2))


@FEW
@given(SHAPES, SHAPES)
def test_shapes_that_do_not_broadcast_are_refused(one: Any, other: Any) -> None:
    try:
        want = np.broadcast_shapes(one, other)
    except ValueError:
        with pytest.raises(tg.errors.ShapeError, match="broadcast"):
            tg.zeros(one) + tg.zeros(other)
        return
    assert (tg.zeros(one) + tg.zeros(other)).shape == want


@FEW
@given(st.data(), SHAPES, ANY)
def test_folds(data: Any, shape: tuple[int, ...], dtype: str) -> None:
    elements = st.integers(0, 1) if dtype == "bool" else st.integers(0, 9)
    x = data.draw(hnp.arrays(np.int32, shape, elements=elements)).astype(dtype)
    t = tg.tensor(x)
    axes = data.draw(st.lists(st.integers(-x.ndim, x.ndim - 1), unique_by=lambda a: a % x.ndim)
                     if x.ndim else st.just([]))  # fmt: skip
    axis = tuple(axes) if axes else None
    keep = data.draw(st.booleans())
    with np.errstate(over="ignore"):
        for name in ("sum", "prod", "any", "all", "count_nonzero"):
            got = getattr(tg, name)(t, axis=axis, keepdims=keep).numpy()
            want = getattr(np, name)(x, axis=axis, keepdims=keep)
            np.testing.assert_array_equal(got, np.asarray(want).astype(got.dtype))
    if x.size:
        for name in ("max", "min"):
            got = getattr(tg, name)(t, axis=axis, keepdims=keep).numpy()
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, getattr(np, name)(x, axis=axis, keepdims=keep))
        for name in ("mean", "var", "std"):
            got = getattr(tg, name)(t, axis=axis, keepdims=keep).numpy()
            want = getattr(np, name)(x.astype(float), axis=axis, keepdims=keep)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        for name in ("argmax", "argmin"):
            one = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1)) if x.ndim else None
            got = getattr(tg, name)(t, axis=one, keepdims=keep).numpy()
            np.testing.assert_array_equal(got, getattr(np, name)(x, axis=one, keepdims=keep))


@FEW
@given(st.data(), SHAPES, ANY, ANY)
def test_promotion_is_that_of_numpy_within_a_kind(
    data: Any, shape: tuple[int, ...], one: str, other: str
) -> None:
    want = np.result_type(one, other)
    got = tg.result_type(tg.zeros(shape, one), tg.zeros(shape, other))
    if {np.dtype(one).kind, np.dtype(other).kind} <= set("biu"):
        assert got == want.name
    else:
        assert got == "float32"
