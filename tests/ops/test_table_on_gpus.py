"""The table of operations on the GPU engines: of each operation a case for every dtype, for values
that are not finite and for shapes that go wrong easily.

`make test-all` runs all cases (results.py). Each is right, or refused because of 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import NotSupportedError
from tests.ops.comparing import Case
from tests.ops.coverage import representatives
from tests.ops.engines import GPUS, PAGE_ENGINES, chosen
from tests.ops.test_table import CASES, REFUSAL, run


@pytest.fixture(scope="module", params=["webgpu"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param):
        yield request.param


QUICK = representatives([case for case in CASES if not case.slow])


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_op(engine: str, case: Case) -> None:
    run(case)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex128"])
def test_64_bits_are_refused(engine: str, dtype: str) -> None:
    """They are kept and read back; what computes with them says what to do."""
    values = np.array([1, 2, 3]).astype(dtype)
    x = tg.tensor(values, dtype=dtype)
    np.testing.assert_array_equal(x.numpy(), values)
    with pytest.raises(NotSupportedError, match=REFUSAL.format(GPUS[engine])):
        (x * x + 1).numpy()


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint16", "bool"])
def test_narrow_dtypes_are_computed_in(engine: str, dtype: str) -> None:
    values = np.array([1, 0, 1, 1, 0]).astype(dtype)
    x = tg.tensor(values, dtype=dtype)
    got = tg.ops.where(x == 1, x, tg.ops.flip(x)).numpy()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.where(values == 1, values, values[::-1]))


@pytest.mark.parametrize("name", ["webgpu", *PAGE_ENGINES])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_folds_keep_the_sign_of_zero(name: str, dtype: str) -> None:
    """Chromium takes the literal -0.0 of WGSL, which sums would begin with, for 0."""
    zeros = np.full(300, -0.0, dtype)
    with chosen(name):
        x = tg.tensor(zeros, dtype=dtype)
        for fold in (tg.ops.sum, tg.ops.cumsum, tg.ops.max):
            got = fold(x).numpy()
            assert got.dtype == dtype and np.all(np.signbit(got)) and not np.any(got), fold
