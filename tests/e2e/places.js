// What tests do with an exported model, wherever it runs: functions of (model, value, again) in
// Node and in the exported page itself, where `again()` loads the model anew. Arrays travel as base64, so that every bit arrives.

const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
};

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function toBase64(buffer) {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

const array = ({ data, shape, dtype }) => ({
  data: new TYPES[dtype](fromBase64(data).buffer),
  shape,
});

/** What a promise rejects with, as plain data. */
const failure = (promise) =>
  promise.then(
    (result) => ({ unexpected: result }),
    ({ name, code, message }) => ({ name, code, message }),
  );

async function fit(model, { x, y, options = {} }) {
  const { validationData, ...rest } = options;
  if (validationData) rest.validationData = validationData.map(array);
  return model.fit(array(x), array(y), rest);
}

export const scenarios = {
  /** One `fit` after the other on the same model, then all that was learnt. What is `spoiled` was
   * trained before it is `reset`. */
  async train(model, { spoiled, reset, fits, test }) {
    if (spoiled) await fit(model, fits[0]);
    if (reset) await model.reset();
    const histories = [];
    for (const each of fits) histories.push(await fit(model, each));
    return {
      histories,
      weights: toBase64(await model.saveWeights()),
      evaluated: test ? await model.evaluate(array(test.x), array(test.y)) : null,
      worker: model.worker,
    };
  },

  async predict(model, { x }) {
    const { data, shape } = await model.predict(array(x));
    return { data: toBase64(data.slice().buffer), shape };
  },

  /** A function's results, and as text the whole numbers in their lists. */
  async call(model, { name, inputs }) {
    const given = inputs.map(array);
    const results = await model.run(name, given.length > 1 ? given : given[0]);
    return Object.values(results).map((each) => ({
      data: toBase64(each.data.slice().buffer),
      dtype: each.dtype,
      shape: each.shape,
      list: each.dtype.includes("int") ? String([each.tolist()].flat(2).map(BigInt)) : null,
    }));
  },

  /** The cases of the loop's table, each on a model as it was exported, with what callbacks saw. */
  async loop(_, { cases }, again) {
    const answers = [];
    for (const { fits, stopAfter } of cases) {
      const model = await again();
      const runs = [];
      for (const each of fits) {
        const seen = [];
        const onEpochEnd = (epoch, logs) => {
          seen.push([epoch, { ...logs }]);
          return epoch !== stopAfter;
        };
        const options = { ...each.options, onEpochEnd };
        runs.push({ ...(await fit(model, { ...each, options })), seen });
      }
      const { x, y, options } = fits[0];
      const evaluated = await model.evaluate(array(x), array(y), { batchSize: options.batchSize });
      answers.push({ runs, evaluated, weights: toBase64(await model.saveWeights()) });
      model.dispose();
    }
    return answers;
  },

  /** Calls that must fail, then a `fit` that must not notice. */
  async failures(model, { calls, then }) {
    const before = toBase64(await model.saveWeights());
    const errors = {};
    for (const [name, method, ...values] of calls) {
      const args = values.map((value) => (value.dtype ? array(value) : value));
      errors[name] = await failure(model[method](...args));
    }
    const same = before === toBase64(await model.saveWeights());
    return { errors, same, history: then && (await fit(model, then)).history };
  },
};
