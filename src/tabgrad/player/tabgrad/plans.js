// Programs for GPUs as both engines read them: their JSON, the words of a frame, and the order of
// launches, which loops, `while` and `cond` decide.
//
// Not here: what one launch does, which is a dispatch (recordings.js) or a draw (webgl.js).

import { TabgradError } from "./errors.js";

/**
 * @typedef {object} Planned what entries of both engines have
 * @property {any[]} launches
 * @property {Set<number>} scalars which arguments are no handles
 * @property {number} count of arguments
 * @property {number} outputs place of the first
 * @property {boolean[]} writes of each argument, whether it is written
 * @property {number[]} constants handles
 * @property {number} words of the frame
 */

/**
 * The kernels and the plans of a Program's binary.
 * @param {import("./wasm.js").Program["module"]} binary
 * @returns {{kernels: any[], entries: any[]}}
 */
export const parsed = (binary) =>
  JSON.parse(new TextDecoder().decode(/** @type {BufferSource} */ (binary)));

/**
 * The frame of a run: no word of ours, the rows, then the scalars.
 * @param {Planned} entry
 * @param {number} number of the entry
 * @param {ArrayLike<number>} args
 * @param {number} rows
 */
export function frameOf(entry, number, args, rows) {
  if (args.length !== entry.count) {
    throw new TabgradError(
      "range",
      `entry ${number} takes ${entry.count} arguments (inputs, state, outputs), received ` +
        args.length,
    );
  }
  const frame = new Uint32Array(entry.words);
  frame[1] = rows;
  let at = 2;
  for (const i of entry.scalars) frame[at++] = args[i];
  return frame;
}

/**
 * What entries of both engines have.
 * @param {import("./wasm.js").Entry} entry
 * @param {any} plan
 * @param {number} words of the frame
 * @returns {Planned}
 */
export function planned({ inputs, state, outputs }, { launches, scalars }, words) {
  const writes = [
    ...Array(inputs.length).fill(false),
    ...state.map(({ update }) => update),
    ...Array(outputs.length).fill(true),
  ];
  return {
    launches,
    scalars: new Set(scalars),
    count: writes.length,
    outputs: inputs.length + state.length,
    writes,
    constants: [],
    words,
  };
}

/**
 * Visits launches in the order of a run; yields the place of a buffer wherever what comes next
 * depends on its first word.
 * @param {any[]} launches
 * @param {(launch: any, turns: number[]) => void} visit is told the turns of the loops around,
 *   outermost first, which it must not keep
 * @param {number[]} [turns]
 * @param {number} [depth] how many loops are around
 * @returns {Generator<number, void, number>}
 */
export function* walk(launches, visit, turns = [0, 0, 0, 0], depth = 0) {
  for (const launch of launches) {
    if (launch.loop !== undefined) {
      const { loop, reverse, body } = launch;
      for (let i = 0; i < loop; i++) {
        turns[depth] = reverse ? loop - 1 - i : i;
        yield* walk(body, visit, turns, depth + 1);
      }
      turns[depth] = 0;
    } else if (launch.while !== undefined) {
      yield* walk(launch.test, visit, turns, depth);
      while (yield launch.while) {
        yield* walk(launch.body, visit, turns, depth);
        yield* walk(launch.test, visit, turns, depth);
      }
    } else if (launch.branch !== undefined) {
      const last = launch.branches.length - 1;
      const chosen = Math.min(Math.max(yield launch.branch, 0), last);
      yield* walk(launch.branches[chosen], visit, turns, depth);
    } else {
      visit(launch, turns);
    }
  }
}

/**
 * @param {string} message
 * @param {string} code
 */
export const refused = (message, code) =>
  new TabgradError("compile", `the browser refused a shader: ${message}\n${code}`);
