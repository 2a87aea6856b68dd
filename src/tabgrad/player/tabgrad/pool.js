// Memory that nobody needs at the moment, and that is quicker to use again than to make.

/** @template T */
export class Pool {
  bytes = 0;
  /** @type {Map<string | number, T[]>} of each kind */
  #waiting = new Map();
  #most;

  /** @param {number} most bytes that may wait */
  constructor(most) {
    this.#most = most;
  }

  /**
   * One that waits, if there is any.
   * @param {string | number} kind
   * @param {number} bytes of one of that kind
   */
  take(kind, bytes) {
    const found = this.#waiting.get(kind)?.pop();
    if (found) this.bytes -= bytes;
    return found;
  }

  /**
   * @param {string | number} kind
   * @param {number} bytes
   * @param {T} one
   * @returns {boolean} whether there was room for it
   */
  put(kind, bytes, one) {
    if (this.bytes + bytes > this.#most) return false;
    const waiting = this.#waiting.get(kind);
    if (waiting) waiting.push(one);
    else this.#waiting.set(kind, [one]);
    this.bytes += bytes;
    return true;
  }

  /** Takes everything out. */
  clear() {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    this.bytes = 0;
    return all;
  }
}
