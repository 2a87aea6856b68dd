// Sharing one thread: who may use the engine now, and letting the event loop have its turn.
//
// Training takes the lock for one turn of steps at a time, everything else for a whole call. So
// a prediction asked for during `fit` runs between two turns and sees the weights of that moment.

const TURN_MS = 16;

/** Work that must not interleave runs one after the other, first come first served. */
export class Lock {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /**
   * @template T
   * @param {() => T | Promise<T>} work
   * @returns {Promise<T>}
   */
  hold(work) {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /**
   * Begins work of several parts.
   * @returns {Promise<() => void>} what ends it
   */
  take() {
    return new Promise((begun) => {
      this.hold(() => new Promise((end) => begun(() => end(null))));
    });
  }
}

/** Says when a turn has lasted long enough. */
export class Turn {
  #start = performance.now();

  /** Whether it is time to pause. */
  get over() {
    return performance.now() - this.#start >= TURN_MS;
  }

  /** Lets messages, clicks and frames through, then starts the next turn. */
  async pause() {
    await new Promise(later);
    this.#start = performance.now();
  }
}

/**
 * Work on an engine's values, at once where that has not to be waited for.
 * @template T, R
 * @param {(T | Promise<T>)[]} values
 * @param {(values: T[]) => R} work
 * @returns {R | Promise<R>}
 */
export function settled(values, work) {
  if (values[0] instanceof Promise) return Promise.all(values).then(work);
  return work(/** @type {T[]} */ (values));
}

// Timers wait 4 ms once they are nested; a message to oneself comes back at once.
/** @type {(resume: (value: unknown) => void) => void} */
const later =
  typeof setImmediate === "function"
    ? setImmediate
    : (resume) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
          port1.close();
          resume(null);
        };
        port2.postMessage(null);
      };
