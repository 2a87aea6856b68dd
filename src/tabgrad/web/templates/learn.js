// The panel to train with: data, a few controls, and charts of what happens.

import { MetricChart } from "./chart.js";
import { find, make, show } from "./elements.js";
import { width } from "./shapes.js";

const MANY_ROWS = 500;

/**
 * @param {HTMLElement} section
 * @param {import("./tabgrad.js").Model} model
 * @param {(points?: [number, number][]) => unknown} refresh shows predictions anew, among the data
 */
export async function learn(section, model, refresh) {
  const { training, initial, data } = model.info;
  const [inputs, targets] = [training.inputs, training.targets].map((names) => {
    const step = model.entries.find(({ name }) => name === "train_step");
    return step?.inputs.filter(({ name }) => names.includes(name)) ?? [];
  });
  const sample = data && (await model.data());
  const [status, text, epochs] = ["#status", "#rows", "#epochs"].map(find);
  const bar = /** @type {HTMLProgressElement} */ (section.querySelector("progress"));
  /** @type {MetricChart[]} */
  const charts = training.metrics
    .slice(0, 2)
    .map((/** @type {{name: string}} */ { name }) => new MetricChart(name));

  const columns = [...inputs, ...targets].map((spec) =>
    width(spec) > 1 ? `${width(spec)} × ${spec.name}` : spec.name,
  );
  find("label[for=rows]").textContent =
    `One row a line: ${columns.join(", ")}. Or JSON with "x" and "y".`;
  const [rows, tests] = [sample?.x, sample?.xTest].map((x) => [x].flat()[0]?.shape[0] ?? 0);
  const say = (/** @type {number} */ number) => number.toLocaleString("en");
  find("#sample").textContent =
    (rows ? `${say(rows)} rows of data came with the page` : "") +
    (tests ? `, ${say(tests)} more to test with.` : "");
  find("details").open = !sample;
  find("#charts").append(...charts.map(({ element }) => element));
  epochs.value = rows > MANY_ROWS ? 10 : 100;
  find("#fresh").hidden = !initial;
  find(initial ? "#fresh" : "#train").className = "first";
  if (initial) find("#train").textContent = "Train further";
  section.hidden = false;
  if (sample) refresh(points(sample));

  let done = 0;
  let stopping = false;
  const train = async (/** @type {boolean} */ fresh) => {
    const own = text.value.trim();
    if (!own && !sample) throw Error("Give it some data first.");
    const used = own ? (await import("./data.js")).parseData(own, inputs, targets) : sample;
    if (fresh) {
      await model.reset();
      done = 0;
      for (const chart of charts) chart.clear();
    }
    const first = done;
    const last = first + Number(epochs.value);
    stopping = false;
    refresh(points(used));
    const report = (/** @type {number} */ epoch) => {
      bar.value = (epoch - first) / (last - first);
      show(status, `Epoch ${Math.ceil(epoch)} of ${last}`);
    };
    try {
      await model.fit(used.x, used.y, {
        epochs: last,
        initialEpoch: first,
        ...(used.xTest && { validationData: [used.xTest, used.yTest] }),
        onEpochEnd(epoch, logs) {
          done = epoch + 1;
          for (const chart of charts) chart.add(done, logs);
          report(done);
          refresh();
          return !stopping;
        },
        onProgress({ epoch, step, steps, logs }) {
          for (const chart of charts) chart.progress(epoch + step / steps, logs);
          report(epoch + step / steps);
        },
      });
    } catch (error) {
      done = first; // the weights, too, are as before
      throw error;
    }
  };

  const buttons = ["#fresh", "#train", "#load"].map(find);
  const stop = find("#stop");
  const busy = async (/** @type {() => Promise<void>} */ work) => {
    const lock = (/** @type {boolean} */ working) => {
      for (const button of buttons) button.disabled = working;
      stop.disabled = !working;
    };
    lock(true);
    await work().catch((error) => show(status, error));
    lock(false);
    await refresh();
  };
  find("#learn form").onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    busy(() => train(event.submitter?.id === "fresh"));
  };
  stop.onclick = () => {
    stopping = stop.disabled = true;
  };
  find("#save").onclick = async () => {
    const href = URL.createObjectURL(new Blob([await model.saveWeights()]));
    make("a", { href, download: "weights.safetensors" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  };
  find("#load").onchange = (/** @type {any} */ { target }) =>
    busy(async () => {
      const [file] = target.files;
      target.value = "";
      await model.loadWeights(await file.arrayBuffer());
      show(status, `${file.name} loaded`);
    });
}

/**
 * Data as points, for a curve.
 * @param {{x: any, y: any}} data
 * @returns {[number, number][]}
 */
function points({ x, y }) {
  /** @type {(value: any) => number[]} */
  const numbers = (value) => {
    if (Array.isArray(value)) return value.flat(Infinity);
    return value.data ?? numbers(Object.values(value)[0]);
  };
  const ys = numbers(y);
  return Array.from(numbers(x), (value, i) => [value, ys[i]]);
}
