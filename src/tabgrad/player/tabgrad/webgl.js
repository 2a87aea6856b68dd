// The WebGL2 engine: integer textures, and Programs of fragment shaders, for browsers without
// WebGPU.
//
// The methods are those of wasm.js, and `readAsync`, which does not block the thread. What a
// Program's binary says, targets/glsl/target.py tells; why textures hold words of integers, whatever
// they are for, shader.py beside it. Those words need no extension, and bits stay as they are. Not
// here: textures (textures.js), shaders (shaders.js).
//
// A kernel that reads what it writes draws into a second texture, which then takes the place of the
// first: a handle's texture changes, so nobody may keep one. After the context is lost next to
// nothing throws, so every method asks whether it is; it comes back to nobody: open another engine.

import { Doubts } from "./doubts.js";
import { TabgradError } from "./errors.js";
import { Handles } from "./handles.js";
import { frameOf, parsed, planned, walk } from "./plans.js";
import { COPY_ROWS, PROBE, Shaders } from "./shaders.js";
import { TEXEL, Textures, rectangles, room, rowsOf, sizeFor } from "./textures.js";
import { narrowed, widened, widening } from "./words.js";

const FRAME_WORDS = 64; // at least, as in shader.py
const PATIENCE = 8; // ms
const MAX_ROUNDS = 4; // of waiting for what was drawn while waiting

/**
 * @typedef {import("./shaders.js").Shader} Shader
 * @typedef {import("./textures.js").Texture} Texture
 *
 * @typedef {object} Buffer
 * @property {number} nbytes as the rest of tabgrad counts
 * @property {string} dtype
 * @property {Texture} texture
 * @property {TabgradError | null} fault why its contents are worth nothing
 *
 * @typedef {object} Own
 * @property {WebGLBuffer} frame
 * @property {number[]} temps the bytes of each
 * @property {boolean} proven whether it has run once without an error
 *
 * @typedef {import("./plans.js").Planned & Own} Entry
 *
 * @typedef {object} Loaded a loaded Program, opaque to everyone else
 * @property {Shader[] | null} shaders
 * @property {Entry[]} entries
 *
 * @typedef {object} Run
 * @property {Shader[]} shaders
 * @property {(Buffer | null)[]} buffers of arguments and constants; none of scalars
 * @property {[Buffer, Texture][]} late textures that are to take the place of buffers'
 */

/**
 * An engine on a context of its own.
 * @returns {Promise<WebGlEngine>}
 */
export async function open() {
  return openNow();
}

/** `open` for callers that cannot wait. */
export function openNow() {
  const canvas =
    typeof OffscreenCanvas === "undefined"
      ? document.createElement("canvas")
      : new OffscreenCanvas(1, 1);
  const gl = /** @type {WebGL2RenderingContext | null} */ (
    canvas.getContext("webgl2", {
      alpha: false,
      antialias: false,
      depth: false,
      powerPreference: "high-performance",
    })
  );
  if (!gl) {
    throw new TabgradError("adapter", 'expected WebGL2; this browser gives none. Use engine "wasm"');
  }
  return new WebGlEngine(gl, canvas);
}

export class WebGlEngine {
  kind = "webgl";
  /** @type {Set<string>} */
  features = new Set();
  /** What has been done, for tests and for whoever asks. */
  counts = { draws: 0, shaders: 0, textures: 0, framebuffers: 0 };
  /** @type {Handles<Buffer>} */
  #buffers = new Handles();
  #held = 0; // bytes of textures that buffers have
  #textures;
  #shaders;
  /** @type {number[]} shared by all Programs */
  #temps = [];
  /** @type {TabgradError | null} why nothing works any more */
  #broken = null;
  #busy = false; // whether work may be under way
  #drawn = 0; // how much has been
  #doubts = new Doubts();

  /**
   * @param {WebGL2RenderingContext} gl
   * @param {EventTarget} canvas
   */
  constructor(gl, canvas) {
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", () => {
      this.#broken ??= lost();
    });
    const check = () => this.#check();
    this.#textures = new Textures(gl, this.counts, this.#buffers, () => this.#doubts.begin());
    this.#shaders = new Shaders(gl, this.counts, check);
    if (gl.getParameter(gl.MAX_DRAW_BUFFERS) >= 8) this.features.add("draw-buffers-8");
    gl.disable(gl.DITHER);
    gl.enable(gl.SCISSOR_TEST);
    const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    const [width, height] = gl.getParameter(gl.MAX_VIEWPORT_DIMS);
    gl.viewport(0, 0, Math.min(width, largest), Math.min(height, largest));
    const named = gl.getExtension("WEBGL_debug_renderer_info");
    const floatBits = this.#probe();
    this.info = {
      renderer: gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
      maxTextureSize: largest,
      floatBits,
      /** The step from 1 to the next number: results are as much less exact as it is above 2**-23. */
      epsilon: 2 ** -floatBits,
      precision: floatBits >= 23 ? "float32" : floatBits > 10 ? "reduced" : "float16",
    };
  }

  /**
   * Makes a buffer with unspecified contents.
   * @param {number} nbytes
   * @param {string} [dtype] of its elements: on a GPU those of less than 32 bits take a word each
   * @returns {number} its handle
   */
  alloc(nbytes, dtype = "float32") {
    this.#check();
    const texels = Math.ceil((nbytes * widening(dtype)) / TEXEL);
    const texture = this.#textures.make(...sizeFor(texels));
    this.#held += room(texture);
    return this.#buffers.add({ nbytes, dtype, texture, fault: null });
  }

  /** @param {number} handle */
  free(handle) {
    const { texture } = this.#buffers.remove(handle);
    this.#held -= room(texture);
    this.#textures.giveBack(texture);
  }

  /**
   * Copies bytes into a buffer.
   * @param {number} handle
   * @param {ArrayBufferView} data
   * @param {number} [offset]
   */
  write(handle, data, offset = 0) {
    this.#check();
    const { byteLength } = data;
    const [buffer, at] = this.#buffers.span(handle, byteLength, offset);
    if (!byteLength) return;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, byteLength);
    const words = widened(bytes, buffer.dtype);
    const end = at + words.length;
    const low = at - (at % TEXEL);
    const high = Math.ceil(end / TEXEL) * TEXEL;
    const last = offset + byteLength === buffer.nbytes; // nothing of interest is behind it
    if (last && !offset) this.#doubts.heal([buffer]);
    let whole = words;
    if (low !== at || high !== end || words.byteOffset % 4) {
      const all = low === at && (high === end || last);
      whole = all ? new Uint8Array(high - low) : this.#textures.pixels(buffer.texture, low, high);
      whole.set(words, at - low);
    }
    this.#textures.fill(buffer.texture, low / TEXEL, whole);
  }

  /**
   * A copy of bytes of a buffer. It waits for running Programs, and blocks the thread meanwhile.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   */
  read(handle, nbytes, offset = 0) {
    this.#check();
    const [buffer, at, size] = this.#buffers.span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at - (at % TEXEL);
    const bytes = this.#textures.pixels(buffer.texture, low, Math.ceil((at + size) / TEXEL) * TEXEL);
    this.#settle(buffer);
    this.#busy = false;
    return narrowed(bytes.subarray(at - low, at - low + size), buffer.dtype).slice();
  }

  /**
   * A copy of bytes of a buffer, without blocking the thread while Programs run.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   * @returns {Promise<Uint8Array>}
   */
  async readAsync(handle, nbytes, offset = 0) {
    if (!this.#busy) return this.read(handle, nbytes, offset);
    this.#check();
    const { gl } = this;
    const [buffer, at, size] = this.#buffers.span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at - (at % TEXEL);
    const high = Math.ceil((at + size) / TEXEL) * TEXEL;
    const rows = rowsOf(buffer.texture, low / TEXEL, high / TEXEL);
    // A new one for each read: one that is used again has to be waited for.
    const staging = gl.createBuffer();
    this.#textures.drawTo([buffer.texture]);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, staging);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, rows.bytes, gl.STREAM_READ);
    gl.readPixels(rows.x, rows.y, rows.w, rows.h, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    await this.#done();
    const bytes = new Uint8Array(rows.bytes);
    if (!gl.isContextLost()) {
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, staging);
      gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, bytes);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      gl.deleteBuffer(staging);
    }
    this.#settle(buffer);
    const begin = at - low + rows.skip;
    return narrowed(bytes.subarray(begin, begin + size), buffer.dtype).slice();
  }

  /**
   * Copies rows `indices` of `src` to rows 0, 1, ... of `dst`. Indices may repeat.
   * @param {number} dst
   * @param {number} src
   * @param {number} rowBytes
   * @param {ArrayLike<number>} indices
   */
  copyRows(dst, src, rowBytes, indices) {
    this.#check();
    const count = indices.length;
    const { to, from, size, bytes } = this.#buffers.rows(dst, src, rowBytes, indices);
    if (!count || !rowBytes) return;
    if (size % 4) {
      const data = new Uint8Array(count * rowBytes);
      for (let i = 0; i < count; i++) {
        data.set(this.read(src, rowBytes, indices[i] * rowBytes), i * rowBytes);
      }
      this.write(dst, data);
      return;
    }
    if (from.fault) {
      to.fault = from.fault;
      return;
    }
    const numbers = this.alloc(count * 4, "int32");
    this.write(numbers, Int32Array.from(indices));
    const texels = Math.ceil(bytes / TEXEL);
    const whole = to.nbytes === count * rowBytes;
    // In place only where neither what is read nor what stays behind the end is drawn over.
    const { width, height } = to.texture;
    const target = whole && dst !== src ? to.texture : this.#textures.make(width, height);
    const { texture: list } = this.#buffers.get(numbers);
    const kept = whole ? list : to.texture;
    const all = whole ? texels : Math.ceil((to.nbytes * widening(to.dtype)) / TEXEL);
    this.#draw(this.#shaders.get(COPY_ROWS, 3), [from.texture, list, kept], [target], 0, all, [
      size / 4,
      bytes / 4,
    ]);
    if (target !== to.texture) this.#swap(to, target);
    if (whole) this.#doubts.heal([to]);
    this.#doubts.drawn([to]);
    this.free(numbers);
  }

  /**
   * Compiles a Program and uploads its constants, without blocking the thread where the browser
   * compiles beside it.
   * @param {import("./wasm.js").Program} program
   * @returns {Promise<Loaded>}
   */
  async load(program) {
    const loaded = this.loadNow(program);
    try {
      let since = performance.now();
      for (const shader of loaded.shaders ?? []) {
        while (this.#shaders.pending(shader)) {
          await moment();
          since = performance.now();
        }
        this.#check();
        this.#shaders.finish(shader);
        if (performance.now() - since > 12) {
          await moment();
          since = performance.now();
        }
      }
    } catch (error) {
      this.unload(loaded);
      throw error;
    }
    return loaded;
  }

  /**
   * `load` without waiting: what is wrong with a shader is said when it is first run.
   * @param {import("./wasm.js").Program} program
   * @returns {Loaded}
   */
  loadNow({ entries, module }) {
    this.#check();
    const { kernels, entries: plans } = parsed(module);
    /** @type {Loaded} */
    const loaded = { shaders: [], entries: [] };
    try {
      for (const { code, reads } of kernels) {
        const shader = this.#shaders.get(code, reads);
        shader.users++;
        loaded.shaders?.push(shader);
      }
      entries.forEach((entry, i) => this.#entry(loaded.entries, entry, plans[i]));
    } catch (error) {
      this.unload(loaded);
      throw error;
    }
    return loaded;
  }

  /**
   * Forgets a loaded Program and frees its constants.
   * @param {Loaded} loaded
   */
  unload(loaded) {
    if (!loaded.shaders) return;
    for (const shader of loaded.shaders) this.#shaders.leave(shader);
    loaded.shaders = null;
    for (const { constants, frame } of loaded.entries) {
      for (const handle of constants) if (this.#buffers.has(handle)) this.free(handle);
      this.gl.deleteBuffer(frame);
    }
  }

  /**
   * Runs one entry of a loaded Program.
   * @param {Loaded} loaded
   * @param {number} number the entry's position in the Program
   * @param {ArrayLike<number>} args a word for each input, state and output: a handle, or the raw
   *   bits of a scalar input
   * @param {number} [rows] the true number of rows of an entry that has a row count
   */
  run(loaded, number, args, rows = 0) {
    this.#check();
    const { gl } = this;
    const { shaders } = loaded;
    if (!shaders) throw new TabgradError("unloaded", "this Program was unloaded");
    const entry = loaded.entries[number];
    const frame = frameOf(entry, number, args, rows);
    const { scalars, constants } = entry;
    const words = [...Array.from(args), ...constants];
    const buffers = words.map((word, i) => (scalars.has(i) ? null : this.#buffers.get(word)));
    const written = /** @type {Buffer[]} */ (buffers.filter((_, i) => entry.writes[i]));
    const { count, outputs } = entry;
    const failed = buffers.find((buffer, i) => buffer?.fault && (i < outputs || i >= count))?.fault;
    this.#doubts.heal(written, failed);
    if (failed) return;
    gl.bindBuffer(gl.UNIFORM_BUFFER, entry.frame);
    gl.bufferSubData(gl.UNIFORM_BUFFER, 0, frame);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, entry.frame);
    entry.temps.forEach(this.#reserve, this);
    if (!entry.proven) this.#doubts.begin(entry);
    /** @type {Run} */
    const run = { shaders, buffers, late: [] };
    const steps = walk(entry.launches, (launch, turns) => this.#step(run, launch, turns));
    for (let step = steps.next(); !step.done; ) step = steps.next(this.#word(run, step.value));
    this.#doubts.drawn(written);
  }

  /** Waits until everything queued has run. */
  async sync() {
    this.#check();
    await this.#done();
    const fault = this.#settle();
    if (fault) throw fault;
  }

  /** Bytes in live buffers, the peak of that, and of the textures that are held for them. */
  memoryUse() {
    const { live, peak } = this.#buffers;
    return { live, peak, capacity: this.#held + this.#textures.waiting };
  }

  /** Gives the memory up. */
  close() {
    this.#broken = new TabgradError("handle", "this engine is closed");
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    for (const kept of [this.#buffers, this.#textures, this.#shaders]) kept.clear();
    this.#held = 0;
  }

  #check() {
    if (!this.#broken && this.gl.isContextLost()) this.#broken = lost();
    if (this.#broken) throw this.#broken;
  }

  /**
   * Asks whether what was in doubt went well, once it is done. Throws where the context is lost, and
   * what is wrong with a buffer that is to be read.
   * @param {Buffer} [buffer]
   * @returns {TabgradError | undefined} what was wrong with anything
   */
  #settle(buffer) {
    const error = this.#doubts.any ? this.#textures.error() : 0;
    this.#check();
    const fault = this.#doubts.settle(error);
    if (buffer?.fault) throw buffer.fault;
    return fault;
  }

  /**
   * Another texture takes the place of a buffer's.
   * @param {Buffer} buffer
   * @param {Texture} texture
   */
  #swap(buffer, texture) {
    this.#textures.giveBack(buffer.texture);
    buffer.texture = texture;
  }

  /** Waits until the GPU has done everything so far, and what is in doubt by then. */
  async #done() {
    const { gl } = this;
    for (let i = 0, drawn = -1; i < MAX_ROUNDS && drawn !== this.#drawn; i++) {
      drawn = this.#drawn;
      const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
      gl.flush();
      const begin = performance.now();
      while (fence && !gl.isContextLost()) {
        if (gl.clientWaitSync(fence, 0, 0) !== gl.TIMEOUT_EXPIRED) break;
        // At once in the beginning, then by timers: to ask all the time takes a processor.
        if (performance.now() - begin < PATIENCE) await moment();
        else await new Promise((resolve) => setTimeout(resolve));
      }
      if (fence) gl.deleteSync(fence);
      if (drawn === this.#drawn) this.#busy = false;
      if (!this.#doubts.any) return;
    }
  }

  /**
   * @param {Shader} shader
   * @param {Texture[]} reads
   * @param {Texture[]} writes
   * @param {number} first texel
   * @param {number} count of texels
   * @param {number[]} turns
   */
  #draw(shader, reads, writes, first, count, turns) {
    const { gl } = this;
    const [target] = writes;
    this.#shaders.use(shader);
    this.#shaders.drawsTo(shader, target.width);
    reads.forEach((texture, i) => this.#textures.bind(i, texture));
    this.#textures.drawTo(writes);
    if (shader.turns) gl.uniform4i(shader.turns, turns[0], turns[1], turns[2] ?? 0, turns[3] ?? 0);
    for (const [x, y, w, h] of rectangles(target, first, count)) {
      gl.scissor(x, y, w, h);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      this.counts.draws++;
    }
    this.#drawn++;
    this.#busy = true;
  }

  /**
   * @param {Run} run
   * @param {any} launch
   * @param {number[]} turns of the loops around, outermost first
   */
  #step(run, { kernel, reads, writes, swaps, begin, count, last }, turns) {
    const { buffers, late } = run;
    const reading = reads.map((/** @type {number} */ place) => this.#at(buffers, place).texture);
    const writing = writes.map((/** @type {number} */ place) => this.#at(buffers, place));
    const targets = writing.map((/** @type {Buffer} */ buffer, /** @type {number} */ i) =>
      swaps[i] ? this.#textures.make(buffer.texture.width, buffer.texture.height) : buffer.texture,
    );
    let first = begin[0];
    for (let i = 1; i < begin.length; i++) first += begin[i] * turns[i - 1];
    this.#draw(run.shaders[kernel], reading, targets, first, count, turns);
    writing.forEach((/** @type {Buffer} */ buffer, /** @type {number} */ i) => {
      if (swaps[i] === 1) this.#swap(buffer, targets[i]);
      if (swaps[i] === 2) late.push([buffer, targets[i]]);
    });
    if (!last) return;
    for (const [buffer, texture] of late) this.#swap(buffer, texture);
    late.length = 0;
  }

  /**
   * @param {(Buffer | null)[]} buffers
   * @param {number} place
   */
  #at(buffers, place) {
    if (place < 0) return this.#buffers.get(this.#temps[-1 - place]);
    return /** @type {Buffer} */ (buffers[place]);
  }

  /**
   * The first word of a buffer, once everything before has run.
   * @param {Run} run
   * @param {number} place
   */
  #word({ buffers }, place) {
    const bytes = this.#textures.pixels(this.#at(buffers, place).texture, 0, TEXEL);
    this.#check();
    return new DataView(bytes.buffer).getInt32(0, true);
  }

  /**
   * Adds an entry.
   * @param {Entry[]} entries
   * @param {import("./wasm.js").Entry} entry
   * @param {any} plan
   */
  #entry(entries, entry, plan) {
    const { gl } = this;
    const { temps, constants: dtypes } = plan;
    const words = Math.max(Math.ceil(plan.words / 4) * 4, FRAME_WORDS);
    const frame = gl.createBuffer();
    /** @type {Entry} */
    const made = { ...planned(entry, plan, words), frame, temps, proven: false };
    entries.push(made);
    gl.bindBuffer(gl.UNIFORM_BUFFER, made.frame);
    gl.bufferData(gl.UNIFORM_BUFFER, words * 4, gl.DYNAMIC_DRAW);
    entry.constants.forEach((data, i) => {
      made.constants.push(this.alloc(data.byteLength, dtypes[i]));
      this.write(made.constants[i], data);
    });
    temps.forEach(this.#reserve, this);
  }

  /**
   * Gives a temporary as much room as an entry wants, no more: textures that are drawn to at once
   * must be of one size.
   * @param {number} size
   * @param {number} number
   */
  #reserve(size, number) {
    const old = this.#temps[number];
    if (old && this.#buffers.get(old).nbytes === size) return;
    if (old) this.free(old);
    this.#temps[number] = 0;
    this.#temps[number] = this.alloc(size);
  }

  /** The bits that a float has behind the point here. */
  #probe() {
    const target = this.#textures.make(1, 1);
    const shader = this.#shaders.get(PROBE, 0);
    shader.users++;
    this.#draw(shader, [], [target], 0, 1, [1, 0, 0, 0]);
    const [bits, product, one] = new Uint32Array(this.#textures.pixels(target, 0, TEXEL).buffer);
    this.#textures.giveBack(target);
    this.#check();
    if (product !== 131073 || one !== 0x3f800000) {
      throw new TabgradError(
        "adapter",
        "expected integers and floats of 32 bits in shaders; this device has none (" +
          `65537 * 65537 is ${product}). Use engine "wasm"`,
      );
    }
    return bits;
  }
}

/** A turn of the event loop, without the delays that timers come to have. */
const moment = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(0);
  });

const lost = () =>
  new TabgradError(
    "lost",
    "expected the WebGL context to stay; the browser took it away, and what was on it is gone. " +
      'Open the engine again, or use engine "wasm"',
  );
