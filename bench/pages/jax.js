// jax-js in the bench (?backend=wasm|webgpu).
//
// A call costs it about a tenth of a millisecond, so short operations are chained in one compiled
// function. Work is queued and dropped if its result is given up unread: every result is awaited.
// Its functions consume their arguments; `.ref` keeps one alive.

import { compete, size, transposed } from "./measure.js";

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

/**
 * Channels first, as its convolutions have them.
 * @param {{data: any, shape: number[]}} array
 * @param {number[]} order
 */
function turned({ data, shape }, order) {
  return array(transposed(data, shape, order));
}

/** @param {{data: any, shape: number[]}} array */
function array({ data, shape }) {
  return jax.numpy.array(data).reshape(shape);
}

/**
 * Calls a compiled function of some arrays again and again.
 * @param {any[]} given
 * @param {(...arrays: any[]) => any} body
 * @param {{repeats?: number, order?: number[] | null}} [options] how often the body does the
 *   operation, and where the reference has the axes of the result
 */
function again(given, body, { repeats = 1, order = null } = {}) {
  const f = jax.jit(body);
  const call = () => f(...given.map((each) => each.ref));
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) (await jax.blockUntilReady(call())).dispose();
    },
    async output() {
      const result = call();
      const { shape } = result;
      const data = await result.data();
      return order ? transposed(data, shape, order) : { data, shape };
    },
    repeats,
  };
}

// From channels last to channels first and back, and kernels, (height, width, in, out).
const TO_FIRST = [0, 3, 1, 2];
const TO_LAST = [0, 2, 3, 1];
const KERNEL = [3, 2, 0, 1];
const KERNEL_BACK = [2, 3, 1, 0];

/** @type {Record<string, (task: Task) => any>} */
const KINDS = {
  product({ inputs, constants, parameters, repeats }) {
    const { numpy: np } = jax;
    const turn = (/** @type {string} */ name, /** @type {any} */ x) =>
      parameters.turned.includes(name) ? np.matrixTranspose(x) : x;
    const chain = (/** @type {any} */ a, /** @type {any[]} */ ...rights) => {
      let value = turn("a", a);
      for (let i = 0; i < repeats; i++) {
        value = np.matmul(value, turn("b", rights[i % rights.length].ref));
      }
      rights.forEach((right) => right.dispose());
      return value;
    };
    return again(Object.values({ ...inputs, ...constants }).map(array), chain, { repeats });
  },

  convolution({ inputs, constants, parameters }) {
    const given = [turned(inputs.x, TO_FIRST), kernelOf(constants.kernel, parameters)];
    const body = (/** @type {any[]} */ ...x) => convolve(parameters, x[0], x[1]);
    return again(given, body, { order: TO_LAST });
  },

  convolution_by_input({ inputs, parameters }) {
    const [dy, kernel] = [turned(inputs.dy, TO_FIRST), kernelOf(inputs.kernel, parameters)];
    const shape = TO_FIRST.map((axis) => parameters.image[axis]);
    const body = (/** @type {any} */ dy, /** @type {any} */ kernel) => {
      const forward = (/** @type {any} */ x) => convolve(parameters, x, kernel.ref);
      const [y, back] = jax.vjp(forward, [jax.numpy.zeros(shape)]);
      y.dispose();
      const [dx] = back(dy);
      back.dispose();
      kernel.dispose();
      return dx;
    };
    return again([dy, kernel], body, { order: TO_LAST });
  },

  convolution_by_kernel({ inputs, parameters }) {
    const [dy, x] = [turned(inputs.dy, TO_FIRST), turned(inputs.x, TO_FIRST)];
    const order = parameters.depthwise ? [2, 3, 0, 1] : KERNEL;
    const shape = order.map((axis) => parameters.kernel[axis]);
    const body = (/** @type {any} */ dy, /** @type {any} */ x) => {
      const forward = (/** @type {any} */ kernel) => convolve(parameters, x.ref, kernel);
      const [y, back] = jax.vjp(forward, [jax.numpy.zeros(shape)]);
      y.dispose();
      const [dk] = back(dy);
      back.dispose();
      x.dispose();
      return dk;
    };
    return again([dy, x], body, { order: parameters.depthwise ? [2, 3, 0, 1] : KERNEL_BACK });
  },

  chain({ inputs }) {
    const { numpy: np, nn } = jax;
    const body = (/** @type {any} */ x) => {
      return np.maximum(x.ref.mul(1.5).add(0.25), 0).mul(nn.sigmoid(x));
    };
    return again([array(inputs.x)], body);
  },

  softmax: ({ inputs }) =>
    again([array(inputs.x)], (/** @type {any} */ x) => jax.nn.softmax(x)),

  layer_norm: ({ inputs, parameters }) =>
    again([array(inputs.x)], (/** @type {any} */ x) => normalized(x, parameters.epsilon)),

  sum: ({ inputs }) => again([array(inputs.x)], (/** @type {any} */ x) => x.sum()),

  transpose: ({ inputs }) =>
    again([array(inputs.x)], (/** @type {any} */ x) => jax.numpy.transpose(x)),

  sort: ({ inputs }) => again([array(inputs.x)], (/** @type {any} */ x) => jax.numpy.sort(x)),

  normal({ parameters }) {
    const { random } = jax;
    const body = (/** @type {any} */ key) => random.normal(key, [parameters.count]);
    return again([random.key(1)], body);
  },

  small_products({ inputs: { x }, constants: { w } }) {
    const count = w.shape[0];
    const weights = Array.from({ length: count }, (_, i) => {
      return array({ data: w.data.slice(16 * i, 16 * i + 16), shape: [4, 4] });
    });
    const body = (/** @type {any} */ x, /** @type {any[]} */ ...weights) => {
      return weights.reduce((value, weight) => jax.numpy.matmul(value, weight), x);
    };
    return again([array(x), ...weights], body);
  },

  adds({ inputs, parameters }) {
    // All in one function are more than its compiler can follow before the stack is full.
    const atOnce = 100;
    const f = jax.jit((/** @type {any} */ x, /** @type {any} */ one) => {
      for (let i = 0; i < atOnce; i++) x = x.add(one.ref);
      one.dispose();
      return x;
    });
    const [x, one] = [array(inputs.x), array(inputs.one)];
    const result = async () => {
      let value = x.ref;
      for (let i = 0; i < parameters.steps; i += atOnce) value = f(value, one.ref);
      return { data: await value.data(), shape: inputs.x.shape };
    };
    return {
      async step(/** @type {number} */ n) {
        for (let i = 0; i < n; i++) await result();
      },
      output: result,
    };
  },

  mlp: (task) =>
    training(task, ["hidden", "output"], (w, x) => {
      const hidden = dense(w, "hidden", x);
      return dense(w, "output", relu(hidden));
    }),

  cnn: (task) =>
    training(task, ["conv1", "conv2", "hidden", "output"], (w, x) => {
      const { numpy: np, lax } = jax;
      for (const name of ["conv1", "conv2"]) {
        const y = lax.conv(x, w[`${name}/kernel`], [1, 1], "VALID");
        x = relu(y.add(w[`${name}/bias`].reshape([-1, 1, 1])));
      }
      const [count, channels, height, width] = x.shape;
      x = np.max(x.reshape([count, channels, height / 2, 2, width / 2, 2]), [3, 5]);
      return dense(w, "output", relu(dense(w, "hidden", x.reshape([count, -1]))));
    }),

  lstm: (task) =>
    training(task, ["lstm", "output"], (w, x) => {
      const { numpy: np, nn } = jax;
      const [count, length] = x.shape;
      const units = w["lstm/recurrent_kernel"].shape[0];
      const entering = np.matmul(x, w["lstm/kernel"]).add(w["lstm/bias"]);
      const steps = np.split(entering, length, 1);
      let output = np.zeros([count, units]);
      let memory = np.zeros([count, units]);
      for (const step of steps) {
        const recurrent = np.matmul(output, w["lstm/recurrent_kernel"].ref);
        const gates = step.reshape([count, 4 * units]).add(recurrent);
        const [enter, forget, candidate, leave] = np.split(gates, 4, 1);
        memory = nn.sigmoid(forget).mul(memory).add(nn.sigmoid(enter).mul(np.tanh(candidate)));
        output = nn.sigmoid(leave).mul(np.tanh(memory.ref));
      }
      memory.dispose();
      w["lstm/recurrent_kernel"].dispose();
      return dense(w, "output", output);
    }),

  mobilenet: (task) => inference(task),
  minilm: (task) => inference(task),
};

/** @param {any} x */
function relu(x) {
  return jax.numpy.maximum(x, 0);
}

/**
 * @param {Record<string, any>} w
 * @param {string} name
 * @param {any} x
 */
function dense(w, name, x) {
  return jax.numpy.matmul(x, w[`${name}/kernel`]).add(w[`${name}/bias`]);
}

/**
 * @param {any} x
 * @param {number} epsilon
 */
function normalized(x, epsilon) {
  const { numpy: np } = jax;
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
  return centred.div(np.sqrt(variance.add(epsilon)));
}

/**
 * @param {{data: any, shape: number[]}} kernel
 * @param {any} parameters
 */
function kernelOf(kernel, { depthwise, transposed: back }) {
  // A transposed convolution's kernel is (height, width, out, in): its own convolution's, which
  // `transposeKernel` turns round.
  return turned(kernel, depthwise ? [2, 3, 0, 1] : back ? [3, 2, 0, 1] : KERNEL);
}

/**
 * @param {any} parameters of bench/workloads/convolutions.py
 * @param {any} x
 * @param {any} kernel
 */
function convolve(parameters, x, kernel) {
  const { stride, dilation, groups, transposed: back, depthwise, channels } = parameters;
  const strides = [stride, stride];
  if (back) return jax.lax.convTranspose(x, kernel, strides, "SAME", { transposeKernel: true });
  return jax.lax.convGeneralDilated(x, kernel, strides, "SAME", {
    rhsDilation: [dilation, dilation],
    featureGroupCount: depthwise ? channels : groups,
  });
}

/**
 * One compiled step with Adam written out; weights and moments go in and come out as lists.
 * @param {Task} task
 * @param {string[]} layers
 * @param {(w: Record<string, any>, x: any) => any} logits
 */
async function training({ inputs, constants, parameters }, layers, logits) {
  const { numpy: np, nn, tree } = jax;
  const names = Object.keys(constants);
  const image = inputs.x.shape.length === 4;
  let weights = names.map((name) => weightOf(name));
  let means = weights.map((each) => np.zeros(each.shape));
  let squares = weights.map((each) => np.zeros(each.shape));
  let time = np.array(1);
  const x = image ? turned(inputs.x, TO_FIRST) : array(inputs.x);
  const y = nn.oneHot(array(inputs.y), parameters.classes);

  const lossOf = (/** @type {any[]} */ w, /** @type {any} */ x, /** @type {any} */ y) => {
    const named = Object.fromEntries(names.map((name, i) => [name, w[i]]));
    return nn.logSoftmax(logits(named, x)).mul(y).sum(-1).mean().mul(-1);
  };
  const step = jax.jit(
    (
      /** @type {any[]} */ w,
      /** @type {any[]} */ m,
      /** @type {any[]} */ v,
      /** @type {any} */ t,
      /** @type {any} */ x,
      /** @type {any} */ y,
    ) => {
      const [loss, gradients] = jax.valueAndGrad(lossOf)(tree.ref(w), x, y);
      const decay1 = np.subtract(1, np.power(0.9, t.ref));
      const decay2 = np.subtract(1, np.power(0.999, t.ref));
      const rate = np.sqrt(decay2).div(decay1).mul(0.001);
      /** @type {any[][]} */
      const [newW, newM, newV] = [[], [], []];
      gradients.forEach((/** @type {any} */ g, /** @type {number} */ i) => {
        const mean = m[i].mul(0.9).add(g.ref.mul(0.1));
        const square = v[i].mul(0.999).add(np.square(g).mul(0.001));
        newM.push(mean.ref);
        newV.push(square.ref);
        newW.push(w[i].sub(mean.mul(rate.ref).div(np.sqrt(square).add(1e-7))));
      });
      rate.dispose();
      return [newW, newM, newV, t.add(1), loss];
    },
  );
  const once = async () => {
    /** @type {any} */
    let loss;
    [weights, means, squares, time, loss] = step(weights, means, squares, time, x.ref, y.ref);
    const value = (await loss.data())[0];
    await jax.blockUntilReady(weights);
    return value;
  };
  /** @type {number[]} */
  const losses = [];
  for (let i = 0; i < parameters.compared; i++) losses.push(await once());
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await once();
    },
    output: () => ({ data: losses, shape: [losses.length] }),
    notes: { layers: layers.length },
  };

  /** @param {string} name */
  function weightOf(name) {
    const given = constants[name];
    if (given.shape.length === 4) return turned(given, KERNEL);
    if (!image || name !== "hidden/kernel") return array(given);
    // Its rows are (height, width, channels) of the last image, which here has channels first.
    const channels = constants["conv2/kernel"].shape[3];
    const side = Math.sqrt(given.shape[0] / channels);
    const rows = { data: given.data, shape: [side, side, channels, given.shape[1]] };
    return turned(rows, [2, 0, 1, 3]).reshape(given.shape);
  }
}

/**
 * The ONNX file of the task, compiled; inputs come from the page each time, the result goes back.
 * @param {Task} task
 */
async function inference({ folder, inputs, parameters }) {
  const { ONNXModel } = await import(/** @type {any} */ ("/peers/@jax-js/onnx/dist/index.js"));
  const file = await (await fetch(`${folder}graph.onnx`)).arrayBuffer();
  const model = new ONNXModel(new Uint8Array(file));
  const f = jax.jit(model.run);
  const infer = async () => {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, given]) => {
        return [name, parameters.images ? turned(given, TO_FIRST) : array(given)];
      }),
    );
    const { y } = f(feeds);
    const { shape } = y;
    return { data: await y.data(), shape };
  };
  return {
    async step(/** @type {number} */ n) {
      for (let i = 0; i < n; i++) await infer();
    },
    output: infer,
    notes: { inputs: Object.values(inputs).map(({ shape }) => size(shape)) },
  };
}
