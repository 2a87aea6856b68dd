// Reading large files of weights piece by piece into the engine's memory, so that they are at no
// time anywhere else as a whole. Loaded only for models that have such files.

import { fetched, twice, wrongSize } from "./fetching.js";
import { readHeader } from "./safetensors.js";

const PIECE = 1 << 20;
const WORD = 8;

/**
 * @typedef {import("./files.js").Part} Part
 * @typedef {import("./session.js").Session} Session
 */

/**
 * Takes what variables begin with from files.
 * @param {Session} session
 * @param {{parts: Part[], base: string}} request with the address of model.json
 */
export async function fill(session, { parts, base }) {
  for (const part of parts) {
    const required = part === parts.at(-1) ? [...session.empty] : [];
    await twice((cache) =>
      fetched(new URL(part.file, base), cache, ({ body }) =>
        read(session, part, /** @type {any} */ (body), required),
      ),
    );
  }
}

/**
 * @param {Session} session
 * @param {Part} part
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @param {import("./session.js").Stored[]} required
 */
async function read(session, part, body, required) {
  const { file, nbytes } = part;
  const next = pieces(body);
  let piece = await next();
  let places;
  while (!(places = readHeader(piece, nbytes, file))) {
    const before = piece.slice(); // the next piece takes its memory
    const more = await next();
    if (!more.length) throw wrongSize(part, before.length);
    piece = new Uint8Array(before.length + more.length);
    piece.set(before);
    piece.set(more, before.length);
  }
  const chosen = session.choose(file, places, required, [...session.empty]);
  let at = 0;
  for (; piece.length; piece = await next()) {
    for (const { spec, handle } of chosen) {
      const { from, to } = /** @type {any} */ (places.get(spec.name));
      const [first, last] = [Math.max(from, at), Math.min(to, at + piece.length)];
      if (first < last) {
        session.engine.write(handle, piece.subarray(first - at, last - at), first - from);
      }
    }
    at += piece.length;
  }
  if (at !== nbytes) throw wrongSize(part, at);
  for (const variable of chosen) session.empty.delete(variable);
}

/**
 * A body in pieces of whole words of 8 bytes, as GPUs copy nothing less; only the last may end
 * within one. Networks end theirs anywhere.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {() => Promise<Uint8Array<ArrayBuffer>>} the next piece, valid until the one after; empty at the end
 */
function pieces(body) {
  const next = reading(body);
  let rest = new Uint8Array();
  return async () => {
    let { length } = rest;
    let whole = rest;
    let more;
    do {
      [whole, more] = await next(whole, length);
      length += more;
    } while (more && length < WORD);
    const end = more ? length - (length % WORD) : length;
    rest = whole.slice(end, length);
    return whole.subarray(0, end);
  };
}

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {(
 *   before: Uint8Array<ArrayBuffer>, length: number,
 * ) => Promise<[Uint8Array<ArrayBuffer>, number]>} puts what comes next behind the first bytes of
 *   `before`, and says how much that was: nothing at the end
 */
function reading(body) {
  try {
    // One buffer for all pieces: others are garbage, which may stay for as long as the loading.
    const reader = body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(PIECE);
    return async (before, length) => {
      if (before.buffer !== buffer) new Uint8Array(buffer).set(before);
      const { value } = await reader.read(new Uint8Array(buffer, length));
      if (value) ({ buffer } = value);
      return [new Uint8Array(buffer), value?.length ?? 0];
    };
  } catch {
    const reader = body.getReader();
    return async (before, length) => {
      const { value = new Uint8Array() } = await reader.read();
      if (!length) return [value, value.length];
      const both = new Uint8Array(length + value.length);
      both.set(before.subarray(0, length));
      both.set(value, length);
      return [both, value.length];
    };
  }
}
