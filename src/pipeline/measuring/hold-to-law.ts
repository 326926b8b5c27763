import type { Graph } from "../../graph/graph.ts";
import type { Analysis } from "../../models/analysis.ts";
import { checkLaw, type LawResult } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import type { SettledOptions } from "../prune.ts";
import { lawFeeds } from "./law-feeds.ts";
import type { PhaseClock } from "./phase-clock.ts";

/** Compares the smaller graph with the masked original. Throws `law` where they differ. */
export async function holdToLaw(
  analysis: Analysis,
  masked: () => Graph,
  small: Graph,
  options: SettledOptions,
  clock: PhaseClock,
): Promise<LawResult> {
  const { runtime, calibration = null, seed } = options;
  step(options, "law", 0, 1);
  const law = await clock.time("law", async () =>
    checkLaw(runtime, masked(), small, await lawFeeds(analysis, calibration, seed)),
  );
  if (law.passed) return law;
  throw new EspalierError(
    "law",
    "prune",
    `expected the smaller model to agree with the masked original within ${law.tolerance}, got ${law.relative.toExponential(2)}.`,
    "Nothing was written. Leave parts of the model out with --ignore to find the one that disagrees, and report it.",
  );
}
