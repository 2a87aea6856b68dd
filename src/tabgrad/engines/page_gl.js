// The JavaScript half of page_gl.py: the player's WebGL2 engine behind functions that Python calls.
// Python evaluates this file and the modules it imports as one script, see javascript.py.

import { openNow } from "../player/tabgrad/webgl.js";
import { calls } from "./page_calls.js";

export function open() {
  const engine = openNow();
  return {
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
    read: (handle, nbytes, at) => engine.read(handle, nbytes, at),

    /**
     * @param {number} handle
     * @param {number} nbytes
     * @param {number} at
     */
    readAsync: (handle, nbytes, at) => engine.readAsync(handle, nbytes, at),

    /** Waits for the GPU, and blocks the thread meanwhile. */
    sync: () => engine.gl.finish(),
  };
}
