// How tabgrad.js reaches a Session in a worker, through messages; worker.js is the other side. Loaded
// only for models that have one. link.js is for the others.

import { TabgradError, asTabgradError } from "./errors.js";
import { disposed } from "./link.js";

/** @typedef {import("./link.js").Link} Link */

/**
 * @param {Worker} worker
 * @param {import("./files.js").ModelFiles} files
 * @param {import("./relay.js").Notify} notify
 */
export async function openRemote(worker, files, notify) {
  const link = new WorkerLink(worker, notify);
  const weights = files.weights.map(({ data }) => data);
  await link.call("open", files, {}, weights);
  return link;
}

/** @implements {Link} */
class WorkerLink {
  worker = true;
  #worker;
  #notify;
  #next = 1;
  /** @type {TabgradError | null} */
  #broken = null;
  /** @type {Map<number, {resolve: Function, reject: Function, hooks: any}>} */
  #calls = new Map();

  /**
   * @param {Worker} worker
   * @param {import("./relay.js").Notify} notify
   */
  constructor(worker, notify) {
    this.#worker = worker;
    this.#notify = notify;
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message || "it stopped without saying why";
      this.#end(new TabgradError("worker", `the model's worker failed: ${why}; load it again`));
    };
  }

  /**
   * @param {string} method
   * @param {any} [request]
   * @param {import("./link.js").Hooks} [hooks]
   * @param {Transferable[]} [transfer]
   */
  call(method, request, hooks = {}, transfer = memoryOf(request)) {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const { signal, epochEnd, progress } = hooks;
      const asks = signal && { epochEnd: !!epochEnd, progress: !!progress };
      this.#worker.postMessage({ id, method, request: { ...request, ...asks } }, transfer);
      this.#calls.set(id, { resolve, reject, hooks });
      const abort = () => this.#worker.postMessage({ id, abort: true });
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort);
    });
  }

  close() {
    this.#end(disposed());
  }

  /** @param {any} message */
  async #receive({ id, now, event, args, result, error }) {
    if (now) this.#notify(now);
    const call = this.#calls.get(id);
    if (!call) return;
    if (event === "progress") {
      call.hooks.progress(...args);
    } else if (event === "epochEnd") {
      const reply = await call.hooks.epochEnd(...args);
      this.#worker.postMessage({ id, reply });
    } else {
      this.#calls.delete(id);
      if (error) call.reject(asTabgradError(error));
      else call.resolve(result);
    }
  }

  /** @param {TabgradError} error */
  #end(error) {
    this.#broken ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

/**
 * The memory of the arrays in a request, which is handed over: nobody else needs it, and to copy a
 * network's input takes as long as some of its layers.
 * @param {any} value
 * @returns {ArrayBuffer[]}
 */
function memoryOf(value) {
  if (value instanceof ArrayBuffer) return [value];
  if (ArrayBuffer.isView(value)) return memoryOf(value.buffer);
  return typeof value === "object" ? Object.values(value ?? {}).flatMap(memoryOf) : [];
}
