// A run on WebGPU as commands: bind groups are made once for the same buffers, dispatches go into one
// pass and, with the copies of rows that waited for them, one submit, and a table in memory says of
// each turn of a loop which it is.
//
// Not here: what runs when (plans.js), and whether it went well (fates.js).

import { noMemory } from "./handles.js";

const ALIGN = 256; // of the turns that a dynamic offset points to
const MAX_RECORDINGS = 8; // of an entry
const MAX_DISPATCHES = 10_000; // of a submit: long loops take several

/**
 * @typedef {import("./fates.js").Fate} Fate
 *
 * @typedef {object} Memory of the GPU, one buffer's after the other
 * @property {number} number
 * @property {GPUBuffer} gpu
 * @property {Fate | null} made whether there was any
 * @property {Set<Recording>} recordings that have it
 *
 * @typedef {object} Buffer
 * @property {number} nbytes as the rest of tabgrad counts
 * @property {string} dtype
 * @property {Memory} memory
 * @property {Fate | null} filled of its contents
 *
 * @typedef {object} Recording what an entry's runs in the same memory have in common
 * @property {Entry} entry
 * @property {string} key
 * @property {(Buffer | undefined)[]} members
 * @property {GPUBindGroup[]} groups of each launch
 *
 * @typedef {object} Run
 * @property {Entry} entry
 * @property {(Buffer | undefined)[]} buffers of arguments and constants; none of scalars
 * @property {Buffer[]} temps
 * @property {GPUBindGroup[]} groups of each launch
 *
 * @typedef {object} Own
 * @property {number} temps how many it has
 * @property {GPUBuffer} frame
 * @property {GPUBuffer} turns
 * @property {Map<string, Recording>} recordings by the numbers of their memory
 *
 * @typedef {import("./plans.js").Planned & Own} Entry
 *
 * @typedef {[GPUBuffer, number, GPUBuffer, number, number]} Span to copy: from where, to where, bytes
 */

/**
 * A run of an entry with some arguments.
 * @param {Entry} entry
 * @param {ArrayLike<number>} args
 * @param {number[]} temporaries
 * @param {(handle: number) => Buffer} lookup
 * @returns {Run}
 */
export function recorded(entry, args, temporaries, lookup) {
  const { scalars, recordings, constants } = entry;
  const buffers = [...Array.from(args), ...constants].map((word, i) =>
    scalars.has(i) ? undefined : lookup(word),
  );
  const temps = temporaries.slice(0, entry.temps).map(lookup);
  const members = [...buffers, ...temps];
  const key = members.map((buffer) => buffer?.memory.number).join();
  let recording = recordings.get(key);
  if (!recording) {
    recording = { entry, key, members, groups: [] };
    for (const oldest of recordings.values()) {
      if (recordings.size < MAX_RECORDINGS) break;
      forget(oldest);
    }
    recordings.set(key, recording);
    for (const buffer of members) buffer?.memory.recordings.add(recording);
  }
  return { entry, buffers, temps, groups: recording.groups };
}

/** @param {Recording} recording */
export function forget(recording) {
  const { entry, key, members } = recording;
  entry.recordings.delete(key);
  for (const buffer of members) buffer?.memory.recordings.delete(recording);
}

/**
 * @param {Run} run
 * @param {number} place
 */
export const bufferAt = ({ buffers, temps }, place) =>
  /** @type {Buffer} */ (place >= 0 ? buffers[place] : temps[-1 - place]);

/** What is to be submitted together: copies wait here for whatever is submitted next. */
export class Commands {
  /** @type {GPUCommandEncoder | null} */
  #encoder = null;

  /**
   * @param {GPUDevice} device
   * @param {{submits: number, passes: number, dispatches: number, groups: number}} counts
   */
  constructor(device, counts) {
    this.device = device;
    this.counts = counts;
  }

  /** With what waits in it. */
  encoder() {
    return (this.#encoder ??= this.device.createCommandEncoder());
  }

  submit() {
    if (!this.#encoder) return;
    this.counts.submits++;
    this.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
  }

  /** @param {Memory} memory that nobody has any more, but copies that wait */
  destroy = ({ gpu, recordings }) => {
    this.submit();
    recordings.forEach(forget);
    gpu.destroy();
  };
}

/**
 * Records the commands of one run.
 * @param {Commands} commands
 * @param {import("./pipelines.js").Pipeline[]} pipelines
 * @param {Run} run
 */
export function recorder(commands, pipelines, run) {
  const { device, counts } = commands;
  const { entry } = run;
  /** @type {GPUComputePassEncoder | null} */
  let pass = null;
  let dispatches = 0;

  /**
   * @param {GPUBindGroupLayout} layout
   * @param {boolean} told
   * @param {number[]} places
   */
  const group = (layout, told, places) => {
    counts.groups++;
    const entries = places.map((place, i) => ({
      binding: i + 2,
      resource: { buffer: bufferAt(run, place).memory.gpu },
    }));
    entries.push({ binding: 0, resource: { buffer: entry.frame } });
    if (told) {
      const resource = { buffer: entry.turns, size: 16 };
      entries.push({ binding: 1, resource });
    }
    return device.createBindGroup({ layout, entries });
  };

  /** Submits what was recorded since the last time. */
  const finish = () => {
    pass?.end();
    pass = null;
    commands.submit();
  };

  /**
   * @param {any} launch
   * @param {number[]} turns of the loops around
   */
  const dispatch = ({ kernel, groups, buffers, at, base, lengths }, turns) => {
    const { pipeline, layout, turns: told } = pipelines[kernel];
    if (!pass) {
      pass = commands.encoder().beginComputePass();
      counts.passes++;
    }
    pass.setPipeline(/** @type {GPUComputePipeline} */ (pipeline));
    let place = 0;
    for (let i = 0; i < lengths.length; i++) place = place * lengths[i] + turns[i];
    pass.setBindGroup(
      0,
      (run.groups[at] ??= group(layout, told, buffers)),
      told ? [ALIGN * (base + place)] : [],
    );
    pass.dispatchWorkgroups(groups[0], groups[1]);
    counts.dispatches++;
    if (++dispatches % MAX_DISPATCHES === 0) finish();
  };
  return { dispatch, finish };
}

/**
 * Numbers launches and the turns of loops, and makes the table of the latter: of each turn the
 * numbers of the loops around, outermost first.
 * @param {any[]} launches
 * @param {number} most bytes of the table
 */
export function numbered(launches, most) {
  /** @type {number[][]} */
  const rows = [[]];
  let at = 0;
  const visit = (
    /** @type {any[]} */ some,
    /** @type {number} */ base,
    /** @type {number} */ size,
    /** @type {number[]} */ lengths,
  ) => {
    for (const launch of some) {
      const { loop, body, test, branches } = launch;
      if (launch.kernel !== undefined) Object.assign(launch, { at: at++, base, lengths });
      if (loop === undefined) {
        for (const part of [body, test, ...(branches ?? [])]) visit(part ?? [], base, size, lengths);
        continue;
      }
      const first = rows.length;
      const bytes = (first + size * loop) * ALIGN;
      if (bytes > most) throw noMemory(bytes, "for the turns of loops");
      for (let i = 0; i < size * loop; i++) {
        rows.push([...rows[base + Math.floor(i / loop)], i % loop]);
      }
      visit(body, first, size * loop, [...lengths, loop]);
    }
  };
  visit(launches, 0, 1, []);
  const table = new Int32Array((ALIGN / 4) * rows.length);
  rows.forEach((row, i) => table.set(row, (ALIGN / 4) * i));
  return table;
}
