"""Each test starts on a fresh numbering of names."""

from __future__ import annotations

import pytest

import tabgrad as tg
from tabgrad import naming


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    naming.reset()
    tg.random.seed(0)
