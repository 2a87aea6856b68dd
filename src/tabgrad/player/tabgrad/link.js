// How tabgrad.js reaches a Session: directly where workers are missing, fail or are not worth it,
// else through messages to the worker (remote.js). Both have call() and close().

import { TabgradError, asTabgradError } from "./errors.js";

/**
 * @typedef {object} Hooks
 * @property {AbortSignal} [signal]
 * @property {(epoch: number, logs: Record<string, number>) => Promise<boolean>} [epochEnd]
 * @property {(progress: any) => void} [progress]
 *
 * @typedef {(method: string, request?: any, hooks?: Hooks) => Promise<any>} Call what a request
 *   holds is the session's from then on
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

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.#session = session;
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

export function disposed() {
  return new TabgradError("disposed", "this model was disposed; load it again");
}
