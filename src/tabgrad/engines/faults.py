"""Which errors of an engine mean that another shall go on, and which that is.

A GPU can be lost at any moment, may refuse a shader, and has limits and memory of its own. None of
that is a mistake of the user's, so the next engine takes over. Not here: what is to be moved there
(`realize/`, `rescue.py`).
"""

from __future__ import annotations

import sys
from typing import Any

from tabgrad.errors import EngineError

# What becomes of whom: "lost" (the device is gone), "memory", "compile" (a shader was refused),
# "limit" (a Program needs more than the device has), "trap" (it refused to run one), "adapter".
FAULTS = frozenset({"lost", "memory", "compile", "limit", "trap", "adapter"})


def successors(kind: str) -> tuple[str, ...]:
    """The engines to go on with after one of this kind, the best first; none after the last.

    Example:
        >>> successors("wasm")
        ()
    """
    if kind == "webgpu" and sys.platform == "emscripten":
        return ("webgl", "wasm")
    return ("wasm",) if kind in ("webgpu", "webgl") else ()


def is_fault(engine: Any, error: BaseException) -> bool:
    """Whether an error says that this engine cannot go on where another could."""
    found = isinstance(error, EngineError) and error.code in FAULTS
    return found and bool(successors(engine.kind))


def explained(old: Any, new: Any, error: EngineError) -> str:
    """What the one warning says."""
    what = {
        "lost": "lost its device",
        "memory": "has too little memory",
        "compile": "refused a kernel",
        "limit": "has too low a limit",
        "adapter": "has no adapter",
    }.get(error.code or "", "failed")
    return (
        f"the engine {old.kind!r} {what}, so {new.kind!r} computes from here on: "
        f"{str(error).splitlines()[0]}"
    )
