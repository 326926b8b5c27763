import type { Arm, Comparison, Phase, TrainingComparison } from "../../claims/reproduction.ts";
import type { Criterion, Statistic } from "../../criteria/criterion.ts";
import { magnitude } from "../../criteria/weights/magnitude.ts";
import { random } from "../../criteria/weights/random.ts";
import { looksAtInputs } from "../../pipeline/statistics.ts";
import { sparse, structured } from "../../plans/methods.ts";
import type { Plan } from "../../plans/plan.ts";
import { looksAtBranches } from "../../search/choose-branches.ts";
import { oneCut, staticRandom } from "../../sparsify/training/programmes.ts";

type Budget = Comparison["budget"];

/** What every comparison runs beside its own arms. */
export function baselines({ budget, among = {} }: Pick<Comparison, "budget" | "among">): Readonly<Record<string, Arm>> {
  return {
    random: { plan: ({ removed, seed }) => ranked(budget, random(seed), "local", removed, among) },
    "global magnitude": { plan: ({ removed }) => ranked(budget, magnitude(2), "global", removed, among) },
  };
}

/** The arm that controls are made of, by training it longer or shorter. */
export const halfway = "global magnitude, halfway";

/** What every comparison of trainings runs beside its own arms: a random choice that stays, and a cut halfway. */
export function trainingBaselines(budget: NonNullable<TrainingComparison["budget"]>): TrainingComparison["arms"] {
  if (budget === "weights") {
    return {
      "random, static": ({ removed }) => ({
        kind: "programme",
        programme: staticRandom({ sparsity: removed, profile: "erk" }),
      }),
      [halfway]: ({ removed }) => ({
        kind: "programme",
        programme: oneCut({ sparsity: removed, scope: "global" }),
      }),
    };
  }
  const half = (from: number, until: number): Phase => ({ kind: "train", length: 0.5, part: [from, until] });
  const cut = (criterion: Criterion<Statistic>, scope: "local" | "global", removed: number): Phase => ({
    kind: "prune",
    plan: ranked(budget, criterion, scope, removed),
  });
  return {
    "random, static": ({ removed, seed }) => [cut(random(seed), "local", removed), { kind: "train" }],
    [halfway]: ({ removed }) => [half(0, 0.5), cut(magnitude(2), "global", removed), half(0.5, 1)],
  };
}

/** The plan that removes a share by a criterion alone, inside each layer or from the whole model. */
function ranked(
  budget: Budget,
  criterion: Criterion<Statistic>,
  scope: "local" | "global",
  removed: number,
  { prunable, units }: NonNullable<Comparison["among"]> = {},
): Plan {
  if (budget === "weights") {
    const within = prunable === undefined ? {} : { prunable };
    return sparse({ criterion, sparsity: removed, scope: scope === "global" ? "global" : "tensor", ...within });
  }
  const target = budget === "macs" ? { keepMacs: 1 - removed } : { keepParams: 1 - removed };
  const plan = structured({ criterion, ...target, scope: scope === "global" ? "global" : "group" });
  return units === undefined ? plan : { ...plan, units };
}

/** True where the seed or the calibration inputs can change the result. */
export function isDrawn(plan: Plan): boolean {
  return looksAtData(plan) || plan.criterion.id === "random";
}

/** True for a plan that reads inputs. */
export function looksAtData(plan: Plan): boolean {
  if (plan.before !== undefined && looksAtData(plan.before)) return true;
  if (plan.kind === "branches") return plan.means || looksAtBranches(plan.criterion.id);
  if (plan.kind === "ranks") return plan.recovery.some(({ needsData }) => needsData);
  const measured =
    plan.kind === "weights"
      ? plan.allocator?.needsData === true || plan.sweep !== undefined
      : plan.coarse !== undefined;
  return measured || looksAtInputs(plan.criterion) || plan.recovery.some(({ needsData }) => needsData);
}
