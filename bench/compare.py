"""Whether a contestant's result is right: as NumPy's in float64, or as the other contestants'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.workload import Array, Arrays, Workload, sampled


class WrongResultError(Exception):
    """A result that is not what the workload asks for."""


class Reference:
    """What a workload's results are compared with, computed once for each number of repeats."""

    def __init__(self, workload: Workload, arrays: Arrays) -> None:
        self._workload = workload
        self._arrays = arrays
        self._known: dict[int, Array] = {}

    def error(self, answer: Mapping[str, Any]) -> float | None:
        """The largest error in a page's answer to "open", relative to the largest magnitude.

        Without a reference the first answer becomes one, and nothing can be said about it.

        Raises:
            WrongResultError: another shape, numbers that are not finite, too large an error.
        """
        if not answer["finite"]:
            raise WrongResultError("the result has numbers that are not finite")
        sample = np.asarray(answer["sample"], np.float64)
        if self._workload.check is not None:
            wrong = self._workload.check(sample)
            if wrong:
                raise WrongResultError(wrong)
            return None
        repeats = int(answer["repeats"])
        if repeats not in self._known:
            if self._workload.expected is None:
                self._known[repeats] = sample
                return None
            whole = self._workload.expected(self._arrays, repeats)
            if list(whole.shape) != list(answer["shape"]):
                raise WrongResultError(
                    f"the result has shape {answer['shape']}, not {list(whole.shape)}"
                )
            self._known[repeats] = sampled(whole).astype(np.float64)
        wanted = self._known[repeats]
        if sample.shape != wanted.shape:
            raise WrongResultError(f"expected {wanted.size} numbers, received {sample.size}")
        error = float(np.abs(sample - wanted).max() / max(np.abs(wanted).max(), 1e-30))
        if error > self._workload.tolerance:
            raise WrongResultError(
                f"the result is off by {error:.1e} of its largest magnitude, more than "
                f"{self._workload.tolerance:.0e}"
            )
        return error
