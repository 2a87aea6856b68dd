// What one sees of an exported model: something to predict with (forms.js, or digits.js for
// drawing) and a panel to train with (learn.js).

import { curve } from "./curve.js";
import { find } from "./elements.js";
import { forms } from "./forms.js";
import { learn } from "./learn.js";
import { product, width } from "./shapes.js";

/** @typedef {import("./tabgrad.js").Model} Model */

/** @param {Model} model */
export async function panels(model) {
  describe(model);
  const use = find("#use");
  use.hidden = false;
  const digits = model.info.task?.kind === "digits" && (await import("./digits.js"));
  const predict = (digits ? digits.drawing : forms)(use, model);
  const draw = isCurve(model) ? curve(use, model) : null;
  const refresh = (/** @type {any} */ points) => Promise.all([predict(), draw?.(points)]);
  if (model.info.training) await learn(find("#learn"), model, refresh);
  await refresh(undefined);
  find("main").ariaBusy = "false";
}

/** @param {Model} model */
function describe({ info, worker }) {
  let count = 0;
  for (const { role, shape } of info.variables) if (role === "weight") count += product(shape);
  const kernels = Math.ceil(info.programs.wasm[0].nbytes / 1024);
  find("#about").textContent =
    `${count.toLocaleString("en")} parameters · ${kernels} kB of WebAssembly` +
    (worker ? " in its own thread" : "");
}

/**
 * Whether a model is from one number to one number.
 * @param {Model} model
 */
function isCurve({ entries, info }) {
  const { inputs, outputs } = entries.find(({ name }) => info.predict && name === "predict") ?? {};
  return [inputs, outputs].every((ports) => ports?.length === 1 && width(ports[0]) === 1);
}
