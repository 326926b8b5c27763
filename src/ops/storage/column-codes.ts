/** The code that stands for 0. Codes without a sign do not saturate where processors add up products of bytes in 16 bits. */
export const zeroCode = 128;

/** Codes of 8 bits for a matrix of weights, and the scale of each column: a weight is about (code − 128) · scale. */
export interface ColumnCodes {
  /** [inputs, outputs] */
  readonly codes: Uint8Array;
  /** [outputs] */
  readonly scales: Float32Array;
}

/**
 * Nearest codes, with the largest magnitude of each column at ±127. `values` lie as [inputs, outputs], or as
 * [outputs, inputs] where `turned`.
 */
export function columnCodes(values: Float32Array, inputs: number, outputs: number, turned: boolean): ColumnCodes {
  const codes = new Uint8Array(inputs * outputs).fill(zeroCode);
  const scales = new Float32Array(outputs);
  const [step, columnStep] = turned ? [1, inputs] : [outputs, 1];
  for (let column = 0; column < outputs; column++) {
    const start = column * columnStep;
    let most = 0;
    for (let i = 0; i < inputs; i++) most = Math.max(most, Math.abs(values[start + i * step] ?? 0));
    const scale = Math.fround(most / 127);
    scales[column] = scale;
    if (scale === 0) continue;
    for (let i = 0; i < inputs; i++) {
      const code = Math.round((values[start + i * step] ?? 0) / scale);
      codes[i * outputs + column] = zeroCode + Math.max(-127, Math.min(127, code));
    }
  }
  return { codes, scales };
}
