// Line charts on a canvas: any lines over numbers, and one metric over the epochs of a training.

import { make, metric } from "./elements.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 10, 20];

/**
 * @typedef {[number, number]} Point
 *
 * @typedef {object} Line
 * @property {string} color a custom property of the style sheet
 * @property {Point[]} points
 * @property {number} dots how many of them, from the end, are drawn as dots
 * @property {boolean} [apart] not joined
 *
 * @typedef {object} Scale
 * @property {number} low
 * @property {number} high
 * @property {boolean} [logarithmic]
 * @property {(value: number) => string} text of a mark on it
 */

/**
 * Draws lines into a canvas of any size, in the colors of the page.
 * @param {HTMLCanvasElement} canvas
 * @param {Line[]} lines
 * @param {Scale} scale of the values
 * @param {[string, string]} ends what stands under the left and the right end
 */
export function plot(canvas, lines, { low, high, logarithmic, text }, ends) {
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(canvas);
  const color = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`);
  pen.font = `11px ${style.fontFamily}`;
  pen.textBaseline = "middle";
  pen.textAlign = "right";

  const all = lines.flatMap(({ points }) => points).map(([at]) => at);
  const [start, end] = [Math.min(...all), Math.max(...all)];
  const x = (/** @type {number} */ at) =>
    LEFT + ((width - LEFT - RIGHT) * (at - start)) / (end - start || 1);
  const bend = logarithmic ? Math.log : Number;
  const share = (/** @type {number} */ value) =>
    (bend(value) - bend(low)) / (bend(high) - bend(low) || 1);
  const y = (/** @type {number} */ value) =>
    height - BOTTOM - (height - TOP - BOTTOM) * share(value);

  pen.fillStyle = color("soft");
  pen.strokeStyle = color("line");
  for (const part of [0, 1 / 3, 2 / 3, 1]) {
    const value = logarithmic ? low * (high / low) ** part : low + (high - low) * part;
    pen.beginPath();
    pen.moveTo(LEFT, y(value));
    pen.lineTo(width - RIGHT, y(value));
    pen.stroke();
    pen.fillText(text(value), LEFT - 6, y(value));
  }
  pen.fillText(ends[1], width - RIGHT, height - 7);
  pen.textAlign = "left";
  pen.fillText(ends[0], LEFT, height - 7);

  pen.lineWidth = 2;
  pen.lineJoin = "round";
  for (const { color: name, points, dots, apart } of lines) {
    pen.strokeStyle = pen.fillStyle = color(name);
    pen.beginPath();
    if (!apart) for (const [at, value] of points) pen.lineTo(x(at), y(value));
    pen.stroke();
    for (const [at, value] of points.slice(Math.max(0, points.length - dots))) {
      pen.beginPath();
      pen.arc(x(at), y(value), 4, 0, 7);
      pen.fill();
    }
  }
}

/**
 * Calls `draw` when it is asked to, when the canvas changes its size and the page its colors; once
 * a frame, however often it is asked.
 * @param {HTMLCanvasElement} canvas
 * @param {() => void} draw
 */
export function redrawn(canvas, draw) {
  let asked = 0;
  const ask = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };
  new ResizeObserver(ask).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ask);
  return ask;
}

/**
 * A mark on a scale.
 * @param {number} value
 */
export const round = (value) => String(Number(value.toPrecision(2)));

/** A metric over the epochs, for training and for validation data. */
export class MetricChart {
  /** @type {Point[]} */
  #train = [];
  /** @type {Point[]} */
  #validation = [];
  /** @type {Point[]} the epoch that is running */
  #live = [];
  #name;
  #own = make("b");
  #other = make("i");
  #canvas = make("canvas", { role: "img" });
  #ask = redrawn(this.#canvas, () => this.#draw());

  /** @param {string} name of the metric */
  constructor(name) {
    this.#name = name;
    const caption = make("figcaption", {}, this.#own, " ", this.#other);
    this.element = make("figure", {}, caption, this.#canvas);
    this.clear();
  }

  clear() {
    this.#train = [];
    this.#validation = [];
    this.#own.textContent = this.#name.replaceAll("_", " ");
    this.#other.textContent = "";
    this.progress(0, {});
  }

  /**
   * The values at the end of an epoch.
   * @param {number} epoch how many epochs are done
   * @param {Record<string, number>} logs
   */
  add(epoch, logs) {
    const checked = logs[`val_${this.#name}`];
    this.#train.push([epoch, logs[this.#name]]);
    if (checked !== undefined) {
      this.#validation.push([epoch, checked]);
      this.#other.textContent = metric("validation", checked, this.#name);
    }
    this.progress(epoch, logs);
    const [own, other] = [this.#own.textContent, this.#other.textContent];
    this.#canvas.ariaLabel = `After epoch ${epoch}: ${own} ${other}`;
  }

  /**
   * The value so far in the epoch that is running.
   * @param {number} epoch with a fraction
   * @param {Record<string, number>} logs
   */
  progress(epoch, logs) {
    const value = logs[this.#name];
    this.#live = value === undefined ? [] : [[epoch, value]];
    if (value !== undefined) this.#own.textContent = metric(this.#name, value);
    this.#ask();
  }

  #draw() {
    const train = [...this.#train, ...this.#live];
    const lines = [
      { color: "accent", points: train, dots: 1 },
      { color: "second", points: this.#validation, dots: 1 },
    ];
    const values = [...train, ...this.#validation].map(([, value]) => value);
    const least = Math.min(...values);
    const most = Math.max(...values);
    const last = train.length ? `epoch ${Math.ceil(train[train.length - 1][0])}` : "";
    const accuracy = this.#name.includes("accuracy");
    // A loss that falls by orders of magnitude is seen on a logarithmic scale only.
    const logarithmic = least > 0 && most / least > 30;
    let scale = { low: logarithmic ? least : 0, high: most, logarithmic, text: round };
    if (accuracy || !train.length) {
      const text = (/** @type {number} */ v) => (accuracy ? `${Math.round(v * 100)} %` : "");
      scale = { low: Math.min(0.9, least), high: 1, logarithmic: false, text };
    }
    plot(this.#canvas, lines, scale, ["", last]);
  }
}
