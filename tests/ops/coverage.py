"""Which dimensions of the op table the cases of an operation have, read off their arguments.

A dimension is a kind of shape, dtype, value or view. test_coverage.py asks that every operation has
every one of them or stands in `reasons.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tests.ops.comparing import SIZES, Array, Case, expected_of

SHAPES = ("0-d", "empty", "one", *(f"size {n}" for n in SIZES if n > 1), "broadcast", "view")
DTYPES = ("bool", "signed", "unsigned", "float16", "float32", "float64", "complex")
VALUES = ("nan", "inf", "zeros", "subnormal", "limits")
DIMENSIONS = (*SHAPES, *DTYPES, *VALUES)

KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "c": "complex"}


def function_of(op: str) -> Callable[..., Any]:
    """The function that an operation's name stands for; several names may stand for one."""
    space, _, name = op.rpartition(".")
    found: Callable[..., Any] = getattr(getattr(tg, space or "ops"), name)
    return found


def names_by_function(names: Iterable[str]) -> list[list[str]]:
    """Names of operations, those of one function together: they share their cases."""
    found: dict[int, list[str]] = {}
    for name in sorted(names):
        found.setdefault(id(function_of(name)), []).append(name)
    return list(found.values())


def dimensions_of(case: Case) -> Iterator[str]:
    """The dimensions that a case has. Where there is no argument, its results have the shapes."""
    arrays = case.inputs or tuple(expected_of(case))
    for x in arrays:
        yield from _of_shape(x.shape)
        if case.inputs or case.ulp is None:
            yield KINDS.get(x.dtype.kind, x.dtype.name)
        else:
            yield case.dtype
        if x.dtype.kind == "f":
            yield from _of_values(x)
        elif x.dtype.kind == "c":
            yield from _of_values(x.real)
            yield from _of_values(x.imag)
    if "complex" in case.label.split() and len(arrays) > 1:
        yield "complex"  # some take it as two arrays, which their call makes one
    if broadcasts([x.shape for x in arrays]):
        yield "broadcast"
    if case.view != "as given" and any(x.size > 1 for x in arrays):
        yield "view"


def _of_shape(shape: tuple[int, ...]) -> Iterator[str]:
    if not shape:
        yield "0-d"
    elif 0 in shape:
        yield "empty"
    elif max(shape) == 1:
        yield "one"
    for n in shape:
        if n in SIZES and n > 1:
            yield f"size {n}"


def _of_values(x: Array) -> Iterator[str]:
    if not x.size:
        return
    size = np.abs(x)
    if np.isnan(x).any():
        yield "nan"
    if np.isinf(x).any():
        yield "inf"
    if (np.signbit(x) & (x == 0)).any():
        yield "zeros"
    if ((size > 0) & (size < np.finfo(x.dtype).tiny)).any():
        yield "subnormal"
    if (size == np.finfo(x.dtype).max).any():
        yield "limits"


def broadcasts(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether two of several shapes differ and go together."""
    different = [(a, b) for a in shapes for b in shapes if a != b]
    for one, other in different:
        try:
            np.broadcast_shapes(one, other)
        except ValueError:
            continue
        return True
    return False


TELLING = (*DTYPES, "nan", "zeros", "limits", "empty", "broadcast", "view")


def representatives(cases: Iterable[Case]) -> list[Case]:
    """As few cases of each operation as have all the `TELLING` dimensions that its cases have."""
    by_op: dict[str, list[tuple[Case, set[str]]]] = {}
    for case in cases:
        # What takes no arrays has no views nor special values, and asking its oracle takes time.
        found = {*dimensions_of(case)} & {*TELLING} if case.inputs else {"made"}
        by_op.setdefault(case.op, []).append((case, found))
    chosen = []
    for some in by_op.values():
        missing = set[str]().union({"any"}, *(found for _, found in some))
        while missing:
            case, found = max(some, key=lambda one: len(one[1] & missing))
            chosen.append(case)
            missing -= found | {"any"}
    return chosen


_CLASSES = {"f": "floats", "c": "complex", "i": "integers", "u": "integers", "b": "integers"}


def _class_of(case: Case) -> str:
    """What its numbers are: wide ones a GPU does not have."""
    found = {x.dtype for x in case.inputs} | {np.dtype(case.dtype)}
    if any(dtype.itemsize >= (16 if dtype.kind == "c" else 8) for dtype in found):
        return "wide"
    if np.dtype("float16") in found:
        return "halves"
    kinds = {_CLASSES[x.dtype.kind] for x in case.inputs} or {_CLASSES[np.dtype(case.dtype).kind]}
    return next(name for name in ("complex", "floats", "integers") if name in kinds)


def by_class(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """A case for each operation and class of dtypes, and some that ask for 64 bits."""
    chosen: dict[tuple[str, str], Case] = {}
    for case in cases:
        # The same function may be public under several names.
        chosen.setdefault((case.op.split(".")[-1], _class_of(case)), case)
    wide = [case for (_, name), case in chosen.items() if name == "wide"]
    return [case for (_, name), case in chosen.items() if name != "wide"], wide[::20]
