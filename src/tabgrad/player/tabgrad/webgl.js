// The WebGL2 engine: integer textures, and Programs of fragment shaders, for browsers without
// WebGPU.
//
// The methods are those of wasm.js, and `readAsync`, which does not block the thread. What a
// Program's binary says, targets/glsl/target.py tells; why textures hold words of integers, whatever
// they are for, shader.py beside it. Those words need no extension, and bits stay as they are.
//
// A kernel that reads what it writes draws into a second texture, which then takes the place of the
// first: a handle's texture changes, so nobody may keep one. After the context is lost next to
// nothing throws, so every method asks whether it is; it comes back to nobody: open another engine.

import { TabgradError } from "./errors.js";
import { narrowed, widened, widening } from "./words.js";

const WIDTH = 2048; // texels of a row; shaders count on it
const TEXEL = 16; // bytes
const MAX_POOLED = 256 * 2 ** 20; // bytes of textures that wait to be used again
const MAX_FRAMEBUFFERS = 1024;
const WORK_UNIT = 16; // where textures are bound to be made and filled: shaders use those before
const FRAME_WORDS = 64; // at least, as in shader.py

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1);
  gl_Position = vec4(corner, 0, 1);
}`;

const HEAD = `#version 300 es
precision highp float; precision highp int; precision highp usampler2D;
layout(location = 0) out uvec4 o0;
uint at(usampler2D b, int i) { return texelFetch(b, ivec2((i >> 2) & 2047, i >> 13), 0)[i & 3]; }
`;

// Rows of b0 by the numbers in b1; turns is (words of a row, words in all, 0, 0). Behind the last
// word stays what is in b2.
const COPY_ROWS = `${HEAD}uniform ivec4 turns; uniform usampler2D b0, b1, b2;
void main() {
  int first = (int(gl_FragCoord.x) + int(gl_FragCoord.y) * 2048) * 4;
  for (int lane = 0; lane < 4; lane++) {
    int i = first + lane, row = i / turns.x;
    uint word = i < turns.y ? at(b0, int(at(b1, row)) * turns.x + i % turns.x) : at(b2, i);
    o0 = uvec4(o0.yzw, word);
  }
}`;

// How many bits a float has behind the point, asked of numbers that no compiler knows.
const PROBE = `${HEAD}uniform ivec4 turns;
void main() {
  uint bits = 0u;
  for (int k = 1; k <= 23; k++) {
    float step = 1.0;
    for (int i = 0; i < k; i++) step *= float(turns.x) * 0.5;
    if (float(turns.x) + step != 1.0) bits = uint(k);
  }
  o0 = uvec4(bits, uint(turns.x) * 65537u * 65537u, floatBitsToUint(float(turns.x)), 0u);
}`;

/**
 * @typedef {object} Texture
 * @property {WebGLTexture} gl
 * @property {number} number
 * @property {number} width
 * @property {number} height
 * @property {Set<string>} framebuffers that draw to it
 *
 * @typedef {object} Buffer
 * @property {number} nbytes as the rest of tabgrad counts
 * @property {string} dtype
 * @property {Texture} texture
 *
 * @typedef {object} Shader
 * @property {string} code
 * @property {number} users
 * @property {number} reads
 * @property {WebGLProgram} program
 * @property {WebGLShader} fragment
 * @property {WebGLUniformLocation | null} turns
 * @property {boolean} ready whether it is linked, and knows its textures
 *
 * @typedef {object} Entry
 * @property {any[]} launches
 * @property {Set<number>} scalars which arguments are no handles
 * @property {number} count of arguments
 * @property {number[]} constants handles
 * @property {WebGLBuffer} frame
 * @property {number} words of the frame
 * @property {number[]} temps the bytes of each
 * @property {boolean} proven whether it has run once without an error
 *
 * @typedef {object} Loaded a loaded Program, opaque to everyone else
 * @property {Shader[] | null} shaders
 * @property {Entry[]} entries
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
  /** @type {Map<number, Buffer>} */
  #buffers = new Map();
  /** @type {Map<string, Texture[]>} of each size */
  #pool = new Map();
  #pooled = 0;
  #held = 0; // bytes of textures that buffers have
  #live = 0;
  #peak = 0;
  #next = 1;
  /** @type {Map<string, Shader>} by their code */
  #shaders = new Map();
  /** @type {Map<string, WebGLFramebuffer>} by the numbers of their textures */
  #framebuffers = new Map();
  /** @type {number[]} shared by all Programs */
  #temps = [];
  /** @type {TabgradError | null} why nothing works any more */
  #broken = null;
  #busy = false; // whether work may be under way
  // What is set in the context.
  /** @type {(Texture | null)[]} */
  #bound = [];
  /** @type {Shader | null} */
  #used = null;
  /** @type {string} */
  #target = "";
  #vertex;
  #largest;
  #parallel;

  /**
   * @param {WebGL2RenderingContext} gl
   * @param {EventTarget} canvas
   */
  constructor(gl, canvas) {
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", () => {
      this.#broken ??= lost();
    });
    this.#largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (gl.getParameter(gl.MAX_DRAW_BUFFERS) >= 8) this.features.add("draw-buffers-8");
    this.#parallel = gl.getExtension("KHR_parallel_shader_compile");
    this.#vertex = this.#compiled(gl.VERTEX_SHADER, VERTEX);
    gl.disable(gl.DITHER);
    gl.enable(gl.SCISSOR_TEST);
    const [width, height] = gl.getParameter(gl.MAX_VIEWPORT_DIMS);
    gl.viewport(0, 0, Math.min(width, this.#largest), Math.min(height, this.#largest));
    const named = gl.getExtension("WEBGL_debug_renderer_info");
    const floatBits = this.#probe();
    this.info = {
      renderer: gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
      maxTextureSize: this.#largest,
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
    const texture = this.#texture(...sizeFor(texels));
    this.#buffers.set(this.#next, { nbytes, dtype, texture });
    this.#held += room(texture);
    this.#live += nbytes;
    this.#peak = Math.max(this.#peak, this.#live);
    return this.#next++;
  }

  /** @param {number} handle */
  free(handle) {
    const { nbytes, texture } = this.#buffer(handle);
    this.#buffers.delete(handle);
    this.#live -= nbytes;
    this.#held -= room(texture);
    this.#giveBack(texture);
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
    const [buffer, at] = this.#span(handle, byteLength, offset);
    if (!byteLength) return;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, byteLength);
    const words = widened(bytes, buffer.dtype);
    const end = at + words.length;
    const low = at - (at % TEXEL);
    const high = Math.ceil(end / TEXEL) * TEXEL;
    const last = offset + byteLength === buffer.nbytes; // nothing of interest is behind it
    let whole = words;
    if (low !== at || high !== end || words.byteOffset % 4) {
      const all = low === at && (high === end || last);
      whole = all ? new Uint8Array(high - low) : this.#pixels(buffer.texture, low, high);
      whole.set(words, at - low);
    }
    this.#fill(buffer.texture, low / TEXEL, whole);
  }

  /**
   * A copy of bytes of a buffer. It waits for running Programs, and blocks the thread meanwhile.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} [offset]
   */
  read(handle, nbytes, offset = 0) {
    this.#check();
    const [buffer, at, size] = this.#span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at - (at % TEXEL);
    const bytes = this.#pixels(buffer.texture, low, Math.ceil((at + size) / TEXEL) * TEXEL);
    this.#check();
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
    const [buffer, at, size] = this.#span(handle, nbytes, offset);
    if (!size) return new Uint8Array();
    const low = at - (at % TEXEL);
    const high = Math.ceil((at + size) / TEXEL) * TEXEL;
    const rows = rowsOf(low / TEXEL, high / TEXEL);
    // A new one for each read: one that is used again has to be waited for.
    const staging = gl.createBuffer();
    this.#drawTo([buffer.texture]);
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
    this.#check();
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
    const [to, , bytes] = this.#span(dst, count * rowBytes, 0);
    const [from, , size] = this.#span(src, Math.min(rowBytes, this.#buffer(src).nbytes), 0);
    if (!count || !rowBytes) return;
    const rows = Math.floor(from.nbytes / rowBytes);
    for (let i = 0; i < count; i++) {
      const row = indices[i];
      if (!(row >= 0 && row < rows)) {
        throw new TabgradError("range", `copyRows: row ${row} of ${rows} rows`);
      }
    }
    if (size % 4) {
      const data = new Uint8Array(count * rowBytes);
      for (let i = 0; i < count; i++) data.set(this.read(src, rowBytes, indices[i] * rowBytes), i * rowBytes);
      this.write(dst, data);
      return;
    }
    const numbers = this.alloc(count * 4, "int32");
    this.write(numbers, Int32Array.from(indices));
    const texels = Math.ceil(bytes / TEXEL);
    const whole = to.nbytes === count * rowBytes;
    // In place only where neither what is read nor what stays behind the end is drawn over.
    const target = whole && dst !== src ? to.texture : this.#texture(to.texture.width, to.texture.height);
    const { texture: list } = this.#buffer(numbers);
    const kept = whole ? list : to.texture;
    const all = whole ? texels : Math.ceil((to.nbytes * widening(to.dtype)) / TEXEL);
    this.#draw(this.#shader(COPY_ROWS, 3), [from.texture, list, kept], [target], 0, all, [
      size / 4,
      bytes / 4,
    ]);
    if (target !== to.texture) this.#swap(to, target);
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
        while (this.#parallel && !shader.ready && !this.gl.isContextLost()) {
          if (this.gl.getProgramParameter(shader.program, this.#parallel.COMPLETION_STATUS_KHR)) break;
          await moment();
          since = performance.now();
        }
        this.#check();
        this.#finish(shader);
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
    const { kernels, entries: plans } = JSON.parse(
      new TextDecoder().decode(/** @type {BufferSource} */ (module)),
    );
    /** @type {Loaded} */
    const loaded = { shaders: [], entries: [] };
    try {
      for (const { code, reads } of kernels) {
        const shader = this.#shader(code, reads);
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
    const { gl } = this;
    if (!loaded.shaders) return;
    for (const shader of loaded.shaders) {
      if (--shader.users) continue;
      this.#shaders.delete(shader.code);
      gl.deleteProgram(shader.program);
      gl.deleteShader(shader.fragment);
      if (this.#used === shader) this.#used = null;
    }
    loaded.shaders = null;
    for (const { constants, frame } of loaded.entries) {
      for (const handle of constants) if (this.#buffers.has(handle)) this.free(handle);
      gl.deleteBuffer(frame);
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
    if (args.length !== entry.count) {
      throw new TabgradError(
        "range",
        `entry ${number} takes ${entry.count} arguments (inputs, state, outputs), received ` +
          args.length,
      );
    }
    const { scalars, constants } = entry;
    const words = [...Array.from(args), ...constants];
    const buffers = words.map((word, i) => (scalars.has(i) ? null : this.#buffer(word)));
    const frame = new Uint32Array(entry.words);
    frame[1] = rows;
    let at = 2;
    for (const i of scalars) frame[at++] = args[i];
    gl.bindBuffer(gl.UNIFORM_BUFFER, entry.frame);
    gl.bufferSubData(gl.UNIFORM_BUFFER, 0, frame);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, entry.frame);
    if (!entry.proven) this.#errors(); // those of before are not this entry's
    entry.temps.forEach(this.#reserve, this);
    this.#busy = true;
    const run = { shaders, buffers, turns: [0, 0, 0, 0], depth: 0, late: [] };
    this.#launch(run, entry.launches);
    if (entry.proven) return;
    const error = this.#errors();
    this.#check();
    if (error) {
      throw new TabgradError(
        "trap",
        `expected the browser to draw a Program; WebGL says error ${error}. This is a bug of ` +
          'tabgrad; use engine "wasm"',
      );
    }
    entry.proven = true;
  }

  /** Waits until everything queued has run. */
  async sync() {
    this.#check();
    await this.#done();
    this.#check();
  }

  /** Bytes in live buffers, the peak of that, and of the textures that are held for them. */
  memoryUse() {
    return { live: this.#live, peak: this.#peak, capacity: this.#held + this.#pooled };
  }

  /** Gives the memory up. */
  close() {
    this.#broken = new TabgradError("handle", "this engine is closed");
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    for (const kept of [this.#buffers, this.#pool, this.#shaders, this.#framebuffers]) kept.clear();
    this.#live = this.#pooled = this.#held = 0;
  }

  #check() {
    if (!this.#broken && this.gl.isContextLost()) this.#broken = lost();
    if (this.#broken) throw this.#broken;
  }

  #errors() {
    const { gl } = this;
    let first = 0;
    // A lost context says so only once; others have at most a few errors waiting.
    for (let i = 0, error; i < 8 && (error = gl.getError()); i++) first ||= error;
    return first;
  }

  // Textures.

  /**
   * @param {number} width
   * @param {number} height
   * @returns {Texture}
   */
  #texture(width, height) {
    const { gl } = this;
    const found = this.#pool.get(`${width} ${height}`)?.pop();
    if (found) {
      this.#pooled -= room(found);
      return found;
    }
    const bytes = width * height * TEXEL;
    if (height > this.#largest) {
      throw noMemory(bytes, `of at most ${(WIDTH * this.#largest * TEXEL).toLocaleString("en")} here`);
    }
    const large = bytes >= 2 ** 22;
    if (large) this.#errors();
    const made = gl.createTexture();
    this.#work(made);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32UI, width, height);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    this.counts.textures++;
    if (large && this.#errors() === gl.OUT_OF_MEMORY) {
      gl.deleteTexture(made);
      for (const waiting of this.#pool.values()) for (const one of waiting) this.#delete(one);
      this.#pool.clear();
      this.#pooled = 0;
      throw noMemory(bytes, `beside the ${this.#live.toLocaleString("en")} in use`);
    }
    return { gl: made, number: this.counts.textures, width, height, framebuffers: new Set() };
  }

  /** @param {Texture} texture */
  #giveBack(texture) {
    if (this.#pooled + room(texture) > MAX_POOLED) {
      this.#delete(texture);
      return;
    }
    const key = `${texture.width} ${texture.height}`;
    const waiting = this.#pool.get(key);
    if (waiting) waiting.push(texture);
    else this.#pool.set(key, [texture]);
    this.#pooled += room(texture);
  }

  /** @param {Texture} texture */
  #delete(texture) {
    for (const key of texture.framebuffers) this.#deleteFramebuffer(key);
    this.#bound = this.#bound.map((one) => (one === texture ? null : one));
    this.gl.deleteTexture(texture.gl);
  }

  /** @param {string} key */
  #deleteFramebuffer(key) {
    const found = this.#framebuffers.get(key);
    if (!found) return;
    this.#framebuffers.delete(key);
    this.gl.deleteFramebuffer(found);
    if (this.#target === key) this.#target = "";
  }

  /**
   * Another texture takes the place of a buffer's.
   * @param {Buffer} buffer
   * @param {Texture} texture
   */
  #swap(buffer, texture) {
    this.#giveBack(buffer.texture);
    buffer.texture = texture;
  }

  /** @param {WebGLTexture} texture */
  #work(texture) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + WORK_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, texture);
  }

  /**
   * @param {Texture} texture
   * @param {number} first texel
   * @param {Uint8Array} bytes of whole texels
   */
  #fill(texture, first, bytes) {
    const { gl } = this;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.#work(texture.gl);
    for (const [x, y, w, h, from] of rectangles(first, words.length / 4)) {
      const { RGBA_INTEGER, UNSIGNED_INT } = gl;
      gl.texSubImage2D(gl.TEXTURE_2D, 0, x, y, w, h, RGBA_INTEGER, UNSIGNED_INT, words, from * 4);
    }
  }

  /**
   * Bytes of a texture between texels, at once.
   * @param {Texture} texture
   * @param {number} low
   * @param {number} high
   */
  #pixels(texture, low, high) {
    const { gl } = this;
    const { x, y, w, h, skip, bytes } = rowsOf(low / TEXEL, high / TEXEL);
    const words = new Uint32Array(bytes / 4);
    this.#drawTo([texture]);
    gl.readPixels(x, y, w, h, gl.RGBA_INTEGER, gl.UNSIGNED_INT, words);
    return new Uint8Array(words.buffer, skip, high - low);
  }

  /** @param {number} handle */
  #buffer(handle) {
    const found = this.#buffers.get(handle);
    if (found) return found;
    throw new TabgradError(
      "handle",
      `${handle} is not a live buffer of this engine; it was freed, or never allocated`,
    );
  }

  /**
   * A buffer, and where bytes lie among its words and how many those are.
   * @param {number} handle
   * @param {number} nbytes
   * @param {number} offset
   * @returns {[Buffer, number, number]}
   */
  #span(handle, nbytes, offset) {
    const buffer = this.#buffer(handle);
    const ratio = widening(buffer.dtype);
    const outside = offset < 0 || nbytes < 0 || offset + nbytes > buffer.nbytes;
    if (outside || (ratio > 1 && (offset % (4 / ratio) || nbytes % (4 / ratio)))) {
      throw new TabgradError(
        "range",
        `buffer ${handle} has ${buffer.nbytes} bytes of ${buffer.dtype}, asked for ${nbytes} at ` +
          `offset ${offset}`,
      );
    }
    return [buffer, offset * ratio, nbytes * ratio];
  }

  /** Waits until the GPU has done everything so far. */
  async #done() {
    const { gl } = this;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (fence && !gl.isContextLost()) {
      const state = gl.clientWaitSync(fence, 0, 0);
      if (state === gl.ALREADY_SIGNALED || state === gl.CONDITION_SATISFIED) break;
      if (state === gl.WAIT_FAILED) break;
      await moment();
    }
    if (fence) gl.deleteSync(fence);
    this.#busy = false;
  }

  // Drawing.

  /**
   * @param {Texture[]} textures
   */
  #drawTo(textures) {
    const { gl } = this;
    const key = textures.map(({ number }) => number).join();
    if (key === this.#target) return;
    let found = this.#framebuffers.get(key);
    if (!found) {
      for (const oldest of this.#framebuffers.keys()) {
        if (this.#framebuffers.size < MAX_FRAMEBUFFERS) break;
        this.#deleteFramebuffer(oldest);
      }
      found = gl.createFramebuffer();
      this.counts.framebuffers++;
      gl.bindFramebuffer(gl.FRAMEBUFFER, found);
      const places = textures.map((texture, i) => {
        const place = gl.COLOR_ATTACHMENT0 + i;
        gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, texture.gl, 0);
        texture.framebuffers.add(key);
        return place;
      });
      gl.drawBuffers(places);
      const state = gl.checkFramebufferStatus(gl.FRAMEBUFFER);
      if (state !== gl.FRAMEBUFFER_COMPLETE) {
        gl.deleteFramebuffer(found);
        this.#target = "";
        this.#check();
        throw new TabgradError(
          "memory",
          `expected textures that can be drawn to; WebGL says ${state}. Memory may be short: use ` +
            'smaller batches or less data, or engine "wasm"',
        );
      }
      this.#framebuffers.set(key, found);
    } else {
      gl.bindFramebuffer(gl.FRAMEBUFFER, found);
    }
    this.#target = key;
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
    if (!shader.ready) this.#finish(shader);
    if (this.#used !== shader) {
      gl.useProgram(shader.program);
      this.#used = shader;
    }
    reads.forEach((texture, i) => {
      if (this.#bound[i] === texture) return;
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture.gl);
      this.#bound[i] = texture;
    });
    this.#drawTo(writes);
    if (shader.turns) gl.uniform4i(shader.turns, turns[0], turns[1], turns[2] ?? 0, turns[3] ?? 0);
    for (const [x, y, w, h] of rectangles(first, count)) {
      gl.scissor(x, y, w, h);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      this.counts.draws++;
    }
    this.#busy = true;
  }

  /**
   * @param {{
   *   shaders: Shader[], buffers: (Buffer | null)[], turns: number[], depth: number,
   *   late: [Buffer, Texture][],
   * }} run
   * @param {any[]} launches
   */
  #launch(run, launches) {
    const { turns } = run;
    for (const launch of launches) {
      if (launch.loop !== undefined) {
        const { loop, reverse, body } = launch;
        const { depth } = run;
        run.depth++;
        for (let i = 0; i < loop; i++) {
          turns[depth] = reverse ? loop - 1 - i : i;
          this.#launch(run, body);
        }
        run.depth = depth;
        turns[depth] = 0;
      } else if (launch.while !== undefined) {
        this.#launch(run, launch.test);
        while (this.#word(run, launch.while)) {
          this.#launch(run, launch.body);
          this.#launch(run, launch.test);
        }
      } else if (launch.branch !== undefined) {
        const last = launch.branches.length - 1;
        const chosen = Math.min(Math.max(this.#word(run, launch.branch), 0), last);
        this.#launch(run, launch.branches[chosen]);
      } else {
        this.#step(run, launch);
      }
    }
  }

  /**
   * @param {{shaders: Shader[], buffers: (Buffer | null)[], turns: number[], late: [Buffer, Texture][]}} run
   * @param {any} launch
   */
  #step(run, { kernel, reads, writes, swaps, begin, count, last }) {
    const { turns, buffers, late } = run;
    const reading = reads.map((/** @type {number} */ place) => this.#at(buffers, place).texture);
    const writing = writes.map((/** @type {number} */ place) => this.#at(buffers, place));
    const targets = writing.map((/** @type {Buffer} */ buffer, /** @type {number} */ i) =>
      swaps[i] ? this.#texture(buffer.texture.width, buffer.texture.height) : buffer.texture,
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
    if (place < 0) return this.#buffer(this.#temps[-1 - place]);
    return /** @type {Buffer} */ (buffers[place]);
  }

  /**
   * The first word of a buffer, once everything before has run.
   * @param {{buffers: (Buffer | null)[]}} run
   * @param {number} place
   */
  #word({ buffers }, place) {
    const bytes = this.#pixels(this.#at(buffers, place).texture, 0, TEXEL);
    this.#check();
    return new DataView(bytes.buffer).getInt32(0, true);
  }

  // Shaders.

  /**
   * @param {string} code
   * @param {number} reads how many textures
   * @returns {Shader}
   */
  #shader(code, reads) {
    const { gl } = this;
    const known = this.#shaders.get(code);
    if (known) return known;
    this.counts.shaders++;
    const fragment = this.#compiled(gl.FRAGMENT_SHADER, code);
    const program = gl.createProgram();
    gl.attachShader(program, this.#vertex);
    gl.attachShader(program, fragment);
    gl.linkProgram(program);
    // Nothing is asked yet: an answer would have to be waited for.
    const made = { code, users: 0, reads, program, fragment, turns: null, ready: false };
    this.#shaders.set(code, made);
    return made;
  }

  /**
   * @param {number} type
   * @param {string} code
   */
  #compiled(type, code) {
    const { gl } = this;
    const shader = /** @type {WebGLShader} */ (gl.createShader(type));
    gl.shaderSource(shader, code);
    gl.compileShader(shader);
    return shader;
  }

  /**
   * Waits for a shader and tells it its textures.
   * @param {Shader} shader
   */
  #finish(shader) {
    const { gl } = this;
    const { program, fragment, reads, code } = shader;
    if (shader.ready) return;
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      this.#check();
      const log = gl.getShaderInfoLog(fragment) || gl.getProgramInfoLog(program);
      throw new TabgradError("compile", `the browser refused a shader: ${log}\n${code}`);
    }
    gl.useProgram(program);
    this.#used = shader;
    for (let i = 0; i < reads; i++) gl.uniform1i(gl.getUniformLocation(program, `b${i}`), i);
    const block = gl.getUniformBlockIndex(program, "Frame");
    if (block !== gl.INVALID_INDEX) gl.uniformBlockBinding(program, block, 0);
    shader.turns = gl.getUniformLocation(program, "turns");
    shader.ready = true;
  }

  /**
   * Adds an entry.
   * @param {Entry[]} entries
   * @param {import("./wasm.js").Entry} entry
   * @param {any} plan
   */
  #entry(entries, entry, plan) {
    const { gl } = this;
    const { launches, scalars, temps, constants: dtypes } = plan;
    const words = Math.max(Math.ceil(plan.words / 4) * 4, FRAME_WORDS);
    /** @type {Entry} */
    const made = {
      launches,
      scalars: new Set(scalars),
      count: entry.inputs.length + entry.state.length + entry.outputs.length,
      constants: [],
      frame: gl.createBuffer(),
      words,
      temps,
      proven: false,
    };
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
    if (old && this.#buffer(old).nbytes === size) return;
    if (old) this.free(old);
    this.#temps[number] = 0;
    this.#temps[number] = this.alloc(size);
  }

  /** The bits that a float has behind the point here. */
  #probe() {
    const target = this.#texture(1, 1);
    const shader = this.#shader(PROBE, 0);
    shader.users++;
    this.#draw(shader, [], [target], 0, 1, [1, 0, 0, 0]);
    const [bits, product, one] = new Uint32Array(this.#pixels(target, 0, TEXEL).buffer);
    this.#giveBack(target);
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

/** @param {Texture} texture */
const room = ({ width, height }) => width * height * TEXEL;

/**
 * Sizes few enough that textures are used again.
 * @param {number} texels
 * @returns {[number, number]}
 */
function sizeFor(texels) {
  if (texels <= WIDTH) return [Math.max(2 ** Math.ceil(Math.log2(Math.max(texels, 1))), 16), 1];
  const rows = Math.ceil(texels / WIDTH);
  const step = rows > 8 ? 2 ** Math.max(Math.floor(Math.log2(rows - 1)) - 3, 0) : 1;
  return [WIDTH, Math.ceil(rows / step) * step];
}

/**
 * Texels one behind the other as rectangles: x, y, width, height and how many come before.
 * @param {number} first
 * @param {number} count
 */
function rectangles(first, count) {
  /** @type {number[][]} */
  const found = [];
  let x = first % WIDTH;
  let y = Math.floor(first / WIDTH);
  for (let done = 0; done < count; ) {
    const left = count - done;
    const full = !x && left >= WIDTH;
    const w = full ? WIDTH : Math.min(left, WIDTH - x);
    const h = full ? Math.floor(left / WIDTH) : 1;
    found.push([x, y, w, h, done]);
    done += w * h;
    y += h;
    x = 0;
  }
  return found;
}

/**
 * The smallest rectangle with texels from low to high, and where among its bytes they begin.
 * @param {number} low
 * @param {number} high
 */
function rowsOf(low, high) {
  const y = Math.floor(low / WIDTH);
  const h = Math.floor((high - 1) / WIDTH) - y + 1;
  const x = h === 1 ? low % WIDTH : 0;
  const w = h === 1 ? high - low : WIDTH;
  return { x, y, w, h, skip: (low - y * WIDTH - x) * TEXEL, bytes: w * h * TEXEL };
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

/**
 * @param {number} bytes
 * @param {string} why
 */
function noMemory(bytes, why) {
  return new TabgradError(
    "memory",
    `no memory for a buffer of ${bytes.toLocaleString("en")} bytes ${why}; use smaller batches or ` +
      'less data, or engine "wasm"',
  );
}

const lost = () =>
  new TabgradError(
    "lost",
    "expected the WebGL context to stay; the browser took it away, and what was on it is gone. " +
      'Open the engine again, or use engine "wasm"',
  );
