import {
  type CheckpointModel,
  type CheckpointReport,
  EspalierError,
  type IndexedDataset,
  type LoaderName,
  loadCheckpoint,
  openData,
  planOf,
  pruneFolder,
  pruneFolderUnits,
  type Settings,
  type UnitPlan,
  type WeightPlan,
} from "../../index.node.ts";
import { bytes, choice, flag, integer, type Typed } from "../command.ts";
import type { Host } from "../host.ts";
import { loadText } from "../load-text.ts";
import { reportText } from "../report-text.ts";
import { given, roundingOf, type TextReading, textOf, withRuntime } from "../shared-options.ts";
import { compact, metricCount, metricText, percent, table } from "../table.ts";
import { checkReport } from "../write-report.ts";

/** What only checkpoints have. */
export const checkpointOptions = {
  windows: integer("N", "Of a checkpoint: calibration windows; 128 unless told.", 1, 1e9),
  inputs: choice(
    ["pruned", "dense"],
    "Of a checkpoint: each block is measured on what the pruned blocks before it make (default), or the dense ones.",
  ),
  memory: bytes(
    "Of a checkpoint: what a run may take, such as 3GB; it plans its batches by it and puts hidden states on disk.",
  ),
  resume: flag("Of a checkpoint: go on with what an earlier run of the same command left."),
};

/** Those of all options that a checkpoint has a use for, and those that it has none for. */
interface Options extends Settings, TextReading {
  readonly out: string | undefined;
  readonly dryRun: boolean;
  readonly calib: string | undefined;
  readonly general: string | undefined;
  readonly eval: string | undefined;
  readonly windows: number | undefined;
  readonly inputs: "pruned" | "dense" | undefined;
  readonly memory: number | undefined;
  readonly resume: boolean;
  readonly ignore: readonly string[];
  readonly seed: number | undefined;
  readonly batch: number | undefined;
  readonly device: "cpu" | "wasm" | "webgpu" | "cuda" | undefined;
  readonly threads: number | undefined;
  readonly report: string | undefined;
  readonly json: boolean;
  readonly loaders: readonly LoaderName[];
  readonly typed: Typed;
}

type Given = Omit<Options, "roundTo"> & { readonly roundTo: string | undefined };

/** Tokens that run at once unless told. */
const usualTokens = 2048;

/** Prunes the checkpoint in a folder into another. */
export async function pruneCheckpointAt(path: string, options: Given, host: Host): Promise<void> {
  const { out, windows = 128, inputs, resume, ignore, seed = 0, loaders } = options;
  // What does not change the result is not told with it, so that another run of the same has the same bytes.
  const commandLine = `${options.typed(["out", "resume", "json", "report"])} -o FOLDER`;
  if (out === undefined || options.dryRun) {
    throw new EspalierError("request", "-o", "expected a folder to write to, got none.", "Give -o FOLDER.");
  }
  const plan = planFor(options, seed);
  if (plan.kind === "units") refuseStreaming(options);
  if (options.report !== undefined && !options.report.endsWith(".json")) {
    throw new EspalierError("request", `--report ${options.report}`, "expected a name that ends with .json.");
  }
  await checkReport(options.report, host, [path]);
  const model = await loadCheckpoint(path);
  const calibration =
    options.calib === undefined
      ? null
      : await tokensFor(model, path, options.calib, options, { whole: true, limit: windows, seed });
  const general =
    options.general === undefined
      ? null
      : await tokensFor(model, path, options.general, options, { whole: true, limit: windows, seed });
  const evaluation =
    options.eval === undefined ? null : await tokensFor(model, path, options.eval, options, { whole: false });
  const time = calibration?.features.get(model.stages[0]?.input.name ?? "")?.shape[0] ?? usualTokens;
  const batchSize = options.batch ?? Math.max(1, Math.floor(usualTokens / time));
  if (plan.kind === "units") {
    const found = await withRuntime(options, host, (runtime) =>
      pruneFolderUnits(model, out, plan, {
        ...{
          runtime,
          calibration,
          general,
          evaluation,
          batchSize,
          ignore,
          seed,
          command: "espalier prune",
          loaders,
          commandLine,
        },
        progress: host.progress,
        signal: host.signal,
      }),
    );
    if (options.report !== undefined) await host.writeText(options.report, `${JSON.stringify(found, null, 2)}\n`);
    host.print(options.json ? JSON.stringify(found) : reportText(found));
    return;
  }
  const report = await withRuntime(options, host, (runtime) =>
    pruneFolder(model, out, plan, {
      ...{ runtime, calibration, general, evaluation, batchSize, ignore, resume, seed, loaders, commandLine },
      ...given({ inputs, memory: options.memory }),
      progress: host.progress,
      signal: host.signal,
    }),
  );
  if (options.report !== undefined) await host.writeText(options.report, `${JSON.stringify(report, null, 2)}\n`);
  host.print(options.json ? JSON.stringify(report) : checkpointText(report));
}

/**
 * Single weights by Wanda unless told, or units where a granularity or an amount asks for them; criteria that look at inputs
 * compare the weights of a row, as their authors do.
 */
function planFor(options: Given, seed: number): WeightPlan | UnitPlan {
  const { roundTo, ...rest } = options;
  const { granularity = isOfUnits(rest) ? "channel" : "weight" } = rest;
  const rounding = roundingOf(roundTo);
  const plan = planOf({ ...rest, granularity, ...given({ roundTo: rounding }), ...usual(granularity, rest) }, seed);
  if (plan.kind === "units") {
    return rounding === undefined ? { ...plan, allocation: { ...plan.allocation, roundTo: 1 } } : plan;
  }
  if (plan.kind === "weights") {
    return rest.scope === undefined && plan.criterion.needs.length > 0 ? { ...plan, scope: "row" } : plan;
  }
  const hint = "Export it to ONNX to remove layers or ranks.";
  const message =
    "expected weights, a pattern such as 2:4, blocks, channels or heads, by which checkpoints are pruned.";
  throw new EspalierError("request", `--granularity ${granularity}`, message, hint);
}

/** Throws `request` for what only a pruning block by block can do. */
function refuseStreaming({ inputs, memory, resume }: Pick<Given, "inputs" | "memory" | "resume">): void {
  const told = [
    inputs === undefined ? "" : "--inputs",
    memory === undefined ? "" : "--memory",
    resume ? "--resume" : "",
  ].find((flag) => flag !== "");
  if (told === undefined) return;
  const message = "expected single weights or a pattern, which go block by block, got units of the whole model.";
  throw new EspalierError("request", told, message, "Leave it out; units are cut with the whole model in memory.");
}

/** Amounts that only units have. */
function isOfUnits({ keepMacs, keepParams, maxBytes }: Settings): boolean {
  return keepMacs !== undefined || keepParams !== undefined || maxBytes !== undefined;
}

function usual(granularity: string, { criterion }: Settings): Settings {
  const units = ["channel", "head", "query-head", "layer", "rank"].some((name) => granularity.startsWith(name));
  return criterion === undefined && !units ? { criterion: "wanda" } : {};
}

/** Windows of tokens for a checkpoint: text through its tokenizer, or tokens in arrays. */
function tokensFor(
  model: CheckpointModel,
  path: string,
  spec: string,
  reading: TextReading,
  { whole, ...choice }: { readonly whole: boolean; readonly limit?: number; readonly seed?: number },
): Promise<IndexedDataset> {
  const { positions, vocabulary } = model.outline;
  const inputs = model.stages.slice(0, 1).map(({ input }) => input);
  const text = { vocabulary, whole, window: Math.min(positions, usualTokens), ...textOf(reading) };
  return openData(spec, { inputs, model: path, ...choice, text });
}

function checkpointText(report: CheckpointReport): string {
  const { params, nonzero, pruned, layers, skipped, seconds, peakBytes, resumed } = report;
  const lines = [
    table([
      ["", "before", "after", "left"],
      ["parameters that are not zero", compact(params), compact(nonzero), percent(nonzero, params)],
      [
        "of them in pruned matrices",
        compact(pruned.before),
        compact(pruned.after),
        percent(pruned.after, pruned.before),
      ],
    ]),
    `${layers.length} matrices got zeros; ${compact(report.bytes)}B of weights, as zeros are stored too.`,
  ];
  if (skipped.length > 0) {
    const [first] = skipped;
    lines.push(`${skipped.length} matrices were left as they are: ${first?.name} (${first?.reason}), for one.`);
  }
  if (report.calibration !== null) lines.push(`Measured on ${report.calibration}, behind ${report.inputs} blocks.`);
  const { metric } = report;
  if (metric !== null) {
    const { name, before, after, n } = metric;
    lines.push(
      `${name}: ${metricText(name, before)} before, ${metricText(name, after)} after (${metricCount(name, n)}).`,
    );
  }
  lines.push(...loadText(report.loads));
  if (resumed > 0) lines.push(`${resumed} stages were finished by an earlier run.`);
  const phases = Object.entries(seconds).map(([phase, n]) => `${phase} ${n.toPrecision(3)} s`);
  lines.push(`${phases.join(", ")}${peakBytes === null ? "" : `; at most ${compact(peakBytes)}B of memory`}.`);
  return lines.join("\n");
}
