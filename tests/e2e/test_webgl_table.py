"""The op table on WebGL2 in Chromium: of each operation a case for every class of dtypes.

`make test-all` is for the whole table; here a page takes a minute or two. Cases and tolerances are
those of all engines.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tabgrad as tg
from tabgrad import realize
from tests.engines.browser import BrowserEngine
from tests.ops.comparing import Case
from tests.ops.coverage import by_class
from tests.ops.engines import chosen, close_pages
from tests.ops.test_table import CASES, run

FITTING, WIDE = by_class(case for case in CASES if not case.slow)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_pages()


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    """The engine of all tests here, current in each."""
    with chosen("webgl in a page"):
        yield realize.engine()


@pytest.mark.parametrize("case", FITTING, ids=str)
def test_op(engine: BrowserEngine, case: Case) -> None:
    run(case)


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_64_bits_are_refused(engine: BrowserEngine, case: Case) -> None:
    """Where something has to be computed: nobody minds what is only handed on."""
    run(case)


def test_the_engine_is_not_the_usual_one(engine: BrowserEngine) -> None:
    draws = engine.evaluate("(engine) => engine.counts.draws")
    assert float(tg.sum(tg.tensor([1.0, 2.0])) * 2) == 6
    assert engine.evaluate("(engine) => engine.counts.draws") > draws
