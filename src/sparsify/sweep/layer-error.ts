import { type Floats, type Products, part, plainProducts } from "../../tensor/linalg/products.ts";
import { gramSide, rowsOf } from "./layer-sizes.ts";

/** Rows whose products are made at a time. */
const strip = 512;

/**
 * ‖W X − W' X‖² of each row, in the unit of the Gram matrix: d·H·dᵀ for the rows d of W − W'. Against zeros, W' = null, it is
 * what the layer gives: ‖W X‖². weights, others: [rows, columns]; gram: [columns, columns] → [rows].
 */
export async function rowErrors(
  weights: Floats,
  others: Floats | null,
  gram: Float64Array,
  products: Products = plainProducts,
): Promise<Float64Array> {
  const columns = gramSide(gram);
  const rows = rowsOf(weights, columns);
  const out = new Float64Array(rows);
  for (let from = 0; from < rows; from += strip) {
    const count = Math.min(strip, rows - from);
    const difference = weights.slice(from * columns, (from + count) * columns);
    if (others !== null) {
      const at = from * columns;
      for (let i = 0; i < difference.length; i++) difference[i] = (difference[i] ?? 0) - (others[at + i] ?? 0);
    }
    const image = new Float64Array(count * columns);
    const [d, h] = [part(difference, columns), part(gram, columns)];
    await products.addRowProducts(part(image, columns), d, h, count, columns, columns, 1);
    for (let r = 0, i = 0; r < count; r++) {
      let sum = 0;
      for (let j = 0; j < columns; j++, i++) sum += (difference[i] ?? 0) * (image[i] ?? 0);
      out[from + r] = sum;
    }
  }
  return out;
}

/** ‖W X − W' X‖² of all rows. */
export async function layerError(
  weights: Floats,
  others: Floats | null,
  gram: Float64Array,
  products: Products = plainProducts,
): Promise<number> {
  return (await rowErrors(weights, others, gram, products)).reduce((sum, error) => sum + error, 0);
}
