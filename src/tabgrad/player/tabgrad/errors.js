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
 * Whatever was thrown, as a TabgradError.
 * @param {any} error
 * @param {string} [code] the code of an error that has none
 */
export function asTabgradError(error, code = "internal") {
  if (error instanceof TabgradError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new TabgradError(code, message, { cause: error });
}
