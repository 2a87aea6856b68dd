"""What the tests of this folder share: every variant of the target."""

from __future__ import annotations

import pytest

from tests.targets.wasm.computing import VARIANTS


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """A variant of the target; a test with a parameter of this name has its own."""
    return str(request.param)
