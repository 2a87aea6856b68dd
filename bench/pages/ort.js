// onnxruntime-web in the bench (?backend=wasm|webgpu&threads=1).
//
// It runs the graph that bench/onnx_file.py wrote; inputs and outputs are copied at every call, so
// small operations are repeated within one graph.

import { compete, transposed } from "./measure.js";

const PEER = "/peers/onnxruntime-web/dist/";

/** @param {import("./measure.js").Task} task */
async function make({ folder, inputs, repeats, parameters, query }) {
  const backend = query.get("backend") ?? "wasm";
  const ort = await import(/** @type {any} */ (`${PEER}ort.${backend}.min.mjs`));
  ort.env.wasm.wasmPaths = PEER;
  ort.env.wasm.numThreads = Number(query.get("threads") ?? 1);
  ort.env.logLevel = "error";
  const graph = new Uint8Array(await (await fetch(`${folder}graph.onnx`)).arrayBuffer());
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: [backend],
    graphOptimizationLevel: "all",
  });
  /** @type {Record<string, any>} */
  const feeds = {};
  for (const name of session.inputNames) {
    const { data, shape } = channelsFirst(inputs[name]);
    feeds[name] = new ort.Tensor(data instanceof Int32Array ? "int32" : "float32", data, shape);
  }
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await session.run(feeds);
    },
    async output() {
      const { y } = await session.run(feeds);
      const { data, dims } = y;
      const image = parameters.images && dims.length === 4;
      return image ? transposed(data, dims, [0, 2, 3, 1]) : { data, shape: [...dims] };
    },
    repeats,
    notes: { threads: ort.env.wasm.numThreads },
  };

  /** @param {{data: any, shape: number[]}} array */
  function channelsFirst(array) {
    const image = parameters.images && array.shape.length === 4;
    return image ? transposed(array.data, array.shape, [0, 3, 1, 2]) : array;
  }
}

// The weights are in the graph.
compete(make, { weights: false });
