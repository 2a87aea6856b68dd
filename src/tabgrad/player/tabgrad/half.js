// float16, loaded for models that have it: not every browser has a Float16Array.

/**
 * A number's float16 bits, rounded to nearest, ties to even.
 * @param {number} value
 */
export function toHalf(value) {
  value = Number(value);
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  if (!size) return sign;
  let exponent = -14;
  while (size >= 2 ** (exponent + 1)) exponent++;
  const scaled = size / 2 ** (exponent - 10);
  let mantissa = Math.floor(scaled);
  const rest = scaled - mantissa;
  if (rest > 0.5 || (rest === 0.5 && mantissa & 1)) mantissa++;
  // A mantissa of 1024 or more carries into the exponent by itself, subnormals have none.
  return sign | (((exponent + 14) << 10) + mantissa);
}

/**
 * The number that float16 bits stand for.
 * @param {number} bits
 */
export function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
}
