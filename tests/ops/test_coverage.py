"""Every operation of the table has every dimension (coverage.py), or a reason (reasons.py)."""

from __future__ import annotations

import numpy as np
import pytest

from tabgrad.errors import TabgradError
from tests.ops.comparing import VIEWS, Case, flatten
from tests.ops.coverage import DIMENSIONS, dimensions_of, names_by_function
from tests.ops.engines import WIDE_ENGINES, chosen
from tests.ops.reasons import OPEN as REASONS
from tests.ops.reasons import PARTICULAR, REFUSED, open_reason, reason_for
from tests.ops.table_derived import OPEN as LEFT_OPEN
from tests.ops.table_derived import REFUSED as CALLS
from tests.ops.table_derived import dimensions_with
from tests.ops.table_made import REFUSED as REFUSED_DTYPES
from tests.ops.test_table import CASES, NOT_ON_TENSORS, public_names

OPERATIONS = names_by_function(public_names() - NOT_ON_TENSORS)
"""The names of each function; what one name has, all have."""


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in CASES:
        found.setdefault(case.op, []).append(case)
    return found


def test_every_operation_has_every_dimension(cases: dict[str, list[Case]]) -> None:
    missing = []
    for aliases in OPERATIONS:
        own = [case for op in aliases for case in cases[op]]
        have = dimensions_with(aliases, own)
        missing += [
            f"{aliases[0]}: {dimension}"
            for dimension in DIMENSIONS
            if dimension not in have and not reason_for(aliases, dimension, own)
        ]
    assert not missing, "python -m tests.ops.finding finds cases for these"


def test_every_reason_is_one_of_something(cases: dict[str, list[Case]]) -> None:
    """No reason stays behind when an operation has what it was a reason for."""
    first = {aliases[0]: aliases for aliases in OPERATIONS}
    for op, dimension in PARTICULAR:
        own = [case for name in first[op] for case in cases[name]]
        assert dimension not in dimensions_with(first[op], own), (op, dimension)
    aliases_of = {op: aliases for aliases in OPERATIONS for op in aliases}
    reasons = {
        open_reason(aliases_of[case.op], dimension)
        for base, case in LEFT_OPEN
        for dimension in set(dimensions_of(case)) - set(dimensions_of(base))
    }
    assert reasons - {""} == {reason for reason, _, _ in REASONS}
    for base, case in LEFT_OPEN:
        new = set(dimensions_of(case)) - set(dimensions_of(base))
        assert any(open_reason(aliases_of[case.op], dimension) for dimension in new), str(case)


@pytest.mark.parametrize("op", sorted({case.op for case in CALLS}))
def test_what_is_refused_is_refused_with_an_error(op: str) -> None:
    """With one of tabgrad's errors, that says what was expected and what was received."""
    with chosen("reference"):
        for case in CALLS:
            if case.op != op:
                continue
            with pytest.raises(TabgradError) as error:
                for result in flatten(case.call(*map(VIEWS[case.view], case.inputs))):
                    np.asarray(result)
            assert "expected" in str(error.value), f"{case}: {error.value}"
            assert "received" in str(error.value), f"{case}: {error.value}"


@pytest.mark.parametrize(("op", "dimension"), sorted(REFUSED_DTYPES))
def test_dtypes_that_are_refused(op: str, dimension: str) -> None:
    with pytest.raises(TabgradError, match=r"expected .* received"):
        REFUSED_DTYPES[op, dimension]()


def test_what_is_refused_lacks_a_dimension_with_a_reason() -> None:
    wanted = {dimension for case in CALLS for dimension in dimensions_of(case)}
    assert set(REFUSED) & set(DIMENSIONS) <= wanted


@pytest.mark.parametrize("engine", WIDE_ENGINES)
@pytest.mark.parametrize("op", sorted({case.op for _, case in LEFT_OPEN}))
def test_open_values_change_no_shape(op: str, engine: str) -> None:
    with chosen(engine):
        for base, case in LEFT_OPEN:
            if case.op == op:
                before, after = (
                    [np.asarray(y) for y in flatten(one.call(*map(VIEWS["as given"], one.inputs)))]
                    for one in (base, case)
                )
                assert [y.shape for y in before] == [y.shape for y in after], str(case)
                if "dtype" not in case.label:
                    assert [y.dtype for y in before] == [y.dtype for y in after], str(case)
