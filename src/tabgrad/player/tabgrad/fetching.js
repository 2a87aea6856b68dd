// Fetching one file, in a page, a worker or Node: what fails is one kind of error.

import { TabgradError } from "./errors.js";

/**
 * Files that do not fit together may be of two exports, one of them from a cache.
 * @template T
 * @param {(cache: RequestCache) => Promise<T>} attempt
 * @returns {Promise<T>}
 */
export function twice(attempt) {
  return attempt("no-cache").catch((error) => {
    if (error.code === "missing_file" || error.code === "unsupported") throw error;
    return attempt("reload");
  });
}

/**
 * @param {import("./files.js").Part} part
 * @param {number} received
 */
export function wrongSize({ file, nbytes }, received) {
  return new TabgradError(
    received < nbytes ? "truncated" : "corrupt",
    `${file} has ${received} bytes, model.json says ${nbytes}; export or upload it again`,
  );
}

/**
 * @param {URL} url
 * @param {RequestCache} cache
 * @returns {Promise<ArrayBuffer>}
 */
export function fetchBytes(url, cache) {
  return fetched(url, cache, (response) => response.arrayBuffer());
}

/**
 * @template T
 * @param {URL} url
 * @param {RequestCache} cache
 * @param {(response: Response) => Promise<T>} read
 * @returns {Promise<T>}
 */
export async function fetched(url, cache, read) {
  const failed = (/** @type {unknown} */ why) =>
    new TabgradError("missing_file", `${url} could not be read: ${why}`, { cause: why });
  let response;
  try {
    // Browsers let no page read files from disk; Node has no fetch for them.
    if (url.protocol === "file:" && globalThis.process?.versions?.node) {
      const { readFile } = await import("node:fs/promises");
      response = new Response(await readFile(url));
    } else {
      response = await fetch(url, { cache });
    }
    if (response.ok) return await read(response);
  } catch (/** @type {any} */ error) {
    if (error.name === "TabgradError") throw error;
    const fromDisk = url.protocol === "file:" && globalThis.document;
    throw failed(fromDisk ? "a page opened from disk reads no files; serve it" : error.message);
  }
  throw failed(`the server answered ${response.status}`);
}
