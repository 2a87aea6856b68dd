"""Tensors in and out: made from Python values, read back, and refusing what they are not."""

import array

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


def test_printing_shows_values_of_small_tensors():
    assert repr(tg.tensor([1.0, 2.5])) == "tensor([1, 2.5], dtype=float32)"
    assert repr(tg.zeros((100, 100))) == "tensor(shape=(100, 100), dtype=float32)"
