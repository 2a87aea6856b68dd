// Opening an engine of any kind with a model's Program: its kernels are fetched for the device that
// it turns out to be.

import { twice } from "./fetching.js";
import { compileKernels, fetchPart, fitting, sharing } from "./files.js";
import { openerOf } from "./gpus.js";

/**
 * @typedef {import("./files.js").ModelFiles} ModelFiles
 * @typedef {(files: ModelFiles) => {engine: any, loaded: any}} OpenWasm
 * @typedef {<T>(work: Promise<T>) => Promise<T>} Spend waits, as long as there is time
 *
 * @typedef {object} Opened
 * @property {string} kind
 * @property {any} engine
 * @property {any} loaded the Program
 */

/**
 * @param {ModelFiles} files
 * @param {string} kind
 * @param {OpenWasm} openWasm with kernels that are there
 * @param {Spend} [spend] for what is no waiting for files
 * @returns {Promise<Opened>}
 */
export async function openEngine(files, kind, openWasm, spend = (work) => work) {
  const { model, most } = files;
  const url = new URL(files.url);
  const fetched = (/** @type {import("./files.js").Part} */ part) =>
    twice((cache) => fetchPart(part, url, cache));
  if (kind === "wasm") {
    if (!files.module) {
      const program = fitting(model, kind);
      const kernels = await fetched(program);
      files.threads = (await sharing(most))?.prepare(model, kernels, most);
      files.module = await compileKernels(program, kernels);
    }
    return { kind, ...openWasm(files) };
  }
  const open = await openerOf(kind, model.programs[kind]);
  /** @type {Promise<any>} */
  const opening = open();
  const engine = await spend(opening).catch((error) => {
    opening.then((late) => late.close()).catch(() => {});
    throw error;
  });
  try {
    const module = await fetched(fitting(model, kind, engine.features));
    const { data } = JSON.parse(new TextDecoder().decode(module));
    const entries = model.entries.map((entry, i) => ({
      ...entry,
      constants: data[i].map((/** @type {string} */ text) =>
        Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)),
      ),
    }));
    return { kind, engine, loaded: await spend(engine.load({ entries, module })) };
  } catch (error) {
    engine.close();
    throw error;
  }
}
