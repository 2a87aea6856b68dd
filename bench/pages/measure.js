// How every contestant of the bench is timed: the same loop around a page's `step`.
//
// A page calls `compete` with a function that makes its workload ready. The harness then asks by
// `bench.ask(method, options)` and reads the answers from the console: a question put to a page
// that computes would have no time limit.

/**
 * @typedef {object} Output a result in the layout of the reference
 * @property {ArrayLike<number>} data
 * @property {number[]} shape
 *
 * @typedef {object} Running a workload that is ready
 * @property {(n: number) => void | Promise<unknown>} step goes through it n times and is done when
 *   the results exist
 * @property {(n: number) => void | Promise<unknown>} [prepare] what n times need new, not timed
 * @property {(n: number) => void | Promise<unknown>} [cleanUp] not timed either
 * @property {() => Output | Promise<Output>} output the result of one time through, awaited
 * @property {number} [repeats] how often one step does the operation; default 1
 * @property {number} [most] the most steps between two `prepare`
 * @property {Record<string, unknown>} [notes] facts for the table, such as the number of threads
 *
 * @typedef {Record<string, {data: Float32Array | Int32Array, shape: number[]}>} Arrays
 *
 * @typedef {object} Task what a page is to do
 * @property {string} kind
 * @property {any} parameters
 * @property {string} folder address of the workload's files
 * @property {Arrays} inputs
 * @property {Arrays} constants the weights; empty for those who have them elsewhere
 * @property {number} repeats how long a chain should be, for those who need one
 * @property {URLSearchParams} query of the page
 */

const SAMPLES = 4096;
// What takes longer is hardly faster when warm, and is not repeated for that.
const SLOW_MS = 5000;

/**
 * @param {(task: Task) => Promise<Running>} make
 * @param {{weights?: boolean}} [options] false leaves the weights unread
 */
export function compete(make, { weights = true } = {}) {
  const query = new URLSearchParams(location.search);
  /** @type {Running} */
  let running;
  let estimate = 0;

  const methods = {
    /** Makes the workload ready and runs it until the browser has compiled what is hot. */
    async open({ warm = 300 } = {}) {
      const task = await readTask(query, weights);
      const begun = performance.now();
      running = await make(task);
      const first = await timed(1);
      const opened = performance.now() - begun;
      estimate = first;
      const start = performance.now();
      for (let n = 1; first < SLOW_MS && performance.now() - start < warm; ) {
        estimate = (await timed(n)) / n;
        n = Math.round(Math.max(1, 20 / Math.max(estimate, 1e-4)));
        n = Math.min(n, running.most ?? n);
      }
      const { data, shape } = await running.output();
      return {
        first,
        opened, // with what it takes to load the library and to compile
        repeats: running.repeats ?? 1,
        notes: running.notes ?? {},
        shape,
        ...summary(data),
      };
    },

    /**
     * Batches of steps for some time, after some that do not count, where one does not take longer.
     * @returns milliseconds a time through, one for each batch
     */
    async slice({ ms = 150, batch = 20, least = 1, settle = 0 } = {}) {
      const count = () =>
        Math.round(Math.min(running.most ?? 1e6, Math.max(1, batch / estimate)));
      const end = performance.now() + settle;
      while (estimate < settle && performance.now() < end) await timed(count());
      const samples = [];
      const start = performance.now();
      while (samples.length < least || performance.now() - start < ms) {
        const n = count();
        const each = (await timed(n)) / n;
        estimate = each || estimate;
        samples.push(each / (running.repeats ?? 1));
      }
      return samples;
    },
  };

  /** @param {number} n */
  async function timed(n) {
    if (running.prepare) await running.prepare(n);
    const start = performance.now();
    const done = running.step(n);
    if (done) await done;
    const elapsed = performance.now() - start;
    if (running.cleanUp) await running.cleanUp(n);
    return elapsed;
  }

  /** @type {any} */ (globalThis).bench = {
    /**
     * @param {"open" | "slice"} method
     * @param {any} options
     */
    ask(method, options) {
      setTimeout(async () => console.info(`bench: ${await answer(method, options)}`));
    },
  };
  // What is to go through without being asked, because nobody looks on.
  const report = query.get("report");
  if (report) {
    answer("open", { warm: Number(report) }).then((body) => fetch("/", { method: "POST", body }));
  }

  /**
   * @param {"open" | "slice"} method
   * @param {any} options
   */
  async function answer(method, options) {
    try {
      return JSON.stringify({ value: await methods[method](options) });
    } catch (/** @type {any} */ error) {
      return JSON.stringify({ error: String(error?.message ?? error).slice(0, 600) });
    }
  }
}

/**
 * @param {URLSearchParams} query
 * @param {boolean} weights
 * @returns {Promise<Task>}
 */
async function readTask(query, weights) {
  const folder = new URL(`../workloads/${query.get("workload")}/`, import.meta.url).href;
  const task = await (await fetch(`${folder}workload.json`)).json();
  const read = async (/** @type {"inputs" | "constants"} */ kind) => {
    const bytes = await (await fetch(`${folder}${kind}.bin`)).arrayBuffer();
    /** @type {Arrays} */
    const arrays = {};
    for (const { name, dtype, shape, offset } of task.arrays[kind]) {
      const Kind = dtype === "int32" ? Int32Array : Float32Array;
      arrays[name] = { data: new Kind(bytes, offset, size(shape)), shape };
    }
    return arrays;
  };
  const inputs = await read("inputs");
  return { ...task, folder, inputs, constants: weights ? await read("constants") : {}, query };
}

/** @param {number[]} shape */
export function size(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * Enough of a result to tell whether it is right, see `sampled` in bench/workload.py.
 * @param {ArrayLike<number>} data
 */
function summary(data) {
  const count = Math.min(SAMPLES, data.length);
  let sum = 0;
  let finite = true;
  for (let i = 0; i < data.length; i++) {
    sum += data[i];
    finite &&= Number.isFinite(data[i]);
  }
  const sample = Array.from({ length: count }, (_, i) => data[Math.floor((i * data.length) / count)]);
  return { length: data.length, sum, finite, sample };
}

/**
 * The data with its axes in another order.
 * @param {ArrayLike<number>} data
 * @param {number[]} shape
 * @param {number[]} order axis `order[i]` of the data becomes axis i
 */
export function transposed(data, shape, order) {
  const strides = shape.map((_, i) => size(shape.slice(i + 1)));
  const to = order.map((axis) => shape[axis]);
  const steps = order.map((axis) => strides[axis]);
  const out = new Float32Array(data.length);
  const place = to.map(() => 0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[from];
    for (let axis = to.length - 1; axis >= 0; axis--) {
      from += steps[axis];
      if (++place[axis] < to[axis]) break;
      from -= steps[axis] * to[axis];
      place[axis] = 0;
    }
  }
  return { data: out, shape: to };
}
