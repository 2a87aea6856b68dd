"""Each test starts with the same random numbers."""

from __future__ import annotations

import pytest

import tabgrad as tg


@pytest.fixture(autouse=True)
def _seed() -> None:
    tg.random.seed(0)
