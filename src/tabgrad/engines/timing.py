"""An engine around another that says how long each run took: TABGRAD_DEBUG=5.

Where the engine has a method `timed` (as `run`, giving the number of each shader that was
dispatched and its milliseconds by the GPU's own clock), it says what each kernel took as well.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class _Loaded(NamedTuple):
    inner: Any
    names: list[str]
    kernels: list[dict[int, str]]  # of each entry: what its shaders are, by number


class TimedEngine:
    """`inner`, printing to stderr what was run and how long it took, waiting included.

    Example:
        >>> from tabgrad.engines.reference import ReferenceEngine
        >>> TimedEngine(ReferenceEngine()).kind
        'reference'
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        # Not what an engine around it passes on: its Programs are others.
        self._by_clock = hasattr(type(inner), "timed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def load(self, program: Any) -> _Loaded:
        """Load a Program and remember what its entries are called."""
        kernels = _kernels(program) if self._by_clock else []
        names = [entry.name for entry in program.entries]
        return _Loaded(self.inner.load(program), names, kernels)

    def unload(self, loaded: _Loaded) -> None:
        """Forget a Program."""
        self.inner.unload(loaded.inner)

    def run(self, loaded: _Loaded, entry: int, args: Sequence[int], rows: int = 0) -> None:
        """Run an entry, wait for it, and print the time."""
        start = time.perf_counter()
        dispatches: list[tuple[int, float]] = []
        if self._by_clock:
            dispatches = self.inner.timed(loaded.inner, entry, args, rows)
        else:
            self.inner.run(loaded.inner, entry, args, rows)
            self.inner.sync()
        took = 1000 * (time.perf_counter() - start)
        lines = [f"tabgrad: ran {loaded.names[entry]} in {took:.3f} ms"]
        if dispatches:
            lines += _by_kernel(dispatches, loaded.kernels[entry])
        print("\n".join(lines), file=sys.stderr, flush=True)


def _by_kernel(dispatches: list[tuple[int, float]], kernels: dict[int, str]) -> Iterator[str]:
    """What each shader took, the longest first."""
    spent: dict[int, list[float]] = {}
    for shader, milliseconds in dispatches:
        spent.setdefault(shader, []).append(milliseconds)
    yield f"  by the GPU's clock {sum(ms for _, ms in dispatches):.3f} ms:"
    for shader, times in sorted(spent.items(), key=lambda item: -sum(item[1])):
        name = f" ({kernels[shader]})" if shader in kernels else ""
        yield f"  {sum(times):10.3f} ms in {len(times)} of shader {shader}{name}"


def _kernels(program: Any) -> list[dict[int, str]]:
    """What the kernels are called that a GPU's Program has its shaders for, entry by entry."""
    found = []
    for entry, plan in zip(program.entries, json.loads(program.binary)["entries"], strict=True):
        shaders = [*_shaders(plan["launches"])]
        named: dict[int, list[str]] = {}
        if len(shaders) == len(entry.kernels):  # else some kernels are several shaders
            for shader, name in zip(shaders, entry.kernels, strict=True):
                named.setdefault(shader, []).append(name)
        found.append({shader: ", ".join(names) for shader, names in named.items()})
    return found


def _shaders(launches: Sequence[dict[str, Any]]) -> Iterator[int]:
    """The numbers of the shaders in the order in which the plan names them."""
    for launch in launches:
        if "kernel" in launch:
            yield launch["kernel"]
        elif "branches" in launch:
            for branch in launch["branches"]:
                yield from _shaders(branch)
        else:
            yield from _shaders([*launch.get("test", ()), *launch["body"]])
