import type { IndexedDataset } from "../data/dataset.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { checkpointPlanOf } from "../plans/checkpoint-plan.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type FolderStep, pruneFolderSteps } from "../stream/folders/prune-folder-steps.node.ts";
import type { TokenTexts } from "../stream/folders/prune-folder-tokens.node.ts";
import type { CheckpointRun } from "../stream/report.ts";
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
  /** Of a step that removes tokens, in the place of windows of tokens. */
  readonly texts?: TokenTexts | null;
  /** Goes on with what an earlier run of the same recipe left. */
  readonly resume?: boolean;
  /** Name of the command, for the report. */
  readonly command?: string;
}

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

/** The steps of a recipe for a checkpoint. Throws `request` for what it has no use for. */
export function checkpointSteps(recipe: Recipe, resume = false): readonly FolderStep[] {
  const { seed = 0, shape, training, memory, inputs } = recipe;
  const steps = recipe.steps.map((step) => ({
    plan: checkpointPlanOf(settingsOf(step), seed),
    ignore: step.ignore ?? [],
  }));
  const ofUnits = steps.filter(({ plan }) => plan.kind === "units").length;
  const ofWeights = steps.filter(({ plan }) => plan.kind === "weights").length;
  const tokens = steps.findIndex(({ plan }) => plan.kind === "tokens");
  if (tokens >= 0 && (tokens < steps.length - 1 || ofUnits > 0)) {
    const message = "expected the vocabulary to go last, and not with units, since data is windows of its tokens.";
    throw new EspalierError("request", "--granularity vocabulary", message, "Prune the result in a run of its own.");
  }
  if (tokens >= 0 && memory !== undefined) {
    const message = "expected a pruning that plans its memory, got one of the vocabulary.";
    throw new EspalierError("request", "--memory", message, "Leave it out; it holds the embedding and the corpus.");
  }
  if (shape !== undefined) {
    const message = "expected an ONNX model whose file leaves sizes open, got a checkpoint.";
    throw new EspalierError("request", "shape", message, "Leave it out; windows of text have their own length.");
  }
  if (training !== undefined && ofUnits === 0) {
    const message = "expected a step of units with a recovery that trains, got none.";
    throw new EspalierError("request", "training", message, "Leave it out; statistics are those of the calibration.");
  }
  if (memory !== undefined && ofUnits > 0) throw streaming("--memory");
  if (inputs !== undefined && ofWeights === 0) throw streaming("--inputs");
  if (resume && ofUnits > 0 && steps.length === 1) throw streaming("--resume");
  return steps;
}

/** Of what only a pruning block by block can do. */
function streaming(flag: string): EspalierError {
  const hint =
    flag === "--inputs"
      ? "Leave it out; whatever else goes is measured in the dense model."
      : "Leave it out; units are cut with the whole model in memory.";
  const message = "expected single weights, a pattern or numbered parts, which go stage by stage, got others.";
  return new EspalierError("request", flag, message, hint);
}

/** Prunes a checkpoint as a recipe says. What is written holds the recipe. Throws `request` for keys that a checkpoint has no use for. */
export async function runCheckpointRecipe(
  model: CheckpointModel,
  recipe: Recipe,
  { out, ...options }: CheckpointRecipeOptions,
): Promise<CheckpointRun> {
  const { seed = 0, batch, target: loaders = [], inputs, memory } = recipe;
  const steps = checkpointSteps(recipe, options.resume);
  const time = options.calibration?.features.get(model.stages[0]?.input.name ?? "")?.shape[0] ?? usualTokens;
  const batchSize = batch ?? Math.max(1, Math.floor(usualTokens / time));
  // How many windows fit into a given memory depends on the machine, and sums depend on how many they are.
  const text = (fits: number): string =>
    recipeText(memory === undefined ? recipe : { ...recipe, batch: fits }, `${model.name}-pruned`);
  return pruneFolderSteps(model, out, steps, {
    ...options,
    ...(inputs === undefined ? {} : { inputs }),
    ...(memory === undefined ? {} : { memory }),
    ...{ batchSize, seed, loaders, recipe: text },
  });
}
