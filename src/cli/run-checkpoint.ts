import {
  checkpointDataOptions,
  checkpointHtml,
  checkpointSteps,
  type DataOptions,
  EspalierError,
  loadCheckpoint,
  type Recipe,
  reportHtml,
  runCheckpointRecipe,
  type TokenTexts,
} from "../index.node.ts";
import { checkpointText } from "./checkpoint-text.ts";
import type { Host } from "./host.ts";
import { recipeData, recipeDocuments } from "./recipe-data.ts";
import { reportText } from "./report-text.ts";
import { withRuntime } from "./shared-options.ts";
import { checkReport, writeReport } from "./write-report.ts";

interface CheckpointJob {
  /** Where the paths of the recipe lead. */
  readonly near: (path: string) => string;
  /** Writes no checkpoint. */
  readonly dryRun: boolean;
  readonly resume: boolean;
  readonly json: boolean;
  /** Name of the command, for the report. */
  readonly command: string;
}

/** Prunes a checkpoint as a recipe says, whether it was written into a file or typed as options, and tells of it. */
export async function runCheckpoint(recipe: Recipe, job: CheckpointJob, host: Host): Promise<void> {
  const { near, dryRun, resume, json, command } = job;
  const steps = checkpointSteps(recipe, resume);
  const [source, out] = [near(recipe.model), dryRun ? null : near(recipe.out)];
  const report = recipe.report === undefined ? undefined : near(recipe.report);
  await checkReport(report, host, [source]);
  const model = await loadCheckpoint(source);
  const reading = checkpointDataOptions(model, recipe);
  const open = async (data: Recipe["calibration"], options: (typeof reading)[keyof typeof reading]) =>
    data === undefined ? null : recipeData(data, near, { model: source, ...options });
  // Where tokens go, text is counted as it is written, and evaluated as windows of either tokenizer.
  const isOfTokens = steps.some(({ plan }) => plan.kind === "tokens");
  const areWindows = steps.some(({ plan }) => plan.kind !== "tokens");
  const data = {
    calibration: areWindows ? await open(recipe.calibration, reading.calibration) : null,
    general: await open(recipe.general, reading.calibration),
    training: await open(recipe.training, reading.training),
    evaluation: isOfTokens ? null : await open(recipe.evaluation, reading.evaluation),
    texts: isOfTokens ? await textsOf(recipe, near, { model: source, ...reading.evaluation }) : null,
  };
  const { device, threads } = recipe;
  const { progress, signal } = host;
  const done = await withRuntime({ device, threads }, host, (runtime) =>
    runCheckpointRecipe(model, recipe, { runtime, out, ...data, resume, command, progress, signal }),
  );
  if (done.kind === "units") await writeReport(report, done.report, reportHtml, host);
  else await writeReport(report, done.report, checkpointHtml, host);
  if (json) host.print(JSON.stringify(done.report));
  else host.print(done.kind === "units" ? reportText(done.report) : checkpointText(done.report));
}

/** The texts of a recipe that removes tokens. Throws `request` for a part of the evaluation, which bytes are not counted of. */
async function textsOf(
  { calibration, evaluation }: Recipe,
  near: (path: string) => string,
  options: DataOptions,
): Promise<TokenTexts> {
  const corpus = calibration === undefined ? null : await recipeDocuments(calibration, near, options);
  if (evaluation === undefined) return { corpus };
  if (evaluation.limit !== undefined || evaluation.first === true) {
    const message = "expected all of the text, whose bytes are counted, got a part of it.";
    throw new EspalierError("request", "evaluation", message, "Give a shorter text.");
  }
  const { text, ...others } = options;
  const { vocabulary: _, ...form } = text ?? {};
  let bytes = 0;
  for await (const one of (await recipeDocuments(evaluation, near, options)).read()) {
    bytes += new TextEncoder().encode(one).length;
  }
  return {
    corpus,
    evaluation: async (tokenizer) => {
      const { tokenizer: _own, ...read } = evaluation;
      return { data: await recipeData(read, near, { ...others, text: { ...form, tokenizer } }), bytes };
    },
  };
}
