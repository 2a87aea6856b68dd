// Arrays between callers and the engine: what they give (nested lists, typed arrays, {data,
// shape}) becomes checked, tightly packed data, and results can become lists again.
//
// Values are always copied: the caller keeps what was given, and what it gets is its own.

import { STORES, product } from "./dtypes.js";
import { TabgradError } from "./errors.js";

/**
 * @typedef {import("../tabgrad.d.ts").TypedArray} TypedArray
 *
 * @typedef {{data: TypedArray, shape: number[]}} Packed row-major data as the engine holds it
 *
 * @typedef {object} Spec what an entry says of one of its inputs or outputs
 * @property {string} name
 * @property {number[]} shape
 * @property {string} dtype
 * @property {boolean} [rows] the leading axis holds rows, of which there may be fewer
 * @property {boolean} [scalar] a 0-d value handed over as 32 bits instead of a buffer
 * @property {number} [classes] whole numbers from 0 to classes - 1
 */

/** A result: row-major data that belongs to the caller. */
class Result {
  /**
   * @param {TypedArray} data
   * @param {number[]} shape
   * @param {string} dtype
   */
  constructor(data, shape, dtype) {
    this.data = data;
    this.shape = shape;
    this.dtype = dtype;
  }

  /**
   * The values as nested arrays; one value when there are no axes. Integers that are no exact
   * numbers here stay bigints.
   * @returns {any}
   */
  tolist() {
    const { data, shape, dtype } = this;
    let at = 0;
    /** @type {(axis: number) => any} */
    const list = (axis) => {
      if (axis < shape.length) return Array.from({ length: shape[axis] }, () => list(axis + 1));
      const value = data[at++];
      const number = Number(value);
      return dtype === "bool" ? number === 1 : number == value ? number : value;
    };
    return list(0);
  }
}

/**
 * A result from packed data. float16 comes as float32.
 * @param {Packed} packed
 * @param {string} dtype
 */
export async function unpack({ data, shape }, dtype) {
  if (dtype === "float16") {
    const { fromHalf } = await import("./half.js");
    data = Float32Array.from(/** @type {any} */ (data), fromHalf);
  }
  return new Result(data, shape, dtype);
}

/**
 * A caller's value as packed data for an input. An axis of rows may have any length but 0.
 * Long arrays let the event loop breathe now and then, so that the page stays responsive.
 * @param {any} value
 * @param {Spec} spec
 * @returns {Promise<Packed>}
 */
export async function pack(value, spec) {
  const { data, shape: given } = value?.shape && value.data ? value : { data: value, shape: null };
  const shape = given ? Array.from(given, Number) : shapeOf(data);
  const full = fitShape(shape, spec);
  const size = product(full);
  const out = new STORES[spec.dtype](size);
  const half = spec.dtype === "float16" && (await import("./half.js"));
  const number = half ? half.toHalf : Number;
  const put = copiesWhole(data, spec) ? null : setter(out, spec, number);

  const flat = given !== null || ArrayBuffer.isView(data);
  if (flat && data.length !== size) {
    throw wrongShape(spec, `${data.length} values for shape [${shape.join(", ")}]`);
  }
  const rows = shape.length ? shape[0] : 1;
  const step = Math.max(1, Math.ceil(65536 / (size / rows)));
  let since = performance.now();
  for (let row = 0; row < rows; row += step) {
    const until = Math.min(rows, row + step);
    const start = (row * size) / rows;
    const end = (until * size) / rows;
    if (put === null) out.set(data.subarray(start, end), start);
    else if (flat) for (let i = start; i < end; i++) put(data[i], i);
    else if (!shape.length) put(data, 0);
    else putNested(data.slice(row, until), shape, 0, until - row, start, put, spec);
    if (until < rows && performance.now() - since > 10) {
      await new Promise((resume) => setTimeout(resume));
      since = performance.now();
    }
  }
  return { data: out, shape: full };
}

/**
 * Whether typed data needs no look at its values: same type, or numbers that become floats.
 * @param {any} data
 * @param {Spec} spec
 */
function copiesWhole(data, { dtype, classes }) {
  if (!ArrayBuffer.isView(data) || classes !== undefined || dtype === "bool") return false;
  if (dtype === "float32" || dtype === "float64") {
    return !(data instanceof BigInt64Array || data instanceof BigUint64Array);
  }
  return dtype !== "float16" && data.constructor === STORES[dtype];
}

/**
 * The shape of nested arrays, by their first elements.
 * @param {any} value
 * @returns {number[]}
 */
function shapeOf(value) {
  const shape = [];
  while (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const length = /** @type {any} */ (value).length;
    shape.push(length);
    if (!length || ArrayBuffer.isView(value)) break;
    value = value[0];
  }
  return shape;
}

/**
 * The shape an input has once given `shape`. Axes of size 1 at the end may be left out or added:
 * [1, 2, 3] is fine where [n, 1] is expected.
 * @param {number[]} shape
 * @param {Spec} spec
 */
function fitShape(shape, spec) {
  const lead = spec.rows ? 1 : 0;
  const wanted = spec.shape.slice(lead);
  if (shape.length >= lead && shape[0] === 0 && lead) {
    throw new TabgradError("empty", `input "${spec.name}" has no rows; give at least one`);
  }
  const inner = shape.slice(lead);
  const same = (/** @type {number[]} */ a, /** @type {number[]} */ b) =>
    a.every((size, i) => size === (b[i] ?? 1));
  if (shape.length < lead || !same(inner, wanted) || !same(wanted, inner)) {
    throw wrongShape(spec, shape.length ? `shape [${shape.join(", ")}]` : "a single value");
  }
  return [...shape.slice(0, lead), ...wanted];
}

/**
 * @param {Spec} spec
 * @param {string} received
 */
function wrongShape(spec, received) {
  const shape = spec.rows ? ["n", ...spec.shape.slice(1)] : spec.shape;
  const rows = spec.rows ? " (n rows)" : "";
  return new TabgradError(
    "shape",
    `input "${spec.name}" needs shape [${shape.join(", ")}]${rows}, received ${received}`,
  );
}

/**
 * @param {any} value
 * @param {number[]} shape
 * @param {number} axis
 * @param {number} length of this axis
 * @param {number} at where its first element goes
 * @param {any} put
 * @param {Spec} spec
 * @returns {number} where the next element goes
 */
function putNested(value, shape, axis, length, at, put, spec) {
  if (axis === shape.length) {
    put(value, at);
    return at + 1;
  }
  if (value?.length !== length) {
    const found = value?.length === undefined ? "a value" : `${value.length} values`;
    throw wrongShape(spec, `a ragged array: ${found} where others have ${length}`);
  }
  for (let i = 0; i < length; i++) {
    at = putNested(value[i], shape, axis + 1, shape[axis + 1], at, put, spec);
  }
  return at;
}

/**
 * A function that stores a checked value at an index.
 * @param {any} out
 * @param {Spec} spec
 * @param {(value: any) => number} number
 * @returns {(value: any, index: number) => void}
 */
function setter(out, { name, dtype, classes }, number) {
  const float = dtype.startsWith("float");
  const big = dtype.endsWith("64") && !float;
  return (value, index) => {
    const kind = typeof value;
    if (kind !== "number" && kind !== "boolean" && kind !== "bigint") {
      const text = kind === "string" ? `"${value}"` : Array.isArray(value) ? "an array" : value;
      throw wrongValue(`numbers, received ${text}`, index);
    }
    if (float) {
      out[index] = number(value);
      return;
    }
    if (kind === "number" && !Number.isSafeInteger(value)) {
      throw wrongValue(`whole numbers, received ${value}`, index);
    }
    out[index] = big ? BigInt(value) : Number(value);
    if (out[index] != value || (dtype === "bool" && value > 1)) {
      throw wrongValue(`values of that type, received ${value}`, index);
    }
    if (classes !== undefined && !(value >= 0 && value < classes)) {
      throw new TabgradError(
        "label",
        `"${name}" holds classes 0 to ${classes - 1}, received ${value} at position ${index}`,
      );
    }
  };

  /**
   * @param {string} problem
   * @param {number} index
   */
  function wrongValue(problem, index) {
    const message = `"${name}" is ${dtype}: expected ${problem} at position ${index}`;
    return new TabgradError("dtype", message);
  }
}
