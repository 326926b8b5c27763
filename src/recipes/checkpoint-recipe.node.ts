import type { IndexedDataset } from "../data/dataset.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { Report } from "../pipeline/measuring/report.ts";
import { checkpointPlanOf } from "../plans/checkpoint-plan.ts";
import type { UnitPlan, WeightPlan } from "../plans/plan.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { pruneFolder } from "../stream/folders/prune-folder.node.ts";
import { pruneFolderUnits } from "../stream/folders/prune-folder-units.node.ts";
import type { CheckpointReport } from "../stream/report.ts";
import { EspalierError } from "../tensor/error.ts";
import type { Job } from "../tensor/progress.ts";
import { type Recipe, settingsOf } from "./recipe.ts";
import { recipeText } from "./recipe-text.ts";

export interface CheckpointRecipeOptions extends Job {
  readonly runtime: Runtime;
  /** Folder to write; null does everything but write it. */
  readonly out: string | null;
  readonly calibration: IndexedDataset | null;
  readonly general?: IndexedDataset | null;
  readonly training?: IndexedDataset | null;
  readonly evaluation?: IndexedDataset | null;
  /** Goes on with what an earlier run of the same recipe left. */
  readonly resume?: boolean;
  /** Name of the command, for the report. */
  readonly command?: string;
}

/** What became of a checkpoint: fewer units, or weights that are zero. */
export type CheckpointRun =
  | { readonly kind: "units"; readonly report: Report }
  | { readonly kind: "weights"; readonly report: CheckpointReport };

/** Tokens that run at once unless told, and of a window of text. */
const usualTokens = 2048;

/** Calibration windows unless told. */
const usualWindows = 128;

/** How data is opened for a checkpoint that a recipe names. */
export function checkpointDataOptions(
  { outline: { positions, vocabulary }, stages }: CheckpointModel,
  { windows = usualWindows, seed = 0 }: Recipe,
) {
  const inputs = stages.slice(0, 1).map(({ input }) => input);
  const text = { vocabulary, window: Math.min(positions, usualTokens) };
  return {
    /** Windows of text that are not full are left out: statistics would be those of filling. */
    calibration: { inputs, text: { ...text, whole: true }, limit: windows, seed },
    training: { inputs, text: { ...text, whole: true } },
    evaluation: { inputs, text: { ...text, whole: false } },
  };
}

/** A step as it is carried out. */
interface CheckpointStep {
  readonly plan: WeightPlan | UnitPlan;
  readonly ignore: readonly string[];
}

/** The steps of a recipe for a checkpoint. Throws `request` for what it has no use for. */
export function checkpointSteps(recipe: Recipe, resume = false): CheckpointStep {
  const { steps, seed = 0, shape, training } = recipe;
  if (shape !== undefined) {
    const message = "expected an ONNX model whose file leaves sizes open, got a checkpoint.";
    throw new EspalierError("request", "shape", message, "Leave it out; windows of text have their own length.");
  }
  const [step, ...more] = steps;
  if (step === undefined || more.length > 0) {
    const hint = "Prune step by step: write a recipe for each, the next of which reads what the last has written.";
    throw new EspalierError("request", "steps", `expected one step for a checkpoint, got ${steps.length}.`, hint);
  }
  const plan = checkpointPlanOf(settingsOf(step), seed);
  if (plan.kind === "units") refuseStreaming(recipe, resume);
  else if (training !== undefined) {
    const message = "expected a step of units with a recovery that trains, got single weights.";
    throw new EspalierError("request", "training", message, "Leave it out; statistics are those of the calibration.");
  }
  return { plan, ignore: step.ignore ?? [] };
}

/** Prunes a checkpoint as a recipe says. What is written holds the recipe. Throws `request` for keys that a checkpoint has no use for. */
export async function runCheckpointRecipe(
  model: CheckpointModel,
  recipe: Recipe,
  options: CheckpointRecipeOptions,
): Promise<CheckpointRun> {
  const { out, calibration, resume = false, command, ...rest } = options;
  const { seed = 0, batch, target: loaders = [] } = recipe;
  const { plan, ignore } = checkpointSteps(recipe, resume);
  const time = calibration?.features.get(model.stages[0]?.input.name ?? "")?.shape[0] ?? usualTokens;
  const batchSize = batch ?? Math.max(1, Math.floor(usualTokens / time));
  const shared = {
    ...rest,
    calibration,
    batchSize,
    ignore,
    seed,
    loaders,
    // How many windows fit into a given memory depends on the machine, and sums depend on how many they are.
    recipe: (fits: number) =>
      recipeText(recipe.memory === undefined ? recipe : { ...recipe, batch: fits }, `${model.name}-pruned`),
  };
  if (plan.kind === "units") {
    const named = command === undefined ? {} : { command };
    return { kind: "units", report: await pruneFolderUnits(model, out, plan, { ...shared, ...named }) };
  }
  const { inputs, memory } = recipe;
  const streaming = {
    ...(inputs === undefined ? {} : { inputs }),
    ...(memory === undefined ? {} : { memory }),
    resume,
  };
  return { kind: "weights", report: await pruneFolder(model, out, plan, { ...shared, ...streaming }) };
}

/** Throws `request` for what only a pruning block by block can do. */
function refuseStreaming({ inputs, memory }: Recipe, resume: boolean): void {
  const told = Object.entries({ "--inputs": inputs, "--memory": memory, "--resume": resume || undefined });
  const [flag] = told.find(([, value]) => value !== undefined) ?? [];
  if (flag === undefined) return;
  const message = "expected single weights or a pattern, which go block by block, got units of the whole model.";
  throw new EspalierError("request", flag, message, "Leave it out; units are cut with the whole model in memory.");
}
