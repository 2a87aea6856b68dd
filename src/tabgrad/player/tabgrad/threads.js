// Running a Program on several threads: each runs `run_part` on the same memory, with a share of
// every kernel, and they wait for each other between kernels. The results have the same bits.
//
// Loaded only where pages are cross-origin isolated, the others have no shared memory. The page
// `prepare`s a model, its worker `attach`es threads to the engine, and this file is also what runs
// in the workers that are the other threads. They begin with the first run that is worth it, and
// runs until then, and all where threads fail, use one. So do runs that are sooner done alone,
// because other programs use the cores: unless their number was asked for, both ways are timed.

// Entries with less work are sooner done alone than others begin.
const LEAST_FLOPS = 2e6;
const MOST = 8;
// How often to look before sleeping.
const SPINS = 4096;
// Of so many runs of an entry one goes the way that was slower.
const PROBE = 64;
const NAME = "tabgrad thread";
const END = -1;

// Words of the frame, see compiler/frame.py.
const FRAME = 1024;
const [ENTRY, STATUS, SCRATCH, TURN, SCRATCH_BYTES, STARTED, DONE] = [0, 2, 4, 6, 7, 9, 10];

/**
 * @typedef {Int32Array} Threads in memory that page and worker share: how many threads run now,
 *   how many are wanted, and whether that was asked for
 */

/**
 * Makes kernels import shared memory, where several threads are worth it.
 * @param {import("./files.js").Description} model
 * @param {ArrayBuffer} kernels changed in place
 * @param {number} [most] threads, as LoadOptions has it
 * @returns {Threads | undefined} nothing where one is enough
 */
export function prepare({ entries }, kernels, most) {
  const cores = navigator.hardwareConcurrency;
  // Where there are many, half of them are slow ones, or two in one.
  const count = Math.min(cores, most ?? Math.min(Math.max(4, cores >> 1), MOST));
  const name = "\x07tabgrad\x06memory\x02\x01";
  const at = new TextDecoder("latin1").decode(kernels).indexOf(name);
  if (!(count > 1) || at < 0 || !entries.some(isLarge)) return;
  new Uint8Array(kernels)[at + name.length - 1] = 3;
  const threads = new Int32Array(new SharedArrayBuffer(12));
  threads.set([1, count, most ? 1 : 0]);
  return threads;
}

/** @param {import("./files.js").Entry} entry */
function isLarge({ flops }) {
  return flops >= LEAST_FLOPS;
}

/**
 * Lets large entries of a loaded Program run on several threads. Does nothing on a page's own
 * thread, which may not wait.
 * @param {import("./wasm.js").WasmEngine} engine
 * @param {import("./wasm.js").Loaded} loaded
 * @param {WebAssembly.Module} module
 * @param {import("./files.js").Entry[]} entries
 * @param {Threads} threads
 */
export function attach(engine, loaded, module, entries, threads) {
  if (globalThis.document || !loaded.call) return;
  const { memory } = engine;
  const large = entries.map(isLarge);
  const times = entries.map(() => new Times());
  const [, count, asked] = threads;
  const frame = new Int32Array(memory.buffer, FRAME, 16);
  const part = partOf(module, memory);
  const alone = loaded.call;
  // For each thread.
  const scratchBytes = Math.ceil(Math.max(...entries.map(({ scratch }) => scratch)) / 64) * 64;
  let scratch = 0;
  /** @type {Worker[] | null} */
  let helpers = null;

  const stop = () => {
    threads[0] = 1;
    if (scratch) engine.free(scratch);
    scratch = 0;
    begin(frame, END);
    helpers?.forEach((helper) => helper.terminate());
    loaded.call = alone;
  };

  const start = () => {
    let ready = 1;
    helpers = [];
    try {
      scratch = engine.alloc(scratchBytes * count);
      for (let thread = 1; thread < count; thread++) {
        const helper = new Worker(new URL("./threads.js", import.meta.url), {
          type: "module",
          name: NAME,
        });
        helpers.push(helper);
        helper.onmessage = () => {
          if (++ready === count) threads[0] = count;
        };
        helper.onerror = (event) => {
          event.preventDefault();
          stop();
        };
        helper.postMessage({ module, memory, thread, count });
      }
    } catch {
      stop();
    }
  };

  const together = () => {
    frame[SCRATCH] = scratch;
    frame[SCRATCH_BYTES] = scratchBytes;
    Atomics.store(frame, DONE, 0);
    begin(frame, (frame[STARTED] + 1) & 0xffff);
    let failure;
    try {
      part(0, count);
    } catch (error) {
      failure = error;
      fail(frame, 0);
    }
    // Also after a failure: nobody may still be at work on memory that others go on to use.
    for (let done = 0; done < count - 1; done = Atomics.load(frame, DONE)) wait(frame, DONE, done);
    const failed = frame[STATUS];
    if (!failed) return;
    stop();
    throw failure && failed === 1 ? failure : new Error(`thread ${failed} of ${count} failed`);
  };

  loaded.close = stop;
  loaded.call = () => {
    const entry = frame[ENTRY];
    if (!large[entry % large.length]) return alone();
    if (!helpers) start();
    if (threads[0] < count) return alone();
    // What an entry derives, numbered behind all entries, is rarely run.
    if (asked || entry >= large.length) return together();
    times[entry].run(alone, together);
  };
}

/** Recent times of an entry, alone and together. */
export class Times {
  #recent = [0, 0];
  #runs = 0;

  /** @param {(() => void)[]} ways of which the one that was quicker lately is taken */
  run(...ways) {
    const recent = this.#recent;
    let way = recent[1] <= recent[0] ? 1 : 0;
    if (++this.#runs % PROBE === 0) way = 1 - way;
    const start = performance.now();
    ways[way]();
    const time = performance.now() - start;
    const before = recent[way];
    // One slow run may be an accident.
    recent[way] = before ? (before + Math.min(time, 1.5 * before)) / 2 : time;
  }
}

/**
 * @param {WebAssembly.Module} module
 * @param {WebAssembly.Memory} memory
 * @returns {(thread: number, count: number) => void}
 */
function partOf(module, memory) {
  const { exports } = new WebAssembly.Instance(module, { tabgrad: { memory } });
  return /** @type {any} */ (exports.run_part);
}

/**
 * @param {Int32Array} frame
 * @param {number} run another number than the last
 */
function begin(frame, run) {
  Atomics.store(frame, STARTED, run);
  Atomics.notify(frame, STARTED);
}

/**
 * Waits until a word of the frame is another.
 * @param {Int32Array} frame
 * @param {number} word
 * @param {number} value
 */
function wait(frame, word, value) {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(frame, word) !== value) return;
  Atomics.wait(frame, word, value);
}

/**
 * Lets those who wait for a thread that failed fail, too.
 * @param {Int32Array} frame
 * @param {number} thread
 */
function fail(frame, thread) {
  Atomics.compareExchange(frame, STATUS, 0, thread + 1);
  Atomics.add(frame, TURN, 1);
  Atomics.notify(frame, TURN);
}

/** @param {MessageEvent} message what this thread needs for all that follows */
function help({ data: { module, memory, thread, count } }) {
  const frame = new Int32Array(memory.buffer, FRAME, 16);
  const part = partOf(module, memory);
  let started = Atomics.load(frame, STARTED);
  postMessage(null);
  for (;;) {
    const next = Atomics.load(frame, STARTED);
    if (next === started) {
      wait(frame, STARTED, started);
      continue;
    }
    // A thread that returns can be ended at once, one that waits after some seconds only.
    if (next === END) return;
    started = next;
    try {
      part(thread, count);
    } catch {
      fail(frame, thread);
    }
    Atomics.add(frame, DONE, 1);
    Atomics.notify(frame, DONE);
  }
}

if (/** @type {any} */ (globalThis).name === NAME && !globalThis.document) {
  addEventListener("message", help);
}
