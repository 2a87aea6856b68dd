"""The engines that most tests of this folder compute on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ops.engines import WIDE_ENGINES, chosen


@pytest.fixture(scope="module", params=WIDE_ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """One engine after the other that computes in every dtype; a file may have others."""
    with chosen(request.param):
        yield request.param


@pytest.fixture(scope="module")
def reference() -> Iterator[None]:
    """Each shape is a Program of its own, which the reference alone does not have to compile."""
    with chosen("reference"):
        yield
