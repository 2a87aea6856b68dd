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
from tests.ops.test_table import CASES

REFUSAL = (
    r"expected dtypes of at most 32 bits on WebGL; received (u?int|float)64\. "
    r"Cast to (int|float)32, or use tg\.set_engine\('wasm'\)"
)
CLASSES = {"f": "floats", "c": "complex", "i": "integers", "u": "integers", "b": "integers"}


def class_of(case: Case) -> str:
    """What its numbers are: wide ones a GPU does not have."""
    found = {x.dtype for x in case.inputs} | {np.dtype(case.dtype)}
    if any(dtype.itemsize >= (16 if dtype.kind == "c" else 8) for dtype in found):
        return "wide"
    if np.dtype("float16") in found:
        return "halves"
    kinds = {CLASSES[x.dtype.kind] for x in case.inputs} or {CLASSES[np.dtype(case.dtype).kind]}
    return next(name for name in ("complex", "floats", "integers") if name in kinds)


def representatives() -> tuple[list[Case], list[Case]]:
    """A case for each operation and class, and some that ask for 64 bits."""
    chosen: dict[tuple[str, str], Case] = {}
    for case in CASES:
        if not case.slow:
            # The same function may be public under several names.
            chosen.setdefault((case.op.split(".")[-1], class_of(case)), case)
    fitting = [case for (_, name), case in chosen.items() if name != "wide"]
    wide = [case for (_, name), case in chosen.items() if name == "wide"]
    return fitting, wide[::20]


FITTING, WIDE = representatives()


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
