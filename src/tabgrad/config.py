"""Every switch of tabgrad in one table. Not for engines or dtypes, which users choose by call.

A switch starts from its environment variable, is read as an attribute of this module and is
changed for a while by `override`::

    TABGRAD_DEBUG=2 python train.py

    from tabgrad import config
    with config.override(debug=2):
        model.fit(x, y)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabgrad.errors import ArgumentError


def _level(text: str) -> int:
    level = int(text)
    if not 0 <= level <= 5:
        raise ValueError
    return level


def _flag(text: str) -> bool:
    return {"": False, "0": False, "false": False, "1": True, "true": True}[text.lower()]


@dataclass(frozen=True)
class Switch:
    """One switch: its environment variable, default, parser and the values it may take."""

    variable: str
    default: Any
    parse: Callable[[str], Any]
    valid: str
    meaning: str


SWITCHES: Mapping[str, Switch] = {
    "debug": Switch(
        "TABGRAD_DEBUG",
        0,
        _level,
        "an integer from 0 to 5",
        "what is printed of each Program compiled: 1 its size and cost, 2 its graph, 3 its fused "
        "kernels, 4 its memory plan, 5 its code and, on engines made from then on, how long each "
        "run takes, on the laptop's GPU each kernel, too; each level adds to those below",
    ),
    "validate": Switch(
        "TABGRAD_VALIDATE",
        False,
        _flag,
        "0 or 1",
        "rerun every kernel on the reference interpreter and compare the results, on engines made "
        "from then on",
    ),
    "cache": Switch(
        "TABGRAD_CACHE",
        True,
        _flag,
        "0 or 1",
        "keep the machine code that wasmtime makes of kernels in the user's cache folder; read "
        "when the first engine is made",
    ),
}

_values: dict[str, Any] = {}

if TYPE_CHECKING:
    debug: int
    validate: bool
    cache: bool


def _parse(name: str, text: str) -> Any:
    switch = SWITCHES[name]
    try:
        return switch.parse(text)
    except (ValueError, KeyError):
        raise ArgumentError(
            f"{switch.variable} must be {switch.valid}, received {text!r}"
        ) from None


def __getattr__(name: str) -> Any:
    # The environment is read at the first use, so that importing tabgrad never fails on it.
    if name not in SWITCHES:
        raise AttributeError(f"module 'tabgrad.config' has no switch {name!r}")
    if name not in _values:
        switch = SWITCHES[name]
        text = os.environ.get(switch.variable)
        _values[name] = switch.default if text is None else _parse(name, text)
    return _values[name]


@contextmanager
def override(**switches: Any) -> Iterator[None]:
    """Change switches inside a `with` block.

    Args:
        switches: names of `SWITCHES` and the values they take in the block.

    Raises:
        ArgumentError: for a name or a value that is not in the table.

    Example:
        >>> from tabgrad import config
        >>> with config.override(debug=1):
        ...     config.debug
        1
    """
    parsed = {}
    for name, value in switches.items():
        if name not in SWITCHES:
            raise ArgumentError(f"no switch {name!r}; the switches are {', '.join(SWITCHES)}")
        # Values go through the same parser as the environment, so both accept the same.
        parsed[name] = _parse(name, str(int(value) if isinstance(value, bool) else value))
    before = {name: __getattr__(name) for name in parsed}
    _values.update(parsed)
    try:
        yield
    finally:
        _values.update(before)
