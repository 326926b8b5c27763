import {
  type Amount,
  amountText,
  baselines,
  branchCriteria,
  type CompareReport,
  compare,
  compareHtml,
  contender,
  criteria,
  EspalierError,
  load,
  recoveries,
  usualAmounts,
} from "../../index.node.ts";
import { command, integer, list, numbers, string } from "../command.ts";
import { fileJournal, rowSchema } from "../journal.ts";
import {
  dataFor,
  dataOptions,
  given,
  modelOptions,
  roundingOf,
  roundingOptions,
  withRuntime,
} from "../shared-options.ts";
import { counted, metricCount, metricText, percent, table } from "../table.ts";
import { checkReport, writeReport } from "../write-report.ts";
import { fractions } from "./sensitivity.ts";

export const compareCommand = command({
  name: "compare",
  summary:
    "Prune as prune does, with several methods to several sizes on the same data, and show them in one table and plot.",
  args: ["<model>"],
  options: {
    methods: string(
      "A,B,..",
      `Criteria (${[...criteria.keys(), "error"].join(", ")}), with global- before for the whole model, erk- or lamp- for how much each matrix of weights loses, and a repair (${[...recoveries.keys()].join(", ")}) behind +, as in global-l2+lsq. Always with ${baselines().join(" and ")}; for --granularity layer ${branchCriteria.join(", ")}, always with ${baselines("layer").join(" and ")}.`,
    ),
    sparsities: numbers(
      "Fractions of the units of each group, or of the weights, to remove; of weights 0.5,0.75 unless told.",
    ),
    keepMacs: numbers("Or fractions of the multiply-accumulates that remain; 0.75,0.5 unless told."),
    granularity: string(
      "G",
      "channel (default), head, query-head, layer, weight, block:4x1, or a pattern that keeps N of M such as 2:4, which needs no amount.",
    ),
    ...roundingOptions,
    calib: string("DATA", "Unlabelled inputs for methods that look at activations and for repairs."),
    data: string("DATA", "Inputs to judge by, best with labels; those of --calib unless told."),
    ignore: list("PATTERN", "Parameters to leave alone: names, globs, or re: expressions."),
    ...dataOptions,
    limit: integer("N", "At most this many calibration samples; 512 unless told.", 1, 1e9),
    seed: integer("N", "Seed of everything random; 0 unless told.", 0, 2 ** 31 - 1),
    batch: integer("N", "Batch of the latency measurement; 1 unless told.", 1, 4096),
    resume: string("FILE", "Keep finished parts in this file, and continue from it when it is there."),
    report: string("FILE", "Write the whole answer: plots as .html, or .json."),
    ...modelOptions,
  },
  examples: [
    "espalier compare model.onnx --methods l1,l2 --keep-macs 0.5 --data test.npz --scale 0.00392157 --report compare.html",
    "espalier compare model.onnx --methods l1,wanda --granularity 2:4 --calib calibration.npy --scale 0.00392157",
    "espalier compare model.onnx --methods l2+lsq --sparsities 0.3 --calib calibration.npy --scale 0.00392157 --resume compare.jsonl",
  ],
  async run([path = ""], options, host) {
    const { seed = 0, limit = 512, batch = 1 } = options;
    const { granularity } = options;
    const asked = options.methods ?? (granularity === "layer" ? "influence" : "l2");
    const names = [...new Set([...asked.split(",").map((name) => name.trim()), ...baselines(granularity)])];
    const contenders = names.map((name) => contender(name, seed, granularity));
    const amounts = amountsOf(options);
    // What fits no method at all is refused before anything is read.
    for (const amount of amounts) for (const each of contenders) each.plan(amount);
    await checkReport(options.report, host, [path]);
    if (options.resume !== undefined) await host.checkOutput(options.resume, [path]);
    const model = await load(path, { fix: options.fix });
    const calibration =
      options.calib === undefined ? null : await dataFor(model, options.calib, options, { seed, limit, whole: true });
    const evaluation =
      options.data === undefined
        ? null
        : await dataFor(model, options.data, options, given({ labels: options.labels }));
    const { scale, mean, std, size, layout, labels, calib, data, ignore, device, threads, roundTo } = options;
    const request = {
      command: "compare",
      model: path,
      calib,
      data,
      labels,
      limit,
      seed,
      batch,
      ignore,
      granularity,
      roundTo,
    };
    const journal =
      options.resume === undefined
        ? undefined
        : await fileJournal(
            options.resume,
            { ...request, scale, mean, std, size, layout, device, threads },
            rowSchema,
            host,
          );
    const report = await withRuntime(options, host, (runtime) =>
      compare(model, contenders, amounts, {
        runtime,
        calibration,
        evaluation,
        shapes: options.shape,
        ignore,
        seed,
        latencyBatch: batch,
        progress: host.progress,
        signal: host.signal,
        ...given({ journal }),
      }),
    );
    await writeReport(options.report, report, compareHtml, host);
    host.print(options.json ? JSON.stringify(report) : comparisonText(report));
  },
});

interface AmountChoice {
  readonly sparsities: readonly number[] | undefined;
  readonly keepMacs: readonly number[] | undefined;
  readonly granularity: string | undefined;
  readonly roundTo: string | undefined;
}

function amountsOf({ sparsities, keepMacs, granularity, roundTo }: AmountChoice): readonly Amount[] {
  if (sparsities !== undefined && keepMacs !== undefined) {
    throw new EspalierError("request", "--keep-macs", "expected one kind of amount, got --sparsities too.");
  }
  const asked =
    sparsities !== undefined
      ? fractions("--sparsities", sparsities).map((sparsity): Amount => ({ sparsity }))
      : keepMacs !== undefined
        ? fractions("--keep-macs", keepMacs).map((keep): Amount => ({ keepMacs: keep }))
        : usualAmounts(granularity);
  const part = given({
    granularity: granularity === "channel" ? undefined : granularity,
    roundTo: roundingOf(roundTo),
  });
  return asked.map((amount) => ({ ...amount, ...part }));
}

function comparisonText({ rows, device }: CompareReport): string {
  const share = (a: number | null | undefined, b: number | null | undefined): string =>
    a === null || a === undefined || b === null || b === undefined ? "-" : percent(a, b);
  const head = ["amount", "method", "MACs", "parameters", "ms", "time", "same answer", "error", "metric"];
  const lines = rows.map(({ amount, method, before, after, fidelity, metric }) => [
    amountText(amount),
    method,
    share(after?.macs, before?.macs),
    share(after?.params, before?.params),
    after?.latencyMs?.median.toPrecision(3) ?? "-",
    share(after?.latencyMs?.median, before?.latencyMs?.median),
    share(fidelity?.topAgreement, 1),
    fidelity?.relativeError.toPrecision(3) ?? "-",
    metric === null ? "-" : metricText(metric.name, metric.after),
  ]);
  const failed = rows.flatMap(({ method, amount, failed: why }) =>
    why === null ? [] : [`${method}, ${amountText(amount)}: ${why}`],
  );
  const metric = rows.find((row) => row.metric !== null)?.metric;
  const note = `MACs, parameters and time as shares of the original; ${device.name}, batch ${device.batch}, ${counted(device.threads, "thread")}.`;
  const base =
    metric === null || metric === undefined
      ? []
      : [
          `The original: ${metricText(metric.name, metric.before)} ${metric.name} (${metricCount(metric.name, metric.n)}).`,
        ];
  return [table([head, ...lines]), note, ...base, ...failed].join("\n");
}
