"""Several threads that share a Program's memory compute the same bits as one.

`run_part` does a share of each kernel's units and waits for the others between kernels, and one
flag byte of the memory's import makes the memory shared. So no unit may write what another unit of
its kernel reads or writes, and no sum may be split by how many threads there are. How a page starts
threads is in test_page_threads.py.
"""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tabgrad as tg
from tabgrad import jit, ops
from tabgrad.compiler import driver
from tabgrad.compiler.program import EntryGraph
from tabgrad.targets.wasm.target import WasmTarget
from tests.e2e.models import digits_data, digits_model

SCRIPT = Path(__file__).with_name("threads.mjs")
FRAME, HEAP, PAGE = 1024, 1024 + 65536, 65536
THREADS = (2, 3)


@dataclass
class Image:
    """Memory before a run: the frame, and all buffers of one entry of a Program."""

    module: bytes
    content: bytearray
    start: int  # of the buffers that the Program writes
    written: list[tuple[str, int, int, str]]  # name, address, bytes and dtype of each
    steps: int

    def request(self) -> dict[str, Any]:
        end = max(address + nbytes for _, address, nbytes, _ in self.written)
        return {
            "module": base64.b64encode(self.module).decode(),
            "image": base64.b64encode(self.content).decode(),
            "pages": -(-len(self.content) // PAGE) + 1,
            "steps": self.steps,
            "start": self.start,
            "nbytes": end - self.start,
        }


def image(graph: EntryGraph, values: Sequence[Any], rows: int = 0, steps: int = 1) -> Image:
    """Compile one entry and lay out its memory; `values` are the inputs, then the state."""
    program = driver.compile([graph], WasmTarget(least_shared=0))
    (entry,) = program.entries
    content = bytearray(HEAP)

    def place(data: bytes) -> int:
        address = len(content)
        content.extend(data)
        content.extend(bytes(-len(content) % 64 + 64))
        return address

    inputs, state = values[: len(entry.inputs)], values[len(entry.inputs) :]
    words = [place(np.asarray(value).tobytes()) for value in inputs]
    constants = [place(constant) for constant in entry.constants]
    arena = place(bytes(entry.arena))
    scratch = place(bytes(entry.scratch * max(THREADS)))
    start = len(content)
    written = []
    for (name, _), value in zip(entry.state, state, strict=True):
        value = np.asarray(value)
        words.append(place(value.tobytes()))
        written.append((name, words[-1], value.nbytes, value.dtype.name))
    for port in entry.outputs:
        nbytes = int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize
        words.append(place(b"\x55" * nbytes))
        written.append((port.name, words[-1], nbytes, port.dtype))
    head = struct.pack("<5I8xI", 0, rows, 0, arena, scratch, entry.scratch)
    content[FRAME : FRAME + len(head)] = head
    slots = struct.pack(f"<{len(words) + len(constants)}I", *words, *constants)
    content[FRAME + 64 : FRAME + 64 + len(slots)] = slots
    return Image(program.binary, content, start, written, steps)


def check(node: str, images: dict[str, Image]) -> None:
    """Run all images with run() and with several threads; every byte must be the same."""
    request = {"cases": [each.request() for each in images.values()], "threads": THREADS}
    done = subprocess.run(
        [node, str(SCRIPT)], input=json.dumps(request), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    for (name, case), found in zip(images.items(), json.loads(done.stdout), strict=True):
        alone, *together = (base64.b64decode(text) for text in found)
        for what, address, nbytes, dtype in case.written:
            at = address - case.start
            before = bytes(case.content[address : address + nbytes])
            assert what != "y" or alone[at : at + nbytes] != before, f"{name} wrote nothing"
            raw = f"V{np.dtype(dtype).itemsize}"  # as bytes, so that NaN equals NaN
            for threads, memory in zip(THREADS, together, strict=True):
                got, want = (np.frombuffer(m[at : at + nbytes], raw) for m in (memory, alone))
                different = np.flatnonzero(got != want)
                assert not different.size, (
                    f"{name}: {different.size} of {want.size} elements of {what} differ with "
                    f"{threads} threads, first number {different[0]}"
                )


def test_training_steps(node: str) -> None:
    x, _, y, _ = digits_data()
    cases = [("sgd", tg.optimizers.SGD(0.05, 0.9), 32), ("adam", tg.optimizers.Adam(), 20)]
    images = {}
    for name, optimizer, rows in cases:
        model = digits_model(optimizer)
        step = model._entries()["train_step"]
        traced = jit.trace(
            step.function,
            [((32, *spec.shape[1:]), spec.dtype, True) for spec in step.inputs],
            name=name,
        )
        state = [np.asarray(variable.value) for variable in traced.variables]
        images[name] = image(traced.graph, [x[:32], y[:32], *state], rows, steps=2)
    check(node, images)


def _normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def _indices(count: int, below: int) -> Any:
    return np.random.default_rng(count).integers(0, below, count, np.int32)


def _cumulative(x: tg.Tensor) -> Any:
    return ops.scan(lambda carry, row: (carry * 0.5 + row, carry.sum()), ops.zeros((65,)), x)


def _until_it_is_small(x: tg.Tensor) -> Any:
    """Turns that nobody knows the number of, branches inside, and what a test leaves is read by
    all threads before the next turn overwrites it."""
    return ops.while_loop(
        lambda i, y: ops.max(ops.abs(y)) > 0.05,
        lambda i, y: (
            i + 1,
            ops.switch(i % 3, [lambda: y * 0.75, lambda: ops.flip(y) * 0.9, lambda: y - y * 0.3]),
        ),
        (0, x),
    )


PROGRAMS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "a long map": (lambda x: ops.exp(ops.tanh(x)) * 3, [_normal(33_333)]),
    "rows of an odd length": (lambda x: ops.log(x * x + 1), [_normal(37, 3, 5)]),
    "bytes side by side": (lambda x: x > 0, [_normal(5, 7777)]),
    "sum of everything": (lambda x: x.sum(), [_normal(50_001)]),
    "sums of columns": (lambda x: x.sum(axis=0), [_normal(301, 77)]),
    "sums of rows": (lambda x: (x * x).sum(axis=1), [_normal(301, 77)]),
    "softmax": (lambda x: ops.softmax(x), [_normal(33, 65)]),
    "greatest": (lambda x: (ops.argmax(x, axis=1), ops.max(x, axis=0)), [_normal(65, 129)]),
    "matmul": (lambda a, b: ops.relu(a @ b + 1), [_normal(67, 131), _normal(131, 257)]),
    "matmul of transposed": (lambda a, b: a.T @ b.T, [_normal(131, 67), _normal(45, 131)]),
    "batches of matmul": (lambda a, b: a @ b, [_normal(3, 7, 19), _normal(3, 19, 33)]),
    "a row times a matrix": (lambda a, b: a @ b, [_normal(1, 300), _normal(300, 70)]),
    "convolution": (
        lambda x, w: ops.conv(x, w, 2, "same"),
        [_normal(2, 15, 13, 5), _normal(3, 3, 5, 20)],
    ),
    "gradients of a convolution of one channel and of three": (
        lambda x, y, v, w: tg.grad(
            lambda x, y, v, w: (
                (ops.conv(x, v, 1) ** 2).sum() + (ops.conv(y, w, 2, "same") ** 2).sum()
            ),
            argnums=(1, 2, 3),
        )(x, y, v, w),
        [_normal(2, 33, 34, 1), _normal(2, 31, 64, 3), _normal(3, 3, 1, 32), _normal(3, 3, 3, 16)],
    ),
    "depthwise convolution and its gradients": (
        lambda x, w: tg.grad(
            lambda x, w: (ops.depthwise_conv(x, w, 2, "same") ** 2).sum(), argnums=(0, 1)
        )(x, w),
        [_normal(2, 19, 23, 21), _normal(3, 3, 21, 1)],
    ),
    "depthwise convolution of one line": (
        lambda x, w: ops.depthwise_conv(x, w, 1, "same"),
        [_normal(1, 333, 18), _normal(5, 18, 1)],
    ),
    "narrow groups and their gradients": (
        lambda x, w: tg.grad(lambda x, w: (ops.conv(x, w, 1, "same") ** 2).sum(), argnums=(0, 1))(
            x, w
        ),
        [_normal(2, 13, 11, 20), _normal(3, 3, 2, 40)],
    ),
    "average pooling and its gradient": (
        lambda x: tg.grad(lambda x: (ops.average_pool(x, 3, 2, "same") ** 2).sum())(x),
        [_normal(2, 17, 17, 6)],
    ),
    "pooling and its gradient": (
        lambda x: tg.grad(lambda x: (ops.max_pool(x, 3, 2) ** 2).sum())(x),
        [_normal(2, 17, 17, 6)],
    ),
    "gather": (lambda x, i: ops.take(x, i, axis=0), [_normal(50, 33), _indices(77, 50)]),
    "gradient of gather": (
        lambda x, i: tg.grad(lambda x: (ops.take(x, i, axis=0) ** 3).sum())(x),
        [_normal(50, 33), _indices(177, 50)],
    ),
    "scan": (_cumulative, [_normal(40, 65)]),
    "gradient of scan": (
        lambda x: tg.grad(lambda x: _cumulative(x)[1].sum())(x),
        [_normal(40, 65)],
    ),
    "moved": (
        lambda x: ops.concatenate([ops.flip(x, axis=0), ops.roll(x, 3, axis=1)], axis=1),
        [_normal(61, 43)],
    ),
    "sort of rows": (lambda x: ops.sort(x), [_normal(37, 130)]),
    "order of columns": (lambda x: ops.argsort(x, axis=0), [_normal(200, 9)]),
    "running sums of rows": (lambda x: ops.cumsum(x, 1), [_normal(37, 130)]),
    "running products of columns": (lambda x: ops.cumprod(x, 0, reverse=True), [_normal(30, 300)]),
    "while": (_until_it_is_small, [_normal(33, 65)]),
    "while with a few numbers": (_until_it_is_small, [_normal(3)]),
    "branches in a scan": (
        lambda x: ops.scan(
            lambda c, r: (ops.cond(c[0] > 0, lambda: c + r, lambda: r - c), c), x[0], x
        ),
        [_normal(90, 65)],
    ),
    "random": (lambda x: tg.random.dropout(x, 0.3, seed=4), [_normal(300, 50)]),
}


def test_programs(node: str) -> None:
    images = {}
    for name, (function, values) in PROGRAMS.items():
        specs = [(value.shape, value.dtype.name, False) for value in values]
        traced = jit.trace(function, specs, name="f")
        assert not traced.variables and not traced.captured, name
        images[name] = image(traced.graph, values)
    check(node, images)


def test_a_transposed_update_in_place(node: str) -> None:
    """State that is updated from another view of itself: nobody may read what is new already."""
    table = tg.Variable(_normal(70, 70), name="table")

    def update() -> None:
        table.assign(table.value.T * 0.5 + ops.flip(table.value, axis=0))

    traced = jit.trace(update, [], name="update")
    check(node, {"transposed": image(traced.graph, [table.numpy()], steps=5)})


def test_short_kernels_ahead_of_one_that_overwrites_what_they_read(node: str) -> None:
    """Every thread does the short ones for itself, so none may overwrite what others still read."""
    table = tg.Variable(_normal(300_000), name="table")

    def update() -> None:
        table.assign(table.value * 0.5 + ops.sum(ops.cos(table.value[:1500])))

    def turns(x: tg.Tensor) -> tg.Tensor:
        return ops.fori_loop(0, 30, lambda i, v: v * 0.5 + ops.sum(ops.cos(v[:1500])), x)

    states = jit.trace(update, [], name="update").graph
    carries = jit.trace(turns, [((300_000,), "float32", False)], name="turns").graph
    check(
        node,
        {
            "state": image(states, [table.numpy()], steps=20),
            "carry": image(carries, [_normal(300_000)], steps=3),
        },
    )
