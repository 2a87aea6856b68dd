"""Programs on the player's WebGPU engine in Chromium: arguments, loops, what a run looks like."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import pytest

import tabgrad as tg
from tabgrad import realize
from tabgrad.web.bundle import bundle
from tests.engines.browser import PLAYER, BrowserEngine, gpu_process_memory, heap_size
from tests.player.shaders import Entry, Port, Program, Writer
from tests.player.shading import INT, accumulate, buffer, countdown, fails, play, values


@pytest.fixture
def engine() -> Iterator[BrowserEngine]:
    engine = BrowserEngine("webgpu")
    yield engine
    engine.close()


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


def test_rows_go_out_with_the_run_that_reads_them(engine: BrowserEngine) -> None:
    answer = play(
        engine,
        accumulate(),
        """async ({ engine, program, ints, read }) => {
            const loaded = await engine.load(program);
            const [x, y] = [ints(1, 10, 100, 1000), ints(2, 20, 200, 2000)];
            const [row, total] = [ints(0), ints(0)];
            engine.run(loaded, 0, [row, total]);
            for (const handle of [x, y, row, total]) await read(handle);  // nothing is in doubt
            const submits = [];
            for (const column of [x, y, x]) {
                const before = engine.counts.submits;
                for (const i of [3, 1, 2]) engine.copyRows(row, column, 4, [i]);
                engine.copyRows(total, y, 4, [0]);
                engine.run(loaded, 0, [row, total]);
                submits.push(engine.counts.submits - before);
            }
            return [submits, await read(total)];
        }""",
    )
    assert answer == [[1, 1, 1], [102]]


def test_a_training_step_is_one_submit(engine: BrowserEngine) -> None:
    """The rows of both columns, the gradient, the update and the metrics."""
    x = [[i / 32.0, 1 - i / 16.0] for i in range(32)]
    y = [[a - b] for a, b in x]
    with realize.using(engine):
        model = tg.Sequential([tg.Input((2,)), tg.layers.Dense(8, "tanh"), tg.layers.Dense(1)])
        model.compile("adam", "mse", metrics=["mae"])
        columns = tg.tensor(x), tg.tensor(y)

        def counted(epochs: int) -> dict[str, int]:
            engine.evaluate("""(engine) => {
                const { readAsync } = Object.getPrototypeOf(engine);
                engine.counts.reads = engine.counts.copies = 0;
                engine.readAsync = (...given) => {
                    engine.counts.reads++;
                    return readAsync.apply(engine, given);
                };
                const { copyRows } = Object.getPrototypeOf(engine);
                engine.copyRows = (...given) => {
                    engine.counts.copies++;
                    copyRows.apply(engine, given);
                };
            }""")
            before = engine.evaluate("(engine) => engine.counts")
            model.fit(*columns, epochs=epochs, batch_size=4, shuffle=False, verbose=0)
            after = engine.evaluate("(engine) => engine.counts")
            return {name: after[name] - before[name] for name in after}

        counted(8)  # whatever runs for the first time goes out by itself
        counts = counted(4)
    assert (counts["copies"], counts["passes"]) == (2 * 4 * 8, 4 * 8)
    # In the first step of an epoch metrics are set to zero between the copies and the run.
    assert counts["submits"] - counts["reads"] == 4 * (8 + 1)


def test_runs_in_the_same_memory_share_their_groups(engine: BrowserEngine) -> None:
    """Though it is another buffer's by now: batches and results come and go."""
    answer = play(
        engine,
        chain(5),
        """async ({ engine, program, ints, read }) => {
            const loaded = await engine.load(program);
            const found = [];
            for (let i = 0; i < 30; i++) {
                const [a, b] = [ints(...new Int32Array(256).fill(i)), engine.alloc(1024)];
                engine.run(loaded, 0, [a, b]);
                found.push((await read(b))[0] - i);
                for (const handle of [a, b]) engine.free(handle);
            }
            return [found, engine.counts.groups];
        }""",
    )
    assert answer[0] == [10] * 30
    assert answer[1] <= 10


def test_what_each_dispatch_takes(engine: BrowserEngine) -> None:
    """By the adapter's own clock, while what is computed stays what it is."""
    writer = Writer()
    short = writer.launch("b0[i] = b0[i] + 1;", [0], size=64, wide=True)
    work = "for (var k = 0; k < 3000; k++) { b0[i] = b0[i] ^ k; } b0[i] = b0[i] + 1;"
    long = writer.launch(work, [0], size=1 << 15, wide=True)
    body = {"loop": 2, "reverse": False, "body": [long, short]}
    writer.entry(Entry((), [("x", True)]), [short, body])
    times, x, counts = play(
        engine,
        writer.program(),
        """async ({ engine, program, ints, read }) => {
            const { timed } = await import("/player/tabgrad/timestamps.js");
            const loaded = await engine.load(program);
            const x = ints(...new Int32Array(1 << 15));
            const times = await timed(engine, () => engine.run(loaded, 0, [x]));
            const { dispatches } = engine.counts;
            engine.run(loaded, 0, [x]);
            return [times, await read(x), [dispatches, engine.counts.dispatches]];
        }""",
    )
    assert [one["pipeline"] for one in times] == [0, 1, 0, 1, 0]
    small, large = (sum(t["milliseconds"] for t in times if t["pipeline"] == i) for i in (0, 1))
    print(f"short dispatches take {small / 3:.3f} ms, long ones {large / 2:.3f}")
    assert large > 10 * small >= 0
    assert x == [10]
    assert counts == [5, 10]


def test_devices_without_a_clock_say_so(engine: BrowserEngine) -> None:
    code = engine.evaluate(
        """async (engine) => {
            const { timed } = await import("/player/tabgrad/timestamps.js");
            const other = { device: { features: new Set() }, sync: () => engine.sync() };
            return timed(other, () => {}).catch((error) => error.code);
        }"""
    )
    assert code == "adapter"


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


def test_what_a_visitor_downloads_for_it() -> None:
    """Fetched only by pages that use it."""
    (text,) = bundle(lambda path: (PLAYER / path).read_text(), ["tabgrad/webgpu.js"]).values()
    packed = len(gzip.compress(text.encode(), 9))
    print(f"webgpu.js: {packed:,} bytes gzip")
    assert packed <= 7_650
