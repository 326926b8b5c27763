import { type Group, isBookkeeping, unitCount } from "../../coupling/couple.ts";
import type { Matrix } from "../../coupling/matrices.ts";
import type { Placement } from "../../coupling/placement.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Analysis } from "../../models/analysis.ts";
import { otherAddend } from "../../ops/linear.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { endingOf } from "../../stats/answers/ending.ts";
import { type Layer, layersOf } from "../../stats/layers.ts";
import { centred, type InputMoments } from "../../stats/taps/moments.ts";
import { collect } from "../../stats/taps/taps.ts";
import { factorise, inverse } from "../../tensor/linalg/cholesky.ts";
import { dot } from "../../tensor/linalg/matrix.ts";
import { type Job, step } from "../../tensor/progress.ts";
import { readMatrix, smallConstants } from "../parameters.ts";
import { type RemovalProblem, removalError, removeBlock } from "./obs.ts";

/** In which order the units of a group go, and what it costs. */
export interface ErrorCurve {
  readonly group: Group;
  /** Units, the first to go first: one of each set, then another of each. */
  readonly order: Int32Array;
  /** Error after the first k units of each set are gone and the consumers are refitted, k = 0 .. size; not decreasing. */
  readonly error: Float64Array;
  /** Variance of what the consumers give: the error of giving their means only. */
  readonly whole: number;
  /** What the consumers give, with the mean of each channel. */
  readonly outputs: readonly ConsumerOutput[];
}

export interface ConsumerOutput {
  readonly value: string;
  readonly axis: number;
  readonly mean: Float64Array;
  /** The sum that it flows into through scales and shifts only, where there is one. */
  readonly joins: { readonly sum: string; readonly bypass: string; readonly mean: Float64Array } | null;
}

/** True for groups whose units lie on a sum of two data values, as the trunk of a residual network does. */
export function onResidual(analysis: Analysis): (group: Group) => boolean {
  const leaves = new Set<object>();
  for (const node of analysis.graph.nodes) {
    if (isBookkeeping(node, analysis.facts)) continue;
    const other = otherAddend(node, node.inputs[0] ?? "");
    if (other === null || node.inputs.some((name) => analysis.graph.constants.has(name))) continue;
    for (const axis of analysis.coupling.axes(node.outputs[0] ?? "") ?? []) {
      for (const { leaf } of analysis.coupling.occurrences(axis)) leaves.add(leaf);
    }
  }
  return (group) => leaves.has(group.leaf);
}

/**
 * Removes the units of each group one after the other, each time the one whose loss costs the consumers least when they
 * are refitted (greedy optimal brain surgery on blocks of columns), and notes the error: E‖change of what the consumers
 * add to their ending‖². Groups without a consumer that can be measured are left out.
 */
export async function errorCurves(
  runtime: Runtime,
  analysis: Analysis,
  groups: readonly Group[],
  data: Dataset,
  options: Job & { readonly batchSize: number; readonly damping?: number },
): Promise<readonly ErrorCurve[]> {
  const layers = new Map(layersOf(analysis).map((layer) => [layer.matrix.parameter, layer]));
  const consumers = new Map<Group, readonly Consumer[]>();
  for (const group of groups) {
    const found: Consumer[] = [];
    let complete = true;
    for (const member of group.members) {
      if (member.role !== "input") continue;
      const layer = layers.get(member.parameter);
      if (layer === undefined || layer.matrix.inputs[0] !== member.axis) complete = false;
      else found.push({ layer, places: placesOf(group, member.placement(), layer.matrix) });
    }
    if (complete && found.length > 0) consumers.set(group, found);
  }
  const wanted = [...new Set([...consumers.values()].flat().map(({ layer }) => layer.matrix))];
  const measured = await collect(runtime, analysis, wanted, ["moments"], data, options);
  const constant = await smallConstants(analysis.graph);
  const curves: ErrorCurve[] = [];
  for (const [group, uses] of consumers) {
    step(options, "choose", curves.length, consumers.size, group.id);
    const problems: { problem: RemovalProblem; places: readonly (readonly number[])[] }[] = [];
    const outputs: ConsumerOutput[] = [];
    let whole = 0;
    for (const { layer, places } of uses) {
      const moments = measured.get(layer.matrix)?.moments;
      if (moments === undefined) continue;
      const { matrix } = layer;
      const end = endingOf(analysis.graph, layer.output, layer.axis, matrix.rows, analysis.facts.types, constant);
      const weights = await readMatrix(analysis.graph, matrix);
      const bias = layer.form.bias === null ? undefined : constant(matrix.node.inputs[layer.form.bias] ?? "");
      const mean = meanOutput(moments, weights, bias?.values);
      const joined = mean.map((m, r) => m * (end.scale[r] ?? 1) + (end.shift[r] ?? 0));
      const joins = end.bypass === null ? null : { sum: end.value, bypass: end.bypass, mean: joined };
      outputs.push({ value: layer.output, axis: layer.axis, mean, joins });
      for (let i = 0; i < weights.length; i++)
        weights[i] = (weights[i] ?? 0) * (end.scale[Math.floor(i / matrix.columns)] ?? 1);
      const positions = matrix.columns / (matrix.shape[matrix.inputs[0] ?? 0] ?? 1);
      const columns = places.map((units) =>
        units.map((features) =>
          features.flatMap((f) => Array.from({ length: positions }, (_, p) => f * positions + p)),
        ),
      );
      for (const [g, made] of problemsOf(matrix, moments, weights, options.damping ?? 1e-3).entries()) {
        problems.push({ problem: made.problem, places: columns[g] ?? [] });
        whole += made.whole;
      }
    }
    curves.push({ ...greedy(group, problems), whole, outputs });
  }
  return curves;
}

interface Consumer {
  readonly layer: Layer;
  /** For each group of columns of the matrix, the features in it that each unit feeds. */
  readonly places: readonly (readonly (readonly number[])[])[];
}

function placesOf(group: Group, { stretches, across }: Placement, matrix: Matrix): number[][][] {
  const rows = (matrix.shape[matrix.outputs[0] ?? 0] ?? 1) / matrix.groups;
  return Array.from({ length: matrix.groups }, (_, g) => {
    const places = Array.from({ length: unitCount(group) }, (): number[] => []);
    // The rows of a group of columns tell the set where the columns do not.
    const set = across.reduce((sum, by) => sum + (by.set[g * rows] ?? 0), 0);
    for (const { offset, units } of stretches) {
      for (let p = 0; p < units.length; p++) places[set * group.size + (units[p] ?? 0)]?.push(offset + p);
    }
    return places;
  });
}

function problemsOf(matrix: Matrix, moments: InputMoments, weights: Float64Array, damping: number) {
  const { columns } = moments;
  const rows = matrix.rows / matrix.groups;
  return moments.gram.map((gram, g) => {
    const mean = moments.sum.slice(g * columns, (g + 1) * columns).map((n) => n / moments.count);
    const spread = centred(gram, mean, moments.count);
    const own = weights.slice(g * rows * columns, (g + 1) * rows * columns);
    let whole = 0;
    for (let r = 0; r < rows; r++) {
      for (let j = 0; j < columns; j++) {
        whole += (own[r * columns + j] ?? 0) * dot(own, r * columns, spread, j * columns, columns);
      }
    }
    const inverted = inverse(factorise(spread, columns, { damping }));
    return { problem: { weights: own, inverse: inverted, rows, columns }, whole };
  });
}

/** Mean of W x + b over the calibration inputs: [rows]. */
function meanOutput(moments: InputMoments, weights: Float64Array, bias: Float64Array | undefined): Float64Array {
  const { columns, count, sum } = moments;
  const rows = weights.length / columns;
  const perGroup = rows / moments.gram.length;
  return Float64Array.from({ length: rows }, (_, r) => {
    const from = Math.floor(r / perGroup) * columns;
    return dot(weights, r * columns, sum, from, columns) / count + (bias?.[r] ?? 0);
  });
}

function greedy(
  group: Group,
  problems: readonly { readonly problem: RemovalProblem; readonly places: readonly (readonly number[])[] }[],
): Pick<ErrorCurve, "group" | "order" | "error"> {
  const { size, sets } = group;
  const left = Array.from(
    { length: sets },
    (_, set) => new Set(Array.from({ length: size }, (_, u) => set * size + u)),
  );
  const order = new Int32Array(unitCount(group));
  const error = new Float64Array(size + 1);
  for (let k = 0; k < size; k++) {
    let lost = 0;
    for (const [set, units] of left.entries()) {
      let best = -1;
      let least = Number.POSITIVE_INFINITY;
      for (const unit of units) {
        let sum = 0;
        for (const { problem, places } of problems) {
          const block = places[unit] ?? [];
          if (block.length > 0) sum += 2 * removalError(problem, block);
        }
        if (sum < least) {
          least = sum;
          best = unit;
        }
      }
      units.delete(best);
      order[k * sets + set] = best;
      lost += Math.max(0, least);
      if (units.size === 0) continue;
      for (const { problem, places } of problems) {
        const block = places[best] ?? [];
        if (block.length > 0) removeBlock(problem, block);
      }
    }
    error[k + 1] = (error[k] ?? 0) + lost;
  }
  return { group, order, error };
}
