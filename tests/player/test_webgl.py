"""The player's WebGL2 engine in Chromium: the protocol, what Programs leave, provoked faults.

Programs are compiled from Python, but for those that are to fail. What of the protocol WebGPU does
alike is in test_gpu_buffers.py; the op table is run by tests/e2e/test_webgl_table.py.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.engines.engine import Engine
from tabgrad.targets.glsl.shader import room
from tabgrad.web.bundle import bundle
from tests.engines.browser import PLAYER, BrowserEngine, in_page
from tests.player.shaders import Entry, Port, Program
from tests.player.shading import buffer, fails, values

ROW = 2048 * 16  # bytes of a row of texels


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgl")
    yield engine
    engine.close()


def drawing(line: str, **launch: Any) -> Program:
    """A Program of one draw, whose fragment does this."""
    code = f"""#version 300 es
    precision highp float; precision highp int; precision highp usampler2D;
    layout(location = 0) out uvec4 o0;
    void main() {{ {line} }}"""
    step = {"kernel": 0, "reads": [], "writes": [0], "swaps": [0], "begin": [0], "count": 1}
    step |= {"last": True, **launch}
    kernel = {"code": code, "reads": len(launch.get("reads", ())), "writes": 1, "turns": False}
    plan = {"words": 2, "temps": [], "constants": [], "scalars": [], "launches": [step]}
    document = {"kernels": [kernel], "entries": [plan]}
    return Program(json.dumps(document).encode(), [Entry(outputs=[Port()])])


# Buffers


def test_what_an_engine_says_of_itself(engine: BrowserEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.kind == "webgl"
    assert engine.features == {"draw-buffers-8"}
    assert engine.info["floatBits"] == 23
    assert engine.info["epsilon"] == 2.0**-23
    assert engine.info["precision"] == "float32"
    assert engine.info["maxTextureSize"] >= 2048


def test_write_and_read(engine: BrowserEngine) -> None:
    handle = engine.alloc(23)
    engine.write(handle, bytes(range(23)))
    engine.write(handle, b"ab", offset=15)
    assert engine.read(handle, 5, offset=13) == b"\x0d\x0eab\x11"
    engine.write(handle, b"xyz", offset=20)
    assert engine.read(handle, 23) == bytes(range(15)) + b"ab\x11\x12\x13xyz"


def test_bytes_across_rows_of_texels(engine: BrowserEngine) -> None:
    content = bytearray((7 * i + i // 251) % 256 for i in range(5 * ROW + 40))
    handle = engine.alloc(len(content))
    engine.write(handle, content)
    assert engine.read(handle, len(content)) == content
    spans = [(0, 16), (ROW - 16, 32), (ROW - 5, 11), (ROW, ROW), (16, 3 * ROW), (33, 4 * ROW + 9)]
    for number, (at, size) in enumerate(spans):
        assert engine.read(handle, size, at) == content[at : at + size]
        content[at : at + size] = bytes([number]) * size
        engine.write(handle, bytes([number]) * size, at)
        assert engine.read(handle, len(content)) == content


def test_all_bits_of_floats_are_kept(engine: BrowserEngine) -> None:
    bits = struct.pack("<6I", 0x7FC12345, 0xFFA00001, 0x7F800001, 1, 0x807FFFFF, 0x80000000)
    one, twin = engine.alloc(24), engine.alloc(24)
    engine.write(one, bits)
    engine.copy_rows(twin, one, 8, [0, 1, 2])
    assert engine.read(twin, 24) == bits


def test_textures_have_the_room_that_the_target_counts_on(engine: BrowserEngine) -> None:
    sizes = [1, 64, 65, 8192, 8193, 65_536, 80_000, 100_000, 1_000_001]
    for size in sizes:
        before = engine.memory_use().capacity
        handle = engine.alloc(4 * size)
        assert engine.memory_use().capacity - before == 4 * room(size)
        assert handle


def test_out_of_memory_breaks_nothing(engine: BrowserEngine) -> None:
    handle = buffer(engine, 7)
    with fails("memory", "no memory for a buffer of 5,"):
        engine.alloc(5_000_000_000)
        engine.sync()
    assert values(engine, handle) == [7]


# Programs


def test_state_is_updated_where_it_is_read_elsewhere(engine: BrowserEngine) -> None:
    with realize.using(engine):
        state = tg.Variable(np.arange(10, dtype=np.float32))

        @tg.compile
        def step() -> tg.Tensor:
            state.assign(tg.flip(state.value) * 2 - state.value)
            return tg.sum(state.value)

        expected = np.arange(10, dtype=np.float32)
        for _ in range(5):
            expected = expected[::-1] * 2 - expected
            assert float(step()) == expected.sum()
        assert state.numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("width", [3, 4, 8])
def test_loops_keep_their_rows(engine: BrowserEngine, width: int) -> None:
    xs = np.random.default_rng(1).standard_normal((7, width)).astype(np.float32)
    with realize.using(engine):
        last, rows = tg.ops.scan(
            lambda carry, x: (carry + x, carry * x), tg.zeros((width,)), tg.tensor(xs), reverse=True
        )
        got = rows.numpy()
    carry, expected = np.zeros(width, np.float32), np.zeros_like(xs)
    for i in reversed(range(7)):
        expected[i], carry = carry * xs[i], carry + xs[i]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(last.numpy(), carry, rtol=1e-6)


def test_loops_and_branches_that_look_at_values(engine: BrowserEngine) -> None:
    def collatz(n: tg.Tensor, i: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return tg.ops.where(n % 2 == 0, n // 2, 3 * n + 1), i + 1

    with realize.using(engine):
        start = (tg.tensor(27), tg.tensor(0))
        _, steps = tg.ops.while_loop(lambda n, i: n != 1, collatz, start)
        assert int(steps) == 111
        for i, expected in ((0, 6.0), (1, 9.0), (7, 9.0)):
            branches = [lambda x: x * 2, lambda x: x * x]
            got = tg.ops.switch(tg.tensor(i, dtype="int32"), branches, tg.tensor(3.0))
            assert float(got) == expected


def test_a_model_trains_as_on_wasm(engine: BrowserEngine) -> None:
    def losses() -> list[float]:
        tg.random.seed(3)
        model = tg.Sequential(
            [
                tg.Input((8, 8, 1)),
                tg.layers.Conv2D(4, 3, activation="relu", padding="same"),
                tg.layers.MaxPooling2D(),
                tg.layers.Flatten(),
                tg.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        generator = np.random.default_rng(0)
        x = generator.standard_normal((50, 8, 8, 1)).astype(np.float32)
        y = generator.integers(0, 10, 50).astype(np.int32)
        return list(model.fit(x, y, epochs=5, batch_size=16, verbose=0).history["loss"])

    expected = losses()
    with realize.using(engine):
        got = losses()
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_many_runs_make_nothing_new(engine: BrowserEngine) -> None:
    with realize.using(engine):
        state = tg.Variable(np.zeros((64, 64), np.float32))

        @tg.compile
        def step() -> tg.Tensor:
            state.assign(tg.transpose(state.value) + tg.cumsum(state.value, axis=1) * 1e-6 + 1)
            return state.value[0, 0]

        for _ in range(20):
            result = step()
        before = engine.evaluate("(engine) => ({...engine.counts})")
        memory = engine.memory_use()
        for _ in range(500):
            result = step()
        assert float(result) == pytest.approx(520, rel=1e-2)
        after = engine.evaluate("(engine) => ({...engine.counts})")
        assert after["draws"] > before["draws"] + 500
        assert {k: v for k, v in after.items() if k != "draws"} == {
            k: v for k, v in before.items() if k != "draws"
        }
        assert engine.memory_use() == memory


def test_entries_ask_for_their_arguments(engine: BrowserEngine) -> None:
    loaded = engine.load(drawing("o0 = uvec4(1u, 2u, 3u, 4u);"))
    out = engine.alloc(16, "int32")
    engine.run(loaded, 0, [out])
    assert values(engine, out, 4) == [1, 2, 3, 4]
    with fails("range", "takes 1 arguments"):
        engine.run(loaded, 0, [out, out])
    answer = engine.evaluate(
        """async (engine, [entries, text]) => {
            const loaded = await engine.load({ entries, module: new TextEncoder().encode(text) });
            const codes = [];
            for (const args of [[], [1, 2], [99]]) {
                try { engine.run(loaded, 0, args); } catch (error) { codes.push(error.code); }
            }
            engine.unload(loaded);
            engine.unload(loaded);
            try { engine.run(loaded, 0, [1]); } catch (error) { codes.push(error.code); }
            return codes;
        }""",
        [
            [{"inputs": [], "state": [], "outputs": [{}], "constants": []}],
            drawing("o0 = uvec4(1u, 2u, 3u, 4u);").binary.decode(),
        ],
    )
    assert answer == ["range", "range", "handle", "unloaded"]


def test_a_run_of_a_hundred_kernels_takes_little_javascript(engine: BrowserEngine) -> None:
    """Each draws what the one before it drew plus a number of its own, in a texture and another."""
    first = drawing("o0 = uvec4(0u);")
    document = json.loads(first.binary)
    (entry,), (zero,) = document["entries"], document["kernels"]
    add = "uvec4 x = texelFetch(b0, ivec2(gl_FragCoord.xy), 0); o0 = x + uvec4({}u);"
    for i in range(1, 100):
        code = zero["code"].replace("void main", "uniform usampler2D b0; void main")
        code = code.replace("o0 = uvec4(0u);", add.format(i))
        document["kernels"].append({**zero, "code": code, "reads": 1})
        step = {"kernel": i, "reads": [(i + 1) % 2], "writes": [i % 2]}
        entry["launches"].append({**entry["launches"][0], **step})
    times, draws, found = engine.evaluate(
        """async (engine, text) => {
            const entry = { inputs: [], state: [], outputs: [{}, {}], constants: [] };
            const module = new TextEncoder().encode(text);
            const loaded = await engine.load({ entries: [entry], module });
            const args = [engine.alloc(16, "int32"), engine.alloc(16, "int32")];
            engine.run(loaded, 0, args);
            await engine.sync();
            const before = engine.counts.draws;
            const times = [];
            for (let i = 0; i < 20; i++) {
                const begin = performance.now();
                for (let j = 0; j < 3; j++) engine.run(loaded, 0, args);
                times.push((performance.now() - begin) / 3);
                await engine.sync();
            }
            const bytes = await engine.readAsync(args[1], 16);
            return [times, engine.counts.draws - before, [...new Int32Array(bytes.buffer)]];
        }""",
        json.dumps(document),
    )
    print(f"100 kernels: {min(times):.3f} ms of JavaScript at best, {sorted(times)[10]:.3f} median")
    assert draws == 60 * 100
    assert found == [4950] * 4
    assert min(times) <= 1


def test_large_and_small_reads_do_not_block(engine: BrowserEngine) -> None:
    with realize.using(engine):
        x = tg.ones((1 << 18,)) * 3
        x.realize()
        assert engine.read(x.node.buffer.handle, 1 << 20) == struct.pack("<f", 3.0) * (1 << 18)


# Faults


def test_a_shader_that_is_refused_is_told(engine: BrowserEngine) -> None:
    live = engine.memory_use().live
    with fails("compile", "refused a shader", "nonsense"):
        engine.load(drawing("o0 = nonsense;"))
        engine.sync()
    assert engine.memory_use().live == live


def test_a_draw_that_webgl_refuses_is_told(engine: BrowserEngine) -> None:
    """It draws to what it reads."""
    program = drawing("o0 = texelFetch(b0, ivec2(0), 0);", reads=[0])
    code = program.binary.replace(b"void main", b"uniform usampler2D b0; void main")
    loaded = engine.load(Program(code, program.entries))
    out = buffer(engine, 5, 6, 7, 8)
    engine.run(loaded, 0, [out])
    with fails("trap", "WebGL says error 1282"):
        engine.sync()
    good = engine.load(drawing("o0 = uvec4(1u);"))
    engine.run(good, 0, [out])
    assert values(engine, out, 4) == [1, 1, 1, 1]


def test_what_a_refused_draw_spoils(engine: BrowserEngine) -> None:
    """Its output and what others make of that, but nothing from before; writing it heals it."""
    good, copies = drawing("o0 = uvec4(7u);"), drawing("o0 = texelFetch(b0, ivec2(0), 0);")
    code = copies.binary.replace(b"void main", b"uniform usampler2D b0; void main")
    copying = json.loads(code)
    copying["kernels"][0]["reads"] = 1
    copying["entries"][0]["launches"][0] |= {"reads": [0], "writes": [1]}
    refused = json.loads(code)
    refused["entries"][0]["launches"][0] |= {"reads": [0], "writes": [0]}
    ports: dict[str, Any] = {"inputs": [{}], "state": [], "outputs": [{}], "constants": []}
    answer = engine.evaluate(
        """async (engine, [entries, texts]) => {
            const [good, copying, refused] = await Promise.all(texts.map((text, i) =>
                engine.load({ entries: [entries[i]], module: new TextEncoder().encode(text) })));
            const ints = () => {
                const handle = engine.alloc(16, "int32");
                engine.write(handle, Int32Array.of(1, 2, 3, 4));
                return handle;
            };
            const read = async (handle) => {
                try {
                    return new Int32Array((await engine.readAsync(handle, 4)).buffer)[0];
                } catch (error) {
                    return error.code;
                }
            };
            const [before, bad, copy, rows, late] = [ints(), ints(), ints(), ints(), ints()];
            engine.run(good, 0, [before]);
            await engine.sync();
            engine.run(refused, 0, [bad]);
            engine.run(copying, 0, [bad, copy]);
            engine.copyRows(rows, copy, 16, [0]);
            const early = [await read(before), await read(bad), await read(copy), await read(rows)];
            engine.run(copying, 0, [bad, late]);
            engine.copyRows(rows, bad, 16, [0]);
            const known = [await read(late), await read(rows), await read(bad)];
            engine.write(bad, Int32Array.of(5, 6, 7, 8));
            engine.run(copying, 0, [bad, copy]);
            engine.copyRows(rows, copy, 16, [0]);
            return [early, known, [await read(bad), await read(copy), await read(rows)]];
        }""",
        [
            [{**ports, "inputs": []}, ports, {**ports, "inputs": []}],
            [good.binary.decode(), json.dumps(copying), json.dumps(refused)],
        ],
    )
    assert answer == [[7, "trap", "trap", "trap"], ["trap"] * 3, [5, 5, 5]]


@pytest.mark.parametrize(
    "use",
    [
        "engine.readAsync(handle, 16)",
        "engine.read(handle, 16)",
        "engine.write(handle, new Uint8Array(16))",
        "engine.alloc(16)",
        "engine.copyRows(handle, handle, 4, [0])",
        "engine.run(loaded, 0, [handle])",
        "engine.sync()",
        "engine.load(program)",
    ],
)
def test_after_the_context_is_lost_everything_says_so(engine: BrowserEngine, use: str) -> None:
    answer = engine.evaluate(
        f"""async (engine, [entries, text]) => {{
            const program = {{ entries, module: new TextEncoder().encode(text) }};
            const loaded = await engine.load(program);
            const handle = engine.alloc(16);
            engine.run(loaded, 0, [handle]);
            const before = engine.readAsync(handle, 16).then(() => "read", (e) => e.code);
            engine.gl.getExtension("WEBGL_lose_context").loseContext();
            let after;
            try {{ after = await {use}; }} catch (error) {{ after = error.code ?? `${{error}}`; }}
            return [await before, after];
        }}""",
        [
            [{"inputs": [], "state": [], "outputs": [{}], "constants": []}],
            drawing("o0 = uvec4(1u, 2u, 3u, 4u);").binary.decode(),
        ],
    )
    assert answer == ["lost", "lost"]


def test_another_engine_is_opened_after_a_loss(engine: BrowserEngine) -> None:
    engine.evaluate("(engine) => engine.gl.getExtension('WEBGL_lose_context').loseContext()")
    with fails("lost", "Open the engine again"):
        engine.sync()
    again = BrowserEngine("webgl")
    handle = buffer(again, 4)
    assert values(again, handle) == [4]
    again.close()


def test_it_works_in_a_worker() -> None:
    answer = in_page(
        """() => new Promise((resolve) => {
            const code = `
                import { open } from "${location.origin}/player/tabgrad/webgl.js";
                const engine = await open();
                const handle = engine.alloc(16);
                engine.write(handle, Int32Array.of(5, 6, 7, 8));
                const bytes = await engine.readAsync(handle, 16);
                postMessage([engine.info.precision, [...new Int32Array(bytes.buffer)]]);
                engine.close();
            `;
            const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
            const worker = new Worker(address, { type: "module" });
            worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
            worker.onerror = (error) => resolve(String(error.message));
        })"""
    )
    assert answer == ["float32", [5, 6, 7, 8]]


def test_a_page_without_webgl_is_told() -> None:
    answer = in_page(
        """async () => {
            const own = OffscreenCanvas.prototype.getContext;
            OffscreenCanvas.prototype.getContext = () => null;
            try {
                const { open } = await import("/player/tabgrad/webgl.js");
                return await open().then(() => "opened", (e) => [e.code, e.message]);
            } finally {
                OffscreenCanvas.prototype.getContext = own;
            }
        }"""
    )
    assert answer[0] == "adapter"
    assert "expected WebGL2" in answer[1]


def test_what_a_visitor_downloads_for_it() -> None:
    """Fetched only by pages that use it."""
    (text,) = bundle(lambda path: (PLAYER / path).read_text(), ["tabgrad/webgl.js"]).values()
    packed = len(gzip.compress(text.encode(), 9))
    print(f"webgl.js: {packed:,} bytes gzip")
    assert packed <= 9_000
