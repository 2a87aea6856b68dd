// The machine's peak and copy bandwidth (?measure=arithmetic|copy), see bench/machine.py.

import { compete } from "./measure.js";

compete(async ({ query }) => {
  const machine = new URL("../machine/", import.meta.url);
  const facts = await (await fetch(new URL("machine.json", machine))).json();
  const memory = new WebAssembly.Memory({ initial: facts.pages, maximum: 65536 });
  const load = async (/** @type {string} */ file) => {
    const bytes = await (await fetch(new URL(file, machine))).arrayBuffer();
    return WebAssembly.validate(bytes) ? WebAssembly.compile(bytes) : null;
  };
  const module = (await load("relaxed.wasm")) ?? (await load("plain.wasm"));
  const instance = await WebAssembly.instantiate(/** @type {WebAssembly.Module} */ (module), {
    tabgrad: { memory },
  });
  const { arithmetic, copy } = /** @type {any} */ (instance.exports);
  const nbytes = Number(query.get("bytes"));
  const work = query.get("measure") === "copy" ? () => copy(nbytes) : () => arithmetic(facts.iterations);
  return {
    step(n) {
      for (let i = 0; i < n; i++) work();
    },
    output: () => ({ data: [0], shape: [] }),
  };
});
