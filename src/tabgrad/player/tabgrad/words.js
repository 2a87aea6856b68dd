// Elements as the 32-bit words they take on a GPU, and back; as in engines/words.py.
//
// bool and unsigned integers are u32, signed integers i32, float16 is float32. 64-bit elements take
// two words as they are: they can be kept and read back, but no kernel computes with them.

import { bytesOf, fromBytes, itemsize, STORES } from "./dtypes.js";
import { fromHalf, toHalf } from "./half.js";

/**
 * How many times as large elements are on a GPU.
 * @param {string} dtype
 */
export const widening = (dtype) => Math.max(4 / itemsize(dtype), 1);

/** @param {string} dtype */
const wide = (dtype) =>
  dtype === "float16" ? "float32" : dtype[0] === "i" ? "int32" : "uint32";

/**
 * The words of elements.
 * @param {Uint8Array} bytes
 * @param {string} dtype
 */
export function widened(bytes, dtype) {
  if (widening(dtype) === 1) return bytes;
  const small = fromBytes(dtype, bytes);
  const Wide = STORES[wide(dtype)];
  return bytesOf(dtype === "float16" ? Wide.from(small, fromHalf) : new Wide(small));
}

/**
 * The elements of words.
 * @param {Uint8Array} words
 * @param {string} dtype
 */
export function narrowed(words, dtype) {
  if (widening(dtype) === 1) return words;
  const large = fromBytes(wide(dtype), words);
  const Small = STORES[dtype];
  return bytesOf(dtype === "float16" ? Small.from(large, toHalf) : new Small(large));
}
