// What doctor.html finds out about each engine of a browser: whether it is there, what it can do,
// how precise it is and how fast. The engines are the player's, the Programs come with the page.

/**
 * @typedef {Record<string, string | number | boolean>} Facts
 * @typedef {{available: boolean, why?: string, facts: Facts, limits?: Facts, speed?: Facts}} Found
 * @typedef {{kind: string, features: string[], file: string, entries: any[]}} Program
 * @typedef {{tabgrad: string, side: number, elements: number, points: number,
 *   programs: Program[]}} Content what is in doctor.json
 */

const MATMUL = 0, MAP = 1, LAUNCH = 2, FUNCTIONS = 3, SUBNORMALS = 4;
// A module with one i32x4.splat.
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, // magic, version
  1, 5, 1, 96, 0, 1, 123, // type () -> v128
  3, 2, 1, 0, // one function of type 0
  10, 8, 1, 6, 0, 65, 0, 253, 17, 11,
);
const SECONDS = 0.25; // at least, for each rate
const ROUNDS = 3; // of which the fastest counts

/** Everything about what is not an engine. @returns {Facts} */
export function device() {
  const { userAgent, hardwareConcurrency } = navigator;
  const memory = /** @type {any} */ (navigator).deviceMemory;
  const heap = /** @type {any} */ (performance).memory?.jsHeapSizeLimit;
  return {
    browser: userAgent,
    cores: hardwareConcurrency,
    memory: memory ? `${memory} GB, as browsers round it` : "not told",
    ...(heap ? { "JavaScript heap": `at most ${size(heap)}` } : {}),
    "WebAssembly memory": `at most ${size(65536 * mostPages())}`,
    "cross-origin isolated": globalThis.crossOriginIsolated,
  };
}

/** How much memory a module may declare here; nothing of it is taken. */
function mostPages() {
  for (let pages = 65536; pages > 1; pages /= 2) {
    try {
      new WebAssembly.Memory({ initial: 0, maximum: pages });
      return pages;
    } catch {
      // Fewer, then.
    }
  }
  return 0;
}

/**
 * One engine, whatever is wrong with it.
 * @param {"wasm" | "webgpu" | "webgl"} kind
 * @param {Content} content
 * @returns {Promise<Found>}
 */
export async function examine(kind, content) {
  /** @type {Found} */
  const found = { available: false, facts: {} };
  let engine;
  try {
    const { engine: made, features } = await opened(kind, found);
    engine = made;
    found.available = true;
    const program = /** @type {Program} */ (
      content.programs.find((p) => p.kind === kind && p.features.every((f) => features.has(f)))
    );
    const answer = await fetch(new URL(program.file, import.meta.url));
    if (!answer.ok) throw new Error(`${program.file} is not there: ${answer.status}`);
    const module = await answer.arrayBuffer();
    const entries = program.entries.map((entry) => ({
      ...entry,
      constants: entry.constants.map(decoded),
    }));
    const loaded = await engine.load({ entries, module });
    const bench = new Bench(engine, loaded, entries);
    found.facts = { ...found.facts, ...(await precision(bench, content)) };
    found.speed = await speed(bench, content);
  } catch (/** @type {any} */ error) {
    found.why = error?.message ?? String(error);
  }
  engine?.close();
  return found;
}

/** @param {{data: string}} constant */
const decoded = ({ data }) => Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));

/**
 * An engine, what its Programs may use, and in `found` what can be said without running any.
 * @param {string} kind
 * @param {Found} found
 */
async function opened(kind, found) {
  /** @param {string} name */
  const part = (name) => import(new URL(`tabgrad/${name}.js`, import.meta.url).href);
  if (kind === "wasm") {
    const features = (await part("features")).features();
    const isolated = globalThis.crossOriginIsolated && typeof SharedArrayBuffer === "function";
    found.facts = {
      SIMD: WebAssembly.validate(SIMD_PROBE),
      "relaxed SIMD": features.has("relaxed-simd"),
      threads: isolated
        ? `up to ${navigator.hardwareConcurrency}`
        : "no: the page is not cross-origin isolated",
    };
    return { engine: new (await part("wasm")).WasmEngine(), features };
  }
  const engine = await (await part(kind)).open();
  if (kind === "webgpu") await describeGpu(engine, found);
  else describeGl(engine, found);
  return { engine, features: engine.features };
}

/**
 * @param {any} engine
 * @param {Found} found
 */
async function describeGpu({ info, device, features }, found) {
  // A device has what was asked for; its adapter has what could be.
  const options = { powerPreference: /** @type {const} */ ("high-performance") };
  const adapter = (await navigator.gpu.requestAdapter(options)) ?? device;
  /** @type {any} */
  const limits = adapter.limits;
  const names = [info.vendor, info.architecture, info.device, info.description];
  found.facts = {
    adapter: names.filter(Boolean).join(" ") || "not told",
    software: Boolean(info.isFallbackAdapter),
    schedule: features.has("cooperative") ? "cooperative" : "serial",
    features: [...adapter.features].sort().join(", ") || "none",
  };
  found.limits = {};
  for (const name in limits) {
    if (typeof limits[name] === "number") found.limits[name] = limits[name];
  }
}

/**
 * @param {any} engine
 * @param {Found} found
 */
function describeGl({ gl, info }, found) {
  /** @param {number} kind */
  const bits = (kind) => gl.getShaderPrecisionFormat(gl.FRAGMENT_SHADER, kind).precision;
  /** @param {string} name */
  const has = (name) => gl.getExtension(name) !== null;
  found.facts = {
    renderer: info.renderer,
    "float textures": has("EXT_color_buffer_float"),
    "half-float textures": has("EXT_color_buffer_half_float") || has("EXT_color_buffer_float"),
    "float bits, measured": info.floatBits,
    "float bits, promised": `high ${bits(gl.HIGH_FLOAT)}, medium ${bits(gl.MEDIUM_FLOAT)}`,
    precision: info.precision,
  };
  found.limits = {
    "texture size": info.maxTextureSize,
    "draw buffers": gl.getParameter(gl.MAX_DRAW_BUFFERS),
    "texture units": gl.getParameter(gl.MAX_TEXTURE_IMAGE_UNITS),
  };
}

/** Runs entries of a Program on an engine. */
class Bench {
  /**
   * @param {any} engine
   * @param {any} loaded
   * @param {any[]} entries
   */
  constructor(engine, loaded, entries) {
    this.engine = engine;
    this.loaded = loaded;
    this.entries = entries;
  }

  /**
   * Buffers for an entry, its inputs written.
   * @param {number} entry
   * @param {Float32Array[]} inputs
   */
  place(entry, inputs) {
    const { engine } = this;
    const handles = inputs.map((data) => {
      const handle = engine.alloc(data.byteLength, "float32");
      engine.write(handle, data);
      return handle;
    });
    /** @type {{shape: number[]}[]} */
    const outputs = this.entries[entry].outputs;
    const sizes = outputs.map(({ shape }) => 4 * shape.reduce((a, b) => a * b, 1));
    const results = sizes.map((nbytes) => engine.alloc(nbytes, "float32"));
    return { entry, args: [...handles, ...results], results, sizes };
  }

  /** @param {{entry: number, args: number[]}} placed */
  run({ entry, args }) {
    this.engine.run(this.loaded, entry, args);
  }

  /**
   * An entry's results for some inputs.
   * @param {number} entry
   * @param {Float32Array[]} inputs
   */
  async results(entry, inputs) {
    const placed = this.place(entry, inputs);
    this.run(placed);
    const read = this.engine.readAsync ?? this.engine.read;
    const found = [];
    for (const [i, handle] of placed.results.entries()) {
      const bytes = await read.call(this.engine, handle, placed.sizes[i]);
      found.push(new Float32Array(bytes.slice().buffer));
    }
    this.free(placed);
    return found;
  }

  /** @param {{args: number[]}} placed */
  free({ args }) {
    for (const handle of args) this.engine.free(handle);
  }

  /**
   * Seconds that a run takes.
   * @param {number} entry
   * @param {Float32Array[]} inputs
   */
  async seconds(entry, inputs) {
    const placed = this.place(entry, inputs);
    /** @param {number} times */
    const timed = async (times) => {
      const start = performance.now();
      for (let i = 0; i < times; i++) this.run(placed);
      await this.engine.sync?.();
      return (performance.now() - start) / 1000;
    };
    await timed(1);
    let times = 1;
    let took = await timed(1);
    // Clocks of browsers are coarse: a run is repeated until it takes long enough to be measured.
    while (took < SECONDS / ROUNDS && times < 1 << 20) {
      times *= Math.min(10, Math.max(2, Math.ceil(SECONDS / ROUNDS / Math.max(took, 1e-4))));
      took = await timed(times);
    }
    let best = took / times;
    for (let round = 1; round < ROUNDS; round++) {
      best = Math.min(best, (await timed(times)) / times);
    }
    this.free(placed);
    return best;
  }
}

/**
 * How far functions are from JavaScript's float64, in units in the last place of float32.
 * @param {Bench} bench
 * @param {Content} content
 * @returns {Promise<Facts>}
 */
async function precision(bench, { points }) {
  const x = Float32Array.from({ length: points }, (_, i) => (20 * i) / (points - 1) - 10);
  const y = Float32Array.from({ length: points }, (_, i) => 1e-30 * 1e60 ** (i / (points - 1)));
  const [exp, log, sin, tanh] = await bench.results(FUNCTIONS, [x, y]);
  /** @type {[string, Float32Array, Float32Array, (value: number) => number][]} */
  const functions = [
    ["exp", exp, x, Math.exp],
    ["log", log, y, Math.log],
    ["sin", sin, x, Math.sin],
    ["tanh", tanh, x, Math.tanh],
  ];
  /** @type {Facts} */
  const found = {};
  for (const [name, got, given, right] of functions) {
    let worst = 0;
    got.forEach((value, i) => {
      const wanted = right(given[i]);
      // Of sin near its zeros, the unit of 2 ** -10, where it is absolute.
      const least = name === "sin" ? 2 ** -10 : 2 ** -126;
      const unit = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(wanted), least))) - 23);
      const off = Math.abs(value - wanted) / unit;
      worst = off <= worst ? worst : off; // NaN is worst
    });
    found[`${name}, off by`] = `${worst.toFixed(2)} ULP`;
  }
  const [kept] = await bench.results(SUBNORMALS, [Float32Array.of(1e-39, 1e-39, 1e-39, 1e-39)]);
  found.subnormals = kept[0] > 0 ? "kept" : "flushed to 0";
  return found;
}

/**
 * Rates of a product of matrices and of a map, and how long starting anything takes.
 * @param {Bench} bench
 * @param {Content} content
 * @returns {Promise<Facts>}
 */
async function speed(bench, { side, elements }) {
  // Small whole numbers, so that the product is exact and can be looked at.
  const a = Float32Array.from({ length: side * side }, (_, i) => ((i * 7) % 5) - 2);
  const b = Float32Array.from({ length: side * side }, (_, i) => ((i * 3) % 7) - 3);
  const [product] = await bench.results(MATMUL, [a, b]);
  for (const [i, j] of [[0, 0], [1, side - 1], [side - 1, 3], [side / 2, side / 2 + 1]]) {
    let sum = 0;
    for (let k = 0; k < side; k++) sum += a[i * side + k] * b[k * side + j];
    if (product[i * side + j] !== sum) {
      throw new Error(`a product of matrices is wrong: ${product[i * side + j]} for ${sum}`);
    }
  }
  const x = new Float32Array(elements).fill(1);
  const matmul = (2 * side ** 3) / (await bench.seconds(MATMUL, [a, b])) / 1e9;
  const map = (8 * elements) / (await bench.seconds(MAP, [x])) / 1e9;
  const launch = 1e6 * (await bench.seconds(LAUNCH, [Float32Array.of(1, 2, 3, 4)]));
  return {
    [`matmul ${side}`]: `${rounded(matmul)} GFLOP/s`,
    map: `${rounded(map)} GB/s`,
    launch: `${rounded(launch)} µs`,
  };
}

/** @param {number} value */
const rounded = (value) => String(Number(value.toPrecision(3)));

/** @param {number} nbytes */
const size = (nbytes) => `${rounded(nbytes / 2 ** 30)} GB`;
