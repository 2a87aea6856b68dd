// A page with Python in it: loads Pyodide and the tabgrad wheel, then runs what is in the editor.
//
// Beside this file lie the folder pyodide/ (of the npm package) and the wheel as tabgrad.whl;
// serve.py puts them there.

import { loadPyodide } from "pyodide";

const program = /** @type {HTMLTextAreaElement} */ (document.querySelector("#program"));
const output = /** @type {HTMLOutputElement} */ (document.querySelector("#output"));
const run = /** @type {HTMLButtonElement} */ (document.querySelector("#run"));
const state = /** @type {HTMLElement} */ (document.querySelector("#state"));

/** @param {string} text */
const print = (text) => output.append(`${text}\n`);

async function load() {
  const [py, wheel] = await Promise.all([
    loadPyodide({ stdout: print, stderr: print }),
    fetch("tabgrad.whl").then((answer) => answer.arrayBuffer()),
  ]);
  py.unpackArchive(wheel, "wheel");
  return py;
}

async function runProgram() {
  run.disabled = true;
  state.textContent = "Running…";
  output.textContent = "";
  const globals = python.toPy({ __name__: "__main__" }); // each run starts afresh
  try {
    const start = performance.now();
    await python.runPythonAsync(program.value, { globals, filename: "program.py" });
    state.textContent = `Done in ${((performance.now() - start) / 1000).toFixed(2)} s`;
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    state.textContent = "Failed";
  }
  globals.destroy();
  run.disabled = false;
}

const python = await load();
run.addEventListener("click", runProgram);
program.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !run.disabled) runProgram();
});
run.disabled = false;
state.textContent = "Ready";
