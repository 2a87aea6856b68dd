"""What holds of float16 on every engine that keeps it in 16 bits: the table's cases, and sums."""

from __future__ import annotations

import numpy as np

import tabgrad as tg
from tests.ops.test_table import CASES, run

HALVES = [
    case for case in CASES if "float16" in {x.dtype.name for x in case.inputs} and not case.slow
]


def check_operations() -> None:
    """Every quick case with float16, on the engine of the moment."""
    wrong = {}
    for case in HALVES:
        try:
            run(case)
        except Exception as error:  # all that are wrong are told together
            wrong[str(case)] = str(error)
    assert not wrong


def check_sums() -> None:
    """Steps of half a unit would be lost; a product of matrices is rounded once, too."""
    ones = tg.ones((4096,), dtype="float16")
    assert float(tg.sum(ones)) == 4096
    x = np.random.default_rng(0).uniform(-1, 1, (40, 64)).astype(np.float16)
    got = np.asarray(tg.tensor(x, dtype="float16") @ tg.tensor(x.T.copy(), dtype="float16"))
    want = x.astype(np.float64) @ x.T.astype(np.float64)
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=2**-10, atol=2**-12)
