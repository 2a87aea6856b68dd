// What page.js, page_gpu.js and page_gl.js have in common: an engine's functions as Python calls them.
//
// Only numbers, strings and typed arrays cross over. Python fills typed arrays by their `assign`,
// which is one copy; passing it objects, or receiving Python's, would make proxies that leak unless
// destroyed. Loaded Programs stay here and go by integer ids.

/**
 * @template Loaded
 * @typedef {object} Engine
 * @property {(nbytes: number, dtype: string) => number} alloc
 * @property {(handle: number) => void} free
 * @property {(dst: number, src: number, rowBytes: number, rows: Uint32Array) => void} copyRows
 * @property {(loaded: Loaded) => void} unload
 * @property {(loaded: Loaded, entry: number, args: Uint32Array, rows: number) => unknown} run
 * @property {() => {live: number, peak: number, capacity: number}} memoryUse
 * @property {() => void} close
 */

/**
 * @template Loaded
 * @param {Engine<Loaded>} engine
 * @param {(program: import("../player/tabgrad/wasm.js").Program) => Loaded} load
 */
export function calls(engine, load) {
  /** @type {Map<number, Loaded>} */
  const programs = new Map();
  let nextId = 1;
  // Arguments of `run` and indices of `copyRows`, grown to the next power of two.
  let words = new Uint32Array(256);

  return {
    alloc: (/** @type {number} */ nbytes, /** @type {string} */ dtype) =>
      engine.alloc(nbytes, dtype),
    free: (/** @type {number} */ handle) => engine.free(handle),

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
      programs.set(nextId, load(program));
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
      const loaded = /** @type {Loaded} */ (programs.get(id));
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

/**
 * @template Loaded
 * @typedef {object} Shading what engines of GPUs have besides
 * @property {Set<string>} features
 * @property {object} info
 * @property {(program: import("../player/tabgrad/wasm.js").Program) => Loaded} loadNow
 * @property {(handle: number, data: Uint8Array, at: number) => void} write
 * @property {(handle: number, nbytes: number, at: number) => Promise<Uint8Array>} readAsync
 */

/**
 * The functions of an engine of a GPU, whose memory cannot be looked into.
 * @template Loaded
 * @param {Engine<Loaded> & Shading<Loaded>} engine
 */
export const shaderCalls = (engine) => ({
  ...calls(engine, (program) => engine.loadNow(program)),
  features: [...engine.features].join(" "),
  info: JSON.stringify(engine.info),

  /**
   * @param {number} handle
   * @param {Uint8Array} bytes
   * @param {number} at
   */
  write: (handle, bytes, at) => engine.write(handle, bytes, at),

  /**
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} at
   */
  readAsync: (handle, nbytes, at) => engine.readAsync(handle, nbytes, at),
});
