"""The player's WebGPU engine in Chromium: the protocol, what runs look like, provoked faults."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tabgrad.engines.engine import Engine
from tabgrad.errors import EngineError
from tabgrad.web.bundle import bundle
from tests.engines.browser import PLAYER, BrowserEngine, gpu_process_memory, heap_size, in_page
from tests.player.shaders import Entry, Port, Program, Writer, single

INT = "int32"
ADD = "b0[i] = b0[i] + b1[i];"


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu")
    yield engine
    engine.close()


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


# Buffers


def test_what_an_engine_says_of_itself(engine: BrowserEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.kind == "webgpu"
    assert engine.info["isFallbackAdapter"] is True
    assert engine.features == frozenset()  # threads of a processor gain nothing from each other
    together = BrowserEngine("webgpu", schedule="cooperative")
    assert together.features == {"cooperative"}
    together.close()


def test_write_and_read(engine: BrowserEngine) -> None:
    handle = engine.alloc(16)
    engine.write(handle, bytes(range(16)))
    engine.write(handle, b"abcd", offset=4)
    assert engine.read(handle, 5, offset=1) == b"\x01\x02\x03ab"
    assert engine.read(handle, 16) == b"\x00\x01\x02\x03abcd" + bytes(range(8, 16))
    odd = engine.alloc(7)
    engine.write(odd, b"1234567")
    engine.write(odd, b"abc", offset=4)
    assert engine.read(odd, 7) == b"1234abc"


@pytest.mark.parametrize(
    ("dtype", "form", "given"),
    [
        ("bool", "?", [True, False, True]),
        ("int8", "b", [-128, 127, -1]),
        ("uint8", "B", [0, 255, 7]),
        ("int16", "h", [-32768, 32767, -1]),
        ("uint16", "H", [0, 65535, 7]),
        ("float16", "e", [1.5, -65504.0, 6e-8]),
        ("int64", "q", [-(1 << 62), 3, 1 << 40]),
        ("float64", "d", [1e300, -0.1, 5e-324]),
    ],
)
def test_bytes_are_the_elements_own(
    engine: BrowserEngine, dtype: str, form: str, given: list[Any]
) -> None:
    data = struct.pack(f"<3{form}", *given)
    one, size = engine.alloc(len(data), dtype), len(data) // 3
    engine.write(one, data)
    assert engine.read(one, len(data)) == data
    engine.write(one, data[:size], offset=2 * size)
    assert engine.read(one, len(data)) == data[: 2 * size] + data[:size]
    assert engine.read(one, size, offset=size) == data[size : 2 * size]
    twin = engine.alloc(len(data), dtype)
    engine.copy_rows(twin, one, size, [1, 2, 0])
    assert engine.read(twin, len(data)) == data[size : 2 * size] + data[:size] + data[:size]


def test_empty_buffers(engine: BrowserEngine) -> None:
    one, two = engine.alloc(0), engine.alloc(0)
    assert one != two
    engine.write(one, b"")
    assert engine.read(one, 0) == b""
    engine.copy_rows(one, two, 4, [])
    engine.sync()


def test_a_handle_is_freed_once(engine: BrowserEngine) -> None:
    handle, other = engine.alloc(4), engine.alloc(4)
    engine.free(handle)
    engine.sync()
    uses: list[Callable[[], object]] = [
        lambda: engine.free(handle),
        lambda: engine.write(handle, b"abcd"),
        lambda: engine.read(handle, 1),
        lambda: engine.copy_rows(handle, other, 4, [0]),
        lambda: engine.copy_rows(other, handle, 4, [0]),
    ]
    for use in uses:
        with fails("handle", "not a live buffer"):
            use()
            engine.sync()


def test_bytes_outside_a_buffer_are_refused(engine: BrowserEngine) -> None:
    handle = engine.alloc(8)
    for nbytes, offset in [(9, 0), (1, 8), (4, -1), (-1, 4), (1 << 32, 0)]:
        with fails("range", "has 8 bytes"):
            engine.read(handle, nbytes, offset)
    for nbytes, offset in [(12, 0), (4, 8), (4, -4)]:
        with fails("range", "has 8 bytes"):
            engine.write(handle, bytes(nbytes), offset)
            engine.sync()
    with fails("range", "whole words"):
        engine.write(handle, b"ab", 2)
        engine.sync()
    halves = engine.alloc(8, "float16")
    with fails("range", "of float16"):
        engine.read(halves, 3)


def test_rows_are_copied(engine: BrowserEngine) -> None:
    rows = 30
    for row_bytes in (4, 12, 256):
        content = bytes((7 * i + i // 251) % 256 for i in range(rows * row_bytes))
        src = engine.alloc(len(content))
        engine.write(src, content)
        for count in (1, 5, 40, 1000):
            chosen = [index * index * 11 % rows for index in range(count)]
            dst = engine.alloc(count * row_bytes)
            for indices in (chosen, [i % rows for i in range(count)]):
                engine.copy_rows(dst, src, row_bytes, indices)
                expected = b"".join(content[i * row_bytes : (i + 1) * row_bytes] for i in indices)
                assert engine.read(dst, count * row_bytes) == expected
            engine.free(dst)


def test_rows_outside_a_buffer_are_refused(engine: BrowserEngine) -> None:
    src, dst = buffer(engine, *range(10)), engine.alloc(400)
    for wrong in (-1, 10):
        with fails("range", f"row {wrong} of 10 rows"):
            engine.copy_rows(dst, src, 4, [0, wrong])
            engine.sync()
    with fails("range", "has 400 bytes"):
        engine.copy_rows(dst, src, 4, [0] * 101)
        engine.sync()


def test_freed_memory_is_used_again(engine: BrowserEngine) -> None:
    engine.free(engine.alloc(100_000))
    engine.free(engine.alloc(50_000))
    before = engine.memory_use()
    for _ in range(3000):
        one = engine.alloc(100_000)
        two = engine.alloc(50_000)
        engine.free(one)
        engine.free(two)
    after = engine.memory_use()
    assert after.live == before.live == 0
    assert after.capacity == before.capacity < 200_000
    assert after.peak == 150_000


# Programs


def test_runs_see_their_rows_and_scalars_though_they_are_queued(engine: BrowserEngine) -> None:
    """The frame is written anew for each of several runs that wait behind each other."""
    writer = Writer()
    line = "b0[0] = b0[0] * 10 + i32(frame.y); b0[1] = b0[1] * 10 + i32(frame.w);"
    line += "b0[2] = i32(frame.x);"
    writer.entry(
        Entry([Port(scalar=True), Port(scalar=True)], [("seen", True)]),
        [writer.launch(line, [2], size=3)],
    )
    loaded = engine.load(writer.program())
    seen = buffer(engine, 0, 0, 9)
    for i in range(1, 6):
        engine.run(loaded, 0, [99, 2 * i - 1, seen], rows=i)
    assert values(engine, seen, 3) == [12345, 13579, 0]
    huge = buffer(engine, 0, 0, 0)
    engine.run(loaded, 0, [0, 0xFFFFFFFF, huge])
    assert values(engine, huge, 3) == [0, -1, 0]


def test_entries_constants_and_temporaries(engine: BrowserEngine) -> None:
    writer = Writer()
    # Doubles the constant into a temporary, which the next kernel adds to the input.
    for size, constant in ((1, 5), (2, 70)):
        launches = [
            writer.launch("b0[i] = 2 * b1[i];", [-1, 2], size=size, wide=True),
            writer.launch("b0[i] = b1[i] + b2[i];", [1, 0, -1], size=size, wide=True),
        ]
        entry = Entry([Port()], (), [Port()], [struct.pack(f"<{size}i", *[constant] * size)])
        writer.entry(entry, launches, temps=[4 * size])
    loaded = engine.load(writer.program())
    x, y = buffer(engine, 1, 2), engine.alloc(8, INT)
    engine.run(loaded, 1, [x, y])
    assert values(engine, y, 2) == [141, 142]
    engine.run(loaded, 0, [x, y])
    assert values(engine, y, 2) == [11, 142]


def test_a_constant_of_small_elements(engine: BrowserEngine) -> None:
    writer = Writer()
    entry = Entry((), (), [Port()], [b"\xff\x02"])
    writer.entry(entry, [writer.launch("b0[i] = b1[i];", [0, 1], size=2, wide=True)], (), ["int8"])
    out = engine.alloc(8, INT)
    engine.run(engine.load(writer.program()), 0, [out])
    assert values(engine, out, 2) == [-1, 2]


def test_programs_share_temporaries(engine: BrowserEngine) -> None:
    live = engine.memory_use().live
    one = engine.load(accumulate(1000, 40))
    assert engine.memory_use().live == live + 1040
    other = engine.load(accumulate(900, 400))
    assert engine.memory_use().live == live + 1400
    step, total = buffer(engine, 3), buffer(engine, 0)
    for _ in range(3):
        engine.run(one, 0, [step, total])
        engine.run(other, 0, [step, total])
    assert values(engine, total) == [18]


def test_the_number_of_arguments_is_checked(engine: BrowserEngine) -> None:
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, ints, code }) => {
            const loaded = await engine.load(program);
            return [await code(() => engine.run(loaded, 0, [ints(1)])),
                await code(() => engine.run(loaded, 0, [ints(1), 77])),
                await code(() => engine.run(loaded, 0, [ints(1), ints(1)]))];
        }""",
    )
    assert answer == ["range", "handle", "fine"]


def test_loops_tell_their_turns(engine: BrowserEngine) -> None:
    """Also those inside each other, backwards, and two loops of which one follows the other."""
    writer = Writer()
    note = "b0[0] = b0[0] + 1; b0[b0[0]] = turns.x * 100 + turns.y * 10 + turns.z;"
    launch = writer.launch(note, [0], size=50, turns=True)

    def loop(length: int, *body: Any, reverse: bool = False) -> dict[str, Any]:
        return {"loop": length, "reverse": reverse, "body": list(body)}

    launches = [
        loop(2, launch, loop(3, launch, loop(2, launch), reverse=True)),
        launch,
        loop(3, launch),
    ]
    writer.entry(Entry((), [("seen", True)]), launches)
    seen = buffer(engine, *[0] * 50)
    engine.run(engine.load(writer.program()), 0, [seen])
    expected = []
    for i in range(2):
        expected.append(100 * i)
        for j in (2, 1, 0):
            expected.append(100 * i + 10 * j)
            expected += [100 * i + 10 * j + k for k in range(2)]
    expected += [0, 0, 100, 200]
    assert values(engine, seen, 50) == [len(expected), *expected, *[0] * (49 - len(expected))]


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


def test_loops_and_branches_look_at_values(engine: BrowserEngine) -> None:
    loaded = engine.load(countdown())
    out = engine.alloc(4, INT)
    for count, total, branch in ((0, 0, 100), (3, 21, 101), (4, 28, 102), (10, 70, 100)):
        counter, sum_ = buffer(engine, count), buffer(engine, 0)
        engine.run(loaded, 0, [buffer(engine, 7), counter, sum_, out])
        assert [values(engine, h)[0] for h in (counter, sum_, out)] == [0, total, branch]


def test_what_is_called_meanwhile_comes_after(engine: BrowserEngine) -> None:
    """A run that waits for values does not let others overtake it, nor see what is written later,
    not even into memory that was given back meanwhile."""
    answer = play(
        engine,
        countdown(),
        """async ({ engine, program, ints, read }) => {
            const loaded = await engine.load(program);
            const [step, counter, total, out, copy] = [ints(5), ints(6), ints(0), ints(0), ints(0)];
            const runs = [engine.run(loaded, 0, [step, counter, total, out])];
            engine.write(step, Int32Array.of(1000));
            engine.write(counter, Int32Array.of(2));
            const seen = read(total);
            engine.copyRows(copy, total, 4, [0]);
            runs.push(engine.run(loaded, 0, [step, counter, total, out]));
            engine.free(step);
            const other = ints(77);  // may well be in the place of step
            const waits = runs.map((run) => run instanceof Promise);
            const answer = [waits, await seen, await read(total), await read(copy)];
            await engine.sync();
            return [...answer, await read(other)];
        }""",
    )
    assert answer == [[True, True], [30], [2030], [30], [77]]


def test_unload(engine: BrowserEngine) -> None:
    writer = Writer()
    writer.entry(Entry((), (), [Port()], [b"1234"]), [writer.launch("b0[0] = b1[0];", [0, 1])])
    loaded = engine.load(writer.program())
    assert engine.memory_use().live == 4
    engine.unload(loaded)
    assert engine.memory_use().live == 0
    engine.unload(loaded)
    with fails("unloaded"):
        engine.run(loaded, 0, [0])


def test_close(engine: BrowserEngine) -> None:
    loaded = engine.load(accumulate())
    handle = buffer(engine, 1)
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, code }) => {
            const loaded = await engine.load(program);
            const handle = engine.alloc(4);
            engine.close();
            engine.close();
            engine.unload(loaded);
            const uses = [
                () => engine.alloc(4), () => engine.readAsync(handle, 4), () => engine.sync(),
                () => engine.write(handle, new Uint8Array(4)), () => engine.load(program),
                () => engine.run(loaded, 0, [handle, handle]),
            ];
            const codes = [];
            for (const use of uses) codes.push(await code(use));
            return [codes, engine.memoryUse().live];
        }""",
    )
    assert answer == [["handle"] * 6, 0]
    engine.close()
    engine.free(handle)
    engine.unload(loaded)
    for use in (lambda: engine.alloc(1), lambda: engine.run(loaded, 0, [0, 0]), engine.sync):
        with fails("handle"):
            use()


def test_reading_at_once_says_to_await(engine: BrowserEngine) -> None:
    answer = engine.evaluate(
        "(engine) => { try { engine.read(1, 4); } catch (e) { return [e.code, e.message]; } }"
    )
    assert answer[0] == "async"
    assert "await readAsync" in answer[1]


# What a run looks like


def chain(kernels: int, first: int = 0) -> Program:
    """Kernels that all differ, each going on from what the one before it made."""
    writer = Writer()
    launches = [
        writer.launch(
            f"b1[i] = b0[i] + {first + k};", [k % 2, 1 - k % 2], writes=[1], size=256, wide=True
        )
        for k in range(kernels)
    ]
    writer.entry(Entry((), [("a", True), ("b", True)]), launches)
    return writer.program()


def test_a_run_is_one_pass_and_one_submit(engine: BrowserEngine) -> None:
    times, before, after, total = play(
        engine,
        chain(100),
        """async ({ engine, program, read }) => {
            const loaded = await engine.load(program);
            const [a, b] = [engine.alloc(1024), engine.alloc(1024)];
            engine.write(a, new Uint8Array(1024));
            engine.run(loaded, 0, [a, b]);
            await engine.sync();
            const before = { ...engine.counts };
            const times = [];
            for (let i = 0; i < 20; i++) {
                const begin = performance.now();
                for (let j = 0; j < 10; j++) engine.run(loaded, 0, [a, b]);
                times.push((performance.now() - begin) / 10);
                await engine.sync();
            }
            return [times, before, engine.counts, await read(a)];
        }""",
    )
    assert total == [201 * 4950]
    grown = {name: after[name] - before[name] for name in before}
    assert grown == {
        "submits": 201,  # one more to read
        "passes": 200,
        "dispatches": 200 * 100,
        "pipelines": 0,
        "groups": 0,
        "buffers": 1,
    }
    assert before["pipelines"] == 100
    print(f"100 kernels: {min(times):.3f} ms of JavaScript at best, {sorted(times)[10]:.3f} median")
    assert min(times) <= 1


def test_a_long_loop_is_several_submits(engine: BrowserEngine) -> None:
    """Commands that wait to be submitted take memory."""
    writer = Writer()
    body = [writer.launch("b0[0] = b0[0] + turns.x;", [0], turns=True)]
    launches = [{"loop": 25_000, "reverse": False, "body": body}]
    writer.entry(Entry((), [("total", True)]), launches)
    total = buffer(engine, 0)
    engine.run(engine.load(writer.program()), 0, [total])
    assert values(engine, total) == [25_000 * 24_999 // 2]
    counts = engine.evaluate("(engine) => engine.counts")
    assert (counts["dispatches"], counts["passes"]) == (25_000, 3)
    live = engine.memory_use().live
    launches[0]["loop"] = 5_000_000
    with fails("memory", "for the turns of loops"):
        engine.load(writer.program())
        engine.sync()
    assert engine.memory_use().live == live


@pytest.mark.alone
def test_the_page_goes_on_while_shaders_are_compiled(engine: BrowserEngine) -> None:
    """Measured three times, because whatever else the machine does makes a page wait, too."""
    found = [
        play(
            engine,
            chain(100, 1000 * i),
            """async ({ engine, program }) => {
                const { port1, port2 } = new MessageChannel();
                const begin = performance.now();
                let [last, longest] = [begin, 0];
                port1.onmessage = () => {
                    const now = performance.now();
                    longest = Math.max(longest, now - last);
                    last = now;
                    port2.postMessage(0);
                };
                port2.postMessage(0);
                await engine.load(program);
                port1.close();
                return [longest, performance.now() - begin];
            }""",
        )
        for i in range(1, 4)
    ]
    longest, milliseconds = min(found)
    print(f"100 pipelines in {milliseconds:.0f} ms, the page waited for at most {longest:.0f} ms")
    assert longest <= 50


def test_equal_kernels_are_compiled_once(engine: BrowserEngine) -> None:
    one, other = engine.load(accumulate()), engine.load(accumulate())
    step, total = buffer(engine, 2), buffer(engine, 0)
    engine.run(one, 0, [step, total])
    engine.unload(one)
    engine.run(other, 0, [step, total])
    assert values(engine, total) == [4]
    assert engine.evaluate("(engine) => engine.counts.pipelines") == 1
    engine.unload(other)
    third = engine.load(accumulate())
    engine.run(third, 0, [step, total])
    assert values(engine, total) == [6]
    assert engine.evaluate("(engine) => engine.counts.pipelines") == 2


@pytest.mark.slow
def test_10000_runs_leave_memory_as_it_is(engine: BrowserEngine) -> None:
    """With arguments that stay, with outputs that are new each time, and with loops that wait."""
    program = chain(5)

    def runs(count: int) -> Any:
        return play(
            engine,
            program,
            f"""async ({{ engine, program, ints, read }}) => {{
                const loaded = await engine.load(program);
                const [a, b] = [engine.alloc(1024), engine.alloc(1024)];
                for (let i = 0; i < {count}; i++) {{
                    engine.run(loaded, 0, [a, b]);
                    const c = engine.alloc(1024);
                    engine.run(loaded, 0, [a, c]);
                    if (i % 20 === 0) await engine.readAsync(c, 4);
                    engine.free(c);
                }}
                await engine.sync();
                for (const handle of [a, b]) engine.free(handle);
                engine.unload(loaded);
                return engine.memoryUse();
            }}""",
        )

    first = runs(2000)
    heap, process = heap_size(), gpu_process_memory()
    assert runs(10_000) == first
    grown = [(heap_size() - heap) / 2**20, (gpu_process_memory() - process) / 2**20]
    print(
        f"after 10,000 runs: {grown[0]:.2f} MB of JavaScript, {grown[1]:.2f} MB of the GPU's more"
    )
    assert grown[0] < 0.5
    assert grown[1] < 20


# Faults


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


@pytest.mark.parametrize("moment", ["before", "between", "while reading", "while looping"])
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
            if (moment === "between") engine.device.destroy();
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


def test_what_a_visitor_downloads_for_it() -> None:
    """Fetched only by pages that use it."""
    (text,) = bundle(lambda path: (PLAYER / path).read_text(), ["tabgrad/webgpu.js"]).values()
    packed = len(gzip.compress(text.encode(), 9))
    print(f"webgpu.js: {packed:,} bytes gzip")
    assert packed <= 7_500
