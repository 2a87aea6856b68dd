// Which engine a model's own choice is: WebAssembly at once, and later, where calls are long, the
// one that is quickest on this device.
//
// The others are tried when a first result is there and nothing else is going on, or between
// epochs: on copies of the variables, for a second at most, waiting for files apart. What comes of
// it is remembered for this device and these kernels. How engines are exchanged, relay.js knows.

import { byteSize } from "./dtypes.js";

const LARGE_FLOPS = 100e6; // of a call, from which on a GPU may be worth the trouble
const IDLE_MS = 200;
const BUDGET_MS = 1000;
const MAX_TRIES = 3;
// As long as this part of the time is saved, an exchange is worth it.
const GAIN = 0.8;
const TIMED_MS = 50;
const CACHE = "tabgrad";
/** @type {Record<string, string>} */
const NAMES = { webgpu: "WebGPU", webgl: "WebGL2" };

/**
 * @typedef {import("./opening.js").Opened} Opened
 * @typedef {import("./opening.js").Spend} Spend
 */

export class Chooser {
  #relay;
  #model;
  #kinds;
  #decided = false;
  #trying = false;
  #tries = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {import("./relay.js").Relay} relay
   * @param {import("./files.js").Description} model
   */
  constructor(relay, model) {
    this.#relay = relay;
    this.#model = model;
    const there = [globalThis.navigator?.gpu && "webgpu", globalThis.WebGL2RenderingContext && "webgl"];
    this.#kinds = /** @type {string[]} */ (there.filter((kind) => kind && kind in model.programs));
  }

  /** Told of every run: some time after the last, nothing else is going on. */
  ran() {
    clearTimeout(this.#timer);
    if (!this.#decided && this.#kinds.length) this.#timer = setTimeout(() => this.#idle(), IDLE_MS);
  }

  /** Told that the chosen engine has failed: it is not to be chosen again. */
  failed() {
    this.stop();
    identity(this.#model).then((key) => remember(key, "wasm"));
  }

  stop() {
    this.#decided = true;
    clearTimeout(this.#timer);
  }

  async #idle() {
    const { runs } = this.#relay;
    const still = () => this.#relay.idle && this.#relay.runs === runs;
    if (still()) await this.consider(still);
  }

  /**
   * Takes another engine where that is quicker.
   * @param {() => boolean} [still] whether it may be exchanged
   */
  async consider(still = () => true) {
    if (this.#decided || this.#trying || !this.#kinds.length) return;
    const entry = this.#longest();
    if (entry < 0) return;
    this.#trying = true;
    try {
      const key = await identity(this.#model);
      const known = await recall(key);
      const found = known ? await this.#again(known) : await this.#measured(entry);
      if (this.#decided || !still()) {
        found.opened?.engine.close();
        if (++this.#tries >= MAX_TRIES) this.stop();
        return;
      }
      this.stop();
      if (!known && found.sure) await remember(key, found.opened?.kind ?? "wasm");
      if (!found.opened) return;
      this.#relay.change(found.opened);
      const { title } = this.#model;
      const name = NAMES[found.opened.kind];
      console.info(`tabgrad: "${title}" runs on ${name} from now on, ${found.why}`);
    } catch {
      this.stop(); // it stays where it is
    } finally {
      this.#trying = false;
    }
  }

  /** The entry with the most work of those that have run. */
  #longest() {
    let best = -1;
    this.#model.entries.forEach(({ flops }, i) => {
      const counts = flops > LARGE_FLOPS && this.#relay.times[i] !== undefined;
      if (counts && !(this.#model.entries[best]?.flops > flops)) best = i;
    });
    return best;
  }

  /** @param {string} kind that was the best before */
  async #again(kind) {
    const there = this.#kinds.includes(kind);
    const opened = there ? await this.#relay.open(kind) : null;
    return { opened, sure: true, why: "which was quicker when both were timed" };
  }

  /**
   * The engine on which an entry takes the least time; none where that is the present one.
   * @param {number} entry
   * @returns {Promise<{opened: Opened | null, sure: boolean, why: string}>} and whether all were timed
   */
  async #measured(entry) {
    const present = this.#relay.times[entry];
    let least = GAIN * present;
    /** @type {Opened | null} */
    let best = null;
    let sure = true;
    let left = BUDGET_MS;
    /** @type {Spend} */
    const spend = async (work) => {
      const start = performance.now();
      /** @type {any} */
      let timer;
      const end = new Promise((_, reject) => {
        timer = setTimeout(() => {
          sure = false;
          reject(new Error("there is no more time"));
        }, left);
      });
      try {
        return /** @type {any} */ (await Promise.race([work, end]));
      } finally {
        clearTimeout(timer);
        left -= performance.now() - start;
      }
    };
    for (const kind of this.#kinds) {
      /** @type {Opened | null} */
      let opened = null;
      try {
        opened = await this.#relay.open(kind, spend);
        const time = await this.#time(opened, entry, spend);
        if (time < least) {
          least = time;
          [best, opened] = [opened, best];
        }
      } catch {
        // This one has no time or cannot do it.
      }
      opened?.engine.close();
    }
    const { name } = this.#model.entries[entry];
    const ms = (/** @type {number} */ time) => `${time.toFixed(1)} ms`;
    const why = `where ${name} takes ${ms(least)}; on WebAssembly it took ${ms(present)}`;
    return { opened: best, sure, why };
  }

  /**
   * How many ms a call takes, on copies of the variables and inputs of zeros.
   * @param {Opened} opened
   * @param {number} number
   * @param {Spend} spend
   */
  async #time({ engine, loaded }, number, spend) {
    const { inputs, outputs, rows } = this.#model.entries[number];
    /** @type {number[]} */
    const handles = [];
    const place = (/** @type {string} */ dtype, /** @type {Uint8Array} */ bytes) => {
      handles.push(engine.alloc(bytes.length, dtype));
      engine.write(handles[handles.length - 1], bytes);
      return handles[handles.length - 1];
    };
    const zeros = (/** @type {import("./arrays.js").Spec} */ spec) =>
      spec.scalar ? 0 : place(spec.dtype, new Uint8Array(byteSize(spec)));
    try {
      const given = inputs.map(zeros);
      const state = this.#relay.state(number).map(({ dtype, bytes }) => place(dtype, bytes));
      const args = Uint32Array.from([...given, ...state, ...outputs.map(zeros)]);
      let least = Infinity;
      for (let runs = 1; runs <= 8; runs *= 2) {
        const start = performance.now();
        for (let i = 0; i < runs; i++) engine.run(loaded, number, args, rows ?? 0);
        await spend(engine.sync());
        const time = performance.now() - start;
        least = Math.min(least, time / runs);
        if (time > TIMED_MS && runs > 1) break;
      }
      // What went wrong on a GPU is said when results are read.
      await spend(engine.readAsync(args[args.length - 1], 4));
      return least;
    } finally {
      for (const handle of handles) engine.free(handle);
    }
  }
}

/**
 * What a decision is for: this device, and these kernels.
 * @param {import("./files.js").Description} model
 */
async function identity({ programs }) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const { vendor, architecture, description } = adapter?.info ?? {};
  const kernels = Object.values(programs).flatMap((some) => some.map(({ hash }) => hash ?? ""));
  const { userAgent, hardwareConcurrency } = navigator;
  const parts = [vendor, architecture, description, userAgent, hardwareConcurrency];
  const key = [...parts, globalThis.crossOriginIsolated, ...kernels].join(" ");
  return `https://tabgrad.invalid/${encodeURIComponent(key)}`;
}

/** @param {string} key */
async function recall(key) {
  try {
    const found = await (await caches.open(CACHE)).match(key);
    return await found?.text();
  } catch {
    return undefined; // no place to remember things in
  }
}

/**
 * @param {string} key
 * @param {string} kind
 */
async function remember(key, kind) {
  try {
    await (await caches.open(CACHE)).put(key, new Response(kind));
  } catch {
    // Next time it is measured again.
  }
}
