// jax-js in the bench (?backend=wasm|webgpu).
//
// A call costs it about a tenth of a millisecond, so short operations are chained in one compiled
// function. Work is queued and dropped if its result is given up unread: every result is awaited.
// Its functions consume their arguments; `.ref` keeps one alive.

import { compete } from "./measure.js";

/** @typedef {import("./measure.js").Task} Task */

/** @type {any} */
let jax;

compete(async (task) => {
  const backend = task.query.get("backend") ?? "wasm";
  jax = await import(/** @type {any} */ ("/peers/@jax-js/jax/dist/index.js"));
  const devices = await jax.init(backend);
  if (!devices.includes(backend)) throw new Error(`no ${backend} here, only ${devices}`);
  jax.defaultDevice(backend);
  const make = KINDS[task.kind];
  if (!make) throw new Error(`not written for jax-js: ${task.kind}`);
  return make(task);
});

/** @param {Task} task */
function arraysOf({ arrays }) {
  return Object.values(arrays).map(({ data, shape }) => jax.numpy.array(data).reshape(shape));
}

/**
 * Calls a compiled function of the task's arrays again and again.
 * @param {Task} task
 * @param {(...arrays: any[]) => any} body
 * @param {number} [repeats]
 */
function again(task, body, repeats = 1) {
  const f = jax.jit(body);
  const given = arraysOf(task);
  const call = () => f(...given.map((each) => each.ref));
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) (await jax.blockUntilReady(call())).dispose();
    },
    async output() {
      const result = call();
      const { shape } = result;
      return { data: await result.data(), shape };
    },
    repeats,
  };
}

/** @type {Record<string, (task: Task) => any>} */
const KINDS = {
  product(task) {
    const { numpy: np } = jax;
    const { turned } = task.parameters;
    const turn = (/** @type {string} */ name, /** @type {any} */ x) =>
      turned.includes(name) ? np.matrixTranspose(x) : x;
    const chain = (/** @type {any[]} */ a, /** @type {any[]} */ ...rights) => {
      let value = turn("a", a);
      for (let i = 0; i < task.repeats; i++) {
        value = np.matmul(value, turn("b", rights[i % rights.length].ref));
      }
      rights.forEach((right) => right.dispose());
      return value;
    };
    return again(task, chain, task.repeats);
  },
};
