import { EspalierError } from "../tensor/error.ts";
import { countOf, keepNofM } from "../tensor/selection/select.ts";

/**
 * What goes or stays together: single weights; N of every M neighbours along the input axis, for a convolution along
 * its input channels at a fixed kernel position, or in the order of im2col; blocks of rows times input features.
 */
export type Pattern =
  | { readonly kind: "element" }
  | {
      readonly kind: "n:m";
      readonly keep: number;
      readonly of: number;
      readonly order?: "channels" | "im2col";
      /**
       * What an axis that M does not divide means: the weight does not fit and stays whole, unless told; or what is left over at its
       * end is a shorter group that loses the same share, so that all weights do.
       */
      readonly rest?: "misfit" | "shorter";
    }
  | { readonly kind: "block"; readonly rows: number; readonly columns: number };

/** Sizes of a weight as masks see it: columns are [input features, positions]. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly positions: number;
}

/** Why a pattern does not fit a weight; null where it does. */
export function misfit(pattern: Pattern, { columns, positions }: Grid): string | null {
  if (pattern.kind !== "n:m") return null;
  const axis = pattern.order === "im2col" ? columns : columns / positions;
  if (pattern.rest === "shorter") return axis >= pattern.of ? null : `it has ${axis} inputs, fewer than ${pattern.of}`;
  return axis % pattern.of === 0 ? null : `${pattern.of} does not divide its ${axis} inputs`;
}

/** The shorter group at the end of an axis: its length, 0 where M divides the axis, and how many of it stay. */
export function restOf(
  { keep, of }: Pick<Extract<Pattern, { kind: "n:m" }>, "keep" | "of">,
  axis: number,
): { readonly keep: number; readonly of: number } {
  const rest = axis % of;
  return { keep: rest - countOf(1 - keep / of, rest), of: rest };
}

/** How many weights of a grid the pattern keeps. */
export function keptByPattern(pattern: Extract<Pattern, { kind: "n:m" }>, { rows, columns, positions }: Grid): number {
  const inner = pattern.order === "im2col" ? 1 : positions;
  const axis = columns / inner;
  return rows * inner * (Math.floor(axis / pattern.of) * pattern.keep + restOf(pattern, axis).keep);
}

/** Throws `request` for a pattern that no weight can have. */
export function checkPattern(pattern: Pattern): void {
  const whole = (n: number) => Number.isSafeInteger(n) && n >= 1;
  if (pattern.kind === "n:m" && !(whole(pattern.of) && Number.isSafeInteger(pattern.keep) && pattern.keep >= 0)) {
    throw refusal(`${pattern.keep}:${pattern.of}`, "whole numbers N:M");
  }
  if (pattern.kind === "n:m" && pattern.keep > pattern.of) {
    throw refusal(`${pattern.keep}:${pattern.of}`, "at most M of M kept");
  }
  if (pattern.kind === "block" && !(whole(pattern.rows) && whole(pattern.columns))) {
    throw refusal(`block ${pattern.rows}x${pattern.columns}`, "blocks of at least 1x1");
  }
}

function refusal(what: string, expected: string): EspalierError {
  return new EspalierError("request", "--granularity", `expected ${expected}, got ${what}.`, "For example 2:4.");
}

/** Rows and columns of the cells that compete: weights or blocks. */
export function cellsOf(
  pattern: Pattern,
  { rows, columns, positions }: Grid,
): readonly [rows: number, columns: number] {
  if (pattern.kind !== "block") return [rows, columns];
  return [Math.ceil(rows / pattern.rows), Math.ceil(columns / positions / pattern.columns) * positions];
}

/** Scores of the cells from those of the weights: the mean of a block, so that blocks cut off at an edge compete fairly. */
export function cellScores(pattern: Pattern, grid: Grid, scores: Float64Array): Float64Array {
  if (pattern.kind !== "block") return scores;
  const [cellRows, cellColumns] = cellsOf(pattern, grid);
  const sums = new Float64Array(cellRows * cellColumns);
  const counts = new Float64Array(cellRows * cellColumns);
  const places = columnCells(grid, pattern.columns);
  for (let r = 0, i = 0; r < grid.rows; r++) {
    const start = Math.floor(r / pattern.rows) * cellColumns;
    for (let c = 0; c < grid.columns; c++, i++) {
      const cell = start + (places[c] ?? 0);
      sums[cell] = (sums[cell] ?? 0) + (scores[i] ?? 0);
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
  }
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) / (counts[i] ?? 1);
  return sums;
}

/** The mask of the weights from that of the cells; 1 keeps. */
export function weightMask(pattern: Pattern, grid: Grid, cells: Uint8Array): Uint8Array {
  if (pattern.kind !== "block") return cells;
  const [, cellColumns] = cellsOf(pattern, grid);
  const places = columnCells(grid, pattern.columns);
  const out = new Uint8Array(grid.rows * grid.columns);
  for (let r = 0, i = 0; r < grid.rows; r++) {
    const start = Math.floor(r / pattern.rows) * cellColumns;
    for (let c = 0; c < grid.columns; c++, i++) out[i] = cells[start + (places[c] ?? 0)] ?? 0;
  }
  return out;
}

/** The mask that keeps N of every M; 1 keeps. scores: [rows, columns]. Throws `shape` where the pattern does not fit. */
export function patternMask(pattern: Extract<Pattern, { kind: "n:m" }>, grid: Grid, scores: Float64Array): Uint8Array {
  const { rows, columns, positions } = grid;
  const inner = pattern.order === "im2col" ? 1 : positions;
  const axis = columns / inner;
  const rest = restOf(pattern, axis);
  const { keep, of } = pattern;
  if (rest.of === 0 || misfit(pattern, grid) !== null) return keepNofM(scores, rows, axis, keep, of, inner);
  const mask = new Uint8Array(scores.length);
  const choose = (from: number, to: number, group: typeof rest): void => {
    const width = (to - from) * inner;
    const part = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const at = r * columns + from * inner;
      part.set(scores.subarray(at, at + width), r * width);
    }
    const kept = keepNofM(part, rows, to - from, group.keep, group.of, inner);
    for (let r = 0; r < rows; r++) mask.set(kept.subarray(r * width, (r + 1) * width), r * columns + from * inner);
  };
  choose(0, axis - rest.of, pattern);
  choose(axis - rest.of, axis, rest);
  return mask;
}

/** Column of cells that each column of weights belongs to. */
function columnCells({ columns, positions }: Grid, features: number): Int32Array {
  const out = new Int32Array(columns);
  for (let c = 0; c < columns; c++) out[c] = Math.floor(c / positions / features) * positions + (c % positions);
  return out;
}
