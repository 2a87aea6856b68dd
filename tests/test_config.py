"""The switches: from the environment, overridden in blocks, and refused when they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tabgrad import config
from tabgrad.errors import ArgumentError


def debug_in_a_new_process(text: str) -> subprocess.CompletedProcess[str]:
    code = "from tabgrad import config; print(config.debug, config.validate)"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TABGRAD_DEBUG": text, "TABGRAD_VALIDATE": "1"},
        capture_output=True,
        text=True,
    )


def test_the_environment_sets_switches() -> None:
    assert debug_in_a_new_process("3").stdout == "3 True\n"


@pytest.mark.parametrize("text", ["6", "-1", "much", ""])
def test_a_wrong_variable_says_what_is_valid(text: str) -> None:
    done = debug_in_a_new_process(text)
    assert f"TABGRAD_DEBUG must be an integer from 0 to 5, received {text!r}" in done.stderr


def test_override_lasts_as_long_as_its_block() -> None:
    before = config.debug, config.validate
    with config.override(debug=4, validate=True):
        assert (config.debug, config.validate) == (4, True)
        with config.override(debug=2):
            assert (config.debug, config.validate) == (2, True)
        assert config.debug == 4
    with pytest.raises(KeyError), config.override(debug=5):
        raise KeyError
    assert (config.debug, config.validate) == before


def test_wrong_overrides_change_nothing() -> None:
    before = config.debug
    with pytest.raises(ArgumentError, match="no switch 'verbose'; the switches are debug"):
        with config.override(debug=1, verbose=1):
            pass
    with pytest.raises(ArgumentError, match="from 0 to 5"), config.override(debug=9):
        pass
    assert config.debug == before
    with pytest.raises(AttributeError, match="no switch 'verbose'"):
        config.verbose  # noqa: B018
