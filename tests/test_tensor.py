"""Tensors in and out: made from Python values, read back, and refusing what they are not."""

import array
import gc

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import DtypeError, ShapeError


@pytest.mark.parametrize(
    "shape", [(), (3,), (0,), (2, 3), (0, 0), (2, 0), (0, 2), (2, 0, 3), (1, 1, 1), (2, 3, 4)]
)
def test_lists_are_those_of_numpy(shape):
    value = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    t = tg.tensor(value)
    assert t.shape == shape
    assert t.tolist() == value.tolist()
    np.testing.assert_array_equal(np.asarray(t), value)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1, 2], "int32"),
        ([1.0, 2], "float32"),
        ([True, False], "bool"),
        (np.float64([1, 2]), "float32"),
        (np.int64([1, 2]), "int32"),
        (np.uint8([1, 2]), "uint8"),
        (array.array("f", [1, 2]), "float32"),
        (range(3), "int32"),
        (3, "int32"),
    ],
)
def test_dtypes_are_those_users_mean(data, dtype):
    assert tg.tensor(data).dtype == dtype


def test_shapes_are_given_or_found():
    assert tg.tensor([1, 2, 3, 4], shape=(4, 1), dtype="float32").tolist() == [[1], [2], [3], [4]]
    assert tg.tensor([[1, 2], [3, 4]]).shape == (2, 2)
    assert tg.tensor(tg.tensor([1, 2, 3, 4]), shape=(2, 2)).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tg.tensor([[1, 2], [3]]), ShapeError, "ragged"),
        (lambda: tg.tensor([1, 2, 3], shape=(2, 2)), ShapeError, "received shape"),
        (lambda: tg.tensor(["a"]), DtypeError, "str"),
        (lambda: tg.tensor("abc"), DtypeError, "str"),
        (lambda: tg.tensor([2**40]), DtypeError, "int32"),
        (lambda: tg.tensor([1], dtype="complex7"), DtypeError, "complex7"),
        (lambda: float(tg.tensor([1.0, 2.0])), ShapeError, "one element"),
        (lambda: len(tg.tensor(1.0)), ShapeError, "0-d"),
        (lambda: [10, 20][tg.tensor(1.0)], DtypeError, "integer tensor"),
    ],
)
def test_what_is_not_a_tensor_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_scalars_turn_into_python_numbers():
    assert float(tg.tensor(1.5)) == 1.5
    assert int(tg.tensor([7])) == 7
    assert bool(tg.tensor(0)) is False
    assert [10, 20][tg.tensor(1)] == 20


def test_a_handle_can_be_assigned_to_and_shares_nothing():
    x = tg.tensor([1, 2, 3])
    before, y = x + 0, x
    shared = tg.asarray(x)
    alone = tg.asarray(x, copy=True)
    x[1:] = 0
    x[0] += 10
    assert x.tolist() == y.tolist() == shared.tolist() == [11, 0, 0]
    assert before.tolist() == alone.tolist() == [1, 2, 3]
    with pytest.raises(IndexError, match="out of range"):
        x[3]
    with pytest.raises(TypeError, match="complex"):
        x[0] = 1j
    with pytest.raises(TypeError, match=r"assign.*\.at"):
        tg.Variable([1.0])[0] = 2.0


def test_assignments_stay_inside_functions():
    def doubled(x):
        out = tg.zeros(3)
        x[0] = 7.0
        out[1:] = x[:2] * 2
        return out

    given = tg.tensor([1.0, 2.0, 3.0])
    assert tg.compile(doubled)(given).tolist() == [0, 14, 4]
    assert tg.grad(lambda x: doubled(x).sum())(given).tolist() == [0, 2, 0]
    assert given.tolist() == [1, 2, 3]


def test_indices_that_int32_cannot_count_are_refused():
    x = tg.broadcast_to(tg.tensor(1, dtype="int8"), (2**16, 2**16))
    assert x[-1, -1].item() == 1
    for call in (lambda: x[[1], [1]], lambda: x.at[0].set(2)):
        with pytest.raises(NotImplementedError, match="one axis after the other"):
            call()


def test_a_tensor_is_iterated_along_its_first_axis():
    assert [row.tolist() for row in tg.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    assert list(tg.zeros((0, 3))) == []
    with pytest.raises(TypeError, match="0-d"):
        list(tg.tensor(1))


def test_at_gives_a_new_tensor():
    x = tg.tensor([1.0, 2.0, 3.0])
    assert x.at[1].set(5).tolist() == [1, 5, 3]
    assert x.at[:2].subtract(1).tolist() == [0, 1, 3]
    assert x.at[[0, 0, 2]].add(1).tolist() == [3, 2, 4]
    assert x.at[[0, 0, 2]].multiply(3).tolist() == [9, 2, 9]
    assert x.at[x > 1].divide(2).tolist() == [1, 1, 1.5]
    assert x.at[[1, 1]].power(2).tolist() == [1, 16, 3]
    assert x.at[::-1].min([0, 5, 5]).tolist() == [1, 2, 0]
    assert x.at[0].max(9).tolist() == [9, 2, 3]
    assert x.at[1].get().tolist() == 2
    assert x.at[tg.tensor([7, 0])].set(0).tolist() == [0, 2, 3]  # nothing is written outside
    assert x.tolist() == [1, 2, 3]
    slope = tg.grad(lambda v: (x.at[[0, 2]].set(v) ** 2).sum())(tg.tensor([3.0, 4.0]))
    assert slope.tolist() == [6, 8]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64", "complex64"])
def test_dlpack_goes_both_ways(dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for view in (values, values[:, ::2, ::-1], values.T, values[1, 2, 3:], values[:0]):
        there = tg.from_dlpack(view)
        assert there.dtype == dtype
        np.testing.assert_array_equal(there.numpy(), view)
        np.testing.assert_array_equal(np.from_dlpack(there), view)
    with pytest.raises(BufferError, match="copy"):
        tg.from_dlpack(values, copy=False)
    copied = np.from_dlpack(tg.tensor(values, dtype=dtype), copy=True)
    copied[...] = 0  # its own memory


def test_dlpack_frees_what_nobody_consumed():
    from tabgrad import dlpack

    held = len(dlpack._exported)
    capsule = tg.ones(3).__dlpack__()
    assert len(dlpack._exported) == held + 1
    del capsule
    gc.collect()
    assert len(dlpack._exported) == held
