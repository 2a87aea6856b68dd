"""Operations on the WebGPU engine of Chromium, against the oracles of the op table.

The cases are those that `make test` runs on this machine's GPU, too (`tests/ops/test_table.py`);
all go through one page. What takes 64 bits has to be refused as documented.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tabgrad import realize
from tests.engines.browser import BrowserEngine, gpu_process_seconds
from tests.ops.comparing import Case
from tests.ops.coverage import representatives
from tests.ops.test_table import CASES, run

ran: Counter[str] = Counter()


@pytest.fixture(scope="module")
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu")
    begin, before = time.monotonic(), gpu_process_seconds()
    yield engine
    seconds, busy = time.monotonic() - begin, gpu_process_seconds() - before
    counts = engine.evaluate("(engine) => engine.counts")
    print(
        f"\nWebGPU in Chromium: {ran['fine']} cases fine, {ran['refused']} refused for 64 bits, in "
        f"{seconds:.0f} s, of which the GPU's process computed {busy:.0f}; {counts['pipelines']} "
        f"pipelines, {counts['dispatches']:,} dispatches, asked {engine.trips} times"
    )
    engine.close()


@pytest.mark.parametrize("case", representatives(c for c in CASES if not c.slow), ids=str)
def test_op(engine: BrowserEngine, case: Case) -> None:
    with realize.using(engine):
        ran["refused" if run(case) is None else "fine"] += 1
