"""Golden texts: what a compiler pass makes, kept in files beside this one for people to read.

A change of the compiler shows up as a difference in these files. To accept it::

    UPDATE_GOLDEN=1 python -m pytest tests -k golden
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def check_golden(name: str, text: str) -> None:
    """Fail unless `text` is what the file `name`.txt holds; write it when UPDATE_GOLDEN is 1."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text + "\n", encoding="utf-8")
    kept = path.read_text(encoding="utf-8").rstrip("\n") if path.is_file() else ""
    assert text == kept, (
        f"{name} is no longer as in {path}; if that is meant, run pytest with UPDATE_GOLDEN=1"
    )
