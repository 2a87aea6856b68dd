// Runs Programs in Node with one thread and with several that share their memory, and answers
// with what the memory holds afterwards. The main thread only waits; test_threads.py explains.

import { readFileSync } from "node:fs";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const MAXIMUM = 65536;
const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));

/** Imports of unshared memory become imports of shared memory: one flag byte. */
function shared(module) {
  const name = Buffer.from("\x07tabgrad\x06memory\x02\x01", "latin1");
  const copy = Buffer.from(module);
  const at = copy.indexOf(name);
  if (at < 0) throw Error("the module does not import its memory as the contract says");
  copy[at + name.length - 1] = 0x03;
  return copy;
}

function run({ module, memory, thread, threads, steps }) {
  const imports = { tabgrad: { memory } };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), imports);
  for (let step = 0; step < steps; step++) {
    if (threads) exports.run_part(thread, threads);
    else exports.run();
  }
}

/** A worker that does one piece of work after the other. */
function start(_, thread) {
  const worker = new Worker(new URL(import.meta.url), { workerData: thread });
  let done;
  let failed;
  worker.on("message", () => done());
  worker.on("error", (error) => failed(error));
  const work = (request) =>
    new Promise((resolve, reject) => {
      [done, failed] = [resolve, reject];
      worker.postMessage(request);
    });
  return { work, stop: () => worker.terminate() };
}

if (!isMainThread) {
  parentPort.on("message", (work) => {
    run({ ...work, thread: workerData });
    parentPort.postMessage(null);
  });
} else {
  const { cases, threads } = JSON.parse(readFileSync(0, "utf-8"));
  const workers = Array.from({ length: Math.max(...threads) }, start);
  const answers = [];
  for (const { module, image, pages, steps, start, nbytes } of cases) {
    const found = [];
    for (const count of [0, ...threads]) {
      const limits = { initial: pages, maximum: MAXIMUM, shared: count > 0 };
      const memory = new WebAssembly.Memory(limits);
      new Uint8Array(memory.buffer).set(bytesOf(image));
      const code = bytesOf(module);
      if (!count) {
        run({ module: code, memory, steps });
      } else {
        const request = { module: shared(code), memory, threads: count, steps };
        await Promise.all(workers.slice(0, count).map(({ work }) => work(request)));
      }
      const bytes = new Uint8Array(memory.buffer).slice(start, start + nbytes);
      found.push(Buffer.from(bytes).toString("base64"));
    }
    answers.push(found);
  }
  for (const { stop } of workers) await stop();
  console.log(JSON.stringify(answers));
}
