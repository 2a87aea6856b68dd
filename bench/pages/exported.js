// Runs the seed program in the page that `tg.export` wrote, as it is. Put in before the page's own
// scripts; it waits for the moment the page sets window.tabgrad.

{
  /** @type {any} */
  const { contest } = globalThis;
  /** @type {any} */
  let exposed;
  Object.defineProperty(globalThis, "tabgrad", {
    configurable: true,
    get: () => exposed,
    set(value) {
      exposed = value;
      run().catch((error) => contest.finish({ error: String(error) }));
    },
  });

  const run = async () => {
    const model = await exposed.ready;
    const xs = [[1], [2], [3], [4]];
    const ys = [[1], [3], [5], [7]];
    const fit = () => model.fit(xs, ys, { epochs: 100 });
    await fit();
    const prediction = await model.predict([[5]]);
    contest.print(prediction.data[0]);
    await contest.time(fit);
  };
}
