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
function tensors({ inputs, constants }) {
  return Object.fromEntries(
    Object.entries({ ...inputs, ...constants }).map(([name, { data, shape }]) => [name, tensor(data, shape)]),
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
    // tensor each time.
    const { data, shape } = task.inputs.b;
    /** @type {any[]} */
    let rights = [];
    let next = 0;
    return {
      ...again(() => product(rights[next++] ?? b)),
      most: Math.max(1, Math.floor(FRESH_BYTES / (4 * size(shape)))),
      prepare(/** @type {number} */ n) {
        rights = Array.from({ length: n }, () => tensor(data, shape));
        next = 0;
      },
      cleanUp: () => rights.forEach((each) => each.dispose()),
    };
  },

  convolution(task) {
    const { x, kernel } = tensors(task);
    return again(() => convolve(task.parameters, x, kernel));
  },

  convolution_by_input(task) {
    const { dy, kernel } = tensors(task);
    const { parameters } = task;
    const like = tf.zeros(parameters.image);
    const back = tf.grad((/** @type {any} */ x) => convolve(parameters, x, kernel));
    if (parameters.depthwise || parameters.groups > 1 || parameters.transposed) {
      return again(() => back(like, dy));
    }
    // The gradient alone: tf.grad would convolve forwards as well.
    const { stride, dilation, image } = parameters;
    if (dilation > 1) return again(() => back(like, dy));
    return again(() => tf.conv2dTranspose(dy, kernel, image, stride, "same"));
  },

  convolution_by_kernel(task) {
    const { dy, x } = tensors(task);
    const { parameters } = task;
    const like = tf.zeros(parameters.kernel);
    const back = tf.grad((/** @type {any} */ kernel) => convolve(parameters, x, kernel));
    return again(() => back(like, dy));
  },

  chain(task) {
    const { x } = tensors(task);
    const [factor, term] = [tf.scalar(1.5), tf.scalar(0.25)];
    return again(() => tf.tidy(() => tf.relu(x.mul(factor).add(term)).mul(tf.sigmoid(x))));
  },

  softmax(task) {
    const { x } = tensors(task);
    return again(() => tf.softmax(x));
  },

  layer_norm(task) {
    const { x } = tensors(task);
    const epsilon = tf.scalar(task.parameters.epsilon);
    return again(() => tf.tidy(() => normalized(x, epsilon)));
  },

  sum(task) {
    const { x } = tensors(task);
    return again(() => tf.sum(x));
  },

  transpose(task) {
    const { x } = tensors(task);
    return again(() => tf.transpose(x));
  },

  sort(task) {
    const { x } = tensors(task);
    // There is no ascending sort: all values, largest first, turned round.
    return again(() => tf.tidy(() => tf.reverse(tf.topk(x, size(x.shape), true).values)));
  },

  normal(task) {
    return again(() => tf.randomNormal([task.parameters.count]));
  },

  small_products(task) {
    const { x, w } = tensors(task);
    const weights = tf.unstack(w);
    return again(() => {
      let value = tf.matMul(x, weights[0]);
      for (let i = 1; i < weights.length; i++) {
        const next = tf.matMul(value, weights[i]);
        value.dispose();
        value = next;
      }
      return value;
    });
  },

  adds(task) {
    const { x, one } = tensors(task);
    return again(() => {
      let value = tf.add(x, one);
      for (let i = 1; i < task.parameters.steps; i++) {
        const next = tf.add(value, one);
        value.dispose();
        value = next;
      }
      return value;
    });
  },

  mlp: (task) => training(task, layersOf.mlp()),
  cnn: (task) => training(task, layersOf.cnn()),
  lstm: (task) => training(task, layersOf.lstm(task)),

  mobilenet(task) {
    const given = tensors(task);
    return inference(task, (x) => mobilenet(x, given));
  },

  minilm(task) {
    const given = tensors(task);
    return inference(task, (ids, mask) => minilm(ids, mask, given, task.parameters));
  },
};

/**
 * @param {any} parameters of bench/workloads/convolutions.py
 * @param {any} x
 * @param {any} kernel
 */
function convolve(parameters, x, kernel) {
  const { stride, dilation, groups, transposed, depthwise } = parameters;
  if (depthwise) return tf.depthwiseConv2d(x, kernel, stride, "same");
  if (transposed) {
    const [count, height, width] = x.shape;
    const shape = [count, height * stride, width * stride, kernel.shape[2]];
    return tf.conv2dTranspose(x, kernel, shape, stride, "same");
  }
  if (groups === 1) return tf.conv2d(x, kernel, stride, "same", "NHWC", dilation);
  // There are no groups, so each is a convolution of its own.
  return tf.tidy(() => {
    const kernels = tf.split(kernel, groups, 3);
    const parts = tf.split(x, groups, 3).map((/** @type {any} */ part, /** @type {number} */ i) => {
      return tf.conv2d(part, kernels[i], stride, "same", "NHWC", dilation);
    });
    return tf.concat(parts, 3);
  });
}

/**
 * @param {any} x
 * @param {any} epsilon
 */
function normalized(x, epsilon) {
  const { mean, variance } = tf.moments(x, -1, true);
  return x.sub(mean).mul(variance.add(epsilon).rsqrt());
}

const layersOf = {
  mlp: () => [
    tf.layers.dense({ units: 128, activation: "relu", inputShape: [784] }),
    tf.layers.dense({ units: 10, activation: "softmax" }),
  ],
  cnn: () => [
    tf.layers.conv2d({ filters: 32, kernelSize: 3, activation: "relu", inputShape: [28, 28, 1] }),
    tf.layers.conv2d({ filters: 64, kernelSize: 3, activation: "relu" }),
    tf.layers.maxPooling2d({ poolSize: 2 }),
    tf.layers.flatten(),
    tf.layers.dense({ units: 128, activation: "relu" }),
    tf.layers.dense({ units: 10, activation: "softmax" }),
  ],
  lstm: (/** @type {Task} */ { inputs, constants }) => [
    tf.layers.lstm({
      units: constants["lstm/recurrent_kernel"].shape[0],
      recurrentActivation: "sigmoid",
      inputShape: inputs.x.shape.slice(1),
    }),
    tf.layers.dense({ units: 10, activation: "softmax" }),
  ],
};

/**
 * A model that is trained on the same batch again and again, as `trainOnBatch` does it, which reads
 * the loss of every step.
 * @param {Task} task
 * @param {any[]} layers
 */
async function training(task, layers) {
  const model = tf.sequential({ layers });
  const given = tensors(task);
  const groups = ["conv1", "conv2", "lstm", "hidden", "output"];
  const kinds = ["kernel", "recurrent_kernel", "bias"];
  const names = groups.flatMap((group) => kinds.map((kind) => `${group}/${kind}`));
  model.setWeights(names.filter((name) => name in task.constants).map((name) => given[name]));
  model.compile({ optimizer: tf.train.adam(0.001, 0.9, 0.999, 1e-7), loss: "categoricalCrossentropy" });
  const y = tf.oneHot(given.y, task.parameters.classes).toFloat();
  /** @type {number[]} */
  const losses = [];
  for (let i = 0; i < task.parameters.compared; i++) losses.push(await model.trainOnBatch(given.x, y));
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await model.trainOnBatch(given.x, y);
    },
    output: () => ({ data: losses, shape: [losses.length] }),
  };
}

/**
 * A function of the task's inputs, which come from the page each time, as the result goes back.
 * @param {Task} task
 * @param {(...inputs: any[]) => any} f
 */
function inference({ inputs }, f) {
  const infer = async () => {
    const given = Object.values(inputs).map(({ data, shape }) => tensor(data, shape));
    const result = tf.tidy(() => f(...given));
    given.forEach((each) => each.dispose());
    return read(result);
  };
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await infer();
    },
    output: infer,
  };
}

/**
 * As a converted model runs it: batch norms folded, bias and relu6 within the convolutions.
 * @param {any} x
 * @param {Record<string, any>} given
 */
function mobilenet(x, given) {
  const convolution = (
    /** @type {any} */ x,
    /** @type {string} */ name,
    /** @type {number} */ stride,
    /** @type {string | undefined} */ activation,
  ) => {
    const operation = name.endsWith("depthwise") ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
    const [filter, bias] = [given[`${name}/kernel`], given[`${name}/bias`]];
    return operation({ x, filter, strides: stride, pad: "same", bias, activation });
  };
  x = convolution(x, "Conv1", 2, "relu6");
  // Blocks whose depthwise convolution makes images smaller.
  const halving = new Set(["block_1", "block_3", "block_6", "block_13"]);
  for (let i = 0; i < 17; i++) {
    const block = i ? `block_${i}` : "expanded_conv";
    let y = i ? convolution(x, `${block}_expand`, 1, "relu6") : x;
    y = convolution(y, `${block}_depthwise`, halving.has(block) ? 2 : 1, "relu6");
    y = convolution(y, `${block}_project`, 1, undefined);
    const same = y.shape[3] === x.shape[3] && !halving.has(block);
    x = same ? tf.add(x, y) : y;
  }
  x = tf.mean(convolution(x, "Conv_1", 1, "relu6"), [1, 2]);
  const [b, bias] = [given["predictions/kernel"], given["predictions/bias"]];
  return tf.softmax(tf.fused.matMul({ a: x, b, bias }));
}

/**
 * @param {any} ids
 * @param {any} mask
 * @param {Record<string, any>} given
 * @param {{layers: number, heads: number, epsilon: number}} parameters
 */
function minilm(ids, mask, given, { layers, heads, epsilon }) {
  const length = ids.shape[1];
  const there = mask.toFloat().reshape([length, 1]);
  const bias = there.reshape([1, 1, length]).sub(1).mul(1e9);
  const dense = (/** @type {any} */ a, /** @type {string} */ name) => {
    return tf.fused.matMul({ a, b: given[`${name}/kernel`], bias: given[`${name}/bias`] });
  };
  const norm = (/** @type {any} */ x, /** @type {string} */ name) => {
    return normalized(x, epsilon).mul(given[`${name}/gamma`]).add(given[`${name}/beta`]);
  };
  const split = (/** @type {any} */ x) => x.reshape([length, heads, -1]).transpose([1, 0, 2]);
  const gelu = (/** @type {any} */ x) => x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));
  const positions = given["embeddings/position"].slice(0, length);
  let x = tf.gather(given["embeddings/word"], ids.reshape([length])).add(positions);
  x = norm(x.add(given["embeddings/kind"].slice(0, 1)), "embeddings/norm");
  for (let i = 0; i < layers; i++) {
    const layer = `layer${i}`;
    const [query, key, value] = ["query", "key", "value"].map((part) => {
      return split(dense(x, `${layer}/${part}`));
    });
    const scores = tf.matMul(query, key, false, true).mul(query.shape[2] ** -0.5).add(bias);
    const mixed = tf.matMul(tf.softmax(scores), value).transpose([1, 0, 2]).reshape(x.shape);
    x = norm(x.add(dense(mixed, `${layer}/attention`)), `${layer}/attention_norm`);
    const inner = dense(gelu(dense(x, `${layer}/inner`)), `${layer}/output`);
    x = norm(x.add(inner), `${layer}/output_norm`);
  }
  const mean = x.mul(there).sum(0, true).div(there.sum());
  return mean.div(mean.square().sum().sqrt());
}
