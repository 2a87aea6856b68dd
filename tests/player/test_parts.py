"""The player's parts on their own, in Node: each against NumPy, JAX or a plain model of it."""

from __future__ import annotations

import base64
import random
import struct

import numpy as np
import pytest
import wasmtime

from tabgrad import dtypes
from tabgrad.formats import safetensors
from tests.player.linear import shuffled


def test_float16_bits_become_numbers(javascript):
    found = javascript(
        """
        const { fromHalf } = await import(player + "/half.js");
        answer = Array.from({ length: 65536 }, (_, bits) => String(fromHalf(bits)));
        """
    )
    expected = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(np.array([float(text) for text in found]), expected)


def test_numbers_become_float16_bits(javascript):
    generator = np.random.default_rng(0)
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = (every[1:] + every[:-1]) / 2  # the ties
    values = np.concatenate(
        [
            every,
            middles,
            np.nextafter(middles, 0),
            np.nextafter(middles, np.inf),
            np.exp(generator.uniform(-20, 13, 5000)),
            [65504, 65519.99, 65520, 1e300, 2.0**-24, 2.0**-25, np.nextafter(2.0**-25, 1), 1e-300],
        ]
    )
    values = np.concatenate([values, -values])
    found = javascript(
        """
        const { toHalf } = await import(player + "/half.js");
        answer = value.map(toHalf).concat([NaN, Infinity, -Infinity, -0].map(toHalf));
        """,
        values.tolist(),
    )
    with np.errstate(over="ignore", under="ignore"):
        expected = values.astype(np.float16).view(np.uint16).tolist()
    assert found == [*expected, 0x7E00, 0x7C00, 0xFC00, 0x8000]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint16", "int64", "uint64", "float16", "float64"]
)
def test_packs_and_unpacks_every_kind_of_dtype(javascript, dtype):
    found = javascript(
        """
        const { pack, unpack } = await import(player + "/arrays.js");
        const { bytesOf } = await import(player + "/dtypes.js");
        const spec = { name: "x", dtype: value, shape: [4, 2], rows: true };
        const { data, shape } = await pack([[0, 1], [1, true], [false, 1]], spec);
        const bytes = [...bytesOf(data)];
        const list = (await unpack({ data, shape }, value)).tolist();
        answer = { bytes, shape, list, errors: [] };
        for (const bad of [2.5, -1, 1e30, 300, "1", null, {}]) {
          await pack([[0, bad]], spec).then(
            () => answer.errors.push(null),
            (error) => answer.errors.push(error.code),
          );
        }
        """,
        dtype,
    )
    values = np.array([[0, 1], [1, 1], [0, 1]], dtype)
    assert bytes(found["bytes"]) == values.tobytes()
    assert found["shape"] == [3, 2]
    assert found["list"] == values.tolist()
    fits = [True] * 4
    if not dtype.startswith("float"):
        info = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        # 1e30 is whole, but JavaScript's numbers are exact only up to 2**53
        fits = [False, info[0] <= -1, False, info[1] >= 300]
    assert found["errors"] == [None if fit else "dtype" for fit in fits] + ["dtype"] * 3


def test_packing_much_data_lets_the_event_loop_breathe(javascript):
    found = javascript(
        """
        const { pack } = await import(player + "/arrays.js");
        const row = (_, i) => Array.from({ length: 100 }, (_, j) => i + j);
        const rows = Array.from({ length: 20000 }, row);
        let longest = 0;
        let last = performance.now();
        const timer = setInterval(() => {
          longest = Math.max(longest, performance.now() - last);
          last = performance.now();
        });
        const spec = { name: "x", dtype: "int32", shape: [8, 100], rows: true };
        const { data } = await pack(rows, spec);
        clearInterval(timer);
        answer = { sum: data.reduce((a, b) => a + b, 0), turns: longest > 0 };
        """
    )
    assert found["sum"] == sum(i + j for i in range(20000) for j in range(100))
    assert found["turns"], "two million values were packed in one go"


@pytest.mark.parametrize("rows, seed, epoch", [(1, 0, 0), (7, 3, 1), (1437, 2**32 - 1, 40)])
def test_shuffles_as_jax_sorts_its_random_bits(javascript, rows, seed, epoch):
    found = javascript(
        """
        const { shuffled } = await import(player + "/training.js");
        answer = [...shuffled(...value)];
        """,
        [rows, seed, epoch],
    )
    assert found == shuffled(rows, seed, epoch)


def test_threefry_has_the_published_values(javascript):
    """Known answers from the Random123 distribution: kat_vectors, threefry2x32 with 20 rounds."""
    found = javascript(
        """
        const { threefry } = await import(player + "/training.js");
        answer = value.map((words) => threefry(...words));
        """,
        [
            [0, 0, 0, 0],
            [0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF],
            [0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3],
        ],
    )
    assert found == [
        [0x6B200159, 0x99BA4EFE],
        [0x1CB996FC, 0xBB002BE7],
        [0xC4923A9C, 0x483DF7A0],
    ]


ALL_DTYPES = {
    "bool": [0, 1, 1],
    "int8": [-128, 127],
    "uint8": [255],
    "int16": [-300],
    "uint16": [65535],
    "int32": [-(2**31)],
    "uint32": [2**32 - 1],
    "int64": [-(2**63), 5],
    "uint64": [2**64 - 1],
    "float16": [0.5, -1.5, 3],
    "float32": [0.1],
    "float64": [0.1, 1e300],
}


def test_reads_safetensors_written_by_python(javascript):
    arrays = {
        name: safetensors.Array((len(v),), dtypes.as_dtype(name), np.array(v, name).tobytes())
        for name, v in ALL_DTYPES.items()
    }
    found = javascript(
        """
        const { readSafetensors } = await import(player + "/safetensors.js");
        const file = readSafetensors(Uint8Array.from(Buffer.from(value, "base64")).buffer, "it");
        answer = [];
        for (const [name, { dtype, shape, bytes }] of file) {
          answer.push([name, dtype, shape, [...bytes]]);
        }
        """,
        base64.b64encode(safetensors.dumps(arrays)).decode(),
    )
    assert {name: (dtype, tuple(shape), bytes(data)) for name, dtype, shape, data in found} == {
        name: (array.dtype.name, array.shape, bytes(array.data)) for name, array in arrays.items()
    }


def test_python_reads_safetensors_written_here(javascript):
    found = javascript(
        """
        const { writeSafetensors } = await import(player + "/save.js");
        const { STORES } = await import(player + "/dtypes.js");
        const arrays = value.map(([name, dtype, bytes]) => {
          const data = new STORES[dtype](Uint8Array.from(bytes).buffer);
          return [name, { dtype, shape: [data.length], data }];
        });
        answer = Buffer.from(writeSafetensors(arrays)).toString("base64");
        """,
        [[f"name of {k}", k, list(np.array(v, k).tobytes())] for k, v in ALL_DTYPES.items()],
    )
    file = base64.b64decode(found)
    arrays = safetensors.loads(file)
    assert {name: (a.dtype.name, bytes(a.data)) for name, a in arrays.items()} == {
        f"name of {k}": (k, np.array(v, k).tobytes()) for k, v in ALL_DTYPES.items()
    }
    assert safetensors.metadata(file) == {"format": "tabgrad", "schema": "1"}
    assert (8 + struct.unpack("<Q", file[:8])[0]) % 8 == 0


def test_damaged_safetensors_are_refused(javascript):
    good = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    cases = {
        "number": ("1", 0),
        "nothing": ("null", 0),
        "list": ("[1]", "corrupt"),
        "no entry": ('{"a":1}', "corrupt"),
        "dtype": (good.replace("F32", "BF16"), "corrupt"),
        "no dtype": (good.replace('"dtype"', '"kind"'), "corrupt"),
        "negative": (good.replace("[2]", "[-2]"), "corrupt"),
        "fraction": (good.replace("[2]", "[0.5]"), "corrupt"),
        "size": (good.replace("[2]", "[3]"), "corrupt"),
        "backwards": (good.replace("[0,8]", "[8,0]"), "corrupt"),
        "outside": (good.replace("[0,8]", "[4,12]"), "truncated"),
        "newer": (
            '{"__metadata__":{"format":"tabgrad","schema":"2"},' + good[1:],
            "version",
        ),
        "text": ("\xff", "corrupt"),
    }
    files = {}
    for name, (header, _) in cases.items():
        data = header.encode("latin-1")
        files[name] = list(struct.pack("<Q", len(data)) + data + bytes(8))
    found = javascript(
        """
        const { readSafetensors } = await import(player + "/safetensors.js");
        answer = {};
        for (const [name, bytes] of Object.entries(value)) {
          try {
            answer[name] = readSafetensors(Uint8Array.from(bytes).buffer, name).size;
          } catch (error) {
            answer[name] = error.code;
          }
        }
        """,
        files,
    )
    assert found == {name: code for name, (_, code) in cases.items()}


def test_the_allocator_never_overlaps_and_forgets_nothing(javascript):
    """Random allocations and frees, checked against a plain list of what is live."""
    generator = random.Random(1)
    script, live = [], 0
    for _ in range(4000):
        if live and generator.random() < 0.48:
            script.append(-1 - generator.randrange(live))
            live -= 1
        else:
            script.append(generator.choice([0, 1, 4, 63, 64, 65, 1000, 100_000]))
            live += 1
    found = javascript(
        """
        const { Allocator } = await import(player + "/allocator.js");
        const start = 66560;
        const heap = new Allocator(start, 1 << 20);
        const live = [];
        answer = { problems: [], steps: 0 };
        const expect = (fine, what) => fine || answer.problems.push(what);
        for (const step of value) {
          if (step < 0) {
            const [{ address, nbytes }] = live.splice(-1 - step, 1);
            expect(heap.size(address) === nbytes, "size");
            expect(heap.free(address), "free");
            expect(!heap.free(address), "free twice");
          } else {
            let address = heap.alloc(step);
            if (!address) {
              heap.extend(heap.end + heap.shortfall(step));
              address = heap.alloc(step);
            }
            expect(address >= start && address % 64 === 0, "aligned " + address);
            expect(address + step + 64 <= heap.end, "spare bytes at the end");
            for (const other of live) {
              const before = address + step + 64 <= other.address;
              expect(before || other.address + other.nbytes + 64 <= address, "overlap");
            }
            live.push({ address, nbytes: step });
          }
          expect(heap.live === live.reduce((sum, { nbytes }) => sum + nbytes, 0), "live");
          answer.steps++;
        }
        const { end } = heap;
        for (const { address } of live) heap.free(address);
        // Everything is one block again.
        expect(heap.alloc(end - start - 64) === start, "coalesced");
        """,
        script,
    )
    assert found == {"problems": [], "steps": len(script)}


def test_the_engine_keeps_the_protocol(javascript):
    module = wasmtime.wat2wasm(
        """(module (import "tabgrad" "memory" (memory 1 65536)) (func (export "run")
          ;; copies the frame's first words to the buffer in slot 0
          (memory.copy (i32.load (i32.const 1088)) (i32.const 1024) (i32.const 80))))"""
    )
    found = javascript(
        """
        const { WasmEngine } = await import(player + "/wasm.js");
        const engine = new WasmEngine();
        answer = { kind: engine.kind, codes: {} };
        const code = (name, work) => {
          try {
            work();
          } catch (error) {
            answer.codes[name] = error.code;
          }
        };
        const big = engine.alloc(100);
        engine.write(big, Uint16Array.of(1, 2, 3), 10);
        answer.read = [...engine.read(big, 6, 10)];
        const copy = engine.read(big, 6, 10).fill(9);
        // Growing the memory moves nothing.
        const large = engine.alloc(50_000_000);
        answer.afterGrowth = [...engine.read(big, 6, 10)];
        engine.write(large, Uint8Array.from({ length: 40 }, (_, i) => i));
        engine.copyRows(big, large, 4, [2, 3, 4, 0, 9, 9]);
        answer.rows = [...engine.read(big, 24)];
        code("copy outside", () => engine.copyRows(big, large, 4, [12_500_000]));
        code("copy negative", () => engine.copyRows(big, large, 4, [-1]));
        code("copy too much", () => engine.copyRows(big, large, 4, new Uint32Array(26)));
        code("write outside", () => engine.write(big, new Uint8Array(8), 93));
        code("read outside", () => engine.read(big, 101));
        code("free dead", () => engine.free(12345));
        code("alloc huge", () => engine.alloc(2 ** 33));
        const ports = { inputs: [], state: [], outputs: [] };
        const entry = (arena, scratch, ...constants) => ({ arena, scratch, constants, ...ports });
        const bytes = Uint8Array.from(value);
        const program = { module: bytes, entries: [entry(100, 0), entry(500, 64, bytes, bytes)] };
        const loaded = engine.load(program);
        const again = engine.load({ ...program, module: new WebAssembly.Module(bytes) });
        const use = engine.memoryUse();
        engine.run(loaded, 1, [big, 0xffffffff], 5);
        const frame = new Uint32Array(engine.read(big, 80).buffer);
        answer.frame = [frame[0], frame[1], frame[2], frame[7], frame[17]];
        answer.areas = [frame[3] % 64, frame[4] % 64, engine.read(frame[3], 500).length];
        answer.constant = engine.read(frame[18], bytes.length).join() === bytes.join();
        code("slots", () => engine.run(loaded, 0, new Uint32Array(20000)));
        engine.unload(loaded);
        code("unloaded", () => engine.run(loaded, 0, [big]));
        engine.unload(again);
        code("compile", () => engine.load({ module: Uint8Array.of(1, 2), entries: [] }));
        engine.free(large);
        answer.live = engine.memoryUse().live;
        answer.peakIsMore = use.peak >= 50_000_000 && use.capacity > use.live;
        engine.close();
        code("closed", () => engine.alloc(1));
        """,
        list(module),
    )
    assert found["kind"] == "wasm"
    assert found["read"] == found["afterGrowth"] == [1, 0, 2, 0, 3, 0]
    rows = [2, 3, 4, 0, 9, 9]
    assert found["rows"] == [4 * row + i for row in rows for i in range(4)]
    assert found["frame"] == [1, 5, 0, 64, 0xFFFFFFFF]
    assert found["areas"] == [0, 0, 500]
    assert found["constant"]
    assert found["live"] == 100 + 500 + 64
    assert found["peakIsMore"]
    assert found["codes"] == {
        "copy outside": "range",
        "copy negative": "range",
        "copy too much": "range",
        "write outside": "range",
        "read outside": "range",
        "free dead": "handle",
        "alloc huge": "memory",
        "slots": "range",
        "unloaded": "unloaded",
        "compile": "compile",
        "closed": "memory",
    }


def test_asks_for_less_memory_where_the_maximum_is_refused(javascript):
    found = javascript(
        """
        const { Memory } = WebAssembly;
        const asked = [];
        WebAssembly.Memory = function (limits) {
          asked.push(limits.maximum);
          if (limits.maximum > 5000) throw new RangeError("no");
          return new Memory(limits);
        };
        const { WasmEngine } = await import(player + "/wasm.js");
        const handle = new WasmEngine().alloc(10);
        WebAssembly.Memory = function () { throw new RangeError("none at all"); };
        let code;
        try { new WasmEngine(); } catch (error) { code = error.code; }
        answer = { asked, handle: handle > 0, code };
        """
    )
    assert found == {"asked": [65536, 32768, 16384, 8192, 4096], "handle": True, "code": "memory"}


def test_finds_relaxed_simd_by_validation(javascript):
    """Node 20 has relaxed SIMD behind a flag only, so it stands for a browser without."""
    code = """
        const { features } = await import(player + "/features.js");
        const probe = [...features()];
        const { validate } = WebAssembly;
        WebAssembly.validate = () => true;
        answer = { probe, told: [...features()] };
    """
    module = wasmtime.wat2wasm(
        """(module (func (param v128 v128 v128) (result v128)
          (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))"""
    )
    found = javascript(code)
    valid = javascript("answer = WebAssembly.validate(Uint8Array.from(value));", list(module))
    assert found["probe"] == (["relaxed-simd"] if valid else [])
    assert found["told"] == ["relaxed-simd"]
