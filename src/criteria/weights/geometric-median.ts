import type { Criterion } from "../criterion.ts";

/** Rows that are compared with all others at a time. */
const tile = 4;

/**
 * Σⱼ ‖wᵢ − wⱼ‖₂ over the rows of a matrix: the row nearest to the geometric median of all is the one that the others
 * replace best (FPGM, He et al. 2019, Eq. 5). Knows whole output features only.
 */
export function geometricMedian(): Criterion<never> {
  return {
    id: "fpgm",
    needs: [],
    elements: null,
    features: ({ values, rows, columns }, side) => (side === "output" ? distanceSums(values, rows, columns) : null),
  };
}

/** Sum of the distances of each row to all rows. values: [rows, columns]. */
function distanceSums(values: Float32Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows);
  for (let i0 = 0; i0 < rows; i0 += tile) {
    // A short last tile repeats its last row; what that adds is not stored.
    const last = Math.min(rows, i0 + tile) - 1;
    const a0 = i0 * columns;
    const a1 = Math.min(i0 + 1, last) * columns;
    const a2 = Math.min(i0 + 2, last) * columns;
    const a3 = Math.min(i0 + 3, last) * columns;
    let t0 = 0;
    let t1 = 0;
    let t2 = 0;
    let t3 = 0;
    for (let j = 0; j < rows; j++) {
      const b = j * columns;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let c = 0; c < columns; c++) {
        const x = values[b + c] ?? 0;
        const d0 = (values[a0 + c] ?? 0) - x;
        const d1 = (values[a1 + c] ?? 0) - x;
        const d2 = (values[a2 + c] ?? 0) - x;
        const d3 = (values[a3 + c] ?? 0) - x;
        s0 += d0 * d0;
        s1 += d1 * d1;
        s2 += d2 * d2;
        s3 += d3 * d3;
      }
      t0 += Math.sqrt(s0);
      t1 += Math.sqrt(s1);
      t2 += Math.sqrt(s2);
      t3 += Math.sqrt(s3);
    }
    out[i0] = t0;
    if (i0 + 1 <= last) out[i0 + 1] = t1;
    if (i0 + 2 <= last) out[i0 + 2] = t2;
    if (i0 + 3 <= last) out[i0 + 3] = t3;
  }
  return out;
}
