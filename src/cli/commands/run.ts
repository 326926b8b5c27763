import { dirname, isAbsolute, join } from "node:path";
import {
  EspalierError,
  isFolder,
  load,
  parseRecipe,
  type Recipe,
  refuseCheckpointLoaders,
  reportHtml,
  runRecipe,
} from "../../index.node.ts";
import { command, flag } from "../command.ts";
import { compileFor } from "../compile-for.ts";
import { recipeData } from "../recipe-data.ts";
import { reportText } from "../report-text.ts";
import { runCheckpoint } from "../run-checkpoint.ts";
import { given, inputsAt, textFormOf, withRuntime } from "../shared-options.ts";
import { checkReport, writeReport } from "../write-report.ts";

export const runCommand = command({
  name: "run",
  summary: "Prune as a recipe in a YAML file says: several steps, reviewable and repeatable.",
  args: ["<recipe>"],
  options: {
    resume: flag("Of a checkpoint: go on with what an earlier run of the same recipe left."),
    dryRun: flag("Do everything but write files."),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: ["espalier run recipe.yaml", "espalier run recipe.yaml --dry-run --json"],
  more: `A recipe names files beside itself; its steps take the options of espalier prune without their dashes.
Of a checkpoint, model and out are folders; windows, inputs, memory and target are keys beside them, and the README.md of
what was pruned holds such a recipe.

  model: model.onnx
  out: small.onnx
  report: small.html
  calibration: { path: calibration.npy, scale: 0.00392157 }
  steps:
    - { criterion: l2, keep-macs: 0.6, recover: lsq, ignore: ['classifier.*'] }
    - { granularity: weight, criterion: wanda, sparsity: 0.5 }`,
  async run([path = ""], options, host) {
    const text = await host.readText(path);
    if (text === null) throw new EspalierError("file", path, "expected a recipe, got no file.");
    const recipe = parseRecipe(text, path);
    const near = (file: string): string =>
      isAbsolute(file) || /^https?:\/\//.test(file) ? file : join(dirname(path), file);
    const [source, out] = [near(recipe.model), near(recipe.out)];
    const { dryRun, resume, json } = options;
    if (await isFolder(source)) {
      const { report: _, ...unreported } = recipe;
      await runCheckpoint(dryRun ? unreported : recipe, { near, dryRun, resume, json, command: "espalier run" }, host);
      return;
    }
    refuseOfCheckpoints(recipe, resume, source);
    const report = recipe.report === undefined ? undefined : near(recipe.report);
    if (!dryRun) {
      await host.checkOutput(out, [source, path]);
      await checkReport(report, host, [source, path, out]);
    }
    const model = await load(source);
    await compileFor(recipe.target ?? [], model, host);
    const { seed = 0, batch, device, threads } = recipe;
    const shapes = new Map(Object.entries(recipe.shape ?? {}));
    const open = async (
      data: Recipe["calibration"],
      limit: number | undefined,
      seeds: { seed?: number },
      whole = true,
    ) => {
      if (data === undefined) return null;
      const options = { inputs: inputsAt(model, shapes), model: source, ...seeds, ...given({ limit }) };
      return recipeData(data, near, { ...options, text: { ...textFormOf(model), whole } });
    };
    const calibration = await open(recipe.calibration, 512, { seed });
    const general = await open(recipe.general, 512, { seed });
    const training = await open(recipe.training, undefined, {});
    const evaluation = await open(recipe.evaluation, undefined, {}, false);
    const result = await withRuntime({ device, threads }, host, (runtime) =>
      runRecipe(model, recipe, {
        runtime,
        calibration,
        general,
        training,
        evaluation,
        shapes,
        seed,
        command: "espalier run",
        progress: host.progress,
        signal: host.signal,
        ...given({ latencyBatch: batch }),
      }),
    );
    if (!dryRun) {
      await result.model.save(out);
      await writeReport(report, result.report, reportHtml, host);
    }
    host.print(json ? JSON.stringify(result.report) : reportText(result.report));
  },
});

/** Throws `request` where a model is ONNX and a recipe says what only checkpoints have. */
function refuseOfCheckpoints({ windows, inputs, memory, target = [] }: Recipe, resume: boolean, source: string): void {
  refuseCheckpointLoaders(target, source);
  const told = Object.entries({ windows, inputs, memory, "--resume": resume || undefined });
  const [name] = told.find(([, value]) => value !== undefined) ?? [];
  if (name === undefined) return;
  const message = `expected the folder of a checkpoint for it, got "${source}".`;
  throw new EspalierError("request", name, message, "Leave it out.");
}
