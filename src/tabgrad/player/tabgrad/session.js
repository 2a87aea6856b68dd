// A model on an engine: its variables, its Program and what can be asked of them. It runs in the
// worker, or on the page's own thread where workers fail.
//
// It deals in packed data that has been checked already; tabgrad.js does that, and knows the
// worker. The training loop is in training.js.

import { byteSize, bytesOf, fromBytes } from "./dtypes.js";
import { TabgradError } from "./errors.js";
import { readSafetensors } from "./safetensors.js";
import { evaluate, fit } from "./training.js";
import { Lock, Turn, settled } from "./turns.js";
import { WasmEngine } from "./wasm.js";

/**
 * @typedef {import("./arrays.js").Packed} Packed
 * @typedef {import("./files.js").ModelFiles} ModelFiles
 * @typedef {import("./files.js").Entry} Entry
 * @typedef {{spec: import("./files.js").Variable, handle: number, nbytes: number}} Stored
 * @typedef {Map<Stored, Uint8Array>} Snapshot
 *
 * @typedef {object} Hooks how a running call talks with its caller
 * @property {AbortSignal} signal
 * @property {(epoch: number, logs: Record<string, number>) => Promise<boolean>} [epochEnd]
 *   answers whether to go on
 * @property {(progress: import("../tabgrad.d.ts").Progress) => void} [progress]
 */

/**
 * A session on the engine that was asked for.
 * @param {ModelFiles} files
 * @param {import("./relay.js").Notify} notify
 */
export async function openSession(files, notify) {
  // What replaces engines is only for models that may run on others.
  const one = files.engine === "wasm" || Object.keys(files.model.programs).length < 2;
  const open = one ? openWasm : (await import("./relay.js")).openRelay;
  return new Session(files, await open(files, notify, openWasm));
}

/** @param {ModelFiles} files */
function openWasm({ model: { entries }, module, threads }) {
  const engine = new WasmEngine(!!threads);
  const loaded = engine.load({ entries, module: /** @type {WebAssembly.Module} */ (module) });
  if (threads) {
    import("./threads.js").then(
      (own) => own.attach(engine, loaded, /** @type {any} */ (module), entries, threads),
      () => {},
    );
  }
  return { engine, loaded };
}

export class Session {
  lock = new Lock();
  training = false;
  /** @type {Map<string, Stored>} */
  #variables = new Map();
  /** @type {Set<Stored>} what still waits for its first value */
  empty = new Set();
  #loaded;
  /** @type {Snapshot | undefined} of the last run, whose memory the next one uses */
  #before;

  /**
   * @param {ModelFiles} files
   * @param {{engine: any, loaded?: any}} opened
   */
  constructor({ model, weights, large }, { engine, loaded }) {
    this.model = model;
    // Behind the present weights. A fit without a seed goes on with the orders from there.
    this.epochsDone = model.training?.epochs ?? 0;
    /** @type {any} a WasmEngine, or a Relay around that or another */
    this.engine = engine;
    this.#loaded = loaded;
    for (const spec of model.variables) {
      const nbytes = byteSize(spec);
      const variable = { spec, handle: engine.alloc(nbytes, spec.dtype), nbytes };
      this.#variables.set(spec.name, variable);
      if (spec.zero) this.zero(variable);
      else this.empty.add(variable);
    }
    this.#load(weights, large.length ? [] : [...this.empty], [...this.empty]);
  }

  // What callers ask for. Names and arguments are those of the worker's messages.

  /**
   * @param {{
   *   name: string, inputs: Record<string, Packed>, rows: number, batchSize?: number,
   * }} request
   */
  run({ name, inputs, rows, batchSize }) {
    const entries = this.entries(name).filter((each) => !batchSize || each.rows === batchSize);
    const updates = entries[0].state.some(({ update }) => update);
    if (updates) this.#refuseWhileTraining(`run("${name}") changes variables`);
    return this.lock.hold(async () => {
      // Rows can be split over calls when a call leaves nothing behind and answers row by row.
      const { rows: batch, outputs } = entries[0];
      if (batch && !updates && outputs.every((output) => output.rows)) {
        return this.#inChunks(entries, inputs, rows);
      }
      const fits = (/** @type {Entry} */ each) =>
        each.exact ? each.rows === rows : Number(each.rows) >= rows;
      const entry = batch ? entries.find(fits) : entries[0];
      if (!entry) throw wrongRows(entries, rows);
      const before = (this.#before = await this.snapshot(entries, this.#before));
      /** @type {Record<string, Packed>} */
      const results = {};
      try {
        await this.#runRows(entry, inputs, 0, rows, rows, results);
      } catch (error) {
        this.restore(before);
        throw error;
      }
      return results;
    });
  }

  /**
   * @param {import("./training.js").FitRequest} request
   * @param {Hooks} hooks
   */
  async fit(request, hooks) {
    this.#refuseWhileTraining("fit");
    this.training = true;
    try {
      const before = await this.lock.hold(() => this.snapshot(this.entries("train_step")));
      const { epochsDone } = this;
      try {
        return await fit(this, request, hooks);
      } catch (error) {
        await this.lock.hold(() => this.restore(before));
        this.epochsDone = epochsDone;
        throw error;
      }
    } finally {
      this.training = false;
    }
  }

  /** @param {import("./training.js").EvaluateRequest} request */
  evaluate(request) {
    return this.lock.hold(() => evaluate(this, request));
  }

  weights() {
    return this.lock.hold(() => this.#weights());
  }

  async saveWeights() {
    const { writeSafetensors } = await import("./save.js");
    return this.lock.hold(async () => writeSafetensors(Object.entries(await this.#weights())));
  }

  /**
   * Reads the weights that were too large to be handed over.
   * @param {{parts: import("./files.js").Part[], base: string}} request
   */
  async fill(request) {
    const { fill } = await import("./stream.js");
    await fill(this, request);
  }

  /** @param {{file: ArrayBuffer}} request */
  loadWeights({ file }) {
    this.#refuseWhileTraining("loadWeights");
    return this.lock.hold(() => {
      this.#load([{ file: "the file", data: file }], this.#withRole("weight"), this.#all());
    });
  }

  /** @param {{files: {file: string, data: ArrayBuffer}[]}} request */
  reset({ files }) {
    this.#refuseWhileTraining("reset");
    return this.lock.hold(() => {
      this.#load(files, [], this.#all());
      for (const name of this.model.initial?.zeros ?? []) this.zero(this.variable(name));
      this.epochsDone = 0;
    });
  }

  /**
   * The arrays in safetensors files.
   * @param {{files: {file: string, data: ArrayBuffer}[]}} request
   */
  read({ files }) {
    /** @type {Record<string, Packed & {dtype: string}>} */
    const arrays = {};
    for (const { file, data } of files) {
      for (const [name, { dtype, shape, bytes }] of readSafetensors(data, file)) {
        arrays[name] = { data: fromBytes(dtype, bytes.slice()), shape, dtype };
      }
    }
    return arrays;
  }

  // What training.js and stream.js build on.

  /**
   * The entries of one name, smallest batch first.
   * @param {string} name
   */
  entries(name) {
    return this.model.entries
      .filter((entry) => entry.name === name)
      .sort((a, b) => Number(a.rows) - Number(b.rows));
  }

  /** @param {string} name */
  variable(name) {
    return /** @type {Stored} */ (this.#variables.get(name));
  }

  /** @param {Stored} variable */
  zero({ handle, nbytes }) {
    this.engine.write(handle, new Uint8Array(nbytes));
  }

  /**
   * A copy of a variable, a promise of it where the engine has to be waited for.
   * @param {Stored} variable
   * @param {Uint8Array} [into] memory that the copy may be in
   * @returns {Uint8Array | Promise<Uint8Array>}
   */
  bytes({ handle, nbytes }, into) {
    return this.engine.read(handle, nbytes, 0, into);
  }

  /**
   * Copies of what the entries change.
   * @param {Entry[]} entries
   * @param {Snapshot} [old] that nobody needs any more
   * @returns {Snapshot | Promise<Snapshot>}
   */
  snapshot(entries, old) {
    const changed = entries.flatMap(({ state }) =>
      state.flatMap(({ update, variable }) => (update ? this.variable(variable) : [])),
    );
    const variables = [...new Set(changed)];
    return settled(
      variables.map((variable) => this.bytes(variable, old?.get(variable))),
      (bytes) => new Map(variables.map((variable, i) => [variable, bytes[i]])),
    );
  }

  /** @param {Snapshot} snapshot */
  restore(snapshot) {
    for (const [{ handle }, bytes] of snapshot) this.engine.write(handle, bytes);
  }

  /**
   * What to take of what files hold.
   * @param {string} where the files' names
   * @param {Map<string, {dtype: string, shape: number[]}>} found
   * @param {Stored[]} required
   * @param {Stored[]} optional
   */
  choose(where, found, required, optional) {
    const present = optional.filter(({ spec }) => found.has(spec.name));
    const chosen = new Set([...required, ...present]);
    const describe = (/** @type {{dtype: string, shape: number[]} | undefined} */ array) =>
      array ? `${array.dtype} [${array.shape}]` : "missing";
    for (const { spec } of chosen) {
      const [have, need] = [describe(found.get(spec.name)), describe(spec)];
      if (have !== need) {
        const message = `${where}: "${spec.name}" is ${have}, the model needs ${need}`;
        throw new TabgradError("weights", message);
      }
    }
    return chosen;
  }

  /**
   * Buffers for one entry's inputs and outputs, and the words to run it with.
   * @param {Entry} entry
   */
  bind(entry) {
    const { engine } = this;
    /** @type {number[]} */
    const handles = [];
    const free = () => handles.forEach((handle) => engine.free(handle));
    const alloc = (/** @type {import("./arrays.js").Spec} */ spec) => {
      if (spec.scalar) return 0;
      handles.push(engine.alloc(byteSize(spec), spec.dtype));
      return handles[handles.length - 1];
    };
    try {
      const inputs = entry.inputs.map(alloc);
      const outputs = entry.outputs.map(alloc);
      const state = entry.state.map(({ variable }) => this.variable(variable).handle);
      const args = Uint32Array.from([...inputs, ...state, ...outputs]);
      const run = (/** @type {number} */ rows) => engine.run(this.#loaded, entry.index, args, rows);
      return { args, inputs, outputs, run, free };
    } catch (error) {
      free();
      throw error;
    }
  }

  // Inside.

  /**
   * Runs a function of rows over any number of them.
   * @param {Entry[]} entries of one name, smallest batch first
   * @param {Record<string, Packed>} inputs
   * @param {number} rows
   */
  async #inChunks(entries, inputs, rows) {
    /** @type {Record<string, Packed>} */
    const results = {};
    const turn = new Turn();
    for (let done = 0; done < rows; ) {
      const entry = chooseEntry(entries, rows - done);
      if (!entry) throw wrongRows(entries, rows);
      const count = Math.min(Number(entry.rows), rows - done);
      await this.#runRows(entry, inputs, done, count, rows, results);
      done += count;
      if (turn.over) await turn.pause();
    }
    return results;
  }

  /**
   * Runs an entry on rows [start, start + count) and puts its outputs into results.
   * @param {Entry} entry
   * @param {Record<string, Packed>} inputs
   * @param {number} start
   * @param {number} count
   * @param {number} total
   * @param {Record<string, Packed>} results
   */
  async #runRows(entry, inputs, start, count, total, results) {
    const { engine } = this;
    const bound = this.bind(entry);
    try {
      entry.inputs.forEach((spec, i) => {
        const bytes = bytesOf(inputs[spec.name].data);
        if (spec.scalar) {
          bound.args[i] = new Uint32Array(bytes.slice().buffer)[0];
        } else if (spec.rows) {
          const row = bytes.length / total;
          engine.write(bound.inputs[i], bytes.subarray(start * row, (start + count) * row));
          // A real row fills the batch, so padding can make no NaN.
          const last = bytes.subarray((start + count - 1) * row, (start + count) * row);
          for (let r = count; r < Number(entry.rows); r++) {
            engine.write(bound.inputs[i], last, r * row);
          }
        } else {
          engine.write(bound.inputs[i], bytes);
        }
      });
      bound.run(count);
      const outputs = entry.outputs.map((spec, i) => {
        const { name, dtype, rows } = spec;
        const shape = rows ? [total, ...spec.shape.slice(1)] : spec.shape;
        const nbytes = byteSize({ shape, dtype });
        results[name] ??= { data: fromBytes(dtype, new Uint8Array(nbytes)), shape };
        const [row, first, many] = rows ? [nbytes / total, start, count] : [nbytes, 0, 1];
        const read = engine.read(bound.outputs[i], many * row);
        return { into: bytesOf(results[name].data), read, at: first * row };
      });
      for (const { into, read, at } of outputs) into.set(await read, at);
    } finally {
      bound.free();
    }
  }

  /** @param {string} what */
  #refuseWhileTraining(what) {
    if (this.training) {
      throw new TabgradError("busy", `${what}: the model is being trained; wait for fit to end`);
    }
  }

  #all() {
    return [...this.#variables.values()];
  }

  /** @param {string} role */
  #withRole(role) {
    return this.#all().filter(({ spec }) => spec.role === role);
  }

  async #weights() {
    /** @type {Record<string, Packed & {dtype: string}>} */
    const weights = {};
    for (const variable of this.#withRole("weight")) {
      const { name, shape, dtype } = variable.spec;
      weights[name] = { data: fromBytes(dtype, await this.bytes(variable)), shape, dtype };
    }
    return weights;
  }

  /**
   * Reads variables from files, all or none.
   * @param {{file: string, data: ArrayBuffer}[]} files
   * @param {Stored[]} required
   * @param {Stored[]} optional taken when they are there
   */
  #load(files, required, optional) {
    /** @type {Map<string, import("./safetensors.js").Stored>} */
    const found = new Map();
    for (const { file, data } of files) {
      for (const [name, array] of readSafetensors(data, file)) found.set(name, array);
    }
    const chosen = this.choose(files.map(({ file }) => file).join(), found, required, optional);
    for (const variable of chosen) {
      const { bytes } = /** @type {any} */ (found.get(variable.spec.name));
      this.engine.write(variable.handle, bytes);
      this.empty.delete(variable);
    }
  }
}

/**
 * The batch to run next: the largest that rows fill, or a larger one padded where that is cheaper
 * than many small calls.
 * @param {Entry[]} entries smallest batch first
 * @param {number} rows
 */
function chooseEntry(entries, rows) {
  const filled = entries.findLast((entry) => Number(entry.rows) <= rows);
  const padded = entries.find((entry) => Number(entry.rows) > rows && !entry.exact);
  if (filled === entries.at(-1) || !padded) return filled;
  return !filled || Number(padded.rows) <= 4 * rows ? padded : filled;
}

/**
 * @param {Entry[]} entries
 * @param {number} rows
 */
function wrongRows(entries, rows) {
  const sizes = entries.map((entry) => (entry.exact ? entry.rows : `1 to ${entry.rows}`));
  const { name } = entries[0];
  return new TabgradError("rows", `"${name}" takes ${sizes.join(" or ")} rows, received ${rows}`);
}
