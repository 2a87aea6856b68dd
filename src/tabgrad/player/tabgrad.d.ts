/** Types of the player's API; tabgrad.js implements them. */

export type TypedArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** Numbers, or numbers in arrays of any depth. */
export type Nested = number | boolean | bigint | TypedArray | readonly Nested[];

/** What can be given for one input: nested arrays, or flat row-major data with its shape. */
export type ArrayLike = Nested | { data: TypedArray | readonly number[]; shape: readonly number[] };

/** One value where a model has one input; an array, or an object by name, where it has several. */
export type Values = ArrayLike | readonly ArrayLike[] | { readonly [name: string]: ArrayLike };

/** A result. It is a copy that belongs to you. bool comes as bytes 0 and 1, float16 as float32. */
export interface Tensor {
  readonly data: TypedArray;
  readonly shape: number[];
  readonly dtype: string;
  /**
   * The values as nested arrays; the bare value where there are no axes. 64-bit integers come as
   * numbers where these are exact, else as bigints.
   */
  tolist(): any;
}

/** One tensor where there is one; an array, or an object by name, where there are several. */
export type Results = any;

/** Loss and metrics by name; in `fit` also those of the validation data as `val_loss`, ... */
export type Logs = Record<string, number>;

export interface Progress {
  /** The epoch that is running, from 0, and how many there are. */
  epoch: number;
  epochs: number;
  /** How many steps of this epoch are done, and how many it has. */
  step: number;
  steps: number;
  /** Loss and metrics of this epoch so far. */
  logs: Logs;
}

export interface FitOptions {
  /** Default 1. */
  epochs?: number;
  /** One of the exported batch sizes; by default the one used in Python. */
  batchSize?: number;
  /** Default true: a new order each epoch, decided by the seed. */
  shuffle?: boolean;
  /**
   * Fixes the orders, which are then those of Python. By default they go on where the last `fit`
   * stopped, in the page or in Python.
   */
  seed?: number;
  /** The part of the rows, from the end, that is held out; ignored where validationData is given. */
  validationSplit?: number;
  validationData?: readonly [Values, Values];
  /** The epoch to begin with, when training goes on. Default 0. */
  initialEpoch?: number;
  /**
   * Called after each epoch, which waits for it. Return `false` to stop here and keep what was
   * learnt; `fit` then resolves with the history so far.
   */
  onEpochEnd?(epoch: number, logs: Logs): unknown;
  /** Called during long epochs, about 60 times a second at most. */
  onProgress?(progress: Progress): void;
  /**
   * Aborts: `fit` rejects with code "aborted" and the weights are as before it began. To stop and
   * keep what was learnt, let `onEpochEnd` return false.
   */
  signal?: AbortSignal;
}

export interface History {
  /** The epochs that ran, from 0. */
  epoch: number[];
  /** One number an epoch: loss, metrics, val_loss, ... */
  history: Record<string, number[]>;
}

export interface Value {
  name: string;
  shape: number[];
  dtype: string;
  /** The leading axis holds rows, of which any number can be given. */
  rows?: boolean;
  /** Whole numbers from 0 to classes - 1. */
  classes?: number;
}

export interface Entry {
  name: string;
  /** The batch size it was compiled for; null where it has no batch. */
  rows: number | null;
  inputs: Value[];
  outputs: Value[];
  /** The names of the variables it reads or updates. */
  state: string[];
}

/**
 * A loaded model. Everything but `engine`, `warnings`, `entries`, `info`, `worker`, `threads` and `dispose`
 * is asynchronous. While `fit` runs, `predict`, `evaluate`, `weights` and `saveWeights` work between
 * its steps; what changes variables is refused with code "busy".
 */
export interface Model {
  /** The engine in use now; another may take over, see LoadOptions. */
  readonly engine: "wasm" | "webgpu" | "webgl";
  /** What went wrong without being an error, such as a GPU that another engine stands in for. */
  readonly warnings: string[];
  /** What the model can do. */
  readonly entries: Entry[];
  /** Whether it runs in a worker, else on this thread. */
  readonly worker: boolean;
  /**
   * How many threads there are for its larger calls at the moment: 1 until the first of these has
   * begun, and where the page is not cross-origin isolated. Results have the same bits with any
   * number.
   */
  readonly threads: number;
  /** The contents of model.json. */
  readonly info: any;

  /** Outputs for any number of rows. */
  predict(x: Values, options?: { batchSize?: number }): Promise<Results>;
  /** Trains. When it fails, the weights are as before it began. */
  fit(x: Values, y: Values, options?: FitOptions): Promise<History>;
  /** Loss and metrics, weighted over all rows. */
  evaluate(x: Values, y: Values, options?: { batchSize?: number }): Promise<Logs>;
  /** Calls an exported function by name. */
  run(entry: string, inputs?: Values): Promise<Results>;
  /** Copies of the model's weights by name. */
  weights(): Promise<Record<string, Tensor>>;
  /** The weights as a safetensors file, which `loadWeights` and Python's load_weights read. */
  saveWeights(): Promise<ArrayBuffer>;
  /** Takes the weights from a safetensors file, all of them or, when it does not fit, none. */
  loadWeights(file: ArrayBuffer | ArrayBufferView): Promise<void>;
  /** Back to the weights from before any training, where they were exported. */
  reset(): Promise<void>;
  /** The dataset that was exported with the model; xTest and yTest are undefined without tests. */
  data(): Promise<{ x: Results; y: Results; xTest: Results; yTest: Results }>;
  /**
   * Runs every layer, with the weights of the export, on every engine it was exported for and
   * compares with what is right. Needs tg.export(..., verify=True), else code "no_verification";
   * its table is also written to the console.
   */
  verify(options?: { engines?: string[] }): Promise<Verification>;
  /** Gives memory and worker back; calls that are running reject with code "disposed". */
  dispose(): void;
}

/** One layer on one engine in one direction. */
export interface VerifiedLayer {
  layer: string;
  type: string;
  engine: string;
  what: "forward" | "gradient";
  /** Largest distance of an element, relative to it or to the typical one where that is larger. */
  error: number | null;
  tolerance: number;
  verdict: "ok" | "WRONG" | "FAILED" | "not supported";
  /** What is wrong, where something is. */
  why: string;
}

export interface Verification {
  model: string;
  /** Whether no layer is wrong or failed on any engine. */
  ok: boolean;
  rows: VerifiedLayer[];
  /** Engines that this device does not have, and why. */
  missing: Record<string, string>;
  /** The table. */
  toString(): string;
}

export interface LoadOptions {
  /**
   * By default "auto": WebAssembly at once. Where calls are of over 100 million operations and the
   * model was exported for GPUs, these are timed when nothing else is going on, or between epochs, and
   * the quickest engine goes on, which a line of the console says; the decision is remembered. Exports
   * with deterministic=True stay.
   *
   * "wasm" for WebAssembly; "webgpu" or "webgl" for a GPU, where the model was exported for it:
   * `tg.export(..., engines=["webgpu", "webgl"])`. A GPU that has gone, runs out of memory or refuses
   * a kernel is an entry of `warnings` and of the console: WebGL2 takes over from WebGPU, WebAssembly
   * from both, with the model and its training as they were.
   */
  engine?: "auto" | "wasm" | "webgpu" | "webgl";
  /**
   * false keeps the model on this thread, true puts it into a worker where there are workers. By
   * default small models stay, whose calls are of under a million operations: a worker would take
   * longer to start than they to train.
   */
  worker?: boolean;
  /**
   * How many threads share the larger calls, never more than there are cores; 1 for none but the
   * worker's. By default all of up to 4 cores, half of more, at most 8, as long as that is quicker.
   * They need a worker, and a page that is cross-origin isolated: served with
   * Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.
   */
  threads?: number;
}

/**
 * Loads an exported model.
 * @param url of its model.json; a string is relative to the page (in Node to the working folder)
 * @throws TabgradError when a file is missing, damaged or of a newer version
 */
export function load(url: URL | string, options?: LoadOptions): Promise<Model>;

/**
 * The error of everything that goes wrong. `message` says what was expected, what was received and
 * what to do; `code` is one of
 *
 * - of arguments: "shape", "dtype", "rows", "empty", "label", "inputs", "entry", "batch_size",
 *   "option", "weights"
 * - of files: "missing_file", "truncated", "corrupt", "version", "unsupported", "compile"
 * - of training: "nan_loss", "aborted", "not_trainable", "no_initial", "no_data", "busy"
 * - of verify: "no_verification"
 * - of the engine: "trap", "memory", "handle", "range", "unloaded", "worker", "disposed", "internal",
 *   and of GPUs where nothing could take over: "adapter", "lost"
 */
export class TabgradError extends Error {
  constructor(code: string, message: string, options?: { cause?: unknown });
  readonly code: string;
}
