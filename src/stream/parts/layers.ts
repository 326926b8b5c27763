import { dropBlockBranches, type GoneBranches, silenceBlockBranches } from "../../models/checkpoint/branches.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import type { BlockBranch } from "../../models/checkpoint/site.ts";
import type { PartCriterionName } from "../../plans/parts.ts";
import { tapInfluence } from "../../stats/branches.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { byChance, byError, byPlace } from "./criteria.ts";
import type { KeptParts, PartCriterion, PartKind } from "./part-kind.ts";
import { tapStages } from "./tap-stages.ts";

/** Attentions and MLPs alone: a set of each, numbered in the order of the blocks that have one. */
export const layers: PartKind<PartCriterionName<"layer">> = {
  one: "layer",
  many: "layers",
  sameSizes: false,
  sets: (model) => {
    const sets = [...placesOf(model)].map(([name, places]) => ({
      ...{ name, count: places.length, least: 1, because: "a model has one at least" },
      holds: (part: number) => places[part]?.branch.holds ?? [],
    }));
    if (sets.length > 0) return sets;
    const message = `expected blocks whose config can say that they have no attention or no MLP, got ${model.type}.`;
    const hint = "Remove whole blocks (--granularity block), or export it to ONNX, where any residual branch can go.";
    throw new EspalierError("request", "--granularity layer", message, hint);
  },
  criteria: {
    influence: byInfluence(),
    error: byError((model, { name }, part) => dropBlockBranches(model, goneAt(model, [[name, part]]))),
    last: byPlace,
    random: byChance,
  },
  keep: (model, kept) => dropBlockBranches(model, goneOf(model, kept)),
  alike: (model, kept) => silenceBlockBranches(model, goneOf(model, kept)),
  masked: (model, kept, { name: same }) => {
    const stage = model.stages.find(({ name }) => name === same);
    if (stage === undefined)
      throw new EspalierError("model", model.name, `expected the stages of the original, got ${same}.`);
    if (stage.branches.length === 0) return { stage };
    const gone = goneOf(model, kept).get(stage.block ?? -1) ?? [];
    const share = (branch: BlockBranch) => float32Tensor([1], Float32Array.of(gone.includes(branch) ? 0 : 1));
    return {
      stage,
      mask: {
        name: "without layers",
        write: (draft, first) => {
          for (const { what, added } of first.branches) {
            draft.replaceUses(added, draft.op("Mul", [added, draft.input(maskOf(what), "f32", [1])]));
          }
          return first.output.name;
        },
        feeds: new Map(stage.branches.map((branch) => [maskOf(branch.what), share(branch)])),
      },
    };
  },
};

const maskOf = (what: string): string => `mask_of_${what}`;

interface Place {
  readonly stage: Stage;
  readonly branch: BlockBranch;
}

/** Where branches lie, by what they are. */
function placesOf({ stages }: CheckpointModel): ReadonlyMap<string, readonly Place[]> {
  const found = new Map<string, Place[]>();
  for (const stage of stages) {
    for (const branch of stage.branches) found.set(branch.what, [...(found.get(branch.what) ?? []), { stage, branch }]);
  }
  return found;
}

function goneAt(model: CheckpointModel, parts: readonly (readonly [set: string, part: number])[]): GoneBranches {
  const places = placesOf(model);
  const gone = new Map<number, BlockBranch[]>();
  for (const [set, part] of parts) {
    const place = places.get(set)?.[part];
    const block = place?.stage.block;
    if (place !== undefined && block !== undefined) gone.set(block, [...(gone.get(block) ?? []), place.branch]);
  }
  return gone;
}

function goneOf(model: CheckpointModel, kept: KeptParts): GoneBranches {
  const parts = [...placesOf(model)].flatMap(([name, places]) => {
    const left = kept.get(name);
    if (left === undefined) return [];
    return places.flatMap((_, part) => (left.includes(part) ? [] : [[name, part] as const]));
  });
  return goneAt(model, parts);
}

/** How little an attention or an MLP turns what passes it: the mean over tokens of 1 − cos before and after. */
function byInfluence(): PartCriterion {
  return {
    needsData: true,
    score: async (context) => {
      const features = context.model.outline.width;
      const found = await tapStages(
        context,
        "influence of layers",
        ({ branches }) => branches.length > 0,
        (draft, { branches }, { types, opset }) => {
          const taps = branches.map(({ bypass, sum }) => {
            const type = types.get(sum) ?? { dtype: "f32" as const, shape: [1, 1, features] };
            return tapInfluence(draft, opset, { x: bypass, y: sum, axis: 2, features, type });
          });
          return {
            outputs: taps.flatMap(({ outputs }) => outputs),
            add: (values) => {
              for (const tap of taps) tap.add(values);
            },
            result: () => taps.map((tap) => tap.result()),
          };
        },
      );
      const scores = [...placesOf(context.model)].map(([name, places]): [string, Float64Array] => [
        name,
        Float64Array.from(places, ({ stage, branch }) => found.get(stage)?.[stage.branches.indexOf(branch)] ?? 0),
      ]);
      return new Map(scores);
    },
  };
}
