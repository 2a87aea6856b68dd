// Writing the safetensors format, loaded when weights are saved. Reading is in safetensors.js.

import { bytesOf } from "./dtypes.js";

/** @param {string} ours "float32", "bool", ... */
const theirDtype = (ours) =>
  ours === "bool" ? "BOOL" : ours[0].toUpperCase() + ours.replace(/\D/g, "");

/**
 * @param {Iterable<[string, {dtype: string, shape: number[], data: ArrayBufferView}]>} arrays
 * @returns {ArrayBuffer}
 */
export function writeSafetensors(arrays) {
  /** @type {Record<string, object>} */
  const header = { __metadata__: { format: "tabgrad", schema: "1" } };
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
