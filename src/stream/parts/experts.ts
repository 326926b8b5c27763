import { int } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import { keepExperts } from "../../models/checkpoint/entries.ts";
import type { Mixture } from "../../models/checkpoint/site.ts";
import type { PartCriterionName } from "../../plans/parts.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { byChance, byMagnitude } from "./criteria.ts";
import type { PartCriterion, PartKind, PartSet } from "./part-kind.ts";
import { type StageTap, tapStages } from "./tap-stages.ts";

/** The experts of a mixture, with their rows of its router; how many a token gets stays. */
export const experts: PartKind<PartCriterionName<"expert">> = {
  one: "expert",
  many: "experts",
  sameSizes: true,
  sets: (model) => {
    const sets = model.stages.flatMap((stage) => setOf(model, stage) ?? []);
    if (sets.length > 0) return sets;
    const message = `expected a model with experts, got ${model.type} without.`;
    throw new EspalierError("request", "--granularity expert", message, "Remove channels or blocks instead.");
  },
  criteria: {
    reap: routed(({ weighted, tokens }) => (tokens === 0 ? 0 : weighted / tokens)),
    frequency: routed(({ tokens }) => tokens),
    magnitude: byMagnitude,
    random: byChance,
  },
  keep: (model, kept) => {
    const left = new Map<number, readonly number[]>();
    for (const { name, stage } of mixturesOf(model)) {
      const own = kept.get(name);
      if (own !== undefined && stage.block !== undefined) left.set(stage.block, own);
    }
    return keepExperts(model, left);
  },
  masked: (model, kept, { name: same }) => {
    const stage = model.stages.find(({ name }) => name === same);
    if (stage === undefined)
      throw new EspalierError("model", model.name, `expected the stages of the original, got ${same}.`);
    const own = kept.get(mixturesOf(model).find((each) => each.stage === stage)?.name ?? "");
    const count = stage.mixture?.outputs.length ?? 0;
    if (own === undefined) return { stage };
    const never = Float32Array.from({ length: count }, (_, part) => (own.includes(part) ? 0 : never32));
    return {
      stage,
      mask: {
        name: "without experts",
        write: (draft, first) => {
          if (first.mixture !== undefined) maskExperts(draft, first.mixture);
          return first.output.name;
        },
        feeds: new Map([[maskName, float32Tensor([count], never)]]),
      },
    };
  },
};

/** What is added to what a router says of experts that are never to be chosen. */
const never32 = -1e30;
const maskName = "expert_mask";

/** Adds a mask to what experts are weighted and chosen by: those that it makes least get no share and are chosen last. */
function maskExperts(draft: Draft, { logits, choice, outputs }: Mixture): void {
  const mask = draft.input(maskName, "f32", [outputs.length]);
  for (const value of [logits, choice]) draft.replaceUses(value, draft.op("Add", [value, mask]));
}

function mixturesOf({ stages, outline }: CheckpointModel): readonly { readonly name: string; readonly stage: Stage }[] {
  return stages.flatMap((stage) => {
    const name = outline.blocks[stage.block ?? -1]?.experts?.path;
    return name === undefined || stage.mixture === undefined ? [] : [{ name, stage }];
  });
}

function setOf(model: CheckpointModel, stage: Stage): PartSet | undefined {
  const name = model.outline.blocks[stage.block ?? -1]?.experts?.path;
  if (name === undefined || stage.mixture === undefined) return undefined;
  const { top, groups, outputs } = stage.mixture;
  const { count: runs = 1, best = 1, rank = "best" } = groups ?? {};
  const inGroup = Math.max(Math.ceil(top / best), rank === "two best" ? 2 : 1);
  const limits = groups === undefined ? "" : `, in the best ${best} of ${runs} groups`;
  return {
    name,
    count: outputs.length,
    ...{ least: inGroup * runs, runs },
    because: `each token gets ${top}${limits}`,
    holds: (part) => [...stage.parameters.keys()].filter((parameter) => parameter.startsWith(`${name}.${part}.`)),
  };
}

/** What is known of an expert when the text has passed. */
interface Passed {
  /** Tokens that were sent to it, and over these the sum of weight · ‖output‖₂. */
  readonly tokens: number;
  readonly weighted: number;
}

/**
 * A score of what tokens make of an expert: REAP ("REAP the Experts", 2025) is the mean over the tokens that were sent to it of the weight
 * that it had and the norm of what it gave. The weight is the model's own: after the top ones are normalised, where it does so.
 */
function routed(score: (expert: Passed) => number): PartCriterion {
  return {
    needsData: true,
    score: async (context) => {
      const mixtures = mixturesOf(context.model);
      const found = await tapStages(
        context,
        "experts",
        (stage) => mixtures.some((each) => each.stage === stage),
        (draft, { mixture }) => tapExperts(draft, mixture),
      );
      return new Map(
        mixtures.map(({ name, stage }) => [name, Float64Array.from(found.get(stage) ?? [], (expert) => score(expert))]),
      );
    },
  };
}

/** Sums over all tokens, for each expert, inside the runtime. */
function tapExperts(draft: Draft, mixture: Mixture | undefined): StageTap<readonly Passed[]> {
  const { weights = "", chosen = "", outputs = [] } = mixture ?? {};
  const last = draft.int64([-1]);
  const norms = outputs.map((output) => draft.op("ReduceL2", [output, last]));
  const all = draft.op("Concat", norms, { axis: int(-1) });
  const over = draft.int64([0, 1]);
  const sum = (value: string, name: string): string =>
    draft.op("ReduceSum", [value, over], { keepdims: int(0) }, draft.fresh(name));
  const weighted = sum(draft.op("Mul", [weights, all]), "tap_weighted");
  const tokens = sum(chosen, "tap_tokens");
  for (const name of [weighted, tokens]) draft.output(name, "f32");
  const totals = { weighted: new Float64Array(outputs.length), tokens: new Float64Array(outputs.length) };
  return {
    outputs: [weighted, tokens],
    add: (values) => {
      for (const [name, total] of [
        [weighted, totals.weighted],
        [tokens, totals.tokens],
      ] as const) {
        const value = values.get(name);
        if (value === undefined) continue;
        for (const [i, n] of toFloat32(value).entries()) total[i] = (total[i] ?? 0) + n;
      }
    },
    result: () => outputs.map((_, i) => ({ tokens: totals.tokens[i] ?? 0, weighted: totals.weighted[i] ?? 0 })),
  };
}
