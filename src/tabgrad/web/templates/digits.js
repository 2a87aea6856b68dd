// Drawing a digit with mouse, finger or keyboard, and what the model makes of it.
//
// The model learnt from bitmaps of scanned digits: each filled the height of its box and was cut
// into blocks of 4 × 4 dots, of which the black ones were counted. A drawing is brought into the
// same form, wherever and however large it was drawn.

import { bars, make } from "./elements.js";

/** @typedef {[number, number]} Point on the canvas, from 0 to 1 */

const BLOCK = 4;
const PEN = 2.6; // radius in dots: how thick the scanned lines are
// Scanned digits are about as wide as this share of the box: narrow ones were widened to it, up
// to a limit, and wide ones narrowed.
const WIDTH = { least: 0.5, most: 0.625, stretch: 2.5 };
const STEP = 0.04; // of the keyboard's pen

/**
 * A drawing as the model's input: rows of blocks, each the share of black dots times scale.
 * @param {Point[][]} strokes
 * @param {{height: number, width: number, scale: number}} task
 * @returns {Float32Array}
 */
export function blocks(strokes, { height, width, scale }) {
  const out = new Float32Array(height * width);
  const points = strokes.flat();
  if (!points.length) return out;
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right, top, bottom] = [
    ...[Math.min(...xs), Math.max(...xs)],
    ...[Math.min(...ys), Math.max(...ys)],
  ];
  const dots = { x: width * BLOCK, y: height * BLOCK };
  // Dots for the length of the canvas: the drawing fills the height, and a dash does not explode.
  const size = (dots.y - 2 * PEN) / Math.max(bottom - top, (right - left) / 2, 0.001);
  const natural = (right - left) * size + 2 * PEN;
  const wanted = Math.min(Math.max(natural, WIDTH.least * dots.x), WIDTH.most * dots.x);
  const stretch = Math.min(wanted / natural, WIDTH.stretch);

  for (let row = 0; row < dots.y; row++) {
    const y = (row + 0.5 - dots.y / 2) / size + (top + bottom) / 2;
    for (let column = 0; column < dots.x; column++) {
      const x = (column + 0.5 - dots.x / 2) / stretch / size + (left + right) / 2;
      if (distance(strokes, x, y) * size > PEN) continue;
      const block = Math.floor(row / BLOCK) * width + Math.floor(column / BLOCK);
      out[block] += scale / BLOCK ** 2;
    }
  }
  return out;
}

/**
 * From a point to the nearest line.
 * @param {Point[][]} strokes
 * @param {number} x
 * @param {number} y
 */
function distance(strokes, x, y) {
  let nearest = Infinity;
  for (const stroke of strokes) {
    stroke.forEach(([ax, ay], i) => {
      const [bx, by] = stroke[Math.max(0, i - 1)];
      const [dx, dy] = [bx - ax, by - ay];
      const along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1);
      const t = Math.min(1, Math.max(0, along));
      nearest = Math.min(nearest, Math.hypot(x - ax - t * dx, y - ay - t * dy));
    });
  }
  return nearest;
}

/** @type {Record<string, Point>} */
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A canvas to draw on with mouse, finger or keyboard. */
class Pad {
  canvas = make("canvas", {
    tabIndex: 0,
    id: "drawing",
    role: "application",
    ariaLabel: "Drawing. Arrow keys move the pen, space lowers and lifts it, Delete clears.",
  });
  /** @type {Point[][]} */
  strokes = [];
  #changed;
  /** @type {Point} */
  #pen = [0.5, 0.2]; // the keyboard's
  #keyboard = false;
  #down = false;

  /** @param {() => unknown} changed called after each change of the strokes */
  constructor(changed) {
    this.#changed = changed;
    const { canvas } = this;
    const paint = () => this.paint();
    canvas.onpointerdown = (/** @type {PointerEvent} */ event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#keyboard = false;
      this.strokes.push([this.#at(event)]);
      changed();
    };
    canvas.onpointermove = (/** @type {PointerEvent} */ event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const events = event.getCoalescedEvents?.() ?? [event];
      for (const each of events) this.strokes.at(-1)?.push(this.#at(each));
      changed();
    };
    canvas.onkeydown = (/** @type {KeyboardEvent} */ event) => this.#press(event);
    canvas.onblur = () => {
      this.#keyboard = this.#down = false;
      paint();
    };
    canvas.onfocus = () => {
      this.#keyboard = canvas.matches(":focus-visible");
      paint();
    };
    new ResizeObserver(paint).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  }

  clear() {
    this.strokes = [];
    this.#down = false;
    this.#changed();
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /**
   * Moves the keyboard's pen, lowers or lifts it, or clears.
   * @param {KeyboardEvent} event
   */
  #press(event) {
    const move = MOVES[event.key];
    const erase = event.key === "Delete" || event.key === "Backspace";
    if (!move && !erase && event.key !== " ") return;
    event.preventDefault();
    this.#keyboard = true;
    if (erase) return this.clear();
    const moved = (/** @type {0 | 1} */ axis) =>
      Math.min(0.95, Math.max(0.05, this.#pen[axis] + move[axis] * STEP));
    if (move) this.#pen = [moved(0), moved(1)];
    else this.#down = !this.#down;
    if (this.#down && !move) this.strokes.push([this.#pen]);
    else if (this.#down) this.strokes.at(-1)?.push(this.#pen);
    this.#changed();
  }

  paint() {
    const { canvas } = this;
    const dots = canvas.clientWidth * devicePixelRatio;
    canvas.width = canvas.height = dots;
    const brush = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    brush.strokeStyle = brush.fillStyle = style.color;
    brush.lineWidth = dots * 0.085;
    brush.lineCap = brush.lineJoin = "round";
    for (const stroke of this.strokes) {
      brush.beginPath();
      for (const [x, y] of [stroke[0], ...stroke]) brush.lineTo(x * dots, y * dots);
      brush.stroke();
    }
    if (this.#keyboard) {
      const [x, y] = this.#pen;
      const colour = style.getPropertyValue(this.#down ? "--second" : "--accent");
      brush.strokeStyle = brush.fillStyle = colour;
      brush.lineWidth = dots * 0.01;
      brush.beginPath();
      brush.arc(x * dots, y * dots, dots * 0.03, 0, 7);
      if (this.#down) brush.fill();
      brush.stroke();
    }
  }
}

/**
 * Puts the drawing into a section; answers what predicts again.
 * @param {HTMLElement} section
 * @param {import("./tabgrad.js").Model} model
 */
export function drawing(section, model) {
  const { task } = model.info;
  const labels = task.labels;
  const input = model.entries.find(({ name }) => name === "predict")?.inputs[0];
  const shape = [1, ...(input?.shape.slice(1) ?? [])];
  const { width, height } = task;
  const pad = new Pad(() => predict());
  const seen = make("canvas", { id: "seen", width, height, ariaHidden: "true" });
  const clear = make("button", { type: "button", onclick: () => pad.clear() }, "Clear");
  const answer = /** @type {HTMLElement} */ (section.querySelector(".answer"));
  const verdict = make("p", { className: "verdict" });
  const chart = make("div");
  answer.removeAttribute("role");
  verdict.setAttribute("role", "status");
  answer.append(verdict, chart);
  section.querySelector("h2")?.replaceChildren("Draw a digit");
  section.querySelector("form")?.replaceWith(
    make(
      "div",
      { className: "board" },
      pad.canvas,
      make("div", {}, seen, make("span", { className: "hint" }, "what the model sees"), clear),
    ),
  );
  const help = "Mouse, finger or keyboard: arrows move, space draws, Delete clears.";
  section.append(make("p", { className: "hint" }, help));

  let running = false;
  let again = false;
  const predict = async () => {
    pad.paint();
    again = running;
    if (running) return;
    running = true;
    try {
      const data = blocks(pad.strokes, task);
      const mini = seen.getContext("2d");
      const image = mini.createImageData(width, height);
      data.forEach((value, i) => {
        image.data.set([128, 128, 150, (value / task.scale) * 255], 4 * i);
      });
      mini.putImageData(image, 0, 0);
      const { data: shares } = await model.predict({ data, shape });
      const outputs = [...shares].map(Number);
      const values = task.logits ? softmax(outputs) : outputs;
      const best = values.indexOf(Math.max(...values));
      const text = pad.strokes.length ? `This is a ${labels[best]}` : "Draw a digit from 0 to 9";
      if (verdict.textContent !== text) verdict.textContent = text;
      chart.replaceChildren(bars(pad.strokes.length ? values : values.fill(0), labels));
    } finally {
      running = false;
    }
    if (again) await predict();
  };
  return predict;
}

/**
 * Probabilities of a model that ends before the softmax.
 * @param {number[]} logits
 * @returns {number[]}
 */
function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
