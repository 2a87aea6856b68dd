"""The op table: what other tables have, on more shapes, dtypes, values and views (deriving.py)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.ops.comparing import Case
from tests.ops.coverage import dimensions_of
from tests.ops.deriving import changed, rows
from tests.ops.table_made import REFUSED as REFUSED_DTYPES

BASES: dict[tuple[str, str], Case] = {
    (case.op, case.label): case
    for path in sorted(Path(__file__).parent.glob("table_*.py"))
    if path.stem != "table_derived"
    for case in importlib.import_module(f"tests.ops.{path.stem}").CASES
}
"""The cases of all other tables."""


def _cases(wanted: str) -> Iterator[Case]:
    for kind, op, change, label in rows():
        if kind == wanted:
            yield from changed(BASES[op, label], change)


CASES = list(_cases("taken"))

REFUSED = list(_cases("refused"))
"""Calls that raise one of tabgrad's errors."""

OPEN = [
    (BASES[op, label], case)
    for kind, op, change, label in rows()
    if kind == "open"
    for case in changed(BASES[op, label], change)
]
"""Cases, and calls like them whose values are left open."""


def dimensions_with(aliases: Sequence[str], cases: Iterable[Case]) -> set[str]:
    """The dimensions of an operation of these names: of its cases, and of its calls that are
    refused or left open."""
    besides = [case for case in (*REFUSED, *(case for _, case in OPEN)) if case.op in aliases]
    of_cases = {dimension for case in (*cases, *besides) for dimension in dimensions_of(case)}
    return of_cases | {dimension for op, dimension in REFUSED_DTYPES if op in aliases}
