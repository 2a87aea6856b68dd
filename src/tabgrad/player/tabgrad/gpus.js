// Loading an engine of a GPU: float16 is kept in 16 bits only where there are kernels that do so.
//
// Not here: a model's Program (opening.js), and engines themselves.

/**
 * What opens an engine.
 * @param {string} kind
 * @param {{features: string[]}[]} programs its kernels by features, of which a device is to have some
 * @returns {Promise<() => Promise<any>>}
 */
export async function openerOf(kind, programs) {
  if (kind !== "webgpu") return (await import("./webgl.js")).open;
  const { open } = await import("./webgpu.js");
  if (!programs.some(({ features }) => features.includes("shader-f16"))) return open;
  const { halves } = await import("./halves.js");
  return () => open({ halves });
}
