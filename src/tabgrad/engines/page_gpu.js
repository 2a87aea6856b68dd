// The JavaScript half of page_gpu.py: the player's WebGPU engine behind functions that Python calls.
// Python evaluates this file and the modules it imports as one script, see javascript.py.

import { open as connect } from "../player/tabgrad/webgpu.js";
import { calls } from "./page_calls.js";

export async function open() {
  const engine = await connect();
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
    readAsync: (handle, nbytes, at) => engine.readAsync(handle, nbytes, at),
    sync: () => engine.sync(),
  };
}
