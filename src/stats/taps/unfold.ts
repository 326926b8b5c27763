import type { Matrix } from "../../coupling/matrices.ts";
import { int, ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import type { TensorType } from "../../graph/graph.ts";
import { isPointwise, type LinearForm, linearForm, windowAttributes } from "../../ops/linear.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { sizeOf } from "../../tensor/tensor.ts";

/** Which input of its node a matrix is. A carried parameter is the input that is not the data. */
export function formOf(matrix: Matrix): LinearForm | null {
  if (matrix.data === null) return null;
  return linearForm(matrix.node, matrix.node.inputs[0] === matrix.data.value ? 1 : 0);
}

/**
 * Adds nodes that lay a value out as features by positions: [features, positions], positions in row-major order of
 * the other axes.
 */
export function featuresFirst(draft: Draft, value: string, axis: number, type: TensorType): string {
  const rank = type.shape.length;
  let now = type.dtype === "f32" ? value : draft.op("Cast", [value], { to: int(1) });
  if (axis !== 0) {
    const perm = [axis, ...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis)];
    now = draft.op("Transpose", [now], { perm: ints(perm) });
  }
  return draft.op("Reshape", [now, draft.int64([type.shape[axis] ?? 1, -1])]);
}

/**
 * Adds nodes that compute what the columns of a matrix multiply: [columns · groups, positions], windows unfolded by a
 * convolution with one-hot kernels, so that strides, pads and dilations mean what they mean to the operator.
 */
export function unfold(draft: Draft, matrix: Matrix, value: string, type: TensorType): string {
  const axis = matrix.data?.axis ?? 0;
  const kernel = matrix.inputs.slice(1).map((i) => matrix.shape[i] ?? 1);
  const positions = sizeOf(kernel);
  const form = formOf(matrix);
  if (form?.window !== true || isPointwise(matrix.node, positions)) return featuresFirst(draft, value, axis, type);
  const channels = type.shape[axis] ?? 1;
  const oneHot = new Float32Array(channels * positions * positions);
  for (let c = 0; c < channels * positions; c++) oneHot[c * positions + (c % positions)] = 1;
  const weight = draft.constant(float32Tensor([channels * positions, 1, ...kernel], oneHot), "windows");
  const attributes = { ...Object.fromEntries(windowAttributes(matrix.node)), group: int(channels) };
  const cast = type.dtype === "f32" ? value : draft.op("Cast", [value], { to: int(1) });
  const windows = draft.op("Conv", [cast, weight], attributes);
  return featuresFirst(draft, windows, 1, {
    dtype: "f32",
    shape: type.shape.map((n, i) => (i === 1 ? channels * positions : n)),
  });
}

/** Adds a sum over the last axis, which stays as size 1, for any operator set. */
export function sumLast(draft: Draft, opset: number, value: string): string {
  return opset >= 13
    ? draft.op("ReduceSum", [value, draft.int64([-1])])
    : draft.op("ReduceSum", [value], { axes: ints([-1]) });
}
