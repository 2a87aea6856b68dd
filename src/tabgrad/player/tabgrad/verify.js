// `await model.verify()`: every layer on every engine of this device, beside what is right.
//
// The files are those that tg.export(..., verify=True) adds; web/verification.py says what is in
// them, and draws inputs and places as here. It has engines of its own and the weights that were
// exported, so that a model may go on training meanwhile. Each is asked on this thread.

import { unpack } from "./arrays.js";
import { bytesOf, byteSize, fromBytes } from "./dtypes.js";
import { TabgradError } from "./errors.js";
import { features } from "./features.js";
import { fetchParts } from "./files.js";
import { openerOf } from "./gpus.js";
import { readSafetensors } from "./safetensors.js";
import { WasmEngine } from "./wasm.js";

/**
 * @typedef {import("./files.js").Description} Description
 * @typedef {import("./files.js").Part} Part
 * @typedef {import("../tabgrad.d.ts").Verification} Verification
 * @typedef {import("../tabgrad.d.ts").VerifiedLayer} VerifiedLayer
 *
 * @typedef {{array: string} | {seed: number, mean: number, spread: number, low: number,
 *   high: number}} Input an array of the file, or what its numbers are drawn from
 * @typedef {object} Case
 * @property {string} layer
 * @property {string} type
 * @property {"forward" | "gradient"} what
 * @property {number} tolerance
 * @property {{inputs: Input[]}[]} trials
 *
 * @typedef {Part & {features: string[], cases: number[], refused: Record<string, string>,
 *   entries: any[]}} Program
 *
 * @typedef {object} Content verify.json
 * @property {string} model
 * @property {number} spreads
 * @property {number} samples
 * @property {Record<string, number>} tolerances
 * @property {Record<string, string>} reasons
 * @property {Case[]} cases
 * @property {Record<string, Program[]>} programs
 * @property {Part} arrays
 */

const TINY = 2 ** -126;

/**
 * @param {Description} model
 * @param {URL} url of model.json
 * @param {string[]} [wanted] kinds of engines
 * @returns {Promise<Verification>}
 */
export async function verify(model, url, wanted) {
  const part = /** @type {Part} */ (model.verify);
  /** @type {Content} */
  const content = JSON.parse(new TextDecoder().decode((await fetchParts([part], url))[0].data));
  const kinds = wanted ?? Object.keys(content.programs);
  const unknown = kinds.find((kind) => !(kind in content.programs));
  if (unknown) {
    const known = Object.keys(content.programs).join(", ");
    throw new TabgradError("option", `engines: expected some of ${known}, received ${unknown}`);
  }
  const files = await fetchParts([...model.weights, content.arrays], url);
  /** @type {Map<string, import("./safetensors.js").Stored>} */
  const arrays = new Map(files.flatMap(({ file, data }) => [...readSafetensors(data, file)]));
  /** @type {VerifiedLayer[]} */
  const rows = [];
  /** @type {Record<string, string>} */
  const missing = {};
  for (const kind of kinds) {
    try {
      rows.push(...(await onEngine(kind, content, model, url, arrays)));
    } catch (/** @type {any} */ error) {
      missing[kind] = error?.message ?? String(error);
    }
  }
  const order = new Map(content.cases.map(({ layer, what }, i) => [`${layer} ${what}`, i]));
  const place = (/** @type {VerifiedLayer} */ row) => order.get(`${row.layer} ${row.what}`) ?? 0;
  rows.sort((a, b) => place(a) - place(b));
  const ok = !rows.some(({ verdict }) => verdict === "WRONG" || verdict === "FAILED");
  const found = { model: content.model, ok, rows, missing, toString: () => text(found, content) };
  console.log(String(found));
  return found;
}

/**
 * @param {string} kind
 * @param {Content} content
 * @param {Description} model
 * @param {URL} url
 * @param {Map<string, import("./safetensors.js").Stored>} arrays
 */
async function onEngine(kind, content, model, url, arrays) {
  const { engine, usable } = await opened(kind, content, model);
  /** @type {VerifiedLayer[]} */
  const rows = [];
  try {
    const fits = (/** @type {Program} */ each) => each.features.every((f) => usable.has(f));
    const program = content.programs[kind].find(fits);
    if (!program) throw new TabgradError("unsupported", `no kernels for ${kind} run here`);
    const [{ data: module }] = await fetchParts([program], url);
    const entries = program.entries.map((entry) => ({
      ...entry,
      constants: entry.constants.map((/** @type {{data: string}} */ { data }) =>
        Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)),
      ),
      derived: entry.derived ?? 0,
    }));
    const loaded = await engine.load({ entries, module });
    for (const [number, one] of content.cases.entries()) {
      // The page may show something in between.
      await new Promise((resume) => setTimeout(resume, 0));
      const { layer, type, what, tolerance } = one;
      const row = { layer, type, engine: kind, what, tolerance };
      const at = program.cases.indexOf(number);
      if (at < 0) {
        rows.push({ ...row, error: null, verdict: "not supported", why: program.refused[number] });
        continue;
      }
      const run = (/** @type {Input[]} */ inputs) =>
        results(engine, loaded, entries[at], at, inputs, model, arrays);
      rows.push({ ...row, ...(await judged(number, one, run, content, arrays)) });
    }
  } finally {
    engine.close();
  }
  return rows;
}

/**
 * @param {string} kind
 * @param {Content} content
 * @param {Description} model
 * @returns {Promise<{engine: any, usable: Set<string>}>}
 */
async function opened(kind, content, model) {
  if (kind === "wasm") {
    return { engine: new WasmEngine(), usable: model.deterministic ? new Set() : features() };
  }
  const engine = await (await openerOf(kind, content.programs[kind]))();
  return { engine, usable: engine.features };
}

/**
 * What an engine computes for some inputs.
 * @param {any} engine
 * @param {any} loaded
 * @param {any} entry
 * @param {number} index of the entry
 * @param {Input[]} inputs
 * @param {Description} model
 * @param {Map<string, import("./safetensors.js").Stored>} arrays
 */
async function results(engine, loaded, entry, index, inputs, model, arrays) {
  /** @type {number[]} */
  const handles = [];
  const placed = (/** @type {Uint8Array} */ bytes, /** @type {string} */ dtype) => {
    handles.push(engine.alloc(bytes.length, dtype));
    engine.write(handles[handles.length - 1], bytes);
  };
  try {
    inputs.forEach((input, i) => {
      const spec = entry.inputs[i];
      const bytes =
        "array" in input ? arrays.get(input.array)?.bytes : drawn(input, byteSize(spec) / 4);
      placed(/** @type {Uint8Array} */ (bytes), spec.dtype);
    });
    for (const { variable } of entry.state) {
      const { shape, dtype } = /** @type {import("./files.js").Variable} */ (
        model.variables.find(({ name }) => name === variable)
      );
      placed(arrays.get(variable)?.bytes ?? new Uint8Array(byteSize({ shape, dtype })), dtype);
    }
    const first = handles.length;
    for (const spec of entry.outputs) handles.push(engine.alloc(byteSize(spec), spec.dtype));
    await engine.run(loaded, index, handles);
    const found = [];
    const read = engine.readAsync ?? engine.read;
    for (const [i, spec] of entry.outputs.entries()) {
      const bytes = await read.call(engine, handles[first + i], byteSize(spec));
      const data = fromBytes(spec.dtype, bytes.slice());
      found.push((await unpack({ data, shape: spec.shape }, spec.dtype)).data);
    }
    return found;
  } finally {
    for (const handle of handles) engine.free(handle);
  }
}

/**
 * Bytes of float32 numbers by a hash of their place, as `draw` in web/verification.py.
 * @param {{seed: number, mean: number, spread: number, low: number, high: number}} like
 * @param {number} size
 */
function drawn({ seed, mean, spread, low, high }, size) {
  const data = new Float32Array(size);
  const begin = Math.imul(seed, 0x85ebca6b);
  for (let i = 0; i < size; i++) {
    let h = Math.imul(i, 0x9e3779b1) ^ begin;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h = (h ^ (h >>> 16)) >>> 0;
    const value = mean + spread * (1.75 * (h / 2 ** 31 - 1));
    data[i] = Math.min(Math.max(value, low), high);
  }
  return bytesOf(data);
}

/**
 * A case's error and verdict. Backwards, some relu's input may be as good as 0, with slopes that
 * are both right; that is over with other inputs.
 * @param {number} number
 * @param {Case} one
 * @param {(inputs: Input[]) => Promise<ArrayLike<number | bigint>[]>} run
 * @param {Content} content
 * @param {Map<string, import("./safetensors.js").Stored>} arrays
 */
async function judged(number, one, run, content, arrays) {
  let error = 0;
  let why = "";
  try {
    for (const [trial, { inputs }] of one.trials.entries()) {
      const got = await run(inputs);
      error = 0;
      why = "";
      got.forEach((values, j) => {
        const right = (/** @type {string} */ name) => {
          const { bytes } = /** @type {any} */ (arrays.get(`${number}.${trial}.${name}${j}`));
          return /** @type {Float64Array} */ (fromBytes("float64", bytes));
        };
        const found = compared(values, right("wanted"), right("other"), one.tolerance, content);
        error = Math.max(error, found.error);
        why ||= found.why;
      });
      if (!why) break;
    }
  } catch (/** @type {any} */ failure) {
    return { error: null, verdict: /** @type {const} */ ("FAILED"), why: String(failure?.message) };
  }
  return { error, verdict: /** @type {"WRONG" | "ok"} */ (why ? "WRONG" : "ok"), why };
}

/**
 * As `_compare` in verify.py, of the elements that are looked at.
 * @param {ArrayLike<number | bigint>} got
 * @param {Float64Array} wanted
 * @param {Float64Array} other
 * @param {number} tolerance
 * @param {Content} content
 */
function compared(got, wanted, other, tolerance, { samples, spreads }) {
  const typical = Math.max(meanSize(wanted, () => 0), TINY);
  const usual = meanSize(other, (i) => wanted[i]);
  const piece = Math.floor(got.length / samples);
  let error = 0;
  let bad = 0;
  let why = "";
  // As `places` in web/verification.py.
  const place = (/** @type {number} */ i) =>
    Math.floor((i * got.length) / samples) + Math.floor((((i * 40503) % 65536) * piece) / 65536);
  for (let i = 0; i < wanted.length; i++) {
    const at = got.length <= samples ? i : place(i);
    const value = Number(got[at]);
    const size = Math.max(Math.abs(wanted[i]), typical);
    const spread = Math.abs(other[i] - wanted[i]);
    const same = Object.is(value, wanted[i]) || value === Math.fround(wanted[i]);
    const off = same ? 0 : Math.abs(value - wanted[i]) / size;
    const allowed = (spreads * Math.max(Number.isFinite(spread) ? spread : 0, usual)) / size;
    if (!(off <= error)) error = Number.isNaN(off) ? Infinity : off;
    if (off <= Math.max(allowed, tolerance)) continue;
    bad++;
    why ||= `element ${at} is ${value}, expected ${wanted[i]}`;
  }
  return { error, why: why && `${bad} of ${wanted.length} elements are too far off; ${why}` };
}

/**
 * The root mean square of what is finite, less something.
 * @param {Float64Array} values
 * @param {(i: number) => number} less
 */
function meanSize(values, less) {
  let sum = 0;
  let count = 0;
  values.forEach((value, i) => {
    const distance = value - less(i);
    if (!Number.isFinite(distance)) return;
    sum += distance * distance;
    count++;
  });
  return count ? Math.sqrt(sum / count) : 0;
}

/**
 * @param {Verification} found
 * @param {Content} content
 */
function text({ model, ok, rows, missing }, { tolerances, reasons }) {
  const cells = [["Layer (type)", "Engine", "Direction", "Max relative error", "Verdict"]];
  for (const { layer, type, engine, what, error, verdict } of rows) {
    const shown = error === null ? "-" : error ? error.toExponential(1) : "0";
    cells.push([`${layer} (${type})`, engine, what, shown, verdict]);
  }
  const widths = cells[0].map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const padded = (/** @type {string[]} */ row) => row.map((cell, i) => cell.padEnd(widths[i]));
  const lines = cells.map((row) => padded(row).join("   ").trimEnd());
  const rule = "─".repeat(widths.reduce((a, b) => a + b, 12));
  const used = Object.entries(tolerances).filter(([, value]) =>
    rows.some(({ tolerance }) => tolerance === value),
  );
  return [
    `Model: "${model}"`,
    ...[rule, lines[0], rule, ...lines.slice(1), rule],
    ...used.map(([dtype, value]) => `Tolerance of ${dtype}: ${value}, ${reasons[dtype]}`),
    ...rows.filter(({ why }) => why).map((r) => `${r.layer} on ${r.engine}, ${r.what}: ${r.why}`),
    ...Object.entries(missing).map(([kind, why]) => `Not checked: ${kind}. ${why}`),
    ok ? "Every layer is right" : "Some layers are not right",
  ].join("\n");
}
