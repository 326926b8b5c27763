import {
  criterionNamed,
  EspalierError,
  load,
  type SensitivityPoint,
  type SensitivityReport,
  sensitivity,
  sensitivityHtml,
} from "../../index.node.ts";
import { command, integer, list, numbers, string } from "../command.ts";
import { fileJournal, pointSchema } from "../journal.ts";
import { dataFor, dataOptions, given, modelOptions, withRuntime } from "../shared-options.ts";
import { percent, table } from "../table.ts";
import { checkReport, writeReport } from "../write-report.ts";

export const sensitivityCommand = command({
  name: "sensitivity",
  summary: "Prune every group alone at several sparsities and show what each costs.",
  args: ["<model>"],
  options: {
    calib: string("DATA", "Unlabelled inputs: a folder of images, .npy, .npz, idx, CIFAR .bin, or random."),
    sparsities: numbers("Fractions of the units of a group to remove; 0.1,0.3,0.5 unless told."),
    criterion: string("NAME", "What decides which units go first; l2 unless told."),
    ignore: list("PATTERN", "Parameters to leave alone: names, globs, or re: expressions."),
    ...dataOptions,
    limit: integer("N", "At most this many samples; 128 unless told.", 1, 1e9),
    seed: integer("N", "Seed of everything random; 0 unless told.", 0, 2 ** 31 - 1),
    resume: string("FILE", "Keep finished parts in this file, and continue from it when it is there."),
    report: string("FILE", "Write the whole answer: curves as .html, or .json."),
    ...modelOptions,
  },
  examples: [
    "espalier sensitivity model.onnx --calib calibration.npy --scale 0.00392157 --report sensitivity.html",
    "espalier sensitivity model.onnx --calib random --limit 8 --sparsities 0.5 --resume sensitivity.jsonl --json",
  ],
  async run([path = ""], options, host) {
    if (options.calib === undefined) {
      throw new EspalierError("request", "--calib", "expected inputs, got none.", "Give --calib DATA, or random.");
    }
    const sparsities = fractions("--sparsities", options.sparsities ?? [0.1, 0.3, 0.5]);
    const { seed = 0, limit = 128, criterion: name = "l2" } = options;
    const criterion = criterionNamed(name, { seed });
    await checkReport(options.report, host, [path]);
    if (options.resume !== undefined) await host.checkOutput(options.resume, [path]);
    const model = await load(path, { fix: options.fix });
    const calibration = await dataFor(model, options.calib, options, { seed, limit, whole: true });
    const { scale, mean, std, size, layout } = options;
    const request = { command: "sensitivity", model: path, calib: options.calib, limit, seed, criterion: name };
    const journal =
      options.resume === undefined
        ? undefined
        : await fileJournal(options.resume, { ...request, scale, mean, std, size, layout }, pointSchema, host);
    const report = await withRuntime(options, host, (runtime) =>
      sensitivity(model, {
        runtime,
        criterion,
        calibration,
        sparsities,
        shapes: options.shape,
        ignore: options.ignore,
        progress: host.progress,
        signal: host.signal,
        ...given({ journal }),
      }),
    );
    await writeReport(options.report, report, sensitivityHtml, host);
    host.print(options.json ? JSON.stringify(report) : sensitivityText(report));
  },
});

/** Numbers that are fractions. Throws `request`. */
export function fractions(flag: string, values: readonly number[]): readonly number[] {
  const wrong = values.find((value) => value < 0 || value > 1);
  if (wrong === undefined) return values;
  throw new EspalierError("request", flag, `expected fractions from 0 to 1, got ${wrong}.`);
}

function sensitivityText({ points, sparsities, data, criterion }: SensitivityReport): string {
  const groups = new Map<string, Map<number, SensitivityPoint>>();
  for (const point of points) {
    const found = groups.get(point.group) ?? new Map<number, SensitivityPoint>();
    groups.set(point.group, found.set(point.sparsity, point));
  }
  const worst = (found: ReadonlyMap<number, SensitivityPoint>): number =>
    Math.max(...[...found.values()].map(({ fidelity }) => fidelity.relativeError));
  const rows = [...groups]
    .sort(([, a], [, b]) => worst(b) - worst(a))
    .map(([group, found]) => [
      group,
      `${[...found.values()][0]?.units ?? 0}`,
      ...sparsities.map((sparsity) => found.get(sparsity)?.fidelity.relativeError.toPrecision(3) ?? "-"),
    ]);
  const head = ["group", "units", ...sparsities.map((sparsity) => percent(sparsity, 1))];
  return `Relative error of the outputs with one group pruned by ${criterion}, on ${data}\n\n${table([head, ...rows])}`;
}
