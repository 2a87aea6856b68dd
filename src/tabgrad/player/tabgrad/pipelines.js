// WebGPU's pipelines: compiled beside the page, once for equal shaders, with few explicit layouts.

import { refused } from "./plans.js";

const COMPUTE = 4; // the stage of a shader

/**
 * @typedef {object} Pipeline
 * @property {string} key what is equal in equal kernels
 * @property {number} users
 * @property {GPUBindGroupLayout} layout
 * @property {boolean} turns whether it binds them
 * @property {GPUComputePipeline} [pipeline]
 * @property {Promise<void>} [ready]
 * @property {import("./fates.js").Fate | null} fate
 *
 * @typedef {{code: string, writes: boolean[], turns: boolean}} Kernel
 */

export class Pipelines {
  /** @type {Map<string, GPUBindGroupLayout>} */
  #layouts = new Map();
  /** @type {Map<string, Pipeline>} */
  #pipelines = new Map();

  /**
   * @param {import("./fates.js").Fates} fates
   * @param {{pipelines: number}} counts
   */
  constructor(fates, counts) {
    this.fates = fates;
    this.counts = counts;
  }

  /**
   * @param {Kernel} kernel
   * @param {boolean} later whether it may come later
   * @returns {Pipeline}
   */
  get({ code, writes, turns }, later) {
    const key = `${turns} ${writes} ${code}`;
    const known = this.#pipelines.get(key);
    if (known && (later || known.pipeline)) return known;
    const { device } = this.fates;
    const layout = this.#layout(writes, turns);
    const created = device.createPipelineLayout({ bindGroupLayouts: [layout] });
    /** @type {Pipeline} */
    const made = known ?? { key, users: 0, layout, turns, fate: null };
    this.#pipelines.set(key, made);
    this.counts.pipelines++;
    device.pushErrorScope("validation");
    const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
    if (!later) made.pipeline = device.createComputePipeline({ layout: created, compute });
    made.fate = this.fates.close([], ({ message }) => refused(message, code));
    if (later) {
      const pending = device.createComputePipelineAsync({ layout: created, compute });
      made.ready = pending.then(
        (pipeline) => {
          made.pipeline ??= pipeline;
        },
        async ({ message }) => {
          await made.fate?.settled;
          throw made.fate?.error ?? refused(message, code);
        },
      );
      made.ready.catch(() => {}); // whoever loads waits for it
    }
    return made;
  }

  /**
   * Forgets a pipeline, should the Program that goes be the last that uses it.
   * @param {Pipeline} pipeline
   */
  leave(pipeline) {
    if (!--pipeline.users) this.#pipelines.delete(pipeline.key);
  }

  clear() {
    this.#pipelines.clear();
  }

  /**
   * @param {boolean[]} writes
   * @param {boolean} turns
   */
  #layout(writes, turns) {
    const key = `${turns} ${writes}`;
    let layout = this.#layouts.get(key);
    if (layout) return layout;
    /** @type {GPUBufferBindingLayout[]} */
    const uniforms = [
      { type: "uniform" },
      { type: "uniform", hasDynamicOffset: true, minBindingSize: 16 },
    ];
    const entries = [
      ...uniforms.slice(0, turns ? 2 : 1).map((buffer, binding) => ({ binding, buffer })),
      ...writes.map((write, i) => {
        /** @type {GPUBufferBindingType} */
        const type = write ? "storage" : "read-only-storage";
        return { binding: i + 2, buffer: { type } };
      }),
    ].map((entry) => ({ ...entry, visibility: COMPUTE }));
    layout = this.fates.device.createBindGroupLayout({ entries });
    this.#layouts.set(key, layout);
    return layout;
  }
}
