// Data that people paste: JSON {"x": ..., "y": ...}, or rows of numbers as from a spreadsheet.
// Loaded when somebody does.

import { width } from "./shapes.js";

/**
 * @typedef {{shape: number[], name: string}} Column
 *
 * @typedef {Record<string, {data: number[], shape: number[]}>} Columns
 */

/**
 * Inputs and targets from text.
 * @param {string} text
 * @param {Column[]} inputs
 * @param {Column[]} targets
 * @returns {{x: any, y: any}}
 */
export function parseData(text, inputs, targets) {
  if (text.trim().startsWith("{")) {
    const { x, y } = JSON.parse(text);
    if (x === undefined || y === undefined) throw Error('expected JSON with "x" and "y"');
    return { x, y };
  }
  const wanted = [...inputs, ...targets].reduce((sum, column) => sum + width(column), 0);
  /** @type {number[][]} */
  const rows = [];
  for (const [i, line] of text.split("\n").entries()) {
    const cells = line.trim().split(/[,;\s]+/).filter(Boolean);
    if (!cells.length || (!rows.length && cells.some((cell) => Number.isNaN(Number(cell))))) {
      continue; // an empty line, or names of columns
    }
    if (cells.length !== wanted) {
      throw Error(`line ${i + 1}: expected ${wanted} numbers, received ${cells.length}`);
    }
    const row = cells.map(Number);
    const wrong = row.findIndex(Number.isNaN);
    if (wrong >= 0) throw Error(`line ${i + 1}: "${cells[wrong]}" is not a number`);
    rows.push(row);
  }
  let at = 0;
  const take = (/** @type {Column[]} */ columns) =>
    /** @type {Columns} */ (
      Object.fromEntries(
        columns.map((column) => {
          const [from, to] = [at, (at += width(column))];
          const data = rows.flatMap((row) => row.slice(from, to));
          return [column.name, { data, shape: [rows.length, ...column.shape.slice(1)] }];
        }),
      )
    );
  return { x: take(inputs), y: take(targets) };
}
