"""Maxima and minima under way, value by value in order, and the places where they were found.

Both follow NaN: it beats every number, and the first one stays. In a vector comparison that costs
little where values come in order, unlike the general fold of loops.py, whose lanes do not.
"""

from __future__ import annotations

from typing import Any

from tabgrad.ir.kernel import Kernel, identity
from tabgrad.targets.wasm.builder import Function, I32x4
from tabgrad.targets.wasm.elements import lane_type, mask_for, truth
from tabgrad.targets.wasm.mathlib import choose, conversions
from tabgrad.targets.wasm.operations import constant

NOWHERE = -(2**31)  # the place of no value
LAST = 2**31 - 1  # what becomes of it


class Extreme:
    """The largest or smallest of floats."""

    def __init__(self, f: Function, kernel: Kernel, fma: bool) -> None:
        assert kernel.body is not None
        self.f, self.largest = f, kernel.fold.endswith("max")
        dtype = kernel.body.dtype
        self.kind: Any = lane_type(dtype)
        self.best = f.let(constant(identity("max" if self.largest else "min", dtype)))
        self.nan = f.let(self.kind.MASK.const(0))

    def join(self, new: Any) -> None:
        """One more value, in a local."""
        self.best.set(self.best.pmax(new) if self.largest else self.best.pmin(new))
        self.nan.set(self.nan | (new != new))

    def value(self) -> Any:
        """What was found; NaN if one was among them."""
        return self.f.let((self.best.bits() | self.nan).view(self.kind))


class Place:
    """Where the first of the largest or smallest values was."""

    def __init__(self, f: Function, kernel: Kernel, fma: bool) -> None:
        assert kernel.body is not None
        self.f, self.fma, self.largest = f, fma, kernel.fold.endswith("max")
        dtype = kernel.body.dtype
        self.float, self.kind = dtype.is_float, lane_type(dtype)
        self.best = f.let(constant(identity("max" if self.largest else "min", dtype)))
        self.at = f.let(I32x4.const(NOWHERE))
        self.certain = self.met = False  # whether there was a value for sure; whether there may be

    def join(self, new: Any, at: int, certain: bool) -> None:
        """One more value, in a local, and its place; `certain` where no condition is asked."""
        f, best = self.f, self.best
        if certain and not self.met:
            best.set(new)
            self.at.set(I32x4.const(at))
            self.certain = self.met = True
            return
        self.met = True
        with f.scope():
            if self.float:
                behind = new <= best if self.largest else new >= best
                better = (best == best).and_not(behind)
            else:
                better = (conversions.greater if self.largest else conversions.less)(new, best)
            if not self.certain:
                better = better | mask_for(self.kind, f.let(self.at == NOWHERE))
            better = f.let(better)
            best.set(choose(better, new, best, self.fma))
            self.at.set(choose(truth(f, better), I32x4.const(at), self.at, self.fma))
        self.certain = self.certain or certain

    def value(self, start: Any) -> Any:
        """The place, counted from `start` in each lane."""
        found = self.f.let(start + self.at)
        if not self.certain:
            found.set(choose(self.f.let(self.at == NOWHERE), I32x4.const(LAST), found, self.fma))
        return found
