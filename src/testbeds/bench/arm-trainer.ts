import type { TrainedDraw, TrainingArm, TrainingComparison } from "../../claims/reproduction.ts";
import type { Graph } from "../../graph/graph.ts";
import { analyse } from "../../models/analysis.ts";
import type { SharedRounds } from "../../sparsify/training/train-sparse.ts";
import { noJournal } from "../../studies/journal.ts";
import type { Course, Testbed } from "../testbed.ts";
import type { BenchOptions } from "./bench.ts";
import { classify } from "./classify.ts";
import { followPhases } from "./phases.ts";
import { workLeft } from "./work-left.ts";

/** One draw of an arm: which, of how much, and for how long. */
export interface Trial {
  readonly name: string;
  readonly arm: TrainingArm;
  readonly removed: number;
  readonly seed: number;
  /** Passes over the data of a training of length 1. */
  readonly epochs: number;
  /** Rounds that other arms at this share, seed and length may have in common with it. */
  readonly shared?: SharedRounds | undefined;
}

/** Trains and tests arms on a testbed, one draw at a time; what its journal has is not trained again. */
export async function armTrainer(
  testbed: Testbed,
  course: Course,
  budget: NonNullable<TrainingComparison["budget"]>,
  options: BenchOptions,
): Promise<(trial: Trial) => Promise<TrainedDraw>> {
  const { runtime, journal = noJournal() } = options;
  const counted = async (graph: Graph) => {
    const analysis = await analyse(graph, runtime);
    const left = await workLeft(analysis);
    return { left: budget === "macs" ? analysis.cost.total().macs : left.weights, macs: left.macs };
  };
  const whole = await counted(await course.untrained(runtime, 0));
  return async ({ name, arm, removed, seed, epochs, shared }) => {
    const made = arm({ removed, seed });
    const phases = "kind" in made ? [{ kind: "train", plan: made } as const] : made;
    // Schedules and criteria are functions, which the text of the phases leaves out: the name tells them apart.
    const key = JSON.stringify([testbed.id, testbed.test.count, name, removed, seed, epochs, phases]);
    const known = journal.get(key);
    if (known !== undefined) return known;
    const start = performance.now();
    const { graph, cost } = await followPhases(testbed, course, phases, {
      ...{ ...options, seed, epochs },
      ...(shared === undefined ? {} : { shared }),
    });
    const { accuracy, nll } = await classify(runtime, graph, testbed.test);
    const { left, macs } = await counted(graph);
    const seconds = (performance.now() - start) / 1000;
    const found = { really: 1 - left / whole.left, macsLeft: macs / whole.macs, accuracy, nll, cost, seconds };
    await journal.add(key, found);
    return found;
  };
}
