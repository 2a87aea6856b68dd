"""Every op of the op table under `vmap`, and forwards against backwards: one case of each.

Ops that need values (their results' shapes depend on them) refuse to be mapped, saying so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import CaptureError
from tabgrad.tensor import Tensor
from tests.ops.comparing import Case, flatten
from tests.ops.engines import chosen
from tests.ops.test_table import CASES

BATCH = 3
LARGEST = 3_000


@pytest.fixture(scope="module", autouse=True)
def _reference() -> Iterator[None]:
    with chosen("reference"):
        yield


def one_of_each() -> list[Case]:
    """The first case of each op of ordinary size, of several dimensions if there is one."""
    found: dict[str, Case] = {}
    for case in CASES:
        size = sum(x.size for x in case.inputs)
        if not case.inputs or not 0 < size <= LARGEST or case.view != "as given":
            continue
        before = found.get(case.op)
        if before is None or (max(x.ndim for x in case.inputs) > 1 > before.inputs[0].ndim - 1):
            found[case.op] = case
    return list(found.values())


EACH = one_of_each()
SMOOTH = [
    case
    for case in EACH
    # The table's custom gradient clips, which has no transpose.
    if case.op != "custom_gradient"
    and any(x.dtype.kind == "f" and x.dtype.itemsize >= 4 for x in case.inputs)
]


def values(results: Any) -> list[np.ndarray]:
    """The results of a call as arrays."""
    tensors = [x if isinstance(x, Tensor) else tg.tensor(x) for x in flatten(results)]
    realize.realize([node for x in tensors for node in x.parts if node is not None])
    return [np.asarray(x) for x in tensors]


def given(array: np.ndarray) -> Tensor:
    return tg.tensor(array, dtype=array.dtype.name)


@pytest.mark.parametrize("case", EACH, ids=lambda case: case.op)
def test_mapped_is_looped(case: Case) -> None:
    examples = [[np.roll(x.ravel(), k).reshape(x.shape) for x in case.inputs] for k in range(BATCH)]
    many = [given(np.stack(column)) for column in zip(*examples, strict=True)]
    count = len(flatten(case.call(*map(given, case.inputs))))

    def call(*xs: Tensor) -> Any:
        return tuple(flatten(case.call(*xs)))

    try:
        got = values(tg.vmap(call)(*many))
    except CaptureError as error:
        assert "depend" in str(error) or "decides" in str(error)
        return
    assert len(got) == count
    for k, example in enumerate(examples):
        for mine, theirs in zip(got, values(call(*map(given, example))), strict=True):
            np.testing.assert_allclose(mine[k], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.op)
def test_forward_is_the_transpose_of_backward(case: Case) -> None:
    rng = np.random.default_rng(0)
    movable = [i for i, x in enumerate(case.inputs) if x.dtype.kind in "fc"]
    xs = [given(np.nan_to_num(x, posinf=1, neginf=1)) for x in case.inputs]

    def call(*moving: Tensor) -> Any:
        full = list(xs)
        for i, x in zip(movable, moving, strict=True):
            full[i] = x
        return tuple(flatten(case.call(*full)))

    start = [xs[i] for i in movable]
    along = [given(_normal(rng, np.asarray(x))) for x in start]
    ys, tangents = tg.jvp(call, start, along)
    _, back = tg.vjp(call, *start)
    kept = [y.dtype.kind in "fc" for y in ys]
    if not any(kept):
        assert not any(np.any(np.asarray(t)) for t in tangents)
        return
    cotangents = tuple(
        given(_normal(rng, np.asarray(y))) if on else None for y, on in zip(ys, kept, strict=True)
    )
    forward = [_paired(t, c) for t, c, on in zip(tangents, cotangents, kept, strict=True) if on]
    backward = [_paired(t, s) for t, s in zip(along, back(cotangents), strict=True)]
    size = float(sum(np.abs(p).sum() for p in (*forward, *backward)))
    if np.isfinite(size):
        left, right = (sum(float(p.sum()) for p in parts) for parts in (forward, backward))
        # What cancels (a residual, whose derivative is 0) is as exact as what it is made of.
        largest = max(1.0, *(float(np.abs(np.asarray(x)).max(initial=0.0)) for x in start))
        assert abs(left - right) <= 1e-4 * size + 1e-6 * largest


def _normal(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    values = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        values = values + 1j * rng.normal(size=like.shape)
    return values.astype(like.dtype)


def _paired(tangent: Any, cotangent: Any) -> np.ndarray:
    """What a cotangent makes of a tangent, element by element: the real part of the product."""
    with np.errstate(all="ignore"):
        return np.real(np.complex128(np.asarray(tangent)) * np.complex128(np.asarray(cotangent)))
