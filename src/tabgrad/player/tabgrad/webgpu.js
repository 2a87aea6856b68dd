// The WebGPU engine: storage buffers, and Programs of WGSL shaders. Like engines/wgpu.py, in a page.
//
// The methods are those of wasm.js, but that a page cannot wait for a GPU: `open` and `load` are
// asynchronous, reading is `readAsync`. What a Program's binary says, targets/wgsl/target.py tells.
//
// Where work failed, reading what depends on it throws; there are no silent zeros (fates.js). A lost
// device comes back to nobody: open another engine.

import { bytesOf } from "./dtypes.js";
import { TabgradError } from "./errors.js";
import { Fates } from "./fates.js";
import { Handles, noMemory } from "./handles.js";
import { Pipelines } from "./pipelines.js";
import { frameOf, parsed, planned, walk } from "./plans.js";
import { Pool } from "./pool.js";
import { bufferAt, Commands, forget, numbered, recorded, recorder } from "./recordings.js";
import { narrowed, widened, widening } from "./words.js";

const MAX_POOLED = 256 * 2 ** 20; // bytes of buffers that wait to be used again
const MAX_STAGED = 64 * 2 ** 20; // and of those through which values are read
const HALF = "shader-f16";
/** @type {GPUFeatureName[]} */
const WANTED = ["timestamp-query", "subgroups", HALF]; // where there are; the first is for timestamps.js
// Flags of WebGPU's buffers.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];

/**
 * @typedef {import("./fates.js").Fate} Fate
 * @typedef {import("./pipelines.js").Pipeline} Pipeline
 * @typedef {import("./recordings.js").Buffer} Buffer
 * @typedef {import("./recordings.js").Entry} Entry
 * @typedef {import("./recordings.js").Memory} Memory
 * @typedef {import("./recordings.js").Run} Run
 *
 * @typedef {object} Loaded a loaded Program, opaque to everyone else
 * @property {Pipeline[] | null} pipelines null once unloaded
 * @property {Entry[]} entries
 */

/**
 * An engine on an adapter that is asked for now.
 * @param {object} [options]
 * @param {"serial" | "cooperative"} [options.schedule] how Programs are to be written: threads of real
 *   GPUs gain from working together, those of a processor do not
 * @param {import("./halves.js").Make} [options.halves] keeps float16 in 16 bits, where the adapter can
 */
export async function open({ schedule, halves } = {}) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    const what = navigator.gpu ? "gives no adapter" : "has no WebGPU";
    throw new TabgradError("adapter", `expected a GPU; this browser ${what}. Use engine "wasm"`);
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize };
  const { info } = adapter;
  const requiredFeatures = WANTED.filter((feature) => adapter.features.has(feature));
  schedule ??= info.isFallbackAdapter ? "serial" : "cooperative";
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  return new WebGpuEngine(device, info, schedule, halves);
}

export class WebGpuEngine {
  kind = "webgpu";
  /** @type {Set<string>} that Programs may use */
  features = new Set();
  /** What has been done, for tests and for whoever asks. */
  counts = { submits: 0, passes: 0, dispatches: 0, pipelines: 0, groups: 0, buffers: 0 };
  /** @type {Handles<Buffer>} */
  #buffers = new Handles();
  /** @type {Pool<Memory>} */
  #pool = new Pool(MAX_POOLED);
  /** @type {Pool<GPUBuffer>} */
  #staging = new Pool(MAX_STAGED);
  #commands;
  #fates;
  #pipelines;
  /** @type {import("./halves.js").Halves | undefined} where float16 takes 16 bits */
  #halves;
  /** @type {number[]} shared by all Programs */
  #temps = [];
  /** @type {TabgradError | null} why nothing works any more */
  #broken = null;
  /** @type {Promise<void> | null} the end of what waits for a run that looks at a value */
  #waiting = null;

  /**
   * @param {GPUDevice} device
   * @param {GPUAdapterInfo} info
   * @param {string} schedule
   * @param {import("./halves.js").Make} [halves]
   */
  constructor(device, info, schedule, halves) {
    this.device = device;
    this.#commands = new Commands(device, this.counts);
    this.#fates = new Fates(this.#commands);
    this.#pipelines = new Pipelines(this.#fates, this.counts);
    if (schedule !== "serial") {
      this.features.add(schedule);
      if (device.features.has("subgroups")) this.features.add("subgroups");
    }
    if (halves && device.features.has(HALF)) {
      this.features.add(HALF);
      this.#halves = halves(this);
    }
    const { vendor, architecture, description, isFallbackAdapter } = info;
    this.info = { vendor, architecture, description, isFallbackAdapter };
    device.lost.then(({ reason, message }) => {
      this.#broken ??= lost(`${reason} ${message}`);
    });
    device.onuncapturederror = ({ error }) => {
      this.#broken ??= new TabgradError(
        error instanceof GPUOutOfMemoryError ? "memory" : "trap",
        `expected the GPU to do its work; it says: ${error.message}. Open the engine again, or ` +
          'use engine "wasm"',
      );
    };
  }

  /**
   * Makes a buffer with unspecified contents.
   * @param {number} nbytes
   * @param {string} [dtype] of its elements: on a GPU those of less than 32 bits take a word each
   * @returns {number} its handle
   */
  alloc(nbytes, dtype = "float32") {
    this.#check();
    if (this.#halves && dtype === "float16") dtype = "float32"; // as it is, in words of two
    const room = roomFor(nbytes * widening(dtype));
    const memory = this.#pool.take(room, room) ?? this.#made(room);
    return this.#buffers.add({ nbytes, dtype, memory, filled: null });
  }

  /** @param {number} handle */
  free(handle) {
    const { memory } = this.#buffers.remove(handle);
    const { size } = memory.gpu;
    if (memory.made?.error || !this.#pool.put(size, size, memory)) {
      this.#do(() => this.#commands.destroy(memory));
    }
  }

  /**
   * Copies bytes into a buffer.
   * @param {number} handle
   * @param {ArrayBufferView} data
   * @param {number} [offset]
   */
  write(handle, data, offset = 0) {
    this.#check();
    const { byteLength } = data;
    const [buffer, at] = this.#buffers.span(handle, byteLength, offset);
    if (!byteLength) return;
    let words = widened(bytesOf(data), buffer.dtype);
    if (words.length % 4 && !(at % 4) && offset + byteLength === buffer.nbytes) {
      const whole = new Uint8Array((words.length + 3) & ~3); // there is room behind the last byte
      whole.set(words);
      words = whole;
    }
    if (this.#halves && (at | words.length) % 4 === 2) return this.#halves.write(handle, words, at);
    inWords(at, words.length);
    if (this.#waiting) words = words.slice();
    const all = byteLength === buffer.nbytes;
    this.#do(() => {
      const needed = [buffer.memory.made, all ? null : buffer.filled];
      buffer.filled = this.#fates.guard(needed, false, () => {
        this.#commands.submit(); // it would come before what waits
        this.device.queue.writeBuffer(buffer.memory.gpu, at, /** @type {BufferSource} */ (words));
      });
    });
  }

  /**
   * Nothing in a page can wait for a GPU.
   * @returns {never}
   */
  read() {
    throw new TabgradError(
      "async",
      "expected `await readAsync(...)`; received a call of read, but a page cannot wait for its " +
        'GPU. Await the value, or use engine "wasm"',
    );
  }

  /**
   * A copy of bytes of a buffer.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   * @returns {Promise<Uint8Array>}
   */
  async readAsync(handle, nbytes, offset = 0) {
    this.#check();
    const [buffer, at, size] = this.#buffers.span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at & ~3;
    /** @type {any} */
    let fate;
    /** @type {Promise<Uint8Array> | undefined} */
    let copied;
    await this.#do(() => {
      fate = this.#fates.guard([buffer.memory.made, buffer.filled], false, () => {
        copied = this.#copied(buffer.memory.gpu, low, (at + size + 3 - low) & ~3);
        copied.catch(() => {}); // the fate comes first
      });
    });
    await fate?.settled;
    if (fate?.error) throw fate.error;
    const words = /** @type {Uint8Array} */ (await copied);
    this.#check();
    return narrowed(words.subarray(at - low, at - low + size), buffer.dtype);
  }

  /**
   * Copies rows `indices` of `src` to rows 0, 1, ... of `dst`. Indices may repeat. The copy goes to
   * the GPU with the next run, or before whatever else depends on it.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    this.#check();
    const { to, from, size, bytes } = this.#buffers.rows(dst, src, rowBytes, indices);
    if (!bytes) return;
    if (this.#halves && size % 4 === 2) return this.#halves.copyRows(dst, src, size, indices);
    /** @type {import("./recordings.js").Span[]} neighbouring rows together */
    const spans = [];
    for (let i = 0; i < indices.length; i++) {
      const at = indices[i] * size;
      const last = spans.at(-1);
      if (last && at === last[1] + last[4]) last[4] += size;
      else spans.push([from.memory.gpu, at, to.memory.gpu, i * size, size]);
    }
    inWords(0, size);
    this.#do(() => {
      const all = indices.length * rowBytes === to.nbytes;
      const needed = [from.memory.made, from.filled, to.memory.made, all ? null : to.filled];
      to.filled = this.#fates.guard(needed, from === to, () => {
        for (const span of spans) this.#commands.encoder().copyBufferToBuffer(...span);
      });
    });
  }

  /**
   * Compiles a Program and uploads its constants.
   * @param {import("./wasm.js").Program} program
   * @returns {Promise<Loaded>}
   */
  async load(program) {
    const loaded = this.loadNow(program, true);
    try {
      await Promise.all((loaded.pipelines ?? []).map(({ ready }) => ready));
      const handles = [...this.#temps, ...loaded.entries.flatMap(({ constants }) => constants)];
      for (const handle of handles) {
        const { made } = this.#buffers.get(handle).memory;
        await made?.settled;
        if (made?.error) throw made.error;
      }
      this.#check();
    } catch (error) {
      this.unload(loaded);
      throw error;
    }
    return loaded;
  }

  /**
   * `load` without waiting: what is wrong with a shader is said when its results are read.
   * @param {import("./wasm.js").Program} program
   * @param {boolean} [later] whether pipelines may come later; `load` waits for them
   * @returns {Loaded}
   */
  loadNow({ entries, module }, later = false) {
    this.#check();
    const document = parsed(module);
    const { kernels, entries: plans } = document;
    this.#halves?.check(document);
    /** @type {Pipeline[]} */
    const pipelines = [];
    const loaded = { pipelines, entries: [] };
    try {
      for (const kernel of kernels) {
        const pipeline = this.#pipelines.get(kernel, later);
        pipeline.users++;
        pipelines.push(pipeline);
      }
      entries.forEach((entry, i) => this.#entry(loaded.entries, entry, plans[i]));
    } catch (error) {
      this.unload(loaded);
      throw error;
    }
    return loaded;
  }

  /**
   * Forgets a loaded Program and frees its constants.
   * @param {Loaded} loaded
   */
  unload(loaded) {
    if (!loaded.pipelines) return;
    for (const pipeline of loaded.pipelines) this.#pipelines.leave(pipeline);
    loaded.pipelines = null;
    for (const { constants, recordings, frame, turns } of loaded.entries) {
      recordings.forEach(forget);
      for (const handle of constants) if (this.#buffers.has(handle)) this.free(handle);
      this.#do(() => {
        frame.destroy();
        turns.destroy();
      });
    }
  }

  /**
   * Runs one entry of a loaded Program.
   * @param {Loaded} loaded
   * @param {number} number the entry's position in the Program
   * @param {ArrayLike<number>} args a word for each input, state and output: a handle, or the raw
   *   bits of a scalar input
   * @param {number} [rows] the true number of rows of an entry that has a row count
   * @returns {Promise<void> | undefined} a promise where the entry has to look at values first;
   *   other calls need not wait for it
   */
  run(loaded, number, args, rows = 0) {
    this.#check();
    const { pipelines } = loaded;
    if (!pipelines) throw new TabgradError("unloaded", "this Program was unloaded");
    const entry = loaded.entries[number];
    const frame = frameOf(entry, number, args, rows);
    const once = recorded(entry, args, this.#temps, (word) => this.#buffers.get(word));
    return this.#do(() => this.#start(pipelines, once, frame));
  }

  /** Waits until everything queued has run. */
  async sync() {
    while (this.#waiting) await this.#waiting;
    this.#commands.submit();
    await this.device.queue.onSubmittedWorkDone();
    this.#check();
  }

  /** Bytes in live buffers, the peak of that, and of the GPU's memory that is held for them. */
  memoryUse() {
    const { live, peak } = this.#buffers;
    return { live, peak, capacity: live + this.#pool.bytes };
  }

  /** Gives the memory up. */
  close() {
    this.#broken = new TabgradError("handle", "this engine is closed");
    this.device.destroy();
    for (const kept of [this.#buffers, this.#pool, this.#staging, this.#pipelines]) kept.clear();
  }

  /**
   * Does work now, or after a run that waits for a value.
   * @param {() => (Promise<void> | void)} work that does not throw
   * @returns {Promise<void> | undefined}
   */
  #do(work) {
    const promise = this.#waiting ? this.#waiting.then(work) : work();
    if (!promise) return undefined;
    const end = promise.then(() => {
      if (this.#waiting === end) this.#waiting = null;
    });
    this.#waiting = end;
    return end;
  }

  #check() {
    if (this.#broken) throw this.#broken;
  }

  /**
   * @param {number} size
   * @param {number} usage
   */
  #create(size, usage) {
    this.counts.buffers++;
    return this.device.createBuffer({ size, usage });
  }

  /**
   * New memory.
   * @param {number} room
   * @returns {Memory}
   */
  #made(room) {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (room > limit) {
      throw noMemory(room, `of at most ${limit.toLocaleString("en")} on this adapter`);
    }
    this.device.pushErrorScope("out-of-memory");
    const gpu = this.#create(room, STORAGE | COPY_SRC | COPY_DST);
    const made = this.#fates.close([], () => {
      // What only waits to be used again goes, and with it this buffer, should it wait there.
      this.#do(() => this.#pool.clear().forEach(this.#commands.destroy));
      return noMemory(room, `beside the ${this.#buffers.live.toLocaleString("en")} in use`);
    });
    return { number: this.counts.buffers, gpu, made, recordings: new Set() };
  }

  /**
   * @param {number} size
   * @param {number} number of a temporary
   */
  #reserve(size, number) {
    const old = this.#temps[number];
    if (old && this.#buffers.get(old).nbytes >= size) return;
    this.#temps[number] = this.alloc(size);
    if (old) this.free(old);
  }

  /**
   * What is in a buffer once all work so far is done.
   * @param {GPUBuffer} gpu
   * @param {number} at
   * @param {number} size
   * @returns {Promise<Uint8Array>}
   */
  async #copied(gpu, at, size) {
    const room = roomFor(size);
    const staging = this.#staging.take(room, room) ?? this.#create(room, MAP_READ | COPY_DST);
    this.#commands.encoder().copyBufferToBuffer(gpu, at, staging, 0, size);
    this.#commands.submit();
    try {
      await staging.mapAsync(1, 0, size);
    } catch (error) {
      // The device may have been lost, which it says a little later.
      const moment = new Promise((resolve) => setTimeout(resolve, 200));
      await Promise.race([this.device.lost, moment]);
      throw this.#broken ?? lost(error);
    }
    const words = new Uint8Array(staging.getMappedRange(0, size)).slice();
    staging.unmap();
    if (!this.#staging.put(room, room, staging)) staging.destroy();
    return words;
  }

  /**
   * Adds an entry.
   * @param {Entry[]} entries
   * @param {import("./wasm.js").Entry} entry
   * @param {any} plan
   */
  #entry(entries, entry, plan) {
    const { launches, temps, constants: dtypes } = plan;
    const table = numbered(launches, this.device.limits.maxBufferSize);
    const turns = this.#create(table.byteLength, UNIFORM | COPY_DST);
    this.device.queue.writeBuffer(turns, 0, table);
    const words = Math.max((plan.words + 3) & ~3, 4);
    /** @type {Entry} */
    const made = {
      ...planned(entry, plan, words),
      temps: temps.length,
      frame: this.#create(words * 4, UNIFORM | COPY_DST),
      turns,
      recordings: new Map(),
    };
    entries.push(made);
    entry.constants.forEach((data, i) => {
      made.constants.push(this.alloc(data.byteLength, dtypes[i]));
      this.write(made.constants[i], data);
    });
    temps.forEach(this.#reserve, this);
  }

  /**
   * Records and submits a run, up to where it has to look at a value.
   * @param {Pipeline[]} pipelines
   * @param {Run} run
   * @param {Uint32Array} frame
   * @returns {Promise<void> | void}
   */
  #start(pipelines, run, frame) {
    const { entry, buffers, temps, groups } = run;
    const { outputs, writes, count } = entry;
    const written = /** @type {Buffer[]} */ (buffers.filter((_, i) => writes[i]));
    const first = !groups.length;
    /** @type {(Fate | null | undefined)[]} */
    let needed = [];
    if (this.#fates.doubts) {
      needed = [...pipelines.map(({ fate }) => fate), ...temps.map(({ memory }) => memory.made)];
      buffers.forEach((buffer, i) => {
        needed.push(buffer?.memory.made, i < outputs || i >= count ? buffer?.filled : null);
      });
    }
    const { dispatch, finish } = recorder(this.#commands, pipelines, run);
    const steps = walk(entry.launches, dispatch);
    /** @param {number} [word] @returns {Promise<void> | void} */
    const proceed = (word) => {
      /** @type {IteratorResult<number, void> | undefined} */
      let step;
      const fate = this.#fates.guard(needed, first, () => {
        if (word === undefined) this.device.queue.writeBuffer(entry.frame, 0, frame);
        step = steps.next(/** @type {number} */ (word));
        finish();
      });
      for (const buffer of written) buffer.filled = fate;
      needed = [fate];
      if (!step || step.done) return undefined;
      return this.#copied(bufferAt(run, step.value).memory.gpu, 0, 4).then(
        (bytes) => proceed(new DataView(bytes.buffer).getInt32(0, true)),
        (error) => {
          this.#broken ??= error;
        },
      );
    };
    return proceed();
  }
}

/**
 * Sizes few enough that freed buffers are used again, at most an eighth more than asked for.
 * @param {number} nbytes
 */
function roomFor(nbytes) {
  const step = 2 ** Math.max(Math.floor(Math.log2(nbytes)) - 3, 8);
  return Math.max(Math.ceil(nbytes / step), 1) * step;
}

/**
 * @param {number} at
 * @param {number} size
 */
function inWords(at, size) {
  if (!(at % 4 || size % 4)) return;
  const what = `${size} bytes at ${at}`;
  throw new TabgradError("range", `expected whole words of 4 bytes; received ${what}`);
}

/** @param {unknown} why */
const lost = (why) =>
  new TabgradError(
    "lost",
    `expected the GPU to stay; it was lost: ${why}. What was on it is gone: open the engine again, ` +
      'or use engine "wasm"',
  );
