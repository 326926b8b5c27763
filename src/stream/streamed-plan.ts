import { erk } from "../allocation/densities.ts";
import type { Dataset } from "../data/dataset.ts";
import { needsData, needsGeneral } from "../pipeline/statistics.ts";
import { needsOf } from "../pipeline/zero-weights.ts";
import type { WeightPlan } from "../plans/plan.ts";
import type { Need } from "../stats/taps/tap-matrices.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Target } from "./courses.ts";
import type { GradientNeed } from "./stages/backward-session.ts";

/** True where weights of different stages compete, so that all have to be measured before one can be pruned. */
export function isJoint({ pattern, scope, profile, sweep }: WeightPlan): boolean {
  return pattern.kind !== "n:m" && sweep !== "choose" && (scope === "global" || profile === "lamp");
}

/** The plan with the share of each matrix, where that follows from the shapes of all (ERK). */
export function withTable(plan: WeightPlan, targets: readonly Target[]): WeightPlan {
  if (plan.profile !== "erk" || plan.pattern.kind === "n:m" || plan.scope === "global") return plan;
  const matrices = targets.flatMap((target) => target.matrices.map(({ matrix }) => matrix));
  const shapes = matrices.map(({ parameter, shape }) => ({ name: parameter, shape }));
  const densities = erk(shapes, 1 - plan.sparsity);
  const table = new Map(shapes.map(({ name }, i) => [name, 1 - (densities[i] ?? 1)]));
  return { ...plan, profile: "uniform", table: new Map([...table, ...(plan.table ?? [])]) };
}

/** A statistic of gradients: on which windows it is measured, and of what. */
export interface StreamedGradient {
  readonly statistic: "gradient" | "gradientMagnitude" | "gradientSquare" | "generalGradient" | "generalGradientSquare";
  readonly need: GradientNeed;
  readonly general: boolean;
}

/** What a plan has measured of each stage. */
export interface StreamedNeeds {
  readonly inputs: readonly Need[];
  readonly gradients: readonly StreamedGradient[];
}

const inputNeeds = ["inputMean", "inputMeanSquare", "gram"] as const satisfies readonly Need[];
const gradientNeeds: readonly StreamedGradient[] = [
  { statistic: "gradient", need: "gradient", general: false },
  { statistic: "gradientMagnitude", need: "gradientMagnitude", general: false },
  { statistic: "gradientSquare", need: "gradientSquare", general: false },
  { statistic: "generalGradient", need: "gradient", general: true },
  { statistic: "generalGradientSquare", need: "gradientSquare", general: true },
];

/** What a plan has measured. Throws `request` for a plan that cannot be streamed, or that lacks data. */
export function streamedNeeds(
  plan: WeightPlan,
  { calibration, general = null }: { readonly calibration: Dataset | null; readonly general?: Dataset | null },
): StreamedNeeds {
  checkPlan(plan);
  const needs = needsOf(plan);
  const inputs = inputNeeds.filter((need) => needs.includes(need));
  const gradients = gradientNeeds.filter(({ statistic }) => needs.includes(statistic));
  const known: readonly string[] = [...inputs, ...gradients.map(({ statistic }) => statistic)];
  const other = needs.find((need) => !known.includes(need));
  const id = plan.criterion.id;
  if (other !== undefined) {
    const message = `expected a criterion of weights, inputs and gradients, got one that reads ${other}.`;
    throw new EspalierError("request", `--criterion ${id}`, message, "Use wanda, sparsegpt, gblm, l1, l2 or random.");
  }
  if (needs.length > 0 && calibration === null) throw needsData(id);
  if (general === null && gradients.some((one) => one.general)) throw needsGeneral(id);
  if (gradients.length === 0 || !isJoint(plan)) return { inputs, gradients };
  const hint = "Gradients of all stages do not fit in memory together: leave it out.";
  throw new EspalierError(
    "request",
    "--scope global",
    `expected a smaller scope for ${id}, got the whole model.`,
    hint,
  );
}

/** Throws `request` for what cannot be done stage by stage. */
function checkPlan(plan: WeightPlan): void {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError("request", what, "expected a plan that goes through a checkpoint once, got another.", hint);
  };
  if ((plan.rounds ?? 1) > 1) refuse("--rounds", "Leave it out.");
  if (plan.recovery.length > 0) refuse("--recover", "A sweep repairs while it prunes: --criterion sparsegpt.");
  if (plan.allocator !== undefined) refuse(plan.allocator.id, "Give a sparsity, or one for each tensor.");
  if (isJoint(plan) && plan.sweep !== undefined) refuse("--scope global", "A sweep keeps to its layer: leave it out.");
}
