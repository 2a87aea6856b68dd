// The textures of a WebGL2 context: words of integers, four a texel, one behind the other in rows. How
// they are made, filled, read, drawn to and used again, and what the context has bound of them.
//
// Not here: whose they are (webgl.js), and shaders (shaders.js).

import { noMemory } from "./handles.js";
import { Pool } from "./pool.js";

const MAX_WIDTH = 2048; // texels of a row, which are a power of two: shaders count on that
const MAX_POOLED = 256 * 2 ** 20; // bytes of textures that wait to be used again
const MAX_FRAMEBUFFERS = 1024;
const WORK_UNIT = 16; // where textures are bound to be made and filled: shaders use those before

/** Bytes of a texel. */
export const TEXEL = 16;

/**
 * @typedef {object} Texture
 * @property {WebGLTexture} gl
 * @property {number} number
 * @property {number} width
 * @property {number} height
 * @property {Set<string>} framebuffers that draw to it
 */

export class Textures {
  /** @type {Pool<Texture>} of each size */
  #pool = new Pool(MAX_POOLED);
  /** @type {Map<string, WebGLFramebuffer>} by the numbers of their textures */
  #framebuffers = new Map();
  /** @type {(Texture | null)[]} what is bound for shaders to read */
  #bound = [];
  /** What is bound to be drawn to. */
  #target = "";
  /** The first error that was found while looking for others. */
  #noted = 0;
  #largest;

  /**
   * @param {WebGL2RenderingContext} gl
   * @param {{textures: number, framebuffers: number}} counts
   * @param {{live: number}} buffers
   * @param {() => void} doubt is called before textures are drawn to for the first time
   */
  constructor(gl, counts, buffers, doubt) {
    this.gl = gl;
    this.counts = counts;
    this.buffers = buffers;
    this.doubt = doubt;
    this.#largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  }

  /** Bytes of those that wait to be used again. */
  get waiting() {
    return this.#pool.bytes;
  }

  /**
   * @param {number} width
   * @param {number} height
   * @returns {Texture}
   */
  make(width, height) {
    const { gl } = this;
    const bytes = width * height * TEXEL;
    const found = this.#pool.take(`${width} ${height}`, bytes);
    if (found) return found;
    if (height > this.#largest) {
      throw noMemory(bytes, `of at most ${(MAX_WIDTH * this.#largest * TEXEL).toLocaleString("en")} here`);
    }
    const large = bytes >= 2 ** 22;
    if (large) this.#noted = this.error();
    const made = gl.createTexture();
    this.#work(made);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32UI, width, height);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    }
    this.counts.textures++;
    if (large && this.#asked() === gl.OUT_OF_MEMORY) {
      gl.deleteTexture(made);
      for (const one of this.#pool.clear()) this.#delete(one);
      throw noMemory(bytes, `beside the ${this.buffers.live.toLocaleString("en")} in use`);
    }
    return { gl: made, number: this.counts.textures, width, height, framebuffers: new Set() };
  }

  /** @param {Texture} texture */
  giveBack(texture) {
    const { width, height } = texture;
    if (!this.#pool.put(`${width} ${height}`, room(texture), texture)) this.#delete(texture);
  }

  /**
   * @param {Texture} texture
   * @param {number} first texel
   * @param {Uint8Array} bytes of whole texels
   */
  fill(texture, first, bytes) {
    const { gl } = this;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.#work(texture.gl);
    for (const [x, y, w, h, from] of rectangles(texture, first, words.length / 4)) {
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
  pixels(texture, low, high) {
    const { gl } = this;
    const { x, y, w, h, skip, bytes } = rowsOf(texture, low / TEXEL, high / TEXEL);
    const words = new Uint32Array(bytes / 4);
    this.drawTo([texture]);
    gl.readPixels(x, y, w, h, gl.RGBA_INTEGER, gl.UNSIGNED_INT, words);
    return new Uint8Array(words.buffer, skip, high - low);
  }

  /**
   * Binds a texture for shaders to read.
   * @param {number} unit
   * @param {Texture} texture
   */
  bind(unit, texture) {
    const { gl } = this;
    if (this.#bound[unit] === texture) return;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture.gl);
    this.#bound[unit] = texture;
  }

  /**
   * Binds textures of one size to be drawn to.
   * @param {Texture[]} textures
   */
  drawTo(textures) {
    const { gl } = this;
    const key = textures.map(({ number }) => number).join();
    if (key === this.#target) return;
    this.#target = key;
    const found = this.#framebuffers.get(key);
    gl.bindFramebuffer(gl.FRAMEBUFFER, found ?? this.#framebuffer(key));
    if (found) return;
    textures.forEach((texture, i) => {
      const place = gl.COLOR_ATTACHMENT0 + i;
      gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, texture.gl, 0);
      texture.framebuffers.add(key);
    });
    gl.drawBuffers(textures.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
    // Whether it is complete is not asked: the browser would answer once all draws are done.
    this.doubt();
  }

  /** The first error since it was asked last; this waits for everything drawn. */
  error() {
    const first = this.#noted || this.#asked();
    this.#noted = 0;
    return first;
  }

  clear() {
    this.#pool.clear();
    this.#framebuffers.clear();
  }

  /** @param {Texture} texture */
  #delete(texture) {
    for (const key of texture.framebuffers) this.#deleteFramebuffer(key);
    this.#bound = this.#bound.map((one) => (one === texture ? null : one));
    this.gl.deleteTexture(texture.gl);
  }

  /** @param {string} key */
  #framebuffer(key) {
    for (const oldest of this.#framebuffers.keys()) {
      if (this.#framebuffers.size < MAX_FRAMEBUFFERS) break;
      this.#deleteFramebuffer(oldest);
    }
    const made = this.gl.createFramebuffer();
    this.counts.framebuffers++;
    this.#framebuffers.set(key, made);
    return made;
  }

  /** @param {string} key */
  #deleteFramebuffer(key) {
    const found = this.#framebuffers.get(key);
    if (!found) return;
    this.#framebuffers.delete(key);
    this.gl.deleteFramebuffer(found);
    if (this.#target === key) this.#target = "";
  }

  #asked() {
    let first = 0;
    // A lost context says so only once; others have at most a few errors waiting.
    for (let i = 0, error; i < 8 && (error = this.gl.getError()); i++) first ||= error;
    return first;
  }

  /** @param {WebGLTexture} texture */
  #work(texture) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + WORK_UNIT);
    gl.bindTexture(gl.TEXTURE_2D, texture);
  }
}

/** @param {Texture} texture */
export const room = ({ width, height }) => width * height * TEXEL;

/**
 * A width and a height, few enough of them that textures are used again. They are about the same,
 * because what is drawn is shared out by squares: of a single row half of each is in vain.
 * @param {number} texels
 * @returns {[number, number]}
 */
export function sizeFor(texels) {
  const bits = Math.ceil(Math.log2(Math.max(texels, 16)));
  const width = Math.min(2 ** Math.ceil(bits / 2), MAX_WIDTH);
  if (texels <= MAX_WIDTH) return [width, 2 ** bits / width];
  const rows = Math.ceil(texels / width);
  const step = rows > 8 ? 2 ** Math.max(Math.floor(Math.log2(rows - 1)) - 3, 0) : 1;
  return [width, Math.ceil(rows / step) * step];
}

/**
 * Texels one behind the other as rectangles: x, y, width, height and how many come before.
 * @param {{width: number}} texture
 * @param {number} first
 * @param {number} count
 */
export function rectangles({ width }, first, count) {
  /** @type {number[][]} */
  const found = [];
  let x = first % width;
  let y = Math.floor(first / width);
  for (let done = 0; done < count; ) {
    const left = count - done;
    const full = !x && left >= width;
    const w = full ? width : Math.min(left, width - x);
    const h = full ? Math.floor(left / width) : 1;
    found.push([x, y, w, h, done]);
    done += w * h;
    y += h;
    x = 0;
  }
  return found;
}

/**
 * The smallest rectangle with texels from low to high, and where among its bytes they begin.
 * @param {{width: number}} texture
 * @param {number} low
 * @param {number} high
 */
export function rowsOf({ width }, low, high) {
  const y = Math.floor(low / width);
  const h = Math.floor((high - 1) / width) - y + 1;
  const x = h === 1 ? low % width : 0;
  const w = h === 1 ? high - low : width;
  return { x, y, w, h, skip: (low - y * width - x) * TEXEL, bytes: w * h * TEXEL };
}
