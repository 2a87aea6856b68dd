// The JavaScript half of page.py: the player's engine behind functions that Python calls cheaply.
//
// Only numbers, strings and typed arrays cross over. Python fills typed arrays by their `assign`,
// which is one copy; passing it objects, or receiving Python's, would make proxies that leak unless
// destroyed. Loaded Programs stay here and go by integer ids. Python evaluates this file and the
// modules it imports as one script, see javascript.py.

import { features } from "../player/tabgrad/features.js";
import { WasmEngine } from "../player/tabgrad/wasm.js";

export function open() {
  const engine = new WasmEngine();
  /** @type {Map<number, import("../player/tabgrad/wasm.js").Loaded>} */
  const programs = new Map();
  let nextId = 1;
  // Arguments of `run` and indices of `copyRows`, grown to the next power of two.
  let words = new Uint32Array(256);

  return {
    features: [...features()].join(" "),
    alloc: (/** @type {number} */ nbytes) => engine.alloc(nbytes),
    free: (/** @type {number} */ handle) => engine.free(handle),
    view: (/** @type {number} */ handle, /** @type {number} */ nbytes, /** @type {number} */ at) =>
      engine.view(handle, nbytes, at),

    /**
     * Bytes of a buffer to write to at once.
     * @param {number} handle
     * @param {number} nbytes
     * @param {number} at
     */
    target(handle, nbytes, at) {
      engine.written(handle);
      return engine.view(handle, nbytes, at);
    },

    /**
     * Room for `count` words, which the next `run` or `copyRows` takes. Valid until a larger
     * `count` is asked for.
     * @param {number} count
     */
    words(count) {
      if (count > words.length) words = new Uint32Array(2 ** Math.ceil(Math.log2(count)));
      return words.subarray(0, count);
    },

    /** How many words there is room for. */
    capacity: () => words.length,

    /**
     * @param {number} dst
     * @param {number} src
     * @param {number} rowBytes
     * @param {number} count of indices in the words
     */
    copyRows(dst, src, rowBytes, count) {
      engine.copyRows(dst, src, rowBytes, words.subarray(0, count));
    },

    /**
     * Consecutive rows.
     * @param {number} dst
     * @param {number} src
     * @param {number} rowBytes
     * @param {number} first
     * @param {number} count
     */
    copyRange(dst, src, rowBytes, first, count) {
      const bytes = count * rowBytes;
      engine.written(dst);
      engine.view(dst, bytes).set(engine.view(src, bytes, first * rowBytes));
    },

    /**
     * @param {Uint8Array} binary
     * @param {string} entries JSON, of each entry: arena, scratch, derived, the sizes of its
     *   constants, how many inputs and outputs it has, and its state
     * @param {Uint8Array} constants one after the other
     */
    load(binary, entries, constants) {
      let at = 0;
      const program = {
        module: /** @type {BufferSource} */ (binary),
        entries: JSON.parse(entries).map((/** @type {any} */ entry) => ({
          ...entry,
          inputs: { length: entry.inputs },
          outputs: { length: entry.outputs },
          constants: entry.constants.map((/** @type {number} */ nbytes) =>
            constants.subarray(at, (at += nbytes)),
          ),
        })),
      };
      programs.set(nextId, engine.load(program));
      return nextId++;
    },

    unload(/** @type {number} */ id) {
      const loaded = programs.get(id);
      programs.delete(id);
      if (loaded) engine.unload(loaded);
    },

    /**
     * @param {number} id
     * @param {number} entry
     * @param {number} count of arguments in the words
     * @param {number} rows
     */
    run(id, entry, count, rows) {
      const loaded = /** @type {import("../player/tabgrad/wasm.js").Loaded} */ (programs.get(id));
      engine.run(loaded, entry, words.subarray(0, count), rows);
    },

    memoryUse() {
      const { live, peak, capacity } = engine.memoryUse();
      return Float64Array.of(live, peak, capacity);
    },

    close() {
      programs.clear();
      engine.close();
    },
  };
}
