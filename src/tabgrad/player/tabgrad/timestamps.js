// How long each dispatch takes on a WebGPU device, by the device's own clock; for whoever looks for
// time, so no page fetches it.
//
// While it watches, a dispatch has a pass of its own, between two timestamps. Browsers round these to
// 100 us, unless started with --enable-dawn-features=allow_unsafe_apis or the like. Work takes longer
// this way, but what one dispatch takes is what it takes in a pass with others.

import { TabgradError } from "./errors.js";

const MOST = 2048; // dispatches of a set of queries
const [MAP_READ, COPY_SRC, COPY_DST, QUERY_RESOLVE] = [1, 4, 8, 512];

/**
 * @typedef {object} Timing of a dispatch
 * @property {number} pipeline which, in the order they came up in
 * @property {number} milliseconds
 */

/**
 * The times of all that is dispatched while some work runs, in order.
 * @param {{device: GPUDevice, sync: () => Promise<void>}} engine of webgpu.js
 * @param {() => unknown} work for instance `() => engine.run(loaded, 0, args)`
 * @returns {Promise<Timing[]>}
 */
export async function timed(engine, work) {
  const { device } = engine;
  if (!device.features.has("timestamp-query")) {
    throw new TabgradError(
      "adapter",
      "expected a GPU that tells when it does what (timestamp-query); this browser or adapter does " +
        "not. Measure whole runs: await engine.sync()",
    );
  }
  /** @type {GPUComputePipeline[]} */
  const pipelines = [];
  /** @type {number[]} of each dispatch */
  const dispatched = [];
  /** @type {{set: GPUQuerySet, buffer: GPUBuffer}[]} */
  const sets = [];
  const own = device.createCommandEncoder;
  await engine.sync(); // nothing waits that was begun without timestamps

  const stamps = () => {
    const at = dispatched.length % MOST;
    if (!at) {
      const set = device.createQuerySet({ type: "timestamp", count: 2 * MOST });
      const usage = QUERY_RESOLVE | COPY_SRC;
      sets.push({ set, buffer: device.createBuffer({ size: 16 * MOST, usage }) });
    }
    const querySet = sets[sets.length - 1].set;
    return { querySet, beginningOfPassWriteIndex: 2 * at, endOfPassWriteIndex: 2 * at + 1 };
  };

  device.createCommandEncoder = function () {
    const encoder = own.call(device);
    return /** @type {GPUCommandEncoder} */ (
      /** @type {unknown} */ ({
        copyBufferToBuffer: encoder.copyBufferToBuffer.bind(encoder),
        finish: () => encoder.finish(),
        beginComputePass() {
          /** @type {GPUComputePipeline | undefined} */
          let pipeline;
          /** @type {[number, GPUBindGroup, number[]?]} */
          let group;
          return {
            setPipeline: (/** @type {GPUComputePipeline} */ next) => (pipeline = next),
            setBindGroup: (/** @type {[number, GPUBindGroup, number[]?]} */ ...next) =>
              (group = next),
            dispatchWorkgroups(/** @type {[number, number?, number?]} */ ...groups) {
              const pass = encoder.beginComputePass({ timestampWrites: stamps() });
              const used = /** @type {GPUComputePipeline} */ (pipeline);
              pass.setPipeline(used);
              pass.setBindGroup(...group);
              pass.dispatchWorkgroups(...groups);
              pass.end();
              if (!pipelines.includes(used)) pipelines.push(used);
              dispatched.push(pipelines.indexOf(used));
            },
            end() {},
          };
        },
      })
    );
  };
  try {
    await work();
    await engine.sync();
  } finally {
    device.createCommandEncoder = own;
  }

  const encoder = device.createCommandEncoder();
  const staging = sets.map(({ set, buffer }, i) => {
    const count = 2 * Math.min(dispatched.length - i * MOST, MOST);
    const copy = device.createBuffer({ size: 16 * MOST, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(set, 0, count, buffer, 0);
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, 8 * count);
    return copy;
  });
  device.queue.submit([encoder.finish()]);
  /** @type {bigint[]} */
  const times = [];
  for (const [i, copy] of staging.entries()) {
    await copy.mapAsync(1);
    times.push(...new BigUint64Array(copy.getMappedRange()));
    for (const made of [copy, sets[i].buffer, sets[i].set]) made.destroy();
  }
  return dispatched.map((pipeline, i) => ({
    pipeline,
    milliseconds: Number(times[2 * i + 1] - times[2 * i]) / 1e6,
  }));
}
