"""Every public op on every engine, against NumPy, SciPy, Keras and JAX.

A new op needs a row in one of the tables, or a test here fails. GPUs: test_table_on_gpus.py. The
slow rows, which are the full product of sizes and views, are run by `make test-all` (results.py).
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import NotSupportedError
from tests.ops.comparing import VIEWS, Case, check, expected_of, flatten
from tests.ops.engines import GPUS

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("table_*.py"))
CASES: list[Case] = [
    case for name in TABLES for case in importlib.import_module(f"tests.ops.{name}").CASES
]

NAMESPACES = ("nn", "image", "signal", "fft", "linalg", "segment")
"""Public modules of functions beside `tg.ops`; their rows are named "linalg.norm"."""

REFUSAL = (
    r"expected dtypes of at most 32 bits on {}; received (u?int|float)64\. "
    r"Cast to (int|float)32, or use tg\.set_engine\('wasm'\)"
)
"""What a GPU says of 64-bit elements."""

NOT_ON_TENSORS = {
    "convert_to_numpy", "dtype", "is_tensor", "ndim", "result_type", "shape", "size",
}  # fmt: skip
"""Public names that compute no tensor; tested below."""


def public_names() -> set[str]:
    """Every function that needs a row."""
    names = set(tg.ops.__all__)
    for space in NAMESPACES:
        if hasattr(tg, space):
            names |= {f"{space}.{name}" for name in getattr(tg, space).__all__}
    return names


def is_wide(case: Case) -> bool:
    """Whether arguments or results have elements of 64 bits, or of two such parts."""
    wide = [x.dtype for x in case.inputs]
    wide += [np.dtype(case.dtype)] if case.ulp is not None else [y.dtype for y in expected_of(case)]
    return any(dtype.itemsize >= (16 if dtype.kind == "c" else 8) for dtype in wide)


def run(case: Case) -> float | None:
    """Raises where a result is wrong; the largest error otherwise, as `check` gives it.

    None where a GPU refuses 64 bits with the error that its documentation has.
    """
    kind = realize.engine().kind
    gpu = kind in GPUS
    try:
        results = flatten(case.call(*map(VIEWS[case.view], case.inputs)))
        # One Program for all results of the call, as a compiled function would have.
        realize.realize([node for result in results for node in result.parts if node is not None])
        got = [np.asarray(result) for result in results]
    except NotSupportedError as error:
        if not gpu or not is_wide(case):
            raise
        assert re.fullmatch(REFUSAL.format(GPUS[kind]), str(error)), error
        return None
    return check(case, got, expected_of(case), gpu)


@pytest.mark.parametrize("case", [case for case in CASES if not case.slow], ids=str)
def test_op(engine: str, case: Case) -> None:
    run(case)


def test_every_public_op_is_in_the_table() -> None:
    tested = {case.op for case in CASES} | NOT_ON_TENSORS
    assert not public_names() - tested, "public functions without a row"
    assert not tested - public_names(), "rows of functions that are not public"


def test_names_of_cases_are_distinct() -> None:
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names), {n for n in names if names.count(n) > 1}


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("bool", "bool", "bool"),
        ("int8", "uint8", "int16"),
        ("uint8", "int32", "int32"),
        ("int32", "float32", "float32"),
        ("int64", "float16", "float16"),
        ("float16", "float32", "float32"),
        ("uint32", "int32", "int64"),
        ("bool", "uint8", "uint8"),
    ],
)
def test_result_type(left: str, right: str, result: str) -> None:
    one, other = tg.ops.zeros((1,), left), tg.ops.zeros((1,), right)
    assert tg.ops.result_type(one, other) is tg.dtypes.as_dtype(result)
    assert tg.ops.result_type(other, one) is tg.dtypes.as_dtype(result)


def test_what_keras_asks_of_tensors() -> None:
    x = np.ones((2, 3), np.int8)
    ops = tg.ops
    assert (ops.shape(x), ops.size(x), ops.ndim(x), ops.dtype(x)) == ((2, 3), 6, 2, "int8")
    assert ops.is_tensor(tg.tensor(x))
    assert ops.is_tensor(tg.Variable(1.0))
    assert not ops.is_tensor(x)
    assert (ops.convert_to_numpy(tg.tensor(x)) == x).all()


def test_python_scalars_are_weak() -> None:
    assert tg.ops.result_type(tg.ops.zeros((1,), "int8"), 3) is tg.dtypes.int8
    assert tg.ops.result_type(tg.ops.zeros((1,), "int8"), 3.5) is tg.dtypes.float32
    assert tg.ops.result_type(tg.ops.zeros((1,), "float16"), 3.5) is tg.dtypes.float16
    assert tg.ops.result_type(tg.ops.zeros((1,), "bool"), 3) is tg.dtypes.int32


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint64"])
def test_wide_and_half_dtypes(engine: str, dtype: str) -> None:
    """Every engine computes in every dtype, with Python scalars too."""
    values = np.array([1, 2, 3]).astype(dtype)
    x = tg.tensor(values, dtype=dtype)
    assert x.tolist() == [1, 2, 3]
    got = (tg.ops.sum(x) + tg.ops.max(x * x) * 2 - 1).numpy()
    assert got.dtype == dtype
    assert got == 23
