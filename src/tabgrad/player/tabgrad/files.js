// Fetching an exported model: model.json, the kernels this browser can run, the weights. It
// checks what arrives, so that a missing, truncated or newer file is one clear error.

import { TabgradError } from "./errors.js";
import { features } from "./features.js";
import { fetchBytes, twice, wrongSize } from "./fetching.js";

const SCHEMA = 1;
// What is larger is not to be in memory twice.
const LARGE = 4e6;
const isSmall = (/** @type {Part} */ { nbytes }) => nbytes < LARGE;

/**
 * @typedef {import("./arrays.js").Spec} Spec
 *
 * @typedef {object} Entry
 * @property {string} name
 * @property {number} index its position in the Program
 * @property {number | null} rows the batch size, null where there is no batch
 * @property {boolean} exact whether only whole batches are legal
 * @property {Spec[]} inputs
 * @property {{variable: string, update: boolean}[]} state
 * @property {Spec[]} outputs
 * @property {Uint8Array[]} constants
 * @property {number} arena
 * @property {number} scratch
 * @property {number} derived
 * @property {number} flops
 *
 * @typedef {object} Variable
 * @property {string} name
 * @property {number[]} shape
 * @property {string} dtype
 * @property {boolean} trainable
 * @property {"weight" | "optimizer" | "metric" | "random" | "constant"} role
 * @property {boolean} zero starts as zeros, so it is in no file
 *
 * @typedef {object} Training
 * @property {string} loss
 * @property {string} optimizer
 * @property {number} seed
 * @property {number} [epochs] how many were trained before the export
 * @property {number} batch_size
 * @property {string[]} inputs
 * @property {string[]} targets
 * @property {{name: string, total: string, count: string}[]} metrics
 *
 * @typedef {{file: string, nbytes: number}} Part
 *
 * @typedef {object} Description model.json
 * @property {string} name
 * @property {string} title
 * @property {boolean} deterministic
 * @property {Variable[]} variables
 * @property {Part[]} weights
 * @property {{files: Part[], zeros: string[]} | null} [initial]
 * @property {{wasm: (Part & {features: string[]})[]}} programs
 * @property {Entry[]} entries
 * @property {{inputs: string[], outputs: string[]} | null} predict
 * @property {Training | null} training
 * @property {any} task
 * @property {any} data
 *
 * @typedef {object} ModelFiles
 * @property {Description} model
 * @property {WebAssembly.Module} module
 * @property {{file: string, data: ArrayBuffer}[]} weights
 * @property {Part[]} large files of weights that are yet to be read, by stream.js
 * @property {import("./threads.js").Threads} [threads] where there may be several
 */

/**
 * @param {URL} url of model.json
 * @param {(model: Description) => number | undefined} begin told what comes, says how many threads
 *   there may be
 * @returns {Promise<ModelFiles>}
 */
export function fetchModel(url, begin) {
  return twice((cache) => fetchAll(url, begin, cache));
}

/**
 * @param {URL} url of model.json
 * @param {(model: Description) => number | undefined} begin
 * @param {RequestCache} cache
 * @returns {Promise<ModelFiles>}
 */
async function fetchAll(url, begin, cache) {
  const model = describe(new TextDecoder().decode(await fetchBytes(url, cache)), url);
  const usable = model.deterministic ? new Set() : features();
  const program = model.programs.wasm.find((each) => each.features.every((f) => usable.has(f)));
  if (!program) {
    throw new TabgradError("unsupported", `no kernels of "${model.title}" run in this browser`);
  }
  const most = begin(model);
  const [kernels, weights, own] = await Promise.all([
    fetchPart(program, url, cache),
    fetchParts(model.weights.filter(isSmall), url, cache),
    // Other pages have no memory that threads could share.
    globalThis.crossOriginIsolated && most !== 1 ? import("./threads.js").catch(() => null) : null,
  ]);
  const threads = own?.prepare(model, kernels, most);
  // From bytes, not streaming: then the server's media type for .wasm does not matter.
  const module = await WebAssembly.compile(kernels).catch((error) => {
    throw new TabgradError(
      "compile",
      `the browser refused ${program.file}: ${error.message}. It needs WebAssembly SIMD, and ` +
        "'wasm-unsafe-eval' in script-src where the page has a Content-Security-Policy",
      { cause: error },
    );
  });
  const large = model.weights.filter((part) => !isSmall(part));
  return { model, module, weights, large, threads };
}

/**
 * @param {Part[]} parts
 * @param {URL} url of model.json
 * @param {RequestCache} [cache]
 */
export function fetchParts(parts, url, cache = "no-cache") {
  return Promise.all(
    parts.map(async (part) => ({ file: part.file, data: await fetchPart(part, url, cache) })),
  );
}

/**
 * @param {string} text
 * @param {URL} url
 * @returns {Description}
 */
function describe(text, url) {
  let model;
  try {
    model = JSON.parse(text);
  } catch (error) {
    throw new TabgradError("corrupt", `${url} is not JSON: ${error}`, { cause: error });
  }
  if (model?.format !== "tabgrad-model") {
    throw new TabgradError("corrupt", `${url} is not a model exported by tabgrad`);
  }
  if (model.schema !== SCHEMA) {
    throw new TabgradError(
      "version",
      `${url} has schema ${model.schema}, this player reads ${SCHEMA}; take tabgrad.js and the ` +
        "folder tabgrad/ from the same export as the model",
    );
  }
  model.entries.forEach((/** @type {any} */ entry, /** @type {number} */ index) => {
    entry.index = index;
    entry.constants = entry.constants.map((/** @type {{data: string}} */ { data }) =>
      Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)),
    );
  });
  return model;
}

/**
 * @param {Part} part
 * @param {URL} base
 * @param {RequestCache} cache
 */
async function fetchPart(part, base, cache) {
  const data = await fetchBytes(new URL(part.file, base), cache);
  if (data.byteLength !== part.nbytes) throw wrongSize(part, data.byteLength);
  return data;
}
