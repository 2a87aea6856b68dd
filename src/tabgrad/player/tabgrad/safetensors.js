// Reading the safetensors format: named arrays in one file. Writing is in save.js.
//
// Layout: 8 bytes length of the header (little endian), the header in JSON, the data. A file is
// untrusted input, so every offset is checked.

import { TabgradError } from "./errors.js";
import { STORES, byteSize } from "./dtypes.js";

const SCHEMA = "1";
/** @type {Record<string, string>} */
const KINDS = { B: "bool", I: "int", U: "uint", F: "float" };

/** @param {string} theirs "F32", "BOOL", ... */
const ourDtype = (theirs) => KINDS[theirs[0]] + theirs.replace(/\D/g, "");

/**
 * @typedef {{dtype: string, shape: number[], from: number, to: number}} Place of an array in a file
 * @typedef {{dtype: string, shape: number[], bytes: Uint8Array}} Stored
 */

/**
 * The arrays in a file, as views of it.
 * @param {ArrayBuffer} file
 * @param {string} name of the file, for messages
 * @returns {Map<string, Stored>}
 */
export function readSafetensors(file, name) {
  const arrays = new Map();
  const places = readHeader(new Uint8Array(file), file.byteLength, name);
  for (const [key, { dtype, shape, from, to }] of /** @type {any} */ (places)) {
    arrays.set(key, { dtype, shape, bytes: new Uint8Array(file, from, to - from) });
  }
  return arrays;
}

/**
 * Where the arrays are.
 * @param {Uint8Array} begin of the file
 * @param {number} size of the whole file
 * @param {string} name
 * @returns {Map<string, Place> | undefined} nothing while more of the file is needed to say it
 */
export function readHeader(begin, size, name) {
  const bad = (/** @type {string} */ problem, code = "corrupt") =>
    new TabgradError(code, `${name} is not a safetensors file that can be read: ${problem}`);
  if (size < 8) throw bad(`it has ${size} bytes`, "truncated");
  if (begin.length < 8) return;
  const start = 8 + Number(new DataView(begin.buffer, begin.byteOffset).getBigUint64(0, true));
  if (start > size) throw bad(`its header should end at byte ${start} of ${size}`, "truncated");
  if (begin.length < start) return;
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(begin.subarray(8, start)));
  } catch (error) {
    throw bad(`its header is not JSON (${error})`);
  }
  const places = new Map();
  const whole = (/** @type {any} */ list) =>
    Array.isArray(list) && list.every((value) => Number.isSafeInteger(value) && value >= 0);
  for (const [key, entry] of Object.entries(header ?? {})) {
    const { dtype: theirs, shape, data_offsets: offsets, format, schema } = entry ?? {};
    if (key === "__metadata__") {
      if (format !== "tabgrad" || schema === SCHEMA) continue;
      throw bad(`it was written by a newer tabgrad (schema ${schema})`, "version");
    }
    const dtype = ourDtype(String(theirs));
    const valid = STORES[dtype] && whole(shape) && whole(offsets);
    if (!valid || offsets[1] - offsets[0] !== byteSize({ shape, dtype })) {
      throw bad(`"${key}" is described as ${JSON.stringify(entry)}`);
    }
    const [from, to] = offsets.map((/** @type {number} */ offset) => start + offset);
    if (to > size) throw bad(`"${key}" ends at byte ${to} of ${size}`, "truncated");
    places.set(key, { dtype, shape, from, to });
  }
  return places;
}
