"""Exported functions compute in float16 and in 64 bits what the laptop computes, to the bit."""

from __future__ import annotations

import base64
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tabgrad as tg
from tests.e2e.models import for_js

if TYPE_CHECKING:
    from tests.e2e.conftest import Run


def numbers(dtype: str) -> tuple[Any, Any]:
    generator = np.random.default_rng(1)
    if dtype.startswith("f"):
        x, y = generator.normal(size=(2, 6, 9)) * 3
        return x.astype(dtype), y.astype(dtype)
    info = np.iinfo(dtype)
    x, y = generator.integers(info.min, info.max, (2, 6, 9), dtype, True)
    x[0, :3] = [info.min, info.max, 0]
    return x, y


@tg.compile
def compute(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, ...]:
    larger = tg.where(x < y, y, x)
    extra = (tg.exp(x) / (1 + tg.abs(y)), tg.sin(x)) if x.dtype.is_float else (x // y, x % y)
    return (
        x * y + 1,
        larger,
        tg.sum(x, axis=0),
        tg.max(x),
        tg.argmax(x, axis=1),
        tg.matmul(x, tg.transpose(y)),
        tg.ops.cast(x, "float32"),
        tg.ops.cast(x, "int8"),
        *extra,
    )


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint64"])
def test_functions_of_other_dtypes(dtype: str, places: dict[str, Run], tmp_path: Path) -> None:
    x, y = numbers(dtype)
    results = compute(tg.tensor(x, dtype=dtype), tg.tensor(y, dtype=dtype))
    with redirect_stdout(io.StringIO()):
        tg.export({"compute": compute}, tmp_path, deterministic=True)
    inputs = [for_js(np.float32(v) if dtype == "float16" else v) for v in (x, y)]
    for where, run in places.items():
        found = run(tmp_path, "call", {"name": "compute", "inputs": inputs})
        assert len(found) == len(results)
        for one, expected in zip(found, results, strict=True):
            array = np.asarray(expected)
            assert (one["dtype"], one["shape"]) == (array.dtype.name, list(array.shape)), where
            kept = array.astype(np.float32) if array.dtype == np.float16 else array
            got = np.frombuffer(base64.b64decode(one["data"]), kept.dtype).reshape(kept.shape)
            np.testing.assert_array_equal(got, kept, err_msg=where)
            if array.dtype.kind in "iu":
                assert one["list"] == ",".join(map(str, array.ravel().tolist()))
