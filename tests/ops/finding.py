"""Finds the changes (deriving.py) that give operations the dimensions their cases lack.

    .venv/bin/python -m tests.ops.finding [name ...]

A change is taken where the oracle takes it, whatever the operation does with it, so what is found
may fail; that is what it is for. What neither takes is written as refused, which reasons.py has to
have a reason for. Lines that are in derived.txt already stay.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad.errors import TabgradError
from tests.ops.comparing import VIEWS, WIDE, Array, Case, expected_of, flatten
from tests.ops.coverage import DIMENSIONS, dimensions_of, names_by_function
from tests.ops.deriving import ROWS, VALUES, _resized, changed, rows
from tests.ops.engines import chosen
from tests.ops.reasons import open_reason, reason_for
from tests.ops.table_derived import BASES, dimensions_with
from tests.ops.test_table import CASES, NOT_ON_TENSORS, public_names, run

LARGEST = 5000
"""Elements in all arguments of a case that is changed."""

TRIES = 40
"""Changes that are tried for a dimension, and of how many cases."""

SECONDS = 6.0
"""For a dimension."""


def dtype_of_result(raw: np.dtype[Any], given: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The documented dtype of a result for which NumPy has `raw`.

    Integers and bools become float32, not float64; counts, places and sums of small integers
    take 32 bits. What NumPy computes in half as many bits for int8 is float32, too.
    """
    wide = any(d in (np.float64, np.complex128) for d in given)
    floats = any(d.kind in "fc" for d in given)
    if raw.kind == "f" and not floats:
        return np.dtype(np.float32)
    if raw.kind in "fc" and not wide and raw.itemsize == WIDE[raw.kind]().itemsize:
        return np.dtype({"f": np.float32, "c": np.complex64}[raw.kind])
    if raw.kind in "iu" and raw not in given and raw.itemsize == 8:
        return np.dtype({"i": np.int32, "u": np.uint32}[raw.kind])
    return raw


AS_FLOATS = (
    "conv", "conv_transpose", "depthwise_conv", "nn.separable_conv", "hard_shrink", "hard_tanh",
    "image.gaussian_blur", "image.sobel_edges", "image.scale_and_translate", "linalg.multi_dot",
    "cov", "gradient", "interp", "nn.prelu", "soft_shrink", "sparsemax", "unwrap",
    "segment.sparse_to_dense", "nn.compute_weighted_loss",
    "nanquantile",
    "reciprocal", "segment.mean", "segment.sparse_segment_mean", "signal.istft", "view_as_real",
)  # fmt: skip
"""Functions of real numbers whose oracles have integers of integers."""

WHOLE = (
    "image.affine_transform", "image.transform", "image.perspective_transform", "image.resize",
    "image.rotate_with_offset", "image.elastic_transform", "image.map_coordinates",
)  # fmt: skip
"""Functions that round what they compute of integers."""

KEPT = ("conj", "conjugate", "relu")
"""Functions of any dtype that NumPy has only for numbers."""

COUNTED = (
    "dot", "einsum", "inner", "kron", "fmod", "outer", "vdot", "correlate", "mod", "multiply",
    "power", "square", "trace", "vander", "segment.sparse_segment_sum", "linalg.matmul",
    "linalg.outer", "linalg.tensordot", "linalg.vecdot", "linalg.trace", "negative", "sign", "ptp",
    "associative_scan", "column_stack", "convolve", "polyval",
)  # fmt: skip
"""Functions that count bools, for which NumPy says `and` and `or`."""

IN_SINGLE = (
    "fft", "ifft", "fft2", "ifft2", "rfft", "irfft", "ctc_loss", "ctc_decode", "signal.dct",
    "signal.idct", "signal.istft", "signal.mel_spectrogram", "signal.mfcc",
    "signal.mfccs_from_log_mel_spectrograms", "image.scale_and_translate", "view_as_real",
)  # fmt: skip
"""Besides `fft`: for float16 they compute, and answer, in float32."""


def _documented(op: str, given: np.dtype[Any], raw: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a result where the rule of NumPy's functions is not the operation's."""
    if op in AS_FLOATS and given.kind in "iub":
        return np.dtype(np.float32)
    if op in (*KEPT, *WHOLE) and given.kind in "iub":
        return given
    if op in COUNTED and given.kind == "b":
        return np.dtype(np.int32)
    single = op.startswith("fft.") or op in IN_SINGLE
    return np.dtype(np.float32) if single and raw == np.float16 else raw


def attempts(case: Case, dimension: str) -> Iterator[str]:
    """Changes of a case that would give it a dimension, the plainest first."""
    inputs = case.inputs
    lengths = sorted({n for x in inputs for n in x.shape}, reverse=True)
    size = {"empty": 0, "one": 1}.get(dimension)
    if dimension.startswith("size "):
        size = int(dimension[5:])
    if dimension == "view":
        yield "view"
    elif dimension == "0-d":
        if len(inputs) > 1:
            yield "scalar all"
        yield from (f"scalar {i}" for i, x in enumerate(inputs) if x.size)
    elif dimension == "one":
        yield "sizes " + " ".join(f"{n}=1" for n in lengths)
        for i, x in enumerate(inputs):
            if sum(n != 1 for n in x.shape) == 1:
                yield f"axis {i}.{next(d for d, n in enumerate(x.shape) if n != 1)}=1"
            yield "sizes " + " ".join(f"{n}=1" for n in x.shape if n != 1)
    elif size is not None:
        yield from (f"sizes {n}={size}" for n in lengths)
        for i, x in enumerate(inputs):
            yield from (f"axis {i}.{d}={size}" for d in range(x.ndim))
    elif dimension == "broadcast":
        for i, x in enumerate(inputs):
            yield from (f"axis {i}.{d}=1" for d, n in enumerate(x.shape) if n > 1)
        yield from (f"scalar {i}" for i in range(len(inputs)))
    elif dimension in VALUES:
        floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        if not floats:
            yield from (f"dtype float32 all & value {dimension} {i}" for i in range(len(inputs)))
        yield from (f"value {dimension} {i}" for i in floats)
    else:
        dtype = {"signed": "int32", "unsigned": "uint8", "complex": "complex64"}.get(dimension)
        floats = any(x.dtype.kind in "fc" for x in inputs)
        for chosen_ones in (["floats"] if floats else []) + ["all"]:
            yield f"dtype {dtype or dimension} {chosen_ones}"
        if len(inputs) > 1:
            yield from (f"dtype {dtype or dimension} {i}" for i in range(len(inputs)))


def resolved(case: Case, change: str) -> str:
    """The change with the dtype of its result, which is NumPy's or the documented one."""
    parts = change.split(" & ")
    if not parts[0].startswith("dtype"):
        return change
    (made,) = changed(case, parts[0])
    given = [x.dtype for x in made.inputs]
    asked = made.inputs
    if case.ulp is not None:  # as `expected_of` asks
        asked = tuple(x.astype(np.float64) if x.dtype.kind == "f" else x for x in asked)
    with np.errstate(all="ignore"):
        try:
            raws = [np.asarray(y).dtype for y in flatten(case.oracle(*asked))]
        except TypeError:  # a function that NumPy has for floats only
            asked = tuple(x.astype(np.float64) for x in asked)
            raws = [np.asarray(y).dtype for y in flatten(case.oracle(*asked))]
        before = [np.asarray(y).dtype for y in flatten(case.oracle(*case.inputs))]
    if case.ulp is not None and any(d.kind in "fc" for d in given):
        found = [_floats_as(np.dtype(parts[0].split()[1]), case.dtype, raw) for raw in raws]
    else:
        found = [dtype_of_result(raw, given) for raw in raws]
    kinds = {x.dtype for x in case.inputs}
    if len(kinds) == 1:
        # An oracle that always has the dtype which its arguments had.
        new = np.dtype(parts[0].split()[1])
        found = [
            new if {raw, old} == kinds and new != old else dtype
            for raw, old, dtype in zip(raws, before, found, strict=True)
        ]
    found = [_documented(case.op, np.dtype(parts[0].split()[1]), d) for d in found]
    names = ",".join(d.name for d in found)
    single = case.ulp is not None and "64" in parts[0] and any(d.itemsize >= 8 for d in found)
    parts[0] += f" > {names}" + (" as float32" if single and _is_single(case, made) else "")
    if case.op in WHOLE and np.dtype(parts[0].split()[1]).kind in "iub":
        parts[0] += " rounded"
    return " & ".join(parts)


def _floats_as(given: np.dtype[Any], before: str, raw: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a result that was `before` for float32, when floats are `given`."""
    if raw.kind not in "fc" or given.kind not in "fc":
        return np.dtype(before) if raw.kind in "fc" else dtype_of_result(raw, [given])
    double = given in (np.float64, np.complex128)
    if raw.kind == "c":
        return np.dtype(np.complex128 if double else np.complex64)
    return given if given.kind == "f" else np.dtype(np.float32)


def _is_single(case: Case, made: Case) -> bool:
    """Whether the oracle computes in float32 whatever it is given."""
    with np.errstate(all="ignore"):
        wide = (x.astype(WIDE.get(x.dtype.kind, x.dtype)) for x in made.inputs)
        results = [np.asarray(y) for y in flatten(case.oracle(*wide))]
    half = {"f": np.float32, "c": np.complex64}
    return all(
        np.array_equal(y, y.astype(half[y.dtype.kind]), equal_nan=True)
        for y in results
        if y.dtype.kind in "fc"
    )


def _is_constant(case: Case) -> bool:
    """Whether the oracle does not look at its arguments."""
    moved = tuple(
        x[::-1] * x[::-1] * x.dtype.type(0.5) if x.dtype.kind in "fc" and x.ndim else x
        for x in case.inputs
    )
    if all(x is y for x, y in zip(moved, case.inputs, strict=True)):
        moved = tuple(np.roll(x, 1) + x.dtype.type(1) if x.dtype.kind != "b" else ~x for x in moved)
    try:
        with np.errstate(all="ignore"):
            one, other = (flatten(case.oracle(*xs)) for xs in (case.inputs, moved))
    except Exception:  # an oracle that looks at them
        return False
    larger = tuple(_resized(x, [n + 1 for n in x.shape]) for x in case.inputs)
    try:
        with np.errstate(all="ignore"):
            third = flatten(case.oracle(*larger))
    except Exception:  # one that is particular
        third = one
    if any(np.shape(x) != np.shape(y) for x, y in zip(one, third, strict=True)):
        return False
    if all(np.asarray(x).dtype.kind == "b" and not np.ndim(x) for x in one):
        return False
    return all(
        np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind in "fc")
        for x, y in zip(one, other, strict=True)
    )


def bases(cases: Sequence[Case]) -> list[Case]:
    """Cases to change: ordinary ones, of every number and rank of arguments."""
    whole = [c for c in cases if c.inputs and c.view == "as given"]
    # A name that `tg.nn` gives a function again has but one of its cases, now this and now that.
    whole = [c for c in whole if not c.op.startswith("nn.") or not hasattr(tg.ops, c.op[3:])]
    whole = [c for c in whole if (c.op, c.label) in BASES]
    whole = [c for c in whole if all(x.size for x in c.inputs)]
    whole = [c for c in whole if sum(x.size for x in c.inputs) <= LARGEST]
    plain = [c for c in whole if all(_is_ordinary(x) for x in c.inputs)] or whole
    plain.sort(key=lambda c: c.slow or "eras" in c.label)
    kept: dict[Any, list[Case]] = {}
    for case in plain:
        kind = tuple((x.ndim, x.dtype.kind) for x in case.inputs)
        if len(kept.setdefault(kind, [])) < 2:
            kept[kind].append(case)
    found = [some[turn] for turn in range(2) for some in kept.values() if len(some) > turn]
    return [case for case in found[:8] if not _is_constant(case)]


def _is_ordinary(x: Array) -> bool:
    return x.dtype.kind not in "fc" or bool((np.isfinite(x) & (np.abs(x) < 1e4)).all())


def find(op: str, dimension: str, among: Sequence[Case]) -> tuple[str, str] | None:
    """The line that gives an operation a dimension, and what the reference makes of it."""
    refused: tuple[str, str] | None = None
    started, tried = time.monotonic(), 0
    for case in among:
        for change in dict.fromkeys(attempts(case, dimension)):
            tried += 1
            if tried > TRIES or time.monotonic() - started > SECONDS:
                return refused
            try:
                change = resolved(case, change)
                made = changed(case, change)
                for one in made:
                    expected_of(one)
            except Exception:  # whatever it is, the oracle does not take it
                refused = refused or _refused(case, change, dimension)
                continue
            if dimension not in dimensions_of(made[0]):
                continue
            line, said = f"taken\t{case.op}\t{change}\t{case.label}", ""
            try:
                for one in made:
                    run(one)
            except TabgradError as problem:
                plain = f"refused\t{case.op}\t{change.partition(' > ')[0]}\t{case.label}"
                refused = refused or (plain, f"the oracle takes it: {problem}")
                continue
            except Exception as problem:  # what it does is for the table to say
                said = f"{type(problem).__name__} {problem}".replace("\n", " ")
            return line, said
    return refused


def left_open(dimension: str, among: Sequence[Case]) -> tuple[str, str] | None:
    """The first line for a dimension whose values are left open."""
    for case in among:
        for change in attempts(case, dimension):
            try:
                if dimension in dimensions_of(changed(case, change)[0]):
                    return f"open\t{case.op}\t{change}\t{case.label}", ""
            except Exception:  # a change that cannot be made
                continue
    return None


def _refused(case: Case, change: str, dimension: str) -> tuple[str, str] | None:
    try:
        (made, *_) = changed(case, change.partition(" > ")[0])
        if dimension in dimensions_of(made):
            for result in flatten(made.call(*map(VIEWS[made.view], made.inputs))):
                np.asarray(result)
    except TabgradError as error:
        line = f"refused\t{case.op}\t{change.partition(' > ')[0]}\t{case.label}"
        return line, f"neither takes it: {error}"
    except Exception:  # the change itself cannot be made
        return None
    return None


def main(names: Sequence[str]) -> None:
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", np.exceptions.ComplexWarning)
    by_op: dict[str, list[Case]] = {}
    for case in CASES:
        by_op.setdefault(case.op, []).append(case)
    lines = {"\t".join(row) for row in rows()}
    with chosen("reference"):
        for aliases in names_by_function(public_names() - NOT_ON_TENSORS):
            if names and not set(names) & set(aliases):
                continue
            cases = [case for op in aliases for case in by_op[op]]
            among = None
            have = dimensions_with(aliases, cases)
            for dimension in DIMENSIONS:
                if dimension in have or reason_for(aliases, dimension, cases):
                    continue
                among = bases(cases) if among is None else among
                if open_reason(aliases, dimension):
                    found = left_open(dimension, among)
                else:
                    found = find(aliases[0], dimension, among)
                if found is None:
                    print(f"{aliases[0]}\t{dimension}\tNOTHING", flush=True)
                    continue
                lines.add(found[0])
                print(f"{aliases[0]}\t{dimension}\t{found[0]}\t{found[1]}", flush=True)
            ordered = sorted(lines, key=lambda line: line.split("\t")[1:])
            ROWS.write_text("".join(line + "\n" for line in ordered), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
