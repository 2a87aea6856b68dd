"""Operations on the WebGPU engine of Chromium, against the oracles of the op table.

Of each operation there is a case for every class of dtypes (`tests/ops/test_table_on_gpus.py` runs
more of them on this machine's GPU); all go through one page. What takes 64 bits has to be refused
as documented.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tests.engines.browser import BrowserEngine, gpu_process_seconds
from tests.ops.comparing import Case
from tests.ops.coverage import by_class
from tests.ops.engines import chosen, close_pages
from tests.ops.test_table import CASES, run

ran: Counter[str] = Counter()

FITTING, WIDE = by_class(case for case in CASES if not case.slow)


@pytest.fixture(scope="module", autouse=True)
def _told_and_closed() -> Iterator[None]:
    with chosen("webgpu in a page"):
        engine = realize.engine()
    begin, before = time.monotonic(), gpu_process_seconds()
    yield
    seconds, busy = time.monotonic() - begin, gpu_process_seconds() - before
    counts = engine.evaluate("(engine) => engine.counts")
    print(
        f"\nWebGPU in Chromium: {ran['fine']} cases fine, {ran['refused']} refused for 64 bits, in "
        f"{seconds:.0f} s, of which the GPU's process computed {busy:.0f}; {counts['pipelines']} "
        f"pipelines, {counts['dispatches']:,} dispatches, asked {engine.trips} times"
    )
    close_pages()


@pytest.fixture(scope="module")
def sharing() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu", schedule="cooperative")
    yield engine
    engine.close()


@pytest.mark.parametrize("case", [*FITTING, *WIDE], ids=str)
def test_op(case: Case) -> None:
    with chosen("webgpu in a page"):
        ran["refused" if run(case) is None else "fine"] += 1


PRODUCTS = [case for case in CASES if str(case).startswith("matmul  [[65, 70], [70, 33]]")]


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_products_shared_by_workgroups(sharing: BrowserEngine, case: Case) -> None:
    with realize.using(sharing):
        run(case)


def test_folds_shared_by_workgroups(sharing: BrowserEngine) -> None:
    x = np.random.default_rng(0).normal(size=(7, 1100)).astype(np.float32)
    wide = x.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    with realize.using(sharing):
        given = tg.tensor(x)
        assert tg.ops.max(given, axis=1).tolist() == x.max(axis=1).tolist()
        assert tg.ops.min(given).tolist() == x.min()
        for got, expected in [
            (tg.ops.sum(given), wide.sum()),
            (tg.ops.sum(given, axis=1), wide.sum(axis=1)),
            (tg.ops.var(given, axis=1), wide.var(axis=1)),
            (tg.ops.softmax(given, axis=1), powers / powers.sum(axis=1, keepdims=True)),
        ]:
            np.testing.assert_allclose(got.numpy(), expected, rtol=2e-6, atol=2e-5)
