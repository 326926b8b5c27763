import { EspalierError, type LoaderName, type Recipe, type Settings } from "../../index.node.ts";
import { bytes, choice, flag, integer } from "../command.ts";
import type { Host } from "../host.ts";
import { runCheckpoint } from "../run-checkpoint.ts";
import { given, type LearningGiven, learningOf, type Reading, roundingOf } from "../shared-options.ts";

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

/** What was typed of a checkpoint. */
interface Options extends Omit<Settings, "learning" | "roundTo" | "table">, Reading, LearningGiven {
  readonly roundTo: string | undefined;
  readonly out: string | undefined;
  readonly dryRun: boolean;
  readonly calib: string | undefined;
  readonly general: string | undefined;
  readonly train: string | undefined;
  readonly trainLabels: string | undefined;
  readonly eval: string | undefined;
  readonly labels: string | undefined;
  readonly limit: number | undefined;
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
  readonly fix: ReadonlyMap<string, unknown>;
}

/** Prunes the checkpoint in a folder into another: as the recipe would that says the same as these options. */
export async function pruneCheckpointAt(path: string, options: Options, host: Host): Promise<void> {
  const { out, dryRun, resume, json, fix } = options;
  const [fixed] = fix.keys();
  if (fixed !== undefined) {
    const message = "expected an ONNX model, whose inputs may decide what runs, got a checkpoint.";
    throw new EspalierError("request", `--fix ${fixed}`, message, "Leave it out.");
  }
  if (out === undefined && !dryRun) {
    const hint = "Give -o FOLDER, or --dry-run.";
    throw new EspalierError("request", "-o", "expected a folder to write to, got none.", hint);
  }
  const job = { near: (file: string) => file, dryRun, resume, json, command: "espalier prune" };
  await runCheckpoint(recipeOf(path, options), job, host);
}

/** Options in the words of recipes. */
function recipeOf(path: string, options: Options): Recipe {
  const { seed, device, threads, batch, inputs, memory, report, limit, windows = limit, shape } = options;
  const { calib, general, train, trainLabels, eval: evaluated, labels } = options;
  const data = (from: string | undefined, its?: string): Recipe["calibration"] =>
    from === undefined ? undefined : { path: from, ...readingOf(options), ...given({ labels: its }) };
  return {
    model: path,
    out: options.out ?? "",
    ...given({ seed, device, threads, batch, inputs, memory, report, windows }),
    ...given({ calibration: data(calib), general: data(general) }),
    ...given({ training: data(train, trainLabels), evaluation: data(evaluated, labels) }),
    ...(options.loaders.length === 0 ? {} : { target: [...options.loaders] }),
    ...(shape.size === 0 ? {} : { shape: Object.fromEntries([...shape].map(([name, dims]) => [name, [...dims]])) }),
    steps: [stepOf(options)],
  };
}

function stepOf(options: Options): Recipe["steps"][number] {
  const { granularity, criterion, recover, scope, allocation, rounds, order, sparsity, ignore } = options;
  const amounts = {
    "round-to": roundingOf(options.roundTo),
    "keep-macs": options.keepMacs,
    "keep-params": options.keepParams,
    "max-bytes": options.maxBytes,
    "max-latency": options.maxLatency,
    "keep-latency": options.keepLatency,
  };
  return {
    ...given({ granularity, criterion, recover, scope, allocation, rounds, order, sparsity }),
    ...given({ ...amounts, train: learningOf(options) }),
    ...(ignore.length === 0 ? {} : { ignore: [...ignore] }),
  };
}

/** How data is read, as far as it was told. */
function readingOf(options: Options): Omit<NonNullable<Recipe["calibration"]>, "path"> {
  const { scale, mean, std, size, layout, tokenizer, window, stride, begin, field, separator } = options;
  const { prompt, response, messages, documents, first, chat } = options;
  const yes = (flag: boolean): true | undefined => (flag ? true : undefined);
  return {
    ...given({ scale, size, layout, tokenizer, window, stride, begin, field, separator, prompt, response, messages }),
    ...given({ mean: mean === undefined ? undefined : [...mean], std: std === undefined ? undefined : [...std] }),
    ...given({ documents: yes(documents), first: yes(first), chat: yes(chat) }),
  };
}
