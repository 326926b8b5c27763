import { type Floats, type Products, part, plainProducts } from "../../tensor/linalg/products.ts";
import { layerError } from "./layer-error.ts";
import { gramSide, rowsOf } from "./layer-sizes.ts";
import type { RefittedLayer } from "./refit-kept.ts";

/** Rows whose products are made at a time. */
const strip = 512;

/**
 * Each row of a pruned layer times the one number that brings it nearest to the original on its inputs: s = w·H·vᵀ / v·H·vᵀ for the
 * rows w of W and v of V, 1 where v gives nothing. The cheapest repair: a number for each output, which the next
 * operator can take. weights: W, pruned: V, [rows, columns]; gram: H, [columns, columns].
 */
export async function refitScales(
  weights: Floats,
  pruned: Floats,
  gram: Float64Array,
  products: Products = plainProducts,
): Promise<RefittedLayer & { readonly scales: Float64Array }> {
  const columns = gramSide(gram);
  const rows = rowsOf(weights, columns);
  const scales = new Float64Array(rows);
  const out = pruned.slice();
  for (let from = 0; from < rows; from += strip) {
    const count = Math.min(strip, rows - from);
    const image = new Float64Array(count * columns);
    const [to, v, h] = [part(image, columns), part(pruned, columns, from), part(gram, columns)];
    await products.addRowProducts(to, v, h, count, columns, columns, 1);
    for (let r = 0, i = 0, at = from * columns; r < count; r++) {
      let [both, own] = [0, 0];
      for (let j = 0; j < columns; j++, i++) {
        both += (weights[at + j] ?? 0) * (image[i] ?? 0);
        own += (pruned[at + j] ?? 0) * (image[i] ?? 0);
      }
      const scale = own > 0 ? both / own : 1;
      scales[from + r] = scale;
      for (let j = 0; j < columns; j++, at++) out[at] = scale * (out[at] ?? 0);
    }
  }
  return { weights: out, scales, loss: await layerError(weights, out, gram, products) };
}
