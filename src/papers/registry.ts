import type { Paper, TrainingPaper } from "../claims/paper.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { cfsp } from "./cfsp.ts";
import { comp } from "./comp.ts";
import { dPruner } from "./d-pruner.ts";
import { depgraph } from "./depgraph.ts";
import { essentialSparsity } from "./essential-sparsity.ts";
import { flap } from "./flap.ts";
import { gaprune } from "./gaprune.ts";
import { gblmPruner } from "./gblm-pruner.ts";
import { globalMp } from "./global-mp.ts";
import { globalMpGradual } from "./global-mp-gradual.ts";
import { gradualMagnitude } from "./gradual-magnitude.ts";
import { granet } from "./granet.ts";
import { grasp } from "./grasp.ts";
import { lamp } from "./lamp.ts";
import { lateRewinding } from "./late-rewinding.ts";
import { layerPruningLimits } from "./layer-pruning-limits.ts";
import { llmPruner } from "./llm-pruner.ts";
import { lotteryTicket } from "./lottery-ticket.ts";
import { masksparsity } from "./masksparsity.ts";
import { mawWidth } from "./maw-width.ts";
import { pdp } from "./pdp.ts";
import { perp } from "./perp.ts";
import { randomPruning } from "./random-pruning.ts";
import { rdPrune } from "./rd-prune.ts";
import { rethinkingPruning } from "./rethinking-pruning.ts";
import { shortgpt } from "./shortgpt.ts";
import { snip } from "./snip.ts";
import { spa } from "./spa.ts";
import { spaBeforeTraining } from "./spa-before-training.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { synflow } from "./synflow.ts";
import { trp } from "./trp.ts";
import { wanda } from "./wanda.ts";

/** Each entry stands under its own id, or this does not compile. */
const byId = <const T extends { readonly [Id in keyof T & string]: Paper<Id> }>(table: T): readonly Paper[] =>
  Object.values(table);
const trainingById = <const T extends { readonly [Id in keyof T & string]: TrainingPaper<Id> }>(
  table: T,
): readonly TrainingPaper[] => Object.values(table);

/** Papers that prune a trained model. */
export const pruningPapers = byId({
  cfsp,
  comp,
  "d-pruner": dPruner,
  depgraph,
  "essential-sparsity": essentialSparsity,
  flap,
  gaprune,
  "gblm-pruner": gblmPruner,
  "global-mp": globalMp,
  grasp,
  lamp,
  "layer-pruning-limits": layerPruningLimits,
  "llm-pruner": llmPruner,
  masksparsity,
  "maw-width": mawWidth,
  perp,
  "rd-prune": rdPrune,
  "rethinking-pruning": rethinkingPruning,
  shortgpt,
  snip,
  spa,
  "spa-before-training": spaBeforeTraining,
  sparsegpt,
  synflow,
  trp,
  wanda,
});

/** Papers that make a network sparse while it is trained. */
export const trainingPapers = trainingById({
  "global-mp-gradual": globalMpGradual,
  "gradual-magnitude": gradualMagnitude,
  granet,
  "late-rewinding": lateRewinding,
  "lottery-ticket": lotteryTicket,
  pdp,
  "random-pruning": randomPruning,
});

/** A paper of either kind. */
export type AnyPaper = Paper | TrainingPaper;

/** All papers by id, which is also the name of the file; a test finds files that are missing here. */
export const papers: readonly AnyPaper[] = [...pruningPapers, ...trainingPapers].sort((a, b) => (a.id < b.id ? -1 : 1));

/** The paper of that id. Throws `request` with the nearest one for an unknown id. */
export function paperNamed(id: string): AnyPaper {
  const found = papers.find((paper) => paper.id === id);
  if (found !== undefined) return found;
  const ids = papers.map((paper) => paper.id);
  const hint = didYouMean(id, ids) || "espalier papers list shows them all.";
  throw new EspalierError("request", `paper ${id}`, "expected the id of a paper.", hint);
}
