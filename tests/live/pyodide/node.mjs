// node node.mjs PYODIDE FOLDER: the protocol's cases in Node; prints JSON.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { run } from "./protocol.js";

const [pyodide, folder] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const read = async (/** @type {string} */ name) =>
  new Uint8Array(await readFile(`${folder}/${name}`));
console.log(JSON.stringify(await run(await loadPyodide(), read)));
