// The half of browser.py that is in the page: carries out lists of commands on the player's engines.
//
// Python numbers buffers and Programs by itself, before the page has made them; here those numbers
// become the engine's own. What could not be made stays known as null, so that giving it back is no
// second error.

const engines = [];

/** Opens an engine: what Python has to know of it, or what went wrong. */
export async function start(module, options) {
  try {
    const { open } = await import(`/player/tabgrad/${module}.js`);
    if (options.halves) Object.assign(options, await import("/player/tabgrad/halves.js"));
    const engine = await open(options);
    engines.push({ engine, handles: new Map(), programs: new Map() });
    const { kind, features = [], info = {} } = engine;
    return { number: engines.length - 1, kind, features: [...features], info };
  } catch (error) {
    return problem(error);
  }
}

export const engineOf = (number) => engines[number].engine;

/** Carries out commands; answers the last one's result, or the first error of all. */
export async function work(number, text) {
  const { engine, handles, programs } = engines[number];
  const bytes = (text) => Uint8Array.fromBase64(text);
  const handle = (number) => handles.get(number) ?? (handles.has(number) ? null : number);
  const commands = {
    alloc(number, nbytes, dtype) {
      handles.set(number, null);
      handles.set(number, engine.alloc(nbytes, dtype));
    },
    free(number) {
      const own = handle(number);
      handles.delete(number);
      if (own !== null) engine.free(own);
    },
    write: (number, data, offset) => engine.write(handle(number), bytes(data), offset),
    async read(number, nbytes, offset) {
      const read = engine.readAsync ?? engine.read;
      return (await read.call(engine, handle(number), nbytes, offset)).toBase64();
    },
    copyRows: (to, from, rowBytes, indices) =>
      engine.copyRows(handle(to), handle(from), rowBytes, indices),
    async load(number, entries, binary) {
      for (const entry of entries) entry.constants = entry.constants.map(bytes);
      programs.set(number, await engine.load({ entries, module: bytes(binary) }));
    },
    unload(number) {
      const own = programs.get(number);
      programs.delete(number);
      if (own) engine.unload(own);
    },
    run(number, entry, args, scalars, rows) {
      const own = programs.get(number);
      if (!own) throw Object.assign(new Error("it was not loaded"), { code: "unloaded" });
      const words = args.map((word, i) => (scalars.includes(i) ? word : handle(word)));
      return engine.run(own, entry, Uint32Array.from(words), rows);
    },
    sync: () => engine.sync?.(),
    memoryUse: () => engine.memoryUse(),
    close: () => engine.close(),
    nothing() {},
  };
  let result, failed;
  for (const [name, ...args] of JSON.parse(text)) {
    try {
      result = await commands[name](...args);
    } catch (error) {
      failed ??= problem(error);
    }
  }
  return failed ?? { result };
}

const problem = (error) => ({
  code: error.code ?? "internal",
  message: error.code ? error.message : `${error.stack ?? error}`,
});
