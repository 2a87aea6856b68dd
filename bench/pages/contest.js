// What every page of the bench does once its model is trained: print, then time more training.
// A classic script that sets globals, so that it can also be put into a page from outside.

/** @type {any} */ (globalThis).contest = {
  /**
   * Prints a value and notes when, counted from the start of the navigation.
   * @param {unknown} value
   */
  print(value) {
    const out = document.createElement("pre");
    out.textContent = String(value);
    document.body.append(out);
    const printed = performance.now();
    // When it was by the clock on the wall too, for a server's notes of what it had sent by then.
    this.result = { printed, at: performance.timeOrigin + printed, value };
  },

  /**
   * Times `fit` when warm and hands everything to the harness.
   * @param {() => Promise<unknown>} fit
   */
  async time(fit) {
    // A second is enough for the browser to compile what is hot with its better compilers.
    const warm = performance.now() + 1000;
    while (performance.now() < warm) await fit();
    const fits = [];
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      await fit();
      fits.push(performance.now() - start);
    }
    this.finish({ ...this.result, fits });
  },

  /** @param {unknown} result */
  finish(result) {
    console.info(`contest: ${JSON.stringify(result)}`);
  },
};
