// Runs the engine protocol's cases (tests/engines/protocol.py) on the page engine, inside Pyodide.

const CODE = `
import json
from tabgrad.engines.page import PageEngine
import protocol

with open("binaries.json") as file:
    binaries = {name: bytes(code) for name, code in json.load(file).items()}

json.dumps({
    "cases": len(protocol.CASES),
    "features": sorted(PageEngine().features),
    "fast": protocol.failures(PageEngine, binaries),
    "deterministic": protocol.failures(lambda: PageEngine(deterministic=True), binaries),
})
`;

/**
 * @param {any} py a loaded Pyodide
 * @param {(name: string) => Promise<Uint8Array>} read a file of the test's folder
 */
export async function run(py, read) {
  py.unpackArchive(await read("tabgrad.whl"), "wheel");
  for (const name of ["protocol.py", "binaries.json"]) py.FS.writeFile(name, await read(name));
  return JSON.parse(await py.runPythonAsync(CODE));
}
