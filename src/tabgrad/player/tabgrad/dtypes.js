// The dtypes: what holds their bytes, and sizes of arrays.

/** @typedef {import("../tabgrad.d.ts").TypedArray} TypedArray */

/** @type {Record<string, any>} what holds a dtype's bytes; bool is a byte, float16 its bits */
export const STORES = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** @param {string} dtype */
export const itemsize = (dtype) => STORES[dtype].BYTES_PER_ELEMENT;

/** @param {number[]} shape */
export const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** @param {{shape: number[], dtype: string}} spec */
export const byteSize = (spec) => product(spec.shape) * itemsize(spec.dtype);

/**
 * Typed data over bytes that start anywhere.
 * @param {string} dtype
 * @param {Uint8Array} bytes
 * @returns {TypedArray}
 */
export function fromBytes(dtype, bytes) {
  const { buffer, byteOffset, byteLength } = bytes;
  const Store = STORES[dtype];
  if (byteOffset % Store.BYTES_PER_ELEMENT) return new Store(bytes.slice().buffer);
  return new Store(buffer, byteOffset, byteLength / Store.BYTES_PER_ELEMENT);
}

/** @param {ArrayBufferView} data */
export const bytesOf = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
