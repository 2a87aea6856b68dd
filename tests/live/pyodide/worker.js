// The protocol's cases in a worker: answers the first message with the result.
import { loadPyodide } from "./pyodide/pyodide.mjs";
import { run } from "./protocol.js";

const read = async (/** @type {string} */ name) =>
  new Uint8Array(await (await fetch(name)).arrayBuffer());

self.onmessage = async () => {
  try {
    self.postMessage(await run(await loadPyodide(), read));
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
