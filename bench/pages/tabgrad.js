// tabgrad in the bench. Operations run as TensorFlow.js's do: arrays stay where they are, each time
// through is one call of the engine. They use the player's own modules, from the tree of sources
// that the page's address names. Models run by the public API, worker and copies included.

import { compete } from "./measure.js";

compete(async (task) => {
  const tree = new URL(`../trees/${task.query.get("tree")}/`, import.meta.url);
  const model = new URL(`${task.query.get("workload")}/model.json`, tree);
  return task.parameters.public ? openModel(tree, model, task) : openResident(tree, model, task);
});

/**
 * @param {URL} tree
 * @param {URL} model
 * @param {import("./measure.js").Task} task
 */
async function openResident(tree, model, { arrays }) {
  const { fetchModel } = await import(new URL("player/tabgrad/files.js", tree).href);
  const { Session } = await import(new URL("player/tabgrad/session.js", tree).href);
  const session = new Session(await fetchModel(model));
  const entry = session.model.entries.find((/** @type {any} */ each) => each.name === "main");
  const bound = session.bind(entry);
  const inputs = Object.values(arrays).slice(0, entry.inputs.length);
  inputs.forEach(({ data }, i) => session.engine.write(bound.inputs[i], data));
  const { shape } = entry.outputs[0];
  return {
    step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) bound.run(0);
    },
    output() {
      const nbytes = 4 * shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
      const bytes = session.engine.read(bound.outputs[0], nbytes);
      const Kind = entry.outputs[0].dtype === "int32" ? Int32Array : Float32Array;
      return { data: new Kind(bytes.buffer), shape };
    },
  };
}

/**
 * @param {URL} tree
 * @param {URL} model
 * @param {import("./measure.js").Task} task
 */
async function openModel(tree, model, { arrays, constants }) {
  const { load } = await import(new URL("player/tabgrad.js", tree).href);
  const loaded = await load(model);
  const feeds = Object.values(arrays);
  const result = () => loaded.run("main", feeds.length > 1 ? feeds : feeds[0]);
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await result();
    },
    output: result,
    notes: { worker: loaded.worker, constants: constants.size },
  };
}
