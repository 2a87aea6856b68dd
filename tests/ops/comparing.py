"""What the op table is made of: cases, values, sizes, views, and comparison in ULP.

A `Case` is one call of a public op with an oracle in NumPy. Nothing here knows an engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tabgrad as tg

Array = np.ndarray[Any, Any]

WIDE = {"f": np.float64, "c": np.complex128}
"""What oracles compute in."""

TINY = float(np.finfo(np.float32).tiny)
"""The least normal number of 32 bits."""

INSIDE = {"silu": 128, "swish": 128, "mish": 128, "erfc": 1, "geomspace": 1}
"""Operations of which a part is subnormal where the result is not: silu(x) is x * sigmoid(x). Where
subnormal numbers count as zeros, the result may be off by so many least normal numbers."""

WIDER = {"vander": 3}
"""Units in the last place that operations need on a GPU, beyond what they need elsewhere: there a
power is within 2 units, since it has no 64-bit floats to be computed in."""

SIZES = (0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17)
"""One less, as many and one more than 4, 8 and 16: the widths of vectors and tiles."""


@dataclass(frozen=True)
class Case:
    """One call of an op.

    With `ulp` None the result must be the oracle's, bit for bit and dtype for dtype (a NaN is a
    NaN). Otherwise the oracle is handed float64, and each element may differ by `ulp` units in the
    last place of the result; where `scale` is given, those are units of the magnitude it returns
    (a sum is as accurate as the sum of absolute values, not as its own value).
    """

    op: str
    label: str
    call: Callable[..., Any]
    oracle: Callable[..., Any]
    inputs: tuple[Array, ...]
    ulp: float | None = None
    scale: Callable[..., Any] | None = None
    dtype: str = "float32"
    view: str = "as given"
    slow: bool = False

    def __str__(self) -> str:
        return f"{self.op} {self.label}".strip()


def as_given(x: Array) -> tg.Tensor:
    """A tensor with the values of x, stored as they are."""
    return tg.tensor(x, dtype=x.dtype.name)


def transposed(x: Array) -> tg.Tensor:
    """The same values read with the axes in the opposite order from how they are stored."""
    return tg.ops.transpose(as_given(x.transpose()))


def flipped(x: Array) -> tg.Tensor:
    """The same values read backwards along every axis."""
    return tg.ops.flip(as_given(np.flip(x)))


def sliced(x: Array) -> tg.Tensor:
    """The same values read with a step out of a larger array full of something else."""
    if x.ndim == 0:
        return as_given(np.stack([x + x, x]))[1]
    other = np.array(np.nan if x.dtype.kind == "f" else 1).astype(x.dtype)
    stored = np.full([2 * n + 1 for n in x.shape], other, x.dtype)
    stored[(slice(1, None, 2),) * x.ndim] = x
    return as_given(stored)[(slice(1, None, 2),) * x.ndim]


VIEWS: dict[str, Callable[[Array], tg.Tensor]] = {
    "as given": as_given,
    "transposed": transposed,
    "flipped": flipped,
    "sliced": sliced,
}


def random(shape: Sequence[int], seed: int = 0, low: float = -3, high: float = 3) -> Array:
    """float32 numbers of ordinary size."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def integers(
    shape: Sequence[int], seed: int = 0, low: int = -9, high: int = 10, dtype: str = "int32"
) -> Array:
    """Small whole numbers; of unsigned types and bool only what they hold."""
    low = max(low, 0) if dtype[0] in "ub" else low
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def special_floats(dtype: str = "float32") -> Array:
    """Floats at which functions go wrong, and a random number for many of the exponents."""
    info = np.finfo(dtype)
    ordinary = [0, 0.5, 1, 1.5, 2, 2.5, 3, np.pi / 2, np.pi, 10, 88.72, 89, 87.33, 103.9, 1e4]
    ordinary += [1 - info.epsneg, 1 + info.eps, 16777217, 2.0**31, 3e9, 1e10]
    edges = [info.max, info.tiny, info.smallest_subnormal, 1e-40, np.inf]
    step = {"float16": 1, "float32": 4, "float64": 32}[dtype]
    powers = np.arange(info.minexp - info.nmant, info.maxexp, step)
    random_ones = np.ldexp(np.random.default_rng(5).uniform(1, 2, powers.size), powers)
    if dtype == "float64":
        ordinary += [709.7, 709.9, -745.2, 2.0**53 + 2, 2.0**63, 1e300]
    with np.errstate(over="ignore"):
        positive = np.array([*ordinary, *edges, *random_ones]).astype(dtype)
    return np.concatenate([positive, -positive, np.array([np.nan], dtype)])


def special_integers(dtype: str) -> Array:
    """The ends of an integer type and what lies around zero."""
    if dtype == "bool":
        return np.array([False, True])
    info = np.iinfo(dtype)
    values = [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min, info.min + 1]
    values += [-1, -2, -7] if info.min else []
    return np.array(values, dtype)


def pairs(values: Array) -> tuple[Array, Array]:
    """Every value with every other."""
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


def largest(x: Array) -> float:
    """The largest finite magnitude, the unit of what mixes all elements."""
    size = np.abs(x)
    return float(np.max(size, initial=0, where=np.isfinite(size)))


def remembered(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """The oracle called once for the same arguments, though every engine asks for them."""
    results: dict[Any, Any] = {}

    def asked(*xs: Array) -> Any:
        key = tuple((x.shape, x.dtype.str, x.tobytes()) for x in xs)
        if key not in results:
            results.clear()
            results[key] = oracle(*xs)
        return results[key]

    return asked


def flatten(result: Any) -> list[Any]:
    """The results of a call as a list."""
    return list(result) if isinstance(result, (list, tuple)) else [result]


def expected_of(case: Case) -> list[Array]:
    """What the oracle says."""
    inputs = case.inputs
    if case.ulp is not None:
        inputs = tuple(x.astype(WIDE.get(x.dtype.kind, x.dtype)) for x in inputs)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's of a mean of nothing
        return [np.asarray(y) for y in flatten(case.oracle(*inputs))]


def _flushed(x: Array, signed: bool) -> Array:
    """Subnormal numbers of 32 bits as zeros; halves are none in the words of a GPU."""
    if x.dtype.kind == "c":
        return _flushed(x.real, signed) + 1j * _flushed(x.imag, signed)
    if x.dtype != np.float32:
        return x
    return np.where(np.abs(x) < TINY, np.copysign(0, x) if signed else 0, x).astype(x.dtype)


def flushed(case: Case) -> list[list[Array]] | None:
    """What the oracle says where subnormal arguments count as zeros, keeping their sign or not;
    None where it takes no zeros, so that the values are left open."""
    if not any(
        part.dtype == np.float32 and ((part != 0) & (np.abs(part) < TINY)).any()
        for x in case.inputs
        for part in (x.real, x.imag)
    ):
        return []
    found = []
    for signed in (True, False):
        inputs = tuple(_flushed(x, signed) for x in case.inputs)
        try:
            found.append(expected_of(replace(case, inputs=inputs)))
        except ValueError:
            return None
    return found


def check(case: Case, got: Sequence[Array], expected: Sequence[Array], gpu: bool = False) -> float:
    """The largest error in units of the last place; AssertionError where it is too large.

    On a `gpu` float32 numbers that are subnormal may count as zeros: what is to be subnormal may be
    a zero of either sign, of subnormal arguments the result may be that of zeros, and which of
    several subnormal numbers or zeros it is is left open. Functions that make a subnormal number on
    the way may be off by what `INSIDE` says. Nothing else is let through.
    """
    assert len(got) == len(expected), (len(got), len(expected))
    scales: Sequence[Any] = [None] * len(got)
    if case.scale is not None:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wide = (x.astype(WIDE.get(x.dtype.kind, x.dtype)) for x in case.inputs)
            scales = flatten(case.scale(*wide))
    others = flushed(case) if gpu else []
    if others is None:
        assert [y.shape for y in got] == [y.shape for y in expected]
        return 0.0
    worst = 0.0
    for i, (mine, theirs, scale) in enumerate(zip(got, expected, scales, strict=True)):
        also = [other[i] for other in others if other[i].shape == mine.shape]
        assert mine.shape in {theirs.shape, *(other.shape for other in also)}, (
            f"shape {mine.shape}, expected {theirs.shape}"
        )
        if mine.shape != theirs.shape:
            theirs = also[0]
        if gpu and case.op in WIDER and theirs.dtype.kind == "f":
            case = replace(case, ulp=WIDER[case.op], dtype=theirs.dtype.name)
        if case.ulp is None:
            assert mine.dtype == theirs.dtype, f"{mine.dtype}, expected {theirs.dtype}"
            if gpu:
                theirs = _excused(mine, theirs, also)
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert mine.dtype == np.dtype(case.dtype), f"{mine.dtype}, expected {case.dtype}"
            if mine.dtype.kind == "c":
                # The parts are as accurate as the number, unless it is not finite.
                with np.errstate(all="ignore"):
                    size = np.abs(theirs) if scale is None else scale
                    size = np.where(np.isfinite(size), size, 0)
                parts = [
                    (mine.real, theirs.real, size, [other.real for other in also]),
                    (mine.imag, theirs.imag, size, [other.imag for other in also]),
                ]
            else:
                parts = [(mine, theirs, scale, also)]
            for got_part, part, unit, more in parts:
                wide_ones = [other.astype(np.float64) for other in (part, *more)]
                worst = max(worst, _check_ulp(case, got_part, wide_ones, unit, gpu))
    return worst


def _excused(got: Array, expected: Array, also: Sequence[Array]) -> Array:
    """What is expected; in its place what was got, where that is a flushed number."""
    if got.dtype.kind == "c":
        real = _excused(got.real, expected.real, [other.real for other in also])
        return real + 1j * _excused(got.imag, expected.imag, [other.imag for other in also])
    fine = np.zeros(got.shape, bool)
    with np.errstate(invalid="ignore"):
        for other in also:
            fine |= (got == other) | ((got != got) & (other != other))
        if got.dtype == np.float32:
            for other in (expected, *also):
                fine |= (np.abs(got) < TINY if also else got == 0) & (np.abs(other) < TINY)
    return np.where(fine, got, expected)


def _check_ulp(case: Case, got: Array, accepted: Sequence[Array], scale: Any, gpu: bool) -> float:
    info = np.finfo(got.dtype)
    expected, wide = accepted[0], got.astype(np.float64)
    fine, least = np.False_, np.float64(np.inf)
    with np.errstate(all="ignore"):
        for one in accepted:
            rounded = one.astype(got.dtype)
            unit = np.spacing(np.abs(rounded)).astype(np.float64)
            if scale is not None:
                # Below the smallest normal number units no longer shrink.
                unit = np.maximum(info.eps * np.asarray(scale), info.smallest_subnormal)
            error = np.abs(wide - one) / unit
            same = (np.isnan(got) & np.isnan(one)) | (got == rounded)
            if gpu and got.dtype == np.float32:
                zero = np.abs(got) < TINY if len(accepted) > 1 else got == 0
                same |= zero & (np.abs(one) < TINY)
                same |= np.abs(wide - one) <= INSIDE.get(case.op, 0) * TINY
            # Beside the largest number the neighbour is infinity, one unit away.
            edge = np.float64(info.max) * (1 - (case.ulp or 0) * info.eps)
            near_the_edge = (np.abs(wide) >= edge) & (np.abs(one) >= edge)
            same |= near_the_edge & (np.sign(wide) == np.sign(one))
            fine = fine | same | (error <= case.ulp)
            least = np.fmin(least, np.where(same, 0, error))
    if not fine.all():
        worst = np.unravel_index(
            np.argmax(np.where(fine, -1, np.nan_to_num(least, nan=np.inf))), got.shape
        )
        arguments = [x[worst] for x in case.inputs if x.shape == got.shape]
        raise AssertionError(
            f"{case}: {np.count_nonzero(~fine)} of {got.size} wrong; at {tuple(map(int, worst))} "
            f"of arguments {arguments}: {got[worst]!r}, expected {expected[worst]!r} "
            f"({least[worst]:.3g} units, allowed {case.ulp})"
        )
    return float(np.max(least, initial=0.0))
