/** Powers of two 2^(10 - e) for the exponents e of normal half floats, -14 to 15. */
const scaleOfExponent = Float64Array.from({ length: 30 }, (_, i) => 2 ** (24 - i));

/** Adding and subtracting this rounds a double below 2^51 to an integer, half to even. */
const roundingShift = 2 ** 52;

/** Values of IEEE half floats. Exact, infinities and NaN included. */
export function decodeFloat16(source: Uint16Array): Float32Array {
  const out = new Float32Array(source.length);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < source.length; i++) {
    const h = source[i] ?? 0;
    const sign = (h & 0x8000) << 16;
    if ((h & 0x7c00) === 0x7c00) {
      bits[i] = sign | 0x7f800000 | ((h & 0x3ff) << 13);
    } else {
      // The exponents differ in bias by 112; as a product it is exact for subnormal numbers too.
      bits[i] = sign | ((h & 0x7fff) << 13);
      out[i] = (out[i] ?? 0) * 2 ** 112;
    }
  }
  return out;
}

/** Nearest IEEE half floats, ties to even; beyond 65,520 infinity. Doubles are rounded once. */
export function encodeFloat16(source: Float32Array | Float64Array): Uint16Array {
  const out = new Uint16Array(source.length);
  const scratch = new Float64Array(1);
  const words = new Uint32Array(scratch.buffer);
  for (let i = 0; i < source.length; i++) {
    const value = source[i] ?? 0;
    scratch[0] = value;
    const high = words[1] ?? 0;
    const sign = (high >>> 16) & 0x8000;
    const magnitude = Math.abs(value);
    if (magnitude < 2 ** -14) {
      out[i] = sign | (magnitude * 2 ** 24 + roundingShift - roundingShift);
    } else if (magnitude < 65520) {
      const exponent = ((high >>> 20) & 0x7ff) - 1023;
      const scaled = magnitude * (scaleOfExponent[exponent + 14] ?? 1) + roundingShift - roundingShift;
      // A mantissa that rounds up to 2,048 carries into the exponent, which is what the sum does.
      out[i] = sign | (((exponent + 15) << 10) + scaled - 1024);
    } else {
      out[i] = sign | (magnitude >= 65520 ? 0x7c00 : 0x7e00);
    }
  }
  return out;
}

/** Values of bfloat16 numbers. Exact. */
export function decodeBfloat16(source: Uint16Array): Float32Array {
  const bits = new Uint32Array(source.length);
  for (let i = 0; i < source.length; i++) bits[i] = (source[i] ?? 0) << 16;
  return new Float32Array(bits.buffer);
}

/** Nearest bfloat16 numbers, ties to even. Doubles are rounded once. */
export function encodeBfloat16(source: Float32Array | Float64Array): Uint16Array {
  const out = new Uint16Array(source.length);
  const scratch = new Float32Array(1);
  const words = new Uint32Array(scratch.buffer);
  for (let i = 0; i < source.length; i++) {
    const value = source[i] ?? 0;
    scratch[0] = value;
    let bits = words[0] ?? 0;
    if (Number.isNaN(value)) {
      out[i] = (bits >>> 16) | 0x40;
      continue;
    }
    if ((bits & 0xffff) === 0x8000) {
      // The first rounding, to float32, may have made this tie; the double knows on which side it is.
      const narrowed = Math.abs(scratch[0] ?? 0);
      const exact = Math.abs(value);
      if (exact < narrowed) bits--;
      else if (exact > narrowed) bits++;
    }
    out[i] = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return out;
}
