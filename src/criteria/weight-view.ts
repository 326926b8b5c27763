import type { Matrix } from "../coupling/matrices.ts";
import type { VectorRole } from "../coupling/roles.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { transpose } from "../tensor/slice.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import type { WeightView } from "./criterion.ts";

/** Order of axes in which a parameter is [rows, columns]: outputs, then inputs. */
export function canonicalOrder(matrix: Matrix): readonly number[] {
  const named = [...matrix.outputs, ...matrix.inputs];
  const rest = matrix.shape.map((_, axis) => axis).filter((axis) => !named.includes(axis));
  return [...rest, ...named];
}

/**
 * A parameter as [rows, columns]; copies only where the layout differs, when `values` is first read. Axes that are neither
 * count as rows.
 */
export function matrixView(matrix: Matrix, tensor: HostTensor): WeightView {
  const order = canonicalOrder(matrix);
  const plain = order.every((axis, i) => axis === i);
  const byFeature = !plain && liesByFeature(matrix, order);
  let values: Float32Array | undefined;
  const features = matrix.shape[matrix.inputs[0] ?? 0] ?? 1;
  const rows = sizeOf(matrix.shape) / matrix.columns;
  return {
    matrix,
    parameter: matrix.parameter,
    shape: matrix.shape,
    rows,
    firstRow: 0,
    totalRows: rows,
    role: null,
    columns: matrix.columns,
    positions: matrix.columns / features,
    get values() {
      values ??= toFloat32(plain ? tensor : transpose(tensor, order));
      return values;
    },
    get byFeature() {
      return byFeature ? toFloat32(tensor) : undefined;
    },
  };
}

/** Numbers [rows, columns] in the layout of their parameter. */
export function asParameter(matrix: Matrix, values: Float32Array): HostTensor {
  const order = canonicalOrder(matrix);
  const laid = float32Tensor(
    order.map((axis) => matrix.shape[axis] ?? 1),
    values,
  );
  const back = order.map((_, axis) => order.indexOf(axis));
  return back.every((axis, i) => axis === i) ? laid : transpose(laid, back);
}

/** True where the axes of a parameter are its input feature, its rows and its kernel positions, in this order. */
function liesByFeature({ shape, inputs }: Matrix, order: readonly number[]): boolean {
  const [feature, ...positions] = inputs;
  const rows = order.slice(0, order.length - inputs.length);
  const long = [feature ?? 0, ...rows, ...positions].filter((axis) => shape[axis] !== 1);
  return long.every((axis, i) => axis > (long[i - 1] ?? -1));
}

/** A vector or table that no matrix product uses, as one row per entry of `axis`. */
export function vectorView(parameter: string, tensor: HostTensor, axis: number, role: VectorRole | null): WeightView {
  const order = [axis, ...tensor.shape.map((_, i) => i).filter((i) => i !== axis)];
  const laid = axis === 0 ? tensor : transpose(tensor, order);
  const rows = tensor.shape[axis] ?? 1;
  const columns = sizeOf(tensor.shape) / rows;
  return {
    matrix: null,
    parameter,
    shape: tensor.shape,
    rows,
    columns,
    firstRow: 0,
    totalRows: rows,
    role,
    positions: 1,
    values: toFloat32(laid),
  };
}
