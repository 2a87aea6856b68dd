// An engine that can be replaced while it works: models that may run on GPUs have it around theirs.
//
// A GPU can go at any moment. So a copy of what is in all buffers is kept on the host, renewed after
// each epoch and every few seconds, with a list of what was done since. When an engine fails, the
// next one gets the copy, repeats what is on the list and goes on; who uses the buffers notices
// nothing but a warning. What cannot be waited for here waits for the next read.
//
// Not here: which engine is the best one (choosing.js).

import { TabgradError } from "./errors.js";
import { openEngine } from "./opening.js";

const ORDER = ["webgpu", "webgl", "wasm"]; // who takes over from whom
/** @type {Record<string, string>} */
const NAMES = { webgpu: "WebGPU", webgl: "WebGL2", wasm: "WebAssembly" };
const COPY_MS = 5000;
const COPY_BYTES = 64 * 2 ** 20; // of data on the list
const COPY_STEPS = 20_000;
const READ_MS = 40; // of work on a GPU between looks at its results
const MAX_RUNS = 1000;
const LARGE_FLOPS = 100e6; // of a call, from which on there may be better engines
// Errors of those who call, which another engine would make, too.
const THEIRS = ["range", "handle", "unloaded"];

/**
 * @typedef {import("./files.js").ModelFiles} ModelFiles
 * @typedef {import("./opening.js").Opened} Opened
 * @typedef {import("./opening.js").OpenWasm} OpenWasm
 * @typedef {(now: {engine: string, warnings: string[], threads?: Int32Array}) => void} Notify
 *
 * @typedef {object} Held a buffer
 * @property {number} nbytes
 * @property {string} dtype
 * @property {number} inner its handle on the engine of the moment, 0 where it has none
 * @property {Uint8Array | null} saved what was in it at the last copy; null: nothing of interest
 * @property {Uint8Array | null} now what is in it, where the host knows that
 * @property {boolean} own whether nobody else has `now`
 * @property {number} at when it was last changed
 *
 * @typedef {{held: Held, bytes: Uint8Array, offset: number}} Write
 * @typedef {{dst: Held, src: Held, rowBytes: number, indices: Uint32Array}} Copy
 * @typedef {{entry: number, args: (Held | number)[], rows: number}} Run
 * @typedef {{freed: Held}} Free
 * @typedef {Write | Copy | Run | Free} Step
 */

/**
 * A model's engine: the one that was asked for, or WebAssembly as long as no other is better.
 * @param {ModelFiles} files
 * @param {Notify} notify
 * @param {OpenWasm} openWasm
 */
export async function openRelay(files, notify, openWasm) {
  const { engine: wanted, model } = files;
  const relay = new Relay(files, openWasm, notify);
  if (wanted !== "auto") {
    await relay.start(wanted);
    return { engine: relay };
  }
  const opened = openWasm(files);
  // Others never change: GPUs have other bits, and short calls are soon done.
  if (model.deterministic || !model.entries.some(({ flops }) => flops > LARGE_FLOPS)) return opened;
  relay.begin({ kind: "wasm", ...opened });
  import("./choosing.js").then(
    ({ Chooser }) => {
      relay.chooser = new Chooser(relay, model);
      relay.chooser.ran(); // by now perhaps
    },
    () => {},
  );
  return { engine: relay };
}

export class Relay {
  kind = "";
  /** How many runs are worth a look at their results, which has to be waited for. */
  few = Infinity;
  /** The shortest time of each entry, where runs can be timed. @type {number[]} */
  times = [];
  /** How many there were. */
  runs = 0;
  /** @type {import("./choosing.js").Chooser | null} */
  chooser = null;
  /** @type {(Held | number)[][]} the last arguments of each entry, where runs are timed */
  #args = [];
  #files;
  #openWasm;
  #notify;
  /** @type {string[]} */
  #warnings = [];
  /** @type {any} */
  #inner = null;
  /** @type {any} */
  #loaded = null;
  /** @type {string[]} who could take over */
  #left = [];
  /** @type {any} why the engine has to be replaced */
  #error = null;
  /** @type {Promise<void> | null} */
  #recovering = null;
  /** @type {Map<number, Held>} */
  #buffers = new Map();
  /** @type {Set<Held>} those with a handle */
  #placed = new Set();
  #next = 1;
  /** @type {Step[]} what was done since the last copy */
  #log = [];
  #logged = 0; // bytes
  #clock = 0;
  #copied = 0; // the clock at the last copy
  #last = performance.now(); // the time of it
  #runs = 0; // since the last look
  #since = 0;

  /**
   * @param {ModelFiles} files
   * @param {OpenWasm} openWasm
   * @param {Notify} notify
   */
  constructor(files, openWasm, notify) {
    this.#files = files;
    this.#openWasm = openWasm;
    this.#notify = notify;
  }

  // Engines.

  /** @param {Opened} opened */
  begin({ kind, engine, loaded }) {
    this.kind = kind;
    this.#inner = engine;
    this.#loaded = loaded;
    this.#left = ORDER.slice(ORDER.indexOf(kind) + 1).filter((each) => this.#has(each));
    this.few = kind === "wasm" ? Infinity : 1;
  }

  /**
   * Opens an engine that was asked for by name.
   * @param {string} kind
   */
  async start(kind) {
    const there =
      kind === "webgpu" ? globalThis.navigator?.gpu : globalThis.WebGL2RenderingContext;
    if (!there) {
      throw new TabgradError(
        "unsupported",
        `expected a browser with ${NAMES[kind]} for engine "${kind}"; received one without it. ` +
          'Leave the engine out, or use engine "wasm"',
      );
    }
    try {
      this.begin(await this.open(kind));
      this.#now();
    } catch (error) {
      this.begin({ kind, engine: null, loaded: null });
      await this.#recover(error);
    }
  }

  /**
   * An engine with the model's Program.
   * @param {string} kind
   * @param {import("./opening.js").Spend} [spend]
   */
  open(kind, spend) {
    return openEngine(this.#files, kind, this.#openWasm, spend);
  }

  /**
   * Another engine from now on, with all that is in the buffers; they stay where they are when it
   * has no room for them. Of use from WebAssembly, which can be read at once.
   * @param {Opened} opened
   */
  change(opened) {
    const before = { kind: this.kind, engine: this.#inner, loaded: this.#loaded };
    const handles = new Map([...this.#placed].map((held) => [held, held.inner]));
    try {
      for (const [held, inner] of handles) {
        held.saved = held.now = before.engine.read(inner, held.nbytes);
        held.own = false;
        held.inner = 0;
      }
      this.#placed.clear();
      this.begin(opened);
      for (const held of handles.keys()) this.#place(held);
    } catch (error) {
      opened.engine.close();
      this.begin(before);
      this.#placed = new Set(handles.keys());
      for (const [held, inner] of handles) {
        held.inner = inner;
        held.saved = held.now = null;
      }
      throw error;
    }
    before.loaded.close?.();
    before.engine.close();
    this.#now();
  }

  /** Whether no call is going on: then there are no buffers but those of the variables. */
  get idle() {
    return this.#buffers.size === this.#files.model.variables.length;
  }

  /**
   * Copies of an entry's variables, which has run on WebAssembly.
   * @param {number} entry
   */
  state(entry) {
    const { inputs, state } = this.#files.model.entries[entry];
    const some = /** @type {Held[]} */ (this.#args[entry].slice(inputs.length));
    return some.slice(0, state.length).map(({ dtype, inner, nbytes }) => {
      return { dtype, bytes: this.#inner.read(inner, nbytes) };
    });
  }

  // The protocol of engines.

  /**
   * @param {number} nbytes
   * @param {string} [dtype]
   */
  alloc(nbytes, dtype = "float32") {
    /** @type {Held} */
    const held = { nbytes, dtype, inner: 0, saved: null, now: null, own: false, at: 0 };
    this.#try(() => this.#place(held));
    this.#buffers.set(this.#next, held);
    return this.#next++;
  }

  /** @param {number} handle */
  free(handle) {
    const held = this.#held(handle);
    this.#buffers.delete(handle);
    this.#do({ freed: held });
  }

  /**
   * @param {number} handle
   * @param {ArrayBufferView} data
   * @param {number} [offset]
   */
  write(handle, data, offset = 0) {
    const held = this.#held(handle);
    const given = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (!this.#safe) {
      this.#try(() => this.#inner.write(held.inner, given, offset));
      return;
    }
    const bytes = given.slice();
    const known = held.now ?? (held.at ? null : new Uint8Array(held.nbytes));
    if (bytes.length === held.nbytes) {
      held.now = bytes;
      held.own = false;
    } else if (known) {
      const mine = held.own && (known !== held.saved || !this.#log.length);
      held.now = mine || !held.at ? known : known.slice();
      held.now.set(bytes, offset);
      held.own = true;
    }
    held.at = ++this.#clock;
    this.#do({ held, bytes, offset });
    if (!this.#log.length) held.saved = held.now;
  }

  /**
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    const [to, from] = [this.#held(dst), this.#held(src)];
    this.#changed([to]);
    this.#do({ dst: to, src: from, rowBytes, indices: Uint32Array.from(indices) });
  }

  /**
   * @param {unknown} _ the Program, of which there is one
   * @param {number} entry
   * @param {ArrayLike<number>} args
   * @param {number} [rows]
   */
  run(_, entry, args, rows = 0) {
    const { inputs, state } = this.#files.model.entries[entry];
    const given = Array.from(args, (word, i) => (inputs[i]?.scalar ? word : this.#held(word)));
    const written = (/** @type {unknown} */ _, /** @type {number} */ i) =>
      i >= inputs.length && state[i - inputs.length]?.update !== false;
    this.#changed(/** @type {Held[]} */ (given.filter(written)));
    if (!this.#runs++) this.#since = performance.now();
    this.runs++;
    this.#do({ entry, args: given, rows });
    if (this.kind !== "wasm") return;
    this.#args[entry] = given;
    this.chooser?.ran();
  }

  /**
   * A copy of bytes of a buffer. Engines that are not replaced give it at once, or call this
   * `readAsync`; to those who use either it is something to be waited for if need be.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   * @param {Uint8Array} [into] memory that the copy may be in
   * @returns {Promise<Uint8Array>}
   */
  read(handle, nbytes, offset = 0, into) {
    return this.#attempt(async () => {
      const { now, inner } = this.#held(handle);
      if (now) return now.slice(offset, offset + nbytes);
      if (this.kind === "wasm") return this.#inner.read(inner, nbytes, offset, into);
      const bytes = await this.#inner.readAsync(inner, nbytes, offset);
      await this.#looked();
      return bytes;
    });
  }

  /** Waits until everything so far has run. */
  sync() {
    return this.#attempt(async () => {
      await this.#inner.sync?.();
      await this.#looked();
    });
  }

  /** Between epochs: copies what is in all buffers, and looks for a better engine. */
  async keep() {
    await this.chooser?.consider();
    await this.#attempt(() => this.#copy());
  }

  memoryUse() {
    return this.#inner.memoryUse();
  }

  close() {
    this.chooser?.stop();
    this.#left = [];
    this.#error ??= new TabgradError("handle", "this engine is closed");
    this.#drop();
  }

  // Inside.

  /** @param {string} kind */
  #has(kind) {
    return kind in this.#files.model.programs;
  }

  /** Whether somebody could take over, so that a list has to be kept. */
  get #safe() {
    return this.#left.length > 0 || this.#recovering !== null;
  }

  /** @param {number} handle */
  #held(handle) {
    const found = this.#buffers.get(handle);
    if (found) return found;
    throw new TabgradError("handle", `${handle} is not a live buffer; it was freed, or never was`);
  }

  /**
   * A buffer's handle on the engine of the moment.
   * @param {Held} held
   */
  #place(held) {
    if (!held.inner) {
      held.inner = this.#inner.alloc(held.nbytes, held.dtype);
      this.#placed.add(held);
      if (held.saved) this.#inner.write(held.inner, held.saved);
    }
    return held.inner;
  }

  /**
   * Does a step, and notes it where it may have to be done again.
   * @param {Step} step
   */
  #do(step) {
    // What the host alone has done so far is all in its copy.
    const own = "held" in step || "freed" in step;
    if (this.#safe && (this.#log.length || !own)) {
      this.#log.push(step);
      if ("held" in step) this.#logged += step.bytes.length;
    }
    this.#try(() => this.#apply(step));
  }

  /**
   * Notes that the engine changes buffers.
   * @param {Held[]} some
   */
  #changed(some) {
    for (const held of some) {
      held.now = null;
      held.at = ++this.#clock;
    }
  }

  /** @param {Step} step */
  #apply(step) {
    if ("entry" in step) {
      const { entry, args, rows } = step;
      const words = args.map((each) => (typeof each === "number" ? each : this.#place(each)));
      if (this.kind === "wasm") this.#timed(entry, words, rows);
      else this.#inner.run(this.#loaded, entry, words, rows);
    } else if ("dst" in step) {
      const [to, from] = [this.#place(step.dst), this.#place(step.src)];
      this.#inner.copyRows(to, from, step.rowBytes, step.indices);
    } else if ("held" in step) {
      this.#inner.write(this.#place(step.held), step.bytes, step.offset);
    } else if (step.freed.inner) {
      this.#placed.delete(step.freed);
      this.#inner.free(step.freed.inner);
      step.freed.inner = 0;
    }
  }

  /**
   * @param {number} entry
   * @param {number[]} words
   * @param {number} rows
   */
  #timed(entry, words, rows) {
    const start = performance.now();
    this.#inner.run(this.#loaded, entry, words, rows);
    this.times[entry] = Math.min(this.times[entry] ?? Infinity, performance.now() - start);
  }

  /**
   * Work that needs the engine. Where that fails, whoever reads next sees to it.
   * @param {() => void} work
   */
  #try(work) {
    if (this.#error && !this.#safe) throw this.#error;
    if (this.#error) return;
    try {
      work();
    } catch (error) {
      if (!this.#safe || isTheirs(error)) throw error;
      this.#error = error;
    }
  }

  /**
   * Work that has to be waited for, once more where another engine took over meanwhile.
   * @template T
   * @param {() => T | Promise<T>} work
   * @returns {Promise<T>}
   */
  async #attempt(work) {
    for (;;) {
      if (this.#recovering) await this.#recovering;
      const inner = this.#inner;
      try {
        if (this.#error) throw this.#error;
        return await work();
      } catch (error) {
        if (inner === this.#inner) await this.#recover(error);
      }
    }
  }

  /** @param {any} error */
  async #recover(error) {
    if (isTheirs(error) || !this.#safe) throw error;
    const over = () => {
      this.#recovering = null;
      if (this.#safe) return;
      this.#log = [];
      for (const held of this.#buffers.values()) held.saved = held.now = null;
    };
    this.#recovering ??= this.#takeOver(error).finally(over);
    await this.#recovering;
  }

  /** @param {any} error */
  async #takeOver(error) {
    let reason = `${NAMES[this.kind]} failed: ${error.message.split("\n")[0]}`;
    this.#error = error;
    this.#drop();
    for (let kind; (kind = this.#left[0]); ) {
      try {
        const opened = await this.open(kind);
        this.begin(opened);
        this.#error = null;
        for (const step of this.#log) this.#apply(step);
        for (const held of this.#buffers.values()) this.#place(held);
        await this.#inner.sync?.();
        if (this.#error) throw this.#error;
      } catch (/** @type {any} */ next) {
        reason += `; ${NAMES[kind]}, too: ${next.message.split("\n")[0]}`;
        this.#error = next;
        this.#drop();
        this.#left = ORDER.slice(ORDER.indexOf(kind) + 1).filter((each) => this.#has(each));
        continue;
      }
      const runs = this.#log.filter((step) => "entry" in step).length;
      const again = runs ? ` and has repeated the ${runs} calls since` : "";
      const warning =
        `"${this.#files.model.title}": ${reason}. ${NAMES[kind]} goes on from the last copy of ` +
        `all variables${again}`;
      this.chooser?.failed();
      console.warn(`tabgrad: ${warning}`);
      this.#warnings.push(warning);
      this.#now();
      return;
    }
    throw this.#error;
  }

  /** Says what the engine is now. */
  #now() {
    const threads = this.kind === "wasm" ? this.#files.threads : undefined;
    this.#notify({ engine: this.kind, warnings: this.#warnings, threads });
  }

  /** Lets the engine go, and all handles with it. */
  #drop() {
    try {
      this.#inner?.close();
    } catch {
      // There was an error before.
    }
    this.#inner = null;
    for (const held of this.#placed) held.inner = 0;
    this.#placed.clear();
  }

  async #copy() {
    const { length } = this.#log;
    if (!length || !this.#safe) return;
    const inner = this.#inner;
    const clock = this.#clock;
    const changed = [...this.#buffers.values()].filter(({ at }) => at > this.#copied);
    const copies = await Promise.all(
      changed.map((held) => {
        held.own = false;
        return held.now ?? inner.readAsync(held.inner, held.nbytes);
      }),
    );
    if (inner !== this.#inner) return;
    changed.forEach((held, i) => {
      held.saved = copies[i];
      if (held.at <= clock) held.now = copies[i];
    });
    this.#log.splice(0, length);
    this.#logged = 0;
    this.#copied = clock;
    this.#last = performance.now();
  }

  /** Sees how long runs take, now that the last has ended, and whether it is time for a copy. */
  async #looked() {
    if (this.#runs && this.kind !== "wasm") {
      const each = (performance.now() - this.#since) / this.#runs;
      this.few = Math.max(1, Math.min(Math.round(READ_MS / each), 2 * this.few, MAX_RUNS));
    }
    this.#runs = 0;
    const due = this.#logged > COPY_BYTES || this.#log.length > COPY_STEPS;
    if (due || performance.now() - this.#last > COPY_MS) await this.#copy();
  }
}

/** @param {any} error */
const isTheirs = ({ code }) => THEIRS.includes(code);
