import type { Matrix } from "../coupling/matrices.ts";
import type { StatisticsOf } from "../criteria/unit-scores.ts";
import { canonicalOrder, matrixView } from "../criteria/weight-view.ts";
import type { Graph } from "../graph/graph.ts";
import { nonzeroMask } from "../masks/compare.ts";
import { checkPattern, misfit, type Pattern } from "../masks/pattern.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import { transpose } from "../tensor/slice.ts";
import { type HostTensor, load, type TensorRef } from "../tensor/tensor.ts";
import type { SparseGraph, WeightLayer } from "./prune-weights.ts";
import { type SweepChoice, type SweepFactor, type SweepOptions, sweep, sweepFactor } from "./sweep/sweep.ts";

export interface SweepWeightsOptions extends Job, Pick<SweepOptions, "products" | "blockSize" | "damping" | "order"> {
  /** What goes: a share of each block of columns, an N:M pattern, or what is zero in another version of the graph. */
  readonly choose:
    | { readonly kind: "sparsity"; readonly sparsity: number }
    | { readonly kind: "pattern"; readonly pattern: Extract<Pattern, { kind: "n:m" }> }
    | { readonly kind: "zeros-of"; readonly graph: Graph };
}

/**
 * Prunes matrices by the sweep of SparseGPT, each from the Gram matrix of its own inputs: what stays makes up for what
 * goes. One parameter is in memory at a time; results are. Throws `request` for shares out of range.
 */
export async function sweepWeights(
  graph: Graph,
  matrices: readonly Matrix[],
  statistics: StatisticsOf<"gram">,
  options: SweepWeightsOptions,
): Promise<SparseGraph> {
  const { choose } = options;
  if (choose.kind === "pattern") checkPattern(choose.pattern);
  if (choose.kind === "sparsity" && !(choose.sparsity >= 0 && choose.sparsity <= 1)) {
    throw new EspalierError("request", "--sparsity", `expected a fraction from 0 to 1, got ${choose.sparsity}.`);
  }
  const constants = new Map(graph.constants);
  const layers: WeightLayer[] = [];
  const skipped: { name: string; reason: string }[] = [];
  const seen = new Set<string>();
  const factorOf = lastFactor(options);
  for (const [i, matrix] of matrices.entries()) {
    const { parameter: name } = matrix;
    step(options, "sweep", i, matrices.length, name);
    const ref = graph.constants.get(name);
    if (ref === undefined || seen.has(name)) continue;
    seen.add(name);
    const { gram } = statistics(matrix, matrix.parameter) ?? { gram: [] };
    const reason = unfit(matrix, ref, gram.length, choose);
    if (reason !== null) {
      skipped.push({ name, reason });
      continue;
    }
    const swept = await sweepOne(matrix, ref, gram, options, factorOf);
    constants.set(name, { dtype: ref.dtype, shape: ref.shape, resident: swept.bytes });
    layers.push({ name, before: swept.size, after: swept.kept });
  }
  step(options, "sweep", matrices.length, matrices.length);
  return { graph: { ...graph, constants }, layers, skipped };
}

/** Factors of Gram matrices; that of the last one is kept, as matrices that share their inputs follow each other. */
function lastFactor(options: SweepWeightsOptions): (gram: Float64Array) => Promise<SweepFactor> {
  let last: { readonly gram: Float64Array; readonly factor: SweepFactor } | null = null;
  return async (gram) => {
    if (last?.gram === gram) return last.factor;
    // The memory of the last one can go before the next is made.
    last = null;
    const factor = await sweepFactor(gram, options);
    last = { gram, factor };
    return factor;
  };
}

function unfit(
  { columns, shape, inputs }: Matrix,
  ref: TensorRef,
  grams: number,
  choose: SweepWeightsOptions["choose"],
): string | null {
  if (!isFloat(ref.dtype)) return `its weights are ${ref.dtype}; prune before quantising`;
  if (grams === 0) return "calibration measured nothing for it";
  const positions = columns / (shape[inputs[0] ?? 0] ?? 1);
  return choose.kind === "pattern" ? misfit(choose.pattern, { rows: 1, columns, positions }) : null;
}

async function sweepOne(
  matrix: Matrix,
  ref: TensorRef,
  gram: readonly Float64Array[],
  { choose, ...settings }: SweepWeightsOptions,
  factorOf: (gram: Float64Array) => Promise<SweepFactor>,
) {
  const host = await load(ref);
  const { values, columns, positions, rows } = matrixView(matrix, host);
  const other = choose.kind === "zeros-of" ? choose.graph.constants.get(matrix.parameter) : undefined;
  const mask = other === undefined ? undefined : canonicalMask(matrix, await load(other));
  const result = host.dtype === "f64" ? new Float64Array(values.length) : new Float32Array(values.length);
  const groupRows = rows / gram.length;
  let kept = 0;
  for (const [g, h] of gram.entries()) {
    const from = g * groupRows * columns;
    const to = from + groupRows * columns;
    const own: SweepChoice =
      choose.kind === "zeros-of" ? { kind: "mask", mask: (mask ?? ones(values.length)).subarray(from, to) } : choose;
    const weights = host.dtype === "f64" ? Float64Array.from(values.subarray(from, to)) : values.subarray(from, to);
    const swept = await sweep(weights, await factorOf(h), own, { ...settings, positions });
    result.set(swept.weights, from);
    for (let i = 0; i < swept.mask.length; i++) kept += swept.mask[i] ?? 0;
  }
  if (!isFloat(host.dtype)) throw new EspalierError("model", matrix.parameter, `expected floats, got ${host.dtype}.`);
  const order = canonicalOrder(matrix);
  const laid = fromFloats(
    host.dtype,
    order.map((axis) => matrix.shape[axis] ?? 1),
    result,
  );
  const back = order.map((_, axis) => order.indexOf(axis));
  const { bytes } = back.every((axis, i) => axis === i) ? laid : transpose(laid, back);
  return { bytes, kept, size: values.length };
}

/** Which weights of a parameter are not zero, in the order that criteria see. */
function canonicalMask(matrix: Matrix, host: HostTensor): Uint8Array {
  const order = canonicalOrder(matrix);
  return nonzeroMask(order.every((axis, i) => axis === i) ? host : transpose(host, order));
}

function ones(length: number): Uint8Array {
  return new Uint8Array(length).fill(1);
}
