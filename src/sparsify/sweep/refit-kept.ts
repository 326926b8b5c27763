import { gramFactor, solveGram } from "../../tensor/linalg/gram-factor.ts";
import { meanDiagonal } from "../../tensor/linalg/matrix.ts";
import { type Floats, type Products, part, plainProducts } from "../../tensor/linalg/products.ts";
import { layerError } from "./layer-error.ts";
import { checkMask, gramSide, rowsOf } from "./layer-sizes.ts";

export interface RefitOptions {
  readonly products?: Products;
  /** λ as a fraction of the mean diagonal of the Gram matrix; default 0. */
  readonly damping?: number;
}

/** A layer after its weights were refitted to a mask. */
export interface RefittedLayer {
  /** [rows, columns], of the type that was given; removed weights are exact zeros. */
  readonly weights: Floats;
  /** ‖W X − W' X‖² in the unit of the Gram matrix. */
  readonly loss: number;
}

/**
 * The weights with the zeros of a mask that are nearest to a layer on its inputs: W' minimises ‖W X − W' X‖² + λ‖W − W'‖²,
 * all weights of a row at once. This is what optimal brain surgery comes to when weights go together, and the least that
 * any sweep with this mask can leave. weights, mask: [rows, columns], 1 keeps; gram: [columns, columns].
 *
 * Rows with the same mask share a factor: where whole columns go, there is one (cost columns³/3 + 2 · rows · columns²); with
 * a mask for each row the cost is rows · kept³/3, for layers of some hundred columns, or to judge a sweep.
 */
export async function refitKept(
  weights: Floats,
  gram: Float64Array,
  mask: Uint8Array,
  { products = plainProducts, damping = 0 }: RefitOptions = {},
): Promise<RefittedLayer> {
  const columns = gramSide(gram);
  const rows = rowsOf(weights, columns);
  checkMask(mask, rows, columns);
  const mean = meanDiagonal(gram, columns);
  const out = weights.slice().fill(0);
  for (const alike of sameMasks(mask, rows, columns)) {
    const first = (alike[0] ?? 0) * columns;
    const kept = Int32Array.from({ length: columns }, (_, j) => j).filter((j) => mask[first + j] === 1);
    const n = kept.length;
    if (n === 0) continue;
    const lines = new Float64Array(n * columns);
    for (let i = 0; i < n; i++) {
      const at = (kept[i] ?? 0) * columns;
      lines.set(gram.subarray(at, at + columns), i * columns);
    }
    const inner = new Float64Array(n * n);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) inner[i * n + j] = lines[i * columns + (kept[j] ?? 0)] ?? 0;
    const own = meanDiagonal(inner, n);
    const asked = own === 0 ? 0 : (damping * mean) / own;
    const factor = await gramFactor(inner, n, { damping: asked, products, overwrite: true });
    const old = new Float64Array(alike.length * columns);
    for (const [i, r] of alike.entries()) old.set(weights.subarray(r * columns, (r + 1) * columns), i * columns);
    const sides = new Float64Array(alike.length * n);
    const [side, row, line] = [part(sides, n), part(old, columns), part(lines, columns)];
    await products.addRowProducts(side, row, line, alike.length, n, columns, 1);
    for (let i = 0; i < sides.length; i++) {
      const before = old[Math.floor(i / n) * columns + (kept[i % n] ?? 0)] ?? 0;
      sides[i] = (sides[i] ?? 0) + factor.damping * own * before;
    }
    await solveGram(factor, sides, alike.length, products);
    for (const [i, r] of alike.entries()) {
      for (let j = 0; j < n; j++) out[r * columns + (kept[j] ?? 0)] = sides[i * n + j] ?? 0;
    }
  }
  return { weights: out, loss: await layerError(weights, out, gram, products) };
}

/** Rows by equal masks. */
function sameMasks(mask: Uint8Array, rows: number, columns: number): Iterable<readonly number[]> {
  const found = new Map<string, number[]>();
  for (let r = 0; r < rows; r++) {
    const key = mask.subarray(r * columns, (r + 1) * columns).join("");
    const alike = found.get(key) ?? [];
    alike.push(r);
    found.set(key, alike);
  }
  return found.values();
}
