"""Scatters of many updates on the player's WebGL2 engine: sorted first, the results NumPy's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tests.engines.browser import BrowserEngine

RANDOM = np.random.default_rng(1)
UPDATES, PLACES, COLUMNS = 6000, 1000, 20
VALUES = RANDOM.standard_normal(UPDATES).astype(np.float32)
AT = RANDOM.integers(-PLACES, PLACES, UPDATES).astype(np.int32)  # some count from the end
ROWS = RANDOM.standard_normal((UPDATES // 8, COLUMNS)).astype(np.float32)


@pytest.fixture(scope="module")
def engine() -> Iterator[BrowserEngine]:
    made = BrowserEngine("webgl")
    yield made
    made.close()


def results(engine: BrowserEngine, f: Callable[..., Any], *arrays: Any) -> tuple[Any, list[Any]]:
    """What a compiled function of arrays gives, and its launches."""
    compiled = tg.compile(f)
    with realize.using(engine):
        given = [tg.tensor(array) for array in arrays]
        value = np.asarray(compiled(*given))
        program = compiled.program(*given)
    return value, json.loads(program.binary)["entries"][0]["launches"]


@pytest.mark.parametrize(
    ("name", "ufunc"), [("add", np.add), ("max", np.maximum), ("min", np.minimum)]
)
def test_updates_that_meet_are_combined(engine: BrowserEngine, name: str, ufunc: Any) -> None:
    def update(x: tg.Tensor, at: tg.Tensor) -> Any:
        return getattr(tg.ones((PLACES,)).at[at], name)(x)

    got, launches = results(engine, update, VALUES, AT)
    expected = np.ones(PLACES)
    ufunc.at(expected, AT, VALUES)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
    assert len(launches) > (UPDATES - 1).bit_length()  # a pass of sorting each


def test_the_last_of_what_is_set_stays(engine: BrowserEngine) -> None:
    got, _ = results(engine, lambda x, at: tg.zeros((PLACES,)).at[at].set(x), VALUES, AT)
    expected = np.zeros(PLACES, np.float32)
    expected[AT] = VALUES
    np.testing.assert_array_equal(got, expected)


def test_rows_and_columns(engine: BrowserEngine) -> None:
    at = AT[: len(ROWS)]
    by_rows, _ = results(engine, lambda x, at: tg.zeros((PLACES, COLUMNS)).at[at].add(x), ROWS, at)
    by_columns, _ = results(
        engine, lambda x, at: tg.zeros((COLUMNS, PLACES)).at[:, at].add(x), ROWS.T.copy(), at
    )
    expected = np.zeros((PLACES, COLUMNS))
    np.add.at(expected, at, ROWS)
    np.testing.assert_allclose(by_rows, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(by_columns, expected.T, rtol=0, atol=1e-6)


def test_few_updates_are_gone_through(engine: BrowserEngine) -> None:
    values, at = VALUES[:50], AT[:50]
    got, launches = results(engine, lambda x, at: tg.zeros((PLACES,)).at[at].add(x), values, at)
    expected = np.zeros(PLACES)
    np.add.at(expected, at, values)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    assert len(launches) <= 2
