"""What tests of the player's GPU engines share: buffers of integers, small Programs, scripts."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tabgrad.engines.engine import Engine
from tabgrad.errors import EngineError
from tests.engines.browser import BrowserEngine
from tests.player.shaders import Entry, Port, Program, Writer

INT = "int32"
ADD = "b0[i] = b0[i] + b1[i];"
# Adapters and devices say that they have shader-f16, until `unpretend` is called, which tells the
# features that devices were asked for.
PRETEND_HALVES = """
    const changed = [GPUAdapter, GPUDevice].map(({ prototype }) => {
        const { get } = Object.getOwnPropertyDescriptor(prototype, "features");
        const also = function () { return new Set([...get.call(this), "shader-f16"]); };
        Object.defineProperty(prototype, "features", { get: also, configurable: true });
        return () => Object.defineProperty(prototype, "features", { get });
    });
    const { requestDevice } = GPUAdapter.prototype;
    const asked = [];
    GPUAdapter.prototype.requestDevice = function (options) {
        const { requiredFeatures } = options;
        asked.push(requiredFeatures);
        const given = requiredFeatures.filter((each) => each !== "shader-f16");
        return requestDevice.call(this, { ...options, requiredFeatures: given });
    };
    window.unpretend = () => {
        changed.forEach((own) => own());
        GPUAdapter.prototype.requestDevice = requestDevice;
        return asked;
    };
"""


def fails(code: str, *parts: str) -> Any:
    """Expects an EngineError with a code and with each part in its message."""
    pattern = "".join(f"(?=.*{part})" for part in parts)
    return pytest.raises(EngineError, match=f"(?s){pattern}", check=lambda e: e.code == code)


def buffer(engine: Engine, *values: int) -> int:
    """A buffer holding int32 values."""
    data = struct.pack(f"<{len(values)}i", *values)
    handle = engine.alloc(len(data), INT)
    engine.write(handle, data)
    return handle


def values(engine: Engine, handle: int, count: int = 1) -> list[int]:
    """The first int32 values of a buffer."""
    return list(struct.unpack(f"<{count}i", engine.read(handle, 4 * count)))


def accumulate(*temps: int) -> Program:
    """Adds its second argument to the first, which is state."""
    writer = Writer()
    writer.entry(
        Entry(inputs=[Port()], state=[("total", True)]), [writer.launch(ADD, [1, 0])], temps
    )
    return writer.program()


def play(engine: BrowserEngine, program: Program, function: str) -> Any:
    """What a JavaScript function of the engine and the loaded Program answers."""
    assert not any(entry.constants for entry in program.entries)
    entries = [
        {
            "inputs": [{}] * len(entry.inputs),
            "state": [{"update": update} for _, update in entry.state],
            "outputs": [{}] * len(entry.outputs),
            "constants": [],
        }
        for entry in program.entries
    ]
    return engine.evaluate(
        f"""async (engine, [entries, text]) => {{
            const ints = (...numbers) => {{
                const handle = engine.alloc(4 * numbers.length, "int32");
                engine.write(handle, Int32Array.from(numbers));
                return handle;
            }};
            const read = async (handle, count = 1) =>
                [...new Int32Array((await engine.readAsync(handle, 4 * count)).buffer)];
            const code = async (work) => {{
                try {{ await work(); }} catch (error) {{ return error.code ?? `${{error}}`; }}
                return "fine";
            }};
            const program = {{ entries, module: new TextEncoder().encode(text) }};
            return ({function})({{ engine, program, ints, read, code }});
        }}""",
        [entries, program.binary.decode()],
    )


def countdown() -> Program:
    """Adds the input to the total for as long as the counter, which is counted down, is not 0; then
    a branch by the total's last digit, of 0, 1 and more."""
    writer = Writer()
    step = writer.launch("b0[0] = b0[0] + b1[0]; b2[0] = b2[0] - 1;", [2, 0, 1], writes=[0, 2])
    test = writer.launch("b0[0] = b1[0];", [-1, 1])
    last = writer.launch("b0[0] = b1[0] % 10;", [-2, 2])
    branches = [[writer.launch(f"b0[0] = {100 + i};", [3])] for i in range(3)]
    writer.entry(
        Entry([Port()], [("counter", True), ("total", True)], [Port()]),
        [
            {"while": -1, "test": [test], "body": [step]},
            last,
            {"branch": -2, "branches": branches},
        ],
        temps=[4, 4],
    )
    return writer.program()
