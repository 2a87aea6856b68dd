// The protocol's cases on the main thread, or with ?worker in a worker; window.result resolves.
import { loadPyodide } from "./pyodide/pyodide.mjs";
import { run } from "./protocol.js";

const read = async (/** @type {string} */ name) =>
  new Uint8Array(await (await fetch(name)).arrayBuffer());

/** Loads Pyodide and tabgrad, for tests that bring Python of their own. */
async function python() {
  const py = await loadPyodide();
  py.unpackArchive(await read("tabgrad.whl"), "wheel");
  return py;
}

if (location.search === "?worker") {
  const worker = new Worker("worker.js", { type: "module" });
  window.result = new Promise((resolve) => {
    worker.onmessage = (event) => resolve(event.data);
  });
  worker.postMessage("start");
} else if (location.search === "?python") {
  window.result = python();
} else {
  window.result = loadPyodide().then((py) => run(py, read));
}
