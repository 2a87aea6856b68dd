// The one error class of the player. `message` is for people: what was expected, what was
// received, what to do. `code` is for programs; tabgrad.d.ts lists the codes.

export class TabgradError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = "TabgradError";
    this.code = code;
  }
}

/**
 * Whatever was thrown, as a TabgradError. Not by instanceof: an error may come out of the worker's
 * file, which has a copy of the class.
 * @param {any} error
 */
export function asTabgradError(error) {
  const ours = error?.name === "TabgradError";
  const message = error?.message ?? String(error);
  return new TabgradError(ours ? error.code : "internal", message, { cause: error });
}
