// tabgrad's engines of a page's GPU in the bench (?backend=webgpu|webgl). Programs come from
// bench/gpu_build.py. As TensorFlow.js's, runs are queued, and what a step ends with is a read: of
// one number where values stay on the GPU, of the loss in training, of the result in inference.

import { compete, size } from "./measure.js";

/** @typedef {import("./measure.js").Task} Task */

compete(async (task) => {
  const { parameters, query } = task;
  const tree = new URL(`../trees/${query.get("tree")}/`, import.meta.url);
  const backend = query.get("backend");
  const { open } = await import(new URL(`player/tabgrad/${backend}.js`, tree).href);
  const fetched = (/** @type {string} */ name) =>
    fetch(new URL(`${query.get("workload")}/${name}`, tree));
  const [about, module, values, engine] = await Promise.all([
    fetched(`${backend}.json`).then((answer) => answer.json()),
    fetched(`${backend}.bin`).then((answer) => answer.arrayBuffer()),
    fetched("state.bin").then((answer) => answer.arrayBuffer()),
    open(),
  ]);
  const { entry, state } = about;
  entry.constants = entry.constants.map((/** @type {{data: string}} */ { data }) =>
    Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)),
  );
  const loading = performance.now();
  const loaded = await engine.load({ entries: [entry], module: new Uint8Array(module) });
  const compiled = performance.now() - loading;

  const alloc = (/** @type {{dtype: string, shape: number[]}} */ { dtype, shape }) =>
    engine.alloc(4 * size(shape), dtype);
  const inputs = entry.inputs.map(alloc);
  const outputs = entry.outputs.map(alloc);
  const states = state.map((/** @type {any} */ { dtype, offset, nbytes }) => {
    const handle = engine.alloc(nbytes, dtype);
    engine.write(handle, new Uint8Array(values, offset, nbytes));
    return handle;
  });
  const args = Uint32Array.from([...inputs, ...states, ...outputs]);
  const { shape } = entry.outputs[0];
  // What leads a chain of products back is for those who need chains.
  const given = Object.entries(task.inputs)
    .filter(([name]) => !parameters.chained?.includes(name))
    .map(([, input]) => input);
  const write = () => given.forEach(({ data }, i) => engine.write(inputs[i], data));
  const run = () => engine.run(loaded, 0, args);
  const read = async (/** @type {number} */ nbytes) => {
    const bytes = await engine.readAsync(outputs[0], nbytes);
    return new Float32Array(bytes.buffer, bytes.byteOffset, nbytes / 4);
  };
  const whole = 4 * size(shape);

  const trained = async () => {
    run();
    return (await read(4))[0];
  };
  const inferred = async () => {
    write();
    run();
    return read(whole);
  };
  const each = parameters.training ? trained : parameters.inference ? inferred : null;
  write();
  /** @type {number[]} */
  const losses = [];
  for (let i = 0; i < (parameters.compared ?? 0); i++) losses.push(await trained());
  /** @type {Record<string, unknown>} */
  const notes = { compiled, info: engine.info, code: module.byteLength };
  // What one warm run does, and how long it keeps the thread: the median of some, as the adapter's
  // threads, which share the cores, interrupt one or the other.
  const count = async () => {
    const times = [];
    let before = engine.counts;
    for (let i = 0; i < 5; i++) {
      await read(4);
      before = { ...engine.counts };
      const start = performance.now();
      run();
      times.push(performance.now() - start);
    }
    notes.javascript = times.sort((a, b) => a - b)[2];
    const made = Object.entries(engine.counts).map(([name, n]) => [name, n - before[name]]);
    notes.counts = Object.fromEntries(made.filter(([, n]) => n));
    notes.kernels = before.pipelines ?? before.shaders;
  };
  return {
    async step(/** @type {number} */ n) {
      if (each) {
        for (let i = 0; i < n; i++) await each();
        return;
      }
      for (let i = 0; i < n; i++) run();
      await read(4);
    },
    async output() {
      await count();
      if (losses.length) return { data: losses, shape: [losses.length] };
      return { data: await read(whole), shape };
    },
    notes,
  };
});
