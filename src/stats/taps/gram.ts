import { int, ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { discard } from "../../runtime/discard.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import type { Tap } from "./tap.ts";

/** Columns of a panel; narrower ones save fewer products than their calls cost. */
const panel = 512;

/** Part of the Gram matrix, where its rows and columns start. */
interface Block {
  readonly name: string;
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
}

/**
 * Adds a tap for Σ x·xᵀ, where x is f32 and has its `columns` along `axis`, tokens or positions along the other: [columns, tokens] or
 * [tokens, columns]. Wide ones are cut into panels of which each is multiplied with those behind it only, and with itself in
 * two halves, as the matrix is symmetric: 0.53 of the work at 4096 columns. Columns come first there, which the product takes
 * as they lie: it would turn panels again for every 128 columns. The result, [columns, columns], is the memory of the tap itself.
 */
export function tapGram(draft: Draft, opset: number, x: string, columns: number, axis: 0 | 1): Tap<Float64Array> {
  const blocks: Block[] = [];
  // An absent bias came with operator set 11.
  const bias = opset >= 11 ? [] : [draft.float32([0])];
  const multiply = (left: Lines, right: Lines): void => {
    const name = draft.op("Gemm", [left.name, right.name, ...bias], { transB: int(1) }, draft.fresh("tap_gram"));
    blocks.push({ name, row: left.from, column: right.from, rows: left.count, columns: right.count });
  };
  const turned = axis === 0 ? x : draft.op("Transpose", [x], { perm: ints([1, 0]) });
  const lines = { name: turned, from: 0, count: columns };
  // Before operator set 13, Split has its sizes elsewhere; such models are hardly as wide.
  const panels = opset >= 13 ? split(draft, lines, panel) : [lines];
  for (const [i, left] of panels.entries()) {
    const halves = opset >= 13 ? split(draft, left, panel / 2) : [left];
    for (const [j, half] of halves.entries()) for (const other of halves.slice(j)) multiply(half, other);
    for (const right of panels.slice(i + 1)) multiply(left, right);
  }
  const sums = new Float64Array(columns * columns);
  return {
    outputs: blocks.map(({ name }) => name),
    add: (values) => {
      for (const block of blocks) {
        const value = values.get(block.name);
        if (value === undefined) continue;
        addBlock(sums, columns, block, toFloat32(value));
        discard(value);
      }
    },
    result: () => {
      mirror(sums, columns);
      return sums;
    },
  };
}

/** So many lines of x, [count, tokens], from one on. */
interface Lines {
  readonly name: string;
  readonly from: number;
  readonly count: number;
}

/** Adds a node that cuts lines into parts of at most `size`. */
function split(draft: Draft, lines: Lines, size: number): readonly Lines[] {
  const { name, from, count } = lines;
  if (count <= size) return [lines];
  const parts = Array.from({ length: Math.ceil(count / size) }, (_, i) => ({
    name: draft.fresh("tap_panel"),
    from: from + i * size,
    count: Math.min(size, count - i * size),
  }));
  const sizes = draft.int64(parts.map((part) => part.count));
  draft.op(
    "Split",
    [name, sizes],
    { axis: int(0) },
    parts.map((part) => part.name),
  );
  return parts;
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
  stride: number,
  { row, column, rows, columns }: Block,
  values: Float32Array,
): void {
  for (let i = 0; i < rows; i++) {
    const to = (row + i) * stride + column;
    for (let j = 0; j < columns; j++) sums[to + j] = (sums[to + j] ?? 0) + (values[i * columns + j] ?? 0);
  }
}
