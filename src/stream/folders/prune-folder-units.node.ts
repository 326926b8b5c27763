import type { Coupling } from "../../coupling/couple.ts";
import { type Kept, keptThrough } from "../../formats/checkpoint/kept.ts";
import { openCheckpointFolder } from "../../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { modelOf } from "../../formats/onnx/encode.ts";
import { refuseOccupied } from "../../formats/whole-files.node.ts";
import type { Graph } from "../../graph/graph.ts";
import { withTensors } from "../../models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { inexpressible } from "../../models/checkpoint/expressible.ts";
import { resized } from "../../models/checkpoint/resize.ts";
import { storedParameters } from "../../models/checkpoint/stored.ts";
import { loadSizes } from "../../models/loaders/sizes.ts";
import type { LoaderName } from "../../models/loaders/table.ts";
import { countsOf, loadableWidths, shapesAt } from "../../models/loaders/widths.ts";
import { type Load, refuseUnloadable, willLoad } from "../../models/loaders/will-load.ts";
import { modelFrom } from "../../models/model.ts";
import type { Report } from "../../pipeline/measuring/report.ts";
import { type PruneOptions, prune } from "../../pipeline/prune.ts";
import type { UnitPlan } from "../../plans/plan.ts";
import { keptPositions, type UnitMasks } from "../../surgery/kept.ts";
import { checkLaw } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";
import { checkWeights } from "../stages/check-weights.ts";
import { fewestOpen, randomTokens } from "../stages/random-tokens.ts";
import { cardOfUnits, type Making } from "./card.ts";
import { planText } from "./fingerprint.ts";
import { keptIndices } from "./kept-indices.ts";
import { paddedMasks, paddedParameters } from "./pad-units.ts";

export interface FolderUnitOptions
  extends Omit<PruneOptions, "out" | "fixedParameters" | "withhold" | "alike" | "beforeCut" | "shapes" | "origin">,
    Making {
  /** What has to load the result: widths are chosen so that it does, and nothing is cut where it would not. */
  readonly loaders?: readonly LoaderName[];
}

/**
 * Largest difference between the pruned graph and the checkpoint that states it, relative to the largest logit: gains that
 * follow the width are rounded to the type that they are stored in.
 */
const tolerances = { exact: 1e-4, rounded: 0.05 };

/** What was chosen, as it will be written. */
interface Chosen {
  readonly coupling: Coupling;
  readonly masks: UnitMasks;
  /** Those that tell the sizes: units that they keep and `masks` does not are zeros. */
  readonly written: UnitMasks;
  readonly loads: readonly Load[];
}

/**
 * Removes units from a checkpoint by its whole graph, and writes what is left as a checkpoint, with a model card and the
 * indices that were kept. Groups whose sizes no config states stay, and the report says why. Where a loader is asked for that
 * wants all blocks alike and the choice is not, blocks are filled with zeros. The checkpoint is compared with the pruned graph
 * before it is written, and read back after; where `out` is null, nothing is written. Throws `request` where a loader would refuse it, `data` that names weights which are
 * not finite, `law` where they differ, `file` where something is there already.
 */
export async function pruneFolderUnits(
  model: CheckpointModel,
  out: string | null,
  plan: UnitPlan,
  { loaders = [], recipe, ...options }: FolderUnitOptions,
): Promise<Report> {
  if (out !== null) await refuseOccupied(out);
  const { runtime, seed = 0 } = options;
  const original = loadSizes(model);
  refuseUnloadable(willLoad(original, original, loaders), model.name);
  for (const name of model.parameters.keys()) {
    const ref = model.checkpoint.tensors.get(name);
    if (ref !== undefined) checkWeights(`${model.name}: ${name}`, await load(ref));
  }
  const whole = modelFrom(model.name, modelOf(model.graph().graph));
  const chosen: Chosen[] = [];
  const pruned = await prune(whole, plan, {
    ...options,
    shapes: shapesOf(model),
    fixedParameters: true,
    withhold: (coupling) => inexpressible(model, coupling),
    ...(loaders.length === 0 ? {} : { alike: (coupling) => loadableWidths(model, coupling, loaders) }),
    beforeCut: (coupling, masks) => void chosen.push(settled(model, coupling, masks, loaders)),
  });
  const { graph } = pruned.model.onnx;
  const [choice] = chosen;
  const small = checkpointModel(withTensors(model, parametersOf(model, graph, choice)));
  step(options, "compare", 0, 1);
  const isRounded = [...small.parameters.keys()].some((name) => small.checkpoint.tensors.get(name)?.dtype !== "f32");
  const tolerance = isRounded ? tolerances.rounded : tolerances.exact;
  const feeds = [randomTokens(small, seed)];
  const law = await checkLaw(runtime, graph, small.graph().graph, feeds, tolerance);
  if (!law.passed) {
    const message = `expected the checkpoint to compute what the pruned graph does, within ${tolerance}, got ${law.relative.toExponential(2)}.`;
    throw new EspalierError(
      "law",
      model.name,
      message,
      "Nothing was written. Leave hidden features out with --ignore.",
    );
  }
  const zeros = choice === undefined ? 0 : unitsOf(choice.written) - unitsOf(choice.masks);
  const report: Report = {
    ...pruned.report,
    loads: choice?.loads ?? [],
    advice: [
      ...pruned.report.advice,
      ...(zeros === 0
        ? []
        : [`${zeros} units that went are zeros in the checkpoint, since all blocks have to be alike.`]),
    ],
  };
  if (out === null) return report;
  step(options, "write", 0, 1);
  const making = recipe === undefined ? {} : { recipe };
  const texts = new Map([["README.md", cardOfUnits(model, planText(plan), report, making)]]);
  const left = keptOf(model, small, choice);
  await saveCheckpoint(left === undefined ? small.checkpoint : { ...small.checkpoint, kept: left }, out, { texts });
  checkpointModel(await openCheckpointFolder(out));
  step(options, "write", 1, 1);
  return report;
}

/** Looks at what was chosen as loaders will: fills blocks up where one of `asked` wants them alike. Throws `request`. */
function settled(model: CheckpointModel, coupling: Coupling, masks: UnitMasks, asked: readonly LoaderName[]): Chosen {
  const original = loadSizes(model);
  const sizesOf = (these: UnitMasks) => loadSizes(model, resized(model, shapesAt(model, coupling, countsOf(these))));
  const takes = (these: UnitMasks): boolean =>
    willLoad(sizesOf(these), original, asked).every(({ verdict }) => verdict !== "refused");
  const inBlocks = loadableWidths(model, coupling, asked).filter(({ groups }) => groups.length > 1);
  const anyWidth = inBlocks.map(({ groups }) => ({ groups, counts: [] }));
  const written = [masks, paddedMasks(masks, anyWidth), paddedMasks(masks, inBlocks)].find(takes) ?? masks;
  const sizes = sizesOf(written);
  refuseUnloadable(willLoad(sizes, original, asked), model.name);
  return { coupling, masks, written, loads: willLoad(sizes, original) };
}

/** Parameters of the pruned graph as they are written. */
function parametersOf(
  model: CheckpointModel,
  graph: Graph,
  choice: Chosen | undefined,
): ReadonlyMap<string, TensorRef> {
  const stored = storedParameters(model.graph().graph, graph, model.parameters.keys());
  if (choice === undefined || choice.written === choice.masks) return stored;
  return paddedParameters(stored, choice.coupling, choice.masks, choice.written);
}

/** What is left of the original of a model, which may have been pruned before. */
function keptOf(
  { name, checkpoint }: CheckpointModel,
  small: CheckpointModel,
  choice: Chosen | undefined,
): Kept | undefined {
  if (choice === undefined) return checkpoint.kept;
  const { tensors } = small.checkpoint;
  const kept = keptPositions(choice.coupling, choice.masks);
  const written = keptPositions(choice.coupling, choice.written);
  return keptThrough(checkpoint.kept, keptIndices(name, tensors, kept, written), tensors.keys());
}

function unitsOf(masks: UnitMasks): number {
  let total = 0;
  for (const mask of masks.values()) total += mask.reduce((sum, keep) => sum + keep, 0);
  return total;
}

/** Sizes at which a model is analysed; undefined leaves them open. */
export function shapesOf({ outline, stages }: CheckpointModel): ReadonlyMap<string, readonly number[]> | undefined {
  const { picture, positions } = outline;
  return picture !== undefined || positions >= fewestOpen
    ? undefined
    : new Map([[stages[0]?.input.name ?? "", [2, positions]]]);
}
