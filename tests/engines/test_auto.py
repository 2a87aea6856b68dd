"""Choosing an engine: by name, and by timing (`auto`)."""

from __future__ import annotations

import pytest

import tabgrad as tg
from tabgrad.errors import NotSupportedError


def test_a_laptop_says_which_engines_it_has() -> None:
    with pytest.raises(
        NotSupportedError, match=r"'wasm', 'webgpu' or 'reference'; received 'webgl'"
    ):
        tg.set_engine("webgl")
