import { type Group, type Member, unitCount } from "../coupling/couple.ts";
import type { Matrix } from "../coupling/matrices.ts";
import type { Placement } from "../coupling/placement.ts";
import { type VectorRole, vectorRoles } from "../coupling/roles.ts";
import type { Graph } from "../graph/graph.ts";
import { isFloat } from "../tensor/dtype.ts";
import { type Job, step } from "../tensor/progress.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import {
  type Criterion,
  isMissing,
  type MatrixStatistics,
  type Side,
  type Statistic,
  type WeightView,
} from "./criterion.ts";
import { matrixPart, type SetPart, setParts, statisticsPart, tensorPart, vectorStatistics } from "./set-part.ts";
import { matrixView, vectorView } from "./weight-view.ts";

/** Statistics of a matrix, or of a vector that no matrix product uses, where calibration took them. */
export type StatisticsOf<N extends Statistic> = (
  matrix: Matrix | null,
  parameter: string,
) => Pick<MatrixStatistics, N> | undefined;

export interface UnitScoreOptions {
  /** Which members of a group count: rows only, columns only, or everything that the criterion knows. */
  readonly members: "output" | "input" | "all";
  /** How the members of a group join (DepGraph: mean). */
  readonly reduce: "mean" | "sum" | "max";
  /**
   * How the scores of a group are made comparable with those of others: divided by what they come to, or standardised. That is done
   * position by position among all of a member, and a unit is the mean of its positions there, so that one with many, such as a
   * head, lies nearer the mean than one with few (FLAP).
   */
  readonly normalise: "none" | "mean" | "max" | "sum" | "standardise";
}

/** DepGraph's defaults: every member counts, joined by the mean, divided by the group's mean. */
export const groupDefaults: UnitScoreOptions = { members: "all", reduce: "mean", normalise: "mean" };

/**
 * One score per unit of each group, [sets, size]; a larger score means keep. Groups that the criterion says nothing about
 * are left out. Parameters are loaded one after the other, so that memory holds one of them at a time.
 */
export async function unitScores<N extends Statistic>(
  graph: Graph,
  groups: readonly Group[],
  matricesOf: ReadonlyMap<string, Matrix>,
  criterion: Criterion<N>,
  statistics: StatisticsOf<N>,
  options: UnitScoreOptions = groupDefaults,
  job: Job = {},
): Promise<ReadonlyMap<Group, Float64Array>> {
  const members = new Map<string, { readonly group: Group; readonly member: Member }[]>();
  for (const group of groups) {
    for (const member of group.members) {
      const list = members.get(member.parameter) ?? [];
      list.push({ group, member });
      members.set(member.parameter, list);
    }
  }
  const roles = vectorRoles(graph);
  const largest = options.reduce === "max";
  const start = largest ? Number.NEGATIVE_INFINITY : 0;
  const sums = new Map(groups.map((group) => [group, new Float64Array(unitCount(group)).fill(start)]));
  const counts = new Map(groups.map((group) => [group, 0]));
  let done = 0;
  for (const [parameter, places] of members) {
    step(job, "score", done++, members.size);
    const ref = graph.constants.get(parameter);
    if (ref === undefined || !(isFloat(ref.dtype) || ref.dtype === "i8")) continue;
    const matrix = matricesOf.get(parameter) ?? null;
    const tensor = await load(ref);
    const view = matrix === null ? null : matrixView(matrix, tensor);
    // Many groups can lie on one axis (a concatenation), which is scored once.
    const known = new Map<string, Float64Array | null>();
    for (const { group, member } of places) {
      const side: Side = matrix === null ? "other" : sideOf(matrix, member.axis);
      if (options.members !== "all" && side !== options.members) continue;
      const values = statistics(matrix, parameter);
      if (values === undefined || (matrix !== null && isMissing(criterion, values))) continue;
      const placement = member.placement();
      const total = sums.get(group) ?? new Float64Array(0);
      const role = roles.get(parameter) ?? null;
      const said: Said[] = [];
      for (const part of setParts(placement)) {
        const key = `${side} ${member.axis} ${part.set}`;
        let scores = known.get(key);
        if (scores === undefined) {
          const whole = part.cuts.length === 0;
          const seen =
            whole && view !== null
              ? view
              : partView(parameter, whole ? null : part, { matrix, tensor, axis: member.axis, role });
          const measured =
            matrix === null
              ? vectorStatistics(values, tensor.shape, member.axis, whole ? null : part)
              : whole
                ? values
                : statisticsPart(values, matrix, part);
          const missing = matrix !== null && isMissing(criterion, measured);
          scores = missing ? null : criterion.features(seen, side, measured);
          known.set(key, scores);
        }
        if (scores === null) continue;
        said.push({ scores, first: part.set * group.size });
      }
      if (said.length === 0) continue;
      if (options.normalise === "standardise") standardise(placement, said, total, largest);
      else for (const each of said) scatter(placement, each, total, largest);
      counts.set(group, (counts.get(group) ?? 0) + 1);
    }
  }
  for (const [group, total] of sums) {
    const count = counts.get(group) ?? 0;
    if (count === 0) sums.delete(group);
    for (let i = 0; largest && i < total.length; i++) if (total[i] === start) total[i] = 0;
    if (options.reduce === "mean" && count > 1)
      for (let i = 0; i < total.length; i++) total[i] = (total[i] ?? 0) / count;
    normalise(total, options.normalise);
  }
  return sums;
}

/** A parameter as criteria see it, or the part of it that belongs to one set. */
function partView(
  parameter: string,
  part: SetPart | null,
  from: {
    readonly matrix: Matrix | null;
    readonly tensor: HostTensor;
    readonly axis: number;
    readonly role: VectorRole | null;
  },
): WeightView {
  const { matrix, axis, role } = from;
  const tensor = part === null ? from.tensor : tensorPart(from.tensor, part);
  const label = part === null ? parameter : `${parameter} ${part.set}`;
  if (matrix === null) return vectorView(label, tensor, axis, role);
  return { ...matrixView(part === null ? matrix : matrixPart(matrix, part), tensor), parameter: label };
}

function sideOf(matrix: Matrix, axis: number): Side {
  if (matrix.outputs.includes(axis)) return "output";
  return matrix.inputs[0] === axis ? "input" : "other";
}

/** Scores of each position of an axis, whose units are counted from `first` on. */
interface Said {
  readonly scores: Float64Array;
  readonly first: number;
}

/** Adds the score of each position of an axis to the unit that it belongs to. */
function scatter({ stretches }: Placement, { scores, first }: Said, into: Float64Array, largest: boolean): void {
  for (const { offset, units } of stretches) {
    for (let p = 0; p < units.length; p++) {
      const unit = first + (units[p] ?? 0);
      const value = scores[offset + p] ?? 0;
      into[unit] = largest ? Math.max(into[unit] ?? 0, value) : (into[unit] ?? 0) + value;
    }
  }
}

/** Standardises the scores of all positions of a member, and adds to each unit the mean of those of its own. */
function standardise(placement: Placement, said: readonly Said[], into: Float64Array, largest: boolean): void {
  const own = new Float64Array(into.length);
  const hits = new Float64Array(into.length);
  let [count, sum, squares] = [0, 0, 0];
  for (const each of said) {
    scatter(placement, each, own, false);
    for (const { offset, units } of placement.stretches) {
      for (let p = 0; p < units.length; p++) {
        const unit = each.first + (units[p] ?? 0);
        hits[unit] = (hits[unit] ?? 0) + 1;
        sum += each.scores[offset + p] ?? 0;
      }
      count += units.length;
    }
  }
  const mean = sum / count;
  for (const { scores } of said) {
    for (const { offset, units } of placement.stretches) {
      for (let p = 0; p < units.length; p++) squares += ((scores[offset + p] ?? 0) - mean) ** 2;
    }
  }
  const sd = Math.sqrt(squares / count) || 1;
  for (const [unit, total] of own.entries()) {
    const here = hits[unit] ?? 0;
    if (here === 0) continue;
    const value = (total / here - mean) / sd;
    into[unit] = largest ? Math.max(into[unit] ?? 0, value) : (into[unit] ?? 0) + value;
  }
}

function normalise(scores: Float64Array, how: UnitScoreOptions["normalise"]): void {
  if (how === "none" || how === "standardise" || scores.length === 0) return;
  let sum = 0;
  let largest = Number.NEGATIVE_INFINITY;
  for (const score of scores) {
    sum += score;
    largest = Math.max(largest, score);
  }
  const mean = sum / scores.length;
  // By its size: scores with a sign keep their order.
  const by = Math.abs(how === "mean" ? mean : how === "max" ? largest : sum);
  if (by !== 0) for (let i = 0; i < scores.length; i++) scores[i] = (scores[i] ?? 0) / by;
}
