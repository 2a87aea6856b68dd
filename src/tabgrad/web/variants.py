"""The Programs that a page holds for one kind of engine, for devices with different features.

Not here: which features there are (`export.py`), and which Program a device takes (the player's
`files.js`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad import realize
from tabgrad.realize import Program


def variants(
    graphs: Sequence[Any], sets: Sequence[tuple[str, ...]], kind: str
) -> list[tuple[tuple[str, ...], Program]]:
    """Each set of features with the Program that uses them, the most demanding first: a player
    takes the first that fits. Features need not make a difference; equal Programs are there once,
    under the set that comes first in `sets`."""
    found: dict[tuple[str, ...], Program] = {}
    for features in sets:
        program = realize.compile_ahead(graphs, features, kind)
        if all(program.binary != other.binary for other in found.values()):
            found[features] = program
    return sorted(found.items(), key=lambda each: len(each[0]), reverse=True)
