import type { Matrix } from "../coupling/matrices.ts";
import type { VectorRole } from "../coupling/roles.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { transpose } from "../tensor/slice.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import type { WeightView } from "./criterion.ts";

/** Order of axes in which a parameter is [rows, columns]: outputs, then inputs. */
export function canonicalOrder(matrix: Matrix): readonly number[] {
  const named = [...matrix.outputs, ...matrix.inputs];
  const rest = matrix.shape.map((_, axis) => axis).filter((axis) => !named.includes(axis));
  return [...rest, ...named];
}

/** A parameter as [rows, columns]; copies only where the layout differs. Axes that are neither count as rows. */
export function matrixView(matrix: Matrix, tensor: HostTensor): WeightView {
  const order = canonicalOrder(matrix);
  const laid = order.every((axis, i) => axis === i) ? tensor : transpose(tensor, order);
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
    values: toFloat32(laid),
  };
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
