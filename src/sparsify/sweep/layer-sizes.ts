import { EspalierError } from "../../tensor/error.ts";
import type { Floats } from "../../tensor/linalg/products.ts";

/** Rows and columns of a Gram matrix. Throws `shape` unless it is square. */
export function gramSide(gram: Float64Array): number {
  const side = Math.round(Math.sqrt(gram.length));
  if (side ** 2 === gram.length) return side;
  throw new EspalierError("shape", "Gram matrix", `expected a square matrix, got ${gram.length} numbers.`);
}

/** Rows of a layer whose inputs have so many features. Throws `shape` unless they are whole. */
export function rowsOf(weights: Floats, columns: number): number {
  const rows = weights.length / Math.max(1, columns);
  if (Number.isInteger(rows)) return rows;
  throw new EspalierError("shape", "weights", `expected rows of ${columns} columns, got ${weights.length} numbers.`);
}

/** Throws `shape` unless a mask has an entry for each weight. */
export function checkMask(mask: Uint8Array, rows: number, columns: number): void {
  if (mask.length === rows * columns) return;
  throw new EspalierError("shape", "mask", `expected [${rows}, ${columns}], got ${mask.length} entries.`);
}
