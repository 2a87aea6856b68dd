// Reading large files of weights piece by piece into the engine's memory, so that they are at no
// time anywhere else as a whole. Loaded only for models that have such files.

import { fetched, twice, wrongSize } from "./fetching.js";
import { readHeader } from "./safetensors.js";

const PIECE = 1 << 20;

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
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {() => Promise<Uint8Array<ArrayBuffer>>} the next piece, valid until the one after; empty at the end
 */
function pieces(body) {
  const none = new Uint8Array();
  try {
    // One buffer for all pieces: others are garbage, which may stay for as long as the loading.
    const reader = body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(PIECE);
    return async () => {
      const { value = none } = await reader.read(new Uint8Array(buffer));
      ({ buffer } = value);
      return value;
    };
  } catch {
    const reader = body.getReader();
    return async () => (await reader.read()).value ?? none;
  }
}
