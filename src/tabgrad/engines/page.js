// The JavaScript half of page.py: the player's engine behind functions that Python calls cheaply.
// Python evaluates this file and the modules it imports as one script, see javascript.py.

import { features } from "../player/tabgrad/features.js";
import { WasmEngine } from "../player/tabgrad/wasm.js";
import { calls } from "./page_calls.js";

export function open() {
  const engine = new WasmEngine();
  return {
    ...calls(engine, (program) => engine.load(program)),
    features: [...features()].join(" "),
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
  };
}
