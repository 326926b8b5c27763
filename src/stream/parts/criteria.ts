import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { needsData } from "../../pipeline/statistics.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import { step } from "../../tensor/progress.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { checkpointLikelihood } from "../evaluate-checkpoint.ts";
import type { PartCriterion, PartSet } from "./part-kind.ts";

/** Chance decides. */
export const byChance: PartCriterion = {
  needsData: false,
  score: async ({ sets, seed }) => {
    const draw = random(seed, "parts");
    return new Map(sets.map(({ name, count }) => [name, Float64Array.from({ length: count }, () => draw.uniform())]));
  },
};

/** Those with the largest numbers go first. */
export const byPlace: PartCriterion = {
  needsData: false,
  score: async ({ sets }) =>
    new Map(sets.map(({ name, count }) => [name, Float64Array.from({ length: count }, (_, part) => -part)])),
};

/** The norm of all weights of a part: √Σw². */
export const byMagnitude: PartCriterion = {
  needsData: false,
  score: async (context) => {
    const { model, sets } = context;
    const scores = new Map<string, Float64Array>();
    for (const [i, { name, count, holds }] of sets.entries()) {
      step(context, "measure", i, sets.length, name);
      const own = new Float64Array(count);
      for (let part = 0; part < count; part++) {
        let sum = 0;
        for (const tensor of holds(part)) {
          const ref = model.checkpoint.tensors.get(tensor);
          const values = ref === undefined ? new Float64Array(0) : toFloat64(await load(ref));
          for (let at = 0; at < values.length; at++) sum += (values[at] ?? 0) ** 2;
        }
        own[part] = Math.sqrt(sum);
      }
      scores.set(name, own);
    }
    step(context, "measure", sets.length, sets.length);
    return scores;
  },
};

/** What a part is worth to the text: the mean negative log-likelihood of its tokens without that part alone. */
export function byError(without: (model: CheckpointModel, set: PartSet, part: number) => Checkpoint): PartCriterion {
  return {
    needsData: true,
    score: async (context) => {
      const { model, sets, calibration, clock } = context;
      if (calibration === null) throw needsData("error");
      const { progress: _, ...quiet } = context;
      const all = sets.reduce((sum, { count }) => sum + count, 0);
      const scores = new Map<string, Float64Array>();
      let done = 0;
      for (const set of sets) {
        const own = new Float64Array(set.count);
        for (let part = 0; part < set.count; part++) {
          step(context, "drop each alone", done++, all, `${part} of ${set.name}`);
          const left = set.count === 1 ? model : checkpointModel(without(model, set, part));
          const hidden = await context.hidden();
          const { nll, count } = await clock.time("measure", () =>
            checkpointLikelihood(left, calibration, { ...quiet, hidden }),
          );
          own[part] = nll / count;
        }
        scores.set(set.name, own);
      }
      return scores;
    },
  };
}
