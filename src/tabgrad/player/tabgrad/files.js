// Fetching an exported model: model.json, the kernels this browser can run, the weights. It
// checks what arrives, so that a missing, truncated or newer file is one clear error.

import { TabgradError } from "./errors.js";
import { features } from "./features.js";
import { fetchBytes, twice, wrongSize } from "./fetching.js";

const MODEL_SCHEMA = 1;
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
 * @property {Record<string, (Part & {features: string[], hash?: string})[]>} programs by engine
 * @property {Entry[]} entries
 * @property {{inputs: string[], outputs: string[]} | null} predict
 * @property {Training | null} training
 * @property {any} task
 * @property {any} data
 * @property {Part} [verify] what verify.js reads
 *
 * @typedef {object} ModelFiles
 * @property {Description} model
 * @property {WebAssembly.Module} [module] kernels for WebAssembly, where they are needed at once
 * @property {{file: string, data: ArrayBuffer}[]} weights
 * @property {Part[]} large files of weights that are yet to be read, by stream.js
 * @property {import("./threads.js").Threads} [threads] where there may be several
 * @property {string} engine as LoadOptions has it
 * @property {string} url of model.json
 * @property {number} [most] threads
 */

/**
 * @param {URL} url of model.json
 * @param {string} engine
 * @param {(model: Description) => number | undefined} begin told what comes, says how many threads
 *   there may be
 * @returns {Promise<ModelFiles>}
 */
export function fetchModel(url, engine, begin) {
  return twice((cache) => fetchAll(url, engine, begin, cache));
}

/**
 * @param {URL} url of model.json
 * @param {string} engine
 * @param {(model: Description) => number | undefined} begin
 * @param {RequestCache} cache
 * @returns {Promise<ModelFiles>}
 */
async function fetchAll(url, engine, begin, cache) {
  const model = describe(new TextDecoder().decode(await fetchBytes(url, cache)), url);
  const kind = engine === "auto" ? "wasm" : engine;
  const found = fitting(model, kind);
  // Engines of GPUs fetch their own, once they know the device.
  const program = kind === "wasm" && found;
  const most = begin(model);
  // Kernels are compiled while weights are still on their way.
  const compiled = async () => {
    if (!program) return {};
    const [kernels, own] = await Promise.all([fetchPart(program, url, cache), sharing(most)]);
    const threads = own?.prepare(model, kernels, most);
    return { threads, module: await compileKernels(program, kernels) };
  };
  const [{ threads, module }, weights] = await Promise.all([
    compiled(),
    fetchParts(model.weights.filter(isSmall), url, cache),
  ]);
  const large = model.weights.filter((part) => !isSmall(part));
  return { model, module, weights, large, threads, engine, url: url.href, most };
}

/**
 * What prepares threads, where there may be several.
 * @param {number} [most]
 */
export async function sharing(most) {
  // Other pages have no memory that threads could share.
  if (!globalThis.crossOriginIsolated || most === 1) return null;
  return import("./threads.js").catch(() => null);
}

/**
 * The kernels for a device.
 * @param {Description} model
 * @param {string} kind
 * @param {Set<string>} [usable] features
 */
export function fitting({ programs, deterministic, title }, kind, usable) {
  usable ??= deterministic ? new Set() : features();
  const found = programs[kind]?.find((each) => each.features.every((f) => usable.has(f)));
  if (found) return found;
  throw new TabgradError(
    "unsupported",
    `no kernels of "${title}" for ${kind} run here; try tg.export(..., engines=["${kind}"])`,
  );
}

/**
 * @param {Part} part
 * @param {ArrayBuffer} kernels
 */
export function compileKernels({ file }, kernels) {
  // From bytes, not streaming: then the server's media type for .wasm does not matter.
  return WebAssembly.compile(kernels).catch((error) => {
    throw new TabgradError(
      "compile",
      `the browser refused ${file}: ${error.message}. It needs WebAssembly SIMD, and ` +
        "'wasm-unsafe-eval' in script-src where the page has a Content-Security-Policy",
      { cause: error },
    );
  });
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
  if (model.schema !== MODEL_SCHEMA) {
    throw new TabgradError(
      "version",
      `${url} has schema ${model.schema}, this player reads ${MODEL_SCHEMA}; take tabgrad.js and the ` +
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
export async function fetchPart(part, base, cache) {
  const data = await fetchBytes(new URL(part.file, base), cache);
  if (data.byteLength !== part.nbytes) throw wrongSize(part, data.byteLength);
  return data;
}
