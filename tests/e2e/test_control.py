"""Loops that end at run time, branches and sorting in an exported function: the same module."""

from __future__ import annotations

import base64
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tabgrad as tg
from tabgrad import ops
from tests.e2e.models import for_js

if TYPE_CHECKING:
    from tests.e2e.conftest import Run


def test_a_loop_with_a_sort_inside_runs_in_node(in_node: Run, tmp_path: Path) -> None:
    """Halve what is above the median until the largest is small; then sum up, in order."""

    @tg.compile
    def settle(x: Any, limit: Any) -> Any:
        def turn(n: Any, v: Any) -> Any:
            ordered = ops.sort(v)
            middle = ordered[ops.reshape(ops.argmax(ordered > 0), (1,))]
            return n + 1, ops.cond(n % 2 == 0, lambda: ordered * 0.5, lambda: v - middle * 0.125)

        turns, found = ops.while_loop(
            lambda n, v: ops.max(ops.abs(v)) > limit, turn, (tg.tensor(0), x)
        )
        return turns, ops.cumsum(found), ops.argsort(x)

    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    limit = np.float32(0.01)
    turns, sums, order = settle(tg.tensor(x), tg.tensor(limit))
    assert int(turns) > 5
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))
    with redirect_stdout(io.StringIO()):
        tg.export({"settle": settle}, tmp_path, deterministic=True)
    inputs = [for_js(x), for_js(limit)]
    found = in_node(tmp_path, "call", {"name": "settle", "inputs": inputs})
    for one, mine in zip(found, (turns, sums, order), strict=True):
        there = np.frombuffer(base64.b64decode(one["data"]), one["dtype"]).reshape(one["shape"])
        np.testing.assert_array_equal(there, np.asarray(mine))
