// What WebAssembly can do in this browser, found by asking it to validate a tiny module.

// A module with one f32x4.relaxed_madd: valid exactly where relaxed SIMD is.
const RELAXED_SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, // magic, version
  1, 8, 1, 96, 3, 123, 123, 123, 1, 123, // type (v128 v128 v128) -> v128
  3, 2, 1, 0, // one function of type 0
  10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11,
);

/** @returns {Set<string>} what kernels may use here */
export function features() {
  return new Set(WebAssembly.validate(RELAXED_SIMD_PROBE) ? ["relaxed-simd"] : []);
}
