// The player's entry: `load` an exported model, then predict, train and save it.
//
// This is the side that callers see: it checks and packs what they give, and passes it on to a
// Session (tabgrad/session.js), in a worker where there is one. tabgrad.d.ts documents the API.

import { pack, unpack } from "./tabgrad/arrays.js";
import { TabgradError, asTabgradError } from "./tabgrad/errors.js";
import { fetchModel, fetchParts } from "./tabgrad/files.js";
import { LocalLink, startWorker } from "./tabgrad/link.js";

export { TabgradError };

/**
 * @typedef {import("./tabgrad.d.ts").Model} PublicModel
 * @typedef {import("./tabgrad.d.ts").FitOptions} FitOptions
 * @typedef {import("./tabgrad/arrays.js").Packed} Packed
 * @typedef {import("./tabgrad/arrays.js").Spec} Spec
 * @typedef {import("./tabgrad/files.js").Training} Training
 * @typedef {{engine: string, warnings: string[], threads?: Int32Array}} State that may change
 */

const ENGINES = ["auto", "wasm", "webgpu", "webgl"];
// Operations of an entry below which a worker would take longer to start than a model to train.
const SMALL = 1e6;

/**
 * @param {URL | string} url
 * @param {import("./tabgrad.d.ts").LoadOptions} [options]
 * @returns {Promise<import("./tabgrad.d.ts").Model>}
 */
export async function load(url, { engine = "auto", worker, threads } = {}) {
  if (!ENGINES.includes(engine)) {
    throw option("engine", `one of ${ENGINES.join(", ")}`, engine);
  }
  if (threads !== undefined) whole("threads", threads, 1);
  const here = globalThis.document?.baseURI ?? globalThis.location?.href;
  const address = new URL(url, here ?? `file://${globalThis.process?.cwd()}/`);
  /** @type {Promise<Worker | null> | false | undefined} */
  let starting;
  // What the session runs in begins while the rest of the files comes.
  const begin = (/** @type {import("./tabgrad/files.js").Description} */ model) => {
    starting ??=
      (worker ?? model.entries.some(({ flops }) => !(flops < SMALL))) &&
      startWorker(new URL("./tabgrad/worker.js", import.meta.url));
    const next = starting ? import("./tabgrad/remote.js") : import("./tabgrad/session.js");
    next.catch(() => {});
    return starting ? threads : 1;
  };
  /** @type {State} */
  const state = { engine: "wasm", warnings: [] };
  try {
    const files = await fetchModel(address, engine, begin);
    state.threads = files.threads;
    const link = await connect(await starting, files, (now) => Object.assign(state, now));
    const { large: parts } = files;
    if (parts.length) await link.call("fill", { parts, base: address.href });
    return new Model(address, files.model, link, state);
  } catch (error) {
    if (starting) starting.then((started) => started?.terminate());
    throw error;
  }
}

/**
 * @param {Worker | null | false | undefined} worker
 * @param {import("./tabgrad/files.js").ModelFiles} files
 * @param {import("./tabgrad/relay.js").Notify} notify
 */
async function connect(worker, files, notify) {
  const missing = (/** @type {Error} */ { message }) => {
    throw new TabgradError("missing_file", message);
  };
  if (worker) {
    const { openRemote } = await import("./tabgrad/remote.js").catch(missing);
    return openRemote(worker, files, notify);
  }
  const { openSession } = await import("./tabgrad/session.js").catch(missing);
  return new LocalLink(
    await openSession(files, notify).catch((error) => {
      throw asTabgradError(error);
    }),
  );
}

/** @implements {PublicModel} */
class Model {
  #url;
  #link;
  #now;

  /**
   * @param {URL} url
   * @param {import("./tabgrad/files.js").Description} model
   * @param {import("./tabgrad/link.js").Link} link
   * @param {State} state
   */
  constructor(url, model, link, state) {
    this.#url = url;
    this.#link = link;
    this.#now = state;
    this.worker = link.worker;
    this.info = model;
    this.entries = model.entries.map(({ name, rows, inputs, outputs, state }) => ({
      name,
      rows,
      inputs,
      outputs,
      state: state.map(({ variable }) => variable),
    }));
  }

  get engine() {
    return /** @type {any} */ (this.#now.engine);
  }

  get warnings() {
    return this.#now.warnings;
  }

  get threads() {
    return this.#now.threads?.[0] ?? 1;
  }

  /**
   * @param {any} x
   * @param {{batchSize?: number}} [options]
   */
  async predict(x, { batchSize } = {}) {
    const names = this.info.predict;
    if (!names) throw unknownEntry("predict", this.entries);
    if (batchSize !== undefined) this.#batchSize("predict", batchSize);
    const columns = await this.#pack("predict", names.inputs, x, "the input");
    return this.#run("predict", columns, names.outputs, batchSize);
  }

  /**
   * @param {string} name
   * @param {any} [inputs]
   */
  async run(name, inputs) {
    const entry = this.#entry(name);
    if (!entry) throw unknownEntry(name, this.entries);
    const names = entry.inputs.map((/** @type {Spec} */ spec) => spec.name);
    const columns = names.length ? await this.#pack(name, names, inputs, "the inputs") : {};
    const outputs = entry.outputs.map((/** @type {Spec} */ spec) => spec.name);
    return this.#run(name, columns, outputs);
  }

  /**
   * @param {any} x
   * @param {any} y
   * @param {FitOptions} [options]
   */
  async fit(x, y, options = {}) {
    const training = this.#training();
    const {
      epochs = 1,
      initialEpoch = 0,
      batchSize = training.batch_size,
      shuffle = true,
      seed,
      validationSplit = 0,
      validationData,
      signal,
      onEpochEnd,
      onProgress,
    } = options;
    this.#batchSize("train_step", batchSize);
    whole("epochs", epochs, 1);
    whole("initialEpoch", initialEpoch, 0);
    if (seed !== undefined) whole("seed", seed, -Infinity);
    if (!(validationSplit >= 0 && validationSplit < 1)) {
      throw option("validationSplit", "a number from 0 up to but without 1", validationSplit);
    }
    if (validationData !== undefined && validationData?.length !== 2) {
      throw option("validationData", "[x, y]", validationData);
    }
    for (const [name, hook] of Object.entries({ onEpochEnd, onProgress })) {
      if (hook !== undefined && typeof hook !== "function") throw option(name, "a function", hook);
    }
    const [data, validation] = await Promise.all([
      this.#dataset("train_step", x, y),
      validationData ? this.#dataset("evaluate", validationData[0], validationData[1]) : null,
    ]);
    const request = {
      ...{ data, validation, validationSplit: validation ? 0 : validationSplit },
      ...{ batchSize, epochs, initialEpoch, shuffle, seed },
    };

    // What a hook throws ends the training like an abort and is what the caller gets.
    const abort = new AbortController();
    /** @type {{error: unknown} | null} */
    let thrown = null;
    const guarded = async (/** @type {() => unknown} */ hook) => {
      try {
        return (await hook()) !== false;
      } catch (error) {
        thrown ??= { error };
        abort.abort();
        return true;
      }
    };
    const follow = () => abort.abort();
    if (signal?.aborted) follow();
    signal?.addEventListener("abort", follow);
    try {
      return await this.#link.call("fit", request, {
        signal: abort.signal,
        epochEnd: onEpochEnd && ((epoch, logs) => guarded(() => onEpochEnd(epoch, logs))),
        progress: onProgress && ((progress) => void guarded(() => onProgress(progress))),
      });
    } catch (error) {
      throw thrown ? /** @type {any} */ (thrown).error : error;
    } finally {
      signal?.removeEventListener("abort", follow);
    }
  }

  /**
   * @param {any} x
   * @param {any} y
   * @param {{batchSize?: number}} [options]
   */
  async evaluate(x, y, { batchSize = this.#training().batch_size } = {}) {
    this.#batchSize("evaluate", batchSize);
    const data = await this.#dataset("evaluate", x, y);
    return this.#link.call("evaluate", { data, batchSize });
  }

  async weights() {
    return named(await this.#link.call("weights"));
  }

  saveWeights() {
    return this.#link.call("saveWeights");
  }

  /** @param {ArrayBuffer | ArrayBufferView} file */
  async loadWeights(file) {
    if (!(file instanceof ArrayBuffer || ArrayBuffer.isView(file))) {
      throw new TabgradError("dtype", `loadWeights needs the bytes of a file, received ${file}`);
    }
    const bytes =
      file instanceof ArrayBuffer
        ? new Uint8Array(file)
        : new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
    await this.#link.call("loadWeights", { file: bytes.slice().buffer });
  }

  async reset() {
    const { initial } = this.info;
    if (!initial) {
      throw new TabgradError("no_initial", "this model was exported without its initial weights");
    }
    await this.#link.call("reset", { files: await fetchParts(initial.files, this.#url) });
  }

  async data() {
    const { data } = this.info;
    if (!data) {
      throw new TabgradError("no_data", "this model was exported without a dataset");
    }
    const files = await fetchParts([data], this.#url);
    const arrays = await named(await this.#link.call("read", { files }));
    const [x, y, xTest, yTest] = [data.x, data.y, data.x_test, data.y_test].map(
      (/** @type {string[]} */ names) => {
        const found = names.map((name) => arrays[name]);
        return found.length > 1 ? found : found[0];
      },
    );
    return { x, y, xTest, yTest };
  }

  /** @param {{engines?: string[]}} [options] */
  async verify({ engines } = {}) {
    if (!this.info.verify) {
      throw new TabgradError("no_verification", "this model was exported without verify=True");
    }
    const { verify } = await import("./tabgrad/verify.js");
    return verify(this.info, this.#url, engines);
  }

  dispose() {
    this.#link.close();
  }

  /** @returns {Training} */
  #training() {
    const { training, title } = this.info;
    if (training) return training;
    throw new TabgradError(
      "not_trainable",
      `"${title}" was exported without its training step; call compile() before tg.export()`,
    );
  }

  /**
   * @param {string} name
   * @returns {any} the first entry of the name, if there is one
   */
  #entry(name) {
    return this.entries.find((entry) => entry.name === name);
  }

  /**
   * @param {string} name
   * @param {number} batchSize
   */
  #batchSize(name, batchSize) {
    const sizes = this.entries.filter((entry) => entry.name === name).map(({ rows }) => rows);
    if (!sizes.includes(batchSize)) {
      throw new TabgradError(
        "batch_size",
        `batchSize ${batchSize} is not in this export, which has ${sizes.join(", ")}; ` +
          "tg.export(..., batch_sizes=[...]) chooses them",
      );
    }
  }

  /**
   * A caller's value for several inputs, by name.
   * @param {string} entry
   * @param {string[]} names
   * @param {any} value one value, or an array or an object by name where there are several
   * @param {string} what for messages
   * @returns {Promise<Record<string, Packed>>}
   */
  async #pack(entry, names, value, what) {
    const specs = this.#entry(entry).inputs;
    const values = spread(names, value, what);
    const spec = (/** @type {string} */ name) =>
      specs.find((/** @type {Spec} */ each) => each.name === name);
    const packed = await Promise.all(names.map((name, i) => pack(values[i], spec(name))));
    return Object.fromEntries(names.map((name, i) => [name, packed[i]]));
  }

  /**
   * @param {string} entry
   * @param {any} x
   * @param {any} y
   */
  async #dataset(entry, x, y) {
    const { inputs, targets } = this.#training();
    const [given, wanted] = await Promise.all([
      this.#pack(entry, inputs, x, "x"),
      this.#pack(entry, targets, y, "y"),
    ]);
    const columns = { ...given, ...wanted };
    return { columns, rows: rowsOf(columns, this.#entry(entry).inputs) };
  }

  /**
   * One result, or several by name (in an array where the names are 0, 1, 2, ...).
   * @param {string} name
   * @param {Record<string, Packed>} inputs
   * @param {string[]} outputs
   * @param {number} [batchSize]
   */
  async #run(name, inputs, outputs, batchSize) {
    const entry = this.#entry(name);
    const request = { name, inputs, rows: rowsOf(inputs, entry.inputs), batchSize };
    const packed = await this.#link.call("run", request);
    const results = await Promise.all(
      outputs.map((output) => {
        const { dtype } = entry.outputs.find((/** @type {Spec} */ spec) => spec.name === output);
        return unpack(packed[output], dtype);
      }),
    );
    if (outputs.length === 1) return results[0];
    if (outputs.every((output, i) => output === String(i))) return results;
    return Object.fromEntries(outputs.map((output, i) => [output, results[i]]));
  }
}

/**
 * What a Session hands over, as results.
 * @param {Record<string, Packed & {dtype: string}>} arrays
 */
async function named(arrays) {
  const results = Object.entries(arrays).map(async ([name, packed]) => [
    name,
    await unpack(packed, packed.dtype),
  ]);
  return Object.fromEntries(await Promise.all(results));
}

/**
 * Values in the order of names.
 * @param {string[]} names
 * @param {any} value
 * @param {string} what
 * @returns {any[]}
 */
function spread(names, value, what) {
  const isTensor = value?.shape && value.data;
  const isPlain = typeof value === "object" && !Array.isArray(value) && !ArrayBuffer.isView(value);
  if (value !== null && isPlain && !isTensor) {
    const missing = names.filter((name) => value[name] === undefined);
    if (missing.length) {
      throw new TabgradError("inputs", `${what}: ${missing.join(", ")} missing from the object`);
    }
    return names.map((name) => value[name]);
  }
  if (names.length === 1) return [value];
  if (Array.isArray(value) && value.length === names.length) return value;
  throw new TabgradError(
    "inputs",
    `${what}: expected ${names.length} values, as an array or an object with ${names.join(", ")}`,
  );
}

/**
 * The number of rows, which all inputs with rows share.
 * @param {Record<string, Packed>} columns
 * @param {Spec[]} specs
 */
function rowsOf(columns, specs) {
  const counts = specs
    .filter((spec) => spec.rows)
    .map(({ name }) => [name, columns[name].shape[0]]);
  const different = counts.find(([, count]) => count !== counts[0][1]);
  if (different) {
    throw new TabgradError(
      "shape",
      `"${counts[0][0]}" has ${counts[0][1]} rows, "${different[0]}" has ${different[1]}`,
    );
  }
  return counts.length ? Number(counts[0][1]) : 0;
}

/**
 * @param {string} name
 * @param {{name: string}[]} entries
 */
function unknownEntry(name, entries) {
  const names = [...new Set(entries.map((entry) => entry.name))].join(", ");
  return new TabgradError("entry", `this model has no entry "${name}"; it has ${names}`);
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {unknown} received
 */
function option(name, expected, received) {
  return new TabgradError("option", `${name}: expected ${expected}, received ${received}`);
}

/**
 * @param {string} name
 * @param {number} value
 * @param {number} least
 */
function whole(name, value, least) {
  if (!Number.isSafeInteger(value) || value < least) {
    const limit = least > -Infinity ? ` of at least ${least}` : "";
    throw option(name, `a whole number${limit}`, value);
  }
}
