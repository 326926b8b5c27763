import { loadavg } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  type Learning,
  load,
  openData,
  openRuntime,
  type PruneOptions,
  planOf,
  prune,
  type Recipe,
  runRecipe,
  type Settings,
} from "../src/index.node.ts";

/**
 * What recoveries that train give back of a pruned CIFAR-10 network, on the 10,000 training images, their labels unused unless
 * the recovery asks for them: accuracy on the 10,000 test images, updates, images fed, multiply-accumulates, seconds and
 * the processor's seconds, with the load of the machine beside them.
 * Usage: ESPALIER_DATA=.. npx tsx bench/recovery.ts --model resnet56-cifar10 --keep-macs 0.5 --recover lsq+distill --epochs 3
 * Several shares of --sparsity, and of --updates, are steps of one recipe: --sparsity 0.7,0.9 --updates 300,900
 */
const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "resnet56-cifar10" },
    "keep-macs": { type: "string" },
    sparsity: { type: "string" },
    "round-to": { type: "string", default: "1" },
    criterion: { type: "string", default: "error" },
    recover: { type: "string", default: "lsq+distill" },
    epochs: { type: "string" },
    updates: { type: "string" },
    minutes: { type: "string" },
    batch: { type: "string", default: "64" },
    optimiser: { type: "string", default: "adamw" },
    rate: { type: "string" },
    temperature: { type: "string" },
    features: { type: "string" },
    answers: { type: "string" },
    mix: { type: "string" },
    norms: { type: "string" },
    average: { type: "string" },
    pad: { type: "string", default: "3" },
    calibration: { type: "string", default: "512" },
    test: { type: "string", default: "10000" },
    threads: { type: "string", default: "2" },
    seed: { type: "string", default: "0" },
  },
});

const listOf = (text: string | undefined): readonly number[] => text?.split(",").map(Number) ?? [];
const numberOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
const told = <T extends object>(given: T) =>
  Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined));

const data = resolve(process.env["ESPALIER_DATA"] ?? join(import.meta.dirname, "../../shared/data"));
const seed = Number(options.seed);
const learning: Learning = {
  batch: Number(options.batch),
  optimiser: options.optimiser === "sgd" ? "sgd" : "adamw",
  pad: Number(options.pad),
  flip: true,
  ...told({
    epochs: numberOf(options.epochs),
    updates: listOf(options.updates).length > 1 ? undefined : numberOf(options.updates),
    minutes: numberOf(options.minutes),
    rate: numberOf(options.rate),
    norms: options.norms === "batch" ? ("batch" as const) : undefined,
    average: numberOf(options.average),
    temperature: numberOf(options.temperature),
    features: numberOf(options.features),
    answers: numberOf(options.answers),
    mix: numberOf(options.mix) ?? (options.recover.includes("finetune") ? undefined : 0.5),
  }),
};
const settings: Settings =
  options.sparsity === undefined
    ? { keepMacs: Number(options["keep-macs"] ?? 0.5), roundTo: Number(options["round-to"]) }
    : { granularity: "weight", sparsity: Number(options.sparsity), scope: "global" };
const shares = listOf(options.sparsity);

const runtime = await openRuntime({ device: "cpu", threads: Number(options.threads) });
const model = await load(join(data, "models", `${options.model}.onnx`));
const form = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], inputs: model.onnx.graph.inputs };
const pictures = join(data, "cifar10/train-10k.bin");
const start = performance.now();
let told10 = start;
const job = {
  runtime,
  seed,
  training: await openData(pictures, form),
  calibration: await openData(pictures, { ...form, limit: Number(options.calibration), seed }),
  evaluation: await openData(join(data, "cifar10/test.bin"), { ...form, limit: Number(options.test) }),
  batchSize: 128,
  measure: false,
  progress: ({ phase, done, total, detail = "" }) => {
    if (performance.now() - told10 < 20_000) return;
    told10 = performance.now();
    console.error(`${phase} ${done}/${total} ${detail}`);
  },
} satisfies PruneOptions;
const { report } =
  shares.length > 1
    ? await runRecipe(model, { model: options.model, out: "", seed, steps: shares.map(stepOf) }, job)
    : await prune(
        model,
        planOf({ ...settings, criterion: options.criterion, recover: options.recover, learning }, seed),
        job,
      );
await runtime.close();

function stepOf(sparsity: number, at: number): Recipe["steps"][number] {
  const { updates: _, ...rest } = learning;
  const updates = listOf(options.updates)[at];
  const { criterion, recover } = options;
  return {
    ...{ granularity: "weight", scope: "global", sparsity, criterion, recover },
    train: { ...rest, ...told({ updates }) },
  };
}

const { user, system } = process.cpuUsage();
const { metric, training, after, before, seconds } = report;
console.log(
  JSON.stringify({
    ...told(options),
    accuracy: metric?.after,
    original: metric?.before,
    macs: after.macs / before.macs,
    nonzero: after.nonzero / before.nonzero,
    training: training.map(({ points, ...rest }) => ({
      ...rest,
      first: points[0]?.values,
      last: points.at(-1)?.values,
    })),
    seconds,
    wall: (performance.now() - start) / 1000,
    processor: (user + system) / 1e6,
    load: loadavg(),
  }),
);
