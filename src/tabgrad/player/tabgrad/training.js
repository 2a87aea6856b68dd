// The training loop of the page. It makes the same batches, shuffles, metrics and history as
// training.py, so that the same seed gives the same numbers.
//
// It knows entries, batches and metrics, nothing of layers: a training step is one call of the
// engine. It runs about 16 ms of steps at a time, then lets messages through.

import { bytesOf, fromBytes } from "./dtypes.js";
import { TabgradError } from "./errors.js";
import { Turn, settled } from "./turns.js";

/**
 * @typedef {import("./arrays.js").Packed} Packed
 * @typedef {import("./files.js").Entry} Entry
 * @typedef {import("./session.js").Session} Session
 * @typedef {import("./session.js").Stored} Stored
 * @typedef {Record<string, number>} Logs
 *
 * @typedef {{columns: Record<string, Packed>, rows: number}} Dataset inputs and targets by name
 *
 * @typedef {object} FitRequest
 * @property {Dataset} data
 * @property {Dataset | null} validation
 * @property {number} validationSplit
 * @property {number} batchSize
 * @property {number} epochs
 * @property {number} initialEpoch
 * @property {boolean} shuffle
 * @property {number} [seed] by default the one that was exported
 *
 * @typedef {{data: Dataset, batchSize: number}} EvaluateRequest
 */

/**
 * Trains; the caller takes care of the variables when this fails.
 * @param {Session} session
 * @param {FitRequest} request
 * @param {import("./session.js").Hooks} hooks
 */
export async function fit(session, request, hooks) {
  const { epochs, initialEpoch, shuffle, batchSize } = request;
  const seed = request.seed ?? session.model.training?.seed ?? 0;
  const offset = request.seed === undefined ? session.epochsDone - initialEpoch : 0;
  const { lock, engine } = session;
  const rows = request.data.rows;
  // As in Keras, the last rows are held out, and the others are shuffled without them.
  const trainRows = Math.floor(rows * (1 - request.validationSplit));
  if (!trainRows || (request.validationSplit && trainRows === rows)) {
    throw new TabgradError(
      "option",
      `validationSplit ${request.validationSplit} of ${rows} rows leaves ${trainRows} to train ` +
        `on and ${rows - trainRows} to validate on; both must be at least 1`,
    );
  }
  const steps = Math.ceil(trainRows / batchSize);
  /** @type {Record<string, number[]>} */
  const history = {};
  /** @type {number[]} */
  const epoch = [];
  const turn = new Turn();
  const stopIfAborted = () => {
    if (hooks.signal.aborted) {
      throw new TabgradError("aborted", "fit was aborted; the weights are as before it began");
    }
  };
  /** @type {{free: () => void}[]} */
  const owned = [];
  /** @type {<T extends {free: () => void}>(made: T) => T} */
  const own = (made) => (owned.push(made), made);
  let release = await lock.take();
  try {
    const dataset = own(new Resident(session, "train_step", request.data));
    let validation = null;
    if (request.validation) validation = own(new Resident(session, "evaluate", request.validation));
    else if (trainRows < rows) validation = dataset;
    const held = range(validation === dataset ? trainRows : 0, validation?.rows ?? 0);
    const train = own(new Feed(session, "train_step", batchSize, dataset, trainRows));
    const check =
      validation && own(new Feed(session, "evaluate", batchSize, validation, held.length));
    const meters = new Meters(session);
    const inOrder = range(0, trainRows);
    for (let e = initialEpoch; e < epochs; e++) {
      const order = shuffle ? shuffled(trainRows, seed, e + offset) : inOrder;
      meters.zero();
      /** @type {Logs} */
      let logs = {};
      for (let step = 0; step < steps; ) {
        stopIfAborted();
        const end = Math.min(steps, step + (engine.few ?? steps));
        do train.step(order, step++);
        while (step < end && !turn.over);
        logs = await meters.read();
        if (!Number.isFinite(logs.loss)) throw lossError(logs.loss, e);
        if (turn.over) {
          release();
          hooks.progress?.({ epoch: e, epochs, step, steps, logs });
          await turn.pause();
          release = await lock.take();
        }
      }
      session.epochsDone++;
      if (check) {
        const measured = await measure(session, check, held, turn, stopIfAborted);
        for (const name in measured) logs[`val_${name}`] = measured[name];
      }
      for (const name in logs) (history[name] ??= []).push(logs[name]);
      epoch.push(e);
      await engine.keep?.();
      if (hooks.epochEnd) {
        release();
        const goOn = await hooks.epochEnd(e, logs);
        release = await lock.take();
        if (!goOn) break;
      }
      stopIfAborted();
    }
  } finally {
    release();
    owned.forEach((each) => each.free());
  }
  return { epoch, history };
}

/**
 * Loss and metrics over a dataset. What `fit` is adding up meanwhile is not touched.
 * @param {Session} session
 * @param {EvaluateRequest} request
 */
export async function evaluate(session, { data, batchSize }) {
  const before = await session.snapshot(session.entries("evaluate"));
  const dataset = new Resident(session, "evaluate", data);
  let feed;
  try {
    feed = new Feed(session, "evaluate", batchSize, dataset, data.rows);
    return await measure(session, feed, range(0, data.rows), new Turn(), () => {});
  } finally {
    feed?.free();
    dataset.free();
    session.restore(before);
  }
}

/**
 * @param {Session} session
 * @param {Feed} feed
 * @param {Uint32Array} order
 * @param {Turn} turn
 * @param {() => void} stopIfAborted
 */
async function measure(session, feed, order, turn, stopIfAborted) {
  const meters = new Meters(session);
  meters.zero();
  for (let step = 0; step * feed.batchSize < order.length; step++) {
    feed.step(order, step);
    if (turn.over) {
      await session.engine.sync?.();
      await turn.pause();
      stopIfAborted();
    }
  }
  return meters.read();
}

/** A dataset in the engine's memory, uploaded once. */
class Resident {
  /** @type {Map<string, {handle: number, rowBytes: number}>} */
  columns = new Map();
  #engine;

  /**
   * @param {Session} session
   * @param {string} entry that it is for
   * @param {Dataset} data
   */
  constructor(session, entry, { columns, rows }) {
    const { engine } = session;
    this.#engine = engine;
    this.rows = rows;
    try {
      for (const { name, dtype } of session.entries(entry)[0].inputs) {
        const bytes = bytesOf(columns[name].data);
        const handle = engine.alloc(bytes.length, dtype);
        this.columns.set(name, { handle, rowBytes: bytes.length / rows });
        engine.write(handle, bytes);
      }
    } catch (error) {
      this.free();
      throw error;
    }
  }

  free() {
    for (const { handle } of this.columns.values()) this.#engine.free(handle);
  }
}

/** Feeds batches of a dataset to one entry, without leaving the engine's memory. */
class Feed {
  #engine;
  #bound;
  #copies;

  /**
   * @param {Session} session
   * @param {string} name
   * @param {number} batchSize
   * @param {Resident} dataset
   * @param {number} rows of it that will be fed
   */
  constructor(session, name, batchSize, dataset, rows) {
    const entry = /** @type {Entry} */ (session.entries(name).find((e) => e.rows === batchSize));
    if (entry.exact && rows % batchSize) {
      throw new TabgradError(
        "rows",
        `"${name}" takes whole batches of ${batchSize} only; ${rows} rows leave ` +
          `${rows % batchSize} over`,
      );
    }
    this.batchSize = batchSize;
    this.#engine = session.engine;
    this.#bound = session.bind(entry);
    this.#copies = entry.inputs.map((spec, i) => {
      const column = /** @type {any} */ (dataset.columns.get(spec.name));
      const to = this.#bound.inputs[i];
      // Real rows stay behind those of a smaller batch; the entry is told the true count.
      if (rows % batchSize) {
        this.#engine.copyRows(to, column.handle, column.rowBytes, new Uint32Array(batchSize));
      }
      return { ...column, to };
    });
  }

  /**
   * Runs batch number `index` of an order of rows.
   * @param {Uint32Array} order
   * @param {number} index
   */
  step(order, index) {
    const rows = order.subarray(index * this.batchSize, (index + 1) * this.batchSize);
    for (const { to, handle, rowBytes } of this.#copies) {
      this.#engine.copyRows(to, handle, rowBytes, rows);
    }
    this.#bound.run(rows.length);
  }

  free() {
    this.#bound.free();
  }
}

/** Where steps add up the loss and the metrics. */
class Meters {
  #session;
  #names;
  #variables;

  /** @param {Session} session */
  constructor(session) {
    const { metrics } = /** @type {import("./files.js").Training} */ (session.model.training);
    this.#session = session;
    this.#names = metrics.map(({ name }) => name);
    this.#variables = metrics.flatMap(({ total, count }) =>
      [total, count].map((name) => session.variable(name)),
    );
  }

  zero() {
    for (const variable of this.#variables) this.#session.zero(variable);
  }

  /** @returns {Logs | Promise<Logs>} */
  read() {
    const reads = this.#variables.map((variable) => this.#session.bytes(variable));
    return settled(reads, (bytes) => {
      const values = bytes.map((each, i) =>
        Number(fromBytes(this.#variables[i].spec.dtype, each)[0]),
      );
      /** @type {Logs} */
      const logs = {};
      this.#names.forEach((name, i) => {
        logs[name] = values[2 * i + 1] && values[2 * i] / values[2 * i + 1];
      });
      return logs;
    });
  }
}

/**
 * @param {number} loss
 * @param {number} epoch
 */
function lossError(loss, epoch) {
  return new TabgradError(
    "nan_loss",
    `the loss became ${loss} in epoch ${epoch + 1}; the weights are as before fit began. ` +
      "Try a smaller learning rate, or look for NaN in the data",
  );
}

/**
 * @param {number} start
 * @param {number} end
 */
function range(start, end) {
  return Uint32Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);
}

/**
 * Rows 0 to n - 1 in the order of an epoch: sorted by random bits, equal bits in order.
 * @param {number} n
 * @param {number} seed
 * @param {number} epoch
 */
export function shuffled(n, seed, epoch) {
  // Numbers of 64 bits, with the row's number, which decides where bits are equal, in the low half.
  const words = new Uint32Array(2 * n);
  for (let i = 0; i < n; i++) {
    words[2 * i] = i;
    words[2 * i + 1] = threefry(seed, epoch, 0, i)[0];
  }
  new BigUint64Array(words.buffer).sort();
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = words[2 * i];
  return order;
}

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/**
 * Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3").
 * @param {number} k0
 * @param {number} k1
 * @param {number} c0
 * @param {number} c1
 * @returns {[number, number]}
 */
export function threefry(k0, k1, c0, c1) {
  const keys = [k0 | 0, k1 | 0, 0x1bd11bda ^ k0 ^ k1];
  let a = (c0 + keys[0]) | 0;
  let b = (c1 + keys[1]) | 0;
  for (let round = 0; round < 20; round++) {
    const rotation = ROTATIONS[round % 8];
    a = (a + b) | 0;
    b = ((b << rotation) | (b >>> (32 - rotation))) ^ a;
    if (round % 4 === 3) {
      const group = (round + 1) / 4;
      a = (a + keys[group % 3]) | 0;
      b = (b + keys[(group + 1) % 3] + group) | 0;
    }
  }
  return [a >>> 0, b >>> 0];
}
