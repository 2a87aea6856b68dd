// tabgrad in the bench. Operations run as TensorFlow.js's do: arrays stay where they are, and a time
// through is one call of the engine. Inferences copy their inputs in and their results out. It all
// uses the player's own modules, from the tree of sources that the page's address names.

import { compete, size } from "./measure.js";

const make = async (/** @type {import("./measure.js").Task} */ task) => {
  const { parameters, query } = task;
  const tree = new URL(`../trees/${query.get("tree")}/`, import.meta.url);
  const { fetchModel } = await import(new URL("player/tabgrad/files.js", tree).href);
  const { Session } = await import(new URL("player/tabgrad/session.js", tree).href);
  const model = new URL(`${query.get("workload")}/model.json`, tree);
  const session = new Session(await fetchModel(model, () => undefined));
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

compete(make, { weights: false });
