import type { Matrix } from "../coupling/matrices.ts";
import { edit } from "../graph/edit.ts";
import type { Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { type Factoring, type Factors, factoringOf, type KernelLayout } from "../ops/factoring.ts";
import { type FloatType, isFloat } from "../tensor/dtype.ts";
import { type RankRule, rankOf, type Spectrum, spectrum, truncate } from "../tensor/linalg/low-rank.ts";
import { fromFloats, toFloat64 } from "../tensor/numeric.ts";
import { transpose } from "../tensor/slice.ts";
import { type HostTensor, load, type Shape, sizeOf } from "../tensor/tensor.ts";

/** A kernel that can be taken apart into two, and how. */
export interface FactorableKernel {
  readonly matrix: Matrix;
  readonly dtype: FloatType;
  readonly factoring: Factoring;
  /** The most that a rank can be. */
  readonly fullRank: number;
}

/** The kernels of some matrices that can be taken apart; `skipped` says why others cannot. */
export function factorable(
  graph: Graph,
  matrices: readonly Matrix[],
  factors: Factors,
): {
  readonly kernels: readonly FactorableKernel[];
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
} {
  const uses = new Map<string, number>();
  for (const { inputs } of graph.nodes) for (const name of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  const kernels: FactorableKernel[] = [];
  const skipped: { name: string; reason: string }[] = [];
  for (const matrix of matrices) {
    const { node, parameter, shape } = matrix;
    const dtype = graph.constants.get(parameter)?.dtype ?? "bool";
    const factoring = factoringOf(node, node.inputs.indexOf(parameter), shape, factors);
    if (!isFloat(dtype)) skipped.push({ name: parameter, reason: `its weights are ${dtype}` });
    else if (uses.get(parameter) !== 1) skipped.push({ name: parameter, reason: "it is read in several places" });
    else if (factoring === null) skipped.push({ name: parameter, reason: `${node.op} has no ${factors} factors here` });
    else {
      const size = (axes: readonly number[]): number => sizeOf(axes.map((axis) => shape[axis] ?? 1));
      const fullRank = Math.min(size(factoring.rows), size(factoring.columns));
      kernels.push({ matrix, dtype, factoring, fullRank });
    }
  }
  return { kernels, skipped };
}

/** A kernel as its matrices, one for each position of the block axes. */
interface Blocks {
  readonly rows: number;
  readonly columns: number;
  readonly matrices: readonly Float64Array[];
}

function blocksOf({ factoring }: Pick<FactorableKernel, "factoring">, kernel: HostTensor): Blocks {
  const { blocks, rows, columns } = factoring;
  const size = (axes: readonly number[]): number => sizeOf(axes.map((axis) => kernel.shape[axis] ?? 1));
  const values = Float64Array.from(toFloat64(transpose(kernel, [...blocks, ...rows, ...columns])));
  const each = size(rows) * size(columns);
  const matrices = Array.from({ length: size(blocks) }, (_, b) => values.slice(b * each, (b + 1) * each));
  return { rows: size(rows), columns: size(columns), matrices };
}

/** Matrices put back together as a kernel. */
function kernelOf({ factoring, dtype }: FactorableKernel, shape: Shape, matrices: readonly Float64Array[]): HostTensor {
  const order = [...factoring.blocks, ...factoring.rows, ...factoring.columns];
  const laid = fromFloats(
    dtype,
    order.map((axis) => shape[axis] ?? 1),
    joined(matrices),
  );
  return transpose(
    laid,
    order.map((_, axis) => order.indexOf(axis)),
  );
}

/** The spectra of the matrices of a kernel. */
export async function spectraOf(graph: Graph, kernel: FactorableKernel): Promise<readonly Spectrum[]> {
  const ref = graph.constants.get(kernel.matrix.parameter);
  if (ref === undefined) throw new Error("a kernel is gone");
  const { rows, columns, matrices } = blocksOf(kernel, await load(ref));
  return matrices.map((matrix) => spectrum(matrix, rows, columns));
}

/** The rank that a kernel needs for all its matrices to have that of a rule. */
export function rankFor(spectra: readonly Spectrum[], rule: RankRule): number {
  return Math.max(1, ...spectra.map(({ values }) => rankOf(values, rule)));
}

/** A kernel cut to a rank. */
export interface RankCut {
  readonly kernel: FactorableKernel;
  readonly spectra: readonly Spectrum[];
  readonly rank: number;
}

/**
 * Puts two nodes of lower rank in the place of each: the matrix of a kernel is cut to its largest singular values and both
 * kernels get the root of each.
 */
export function factorise(graph: Graph, cuts: readonly RankCut[]): Graph {
  if (cuts.length === 0) return graph;
  const draft = edit(graph);
  for (const { kernel, spectra, rank } of cuts) {
    const { matrix, factoring, dtype } = kernel;
    const { node, parameter, shape } = matrix;
    const parts = spectra.map(({ factors }) => factors(rank));
    const size = (axes: readonly number[]): readonly number[] => axes.map((axis) => shape[axis] ?? 1);
    const [blocks, rows, columns] = [size(factoring.blocks), size(factoring.rows), size(factoring.columns)];
    const { first, second } = factoring.layouts(rank);
    const put = (values: Float64Array, axes: Shape, layout: KernelLayout, name: string): string =>
      draft.constant(reshaped(transpose(fromFloats(dtype, axes, values), layout.order), layout.shape), name);
    const right = joined(parts.map((part) => part.right));
    const left = joined(parts.map((part) => part.left));
    factoring.write(
      draft,
      node,
      put(right, [...blocks, rank, ...columns], first, `${parameter}_inner`),
      put(left, [...blocks, ...rows, rank], second, `${parameter}_outer`),
    );
  }
  return removeDeadCode(draft.finish());
}

/** The reference of the law for factors: the same graph, each kernel the product of its factors. */
export function projected(graph: Graph, cuts: readonly RankCut[]): Graph {
  const constants = new Map(graph.constants);
  for (const { kernel, spectra, rank } of cuts) {
    const { parameter, shape } = kernel.matrix;
    const matrices = spectra.map(({ product }) => product(rank));
    const { dtype, shape: dims, bytes } = kernelOf(kernel, shape, matrices);
    constants.set(parameter, { dtype, shape: dims, resident: bytes });
  }
  return { ...graph, constants };
}

/** A kernel cut by a rule while it is trained: what it is then, and the direction in which its singular values grow. */
export function truncatedKernel(
  kernel: FactorableKernel,
  tensor: HostTensor,
  rule: RankRule,
): { readonly tensor: HostTensor; readonly directions: HostTensor; readonly rank: number } {
  const { rows, columns, matrices } = blocksOf(kernel, tensor);
  const cut = matrices.map((matrix) => truncate(matrix, rows, columns, rule));
  const back = (parts: readonly Float64Array[]): HostTensor =>
    kernelOf({ ...kernel, dtype: "f32" }, tensor.shape, parts);
  return {
    tensor: back(cut.map(({ product }) => product)),
    directions: back(cut.map(({ directions }) => directions)),
    rank: Math.max(...cut.map(({ rank }) => rank)),
  };
}

function reshaped({ dtype, bytes }: HostTensor, shape: Shape): HostTensor {
  return { dtype, shape, bytes };
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
