// The JavaScript half of page_gl.py: the player's WebGL2 engine behind functions that Python calls.
// Python evaluates this file and the modules it imports as one script, see javascript.py.

import { openNow } from "../player/tabgrad/webgl.js";
import { shaderCalls } from "./page_calls.js";

export function open() {
  const engine = openNow();
  return {
    ...shaderCalls(engine),

    /**
     * @param {number} handle
     * @param {number} nbytes
     * @param {number} at
     */
    read: (handle, nbytes, at) => engine.read(handle, nbytes, at),

    /** Waits for the GPU, and blocks the thread meanwhile. */
    sync: () => engine.gl.finish(),
  };
}
