import {
  branchCriteria,
  criteria,
  EspalierError,
  isFolder,
  load,
  loaderNamed,
  loaderNames,
  partCriteria,
  planOf,
  prune,
  recoveries,
  refuseCheckpointLoaders,
  reportHtml,
} from "../../index.node.ts";
import { choice, command, flag, integer, list, number, string } from "../command.ts";
import { compileFor } from "../compile-for.ts";
import { reportText } from "../report-text.ts";
import {
  dataFor,
  dataOptions,
  given,
  learningOf,
  learningOptions,
  modelOptions,
  roundingOf,
  roundingOptions,
  withRuntime,
} from "../shared-options.ts";
import { checkReport, writeReport } from "../write-report.ts";
import { checkpointOptions, pruneCheckpointAt } from "./prune-checkpoint.ts";

export const pruneCommand = command({
  name: "prune",
  summary: "Remove units or weights from a model, check the result, measure what it gained, and write it.",
  args: ["<model>"],
  options: {
    ...modelOptions,
    out: string("FILE", "Where to write the smaller model; of a checkpoint, the folder."),
    granularity: string(
      "G",
      "channel (default: channels, neurons, heads and what is inside them), head (heads of attentions, with all queries that share a key head), query-head, layer (whole residual branches), rank (layers taken apart into two of lower rank; rank:spatial and rank:decoupled lay kernels out otherwise), weight, a pattern that keeps N of M such as 2:4, or block:4x1. Of a checkpoint layer takes attentions and MLPs alone, and there are block (whole blocks of a transformer), expert (those of a mixture, with their rows of the router) and vocabulary (tokens that --calib does not use, or with --sparsity or --keep-params the rarest).",
    ),
    criterion: string(
      "NAME",
      `What decides: ${[...criteria.keys()].join(", ")}, sparsegpt (single weights, what stays makes up for what goes), or error (widths, units and whole branches by what removal costs after refitting; needs --calib); l2 unless told, wanda for checkpoints. For --granularity layer: ${branchCriteria.join(", ")}; influence unless told, which needs --calib; for block: ${partCriteria.block.join(", ")}; for expert: ${partCriteria.expert.join(", ")}; the first unless told; for vocabulary: frequency.`,
    ),
    recover: string(
      "NAME",
      `Repair: ${[...recoveries.keys()].join(", ")}, or several as in lsq+distill; none unless told. Only finetune needs labels.`,
    ),
    sparsity: number(
      "S",
      "Fraction of the units of each group, of the residual branches, of the ranks or of the weights to remove.",
      0,
      1,
    ),
    keepMacs: number("F", "Fraction of the multiply-accumulates that remains.", 0, 1),
    keepParams: number("F", "Fraction of the parameters that remains.", 0, 1),
    maxLatency: number("MS", "Most milliseconds that one run may take, measured at --batch and --threads.", 0, 1e9),
    keepLatency: number("F", "Fraction of the original's time that one run may take, measured in turns with it.", 0, 1),
    maxBytes: integer("B", "Largest size of the weights in bytes.", 1, Number.MAX_SAFE_INTEGER),
    scope: choice(
      ["group", "row", "tensor", "global"],
      "Where they compete: units in their group and experts in their block (default), weights in their row or tensor (default), or all in the model.",
    ),
    allocation: choice(
      ["uniform", "erk", "lamp"],
      "How much each matrix of single weights loses: the same share (default), by its shape (ERK), or by its scores (LAMP).",
    ),
    rounds: integer(
      "N",
      "Single weights go in so many steps, each by scores of what is left then, as SynFlow's do; 1 unless told.",
      1,
      1000,
    ),
    order: choice(
      ["given", "activation"],
      "Of sparsegpt: columns as they lie (default), or those with the largest inputs first (act-order).",
    ),
    ...roundingOptions,
    ignore: list("PATTERN", "Parameters to leave alone: names, globs, or re: expressions."),
    calib: string("DATA", 'Unlabelled inputs: a folder of images, .npy, .npz, idx, CIFAR .bin, text, or "random".'),
    general: string("DATA", "Inputs of everything else that the model should not forget, for --criterion alignment."),
    eval: string("DATA", "Labelled inputs to measure the accuracy on, before and after."),
    ...dataOptions,
    ...learningOptions,
    limit: integer("N", "At most this many calibration samples; 512 unless told.", 1, 1e9),
    seed: integer("N", "Seed of everything random; 0 unless told.", 0, 2 ** 31 - 1),
    batch: integer(
      "N",
      "Batch of the latency measurement; 1 unless told. Of a checkpoint: windows that run at once.",
      1,
      4096,
    ),
    ...checkpointOptions,
    target: list(
      "PROGRAM",
      `What has to load the result: ${loaderNames.join(", ")}. Widths are chosen so that it does; where they cannot, nothing is cut and the nearest are told. Of an ONNX model: what has to compile it.`,
    ),
    report: string("FILE", "Write the whole report: with plots as .html, or .json."),
    dryRun: flag("Do everything but write the model."),
  },
  examples: [
    "espalier prune model.onnx -o small.onnx --keep-macs 0.5",
    "espalier prune model.onnx -o small.onnx --sparsity 0.3 --criterion l1 --ignore 'classifier.*'",
    "espalier prune model.onnx -o small.onnx --granularity layer --keep-macs 0.8 --calib calibration.npy --scale 0.00392157",
    "espalier prune model.onnx -o small.onnx --keep-macs 0.5 --recover lsq --calib calibration.npy --scale 0.00392157 --report report.html",
    "espalier prune model.onnx -o small.onnx --keep-macs 0.5 --recover lsq+distill --calib calibration.npy --scale 0.00392157 --epochs 1",
    "espalier prune llama -o llama-sparse --criterion wanda --sparsity 0.5 --calib text.txt --windows 128 --window 64",
    "espalier prune llama -o llama-shallow --granularity block --sparsity 0.25 --calib text.txt --window 64",
    "espalier prune llama -o llama-words --granularity vocabulary --calib text.txt --round-to 8",
    "espalier prune llama -o llama-small --keep-params 0.7 --target transformers --target onnxruntime",
  ],
  async run([path = ""], options, host) {
    const targets = options.target.flatMap((text) => text.split(",")).map(loaderNamed);
    if (await isFolder(path)) {
      await pruneCheckpointAt(path, { ...options, loaders: targets }, host);
      return;
    }
    refuseCheckpointLoaders(targets, path);
    if (options.out === undefined && !options.dryRun) {
      throw new EspalierError(
        "request",
        "-o",
        "expected a file to write to, got none.",
        "Give -o small.onnx, or --dry-run.",
      );
    }
    const { sparsity, keepMacs, keepParams, maxBytes, maxLatency, keepLatency } = options;
    const { granularity, criterion, recover, scope, allocation, rounds, order } = options;
    const { seed = 0, limit = 512, batch = 1 } = options;
    const roundTo = roundingOf(options.roundTo);
    const amount = { sparsity, keepMacs, keepParams, maxBytes, maxLatency, keepLatency };
    const learning = learningOf(options);
    const settings = {
      granularity,
      criterion,
      recover,
      learning,
      scope,
      allocation,
      rounds,
      order,
      roundTo,
      ...amount,
    };
    const plan = planOf(settings, seed);
    const out = options.dryRun ? undefined : options.out;
    if (out !== undefined) await host.checkOutput(out, [path]);
    await checkReport(options.report, host, out === undefined ? [path] : [path, out]);
    const model = await load(path, { fix: options.fix });
    await compileFor(targets, model, host);
    const calibration =
      options.calib === undefined ? null : await dataFor(model, options.calib, options, { seed, limit, whole: true });
    const general =
      options.general === undefined
        ? null
        : await dataFor(model, options.general, options, { seed, limit, whole: true });
    const training =
      options.train === undefined
        ? null
        : await dataFor(model, options.train, options, { whole: true, ...given({ labels: options.trainLabels }) });
    const evaluation =
      options.eval === undefined
        ? null
        : await dataFor(model, options.eval, options, given({ labels: options.labels }));
    const result = await withRuntime(options, host, (runtime) =>
      prune(model, plan, {
        runtime,
        calibration,
        general,
        training,
        evaluation,
        shapes: options.shape,
        ignore: options.ignore,
        seed,
        latencyBatch: batch,
        command: "espalier prune",
        ...given({ out }),
        progress: host.progress,
        signal: host.signal,
      }),
    );
    host.signal.throwIfAborted();
    await writeReport(options.report, result.report, reportHtml, host);
    host.print(options.json ? JSON.stringify(result.report) : reportText(result.report));
  },
});
