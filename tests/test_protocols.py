"""What Python does with a tensor by itself: format, round, divmod, copy, pickle; and NumPy's
functions that call an array's methods. All as with NumPy's arrays.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tabgrad as tg

VALUES: dict[str, Any] = {
    "float": np.float32(2.71828),
    "half": np.float16(-1.5),
    "double": np.float64(1e300),
    "int": np.int32(-42),
    "byte": np.uint8(200),
    "bool": np.bool_(True),
    "complex": np.complex64(1.5 - 2.25j),
    "nan": np.float32("nan"),
}


def both(value: Any) -> tuple[tg.Tensor, Any]:
    given = np.asarray(value)
    return tg.tensor(given, dtype=given.dtype.name), given


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("spec", ["", ".3f", "10.2e", ">12", "+d", "08b", "%", "n", "s"])
def test_format(name: str, spec: str) -> None:
    ours, theirs = both(VALUES[name])
    if not spec:
        assert f"{ours}" == str(ours)
        return
    try:
        expected = format(theirs, spec)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            format(ours, spec)
        return
    assert format(ours, spec) == expected


def test_format_of_more_than_a_number() -> None:
    ours, theirs = both(np.ones(3, np.float32))
    assert f"{ours}" == str(ours)
    with pytest.raises(TypeError):
        format(theirs, ".2f")
    with pytest.raises(TypeError, match=r"expected a tensor without axes.*float32 \[3\]"):
        format(ours, ".2f")
    assert f"{tg.Variable(0.25):.1%}" == "25.0%"
    with pytest.raises(tg.errors.CaptureError, match="no value exists yet"):
        tg.compile(lambda x: tg.ones(len(f"{x:.1f}")))(tg.tensor(1.0))


@pytest.mark.parametrize("digits", [None, 0, 1, -1])
@pytest.mark.parametrize(
    "value", [np.float32(2.5), np.array([0.25, -1.75, 13.5], np.float32), np.int32(17)], ids=str
)
def test_round(value: Any, digits: int | None) -> None:
    ours, theirs = both(value)
    found = round(ours) if digits is None else round(ours, digits)
    expected = np.round(theirs, digits or 0)
    assert isinstance(found, tg.Tensor)
    assert found.dtype.name == expected.dtype.name
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(
    "value", [np.float32(7.25), np.array([7, -7, 0], np.int32), np.array([-1.5, 2.0], np.float32)]
)
def test_divmod(value: Any) -> None:
    ours, theirs = both(value)
    other = np.where(theirs == 0, 1, theirs)
    for found, expected in (
        (divmod(ours, 2), divmod(theirs, 2)),
        (divmod(9, tg.tensor(other)), divmod(9, other)),
        (divmod(ours, tg.tensor(other)), divmod(theirs, other)),
    ):
        for one, two in zip(found, expected, strict=True):
            assert one.dtype.name == two.dtype.name
            np.testing.assert_array_equal(one.numpy(), two)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 1, 3)])
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda x: x.copy(),
        *[lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in (2, 4, 5)],
    ],
)
def test_copies(name: str, shape: tuple[int, ...], copied: Any) -> None:
    ours, theirs = both(np.full(shape, VALUES[name]))
    found = copied(ours)
    assert found is not ours
    assert found.shape == theirs.shape
    assert found.dtype.name == theirs.dtype.name
    assert found.numpy().tobytes() == theirs.tobytes()


def test_a_copy_does_not_follow_an_assignment() -> None:
    x = tg.arange(4)
    shallow, deep = copy.copy(x), copy.deepcopy([x])
    x[0] = 9
    assert shallow.tolist() == deep[0].tolist() == [0, 1, 2, 3]
    # The graph is copied with it, so gradients pass through.
    assert float(tg.grad(lambda t: copy.deepcopy(t * t))(tg.tensor(3.0))) == 6.0


def test_copies_of_variables_and_layers() -> None:
    v = tg.Variable([1.0, 2.0], name="v", trainable=False)
    for again in (copy.copy(v), copy.deepcopy(v), pickle.loads(pickle.dumps(v))):
        v.assign([3.0, 4.0])
        assert again.value.tolist() == [1.0, 2.0]
        assert (again.name, again.trainable, again.dtype) == ("v", False, v.dtype)
        v.assign([1.0, 2.0])
    layer = tg.layers.Dense(2)
    x = tg.ones((1, 3))
    before = layer(x).tolist()
    again = copy.deepcopy(layer)
    again.kernel.assign(tg.zeros((3, 2)))
    assert layer(x).tolist() == before
    assert again(x).tolist() == [[0.0, 0.0]]


METHODS: dict[str, Any] = {
    "sum": lambda x: x.sum(axis=0),
    "prod": lambda x: x.prod(),
    "mean": lambda x: x.mean(1),
    "std": lambda x: x.std(axis=0),
    "var": lambda x: x.var(axis=1, keepdims=True),
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(),
    "all": lambda x: x.all(),
    "any": lambda x: (x > 100).any(axis=0),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(),
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(axis=1),
    "clip": lambda x: x.clip(-1, 1),
    "clip by name": lambda x: x.clip(max=0),
    "round": lambda x: x.round(1),
    "conj": lambda x: x.conj(),
    "dot": lambda x: x.dot(x.T),
    "squeeze": lambda x: x.reshape(3, 1, 4).squeeze(1),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "repeat": lambda x: x.repeat(2, axis=1),
    "take": lambda x: x.take([2, 0], axis=0),
    "diagonal": lambda x: x.diagonal(1),
    "trace": lambda x: x.trace(),
    "argsort": lambda x: x.argsort(axis=0),
    "nonzero": lambda x: (x > 0).nonzero()[1],
    "searchsorted": lambda x: abs(x[0]).cumsum(0).searchsorted(x[1] * x[1]),
    "nbytes": lambda x: np.array(x.nbytes + x.itemsize),
    "np.sum": lambda x: np.sum(x),
    "np.mean": lambda x: np.mean(x, axis=1),
    "np.std": lambda x: np.std(x),
    "np.cumsum": lambda x: np.cumsum(x, axis=0),
    "np.argmax": lambda x: np.argmax(x, axis=0),
    "np.clip": lambda x: np.clip(x, 0, 1),
    "np.round": lambda x: np.round(x, 2),
    "np.squeeze": lambda x: np.squeeze(x),
    "np.transpose": lambda x: np.transpose(x),
    "np.repeat": lambda x: np.repeat(x, 2),
    "np.ravel": lambda x: np.ravel(x),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found, expected = METHODS[name](tg.tensor(x)), METHODS[name](x)
    assert np.asarray(found).shape == np.asarray(expected).shape
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-6, atol=1e-6)


def test_sort_gives_a_new_tensor() -> None:
    x = tg.tensor([3.0, 1.0, 2.0])
    assert x.sort().tolist() == [1.0, 2.0, 3.0]
    assert x.tolist() == [3.0, 1.0, 2.0]


def test_outputs_of_numpy_are_refused() -> None:
    with pytest.raises(TypeError, match="out"):
        np.sum(tg.ones(3), out=np.zeros(()))
