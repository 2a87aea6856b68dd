// Sizes of inputs and targets.

/** @param {number[]} shape */
export const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** @param {{shape: number[]}} column how many values a row has */
export const width = ({ shape }) => product(shape.slice(1));
