// Buffers by their handles, as both GPU engines know them: how large they are, and where their bytes
// lie among the words that a GPU computes with.
//
// Not here: the memory behind them, which textures.js and webgpu.js make.

import { TabgradError } from "./errors.js";
import { widening } from "./words.js";

/** @template {{nbytes: number, dtype: string}} Buffer as the rest of tabgrad counts */
export class Handles {
  live = 0;
  peak = 0;
  /** @type {Map<number, Buffer>} */
  #buffers = new Map();
  #next = 1;

  /**
   * @param {Buffer} buffer
   * @returns {number} its handle
   */
  add(buffer) {
    this.#buffers.set(this.#next, buffer);
    this.live += buffer.nbytes;
    this.peak = Math.max(this.peak, this.live);
    return this.#next++;
  }

  /** @param {number} handle */
  has(handle) {
    return this.#buffers.has(handle);
  }

  /** @param {number} handle */
  get(handle) {
    const found = this.#buffers.get(handle);
    if (found) return found;
    throw new TabgradError(
      "handle",
      `${handle} is not a live buffer of this engine; it was freed, or never allocated`,
    );
  }

  /** @param {number} handle */
  remove(handle) {
    const buffer = this.get(handle);
    this.#buffers.delete(handle);
    this.live -= buffer.nbytes;
    return buffer;
  }

  clear() {
    this.#buffers.clear();
    this.live = 0;
  }

  /**
   * A buffer, and where bytes lie among its words and how many those are.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} offset
   * @returns {[Buffer, number, number]}
   */
  span(handle, nbytes, offset) {
    const buffer = this.get(handle);
    const ratio = widening(buffer.dtype);
    const outside = offset < 0 || nbytes < 0 || offset + nbytes > buffer.nbytes;
    if (outside || (ratio > 1 && (offset % (4 / ratio) || nbytes % (4 / ratio)))) {
      throw new TabgradError(
        "range",
        `buffer ${handle} has ${buffer.nbytes} bytes of ${buffer.dtype}, asked for ${nbytes} at ` +
          `offset ${offset}`,
      );
    }
    return [buffer, offset * ratio, nbytes * ratio];
  }

  /**
   * For `copyRows`: where rows go, where they come from, and how many words' bytes those are.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  rows(dst, src, rowBytes, indices) {
    const [to, , bytes] = this.span(dst, indices.length * rowBytes, 0);
    const [from, , size] = this.span(src, Math.min(rowBytes, this.get(src).nbytes), 0);
    const rows = Math.floor(from.nbytes / (rowBytes || 1));
    const wrong = Array.from(indices).find((row) => !(row >= 0 && row < rows));
    if (wrong === undefined || !rowBytes) return { to, from, size, bytes };
    throw new TabgradError("range", `copyRows: row ${wrong} of ${rows} rows`);
  }
}

/**
 * @param {number} bytes
 * @param {string} why
 */
export function noMemory(bytes, why) {
  return new TabgradError(
    "memory",
    `no memory for a buffer of ${bytes.toLocaleString("en")} bytes ${why}; use smaller batches or ` +
      'less data, or engine "wasm"',
  );
}
