// Whether work on a WebGL context went well. It answers no question before all that was drawn is
// done, so what is done for the first time stays in doubt until someone waits for it anyway; so does
// what is drawn meanwhile. Where something failed, reading what was in doubt throws.

import { TabgradError } from "./errors.js";

/** @typedef {{fault: TabgradError | null}} Buffer why its contents are worth nothing */

export class Doubts {
  any = false;
  /** @type {Set<{proven: boolean}>} */
  #entries = new Set();
  /** @type {Set<Buffer>} */
  #buffers = new Set();

  /**
   * Something is done for the first time.
   * @param {{proven: boolean}} [entry] that runs
   */
  begin(entry) {
    this.any = true;
    if (entry) this.#entries.add(entry);
  }

  /**
   * Buffers get new contents from end to end.
   * @param {Buffer[]} buffers
   * @param {TabgradError | null} [fault] of what those are made of
   */
  heal(buffers, fault = null) {
    for (const buffer of buffers) {
      buffer.fault = fault;
      this.#buffers.delete(buffer);
    }
  }

  /**
   * Buffers were drawn to, perhaps from what is in doubt.
   * @param {Buffer[]} buffers
   */
  drawn(buffers) {
    if (this.any) for (const buffer of buffers) this.#buffers.add(buffer);
  }

  /**
   * Ends all doubts.
   * @param {number} error which WebGL knows of; 0 if none
   * @returns {TabgradError | undefined} what was wrong
   */
  settle(error) {
    const fault = error ? problem(error) : undefined;
    if (fault) for (const buffer of this.#buffers) buffer.fault = fault;
    else for (const entry of this.#entries) entry.proven = true;
    this.any = false;
    this.#entries.clear();
    this.#buffers.clear();
    return fault;
  }
}

/** @param {number} error */
function problem(error) {
  const { OUT_OF_MEMORY, INVALID_FRAMEBUFFER_OPERATION } = WebGL2RenderingContext;
  const memory = error === OUT_OF_MEMORY || error === INVALID_FRAMEBUFFER_OPERATION;
  const why = memory
    ? "Memory may be short: use smaller batches or less data"
    : "This is a bug of tabgrad";
  return new TabgradError(
    memory ? "memory" : "trap",
    `expected the browser to draw a Program; WebGL says error ${error}. ${why}, or use engine "wasm"`,
  );
}
