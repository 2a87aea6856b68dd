"""Cases made from other cases: the same call and oracle on other shapes, dtypes, values or views.

derived.txt has a line for each: the kind, the operation, a change in a few words, the label of
its case.

    view                    through each of VIEWS
    sizes 3=17 4=0          axes of length 3 in any argument have 17 elements, those of 4 none
    axis 0.1=17             axis 1 of argument 0 has 17 elements
    scalar 0                argument 0 becomes its first element, 0-d; `scalar all` all of them
    dtype int8 all > int32  all arguments are of the first dtype and the result of the other;
                            instead of `all` either `floats` or the number of one argument;
                            `> uint8 rounded` rounds what the oracle computes in floats;
                            `> float64 as float32` is compared in units of float32, because the
                            oracle computes in that
    value nan 0             that value is among the elements of argument 0

Several changes are joined by `&`. A line begins with `taken` where the oracle says what comes out,
with `refused` where the call raises, with `open` where its values are left open (reasons.py).
finding.py finds the lines for what an operation lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.ops.comparing import VIEWS, Array, Case, flatten

ROWS = Path(__file__).parent / "derived.txt"

VALUES: dict[str, Callable[[np.dtype[Any]], list[float]]] = {
    "nan": lambda dtype: [np.nan],
    "inf": lambda dtype: [np.inf, -np.inf],
    "zeros": lambda dtype: [0.0, -0.0],
    "subnormal": lambda dtype: [
        float(np.finfo(dtype).tiny) * 0.3,
        -float(np.finfo(dtype).smallest_subnormal),
    ],
    "limits": lambda dtype: [float(np.finfo(dtype).max), float(np.finfo(dtype).min)],
}
"""Special values by the names that changes have for them."""


def changed(case: Case, change: str) -> list[Case]:
    """The cases that a change makes of one: three of `view`, else one."""
    if change == "view":
        return [
            replace(case, label=f"{case.label} through {view}", view=view, slow=True)
            for view in VIEWS
            if view != "as given"
        ]
    made = case
    for part in change.split(" & "):
        kind, *words = part.split()
        with np.errstate(all="ignore"):
            made = CHANGES[kind](made, *words)
    return [replace(made, label=f"{case.label}: {change}", slow=not change.startswith("dtype"))]


def _sizes(case: Case, *words: str) -> Case:
    sizes = {int(a): int(b) for a, b in (word.split("=") for word in words)}
    inputs = tuple(_resized(x, [sizes.get(n, n) for n in x.shape]) for x in case.inputs)
    return replace(case, inputs=inputs)


def _axis(case: Case, word: str) -> Case:
    at, _, size = word.partition("=")
    which, axis = map(int, at.split("."))
    shape = list(case.inputs[which].shape)
    shape[axis] = int(size)
    return _with(case, which, _resized(case.inputs[which], shape))


def _scalar(case: Case, which: str) -> Case:
    for i in range(len(case.inputs)) if which == "all" else [int(which)]:
        case = _with(case, i, case.inputs[i].reshape(-1)[0:1].reshape(()))
    return case


def _value(case: Case, name: str, which: str) -> Case:
    x = case.inputs[int(which)].copy()
    some = VALUES[name](x.dtype)[: x.size]
    for i, value in enumerate(some):
        x.flat[(i * x.size) // len(some)] = value
    return _with(case, int(which), x)


def _with(case: Case, which: int, x: Array) -> Case:
    return replace(case, inputs=(*case.inputs[:which], x, *case.inputs[which + 1 :]))


def _resized(x: Array, shape: Sequence[int]) -> Array:
    """The elements over again along each axis, never quite the same where they are floats."""
    if tuple(shape) == x.shape:
        return x
    if 0 in x.shape:
        raise ValueError("an array without elements has none to repeat")
    places = np.ix_(*(np.arange(n) % old for n, old in zip(shape, x.shape, strict=True)))
    result = x[places]
    if x.dtype.kind == "f" and not (8 * x == np.round(8 * x)).all():
        low, high = float(x.min()), float(x.max()) + float(x.min() == x.max())
        noise = np.random.default_rng(7).uniform(0, 1, result.shape)
        turns = [np.arange(n) // old for n, old in zip(shape, x.shape, strict=True)]
        again = sum(np.ix_(*turns)) > 0  # type: ignore[arg-type]
        mixed = (result + (low + (high - low) * noise)) / 2
        result = np.where(again, mixed, result).astype(x.dtype)
    return result


def _dtype(case: Case, dtype: str, which: str, *result: str) -> Case:
    inputs = []
    for i, x in enumerate(case.inputs):
        if which not in ("all", str(i)) and not (which == "floats" and x.dtype.kind in "fc"):
            inputs.append(x)
            continue
        if x.dtype.kind == "c" and dtype[0] != "c":
            x = x.real
        if dtype[0] == "u":
            x = np.abs(x)
        if dtype == "bool":
            x = x > 0
        if dtype[0] == "c" and x.dtype.kind != "c":
            x = x + 1j * np.roll(x, 1)
        inputs.append(x.astype(dtype))
    made = replace(case, inputs=tuple(inputs))
    if not result:
        return made
    found = [np.dtype(name) for name in result[1].split(",")]
    floats = any(d.kind in "fc" for d in found)
    oracle = case.oracle
    if floats and not any(x.dtype.kind in "fc" for x in inputs):
        oracle = _from_floats(oracle)
    elif dtype == "bool" and all(d.kind in "iu" for d in found):
        oracle = _counting(oracle)
    if "rounded" in result:
        oracle = _rounded(case.oracle)
    if case.ulp is None or not floats:
        return replace(made, oracle=_as_dtypes(oracle, found), ulp=None, scale=None)
    kind = max((d for d in found if d.kind in "fc"), key=lambda d: d.itemsize).name
    scale = _single(case) if "as" in result else case.scale
    return replace(made, oracle=oracle, dtype=kind, scale=scale)


def _as_dtypes(oracle: Callable[..., Any], dtypes: Sequence[np.dtype[Any]]) -> Callable[..., Any]:
    """The oracle's results in the documented dtypes."""

    def converted(*xs: Array) -> list[Array]:
        results = flatten(oracle(*xs))
        with np.errstate(all="ignore"):
            return [np.asarray(y).astype(d) for y, d in zip(results, dtypes, strict=True)]

    return converted


def _from_floats(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """The oracle of integers that the function takes for real numbers."""
    return lambda *xs: oracle(*(x.astype(np.float64) for x in xs))


def _counting(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """The oracle with 1 for True."""
    return lambda *xs: oracle(*(x.astype(np.int32) if x.dtype == bool else x for x in xs))


def _rounded(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """The nearest whole numbers to what the oracle computes."""
    return lambda *xs: [np.rint(y) for y in flatten(_from_floats(oracle)(*xs))]


def _single(case: Case) -> Callable[..., Any]:
    """A scale that makes units of float64 those of float32."""

    def scale(*xs: Array) -> list[Array]:
        own = flatten((case.scale or case.oracle)(*xs))
        return [np.abs(np.asarray(y)) * 2.0**29 for y in own]

    return scale


CHANGES: dict[str, Callable[..., Case]] = {
    "sizes": _sizes,
    "axis": _axis,
    "scalar": _scalar,
    "value": _value,
    "dtype": _dtype,
}


def rows() -> list[tuple[str, str, str, str]]:
    """The lines of derived.txt: taken, refused or open; operation, change, label of the case."""
    lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.exists() else []
    return [(kind, op, change, label) for kind, op, change, label in (x.split("\t") for x in lines)]
