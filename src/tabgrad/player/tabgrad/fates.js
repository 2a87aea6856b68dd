// Whether work on a WebGPU device went well, which it says late. Work that may fail is done under an
// error scope and has a fate: what it writes is in doubt until that is known. One submit fails as a
// whole, so work in doubt shares none with what went before.

import { TabgradError } from "./errors.js";

/**
 * @typedef {object} Fate whether work went well
 * @property {TabgradError | null} error
 * @property {boolean} fine
 * @property {Promise<void>} settled
 */

export class Fates {
  /** How many are not known to be fine. */
  doubts = 0;

  /** @param {import("./recordings.js").Commands} commands */
  constructor(commands) {
    this.device = commands.device;
    this.commands = commands;
  }

  /**
   * Closes an error scope.
   * @param {Fate[]} before what the work needed
   * @param {(error: GPUError) => TabgradError} problem
   */
  close(before, problem) {
    const settle = async () => {
      const error = await scope;
      for (const one of before) await one.settled;
      fate.error = before.find((one) => one.error)?.error ?? (error && problem(error));
      fate.fine = !fate.error;
      if (fate.fine) this.doubts--;
    };
    const scope = this.device.popErrorScope().catch(() => null); // lost: others notice that
    this.doubts++;
    /** @type {Fate} */
    const fate = { error: null, fine: false, settled: Promise.resolve() };
    fate.settled = settle();
    return fate;
  }

  /**
   * Does work, under an error scope where it is the first of its kind or needs what is in doubt, and
   * not at all where it needs what has failed.
   * @param {(Fate | null | undefined)[]} needed
   * @param {boolean} first
   * @param {() => void} work
   * @returns {Fate | null} what is to become of it; null where nothing is in doubt
   */
  guard(needed, first, work) {
    const before = /** @type {Fate[]} */ (needed.filter((fate) => fate && !fate.fine));
    const failed = before.find(({ error }) => error);
    if (failed) return failed;
    if (!first && !before.length) {
      work();
      return null;
    }
    this.commands.submit();
    this.device.pushErrorScope("validation");
    work();
    this.commands.submit();
    return this.close(before, ({ message }) => {
      const text = `expected the GPU to accept a Program; it says: ${message}. This is a bug of `;
      return new TabgradError("trap", text + 'tabgrad; use engine "wasm"');
    });
  }
}
