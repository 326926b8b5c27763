import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { Criterion, Statistic } from "./criterion.ts";
import { alignment } from "./gradients/alignment.ts";
import { crop, fisher, grasp, hessian } from "./gradients/curvature.ts";
import { gblm } from "./gradients/gblm.ts";
import { synflow } from "./gradients/synflow.ts";
import { sampleTaylor, signedTaylor, snip, taylor } from "./gradients/taylor.ts";
import { fluctuation } from "./inputs/fluctuation.ts";
import { inputNorm } from "./inputs/input-norm.ts";
import { obs } from "./inputs/obs.ts";
import { wanda } from "./inputs/wanda.ts";
import { geometricMedian } from "./weights/geometric-median.ts";
import { magnitude } from "./weights/magnitude.ts";
import { normScale } from "./weights/norm-scale.ts";
import { random } from "./weights/random.ts";
import { rowRange } from "./weights/row-range.ts";

/** A criterion that a user can ask for by name. */
export interface CriterionEntry {
  readonly summary: string;
  /** Whether it scores single weights, whole units, or both. */
  readonly scores: "weights" | "units" | "both";
  make(options: { readonly seed: number }): Criterion<Statistic>;
}

/** Every criterion by the name that the command line takes. */
export const criteria: ReadonlyMap<string, CriterionEntry> = new Map<string, CriterionEntry>([
  ["l1", { summary: "Sum of absolute weights.", scores: "both", make: () => magnitude(1) }],
  ["l2", { summary: "Sum of squared weights.", scores: "both", make: () => magnitude(2) }],
  ["random", { summary: "Noise from the seed, the baseline.", scores: "both", make: ({ seed }) => random(seed) }],
  ["norm-scale", { summary: "Absolute scale of the norm of a channel.", scores: "units", make: () => normScale() }],
  ["fpgm", { summary: "Distance to all other filters of the layer.", scores: "units", make: () => geometricMedian() }],
  ["activation", { summary: "Root mean square of the input feature.", scores: "both", make: () => inputNorm() }],
  ["fluctuation", { summary: "Variance of an input times its weights.", scores: "units", make: () => fluctuation() }],
  ["range", { summary: "Range of the weights of a row.", scores: "units", make: () => rowRange() }],
  ["wanda", { summary: "Absolute weight times norm of its input.", scores: "both", make: () => wanda() }],
  ["taylor", { summary: "First-order change of the loss, of units as a whole.", scores: "both", make: () => taylor() }],
  ["taylor-signed", { summary: "The same with its sign.", scores: "both", make: () => signedTaylor() }],
  ["taylor-sample", { summary: "The same, sample by sample.", scores: "both", make: () => sampleTaylor() }],
  ["snip", { summary: "Absolute weight times gradient.", scores: "both", make: () => snip() }],
  ["grasp", { summary: "Change of the gradient's norm.", scores: "both", make: () => grasp() }],
  ["crop", { summary: "Change of the gradient's norm, without its sign.", scores: "both", make: () => crop() }],
  ["synflow", { summary: "Flow of ones through absolute weights, no data.", scores: "both", make: () => synflow() }],
  ["gblm", { summary: "Wanda with the gradient beside the input.", scores: "both", make: () => gblm() }],
  ["fisher", { summary: "Squared weight times mean squared gradient.", scores: "both", make: () => fisher() }],
  ["hessian", { summary: "Squared weight times curvature, estimated.", scores: "both", make: () => hessian() }],
  [
    "alignment",
    { summary: "Importance to the data beyond general data (--general).", scores: "both", make: () => alignment() },
  ],
  ["obs", { summary: "Error of removing it and refitting the rest.", scores: "both", make: () => obs() }],
]);

/**
 * The criterion of that name. Throws `request` with the nearest name for an unknown one; `others` are names that mean
 * something too where it is asked.
 */
export function criterionNamed(
  name: string,
  options: { readonly seed: number } = { seed: 0 },
  others: readonly string[] = [],
): Criterion<Statistic> {
  const entry = criteria.get(name);
  if (entry !== undefined) return entry.make(options);
  const known = [...criteria.keys(), ...others];
  throw new EspalierError(
    "request",
    `--criterion ${name}`,
    `expected one of ${known.join(", ")}.`,
    didYouMean(name, known),
  );
}
