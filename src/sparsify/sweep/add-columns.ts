import type { Floats } from "../../tensor/linalg/products.ts";

/**
 * S_j += Σᵢ D_i·R_ij over the columns i of [from, to), in the rows [r, end): a product in a plain loop, for a few columns.
 * debt, removed: S and D, [columns, rows]; upper: R, [columns, columns].
 */
export function addColumns(
  debt: Floats,
  removed: Floats,
  upper: Float64Array,
  columns: number,
  rows: number,
  j: number,
  from: number,
  to: number,
  r: number,
  end: number,
): void {
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const a = upper[i * columns + j] ?? 0;
    const b = upper[(i + 1) * columns + j] ?? 0;
    const c = upper[(i + 2) * columns + j] ?? 0;
    const d = upper[(i + 3) * columns + j] ?? 0;
    let p = i * rows + r;
    let q = p + rows;
    let s = q + rows;
    let t = s + rows;
    for (let at = j * rows + r; at < j * rows + end; at++, p++, q++, s++, t++) {
      const near = a * (removed[p] ?? 0) + b * (removed[q] ?? 0);
      debt[at] = (debt[at] ?? 0) + near + (c * (removed[s] ?? 0) + d * (removed[t] ?? 0));
    }
  }
  for (; i < to; i++) {
    const a = upper[i * columns + j] ?? 0;
    let p = i * rows + r;
    for (let at = j * rows + r; at < j * rows + end; at++, p++) {
      debt[at] = (debt[at] ?? 0) + a * (removed[p] ?? 0);
    }
  }
}
