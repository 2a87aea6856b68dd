"""Temporaries that share a buffer are never alive together; no launch writes a buffer it reads."""

from __future__ import annotations

from typing import Any

import pytest

from tabgrad.compiler import driver
from tabgrad.ir.kernel import Kernel
from tabgrad.targets.wgsl.target import COOPERATIVE, WgslTarget
from tests.compiler.programs import step_entry, traced
from tests.compiler.test_golden_programs import batch_norm, relu_sum, softmax_crossentropy
from tests.compiler.typical import TYPICAL


class _Keeping(WgslTarget):
    def emit(self, plans: Any) -> Any:
        self.plans = plans
        return super().emit(plans)


def _digits() -> Any:
    from examples.digits import make_model

    return step_entry(make_model(), "train_step", 32)


ENTRIES = {f.__name__: f for f in (batch_norm, relu_sum, softmax_crossentropy, _digits)}
ENTRIES |= {case.__name__: lambda case=case: traced(case()[0], *case()[1]) for case in TYPICAL}


@pytest.mark.parametrize("features", [(), (COOPERATIVE,)], ids=["serial", "cooperative"])
@pytest.mark.parametrize("name", ENTRIES)
def test_nothing_alive_shares_a_buffer(name: str, features: tuple[str, ...]) -> None:
    target = _Keeping(features)
    driver.compile([ENTRIES[name]()], target)
    (plan,) = target.plans
    _check(plan.launches)


def _check(launches: Any) -> None:
    """Walk backwards: what is read later and not written in between must keep its buffer."""
    alive: dict[int, int] = {}  # number of a buffer: id of the temporary whose values it holds
    for launch in reversed(launches):
        if not isinstance(launch, Kernel):
            for body in launch.bodies():
                _check(body)
            alive.clear()  # what lives across a loop is for the tests of values
            continue
        reads = {id(b.root): b.root for b in launch.reads() if b.root.role == "temp"}
        writes = {id(b.root): b.root for b in (*launch.writes(), *launch.scratch)}
        written = [b for b in writes.values() if b.role == "temp"]
        numbers = [b.offset for b in written]
        assert len(set(numbers)) == len(numbers), "two results in one buffer"
        for b in written:
            assert alive.get(b.offset, id(b)) == id(b), f"{b} overwrites what is read later"
            if id(b) not in reads:
                assert b.offset not in {r.offset for r in reads.values()}, (
                    f"{b} is read and written"
                )
        for b in written:
            if id(b) not in reads and len(launch.stores) and _whole(launch, b):
                alive.pop(b.offset, None)
        for b in reads.values():
            assert alive.get(b.offset, id(b)) == id(b), f"{b} is gone when it is read"
            alive[b.offset] = id(b)


def _whole(kernel: Kernel, buffer: Any) -> bool:
    """Whether a kernel writes all of a buffer, so that what was there does not matter."""
    stores = [s for s in kernel.stores if s.buffer is buffer]
    return all(s.combine == "set" and not s.conditions for s in stores)
