"""Derivatives of any op of the table, by finite differences in float64 along random directions.

Takes an op's own cases, so an op is checked as soon as it has rows. What only some functions have
(edges, kinks, higher orders) is in the files test_*gradients.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import tabgrad as tg
from tabgrad.errors import DtypeError, TabgradError
from tabgrad.tensor import Tensor
from tests.ops.comparing import Array, Case, flatten

LARGEST = 2000
"""Elements in all arguments of a case that is moved."""

FEW = 60
"""Elements of a list of special values that are moved at once."""

TRIES = 3
"""Cases of an op that are moved."""

STEP = 1e-4

WIDEST = (np.dtype(np.float64), np.dtype(np.complex128))
"""What differences are taken of."""

# Ops whose derivative along a random direction is no difference quotient, and why.
ELSEWHERE = {
    "cholesky": "reads one triangle: test_linalg_gradients.py",
    "linalg.cholesky": "reads one triangle: test_linalg_gradients.py",
    # Completed bases are not unique, so their second difference quotients mean nothing.
    "linalg.svd": "not unique: test_linalg_gradients.py",
    "svd": "not unique: test_linalg_gradients.py",
    "custom_gradient": "what its user says",
    "stop_gradient": "none, on purpose",
    "bitcast": "none: it reads bits",
    "view": "none: it reads bits",
    "unique": "sizes depend on values",
    "while_loop": "forwards only: test_control.py",
}


class Outcome(NamedTuple):
    """What the check of one op found: "1st order", "2nd order", or why there is none."""

    outcome: str
    wrong: list[str]


def candidates(cases: Sequence[Case]) -> list[Case]:
    """Cases that can be moved, the quick ones first; made so where an op has none."""
    whole = [case for case in cases if case.view == "as given" and case.inputs]
    small = [case for case in whole if 0 < sum(x.size for x in case.inputs) <= LARGEST]
    floats = [case for case in small if any(x.dtype.kind in "fc" and x.size for x in case.inputs)]
    found = [
        case
        for case in floats
        if all(_steady(x).all() for x in case.inputs if x.dtype.kind in "fc")
    ]
    if not found:
        found = [_ordinary(case) for case in floats]
    if not found:
        found = [
            replace(case, inputs=tuple(x.astype(np.float64) for x in case.inputs))
            for case in small
            if all(x.dtype == np.int32 for x in case.inputs)
        ]
    # A fold of one element is a special case of its own, and one that is made of another says no
    # more than that.
    found.sort(key=lambda c: (c.slow, ": dtype " in c.label, sum(x.size for x in c.inputs) < 2))
    # Complex numbers are moved in one case where there is one: their rules are others.
    turned = next((c for c in found if any(x.dtype.kind == "c" for x in c.inputs)), None)
    return sorted(found, key=lambda c: c is not turned)[:TRIES]


def _steady(x: Array) -> Array:
    """Where a step of a fixed size is small beside the number, or the number is 0."""
    size = np.abs(x)
    return (size == 0) | ((size > 1e-3) & (size < 1e4))


def _ordinary(case: Case) -> Case:
    """The case without special values: without those elements, or with others in their place."""
    fine = [
        np.isfinite(x) & (np.abs(x) > 0.01) & (np.abs(x) < 20)
        if x.dtype.kind in "fc"
        else np.ones(x.shape, bool)
        for x in case.inputs
    ]
    if case.inputs[0].ndim == 1 and len({x.shape for x in case.inputs}) == 1:
        places = np.flatnonzero(np.logical_and.reduce(fine))
        inputs = tuple(_wide(x[places]) for x in case.inputs)
        with np.errstate(all="ignore"):
            # Also beside each element, or it is an end of what the function is defined for.
            results = [
                y
                for scale in (1, 0.98, 1.02)
                for y in flatten(
                    case.oracle(*(scale * x if x.dtype in WIDEST else x for x in inputs))
                )
            ]
        if all(np.shape(y) == places.shape for y in results):
            good = np.flatnonzero(np.logical_and.reduce([np.isfinite(y) for y in results]))
            if good.size:
                good = good[:: good.size // FEW + 1]
                return replace(case, inputs=tuple(x[good] for x in inputs))
    inputs = tuple(
        np.where(on, x, np.asarray(0.7, x.dtype)) if x.dtype.kind in "fc" else x
        for x, on in zip(case.inputs, fine, strict=True)
    )
    return replace(case, inputs=inputs)


class Path:
    """A case along a straight line through its arguments: a function of one number."""

    def __init__(self, case: Case, seed: int, aside: float) -> None:
        self.case = case
        self.rng = np.random.default_rng(seed)
        self.start = [_wide(x) for x in case.inputs]
        self.moved = [x.dtype.kind in "fc" for x in self.start]
        if aside:
            self.start = [
                x + aside * self._direction(x) if moved else x
                for x, moved in zip(self.start, self.moved, strict=True)
            ]
        self.along = [self._direction(x) for x in self.start]
        results = self.at(0.0)
        self.weights = [self._direction(y) if y.dtype in WIDEST else None for y in results]
        self.finite = [np.isfinite(y) for y in results]

    def _direction(self, like: Array) -> Array:
        values = self.rng.normal(size=like.shape)
        if like.dtype.kind == "c":
            values = values + 1j * self.rng.normal(size=like.shape)
        return values

    def tensors(self, t: float) -> list[Tensor]:
        return [
            _given(x + t * d if moved else x)
            for x, d, moved in zip(self.start, self.along, self.moved, strict=True)
        ]

    def results(self, *xs: Tensor) -> list[Tensor]:
        return [y if isinstance(y, Tensor) else tg.tensor(y) for y in flatten(self.case.call(*xs))]

    def at(self, t: float) -> list[Array]:
        return [np.asarray(y) for y in self.results(*self.tensors(t))]

    def total(self, *xs: Tensor) -> Tensor:
        """A number that depends on all real and imaginary parts of the results."""
        total: Any = 0.0
        for y, weight, finite in zip(self.results(*xs), self.weights, self.finite, strict=True):
            if weight is None:
                continue
            if not finite.all():
                y = tg.where(_given(finite), y, 0.0)
            if weight.dtype.kind == "c":
                total = total + tg.sum(tg.real(y) * _given(weight.real))
                total = total + tg.sum(tg.imag(y) * _given(weight.imag))
            else:
                total = total + tg.sum(y * _given(weight))
        return total

    def slope(self, t: float) -> Tensor:
        """The derivative by t, through the gradient of `total`."""
        return _along(self.total, self.tensors(t), self.along, self.moved)

    def second(self, t: float) -> Tensor:
        """The second derivative by t."""

        def slope(*xs: Tensor) -> Tensor:
            return _along(self.total, list(xs), self.along, self.moved)

        return _along(slope, self.tensors(t), self.along, self.moved)


def _wide(x: Array) -> Array:
    return x.astype({"f": np.float64, "c": np.complex128}.get(x.dtype.kind, x.dtype))


def _given(x: Any) -> Tensor:
    x = np.asarray(x)
    return tg.tensor(x, dtype=x.dtype.name)


def _along(
    function: Callable[..., Tensor], xs: list[Tensor], along: list[Array], moved: list[bool]
) -> Tensor:
    """The derivative of a function of numbers along a direction, by its gradient."""
    numbers = tuple(i for i, on in enumerate(moved) if on)
    gradients = tg.grad(function, argnums=numbers)(*xs)
    total: Any = 0.0
    for i, gradient in zip(numbers, gradients, strict=True):
        if along[i].dtype.kind == "c":
            # As in JAX, a gradient is the conjugate of the direction uphill.
            total = total + tg.sum(tg.real(gradient) * _given(along[i].real))
            total = total - tg.sum(tg.imag(gradient) * _given(along[i].imag))
        else:
            total = total + tg.sum(gradient * _given(along[i]))
    return total


def _compared(function: Callable[[float], float], slope: float, noise: float) -> str | None:
    """What is wrong with a slope at 0, by Richardson's extrapolation of difference quotients."""
    middle = function(0.0)
    sides = [(function(h), function(-h), h) for h in (STEP, STEP / 2)]
    wide, narrow = ((right - left) / (2 * h) for right, left, h in sides)
    quotient = narrow + (narrow - wide) / 3
    if abs(wide - narrow) > 0.1 * abs(narrow) + 1e-3:
        raise Corner  # a jump
    # Where the function has a corner, its quotients on both sides differ at any distance.
    bends = [abs(right - 2 * middle + left) / h for right, left, h in sides]
    if bends[1] > 0.75 * bends[0] and bends[1] > 1e-3 * (abs(quotient) + 1e-3):
        raise Corner
    allowed = 1e-6 * (abs(quotient) + abs(slope)) + 4 * abs(quotient - narrow) + 1e-8 * noise
    if np.isfinite(slope) and abs(slope - quotient) <= allowed:
        return None
    return f"slope {slope:.10g}, difference quotient {quotient:.10g}"


class Corner(Exception):
    """The function has no derivative at this place."""


def _order(case: Case, aside: float) -> tuple[int, str]:
    """How many derivatives of a case agree, and what is wrong or why there are no more."""
    path = Path(case, 1, aside)
    here = path.at(0.0)
    if all(weight is None for weight in path.weights):
        floats = any(y.dtype.kind in "fc" for y in here)
        return 0, "not in float64" if floats else "gives no floats"
    if any(np.isnan(y).any() for y in here):
        raise Corner  # outside of what the function is defined for
    for beside in (path.at(STEP), path.at(-STEP)):
        if any(y.shape != z.shape for y, z in zip(here, beside, strict=True)):
            raise Corner  # how many results there are depends on the values
        if any((np.isfinite(y) != np.isfinite(z)).any() for y, z in zip(here, beside)):
            raise Corner  # the end of what the function is defined for
    noise = 1.0 + sum(float(np.abs(y).sum()) for y in here if y.dtype.kind in "fc")
    first = float(path.slope(0.0))
    problem = _compared(lambda t: float(path.total(*path.tensors(t))), first, noise)
    if problem is not None:
        raise AssertionError(f"{case}: {problem}")
    try:
        second = float(path.second(0.0))
        problem = _compared(lambda t: float(path.slope(t)), second, noise + abs(first))
    except (Corner, TabgradError):
        return 1, ""
    if problem is not None:
        raise AssertionError(f"{case}: second order, {problem}")
    return 2, ""


def derivatives_of(op: str, cases: Sequence[Case]) -> Outcome:
    """Check the first cases of an op that can be moved."""
    if op in ELSEWHERE:
        return Outcome(ELSEWHERE[op], [])
    reasons, wrong, highest = ["takes no floats"], [], 0
    for case in candidates(cases):
        for aside in (0.0, 0.01, 0.1):
            try:
                order, reason = _order(case, aside)
            except Corner:
                reasons.append("has jumps or corners")
                continue
            except AssertionError as problem:
                wrong.append(str(problem))
            except DtypeError:
                reasons.append("takes no floats")
            except TabgradError as error:
                reasons.append(str(error).partition(".")[0].partition(";")[0][:70])
            else:
                highest = max(highest, order)
                reasons.append(reason)
            break
    if highest:
        return Outcome("2nd order" if highest == 2 else "1st order", wrong)
    return Outcome("wrong" if wrong else reasons[-1], wrong)
