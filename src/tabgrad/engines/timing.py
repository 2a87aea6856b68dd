"""An engine around another that says how long each run took: TABGRAD_DEBUG=5."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple


class _Loaded(NamedTuple):
    inner: Any
    names: list[str]


class TimedEngine:
    """`inner`, printing to stderr what was run and how long it took, waiting included.

    Example:
        >>> from tabgrad.engines.reference import ReferenceEngine
        >>> TimedEngine(ReferenceEngine()).kind
        'reference'
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def load(self, program: Any) -> _Loaded:
        """Load a Program and remember what its entries are called."""
        return _Loaded(self.inner.load(program), [entry.name for entry in program.entries])

    def unload(self, loaded: _Loaded) -> None:
        """Forget a Program."""
        self.inner.unload(loaded.inner)

    def run(self, loaded: _Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        """Run an entry, wait for it, and print the time."""
        start = time.perf_counter()
        self.inner.run(loaded.inner, entry, args, rows)
        self.inner.sync()
        took = 1000 * (time.perf_counter() - start)
        print(f"tabgrad: ran {loaded.names[entry]} in {took:.3f} ms", file=sys.stderr, flush=True)
