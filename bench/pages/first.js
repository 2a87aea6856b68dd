// Loads one library in the least code that its documentation has and prints [1, 2, 3, 4] + 1.

const query = new URLSearchParams(location.search);
const backend = query.get("backend") ?? "";
const TFJS = "/peers/@tensorflow/";
const ORT = "/peers/onnxruntime-web/dist/";

/** @type {any} */
const { contest } = globalThis;

/** @type {Record<string, () => Promise<Float32Array>>} */
const LIBRARIES = {
  async tabgrad() {
    const { load } = await import(/** @type {any} */ ("/first/tabgrad.js"));
    const model = await load(new URL("/first/model.json", location.href));
    return (await model.run("main", [1, 2, 3, 4])).data;
  },

  async tfjs() {
    await script(`${TFJS}tfjs/dist/tf.min.js`);
    if (backend === "wasm") {
      await script(`${TFJS}tfjs-backend-wasm/dist/tf-backend-wasm.min.js`);
    }
    const { tf } = /** @type {any} */ (globalThis);
    if (backend === "wasm") tf.wasm.setWasmPaths(`${TFJS}tfjs-backend-wasm/dist/`);
    await tf.setBackend(backend);
    await tf.ready();
    return tf.add(tf.tensor1d([1, 2, 3, 4]), 1).data();
  },

  async jax() {
    const jax = await import(/** @type {any} */ ("/peers/@jax-js/jax/dist/index.js"));
    await jax.init(backend);
    jax.defaultDevice(backend);
    return jax.numpy.array([1, 2, 3, 4]).add(1).data();
  },

  async ort() {
    const ort = await import(/** @type {any} */ (`${ORT}ort.${backend}.min.mjs`));
    ort.env.wasm.wasmPaths = ORT;
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create("/first/graph.onnx", {
      executionProviders: [backend],
    });
    const { y } = await session.run({ x: new ort.Tensor("float32", [1, 2, 3, 4], [4]) });
    return y.data;
  },
};

/** @param {string} src */
function script(src) {
  return new Promise((resolve, reject) => {
    const made = document.createElement("script");
    made.src = src;
    made.onload = resolve;
    made.onerror = () => reject(new Error(`${src} did not load`));
    document.head.append(made);
  });
}

try {
  const values = await LIBRARIES[query.get("library") ?? ""]();
  contest.print([...values].join(" "));
  contest.finish(contest.result);
} catch (error) {
  contest.finish({ error: String(error) });
}

export {};
