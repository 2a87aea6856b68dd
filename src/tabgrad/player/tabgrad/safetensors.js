// The safetensors format: named arrays in one file, read and written without interpretation.
//
// Layout: 8 bytes length of the header (little endian), the header in JSON, the data. A file is
// untrusted input, so every offset is checked.

import { TabgradError } from "./errors.js";
import { STORES, byteSize, bytesOf } from "./dtypes.js";

const SCHEMA = "1";
/** @type {Record<string, string>} */
const KINDS = { B: "bool", I: "int", U: "uint", F: "float" };

/** @param {string} theirs "F32", "BOOL", ... */
const ourDtype = (theirs) => KINDS[theirs[0]] + theirs.replace(/\D/g, "");

/** @param {string} ours "float32", "bool", ... */
const theirDtype = (ours) =>
  ours === "bool" ? "BOOL" : ours[0].toUpperCase() + ours.replace(/\D/g, "");

/** @typedef {{dtype: string, shape: number[], bytes: Uint8Array}} Stored */

/**
 * The arrays in a file, as views of it.
 * @param {ArrayBuffer | Uint8Array} file
 * @param {string} [name] of the file, for messages
 * @returns {Map<string, Stored>}
 */
export function readSafetensors(file, name = "the file") {
  const bytes = file instanceof Uint8Array ? file : new Uint8Array(file);
  const bad = (/** @type {string} */ problem, code = "corrupt") =>
    new TabgradError(code, `${name} is not a safetensors file that can be read: ${problem}`);
  if (bytes.length < 8) throw bad(`it has ${bytes.length} bytes`, "truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = 8 + Number(view.getBigUint64(0, true));
  if (start > bytes.length) throw bad(`its header should end at byte ${start}`, "truncated");

  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, start)));
  } catch (error) {
    throw bad(`its header is not JSON (${error})`);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw bad("its header is not an object");
  }
  const arrays = new Map();
  for (const [key, entry] of Object.entries(header)) {
    if (key === "__metadata__") {
      if (entry?.format !== "tabgrad" || entry.schema === SCHEMA) continue;
      throw bad(`it was written by a newer tabgrad (schema ${entry.schema})`, "version");
    }
    const dtype = ourDtype(String(entry?.dtype));
    const offsets = entry?.data_offsets;
    const shape = entry?.shape;
    if (!STORES[dtype]) throw bad(`"${key}" has the dtype ${entry?.dtype}`);
    const whole = (/** @type {any} */ list) =>
      Array.isArray(list) && list.every((value) => Number.isSafeInteger(value) && value >= 0);
    if (!whole(shape) || !whole(offsets)) throw bad(`"${key}" has no valid shape or offsets`);
    const [from, to] = offsets;
    if (to - from !== byteSize({ shape, dtype })) throw bad(`"${key}" has the wrong size`);
    if (start + to > bytes.length) {
      throw bad(`it has ${bytes.length} bytes and "${key}" ends at ${start + to}`, "truncated");
    }
    arrays.set(key, { dtype, shape, bytes: bytes.subarray(start + from, start + to) });
  }
  return arrays;
}

/**
 * @param {Iterable<[string, {dtype: string, shape: number[], data: ArrayBufferView}]>} arrays
 * @returns {ArrayBuffer}
 */
export function writeSafetensors(arrays) {
  /** @type {Record<string, object>} */
  const header = { __metadata__: { format: "tabgrad", schema: SCHEMA } };
  const parts = [];
  let end = 0;
  // Widest items first keep every array aligned, whatever the sizes of the others.
  const width = (/** @type {any} */ { data }) => data.BYTES_PER_ELEMENT ?? 1;
  for (const [name, array] of [...arrays].sort((a, b) => width(b[1]) - width(a[1]))) {
    const bytes = bytesOf(array.data);
    header[name] = {
      dtype: theirDtype(array.dtype),
      shape: array.shape,
      data_offsets: [end, (end += bytes.length)],
    };
    parts.push(bytes);
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + Math.ceil(text.length / 8) * 8; // the data starts aligned, too
  const file = new Uint8Array(start + end).fill(0x20, 8, start);
  new DataView(file.buffer).setBigUint64(0, BigInt(start - 8), true);
  file.set(text, 8);
  let at = start;
  for (const bytes of parts) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file.buffer;
}
