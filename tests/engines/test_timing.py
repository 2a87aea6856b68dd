"""What TABGRAD_DEBUG=5 says of runs: how long each took, and on a GPU what each kernel took."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import config, realize
from tabgrad.engines import timestamps
from tabgrad.engines.timing import TimedEngine
from tests.ops.engines import chosen

TURNS = 20
RAN = re.compile(r"tabgrad: ran (\w+) in (\d+\.\d{3}) ms")
TOTAL = re.compile(r"  by the GPU's clock (\d+\.\d{3}) ms:")
KERNEL = re.compile(r" +(\d+\.\d{3}) ms in (\d+) of shader (\d+) \(([\w, ]+)\)")


def product_and_loop(x: tg.Tensor, rows: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    """One long kernel, and short ones in a loop."""
    carry, _ = tg.ops.scan(lambda c, row: (c * 0.5 + row, None), rows[0] * 0, rows)
    return x @ x, carry


def inputs() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return random.random((512, 512), np.float32), random.random((TURNS, 4), np.float32)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed of the last run."""
    lines = capsys.readouterr().err.splitlines()
    return lines[max(i for i, line in enumerate(lines) if RAN.fullmatch(line)) :]


@pytest.mark.parametrize("most", [timestamps.MOST, 8], ids=["one set", "sets of 8"])
def test_what_each_kernel_takes(
    most: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the adapter's own clock, while what is computed stays what it is."""
    monkeypatch.setattr(timestamps, "MOST", most)
    x, rows = inputs()
    carry = np.zeros(4)
    for row in rows:
        carry = carry * 0.5 + row
    with config.override(debug=5), chosen("webgpu"):
        f = tg.compile(product_and_loop)
        names = f.program(x, rows).entries[0].kernels
        f(x, rows)  # the first run makes bind groups
        product, found = f(x, rows)
        lines = lines_of(capsys)
        np.testing.assert_allclose(product.numpy(), x @ x, rtol=1e-5)
        np.testing.assert_allclose(found.numpy(), carry, rtol=1e-6)
    ran, total = RAN.fullmatch(lines[0]), TOTAL.fullmatch(lines[1])
    assert ran and total and ran[1] == "product_and_loop"
    kernels = [KERNEL.fullmatch(line) for line in lines[2:]]
    taken = {m[4]: (float(m[1]), int(m[2])) for m in kernels if m}
    assert len(taken) == len(lines) - 2, lines
    assert sorted(name for each in taken for name in each.split(", ")) == sorted(names)
    assert len({m[3] for m in kernels if m}) == len(taken)
    product_time, count = next(spent for name, spent in taken.items() if "contract" in name)
    assert count == 1 and TURNS in [count for _, count in taken.values()]
    assert product_time == max(spent for spent, _ in taken.values())
    assert [*taken] == sorted(taken, key=lambda name: -taken[name][0])
    assert sum(spent for spent, _ in taken.values()) == pytest.approx(float(total[1]), abs=0.01)
    assert 0 < float(total[1]) < float(ran[2])


def test_runs_without_a_clock_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole runs on WebAssembly, on GPUs that have no clock, and while kernels are validated."""
    monkeypatch.setattr(timestamps, "FEATURE", "no such feature")
    x, rows = inputs()
    for name, validate in (("wasm", False), ("webgpu", False), ("webgpu", True)):
        with config.override(debug=5, validate=validate), chosen(name):
            assert isinstance(realize.engine(), TimedEngine)
            tg.compile(product_and_loop)(x[:4, :4], rows)
            (line,) = lines_of(capsys)
            assert RAN.fullmatch(line)
