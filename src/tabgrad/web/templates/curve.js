// For a model from one number to one number: its curve among the data.

import { plot, redrawn, round } from "./chart.js";
import { make, short } from "./elements.js";

const STEPS = 32;

/** @typedef {[number, number]} Point */

/**
 * @param {HTMLElement} place
 * @param {import("./tabgrad.js").Model} model
 * @returns {(data?: Point[]) => Promise<void>} draws the curve anew, among new data if given
 */
export function curve(place, model) {
  const canvas = make("canvas", { role: "img", ariaLabel: "The data, and the model's curve" });
  const figure = make("figure", { hidden: true }, canvas);
  place.append(figure);
  /** @type {Point[]} */
  let data = [];
  /** @type {Point[]} */
  let line = [];
  const ask = redrawn(canvas, () => {
    if (!line.length) return;
    const values = [...data, ...line].map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const lines = [
      { color: "second", points: data, dots: Infinity, apart: true },
      { color: "accent", points: line, dots: 0 },
    ];
    const [left, right] = [line[0], line[STEPS - 1]].map(([x]) => short(x));
    plot(canvas, lines, { low, high, text: round }, [left, right]);
  });
  let running = false;
  return async (given) => {
    data = given ?? data;
    if (!data.length || running) return;
    running = true;
    figure.hidden = false;
    const xs = data.map(([x]) => x);
    const [start, end] = [Math.min(...xs), Math.max(...xs)];
    const x = Array.from({ length: STEPS }, (_, i) => start + ((end - start) * i) / (STEPS - 1));
    const { data: y } = await model.predict(x);
    line = x.map((at, i) => [at, Number(y[i])]);
    running = false;
    ask();
  };
}
