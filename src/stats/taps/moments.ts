import type { Matrix } from "../../coupling/matrices.ts";
import { ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import type { TensorType } from "../../graph/graph.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { tapGram } from "./gram.ts";
import type { Tap } from "./tap.ts";
import { featuresFirst, sumLast, unfold } from "./unfold.ts";

/** Sums over tokens or positions of what the columns x of a matrix multiply. */
export interface InputMoments {
  /** Tokens or positions. */
  readonly count: number;
  /** Columns of all groups: features times window positions. */
  readonly columns: number;
  /** Σ x: [groups · columns]. */
  readonly sum: Float64Array;
  /** Σ x·xᵀ for each group: [columns, columns]. */
  readonly gram: readonly Float64Array[];
}

/** Sums over the same positions of a target d and of its products with x. */
export interface TargetMoments {
  readonly rows: number;
  /** Σ d and Σ d²: [rows]. */
  readonly sum: Float64Array;
  readonly squares: Float64Array;
  /** Σ d·xᵀ for each group: [rows, columns]; rows of other groups are there and mean nothing. */
  readonly cross: readonly Float64Array[];
}

/** Sum and sum of squares of each channel of a value. */
export interface ChannelMoments {
  readonly count: number;
  readonly sum: Float64Array;
  readonly squares: Float64Array;
}

/** Adds a tap for the inputs of a matrix. `type` is the type of `value`. */
export function tapInputs(
  draft: Draft,
  opset: number,
  matrix: Matrix,
  value: string,
  type: TensorType,
  every = 1,
): Tap<InputMoments> & { readonly features: string } {
  const { groups, columns } = matrix;
  const features = everyPosition(draft, opset, unfold(draft, matrix, value, type), every);
  const grouped = draft.op("Reshape", [features, draft.int64([groups, columns, -1])]);
  const flipped = draft.op("Transpose", [grouped], { perm: ints([0, 2, 1]) });
  const gram =
    groups === 1
      ? tapGram(draft, opset, features, columns, 0)
      : tapGroups(draft, grouped, flipped, groups * columns ** 2);
  const sum = draft.op("Identity", [sumLast(draft, opset, features)], {}, draft.fresh("tap_sum"));
  const extent = draft.op("Shape", [features], {}, draft.fresh("tap_extent"));
  const sums = new Float64Array(groups * columns);
  let count = 0;
  return {
    features: flipped,
    outputs: [...gram.outputs, sum, extent],
    add: (values) => {
      count += extentOf(values.get(extent));
      accumulate(sums, values.get(sum));
      gram.add(values);
    },
    result: () => {
      const grams = gram.result();
      const own = (g: number) => grams.subarray(g * columns * columns, (g + 1) * columns * columns);
      return { count, columns, sum: sums, gram: Array.from({ length: groups }, (_, g) => own(g)) };
    },
  };
}

/** Adds a tap for Σ x·xᵀ of each group of columns. grouped: [groups, columns, positions]; flipped: the other way round. */
function tapGroups(draft: Draft, grouped: string, flipped: string, size: number): Tap<Float64Array> {
  const gram = draft.op("MatMul", [grouped, flipped], {}, draft.fresh("tap_gram"));
  const sums = new Float64Array(size);
  return { outputs: [gram], add: (values) => accumulate(sums, values.get(gram)), result: () => sums };
}

/** Adds nodes that take each `every`-th position of [features, positions]; all where the operator set cannot. */
export function everyPosition(draft: Draft, opset: number, features: string, every: number): string {
  if (every === 1 || opset < 10) return features;
  const [from, to, axis, step] = [0, Number.MAX_SAFE_INTEGER, 1, every].map((n) => draft.int64([n]));
  return draft.op("Slice", [features, from ?? "", to ?? "", axis ?? "", step ?? ""]);
}

/** Adds a tap for a target [rows, positions] against inputs that are tapped already. */
export function tapTarget(
  draft: Draft,
  opset: number,
  matrix: Matrix,
  inputs: string,
  target: string,
  rows: number,
): Tap<TargetMoments> {
  const { groups, columns } = matrix;
  const cross = draft.op("MatMul", [target, inputs], {}, draft.fresh("tap_cross"));
  const sum = draft.op("Identity", [sumLast(draft, opset, target)], {}, draft.fresh("tap_target"));
  const square = draft.op("Mul", [target, target]);
  const squares = draft.op("Identity", [sumLast(draft, opset, square)], {}, draft.fresh("tap_squares"));
  const sums = new Float64Array(rows);
  const squareSums = new Float64Array(rows);
  const products = new Float64Array(groups * rows * columns);
  return {
    outputs: [cross, sum, squares],
    add: (values) => {
      accumulate(products, values.get(cross));
      accumulate(sums, values.get(sum));
      accumulate(squareSums, values.get(squares));
    },
    result: () => ({
      rows,
      sum: sums,
      squares: squareSums,
      cross: Array.from({ length: groups }, (_, g) => products.subarray(g * rows * columns, (g + 1) * rows * columns)),
    }),
  };
}

/** Adds a tap for mean and variance of each channel of a value. */
export function tapChannels(
  draft: Draft,
  opset: number,
  value: string,
  axis: number,
  type: TensorType,
): Tap<ChannelMoments> {
  return tapFeatures(draft, opset, featuresFirst(draft, value, axis, type), type.shape[axis] ?? 1);
}

/** Adds a tap for mean and variance of each row of a value [features, positions]. */
export function tapFeatures(draft: Draft, opset: number, value: string, features: number): Tap<ChannelMoments> {
  const sum = draft.op("Identity", [sumLast(draft, opset, value)], {}, draft.fresh("tap_sum"));
  const square = draft.op("Mul", [value, value]);
  const squares = draft.op("Identity", [sumLast(draft, opset, square)], {}, draft.fresh("tap_squares"));
  const extent = draft.op("Shape", [value], {}, draft.fresh("tap_extent"));
  const sums = new Float64Array(features);
  const squareSums = new Float64Array(features);
  let count = 0;
  return {
    outputs: [sum, squares, extent],
    add: (values) => {
      count += extentOf(values.get(extent));
      accumulate(sums, values.get(sum));
      accumulate(squareSums, values.get(squares));
    },
    result: () => ({ count, sum: sums, squares: squareSums }),
  };
}

/** Covariance from a sum of products. [columns, columns] */
export function centred(gram: Float64Array, mean: Float64Array, count: number): Float64Array {
  const n = mean.length;
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const both = ((gram[i * n + j] ?? 0) + (gram[j * n + i] ?? 0)) / 2;
      out[i * n + j] = both / count - (mean[i] ?? 0) * (mean[j] ?? 0);
    }
    // Rounding may leave a constant input with a tiny negative variance.
    out[i * n + i] = Math.max(0, out[i * n + i] ?? 0);
  }
  return out;
}

function accumulate(total: Float64Array, part: HostTensor | undefined): void {
  if (part === undefined) return;
  const values = toFloat32(part);
  for (let i = 0; i < total.length; i++) total[i] = (total[i] ?? 0) + (values[i] ?? 0);
}

/** Positions of a [features, positions] value, from its shape. */
function extentOf(shape: HostTensor | undefined): number {
  return shape === undefined ? 0 : (toFloat32(shape)[1] ?? 0);
}
