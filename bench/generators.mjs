// One Program in Node, asked by bench/generators.py: node generators.mjs MODULE IMAGE FRAME PAGES.
// FRAME is [[address, word], ...] in JSON. Reads one line of JSON a time: how often to run which
// entry; answers milliseconds of the processor.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [code, image, frame, pages] = process.argv.slice(2);
const memory = new WebAssembly.Memory({ initial: Number(pages), maximum: 65536 });
new Uint8Array(memory.buffer).set(readFileSync(image));
const view = new DataView(memory.buffer);
for (const [at, word] of JSON.parse(frame)) view.setUint32(at, word, true);
const module = new WebAssembly.Module(readFileSync(code));
const { exports } = new WebAssembly.Instance(module, { tabgrad: { memory } });
const run = /** @type {() => void} */ (exports.run);

for await (const line of createInterface({ input: process.stdin })) {
  const { entry, times } = JSON.parse(line);
  view.setUint32(1024, entry, true);
  const start = process.cpuUsage();
  for (let i = 0; i < times; i++) run();
  const { user, system } = process.cpuUsage(start);
  console.log((user + system) / 1e3);
}
