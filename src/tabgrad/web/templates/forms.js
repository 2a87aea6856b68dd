// A form for each function a model has, and a view of what it answers.

import { bars, make, short, show } from "./elements.js";
import { product } from "./shapes.js";

const FIELDS = 12; // an input of more values is one text
const SHOWN = 100;

/**
 * @typedef {import("./tabgrad.js").Value} Value
 * @typedef {() => {data: number[], shape: number[]}} Reader of what was entered for an input
 */

/**
 * @param {HTMLElement} section
 * @param {import("./tabgrad.js").Model} model
 * @returns {() => unknown} predicts again, where that is what the form does
 */
export function forms(section, model) {
  const form = /** @type {HTMLFormElement} */ (section.querySelector("form"));
  const answer = /** @type {HTMLElement} */ (section.querySelector(".answer"));
  const own = model.entries.filter(({ name }) => name !== "train_step" && name !== "evaluate");
  const names = [...new Set(own.map(({ name }) => name))];
  if (!names.length) section.hidden = true;
  const choice = make("select", {}, ...names.map((name) => make("option", {}, name)));
  const fields = make("div", { className: "fields" });
  let entry = own[0];
  /** @type {Reader[]} */
  let readers = [];

  const choose = () => {
    entry = own[names.length ? own.findIndex(({ name }) => name === choice.value) : 0];
    readers = [];
    fields.replaceChildren(...(entry?.inputs ?? []).flatMap((spec) => field(spec, readers)));
  };
  const run = async () => {
    try {
      const values = Object.fromEntries(entry.inputs.map(({ name }, i) => [name, readers[i]()]));
      const isModel = model.info.predict && entry.name === "predict";
      const result = await (isModel ? model.predict(values) : model.run(entry.name, values));
      const outputs = Object.entries(result.data ? { "": result } : result);
      const { labels } = model.info.task ?? {};
      answer.replaceChildren(...outputs.map(([name, output]) => view(name, output, labels)));
      answer.classList.remove("bad");
    } catch (error) {
      show(answer, error);
    }
  };
  const several = names.length > 1;
  if (several) form.append(make("label", {}, "Function ", choice));
  form.append(fields, make("button", { className: "first" }, several ? "Run" : "Predict"));
  form.onsubmit = (event) => {
    event.preventDefault();
    run();
  };
  choice.onchange = choose;
  choose();
  return () => entry?.name === "predict" && run();
}

/**
 * The fields for one input; a reader of them is added.
 * @param {Value} spec
 * @param {Reader[]} readers
 * @returns {HTMLElement[]}
 */
function field({ name, shape, rows }, readers) {
  const one = rows ? [1, ...shape.slice(1)] : shape;
  const size = product(one);
  const many = size > FIELDS;
  const inputs = Array.from({ length: many ? 1 : size }, () =>
    many
      ? make("textarea", { rows: 4, value: "0 ".repeat(size) })
      : make("input", { type: "number", step: "any", value: "1", required: true }),
  );
  readers.push(() => {
    const text = inputs.map(({ value }) => value).join(" ");
    return { data: text.split(/[[\],;\s]+/).filter(Boolean).map(Number), shape: one };
  });
  return inputs.map((input, i) => {
    const title = many ? `${name}: ${one.join(" × ")} numbers` : `${name} ${i + 1}`;
    return make("label", {}, size > 1 ? title : name, input);
  });
}

/**
 * @param {string} name
 * @param {any} output
 * @param {string[]} [labels] of classes
 */
function view(name, output, labels) {
  const values = [...output.data].map(Number);
  const title = name && make("p", { className: "hint" }, name);
  const sum = values.reduce((a, b) => a + b, 0);
  const shares = values.every((value) => value >= 0) && Math.abs(sum - 1) < 1e-3;
  if (shares && values.length > 1 && values.length < 30) {
    return make("div", {}, title, bars(values, labels ?? values.map((_, i) => String(i))));
  }
  const text = values.slice(0, SHOWN).map(short).join(", ");
  const rest = values.length > SHOWN ? ", …" : "";
  return make("div", { className: values.length < 9 ? "value" : "" }, title, text + rest);
}
