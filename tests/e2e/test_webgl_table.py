"""The op table on WebGL2 in Chromium: of each operation a case for every class of dtypes.

`make test-all` is for the whole table; here a page takes a minute or two. Cases and tolerances are
those of all engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.errors import NotSupportedError
from tests.engines.browser import BrowserEngine
from tests.ops.comparing import VIEWS, Case, check, expected_of, flatten
from tests.ops.coverage import by_class
from tests.ops.test_table import CASES

REFUSAL = (
    r"expected dtypes of at most 32 bits on WebGL; received (u?int|float)64\. "
    r"Cast to (int|float)32, or use tg\.set_engine\('wasm'\)"
)
FITTING, WIDE = by_class(case for case in CASES if not case.slow)


@pytest.fixture(scope="module")
def opened() -> Iterator[BrowserEngine]:
    made = BrowserEngine("webgl")
    yield made
    made.close()


@pytest.fixture
def engine(opened: BrowserEngine) -> Iterator[BrowserEngine]:
    """The engine of all tests here, current in each."""
    with realize.using(opened):
        yield opened


def results_of(case: Case) -> list[np.ndarray]:
    """What the current engine makes of a case."""
    results = flatten(case.call(*map(VIEWS[case.view], case.inputs)))
    realize.realize([node for result in results for node in result.parts if node is not None])
    return [np.asarray(result) for result in results]


@pytest.mark.parametrize("case", FITTING, ids=str)
def test_op(engine: BrowserEngine, case: Case) -> None:
    expected = expected_of(case)
    try:
        got = results_of(case)
    except NotSupportedError as error:
        # A result may be wide though no argument is.
        assert any(y.dtype.itemsize == 8 and y.dtype.kind != "c" for y in expected), error
        assert re.fullmatch(REFUSAL, str(error))
        return
    check(case, got, expected, True)


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_64_bits_are_refused(engine: BrowserEngine, case: Case) -> None:
    """Where something has to be computed: nobody minds what is only handed on."""
    try:
        got = results_of(case)
    except NotSupportedError as error:
        assert re.fullmatch(REFUSAL, str(error))
        return
    check(case, got, expected_of(case), True)


def test_the_engine_is_not_the_usual_one(engine: BrowserEngine) -> None:
    draws = engine.evaluate("(engine) => engine.counts.draws")
    assert float(tg.sum(tg.tensor([1.0, 2.0])) * 2) == 6
    assert engine.evaluate("(engine) => engine.counts.draws") > draws
