"""Of which values it is known that none is above 0; exp of these, and of others, is right."""

from __future__ import annotations

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.ir.kernel import walk
from tests.compiler.programs import made

F = "float32"
SQUARE = ((6, 6), F)


def falling(function, *shapes):
    """Whether each exp in the kernels of a function has an argument that is known not to rise."""
    kernels = made(function, *shapes).kernels
    found = {id(x): x for k in kernels for x in walk(k.expressions()) if x.op == "exp"}
    return [bool(x.value) for x in found.values()]


KNOWN = {
    "softmax": tg.softmax,
    "softmax of columns": lambda x: tg.softmax(x, axis=0),
    "softmax of everything": lambda x: tg.softmax(x, axis=None),
    "log_softmax": tg.log_softmax,
    "a bell": lambda x: tg.exp(-(x * x)),
    "two slopes": lambda x: tg.exp(-tg.abs(x)),
    "a limit": lambda x: tg.exp(tg.minimum(x, 0.0)),
}
UNKNOWN = {
    "anything": tg.exp,
    "other rows' maxima": lambda x: tg.exp(x - tg.max(x, 1)),
    "others' maxima": lambda x: tg.exp(x - tg.max(x * 0.5, 1, keepdims=True)),
    "minima": lambda x: tg.exp(x - tg.min(x, 1, keepdims=True)),
    "what is added": lambda x: tg.exp(x + tg.max(x, 1, keepdims=True)),
    "a positive limit": lambda x: tg.exp(tg.minimum(x, 1.0)),
    "a product of two": lambda x: tg.exp(-(x * (x + 1))),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_never_rises_is_known(name):
    assert falling(KNOWN[name], SQUARE) == [True]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_rise_is_not(name):
    assert falling(UNKNOWN[name], SQUARE) == [False]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_exp_of_rows_without_and_with_others_maxima(dtype):
    """A square, so that maxima of rows could be mistaken for those of columns."""
    x = (np.random.default_rng(3).standard_normal((9, 9)) * 3).astype(dtype)
    tolerance = {"float16": 4e-3, "float32": 4e-6, "float64": 1e-14}[dtype]
    for axis in (0, 1):
        for keepdims in (True, False):
            compiled = tg.compile(
                lambda t, axis=axis, keepdims=keepdims: tg.exp(t - tg.max(t, axis, keepdims))
            )
            # The difference is rounded to the dtype before it is raised.
            rest = (x - x.max(axis, keepdims=keepdims)).astype(np.float64)
            got = np.asarray(compiled(tg.tensor(x, dtype=dtype))).astype(np.float64)
            np.testing.assert_allclose(got, np.exp(rest), rtol=tolerance, atol=1e-7)


def test_softmax_of_masked_rows_and_of_what_underflows():
    x = np.float32([[0, -np.inf, 1, -90, -100], [np.nan, 0, 1, 2, 3], [5, 5, 5, 5, -98]])
    got = np.asarray(tg.softmax(tg.tensor(x)))
    powers = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    want = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-45)
