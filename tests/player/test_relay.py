"""The engine that can be replaced: whatever its engines fail at, what is read stays the same.

The engines are made up here, of arrays, and each fails at a chosen operation: every one of them in
turn. What an undisturbed engine gives is what must come.
"""

from __future__ import annotations

import pytest

FAKE = """
    const { Relay } = await import(`${player}/relay.js`);

    /** Fails at an operation of a number, and at all after that. */
    class Fake {
      buffers = new Map();
      next = 1;
      done = 0;
      constructor(kind, fails = Infinity) {
        this.kind = kind;
        this.fails = fails;
        this.loaded = {};
      }
      check() {
        if (++this.done < this.fails) return;
        throw Object.assign(new Error(`${this.kind} is lost`), { code: "lost" });
      }
      of(handle) {
        const found = this.buffers.get(handle);
        if (!found) throw Object.assign(new Error(`no buffer ${handle}`), { code: "handle" });
        return found;
      }
      alloc(nbytes) {
        this.check();
        this.buffers.set(this.next, new Uint8Array(nbytes).fill(170));
        return this.next++;
      }
      free(handle) {
        this.of(handle);
        this.buffers.delete(handle);
      }
      write(handle, data, offset = 0) {
        this.check();
        this.of(handle).set(data, offset);
      }
      copyRows(dst, src, rowBytes, rows) {
        this.check();
        const [to, from] = [this.of(dst), this.of(src)];
        rows.forEach((row, i) =>
          to.set(from.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes));
      }
      // total += x * factor; before = the old total
      run(loaded, entry, [x, factor, total, before], rows) {
        this.check();
        this.of(before).set(this.of(total));
        this.of(x).forEach((value, i) => (this.of(total)[i] += value * factor + rows));
      }
      read(handle, nbytes, offset = 0) {
        this.check();
        return this.of(handle).slice(offset, offset + nbytes);
      }
      readAsync(handle, nbytes, offset = 0) {
        const found = this.of(handle).slice(offset, offset + nbytes);
        return new Promise((resolve, reject) => setImmediate(() => {
          try { this.check(); } catch (error) { reject(error); }
          resolve(found);
        }));
      }
      async sync() {
        await null;
        this.check();
      }
      memoryUse() { return { live: this.buffers.size }; }
      close() { this.closed = true; }
    }

    const model = {
      title: "made up",
      programs: { wasm: [], webgpu: [], webgl: [] },
      variables: [{}],
      entries: [{
        inputs: [{ name: "x" }, { name: "factor", scalar: true }],
        state: [{ update: true }],
        outputs: [{ name: "before" }],
      }],
    };
    console.warn = () => {};
    // As where there is a GPU.
    Object.defineProperty(globalThis, "navigator", { value: { gpu: {} }, configurable: true });
    const relayed = (fakes) => {
      const notes = [];
      const relay = new Relay({ model }, null, (now) => notes.push(structuredClone(now)));
      const made = {};
      relay.open = async (kind) => {
        await null;
        const engine = (made[kind] = new Fake(kind, fakes[kind]));
        engine.check(); // opening may fail, too
        return { kind, engine, loaded: engine.loaded };
      };
      return { relay, notes, made };
    };

    /** A random sequence of all that one can do, and what all its reads give. */
    const sequence = async (engine, seed) => {
      let state = seed;
      const random = (n) => ((state = (state * 1103515245 + 12345) % 2147483648) >> 8) % n;
      const bytes = (n) => Uint8Array.from({ length: n }, () => random(256));
      const read = async (handle, n, offset) => [...(await engine.read(handle, n, offset))];
      const reads = [];
      const total = engine.alloc(8, "uint8");
      engine.write(total, bytes(8));
      const data = engine.alloc(32, "uint8");
      for (let i = 0; i < 4; i++) engine.write(data, bytes(8), 8 * i);
      for (let call = 0; call < 6; call++) {
        const x = engine.alloc(8, "uint8");
        const before = engine.alloc(8, "uint8");
        for (let step = 0; step < 3; step++) {
          if (random(2)) engine.copyRows(x, data, 4, [random(8), random(8)]);
          else engine.write(x, bytes(8));
          if (!random(3)) engine.write(total, bytes(3), 2);
          engine.run(engine.loaded, 0, [x, random(9), total, before], random(4));
          if (!random(3)) reads.push(await read(before, 5, 1));
        }
        if (random(2)) await engine.keep?.();
        if (!random(3)) await engine.sync?.();
        reads.push(...(await Promise.all([read(total, 8), read(before, 8), read(x, 8)])));
        engine.free(x);
        engine.free(before);
        if (!random(3)) engine.write(data, bytes(32));
      }
      reads.push(await read(total, 8), await read(data, 32));
      return JSON.stringify(reads);
    };
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_operation_may_fail(javascript, seed):
    found = javascript(
        FAKE
        + """
        const plain = new Fake("plain");
        const expected = await sequence(plain, value);
        const operations = plain.done;
        answer = { operations, wrong: [], warnings: {} };
        for (let n = 1; n <= 2 * operations; n++) {
          for (const other of [Infinity, 1, 7, n]) {
            const { relay, notes, made } = relayed({ webgpu: n, webgl: other });
            await relay.start("webgpu");
            if (await sequence(relay, value) !== expected) answer.wrong.push([n, other]);
            const count = notes.at(-1).warnings.length;
            answer.warnings[count] = (answer.warnings[count] ?? 0) + 1;
            if (relay.kind !== "webgpu" && !made.webgpu.closed && made.webgpu.done > 1) {
              answer.wrong.push(["open", n, other]);
            }
          }
        }
        """,
        seed,
    )
    assert found["operations"] > 60
    assert not found["wrong"]
    assert found["warnings"].keys() >= {"0", "1", "2"}


def test_engines_change_in_the_middle(javascript):
    found = javascript(
        FAKE
        + """
        answer = [];
        for (let n = 0; n < 40; n++) {
          const expected = await sequence(new Fake("plain"), 5);
          const { relay, made } = relayed({ webgpu: n % 3 ? Infinity : 30 + n });
          const wasm = new Fake("wasm");
          relay.begin({ kind: "wasm", engine: wasm, loaded: {} });
          const opened = await relay.open("webgpu");
          const { run } = relay;
          let runs = 0;
          relay.run = (...args) => {
            if (runs++ === n % 18) relay.change(opened);
            return run.apply(relay, args);
          };
          const same = await sequence(relay, 5) === expected;
          answer.push([same, wasm.closed ?? false, relay.kind]);
        }
        """
    )
    assert all(same for same, _, _ in found)
    assert all(closed for _, closed, _ in found)
    assert {kind for _, _, kind in found} == {"webgpu", "webgl"}


def test_an_engine_without_room_changes_nothing(javascript):
    found = javascript(
        FAKE
        + """
        const expected = await sequence(new Fake("plain"), 5);
        answer = [];
        for (const fails of [2, 3, 4]) {
          const { relay } = relayed({});
          const wasm = new Fake("wasm");
          relay.begin({ kind: "wasm", engine: wasm, loaded: {} });
          const { run } = relay;
          let runs = 0;
          relay.run = (...args) => {
            if (runs++ === 5) {
              const engine = new Fake("webgpu", fails);
              try { relay.change({ kind: "webgpu", engine, loaded: {} }); }
              catch (error) { answer.push([error.code, engine.closed]); }
            }
            return run.apply(relay, args);
          };
          answer.push([relay.kind, await sequence(relay, 5) === expected]);
        }
        """
    )
    assert found == [["lost", True], ["wasm", True]] * 3


def test_what_callers_do_wrong_is_theirs(javascript):
    found = javascript(
        FAKE
        + """
        const { relay, notes } = relayed({});
        relay.begin(await relay.open("webgpu"));
        const total = relay.alloc(4);
        const failure = (work) => { try { work(); } catch ({ code }) { return code; } };
        relay.free(total);
        answer = [
          failure(() => relay.write(total, new Uint8Array(4))),
          failure(() => relay.run({}, 0, [total, 1, total, total])),
          await relay.read(77, 4).catch(({ code }) => code),
          relay.kind, notes.length,
        ];
        relay.close();
        answer.push(failure(() => relay.alloc(4)));
        """
    )
    assert found == ["handle", "handle", "handle", "webgpu", 0, "handle"]
