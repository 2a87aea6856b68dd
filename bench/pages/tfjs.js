// TensorFlow.js in the bench (?backend=wasm|cpu|webgl|webgpu).
//
// Its operations run when they are called, on WebAssembly and CPU; on a GPU they are queued, so
// every step ends by reading one number of its last result.

import { compete, size } from "./measure.js";

/** @typedef {import("./measure.js").Task} Task */

const PEERS = "/peers/@tensorflow/";
// Memory for tensors that are made before the clock starts.
const FRESH_BYTES = 16 << 20;

/** @type {any} */
let tf;
let queued = false;

compete(async (task) => {
  const backend = task.query.get("backend") ?? "wasm";
  await loadScript(`${PEERS}tfjs/dist/tf.min.js`);
  if (backend !== "cpu" && backend !== "webgl") {
    await loadScript(`${PEERS}tfjs-backend-${backend}/dist/tf-backend-${backend}.min.js`);
  }
  tf = /** @type {any} */ (globalThis).tf;
  if (backend === "wasm") tf.wasm.setWasmPaths(`${PEERS}tfjs-backend-wasm/dist/`);
  if (!(await tf.setBackend(backend))) throw new Error(`no ${backend} backend here`);
  await tf.ready();
  queued = backend.startsWith("webg");
  const make = KINDS[task.kind];
  if (!make) throw new Error(`not written for TensorFlow.js: ${task.kind}`);
  const running = await make(task);
  if (backend === "wasm") running.notes = { threads: tf.wasm.getThreadsCount(), ...running.notes };
  return running;
});

/** @param {string} src */
function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} did not load`));
    document.head.append(script);
  });
}

/** @param {Task} task */
function tensors({ arrays }) {
  return Object.fromEntries(
    Object.entries(arrays).map(([name, { data, shape }]) => [name, tensor(data, shape)]),
  );
}

/**
 * @param {Float32Array | Int32Array} data
 * @param {number[]} shape
 */
function tensor(data, shape) {
  return tf.tensor(data, shape, data instanceof Int32Array ? "int32" : "float32");
}

/**
 * Goes through an operation again and again.
 * @param {() => any} operation gives a tensor
 */
function again(operation) {
  return {
    step(/** @type {number} */ n) {
      let last = operation();
      for (let i = 1; i < n; i++) {
        last.dispose();
        last = operation();
      }
      return finish(last);
    },
    output: () => read(operation()),
  };
}

/**
 * Waits for a queued result and gives its memory back.
 * @param {any} result
 */
function finish(result) {
  if (!queued) return result.dispose();
  const one = tf.tidy(() => result.flatten().slice([0], [1]));
  result.dispose();
  return one.data().then(() => one.dispose());
}

/** @param {any} result */
async function read(result) {
  const { shape } = result;
  const data = await result.data();
  result.dispose();
  return { data, shape };
}

/** @type {Record<string, (task: Task) => any>} */
const KINDS = {
  product(task) {
    const { a, b } = tensors(task);
    const { turned, fresh } = task.parameters;
    const product = (/** @type {any} */ right) =>
      tf.matMul(a, right, turned.includes("a"), turned.includes("b"));
    if (!fresh) return again(() => product(b));
    // The packed right operand is kept for as long as its tensor lives, so a fresh one is another
    // tensor each time. They are made before the clock starts.
    const { data, shape } = task.arrays.b;
    /** @type {any[]} */
    let rights = [];
    const running = again(() => product(rights.pop() ?? b));
    return {
      ...running,
      most: Math.max(1, Math.floor(FRESH_BYTES / (4 * size(shape)))),
      prepare(/** @type {number} */ n) {
        rights = Array.from({ length: n }, () => tensor(data, shape));
        made = [...rights];
      },
      cleanUp: () => made.forEach((each) => each.dispose()),
    };
  },
};

/** @type {any[]} */
let made = [];
