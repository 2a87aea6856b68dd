"""What is not finite spoils its own matrix, signal or image, and none beside it in the batch.

Decompositions are loops: they have to end, too. Which elements of a spoilt result are NaN is up to
the algorithm (reasons.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tests.ops.comparing import flatten, random
from tests.ops.engines import chosen

L = tg.linalg


def _symmetric(x: Any) -> Any:
    return x + tg.matrix_transpose(x)


MATRICES: dict[str, Callable[[Any], Any]] = {
    "cholesky": lambda x: L.cholesky(tg.matmul(x, tg.matrix_transpose(x)) + tg.eye(4)),
    "det": L.det,
    "eig": lambda x: tg.abs(L.eig(x)[0]),
    "eigh": lambda x: L.eigh(_symmetric(x))[0],
    "expm": L.expm,
    "inv": L.inv,
    "lstsq": lambda x: L.lstsq(x, tg.ones((3, 4, 1))),
    "lu_factor": lambda x: L.lu_factor(x)[0],
    "pinv": L.pinv,
    "qr": lambda x: list(L.qr(x)),
    "slogdet": lambda x: L.slogdet(x)[1],
    "solve": lambda x: L.solve(x, tg.ones((3, 4, 1))),
    "svd": L.svdvals,
}

SIGNALS: dict[str, Callable[[Any], Any]] = {
    "fft": lambda x: [tg.real(tg.fft.fft(x)), tg.imag(tg.fft.fft(x))],
    "rfft": lambda x: [tg.real(tg.fft.rfft(x)), tg.imag(tg.fft.rfft(x))],
    "stft": lambda x: tg.abs(tg.signal.stft(x, 8, 4, 8)),
    "dct": lambda x: tg.signal.dct(x),
    "softmax": tg.ops.softmax,
    "layer_normalization": lambda x: tg.ops.layer_normalization(x),
    "normalize": lambda x: tg.ops.normalize(x),
}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", [*MATRICES, *SIGNALS])
def test_neighbours_stay(name: str, value: float) -> None:
    call = MATRICES.get(name) or SIGNALS[name]
    x = random((3, 4, 4) if name in MATRICES else (3, 24), 1)
    spoilt = x.copy()
    spoilt[1, 2] = value
    with chosen("reference"):
        plain, results = ([np.asarray(y) for y in flatten(call(tg.tensor(v)))] for v in (x, spoilt))
    for before, after in zip(plain, results, strict=True):
        assert np.isfinite(before).all()
        np.testing.assert_array_equal(before[[0, 2]], after[[0, 2]])
    if name in MATRICES or np.isnan(value):
        assert not all(np.isfinite(y[1]).all() for y in results)
