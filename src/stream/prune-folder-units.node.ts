import { openCheckpointFolder } from "../formats/checkpoint/open.node.ts";
import { saveCheckpoint } from "../formats/checkpoint/save.node.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { withGraph } from "../models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { inexpressible } from "../models/checkpoint/expressible.ts";
import { modelFrom } from "../models/model.ts";
import { type PruneOptions, prune } from "../pipeline/prune.ts";
import type { Report } from "../pipeline/report.ts";
import type { UnitPlan } from "../plans/plan.ts";
import { checkLaw } from "../surgery/law.ts";
import { EspalierError } from "../tensor/error.ts";
import { step } from "../tensor/progress.ts";
import { fewestOpen, randomTokens } from "./random-tokens.ts";

/**
 * Largest difference between the pruned graph and the checkpoint that states it, relative to the largest logit: gains that
 * follow the width are rounded to the type that they are stored in.
 */
const tolerances = { exact: 1e-4, rounded: 0.05 };

/**
 * Removes units from a checkpoint by its whole graph, and writes what is left as a checkpoint. Groups whose sizes no config
 * states stay, and the report says why. The checkpoint is compared with the pruned graph before it is written, and read back
 * after. Throws `law` where they differ, `file` where something is there already.
 */
export async function pruneFolderUnits(
  model: CheckpointModel,
  out: string,
  plan: UnitPlan,
  options: Omit<PruneOptions, "out" | "withhold" | "shapes" | "origin">,
): Promise<Report> {
  const { runtime, seed = 0 } = options;
  const whole = modelFrom(model.name, modelOf(model.graph().graph));
  const pruned = await prune(whole, plan, {
    ...options,
    shapes: shapesOf(model),
    withhold: (coupling) => inexpressible(model, coupling),
  });
  const { graph } = pruned.model.onnx;
  const small = checkpointModel(withGraph(model, graph));
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
  step(options, "write", 0, 1);
  await saveCheckpoint(small.checkpoint, out);
  checkpointModel(await openCheckpointFolder(out));
  step(options, "write", 1, 1);
  return pruned.report;
}

/** Sizes at which a model is analysed; undefined leaves them open. */
function shapesOf({ outline, stages }: CheckpointModel): ReadonlyMap<string, readonly number[]> | undefined {
  const { picture, positions } = outline;
  return picture !== undefined || positions >= fewestOpen
    ? undefined
    : new Map([[stages[0]?.input.name ?? "", [2, positions]]]);
}
