import type { Matrix } from "../coupling/matrices.ts";
import type { Placement } from "../coupling/placement.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { takeMany } from "../tensor/slice.ts";
import { type HostTensor, type Shape, sizeOf } from "../tensor/tensor.ts";
import type { MatrixStatistics } from "./criterion.ts";
import { vectorView } from "./weight-view.ts";

/** The part of a parameter in which the units of one set lie. */
export interface SetPart {
  /** Number of the set, less what the axis of the units tells itself. */
  readonly set: number;
  /** Positions of the other axes that belong to it. */
  readonly cuts: readonly { readonly axis: number; readonly indices: Int32Array }[];
}

/** The parts of a parameter that the other axes of a placement tell apart. */
export function setParts({ across }: Placement): readonly SetPart[] {
  let parts: SetPart[] = [{ set: 0, cuts: [] }];
  for (const { axis, set } of across) {
    const positions = new Map<number, number[]>();
    for (const [p, number] of set.entries()) {
      const list = positions.get(number);
      if (list === undefined) positions.set(number, [p]);
      else list.push(p);
    }
    parts = parts.flatMap((part) =>
      [...positions].map(([number, indices]) => ({
        set: part.set + number,
        cuts: [...part.cuts, { axis, indices: Int32Array.from(indices) }],
      })),
    );
  }
  return parts;
}

/** The part of a parameter. */
export function tensorPart(tensor: HostTensor, { cuts }: SetPart): HostTensor {
  return takeMany(tensor, cuts);
}

/** The part of a matrix as a matrix of its own, which sees the groups of columns that its rows belong to. */
export function matrixPart(matrix: Matrix, part: SetPart): Matrix {
  const shape = matrix.shape.map((n, axis) => part.cuts.find((cut) => cut.axis === axis)?.indices.length ?? n);
  const size = (axes: readonly number[]): number => sizeOf(axes.map((axis) => shape[axis] ?? 1));
  return {
    ...matrix,
    shape,
    rows: size(matrix.outputs),
    columns: size(matrix.inputs),
    groups: groupsOf(matrix, part)?.length ?? matrix.groups,
  };
}

/** What calibration measured of the part. */
export function statisticsPart<S extends Partial<MatrixStatistics>>(statistics: S, matrix: Matrix, part: SetPart): S {
  const groups = groupsOf(matrix, part);
  const columns = part.cuts.find(({ axis }) => axis === matrix.inputs[0])?.indices;
  if (groups === null && columns === undefined) return statistics;
  const taken: Partial<MatrixStatistics> = { ...statistics };
  const features = (all: Float64Array | undefined): Float64Array | undefined => {
    if (all === undefined) return undefined;
    if (columns !== undefined) return Float64Array.from(columns, (c) => all[c] ?? 0);
    const each = all.length / matrix.groups;
    return Float64Array.from({ length: each * (groups?.length ?? 0) }, (_, i) => {
      return all[(groups?.[Math.floor(i / each)] ?? 0) * each + (i % each)] ?? 0;
    });
  };
  const { inputMean, inputMeanSquare, gram } = taken;
  return {
    ...statistics,
    ...(inputMean === undefined ? {} : { inputMean: features(inputMean) }),
    ...(inputMeanSquare === undefined ? {} : { inputMeanSquare: features(inputMeanSquare) }),
    ...(gram === undefined ? {} : { gram: columns === undefined ? groups?.flatMap((g) => gram[g] ?? []) : [] }),
  };
}

/** What was measured of each number of a vector or table, in the order of its view along an axis; `part` of it, or all. */
export function vectorStatistics<S extends Partial<MatrixStatistics>>(
  statistics: S,
  shape: Shape,
  axis: number,
  part: SetPart | null,
): S {
  const laid: Partial<MatrixStatistics> = { ...statistics };
  const lay = (values: Float32Array): Float32Array => {
    if (values.length !== sizeOf(shape)) return values;
    const tensor = float32Tensor(shape, values);
    return vectorView("", part === null ? tensor : tensorPart(tensor, part), axis, null).values;
  };
  const { gradient, gradientMagnitude, gradientSquare, hessianDiagonal, hessianGradient } = laid;
  return {
    ...statistics,
    ...(gradient === undefined ? {} : { gradient: lay(gradient) }),
    ...(gradientMagnitude === undefined ? {} : { gradientMagnitude: lay(gradientMagnitude) }),
    ...(gradientSquare === undefined ? {} : { gradientSquare: lay(gradientSquare) }),
    ...(hessianDiagonal === undefined ? {} : { hessianDiagonal: lay(hessianDiagonal) }),
    ...(hessianGradient === undefined ? {} : { hessianGradient: lay(hessianGradient) }),
  };
}

/** Groups of a grouped matrix to which the rows of the part belong; null where the part does not choose rows. */
function groupsOf(matrix: Matrix, { cuts }: SetPart): readonly number[] | null {
  const rows = cuts.find(({ axis }) => axis === matrix.outputs[0])?.indices;
  if (rows === undefined || matrix.groups === 1) return null;
  const perGroup = (matrix.shape[matrix.outputs[0] ?? 0] ?? 1) / matrix.groups;
  return [...new Set(Array.from(rows, (row) => Math.floor(row / perGroup)))];
}
