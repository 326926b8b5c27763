import {
  criteria,
  criterionNamed,
  EspalierError,
  load,
  methods,
  openData,
  openRuntime,
  type Plan,
  prune,
  type Report,
  recoveries,
  recoveryNamed,
} from "../index.node.ts";
import { choice, command, flag, flagOf, integer, list, number, numbers, string } from "./command.ts";
import { modelOptions } from "./shared-options.ts";
import { compact, percent, table } from "./table.ts";

export const pruneCommand = command({
  name: "prune",
  summary: "Remove units or weights from a model, check the result, measure what it gained, and write it.",
  args: ["<model>"],
  options: {
    ...modelOptions,
    out: string("FILE", "Where to write the smaller model."),
    granularity: string("G", "channel (default), weight, a pattern that keeps N of M such as 2:4, or block:4x1."),
    criterion: string("NAME", `What decides: ${[...criteria.keys()].join(", ")}; l2 unless told.`),
    recover: string("NAME", `Repair without labels: ${[...recoveries.keys()].join(", ")}; none unless told.`),
    sparsity: number("S", "Fraction of the units of each group to remove.", 0, 1),
    keepMacs: number("F", "Fraction of the multiply-accumulates that remains.", 0, 1),
    keepParams: number("F", "Fraction of the parameters that remains.", 0, 1),
    maxBytes: integer("B", "Largest size of the weights in bytes.", 1, Number.MAX_SAFE_INTEGER),
    scope: choice(
      ["group", "row", "tensor", "global"],
      "Where they compete: units in their group (default), weights in their row or tensor (default), or all in the model.",
    ),
    roundTo: string("auto|N", "Keep multiples of N units; auto (default) measures which width is fastest."),
    ignore: list("PATTERN", "Parameters to leave alone: names, globs, or re: expressions."),
    calib: string("DATA", 'Unlabelled inputs: a folder of images, .npy, .npz, idx, CIFAR .bin, or "random".'),
    eval: string("DATA", "Labelled inputs to measure the accuracy on, before and after."),
    scale: number("X", "What each element of the data is multiplied by, such as 0.00392156862745098.", 0, 1e9),
    mean: numbers("Subtracted from each channel after scaling: one number or a list with commas."),
    std: numbers("Divided by after that, likewise."),
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
      const { scale, mean, std } = options;
      const reading = {
        seed,
        inputs,
        model: path,
        ...(scale === undefined ? {} : { scale }),
        ...(mean === undefined ? {} : { mean }),
        ...(std === undefined ? {} : { std }),
      };
      const calibration =
        options.calib === undefined ? null : await openData(options.calib, { ...reading, limit: options.limit ?? 512 });
      const evaluation = options.eval === undefined ? null : await openData(options.eval, reading);
      const plan = planOf(options, seed);
      const result = await prune(model, plan, {
        runtime,
        calibration,
        evaluation,
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

interface PlanChoice {
  readonly granularity: string | undefined;
  readonly criterion: string | undefined;
  readonly recover: string | undefined;
  readonly scope: "group" | "row" | "tensor" | "global" | undefined;
  readonly roundTo: string | undefined;
  readonly sparsity: number | undefined;
  readonly keepMacs: number | undefined;
  readonly keepParams: number | undefined;
  readonly maxBytes: number | undefined;
}

/** The plan that the options spell out. Options that the granularity has no use for are refused. */
function planOf(options: PlanChoice, seed: number): Plan {
  const { scope, sparsity, keepMacs, keepParams, maxBytes } = options;
  const criterion = criterionNamed(options.criterion ?? "l2", { seed });
  const recovery = recoveryNamed(options.recover ?? "none");
  const granularity = options.granularity ?? "channel";
  if (granularity !== "channel") {
    if (scope === "group") throw misplaced("--scope group", granularity, "Use row, tensor or global.");
    for (const [flagged, value] of Object.entries({ keepMacs, keepParams, maxBytes, roundTo: options.roundTo })) {
      if (value !== undefined)
        throw misplaced(flagOf(flagged), granularity, "Zeros change none of these; use --sparsity.");
    }
    return methods.sparse({
      granularity,
      criterion,
      recovery,
      ...(scope === undefined ? {} : { scope }),
      ...(sparsity === undefined ? {} : { sparsity }),
    });
  }
  if (scope === "row" || scope === "tensor") throw misplaced(`--scope ${scope}`, granularity, "Use group or global.");
  return methods.structured({
    criterion,
    recovery,
    roundTo: roundingOf(options.roundTo ?? "auto"),
    sparsity,
    keepMacs,
    keepParams,
    maxBytes,
    ...(scope === undefined ? {} : { scope }),
  });
}

function misplaced(what: string, granularity: string, hint: string): EspalierError {
  return new EspalierError(
    "request",
    what,
    `expected an option for --granularity ${granularity}, got another's.`,
    hint,
  );
}

function roundingOf(text: string): number | "auto" {
  if (text === "auto") return "auto";
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 1024) return value;
  throw new EspalierError("request", "--round-to", `expected auto or a whole number from 1 to 1024, got "${text}".`);
}

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
