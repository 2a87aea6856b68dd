// The shaders of a WebGL2 context: compiled beside the page where the browser can, once for equal
// ones, and those that the engine itself draws with.
//
// Not here: what they read and draw to (textures.js). Programs' shaders are written by targets/glsl/.

import { refused } from "./plans.js";

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1);
  gl_Position = vec4(corner, 0, 1);
}`;

const HEAD = `#version 300 es
precision highp float; precision highp int; precision highp usampler2D;
layout(location = 0) out uvec4 o0;
uniform int across;
uint at(usampler2D b, int i) {
  int texel = i >> 2, width = textureSize(b, 0).x;
  return texelFetch(b, ivec2(texel % width, texel / width), 0)[i & 3];
}
`;

// Rows of b0 by the numbers in b1; turns is (words of a row, words in all, 0, 0). Behind the last
// word stays what is in b2.
export const COPY_ROWS = `${HEAD}uniform ivec4 turns; uniform usampler2D b0, b1, b2;
void main() {
  int first = (int(gl_FragCoord.x) + int(gl_FragCoord.y) * across) * 4;
  for (int lane = 0; lane < 4; lane++) {
    int i = first + lane, row = i / turns.x;
    uint word = i < turns.y ? at(b0, int(at(b1, row)) * turns.x + i % turns.x) : at(b2, i);
    o0 = uvec4(o0.yzw, word);
  }
}`;

// How many bits a float has behind the point, asked of numbers that no compiler knows.
export const PROBE = `${HEAD}uniform ivec4 turns;
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
 * @typedef {object} Shader
 * @property {string} code
 * @property {number} users
 * @property {number} reads how many textures
 * @property {WebGLProgram} program
 * @property {WebGLShader} fragment
 * @property {WebGLUniformLocation | null} turns
 * @property {WebGLUniformLocation | null} across texels of a row of what it draws to
 * @property {number} width what that is set to
 * @property {boolean} ready whether it is linked, and knows its textures
 */

export class Shaders {
  /** @type {Map<string, Shader>} by their code */
  #shaders = new Map();
  /** @type {Shader | null} the one in use */
  #used = null;
  #vertex;
  #parallel;

  /**
   * @param {WebGL2RenderingContext} gl
   * @param {{shaders: number}} counts
   * @param {() => void} check throws if the context is lost
   */
  constructor(gl, counts, check) {
    this.gl = gl;
    this.counts = counts;
    this.check = check;
    this.#parallel = gl.getExtension("KHR_parallel_shader_compile");
    this.#vertex = this.#compiled(gl.VERTEX_SHADER, VERTEX);
  }

  /**
   * @param {string} code
   * @param {number} reads how many textures
   * @returns {Shader}
   */
  get(code, reads) {
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
    const own = { turns: null, across: null, width: 0, ready: false };
    const made = { code, users: 0, reads, program, fragment, ...own };
    this.#shaders.set(code, made);
    return made;
  }

  /**
   * Whether the browser is still compiling a shader; one that cannot tell says no.
   * @param {Shader} shader
   */
  pending({ program, ready }) {
    const parallel = this.#parallel;
    if (ready || !parallel || this.gl.isContextLost()) return false;
    return !this.gl.getProgramParameter(program, parallel.COMPLETION_STATUS_KHR);
  }

  /**
   * Waits for a shader and tells it its textures.
   * @param {Shader} shader
   */
  finish(shader) {
    const { gl } = this;
    const { program, fragment, reads, code } = shader;
    if (shader.ready) return;
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      this.check();
      const log = gl.getShaderInfoLog(fragment) || gl.getProgramInfoLog(program);
      throw refused(`${log}`, code);
    }
    gl.useProgram(program);
    this.#used = shader;
    for (let i = 0; i < reads; i++) gl.uniform1i(gl.getUniformLocation(program, `b${i}`), i);
    const block = gl.getUniformBlockIndex(program, "Frame");
    if (block !== gl.INVALID_INDEX) gl.uniformBlockBinding(program, block, 0);
    shader.turns = gl.getUniformLocation(program, "turns");
    shader.across = gl.getUniformLocation(program, "across");
    shader.ready = true;
  }

  /** @param {Shader} shader */
  use(shader) {
    if (!shader.ready) this.finish(shader);
    if (this.#used === shader) return;
    this.gl.useProgram(shader.program);
    this.#used = shader;
  }

  /**
   * Tells the shader in use how wide the textures are that it draws to.
   * @param {Shader} shader
   * @param {number} width
   */
  drawsTo(shader, width) {
    if (shader.width === width) return;
    this.gl.uniform1i(shader.across, width);
    shader.width = width;
  }

  /**
   * Forgets a shader that one Program less uses, with the last of them.
   * @param {Shader} shader
   */
  leave(shader) {
    if (--shader.users) return;
    this.#shaders.delete(shader.code);
    this.gl.deleteProgram(shader.program);
    this.gl.deleteShader(shader.fragment);
    if (this.#used === shader) this.#used = null;
  }

  clear() {
    this.#shaders.clear();
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
}
