// Elements of the page: making them, finding them, and showing numbers in them.

/**
 * @param {string} selector
 * @returns {any}
 */
export const find = (selector) => document.querySelector(selector);

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * @param {HTMLElement} place
 * @param {unknown} message text, or an error
 */
export function show(place, message) {
  const failed = message instanceof Error;
  place.textContent = failed ? message.message : String(message);
  place.classList.toggle("bad", failed);
}

/**
 * A number in few digits.
 * @param {number} value
 */
export const short = (value) => String(Number(Number(value).toPrecision(4)));

/**
 * A metric with its value, in percent where it is an accuracy.
 * @param {string} title
 * @param {number} value
 * @param {string} [name] of the metric
 */
export const metric = (title, value, name = title) =>
  `${title.replaceAll("_", " ")} ` +
  (name.includes("accuracy") ? `${(value * 100).toFixed(1)} %` : short(value));

/**
 * Values as bars from 0 to 1, the largest marked.
 * @param {ArrayLike<number>} values
 * @param {string[]} labels
 */
export function bars(values, labels) {
  const top = Math.max(...Array.from(values));
  return make(
    "dl",
    { className: "bars" },
    ...labels.flatMap((label, i) => [
      make("dt", { className: values[i] === top ? "top" : "" }, label),
      make("dd", {}, make("progress", { value: values[i], max: 1, ariaLabel: label })),
      make("dd", {}, `${(values[i] * 100).toFixed(1)} %`),
    ]),
  );
}
