"""Listings are WebAssembly text that wasmtime's assembler turns back into the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import wasmtime

import tabgrad as tg
from tabgrad import jit
from tabgrad.compiler import driver
from tabgrad.errors import FormatError
from tabgrad.targets.wasm import disassembler
from tabgrad.targets.wasm.builder import F32, F64, I32, I64, F32x4, Module
from tabgrad.targets.wasm.disassembler import disassemble
from tabgrad.targets.wasm.target import WasmTarget
from tests.compiler.random_graphs import Maker


def assert_assembles_again(binary):
    text = disassemble(binary)
    assert bytes(wasmtime.wat2wasm(text)) == binary, text


def model_step(x, y):
    """Enough to use most of what kernels use: a convolution, pooling, dropout, a gather, a scan."""
    w = tg.Variable(np.ones((3, 3, 1, 4), np.float32), name="w")

    def loss(x):
        h = tg.ops.max_pool(tg.ops.relu(tg.ops.conv(x, w, padding="same")), 2)
        h = tg.random.dropout(h, 0.5, seed=tg.random.SeedGenerator(1))
        picked = tg.ops.take(tg.ops.reshape(h, (4, 64)), y, axis=1)
        last, _ = tg.ops.scan(lambda c, r: (tg.ops.tanh(c + r), None), tg.ops.zeros((64,)),
                              tg.ops.reshape(h, (4, 64)))  # fmt: skip
        return tg.ops.sum(picked) + tg.ops.sum(tg.ops.exp(last))

    value, (slope,) = tg.value_and_grad(loss, variables=[w])(x)
    w.assign(w - slope * 0.1)
    return value


@pytest.mark.parametrize("features", [("relaxed-simd",), ()])
def test_programs_assemble_again(features):
    specs = [((4, 8, 8, 1), "float32", False), ((4,), "int32", False)]
    graph = jit.trace(model_step, specs).graph
    assert_assembles_again(driver.compile([graph], WasmTarget(features)).binary)


@pytest.mark.parametrize("seed", range(6))
def test_programs_of_all_widths_assemble_again(seed):
    floats, integers = (tg.float64, tg.float32, tg.float16), (tg.int64, tg.int32, tg.int8)
    graph, _ = Maker(seed, floats, integers).make()
    assert_assembles_again(driver.compile([graph], WasmTarget()).binary)


def immediates(name):
    """What has to follow a mnemonic."""
    if "shuffle" in name:
        return " " + " ".join(map(str, range(16)))
    if name == "v128.const":
        return " i32x4 0x0 0x80000000 0xffffffff 0x1"
    if "extract_lane" in name or "replace_lane" in name:
        return " 1"
    if name.endswith("_lane"):
        return " offset=3 1"
    kind, _, access = name.partition(".")
    reads = access.startswith(("load", "store")) or ".atomic" in name
    return " offset=70000" if reads and kind != "memory" else ""


@pytest.mark.parametrize("table", ["PLAIN", "MEMORY", "SATURATING", "ATOMIC", "SIMD"])
def test_every_known_instruction(table):
    """All tables agree with the assembler about numbers and immediates."""
    names = list(getattr(disassembler, table).values())
    assert len(set(names)) == len(names)
    lines = "\n".join(f"    {name}{immediates(name)}" for name in names)
    memory = '(import "tabgrad" "memory" (memory 1 65536 shared))'
    binary = bytes(wasmtime.wat2wasm(f"(module {memory} (func\n{lines}\n))"))
    listed = disassemble(binary).splitlines()[3:-2]
    assert [line.strip() for line in listed] == [f"{name}{immediates(name)}" for name in names]


def test_numbers_and_control_flow_assemble_again():
    module = Module(shared=True, min_pages=2, max_pages=9)
    f = module.function("numbers", [I32], [F64], export=True)
    (n,) = f.params
    for kind, numbers in (
        (I32, (0, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31))),
        (I64, (0, -1, 2**63 - 1, -(2**63))),
        (F32, (0.0, -0.0, 0.1, 1e38, 1e-45, float("inf"), float("-inf"), float("nan"))),
        (F64, (0.0, -0.0, 0.1, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"))),
    ):
        for number in numbers:
            f.let(kind.const(number))
    f.let(F32x4.const(1.5))
    f.switch(n, [lambda: f.store(0, n), lambda: f.store8(7, n), lambda: f.store16(70000, n)])
    with f.loop_range(0, n) as i:
        with f.if_(i == 3):
            f.copy_memory(0, i, 7)
        with f.else_():
            f.fill_memory(0, i, 7)
    f.return_(F64.const(1))
    assert_assembles_again(module.encode())
    text = disassemble(module.encode(names=True))
    assert "(func $numbers (param i32) (result f64) (local i32" in text
    assert "(memory 2 9 shared)" in text and '(export "numbers" (func 0))' in text


def test_functions_of_one_name_are_told_apart():
    module = Module()
    for _ in range(2):
        module.function("f").unreachable()
    text = disassemble(module.encode(names=True))
    assert "(func $f.0" in text and "(func $f.1" in text
    wasmtime.wat2wasm(text)


def test_what_is_no_module_is_refused():
    with pytest.raises(FormatError, match="expected a WebAssembly module; received b'abc'"):
        disassemble(b"abc")
    module = Module()
    module.function("f").code += b"\xff"
    with pytest.raises(FormatError, match="no WebAssembly instruction is known for the byte 0xff"):
        disassemble(module.encode())
    module.functions[0].code[:] = b"\xfd\xff\x7f"
    with pytest.raises(FormatError, match="no vector instruction has the number 16383"):
        disassemble(module.encode())
