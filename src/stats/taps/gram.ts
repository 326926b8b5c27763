import { int, ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { discard } from "../../runtime/discard.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import type { Tap } from "./tap.ts";

/** Columns of a panel; narrower ones save fewer products than their calls cost. */
const panel = 512;

/**
 * Adds a tap for Σ x·xᵀ, where x is f32 and has its `columns` along `axis`, tokens or positions along the other: [columns, tokens] or
 * [tokens, columns]. Wide ones are cut into panels of which each is multiplied with those behind it only, as the
 * matrix is symmetric: 0.56 of the work at 4096 columns. Columns come first there, which the product takes as they lie: it
 * would turn panels again for every 128 columns. The result, [columns, columns], is the memory of the tap itself.
 */
export function tapGram(draft: Draft, opset: number, x: string, columns: number, axis: 0 | 1): Tap<Float64Array> {
  // Before operator set 13, Split has its sizes elsewhere; such models are hardly as wide.
  const count = opset >= 13 ? Math.ceil(columns / panel) : 1;
  const widths = Array.from({ length: count }, (_, i) =>
    count === 1 ? columns : Math.min(panel, columns - i * panel),
  );
  const names = widths.map(() => draft.fresh("tap_panel"));
  const lines = axis === 0 ? x : draft.op("Transpose", [x], { perm: ints([1, 0]) });
  const panels = count === 1 ? [lines] : draft.op("Split", [lines, draft.int64(widths)], { axis: int(0) }, names);
  const blocks: { readonly name: string; readonly row: number; readonly column: number }[] = [];
  // An absent bias came with operator set 11.
  const bias = opset >= 11 ? [] : [draft.float32([0])];
  for (const [i, left] of panels.entries()) {
    for (const [j, right] of panels.entries()) {
      if (j < i) continue;
      const name = draft.op("Gemm", [left, right, ...bias], { transB: int(1) }, draft.fresh("tap_gram"));
      blocks.push({ name, row: i, column: j });
    }
  }
  const sums = new Float64Array(columns * columns);
  return {
    outputs: blocks.map(({ name }) => name),
    add: (values) => {
      for (const { name, row, column } of blocks) {
        const block = values.get(name);
        if (block === undefined) continue;
        addBlock(sums, columns, row * panel, column * panel, toFloat32(block), widths[row] ?? 0, widths[column] ?? 0);
        discard(block);
      }
    },
    result: () => {
      mirror(sums, columns);
      return sums;
    },
  };
}

/** Copies what is above the diagonal to below it, in squares that the cache holds. */
function mirror(sums: Float64Array, n: number): void {
  const tile = 32;
  for (let i0 = 0; i0 < n; i0 += tile) {
    for (let j0 = i0; j0 < n; j0 += tile) {
      for (let i = i0; i < Math.min(n, i0 + tile); i++) {
        for (let j = Math.max(i + 1, j0); j < Math.min(n, j0 + tile); j++) sums[j * n + i] = sums[i * n + j] ?? 0;
      }
    }
  }
}

function addBlock(
  sums: Float64Array,
  columns: number,
  row: number,
  column: number,
  block: Float32Array,
  rows: number,
  width: number,
): void {
  for (let i = 0; i < rows; i++) {
    const to = (row + i) * columns + column;
    for (let j = 0; j < width; j++) sums[to + j] = (sums[to + j] ?? 0) + (block[i * width + j] ?? 0);
  }
}
