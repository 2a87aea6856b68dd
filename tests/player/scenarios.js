// What callers do with a model, as functions of (start, value). `start` loads the linear model
// made by linear.py, in Node or in a page; the Python tests know what must come back.

/** The error a promise rejects with, as plain data. */
const failure = (promise) =>
  promise.then(
    (result) => ({ unexpected: result }),
    ({ name, code, message }) => ({ name, code, message }),
  );

const weightsOf = async (model) =>
  Object.fromEntries(
    Object.entries(await model.weights()).map(([name, value]) => [name, value.tolist()]),
  );

const line = (rows) => {
  const x = Array.from({ length: rows }, (_, i) => [(i % 10) / 4 - 1]);
  return [x, x.map(([v]) => [3 * v - 1])];
};

export const scenarios = {
  async describe(start) {
    const model = await start();
    const { engine, worker, entries } = model;
    const names = entries.map(({ name, rows }) => [name, rows]);
    const [step] = entries.filter(({ name }) => name === "train_step");
    model.dispose();
    return { engine, worker, names, step, title: model.info.title };
  },

  async predict(start, inputs) {
    const model = await start();
    const results = [];
    for (const input of inputs) {
      const { data, shape, dtype } = await model.predict(input);
      results.push({ data: [...data], shape, dtype, type: data.constructor.name });
    }
    model.dispose();
    return results;
  },

  async inputForms(start) {
    const model = await start();
    const forms = [
      [[1], [2], [3]],
      [1, 2, 3],
      [[[1]], [[2]], [[3]]],
      Float32Array.of(1, 2, 3),
      Float64Array.of(1, 2, 3),
      Int8Array.of(1, 2, 3),
      [Float32Array.of(1), Float32Array.of(2), Float32Array.of(3)],
      { data: Uint8Array.of(1, 2, 3), shape: [3, 1] },
      { data: [1, 2, 3], shape: [3] },
      { x: [[1], [2], [3]] },
      await model.predict([[2], [6], [10]]),
    ];
    const results = [];
    for (const form of forms) results.push((await model.predict(form)).tolist());
    model.dispose();
    return results;
  },

  async ownership(start) {
    const model = await start();
    const given = Float32Array.of(1, 2);
    const promise = model.predict({ data: given, shape: [2, 1] });
    given.fill(100);
    const result = await promise;
    const first = result.tolist();
    result.data.fill(-1);
    const weights = await model.weights();
    weights["linear/bias"].data.fill(50);
    const second = (await model.predict([1, 2])).tolist();
    const [x, y] = [Float32Array.of(1, 2), Float32Array.of(1, 2)];
    await model.fit(x, y);
    model.dispose();
    return { first, second, kept: [...x, ...y] };
  },

  async fit(start, { x, y, options }) {
    const model = await start();
    const epochs = [];
    const { epoch, history } = await model.fit(x, y, {
      ...options,
      onEpochEnd: (e, logs) => void epochs.push([e, logs]),
    });
    const weights = await weightsOf(model);
    const silent = await start();
    const again = await silent.fit(x, y, options);
    const same = JSON.stringify(again.history) === JSON.stringify(history);
    model.dispose();
    silent.dispose();
    return { epoch, history, epochs, weights, same };
  },

  async evaluate(start, { x, y, sizes }) {
    const model = await start();
    const results = [];
    for (const batchSize of sizes) results.push(await model.evaluate(x, y, { batchSize }));
    results.push(await model.evaluate(x, y));
    model.dispose();
    return results;
  },

  async functions(start) {
    const model = await start();
    const scaled = async (x, factor) => {
      const { y, total } = await model.run("scaled", { x, factor });
      return [y.tolist(), total.tolist()];
    };
    const results = {
      object: await scaled([1, 2, 3], 10),
      array: (await model.run("scaled", [[4, 5], 0.5])).total.tolist(),
      tooMany: await failure(model.run("scaled", { x: line(9)[0], factor: 1 })),
      whole: (await model.run("whole", [1, 2, 3, 4, 5, 6, 7, 8])).tolist(),
      wholeTwice: (await model.run("whole", Array.from({ length: 16 }, (_, i) => i))).shape,
      notWhole: await failure(model.run("whole", [1, 2, 3])),
      counts: [],
      temporaries: (await model.run("temporaries", [1, 2, 3, 4])).tolist(),
      missing: await failure(model.run("scaled", { x: [1] })),
      few: await failure(model.run("scaled", [[1]])),
      unknown: await failure(model.run("nothing")),
    };
    for (let i = 0; i < 3; i++) results.counts.push((await model.run("count")).tolist());
    model.dispose();
    return results;
  },

  async badInputs(start) {
    const model = await start();
    const before = await weightsOf(model);
    const [x, y] = line(8);
    const cases = {
      shape: () => model.predict([[1, 2]]),
      rank: () => model.predict([[[1, 2], [3, 4]]]),
      scalar: () => model.predict(5),
      ragged: () => model.predict([[1], [2, 3]]),
      raggedDeep: () => model.predict([[1], 2]),
      text: () => model.predict([["a"]]),
      nothing: () => model.predict(undefined),
      nulls: () => model.predict([[null]]),
      empty: () => model.predict([]),
      emptyTyped: () => model.predict(new Float32Array(0)),
      product: () => model.predict({ data: Float32Array.of(1, 2, 3), shape: [2, 1] }),
      rows: () => model.fit(x, y.slice(1)),
      batchSize: () => model.fit(x, y, { batchSize: 3 }),
      evaluateBatchSize: () => model.evaluate(x, y, { batchSize: 3 }),
      predictBatchSize: () => model.predict(x, { batchSize: 3 }),
      epochs: () => model.fit(x, y, { epochs: 0 }),
      seed: () => model.fit(x, y, { seed: 1.5 }),
      split: () => model.fit(x, y, { validationSplit: 1 }),
      splitAll: () => model.fit([1], [1], { validationSplit: 0.5 }),
      validationData: () => model.fit(x, y, { validationData: x }),
      validationRows: () => model.fit(x, y, { validationData: [x, [1]] }),
      callback: () => model.fit(x, y, { onEpochEnd: "no" }),
      noInitial: () => model.reset(),
      weightsType: () => model.loadWeights("file"),
    };
    const errors = {};
    for (const [name, run] of Object.entries(cases)) errors[name] = await failure(run());
    const after = await weightsOf(model);
    const still = (await model.predict([1])).tolist();
    model.dispose();
    return { errors, unchanged: JSON.stringify(before) === JSON.stringify(after), still };
  },

  async badLabels(start) {
    const model = await start();
    const x = [[1], [2]];
    const fine = (await model.fit(x, [3, 9])).history.loss.length;
    const errors = {};
    for (const [name, y] of Object.entries({
      high: [0, 10],
      low: [-1, 0],
      fraction: [0.5, 1],
      typed: Int32Array.of(0, 12),
      floats: Float32Array.of(1, 2.5),
      huge: [2 ** 40, 0],
      nan: [NaN, 0],
    })) {
      errors[name] = await failure(model.fit(x, y));
    }
    model.dispose();
    return { fine, errors };
  },

  async trap(start) {
    const model = await start();
    const [x, y] = line(40);
    await model.fit(x, y, { epochs: 2 });
    const before = await weightsOf(model);
    const poisoned = y.map((row, i) => (i === 33 ? [666] : row));
    const errors = [await failure(model.fit(x, poisoned, { shuffle: false }))];
    errors.push(await failure(model.run("crash")));
    const after = await weightsOf(model);
    const { history } = await model.fit(x, y);
    model.dispose();
    return { errors, before, after, usable: Number.isFinite(history.loss[0]) };
  },

  async nan(start) {
    const model = await start();
    const before = await weightsOf(model);
    const x = [[1], [2]];
    const explode = await failure(model.fit([[1e4]], [[1]], { epochs: 100 }));
    const nan = await failure(model.fit(x, [NaN, 1]));
    const after = await weightsOf(model);
    model.dispose();
    return { explode, nan, before, after };
  },

  async abort(start) {
    const model = await start();
    const [x, y] = line(100);
    const before = await weightsOf(model);
    const abort = new AbortController();
    let seen = 0;
    const long = { epochs: 1e9, signal: abort.signal };
    const fit = failure(model.fit(x, y, { ...long, onProgress: () => ++seen === 3 && abort.abort() }));
    const aborted = await fit;
    const already = await failure(model.fit(x, y, { ...long }));
    const inCallback = await failure(
      model.fit(x, y, {
        epochs: 100,
        onEpochEnd(epoch) {
          if (epoch === 2) throw new RangeError("from the callback");
        },
      }),
    );
    const inProgress = await failure(
      model.fit(x, y, {
        epochs: 1e9,
        onProgress() {
          throw new RangeError("from the progress");
        },
      }),
    );
    const after = await weightsOf(model);
    const stopped = await model.fit(x, y, { epochs: 1e9, onEpochEnd: (epoch) => epoch < 4 });
    const asynchronous = await model.fit(x, y, {
      epochs: 1e9,
      onEpochEnd: (epoch) => new Promise((resolve) => setTimeout(resolve, 5, epoch < 1)),
    });
    const learnt = await weightsOf(model);
    model.dispose();
    return {
      ...{ aborted, already, inCallback, inProgress, before, after, learnt },
      stopped: stopped.epoch,
      asynchronous: asynchronous.epoch,
    };
  },

  async meanwhile(start) {
    const model = await start();
    const [x, y] = line(100);
    const before = await model.evaluate(x, y);
    let running = true;
    const abort = new AbortController();
    const fit = failure(model.fit(x, y, { epochs: 1e9, signal: abort.signal }));
    fit.then(() => (running = false));
    const predicted = (await model.predict([0.5])).shape;
    const evaluated = await model.evaluate(x, y);
    const saved = (await model.saveWeights()).byteLength;
    const busy = [];
    busy.push(await failure(model.fit(x, y)));
    busy.push(await failure(model.run("count")));
    busy.push(await failure(model.loadWeights(await model.saveWeights())));
    const stillRunning = running;
    abort.abort();
    await fit;
    const after = await model.evaluate(x, y);
    // An evaluation in the middle of an epoch changes nothing of that epoch's metrics.
    const plain = await model.fit(x, y, { epochs: 3 });
    const other = await start();
    const disturbed = await other.fit(x, y, {
      epochs: 3,
      onEpochEnd: () => other.evaluate(x, y),
    });
    model.dispose();
    other.dispose();
    return {
      ...{ before, predicted, evaluated, saved, busy, stillRunning, after },
      histories: [plain.history, disturbed.history],
    };
  },

  async saving(start) {
    const model = await start();
    const [x, y] = line(20);
    await model.fit(x, y, { epochs: 3 });
    const trained = await weightsOf(model);
    const file = await model.saveWeights();
    await model.fit(x, y, { epochs: 3 });
    const further = await weightsOf(model);
    await model.loadWeights(file);
    const back = await weightsOf(model);
    const other = await start();
    await other.loadWeights(new Uint8Array(file));
    const elsewhere = await weightsOf(other);
    const bytes = [...new Uint8Array(file)];
    const errors = {
      truncated: await failure(model.loadWeights(file.slice(0, file.byteLength - 2))),
      short: await failure(model.loadWeights(new ArrayBuffer(3))),
      garbage: await failure(model.loadWeights(new Uint8Array(64).fill(0x2a))),
      json: await failure(model.loadWeights(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x2b))),
      other: await failure(model.loadWeights(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d))),
    };
    const same = JSON.stringify(await weightsOf(model)) === JSON.stringify(back);
    model.dispose();
    other.dispose();
    return { trained, further, back, elsewhere, bytes, errors, same };
  },

  async disposed(start) {
    const model = await start();
    const [x, y] = line(100);
    const running = failure(model.fit(x, y, { epochs: 1e9, onProgress: () => model.dispose() }));
    const during = await running;
    const after = await failure(model.predict([1]));
    model.dispose();
    return { during, after };
  },

  async many(start, { count }) {
    const model = await start();
    const [x, y] = line(64);
    const [small] = line(8);
    for (let i = 0; i < count; i++) {
      await model.fit(x, y, { epochs: 5 });
      await model.predict(small);
      await model.evaluate(x, y);
    }
    const { history } = await model.fit(x, y, { epochs: count * 10 });
    model.dispose();
    return history.loss.length;
  },
};
