// tabgrad in the bench. Operations run as TensorFlow.js's do: arrays stay where they are, and a time
// through is one call of the engine. Inferences copy their inputs in and their results out. It all
// uses the player's own modules, from the tree of sources that the page's address names.

import { compete, size } from "./measure.js";

const make = async (/** @type {import("./measure.js").Task} */ task) => {
  const { parameters, query } = task;
  const tree = new URL(`../trees/${query.get("tree")}/`, import.meta.url);
  const { fetchModel } = await import(new URL("player/tabgrad/files.js", tree).href);
  const { openSession } = await import(new URL("player/tabgrad/session.js", tree).href);
  const model = new URL(`${query.get("workload")}/model.json`, tree);
  if (globalThis.crossOriginIsolated) return withThreads(task, tree, model);
  const files = await fetchModel(model, "wasm", () => undefined);
  const session = await openSession(files, () => undefined);
  if (files.large.length) await session.fill({ parts: files.large, base: model.href });
  const entry = session.model.entries.find((/** @type {any} */ each) => each.name === "main");
  const bound = session.bind(entry);
  // What leads a chain of products back is for those who need chains.
  const inputs = Object.entries(task.inputs)
    .filter(([name]) => !parameters.chained?.includes(name))
    .map(([, input]) => input);
  const { shape } = entry.outputs[0];
  const nbytes = 4 * size(shape);
  const write = () => {
    inputs.forEach(({ data }, i) => session.engine.write(bound.inputs[i], data));
  };
  const read = () => {
    return new Float32Array(session.engine.read(bound.outputs[0], nbytes).buffer);
  };
  write();

  if (parameters.training) {
    const step = () => {
      bound.run(0);
      return read()[0];
    };
    const losses = Array.from({ length: parameters.compared }, step);
    return {
      step(/** @type {number} */ n) {
        for (let i = 0; i < n; i++) step();
      },
      output: () => ({ data: losses, shape: [losses.length] }),
    };
  }
  if (parameters.inference) {
    const infer = () => {
      write();
      bound.run(0);
      return read();
    };
    return {
      step(/** @type {number} */ n) {
        for (let i = 0; i < n; i++) infer();
      },
      output: () => ({ data: infer(), shape }),
    };
  }
  return {
    step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) bound.run(0);
    },
    output: () => ({ data: read(), shape }),
  };
};

/**
 * The model in its worker with as many threads as it is to have, asked as any page would: what goes
 * in and comes out is copied, and what a training step may spoil is kept.
 * @param {import("./measure.js").Task} task
 * @param {URL} tree
 * @param {URL} url of the model
 */
async function withThreads({ parameters, inputs }, tree, url) {
  const { load } = await import(new URL("player/tabgrad.js", tree).href);
  const model = await load(url, { worker: true, threads: 2, engine: "wasm" });
  const names = model.entries[0].inputs.map((/** @type {any} */ input) => input.name);
  const given = Object.entries(inputs).filter(([name]) => !parameters.chained?.includes(name));
  const values = Object.fromEntries(given.map(([, value], i) => [names[i], value]));
  const run = async () => {
    const result = await model.run("main", values);
    return Array.isArray(result) ? result[0] : (result.data && result) || Object.values(result)[0];
  };
  /** @type {number[]} */
  const losses = [];
  for (let i = 0; i < (parameters.compared ?? 0); i++) losses.push((await run()).data[0]);
  // The other thread starts with the first run that is worth it.
  for (let i = 0; i < 100 && model.threads < 2; i++) await run();
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await run();
    },
    async output() {
      if (losses.length) return { data: losses, shape: [losses.length] };
      const { data, shape } = await run();
      return { data, shape };
    },
    notes: { threads: model.threads },
  };
}

compete(make, { weights: false });
