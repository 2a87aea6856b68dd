// The JavaScript half of page_gpu.py: the player's WebGPU engine behind functions that Python calls.
// Python evaluates this file and the modules it imports as one script, see javascript.py.

import { halves } from "../player/tabgrad/halves.js";
import { open as connect } from "../player/tabgrad/webgpu.js";
import { shaderCalls } from "./page_calls.js";

export async function open() {
  const engine = await connect({ halves });
  return { ...shaderCalls(engine), sync: () => engine.sync() };
}
