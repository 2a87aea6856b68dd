// float16 as it is on WebGPU, two elements in a word, where a device has the feature shader-f16. The
// GPU copies whole words, so parts of words are put together by a kernel. Loaded only for models that
// have float16.
//
// Not here: float16 in words of float32 (words.js), and how Programs compute with it (targets/wgsl/).

import { TabgradError } from "./errors.js";

const GROUPS = 256;
const CODE = `
@group(0) @binding(0) var<uniform> frame: vec4<u32>; // 0, elements of a row, first and number of them
@group(0) @binding(2) var<storage, read> source: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;
fn element(i: u32) -> u32 {
  let at = rows[i / frame.y] * frame.y + i % frame.y;
  return (source[at / 2u] >> (16u * (at % 2u))) & 0xffffu;
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let end = frame.z + frame.w;
  for (var word = frame.z / 2u + id.x; word * 2u < end; word += ${64 * GROUPS}u) {
    var bits = result[word];
    for (var lane = 0u; lane < 2u; lane++) {
      let i = word * 2u + lane;
      let by = 16u * lane;
      if (i >= frame.z && i < end) {
        bits = (bits & ~(0xffffu << by)) | (element(i - frame.z) << by);
      }
    }
    result[word] = bits;
  }
}`;
const KERNEL = { code: CODE, writes: [false, false, true], turns: false };
const LAUNCH = { kernel: 0, buffers: [0, 1, 4], groups: [GROUPS, 1] };
const PLAN = { words: 4, temps: [], constants: [], scalars: [2, 3], launches: [LAUNCH] };
const ENTRY = {
  inputs: [{}, {}, { scalar: true }, { scalar: true }],
  state: [{ variable: "", update: true }],
  outputs: [],
  constants: [],
};

/**
 * @typedef {import("./webgpu.js").WebGpuEngine} WebGpuEngine
 * @typedef {(engine: WebGpuEngine) => Halves} Make
 */

/** @type {Make} */
export const halves = (engine) => new Halves(engine);

export class Halves {
  #engine;
  /** @type {import("./webgpu.js").Loaded | undefined} */
  #loaded;

  /** @param {WebGpuEngine} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /**
   * Refuses Programs that keep float16 in words.
   * @param {{halves?: boolean, kernels: {code: string}[]}} document
   */
  check({ halves, kernels }) {
    if (!halves || kernels.some(({ code }) => code.startsWith("enable f16;"))) return;
    throw new TabgradError(
      "features",
      "expected a Program that keeps float16 in 16 bits (feature shader-f16), as this engine does; " +
        "received one that keeps it in 32. Open the engine without `halves`",
    );
  }

  /**
   * Writes elements of which the first or the last shares a word with others.
   * @param {number} handle
   * @param {Uint8Array} bytes
   * @param {number} offset
   */
  write(handle, bytes, offset) {
    const engine = this.#engine;
    const source = engine.alloc(bytes.length);
    engine.write(source, bytes);
    this.#put(handle, source, bytes.length, [0], offset);
    engine.free(source);
  }

  /**
   * Copies rows of an odd number of elements.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    this.#put(dst, src, rowBytes, indices, 0);
  }

  /**
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   * @param {number} offset
   */
  #put(dst, src, rowBytes, indices, offset) {
    const engine = this.#engine;
    this.#loaded ??= engine.loadNow(program());
    const rows = engine.alloc(4 * indices.length);
    engine.write(rows, Uint32Array.from(indices));
    const count = (indices.length * rowBytes) / 2;
    engine.run(this.#loaded, 0, [src, rows, offset / 2, count, dst], rowBytes / 2);
    engine.free(rows);
  }
}

/** @returns {any} */
const program = () => ({
  entries: [ENTRY],
  module: new TextEncoder().encode(JSON.stringify({ kernels: [KERNEL], entries: [PLAN] })),
});
