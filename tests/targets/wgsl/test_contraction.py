"""Large products, of which a thread makes sixteen rows by sixteen columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tests.targets.wgsl.machine import engine

SIZE = 512


@pytest.mark.parametrize("turned", ["", "a", "b"])
def test_large_products(turned: str) -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    bias = random.standard_normal(SIZE, dtype=np.float32)

    @tg.compile
    def product(a: tg.Tensor, b: tg.Tensor, bias: tg.Tensor) -> tg.Tensor:
        a = tg.transpose(a) if turned == "a" else a
        b = tg.transpose(b) if turned == "b" else b
        return tg.relu(a @ b + bias)

    with realize.using(engine()):
        given = [tg.tensor(x) for x in (a, b, bias)]
        got = np.asarray(product(*given))
        (launch,) = json.loads(product.program(*given).binary)["entries"][0]["launches"]
    assert launch["groups"] == [SIZE * SIZE // 16**2 // 64, 1]
    left, right = (a.T if turned == "a" else a), (b.T if turned == "b" else b)
    expected = np.maximum(left.astype(np.float64) @ right + bias, 0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4)
