"""What the player's WebGPU engine does about faults, provoked in Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.engines.browser import BrowserEngine, in_page
from tests.player.shaders import Entry, Port, Writer, single
from tests.player.shading import accumulate, buffer, countdown, fails, play, values


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu")
    yield engine
    engine.close()


def test_a_shader_that_is_refused(engine: BrowserEngine) -> None:
    good = engine.load(accumulate())
    step, total = buffer(engine, 2), buffer(engine, 0)
    live = engine.memory_use().live
    wrong = Writer()
    wrong.entry(
        Entry((), (), [Port()], [b"1234"]), [wrong.launch("b0[0] = nowhere;", [0])], temps=[40]
    )
    with fails("compile", "nowhere", r"var<storage, read_write> b0"):
        engine.load(wrong.program())
        engine.sync()
    assert engine.memory_use().live == live + 40  # temporaries stay for the next Program
    engine.run(good, 0, [step, total])
    assert values(engine, total) == [2]


def test_a_refused_shader_loaded_without_waiting_spoils_what_it_writes(
    engine: BrowserEngine,
) -> None:
    answer = play(
        engine,
        single("b0[0] = nowhere;"),
        """async ({ engine, program, ints, read, code }) => {
            const loaded = engine.loadNow(program);
            const [out, other] = [ints(1), ints(2)];
            engine.run(loaded, 0, [out]);
            return [await code(() => read(out)), await read(other)];
        }""",
    )
    assert answer == ["compile", [2]]


def test_loading_without_waiting(engine: BrowserEngine) -> None:
    answer = play(
        engine,
        single("b0[0] = 7;"),
        """async ({ engine, program, ints, read }) => {
            const out = ints(1);
            engine.run(engine.loadNow(program), 0, [out]);
            return read(out);
        }""",
    )
    assert answer == [7]


def test_a_pass_that_is_refused_spoils_what_it_writes(engine: BrowserEngine) -> None:
    """Its output, what others make of that, but nothing else; writing it again heals it."""
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, ints, read, code }) => {
            const loaded = await engine.load(program);
            const [x, total, late, fine] = [ints(1), ints(0), ints(0), ints(0)];
            engine.run(loaded, 0, [x, x]);  // one buffer read and written by the same dispatch
            engine.run(loaded, 0, [x, total]);
            engine.copyRows(late, total, 4, [0]);
            const codes = [code(() => read(x)), code(() => read(total)), code(() => read(late))];
            const early = await Promise.all(codes);
            const known = [await code(() => read(x)), await code(() => read(total))];
            engine.write(x, Int32Array.of(5));
            engine.run(loaded, 0, [x, fine]);
            engine.write(total, Int32Array.of(1));
            engine.run(loaded, 0, [x, total]);
            const healed = [await read(fine), await read(total)];
            return [early, known, ...healed, await code(() => read(late))];
        }""",
    )
    assert answer == [["trap"] * 3, ["trap"] * 2, [5], [6], "trap"]


def test_a_pass_that_is_refused_takes_no_copies_along(engine: BrowserEngine) -> None:
    """Those before it wait to go out with a run; this one's submit fails as a whole."""
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, ints, read, code }) => {
            const loaded = await engine.load(program);
            const [x, y, z] = [ints(1), ints(2), ints(3)];
            for (const handle of [x, y, z]) await read(handle);  // nothing is in doubt
            engine.copyRows(y, x, 4, [0]);
            engine.run(loaded, 0, [x, x]);  // one buffer read and written by the same dispatch
            engine.copyRows(z, y, 4, [0]);
            const late = code(() => read(x));
            return [await read(y), await read(z), await late];
        }""",
    )
    assert answer == [[1], [1], "trap"]


def test_no_memory(engine: BrowserEngine) -> None:
    """The adapter says it has a gigabyte and gives none. What needs it fails, the rest works."""
    small = buffer(engine, 7)
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, ints, read, code }) => {
            const loaded = await engine.load(program);
            const [x, total] = [ints(3), ints(0)];
            const large = engine.alloc(2 ** 30);
            engine.write(large, new Uint8Array(4));
            engine.run(loaded, 0, [large, total]);
            const codes = [await code(() => read(large)), await code(() => read(total))];
            engine.free(large);
            engine.write(total, Int32Array.of(0));
            engine.run(loaded, 0, [x, total]);
            return [codes, await read(total), engine.memoryUse().live];
        }""",
    )
    assert answer == [["memory", "memory"], [3], 12]
    assert values(engine, small) == [7]
    with fails("memory", "no memory for a buffer of 1,073,741,824"):
        engine.load(accumulate(1 << 30))
        engine.sync()


def test_memory_that_was_given_back_before_it_was_refused(engine: BrowserEngine) -> None:
    """It must not come back as somebody's buffer without a word."""
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, read, code }) => {
            engine.free(engine.alloc(2 ** 28));
            engine.free(engine.alloc(2 ** 30));
            const again = [engine.alloc(2 ** 28), engine.alloc(2 ** 30)];
            for (const handle of again) engine.write(handle, Int32Array.of(5));
            const early = [await code(() => read(again[1])), await read(again[0])];
            for (const handle of again) engine.free(handle);
            const late = engine.alloc(2 ** 30);
            return [early, await code(() => read(late)), engine.memoryUse().live];
        }""",
    )
    assert answer == [["memory", [5]], "memory", 1 << 30]


def test_more_than_the_adapter_can_address(engine: BrowserEngine) -> None:
    with fails("memory", "of at most 1,073,741,824 on this adapter", "smaller batches"):
        engine.alloc(5_000_000_000)
        engine.sync()
    live = engine.memory_use().live
    with fails("memory", "of at most"):
        engine.load(accumulate(1 << 31))
        engine.sync()
    assert engine.memory_use().live == live
    handle = buffer(engine, 3)
    assert values(engine, handle) == [3]


@pytest.mark.parametrize(
    "moment", ["before", "between", "copied", "while reading", "while looping"]
)
def test_a_device_that_is_lost(engine: BrowserEngine, moment: str) -> None:
    """Everything afterwards says so, whatever was under way; a new engine works."""
    answer = play(
        engine,
        countdown(),
        """async ({ engine, program, ints, read, code }) => {
            const moment = MOMENT;
            const loaded = await engine.load(program);
            const args = [ints(5), ints(6), ints(0), ints(0)];
            if (moment === "before") engine.device.destroy();
            const run = engine.run(loaded, 0, args);
            if (moment !== "while looping") await run;
            if (moment === "copied") engine.copyRows(args[2], args[0], 4, [0]);
            if (["between", "copied"].includes(moment)) engine.device.destroy();
            const reading = code(() => read(args[2]));
            if (moment.startsWith("while")) engine.device.destroy();
            const codes = [await reading, await code(() => read(args[2]))];
            for (const use of [
                () => engine.alloc(4), () => engine.write(args[0], Int32Array.of(1)),
                () => engine.run(loaded, 0, args), () => engine.load(program), () => engine.sync(),
            ]) codes.push(await code(use));
            for (const handle of args) engine.free(handle);
            engine.unload(loaded);
            engine.close();
            return codes;
        }""".replace("MOMENT", json.dumps(moment)),
    )
    assert answer == ["lost"] * 7
    other = BrowserEngine("webgpu")
    handle = buffer(other, 3)
    assert values(other, handle) == [3]
    other.close()


def test_an_error_nobody_foresaw(engine: BrowserEngine) -> None:
    """What no scope caught may have spoilt anything, so nothing is read any more."""
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, ints, read, code }) => {
            const x = ints(1);
            engine.device.createBuffer({ size: 16, usage: 3 });
            await new Promise((resolve) => setTimeout(resolve, 50));
            return code(() => read(x));
        }""",
    )
    assert answer == "trap"


@pytest.mark.parametrize(
    ("gpu", "what"),
    [("{ requestAdapter: async () => null }", "gives no adapter"), ("undefined", "has no WebGPU")],
)
def test_no_adapter(gpu: str, what: str) -> None:
    answer = in_page(
        f"""async () => {{
            const {{ open }} = await import("/player/tabgrad/webgpu.js");
            Object.defineProperty(navigator, "gpu", {{ value: {gpu}, configurable: true }});
            try {{
                await open();
            }} catch (error) {{
                return [error.code, error.message];
            }} finally {{
                delete navigator.gpu;
            }}
        }}"""
    )
    assert answer[0] == "adapter"
    assert what in answer[1]
