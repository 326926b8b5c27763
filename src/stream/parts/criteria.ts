import { random } from "../../tensor/random.ts";
import type { PartCriterion } from "./part-kind.ts";

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
