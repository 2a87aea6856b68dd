"""A key gives the same numbers on every engine: words, uniform and whole numbers to the bit.

In Node and Chromium everything has the bits of the laptop, because the same kernels run. The
reference computes logarithms by NumPy, so what is made of them is close there, not the same.
"""

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
from tests.ops.engines import chosen
from tests.test_random import DRAWS, R

if TYPE_CHECKING:
    from tests.e2e.conftest import Run

KEY = np.uint32([0xDEADBEEF, 7])

ELSEWHERE: dict[str, Any] = {
    "64 bits": lambda s: R.bits((33,), s, "uint64"),
    "8 bits": lambda s: R.bits((33,), s, "uint8"),
    "float64 uniform": lambda s: R.uniform((33,), -1.0, 3.0, "float64", s),
    "float64 normal": lambda s: R.normal((33,), dtype="float64", seed=s),
    "float64 gamma": lambda s: R.gamma((33,), 0.7, "float64", s),
    "float16 uniform": lambda s: R.uniform((33,), dtype="float16", seed=s),
    "int64 randint": lambda s: R.randint((33,), -(2**62), 2**62, "int64", s),
    "choice without replacement": lambda s: R.choice(50, (33,), False, seed=s),
    "long permutation": lambda s: R.permutation(3000, seed=s),
    "split": lambda s: R.split(s, 5),
    "fold_in": lambda s: R.fold_in(s, 3),
    "mapped": lambda s: tg.vmap(lambda k: R.normal((5,), seed=k))(R.split(s, 3)),
}
EVERYTHING = DRAWS | ELSEWHERE

EXACT = {
    "bernoulli", "bits", "choice", "dropout", "permutation", "rademacher", "randint", "shuffle",
    "uniform", "64 bits", "8 bits", "float64 uniform", "float16 uniform", "int64 randint",
    "choice without replacement", "long permutation", "split", "fold_in",
}  # fmt: skip
"""What is made of the words without a logarithm, nor anything else that is rounded differently."""


@tg.compile
def draws(key: tg.Tensor) -> tuple[tg.Tensor, ...]:
    return tuple(draw(key) for draw in EVERYTHING.values())


def here() -> dict[str, Any]:
    results = draws(tg.tensor(KEY))
    return {name: np.asarray(x) for name, x in zip(EVERYTHING, results, strict=True)}


def there(run: Run, folder: Path) -> dict[str, Any]:
    found = run(folder, "call", {"name": "draws", "inputs": [for_js(KEY)]})
    arrays = {}
    for name, one in zip(EVERYTHING, found, strict=True):
        # JavaScript has no float16: its numbers arrive as float32.
        dtype = "float32" if one["dtype"] == "float16" else one["dtype"]
        data = np.frombuffer(base64.b64decode(one["data"]), "u1" if dtype == "bool" else dtype)
        arrays[name] = data.reshape(one["shape"]).astype(one["dtype"])
    return arrays


@pytest.mark.parametrize(
    "deterministic",
    [
        pytest.param(True, id="plain"),
        pytest.param(False, id="relaxed", marks=pytest.mark.exhaustive),
    ],
)
def test_streams_in_node_and_chromium(
    deterministic: bool, places: dict[str, Run], tmp_path: Path
) -> None:
    expected = here()
    with redirect_stdout(io.StringIO()):
        tg.export({"draws": draws}, tmp_path, deterministic=deterministic)
    for where, run in places.items():
        for name, got in there(run, tmp_path).items():
            want = expected[name]
            assert got.dtype == want.dtype, (where, name)
            if deterministic or name in EXACT:
                np.testing.assert_array_equal(got, want, err_msg=f"{name} in {where}")
            elif want.dtype.kind == "f":
                np.testing.assert_allclose(got, want, 1e-5, 1e-6, err_msg=f"{name} in {where}")


def test_streams_of_the_reference() -> None:
    wanted = here()
    with chosen("reference"):
        for name, want in here().items():
            if name in EXACT:
                np.testing.assert_array_equal(wanted[name], want, err_msg=name)
            elif want.dtype.kind == "f":
                np.testing.assert_allclose(wanted[name], want, 3e-6, 1e-6, err_msg=name)
            else:
                np.testing.assert_array_equal(wanted[name], want, err_msg=name)
