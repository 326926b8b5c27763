import { dirname, isAbsolute, join } from "node:path";
import {
  type DataOptions,
  EspalierError,
  keepSnapshots,
  load,
  parseTrainRecipe,
  requestOf,
  type TrainRecipe,
  type TrainReport,
  trainHtml,
  trainModel,
} from "../../index.node.ts";
import { command, flag } from "../command.ts";
import { recipeData } from "../recipe-data.ts";
import { textFormOf, withRuntime } from "../shared-options.ts";
import { compact, counted, metricCount, metricText } from "../table.ts";
import { checkReport, writeReport } from "../write-report.ts";

/** Seconds between two snapshots, unless a recipe says otherwise. */
const SNAPSHOT_SECONDS = 60;

export const trainCommand = command({
  name: "train",
  summary: "Train a model as a recipe in a YAML file says, from its parameters or from drawn ones.",
  args: ["<recipe>"],
  options: {
    resume: flag("Go on from the snapshot of a run that was stopped, to the bytes that it would have given."),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: ["espalier train train.yaml", "espalier train train.yaml --resume --json"],
  async run([path = ""], options, host) {
    const text = await host.readText(path);
    if (text === null) throw new EspalierError("file", path, "expected a recipe, got no file.");
    const recipe = parseTrainRecipe(text, path);
    const near = (file: string): string =>
      isAbsolute(file) || /^https?:\/\//.test(file) ? file : join(dirname(path), file);
    const [source, out] = [near(recipe.model), near(recipe.out)];
    const report = recipe.report === undefined ? undefined : near(recipe.report);
    await host.checkOutput(out, [source, path]);
    await checkReport(report, host, [source, path, out]);
    const model = await load(source);
    const teacher = recipe.teacher === undefined ? null : await load(near(recipe.teacher));
    const open = (data: TrainRecipe["training"], text: DataOptions["text"] = {}) =>
      recipeData(data, near, {
        inputs: model.onnx.graph.inputs,
        model: source,
        text: { ...textFormOf(model), ...text },
      });
    const training = await open(recipe.training, { whole: true, repeat: true });
    const evaluation = recipe.evaluation === undefined ? null : await open(recipe.evaluation);
    const held = recipe["held-out"];
    const heldOut = held === undefined ? null : await open(held, { whole: true });
    const snapshots = keepSnapshots(`${out}.snapshot`, requestOf(recipe, training));
    const resume = options.resume ? await snapshots.read() : null;
    if (resume !== null && !options.json) host.note(`Going on after ${counted(resume.updates, "update")}.`);
    const { device, threads } = recipe;
    const keep = { seconds: recipe.snapshot ?? SNAPSHOT_SECONDS, write: snapshots.write };
    // A training that is stopped still writes its snapshot, so it needs the runtime to the end of its update.
    const result = await withRuntime({ device, threads }, {}, (runtime) =>
      trainModel(model, recipe, {
        runtime,
        training,
        evaluation,
        heldOut,
        teacher,
        keep,
        command: "espalier train",
        progress: host.progress,
        signal: host.signal,
        ...(resume === null ? {} : { resume }),
      }),
    );
    host.signal.throwIfAborted();
    await result.model.save(out);
    await snapshots.clear();
    await writeReport(report, result.report, trainHtml, host);
    host.print(options.json ? JSON.stringify(result.report) : trainText(result.report));
  },
});

function trainText({ model, training, metric }: TrainReport): string {
  const { updates, epochs, seconds, samples, points, trained } = training;
  const [first = Number.NaN, last = Number.NaN] = [points[0]?.values["loss"], points.at(-1)?.values["loss"]];
  const lines = [
    `${model}: ${compact(trained)} numbers trained in ${counted(updates, "update")} (${epochs.toPrecision(3)} epochs, ${compact(samples)} samples) in ${seconds.toPrecision(3)} s.`,
    `Loss ${first.toPrecision(3)} at first, ${last.toPrecision(3)} in the end.`,
  ];
  if (training.best !== undefined) {
    const { update, loss } = training.best;
    lines.push(
      `Held-out loss ${loss.toPrecision(4)}, the lowest, after ${counted(update, "update")}: the model has the parameters of then.`,
    );
  }
  if (metric !== null) {
    lines.push(
      `${metric.name}: ${metricText(metric.name, metric.before)} before, ${metricText(metric.name, metric.after)} after (${metricCount(metric.name, metric.n)}).`,
    );
  }
  return lines.join("\n");
}
