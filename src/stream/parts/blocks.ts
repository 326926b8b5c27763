import { keepBlocks } from "../../models/checkpoint/change.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import type { PartCriterionName } from "../../plans/parts.ts";
import { tapInfluence } from "../../stats/branches.ts";
import { EspalierError } from "../../tensor/error.ts";
import { byChance, byError, byPlace } from "./criteria.ts";
import type { KeptParts, PartCriterion, PartKind } from "./part-kind.ts";
import { tapStages } from "./tap-stages.ts";

/** Whole blocks of a transformer: an attention and its MLP. */
export const blocks: PartKind<PartCriterionName<"block">> = {
  one: "block",
  many: "blocks",
  sameSizes: true,
  sets: ({ outline, stages }) => {
    const tensors = new Map(
      stages.flatMap(({ block, parameters }) => (block === undefined ? [] : [[block, parameters]])),
    );
    const holds = (part: number): readonly string[] => [...(tensors.get(part)?.keys() ?? [])];
    const because = "a model has one at least";
    return [{ name: outline.blockCount, count: outline.blocks.length, least: 1, because, holds }];
  },
  criteria: {
    influence: byInfluence(),
    error: byError((model, _, part) =>
      keepBlocks(
        model,
        model.outline.blocks.flatMap((__, block) => (block === part ? [] : [block])),
      ),
    ),
    last: byPlace,
    random: byChance,
  },
  keep: (model, kept) => {
    const left = leftOf(model, kept);
    return left === undefined ? model.checkpoint : keepBlocks(model, left);
  },
  masked: (model, kept, stage) => ({ stage: originOf(model, kept, stage) }),
};

function leftOf({ outline }: CheckpointModel, kept: KeptParts): readonly number[] | undefined {
  return kept.get(outline.blockCount);
}

/** What is passed is what the original passes, but for the blocks between. */
function originOf(model: CheckpointModel, kept: KeptParts, { role, block }: Stage): Stage {
  const number = block === undefined ? undefined : (leftOf(model, kept)?.[block] ?? block);
  const found = model.stages.find((stage) => stage.role === role && stage.block === number);
  if (found !== undefined) return found;
  throw new EspalierError("model", model.name, `expected the stages of the original, got ${role} ${number ?? ""}.`);
}

/** How little a block turns what passes it (ShortGPT, Eq. 1): the mean over tokens of 1 − cos of its input and output. */
function byInfluence(): PartCriterion {
  return {
    needsData: true,
    score: async (context) => {
      const { model } = context;
      const features = model.outline.width;
      const found = await tapStages(
        context,
        "influence",
        () => true,
        (draft, { input, output }, { types, opset }) => {
          const type = types.get(output.name) ?? { dtype: "f32" as const, shape: [1, 1, features] };
          const passed = { x: input.name, y: output.name, axis: 2, features, type };
          return tapInfluence(draft, opset, passed);
        },
      );
      return new Map([[model.outline.blockCount, Float64Array.from(found.values())]]);
    },
  };
}
