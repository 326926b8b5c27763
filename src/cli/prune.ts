import {
  EspalierError,
  load,
  magnitude,
  methods,
  openData,
  openRuntime,
  prune,
  type Report,
  random,
} from "../index.node.ts";
import { choice, command, flag, integer, list, number, string } from "./command.ts";
import { modelOptions } from "./shared-options.ts";
import { compact, percent, table } from "./table.ts";

export const pruneCommand = command({
  name: "prune",
  summary: "Remove units or weights from a model, check the result, measure what it gained, and write it.",
  args: ["<model>"],
  options: {
    ...modelOptions,
    out: string("FILE", "Where to write the smaller model."),
    criterion: choice(["l1", "l2", "random"], "What decides; l2 unless told."),
    sparsity: number("S", "Fraction of the units of each group to remove.", 0, 1),
    keepMacs: number("F", "Fraction of the multiply-accumulates that remains.", 0, 1),
    keepParams: number("F", "Fraction of the parameters that remains.", 0, 1),
    maxBytes: integer("B", "Largest size of the weights in bytes.", 1, Number.MAX_SAFE_INTEGER),
    scope: choice(["group", "global"], "Where units compete: in their group (default) or in the whole model."),
    roundTo: integer("N", "Keep multiples of N units.", 1, 1024),
    ignore: list("PATTERN", "Parameters to leave alone: names, globs, or re: expressions."),
    calib: string("DATA", 'Unlabelled inputs: a folder of images, .npy, .npz, idx, CIFAR .bin, or "random".'),
    limit: integer("N", "At most this many calibration samples; 512 unless told.", 1, 1e9),
    seed: integer("N", "Seed of everything random; 0 unless told.", 0, 2 ** 31 - 1),
    batch: integer("N", "Batch of the latency measurement; 1 unless told.", 1, 4096),
    report: string("FILE", "Write the whole report as JSON."),
    dryRun: flag("Do everything but write the model."),
  },
  examples: [
    "espalier prune model.onnx -o small.onnx --keep-macs 0.5",
    "espalier prune model.onnx -o small.onnx --sparsity 0.3 --criterion l1 --ignore 'classifier.*'",
  ],
  async run([path = ""], options, host) {
    if (options.out === undefined && !options.dryRun) {
      throw new EspalierError(
        "request",
        "-o",
        "expected a file to write to, got none.",
        "Give -o small.onnx, or --dry-run.",
      );
    }
    const model = await load(path);
    const { device, threads } = options;
    const runtime = await openRuntime({
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
    });
    try {
      const seed = options.seed ?? 0;
      const inputs = model.onnx.graph.inputs;
      const calibration =
        options.calib === undefined
          ? null
          : await openData(options.calib, { limit: options.limit ?? 512, seed, inputs, model: path });
      const plan = methods.structured({
        criterion: options.criterion === "random" ? random(seed) : magnitude(options.criterion === "l1" ? 1 : 2),
        ...(options.scope === undefined ? {} : { scope: options.scope }),
        ...(options.roundTo === undefined ? {} : { roundTo: options.roundTo }),
        sparsity: options.sparsity,
        keepMacs: options.keepMacs,
        keepParams: options.keepParams,
        maxBytes: options.maxBytes,
      });
      const result = await prune(model, plan, {
        runtime,
        calibration,
        shapes: options.shape,
        ignore: options.ignore,
        seed,
        latencyBatch: options.batch ?? 1,
        command: "espalier prune",
        progress: host.progress,
        signal: host.signal,
      });
      if (options.out !== undefined && !options.dryRun) await result.model.save(options.out);
      if (options.report !== undefined)
        await host.writeText(options.report, `${JSON.stringify(result.report, null, 2)}\n`);
      if (options.json) host.print(JSON.stringify(result.report));
      else host.print(summary(result.report));
    } finally {
      await runtime.close();
    }
  },
});

/** The report in a few lines. */
function summary({ before, after, law, fidelity, metric, layers, advice, device }: Report): string {
  const row = (name: string, a: number | null, b: number | null, unit = ""): string[] =>
    a === null || b === null
      ? [name, "-", "-", "-"]
      : [name, `${compact(a)}${unit}`, `${compact(b)}${unit}`, percent(b, a)];
  const ms = (n: number | undefined): string => (n === undefined ? "-" : n.toPrecision(3));
  const [a, b] = [before.latencyMs?.median, after.latencyMs?.median];
  const lines = [
    table([
      ["", "before", "after", "left"],
      row("parameters", before.params, after.params),
      row("MACs", before.macs, after.macs),
      row("bytes", before.bytes, after.bytes),
      row("gzip bytes", before.gzipBytes, after.gzipBytes),
      [`ms (${device.name}, batch ${device.batch}, ${device.threads} threads)`, ms(a), ms(b), percent(b ?? 0, a ?? 0)],
    ]),
    `${layers.filter(({ before: x, after: y }) => y < x).length} of ${layers.length} groups became smaller.`,
  ];
  if (law !== null)
    lines.push(`Removed equals masked within ${law.relative.toExponential(1)} (allowed ${law.tolerance}).`);
  if (fidelity !== null) {
    const top = fidelity.topAgreement === null ? "" : `same answer on ${percent(fidelity.topAgreement, 1)}, `;
    lines.push(
      `Fidelity on ${fidelity.samples} inputs: ${top}relative error ${fidelity.relativeError.toPrecision(3)}.`,
    );
  }
  if (metric !== null) {
    lines.push(
      `${metric.name}: ${percent(metric.before, 1)} before, ${percent(metric.after, 1)} after (${metric.n} samples).`,
    );
  }
  return [...lines, ...advice].join("\n");
}
