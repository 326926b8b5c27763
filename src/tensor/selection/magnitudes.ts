import { toFloat32 } from "../numeric.ts";
import type { HostTensor } from "../tensor.ts";

/** Reads |w| of stored floats as float32, exactly where float32 holds them: `out.length` of them, from element `start` on. */
export function magnitudesOf({ dtype, bytes }: HostTensor): (start: number, out: Float32Array) => void {
  if (dtype !== "bf16") {
    const width = dtype === "f64" ? 8 : dtype === "f32" ? 4 : 2;
    return (start, out) => {
      const { length } = out;
      const part = bytes.subarray(start * width, (start + length) * width);
      const values = toFloat32({ dtype, shape: [length], bytes: part });
      for (let i = 0; i < length; i++) out[i] = Math.abs(values[i] ?? 0);
    };
  }
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const words = new Uint16Array(even.buffer, even.byteOffset, even.byteLength / 2);
  return (start, out) => {
    const bits = new Int32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < bits.length; i++) bits[i] = ((words[start + i] ?? 0) & 0x7fff) << 16;
  };
}
