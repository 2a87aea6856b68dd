// How tabgrad.js reaches a Session: through messages to the worker (worker.js), or directly where
// workers are missing or fail. Both have call() and close().

import { TabgradError, asTabgradError } from "./errors.js";

/**
 * @typedef {object} Hooks
 * @property {AbortSignal} [signal]
 * @property {(epoch: number, logs: Record<string, number>) => Promise<boolean>} [epochEnd]
 * @property {(progress: any) => void} [progress]
 *
 * @typedef {(
 *   method: string, request?: any, hooks?: Hooks, transfer?: Transferable[],
 * ) => Promise<any>} Call
 *
 * @typedef {object} Link
 * @property {boolean} worker
 * @property {Call} call
 * @property {() => void} close
 */

/**
 * Starts the worker; null where that fails.
 * @param {URL} url of worker.js
 * @returns {Promise<Worker | null>}
 */
export function startWorker(url) {
  return new Promise((resolve) => {
    try {
      const worker = new Worker(url, { type: "module", name: "tabgrad" });
      worker.onmessage = () => resolve(worker);
      worker.onerror = (event) => {
        event.preventDefault();
        resolve(null);
      };
    } catch {
      resolve(null);
    }
  });
}

/** @implements {Link} */
export class LocalLink {
  worker = false;
  /** @type {any} */
  #session;

  /** @param {() => import("./session.js").Session} open */
  constructor(open) {
    try {
      this.#session = open();
    } catch (error) {
      throw asTabgradError(error);
    }
  }

  /**
   * @param {string} method
   * @param {any} [request]
   * @param {Hooks} [hooks]
   */
  async call(method, request, hooks) {
    try {
      const signal = new AbortController().signal;
      return await this.#session[method](request, { signal, ...hooks });
    } catch (error) {
      throw this.#session ? asTabgradError(error) : disposed();
    }
  }

  close() {
    this.#session?.engine.close();
    this.#session = null;
  }
}

/** @implements {Link} */
export class WorkerLink {
  worker = true;
  #worker;
  #next = 1;
  /** @type {TabgradError | null} */
  #broken = null;
  /** @type {Map<number, {resolve: Function, reject: Function, hooks: any}>} */
  #calls = new Map();

  /** @param {Worker} worker */
  constructor(worker) {
    this.#worker = worker;
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
   * @param {Hooks} [hooks]
   * @param {Transferable[]} [transfer]
   */
  call(method, request, hooks = {}, transfer = []) {
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
  async #receive({ id, event, args, result, error }) {
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

function disposed() {
  return new TabgradError("disposed", "this model was disposed; load it again");
}
