// The WebGPU engine: storage buffers, and Programs of WGSL shaders. Like engines/wgpu.py, in a page.
//
// The methods are those of wasm.js, but that a page cannot wait for a GPU: `open` and `load` are
// asynchronous, reading is `readAsync`. What a Program's binary says, targets/wgsl/target.py tells.
//
// A GPU reports errors late. Work that may fail is done under an error scope and has a fate: what it
// writes is in doubt until that is known. Where it failed, reading what depends on it throws; there
// are no silent zeros. A lost device comes back to nobody: open another engine.

import { TabgradError } from "./errors.js";
import { narrowed, widened, widening } from "./words.js";

const ALIGN = 256; // of the turns that a dynamic offset points to
const MAX_POOLED = 256 * 2 ** 20; // bytes of buffers that wait to be used again
const MAX_STAGED = 64 * 2 ** 20; // and of those through which values are read
const MAX_RECORDINGS = 8; // of an entry
const MAX_DISPATCHES = 10_000; // of a submit: long loops take several
// Flags of WebGPU's buffers.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];
const COMPUTE = 4; // the stage of a shader

/**
 * @typedef {object} Fate whether work went well
 * @property {TabgradError | null} error
 * @property {boolean} fine
 * @property {Promise<void>} settled
 *
 * @typedef {{gpu: GPUBuffer, made: Fate | null}} Made memory, and whether there was any
 *
 * @typedef {object} Buffer
 * @property {number} nbytes as the rest of tabgrad counts
 * @property {string} dtype
 * @property {GPUBuffer} gpu
 * @property {Fate | null} made
 * @property {Fate | null} filled of its contents
 * @property {Set<Recording>} recordings that have it
 *
 * @typedef {object} Recording what an entry's runs with the same buffers have in common
 * @property {Entry} entry
 * @property {string} key
 * @property {(Buffer | undefined)[]} buffers of arguments and constants; none of scalars
 * @property {Buffer[]} temps
 * @property {GPUBindGroup[]} groups of each launch
 *
 * @typedef {object} Pipeline
 * @property {number} users
 * @property {GPUBindGroupLayout} layout
 * @property {boolean} turns whether it binds them
 * @property {GPUComputePipeline} [pipeline]
 * @property {Promise<void>} [ready]
 * @property {Fate | null} fate
 *
 * @typedef {object} Entry
 * @property {any[]} launches
 * @property {number} temps how many it has
 * @property {Set<number>} scalars which arguments are no handles
 * @property {number} count of arguments
 * @property {number} outputs place of the first
 * @property {boolean[]} writes of each argument, whether it is written
 * @property {number[]} constants handles
 * @property {GPUBuffer} frame
 * @property {GPUBuffer} turns
 * @property {Map<string, Recording>} recordings by the handles of its arguments
 *
 * @typedef {object} Loaded a loaded Program, opaque to everyone else
 * @property {Map<string, Pipeline> | null} own
 * @property {Pipeline[]} pipelines
 * @property {Entry[]} entries
 *
 * @typedef {object} Run
 * @property {Pipeline[]} pipelines
 * @property {Recording} recording
 * @property {GPUCommandEncoder | null} encoder
 * @property {GPUComputePassEncoder | null} pass
 * @property {number} dispatches
 */

/**
 * An engine on an adapter that is asked for now.
 * @param {{schedule?: "serial" | "cooperative"}} [options] how Programs are to be written: threads
 *   of real GPUs gain from working together, those of a processor do not
 */
export async function open({ schedule } = {}) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    const what = navigator.gpu ? "gives no adapter" : "has no WebGPU";
    throw new TabgradError("adapter", `expected a GPU; this browser ${what}. Use engine "wasm"`);
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize };
  const { info } = adapter;
  schedule ??= info.isFallbackAdapter ? "serial" : "cooperative";
  return new WebGpuEngine(await adapter.requestDevice({ requiredLimits }), info, schedule);
}

export class WebGpuEngine {
  kind = "webgpu";
  /** What has been done, for tests and for whoever asks. */
  counts = { submits: 0, passes: 0, dispatches: 0, pipelines: 0, groups: 0, buffers: 0 };
  /** @type {Map<number, Buffer>} */
  #buffers = new Map();
  /** @type {Map<number, Made[]>} of each size */
  #pool = new Map();
  /** @type {Map<number, GPUBuffer[]>} */
  #staging = new Map();
  #staged = 0;
  #pooled = 0;
  #live = 0;
  #peak = 0;
  #next = 1;
  /** @type {Map<string, GPUBindGroupLayout>} */
  #layouts = new Map();
  /** @type {Map<string, Pipeline>} */
  #pipelines = new Map();
  /** @type {number[]} shared by all Programs */
  #temps = [];
  #doubts = 0;
  /** @type {TabgradError | null} why nothing works any more */
  #broken = null;
  /** @type {Promise<void> | null} the end of what waits for a run that looks at a value */
  #waiting = null;

  /**
   * @param {GPUDevice} device
   * @param {GPUAdapterInfo} info
   * @param {string} schedule
   */
  constructor(device, info, schedule) {
    this.device = device;
    this.features = new Set(schedule === "serial" ? [] : [schedule]);
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
    const room = roomFor(nbytes * widening(dtype));
    let found = this.#pool.get(room)?.pop();
    if (found) {
      this.#pooled -= room;
    } else {
      const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
      const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
      if (room > limit) {
        throw noMemory(room, `of at most ${limit.toLocaleString("en")} on this adapter`);
      }
      this.device.pushErrorScope("out-of-memory");
      const gpu = this.#create(room, STORAGE | COPY_SRC | COPY_DST);
      const made = this.#fate([], () => {
        this.#do(() => this.#trim()); // of this buffer, too, should it wait there
        return noMemory(room, `beside the ${this.#live.toLocaleString("en")} in use`);
      });
      found = { gpu, made };
    }
    const buffer = { nbytes, dtype, ...found, filled: null, recordings: new Set() };
    this.#buffers.set(this.#next, buffer);
    this.#live += nbytes;
    this.#peak = Math.max(this.#peak, this.#live);
    return this.#next++;
  }

  /** @param {number} handle */
  free(handle) {
    const { nbytes, gpu, made, recordings } = this.#buffer(handle);
    this.#buffers.delete(handle);
    for (const recording of recordings) forget(recording);
    this.#live -= nbytes;
    if (made?.error || this.#pooled + gpu.size > MAX_POOLED) {
      this.#do(() => gpu.destroy());
    } else {
      put(this.#pool, gpu.size, { gpu, made });
      this.#pooled += gpu.size;
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
    const [buffer, at] = this.#span(handle, byteLength, offset);
    if (!byteLength) return;
    let words = widened(new Uint8Array(data.buffer, data.byteOffset, byteLength), buffer.dtype);
    if (words.length % 4 && offset + byteLength === buffer.nbytes) {
      const whole = new Uint8Array((words.length + 3) & ~3); // there is room behind the last byte
      whole.set(words);
      words = whole;
    }
    inWords(at, words.length);
    if (this.#waiting) words = words.slice();
    const all = byteLength === buffer.nbytes;
    this.#do(() => {
      buffer.filled = this.#guard([buffer.made, all ? null : buffer.filled], false, () =>
        this.device.queue.writeBuffer(buffer.gpu, at, /** @type {BufferSource} */ (words)),
      );
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
    const [buffer, at, size] = this.#span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at & ~3;
    /** @type {any} */
    let fate;
    /** @type {Promise<Uint8Array> | undefined} */
    let copied;
    await this.#do(() => {
      fate = this.#guard([buffer.made, buffer.filled], false, () => {
        copied = this.#copied(buffer.gpu, low, (at + size + 3 - low) & ~3);
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
   * Copies rows `indices` of `src` to rows 0, 1, ... of `dst`. Indices may repeat.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    this.#check();
    const count = indices.length;
    const [to] = this.#span(dst, count * rowBytes, 0);
    const [from, , size] = this.#span(src, Math.min(rowBytes, this.#buffer(src).nbytes), 0);
    if (!count || !rowBytes) return;
    const rows = Math.floor(from.nbytes / rowBytes);
    /** @type {number[][]} neighbouring rows together: the first, where it goes, how many */
    const runs = [];
    for (let i = 0; i < count; i++) {
      const row = indices[i];
      if (!(row >= 0 && row < rows)) {
        throw new TabgradError("range", `copyRows: row ${row} of ${rows} rows`);
      }
      const last = runs[runs.length - 1];
      if (last && row === last[0] + last[2]) last[2]++;
      else runs.push([row, i, 1]);
    }
    inWords(0, size);
    this.#do(() => {
      const all = count * rowBytes === to.nbytes;
      const needed = [from.made, from.filled, to.made, all ? null : to.filled];
      to.filled = this.#guard(needed, from === to, () => {
        const encoder = this.device.createCommandEncoder();
        for (const [row, i, many] of runs) {
          encoder.copyBufferToBuffer(from.gpu, row * size, to.gpu, i * size, many * size);
        }
        this.#submit(encoder);
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
      await Promise.all(loaded.pipelines.map(({ ready }) => ready));
      const handles = [...this.#temps, ...loaded.entries.flatMap(({ constants }) => constants)];
      for (const handle of handles) {
        const made = this.#buffers.get(handle)?.made;
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
    const { kernels, entries: plans } = JSON.parse(
      new TextDecoder().decode(/** @type {BufferSource} */ (module)),
    );
    /** @type {Map<string, Pipeline>} */
    const own = new Map();
    /** @type {Loaded} */
    const loaded = { own, pipelines: [], entries: [] };
    try {
      for (const kernel of kernels) {
        const key = `${kernel.turns} ${kernel.writes} ${kernel.code}`;
        const pipeline = this.#pipeline(key, kernel, later);
        if (!own.has(key)) pipeline.users++;
        own.set(key, pipeline);
        loaded.pipelines.push(pipeline);
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
    for (const [key, pipeline] of loaded.own ?? []) {
      if (!--pipeline.users) this.#pipelines.delete(key);
    }
    if (!loaded.own) return;
    loaded.own = null;
    for (const { constants, recordings, frame, turns } of loaded.entries) {
      for (const recording of [...recordings.values()]) forget(recording);
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
    if (!loaded.own) throw new TabgradError("unloaded", "this Program was unloaded");
    const entry = loaded.entries[number];
    if (args.length !== entry.count) {
      throw new TabgradError(
        "range",
        `entry ${number} takes ${entry.count} arguments (inputs, state, outputs), received ` +
          args.length,
      );
    }
    const recording = this.#recording(entry, args);
    const frame = new Uint32Array(entry.frame.size / 4);
    frame[1] = rows;
    let at = 2;
    for (const i of entry.scalars) frame[at++] = args[i];
    return this.#do(() => this.#start(loaded, recording, frame));
  }

  /** Waits until everything queued has run. */
  async sync() {
    while (this.#waiting) await this.#waiting;
    await this.device.queue.onSubmittedWorkDone();
    this.#check();
  }

  /** Bytes in live buffers, the peak of that, and of the GPU's memory that is held for them. */
  memoryUse() {
    return { live: this.#live, peak: this.#peak, capacity: this.#live + this.#pooled };
  }

  /** Gives the memory up. */
  close() {
    this.#broken = new TabgradError("handle", "this engine is closed");
    this.device.destroy();
    for (const kept of [this.#buffers, this.#pool, this.#staging, this.#pipelines]) kept.clear();
    this.#live = this.#pooled = 0;
  }

  // Fates.

  /**
   * Closes an error scope.
   * @param {Fate[]} before what the work needed
   * @param {(error: GPUError) => TabgradError} problem
   */
  #fate(before, problem) {
    const settle = async () => {
      const error = await scope;
      for (const one of before) await one.settled;
      fate.error = before.find((one) => one.error)?.error ?? (error && problem(error));
      fate.fine = !fate.error;
      if (fate.fine) this.#doubts--;
    };
    const scope = this.device.popErrorScope().catch(() => null); // lost: others notice that
    this.#doubts++;
    /** @type {Fate} */
    const fate = { error: null, fine: false, settled: Promise.resolve() };
    fate.settled = settle();
    return fate;
  }

  /**
   * Does work, under an error scope where it is the first of its kind or needs what is in doubt, and
   * not at all where it needs what has failed.
   * @param {(Fate | null | undefined)[]} needed
   * @param {boolean} first
   * @param {() => void} work
   * @returns {Fate | null} what is to become of it; null where nothing is in doubt
   */
  #guard(needed, first, work) {
    const before = /** @type {Fate[]} */ (needed.filter((fate) => fate && !fate.fine));
    const failed = before.find(({ error }) => error);
    if (failed) return failed;
    if (!first && !before.length) {
      work();
      return null;
    }
    this.device.pushErrorScope("validation");
    work();
    return this.#fate(before, ({ message }) => {
      const hint = 'This is a bug of tabgrad; use engine "wasm"';
      const text = `expected the GPU to accept a Program; it says: ${message}. ${hint}`;
      return new TabgradError("trap", text);
    });
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

  // Buffers.

  /**
   * @param {number} size
   * @param {number} usage
   */
  #create(size, usage) {
    this.counts.buffers++;
    return this.device.createBuffer({ size, usage });
  }

  /** Gives back what only waits to be used again. */
  #trim() {
    for (const waiting of this.#pool.values()) for (const { gpu } of waiting) gpu.destroy();
    this.#pool.clear();
    this.#pooled = 0;
  }

  /** @param {number} handle */
  #buffer(handle) {
    const found = this.#buffers.get(handle);
    if (found) return found;
    throw new TabgradError(
      "handle",
      `${handle} is not a live buffer of this engine; it was freed, or never allocated`,
    );
  }

  /**
   * A buffer, and where bytes lie among its words and how many those are.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} offset
   * @returns {[Buffer, number, number]}
   */
  #span(handle, nbytes, offset) {
    const buffer = this.#buffer(handle);
    const ratio = widening(buffer.dtype);
    const outside = offset < 0 || nbytes < 0 || offset + nbytes > buffer.nbytes;
    if (outside || (ratio > 1 && (offset % (4 / ratio) || nbytes % (4 / ratio)))) {
      throw new TabgradError(
        "range",
        `buffer ${handle} has ${buffer.nbytes} bytes of ${buffer.dtype}, asked for ${nbytes} at ` +
          `offset ${offset}`,
      );
    }
    return [buffer, offset * ratio, nbytes * ratio];
  }

  /**
   * @param {number} size
   * @param {number} number of a temporary
   */
  #reserve(size, number) {
    const old = this.#temps[number];
    if (old && this.#buffer(old).nbytes >= size) return;
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
    let staging = this.#staging.get(room)?.pop();
    if (staging) this.#staged -= room;
    else staging = this.#create(room, MAP_READ | COPY_DST);
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(gpu, at, staging, 0, size);
    this.#submit(encoder);
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
    if (this.#staged + room > MAX_STAGED) {
      staging.destroy();
    } else {
      put(this.#staging, room, staging);
      this.#staged += room;
    }
    return words;
  }

  /** @param {GPUCommandEncoder} encoder */
  #submit(encoder) {
    this.counts.submits++;
    this.device.queue.submit([encoder.finish()]);
  }

  // Programs.

  /**
   * @param {string} key
   * @param {{code: string, writes: boolean[], turns: boolean}} kernel
   * @param {boolean} later
   * @returns {Pipeline}
   */
  #pipeline(key, { code, writes, turns }, later) {
    const known = this.#pipelines.get(key);
    if (known && (later || known.pipeline)) return known;
    const { device } = this;
    const layout = this.#layout(writes, turns);
    const created = device.createPipelineLayout({ bindGroupLayouts: [layout] });
    /** @type {Pipeline} */
    const made = known ?? { users: 0, layout, turns, fate: null };
    this.#pipelines.set(key, made);
    this.counts.pipelines++;
    device.pushErrorScope("validation");
    const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
    if (!later) made.pipeline = device.createComputePipeline({ layout: created, compute });
    made.fate = this.#fate([], ({ message }) => refused(message, code));
    if (later) {
      const pending = device.createComputePipelineAsync({ layout: created, compute });
      made.ready = pending.then(
        (pipeline) => {
          made.pipeline ??= pipeline;
        },
        async ({ message }) => {
          await made.fate?.settled;
          throw made.fate?.error ?? refused(message, code);
        },
      );
      made.ready.catch(() => {}); // whoever loads waits for it
    }
    return made;
  }

  /**
   * @param {boolean[]} writes
   * @param {boolean} turns
   */
  #layout(writes, turns) {
    const key = `${turns} ${writes}`;
    let layout = this.#layouts.get(key);
    if (layout) return layout;
    /** @type {GPUBufferBindingLayout[]} */
    const uniforms = [
      { type: "uniform" },
      { type: "uniform", hasDynamicOffset: true, minBindingSize: 16 },
    ];
    const entries = [
      ...uniforms.slice(0, turns ? 2 : 1).map((buffer, binding) => ({ binding, buffer })),
      ...writes.map((write, i) => {
        /** @type {GPUBufferBindingType} */
        const type = write ? "storage" : "read-only-storage";
        return { binding: i + 2, buffer: { type } };
      }),
    ].map((entry) => ({ ...entry, visibility: COMPUTE }));
    layout = this.device.createBindGroupLayout({ entries });
    this.#layouts.set(key, layout);
    return layout;
  }

  /**
   * Adds an entry.
   * @param {Entry[]} entries
   * @param {import("./wasm.js").Entry} entry
   * @param {any} plan
   */
  #entry(entries, entry, plan) {
    const { launches, words, temps, scalars, constants: dtypes } = plan;
    const table = numbered(launches, this.device.limits.maxBufferSize);
    const turns = this.#create(table.byteLength, UNIFORM | COPY_DST);
    this.device.queue.writeBuffer(turns, 0, table);
    const outputs = entry.inputs.length + entry.state.length;
    /** @type {Entry} */
    const made = {
      launches,
      temps: temps.length,
      scalars: new Set(scalars),
      count: outputs + entry.outputs.length,
      outputs,
      writes: [
        ...Array(entry.inputs.length).fill(false),
        ...entry.state.map(({ update }) => update),
        ...Array(entry.outputs.length).fill(true),
      ],
      constants: [],
      frame: this.#create(Math.max((words + 3) & ~3, 4) * 4, UNIFORM | COPY_DST),
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
   * @param {Entry} entry
   * @param {ArrayLike<number>} args
   * @returns {Recording}
   */
  #recording(entry, args) {
    const { scalars, recordings, constants } = entry;
    const handles = Array.from(args, (word, i) => (scalars.has(i) ? 0 : word));
    const key = handles.join();
    const known = recordings.get(key);
    if (known) return known;
    /** @type {Recording} */
    const recording = {
      entry,
      key,
      buffers: [...handles, ...constants].map((word, i) =>
        scalars.has(i) ? undefined : this.#buffer(word),
      ),
      temps: this.#temps.slice(0, entry.temps).map((word) => this.#buffer(word)),
      groups: [],
    };
    for (const oldest of recordings.values()) {
      if (recordings.size < MAX_RECORDINGS) break;
      forget(oldest);
    }
    recordings.set(key, recording);
    for (const buffer of [...recording.buffers, ...recording.temps]) {
      buffer?.recordings.add(recording);
    }
    return recording;
  }

  /**
   * Records and submits a run, up to where it has to look at a value.
   * @param {Loaded} loaded
   * @param {Recording} recording
   * @param {Uint32Array} frame
   * @returns {Promise<void> | void}
   */
  #start({ pipelines }, recording, frame) {
    const { entry, buffers, temps } = recording;
    const { outputs, writes, count } = entry;
    const written = /** @type {Buffer[]} */ (buffers.filter((_, i) => writes[i]));
    const first = !recording.groups.length;
    /** @type {(Fate | null | undefined)[]} */
    let needed = [];
    if (this.#doubts) {
      needed = [...pipelines.map(({ fate }) => fate), ...temps.map(({ made }) => made)];
      buffers.forEach((buffer, i) => {
        needed.push(buffer?.made, i < outputs || i >= count ? buffer?.filled : null);
      });
    }
    /** @type {Run} */
    const run = { pipelines, recording, encoder: null, pass: null, dispatches: 0 };
    const walk = this.#walk(run, entry.launches, 0, 0);
    /** @param {number} [word] @returns {Promise<void> | void} */
    const proceed = (word) => {
      /** @type {IteratorResult<number, void> | undefined} */
      let step;
      const fate = this.#guard(needed, first, () => {
        if (word === undefined) this.device.queue.writeBuffer(entry.frame, 0, frame);
        step = walk.next(/** @type {number} */ (word));
        this.#finish(run);
      });
      for (const buffer of written) buffer.filled = fate;
      needed = [fate];
      if (!step || step.done) return undefined;
      return this.#copied(bufferAt(recording, step.value).gpu, 0, 4).then(
        (bytes) => proceed(new DataView(bytes.buffer).getInt32(0, true)),
        (error) => {
          this.#broken ??= error;
        },
      );
    };
    return proceed();
  }

  /**
   * Records launches; yields the place of a buffer wherever the next depends on its first word.
   * @param {Run} run
   * @param {any[]} launches
   * @param {number} turn among all turns of the loops around
   * @param {number} place of that turn in the table
   * @returns {Generator<number, void, number>}
   */
  *#walk(run, launches, turn, place) {
    for (const launch of launches) {
      if (launch.loop !== undefined) {
        const { loop, reverse, body, base } = launch;
        for (let i = 0; i < loop; i++) {
          const next = turn * loop + (reverse ? loop - 1 - i : i);
          yield* this.#walk(run, body, next, base + next);
        }
      } else if (launch.while !== undefined) {
        yield* this.#walk(run, launch.test, turn, place);
        while (yield launch.while) {
          yield* this.#walk(run, launch.body, turn, place);
          yield* this.#walk(run, launch.test, turn, place);
        }
      } else if (launch.branch !== undefined) {
        const last = launch.branches.length - 1;
        const chosen = Math.min(Math.max(yield launch.branch, 0), last);
        yield* this.#walk(run, launch.branches[chosen], turn, place);
      } else {
        this.#dispatch(run, launch, place);
      }
    }
  }

  /**
   * @param {Run} run
   * @param {any} launch
   * @param {number} place of the turn
   */
  #dispatch(run, { kernel, groups, buffers, at }, place) {
    const { pipelines, recording } = run;
    const { pipeline, layout, turns } = pipelines[kernel];
    if (!run.pass) {
      run.encoder = this.device.createCommandEncoder();
      run.pass = run.encoder.beginComputePass();
      this.counts.passes++;
    }
    const group = (recording.groups[at] ??= this.#group(recording, layout, turns, buffers));
    run.pass.setPipeline(/** @type {GPUComputePipeline} */ (pipeline));
    if (turns) run.pass.setBindGroup(0, group, [ALIGN * place]);
    else run.pass.setBindGroup(0, group);
    run.pass.dispatchWorkgroups(groups[0], groups[1]);
    this.counts.dispatches++;
    if (++run.dispatches % MAX_DISPATCHES === 0) this.#finish(run);
  }

  /**
   * @param {Recording} recording
   * @param {GPUBindGroupLayout} layout
   * @param {boolean} turns
   * @param {number[]} places
   */
  #group(recording, layout, turns, places) {
    const { entry } = recording;
    this.counts.groups++;
    const entries = places.map((place, i) => ({
      binding: i + 2,
      resource: { buffer: bufferAt(recording, place).gpu },
    }));
    entries.push({ binding: 0, resource: { buffer: entry.frame } });
    if (turns) {
      const resource = { buffer: entry.turns, size: 16 };
      entries.push({ binding: 1, resource });
    }
    return this.device.createBindGroup({ layout, entries });
  }

  /** @param {Run} run */
  #finish(run) {
    if (!run.encoder) return;
    run.pass?.end();
    this.#submit(run.encoder);
    run.encoder = run.pass = null;
  }
}

/**
 * @param {Recording} recording
 * @param {number} place
 */
const bufferAt = ({ buffers, temps }, place) =>
  /** @type {Buffer} */ (place >= 0 ? buffers[place] : temps[-1 - place]);

/** @param {Recording} recording */
function forget(recording) {
  const { entry, key, buffers, temps } = recording;
  entry.recordings.delete(key);
  for (const buffer of [...buffers, ...temps]) buffer?.recordings.delete(recording);
}

/**
 * Numbers launches and the turns of loops, and makes the table of the latter: of each turn the
 * numbers of the loops around, outermost first.
 * @param {any[]} launches
 * @param {number} most bytes of the table
 */
function numbered(launches, most) {
  const none = { size: 1, depth: 0, turns: new Int32Array() };
  const all = [none];
  let [count, at] = [1, 0];
  const visit = (/** @type {any[]} */ some, /** @type {typeof none} */ around) => {
    for (const launch of some) {
      const { loop, body, test, branches } = launch;
      let inside = around;
      if (loop !== undefined) {
        const [size, depth] = [around.size * loop, around.depth + 1];
        launch.base = count;
        count += size;
        if (count * ALIGN > most) throw noMemory(count * ALIGN, "for the turns of loops");
        inside = { size, depth, turns: new Int32Array(size * depth) };
        for (let i = 0; i < size; i++) {
          const first = Math.floor(i / loop) * around.depth;
          inside.turns.set(around.turns.subarray(first, first + around.depth), i * depth);
          inside.turns[i * depth + around.depth] = i % loop;
        }
        all.push(inside);
      }
      for (const part of [body, test, ...(branches ?? [])]) if (part) visit(part, inside);
      if (launch.kernel !== undefined) launch.at = at++;
    }
  };
  visit(launches, none);
  const table = new Int32Array((ALIGN / 4) * count);
  let next = 0;
  for (const { size, depth, turns } of all) {
    for (let i = 0; i < size; i++) {
      table.set(turns.subarray(i * depth, (i + 1) * depth), (ALIGN / 4) * next++);
    }
  }
  return table;
}

/**
 * Sizes few enough that freed buffers are used again, at most an eighth more than asked for.
 * @param {number} nbytes
 */
function roomFor(nbytes) {
  const step = nbytes > 256 ? 2 ** Math.max(Math.floor(Math.log2(nbytes - 1)) - 3, 8) : 256;
  return Math.max(Math.ceil(nbytes / step), 1) * step;
}

/**
 * @template T
 * @param {Map<number, T[]>} pool
 * @param {number} size
 * @param {T} one
 */
function put(pool, size, one) {
  const waiting = pool.get(size);
  if (waiting) waiting.push(one);
  else pool.set(size, [one]);
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

/**
 * @param {number} room
 * @param {string} why
 */
function noMemory(room, why) {
  const size = room.toLocaleString("en");
  return new TabgradError(
    "memory",
    `no memory for a buffer of ${size} bytes ${why}; use smaller batches or less data, or engine ` +
      '"wasm"',
  );
}

/** @param {unknown} why */
const lost = (why) =>
  new TabgradError(
    "lost",
    `expected the GPU to stay; it was lost: ${why}. What was on it is gone: open the engine again, ` +
      'or use engine "wasm"',
  );

/**
 * @param {string} message
 * @param {string} code
 */
const refused = (message, code) =>
  new TabgradError("compile", `the browser refused a shader: ${message}\n${code}`);
