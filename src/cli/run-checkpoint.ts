import {
  checkpointDataOptions,
  checkpointHtml,
  checkpointSteps,
  loadCheckpoint,
  type Recipe,
  reportHtml,
  runCheckpointRecipe,
} from "../index.node.ts";
import { checkpointText } from "./checkpoint-text.ts";
import type { Host } from "./host.ts";
import { recipeData } from "./recipe-data.ts";
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
  checkpointSteps(recipe, resume);
  const [source, out] = [near(recipe.model), dryRun ? null : near(recipe.out)];
  const report = recipe.report === undefined ? undefined : near(recipe.report);
  await checkReport(report, host, [source]);
  const model = await loadCheckpoint(source);
  const reading = checkpointDataOptions(model, recipe);
  const open = async (data: Recipe["calibration"], options: (typeof reading)[keyof typeof reading]) =>
    data === undefined ? null : recipeData(data, near, { model: source, ...options });
  const data = {
    calibration: await open(recipe.calibration, reading.calibration),
    general: await open(recipe.general, reading.calibration),
    training: await open(recipe.training, reading.training),
    evaluation: await open(recipe.evaluation, reading.evaluation),
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
