"""What a workload is: seeded arrays, what to do with them, how much work that is, who cannot do it.

Nothing here measures or writes files. The workloads themselves are in `bench/workloads`; the
JavaScript of the peers is chosen by `kind` in `bench/pages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Workload:
    """One thing to do, the same for every contestant.

    Args:
        name: unique, as "matmul/256"; what ONLY=regex is searched in.
        kind: which code of the contestants' pages does it.
        group: the row of the table of targets that it belongs to.
        wanted: how many times faster tabgrad has to be than "best", the fastest peer, or than a
            library by its name in bench/contestants.py.
        of_peak: the part of the machine's peak, or of a copy's speed, that is wanted.
        either: whether `of_peak` or `wanted` is enough.
        at_most: milliseconds (or what `unit` says) that are wanted at most.
        unit: what the figures are when they are no times.
        beside: other workloads, each with the part of its rate that is wanted at least.
        arrays: makes inputs and weights from fixed seeds, in tabgrad's layout (channels last).
        functions: tabgrad's compiled functions by name, each called once. An operation is "main".
        constants: the names among the arrays that are weights; the others are inputs.
        parameters: what the pages need besides the arrays.
        flops, nbytes, count: the work of one time through; one of them decides the unit of the
            rate. `count` is how many short operations depend on one another.
        repeats: how many dependent times through one call of a graph is made of, where a single one
            would measure the call and its copies.
        expected: the result in float64 from NumPy, given the arrays and how often to repeat.
        tolerance: the error that is allowed, relative to the largest expected magnitude.
        graph: the ONNX file that does `repeats` times through, given the arrays and the count.
        check: for results that may differ, such as random numbers: given the pages' sample, says
            what is wrong with it, or nothing.
        threaded: whether the contestants run with two threads, too.
        two_threads: how many times faster they are wanted to make tabgrad.
        cannot: contestants' libraries that lack something, with the reason.
    """

    name: str
    kind: str
    group: str
    arrays: Callable[[], Arrays]
    functions: Callable[[Arrays], Mapping[str, Any]]
    wanted: Mapping[str, float] = field(default_factory=dict)
    of_peak: float | None = None
    either: bool = False
    at_most: float | None = None
    unit: str = ""
    beside: tuple[tuple[str, float], ...] = ()
    constants: frozenset[str] = frozenset()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    flops: float = 0
    nbytes: float = 0
    count: int = 0
    repeats: int = 1
    expected: Callable[[Arrays, int], Array] | None = None
    tolerance: float = 1e-5
    graph: Callable[[Arrays, int], bytes] | None = None
    check: Callable[[Array], str | None] | None = None
    threaded: bool = False
    two_threads: float | None = None
    cannot: Mapping[str, str] = field(default_factory=dict)

    @property
    def visits(self) -> bool:
        """Whether it is about whole pages, and so has neither arrays nor functions."""
        return self.kind.startswith("visit-")

    @property
    def folder(self) -> str:
        """The name as a path of one part."""
        return self.name.replace("/", "-")

    def rate(self, ms: float) -> tuple[float, str]:
        """What a time through in `ms` amounts to, with its unit."""
        if self.unit:
            return ms, self.unit
        if self.flops:
            return self.flops / ms / 1e6, "GFLOP/s"
        if self.nbytes:
            return self.nbytes / ms / 1e6, "GB/s"
        if self.count:
            return ms * 1e3 / self.count, "µs each"
        return 1e3 / ms, "/s"


def sampled(values: Array, count: int = 4096) -> Array:
    """The entries that pages hand over of a large result, as bench/pages/measure.js picks them."""
    flat = values.reshape(-1)
    number = min(flat.size, count)
    return flat[[i * flat.size // number for i in range(number)]]


def normal(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Normal float32 numbers, the same on every machine."""
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return (values * np.float32(scale)).astype(np.float32)
