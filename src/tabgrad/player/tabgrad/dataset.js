// The dataset that an export may have, read when it is asked for.

import { unpack } from "./arrays.js";
import { fromBytes } from "./dtypes.js";
import { fetchParts } from "./files.js";
import { readSafetensors } from "./safetensors.js";

/**
 * @param {any} data of model.json
 * @param {URL} url of it
 */
export async function readDataset(data, url) {
  const [{ file, data: bytes }] = await fetchParts([data], url);
  const stored = readSafetensors(bytes, file);
  const results = ["x", "y", "x_test", "y_test"].map(async (column) => {
    const found = await Promise.all(
      data[column].map((/** @type {string} */ name) => {
        const { dtype, shape, bytes } = /** @type {any} */ (stored.get(name));
        return unpack({ data: fromBytes(dtype, bytes.slice()), shape }, dtype);
      }),
    );
    return found.length > 1 ? found : found[0];
  });
  const [x, y, xTest, yTest] = await Promise.all(results);
  return { x, y, xTest, yTest };
}
