import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { allocateUnits, unitAllocationDefaults } from "../src/allocation/units.ts";
import type { Group } from "../src/coupling/couple.ts";
import type { Criterion, Statistic } from "../src/criteria/criterion.ts";
import { onResidual } from "../src/criteria/inputs/error-curves.ts";
import { wanda } from "../src/criteria/inputs/wanda.ts";
import { groupDefaults, unitScores } from "../src/criteria/unit-scores.ts";
import { geometricMedian } from "../src/criteria/weights/geometric-median.ts";
import { magnitude } from "../src/criteria/weights/magnitude.ts";
import { random } from "../src/criteria/weights/random.ts";
import { type IndexedDataset, indexed } from "../src/data/dataset.ts";
import { openData } from "../src/data/open.node.ts";
import { take } from "../src/data/subset.ts";
import { readOnnx } from "../src/formats/onnx/read.ts";
import { fileSource } from "../src/formats/source/file.node.ts";
import type { Graph } from "../src/graph/graph.ts";
import { unitMasks } from "../src/masks/units.ts";
import { type Analysis, analyse } from "../src/models/analysis.ts";
import { readerOf, statisticsFor } from "../src/pipeline/statistics.ts";
import { biasCompensation } from "../src/recovery/bias.ts";
import { leastSquares } from "../src/recovery/lsq.ts";
import { none } from "../src/recovery/none.ts";
import { normEstimation } from "../src/recovery/norm.ts";
import type { Recovery } from "../src/recovery/recovery.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { type Selector, unitSelector } from "../src/search/select-units.ts";
import { accuracy } from "../src/stats/answers/fidelity.ts";
import { dropBranches } from "../src/surgery/bypass.ts";
import { cut } from "../src/surgery/cut.ts";
import { keptPositions } from "../src/surgery/kept.ts";
import { widened } from "./widen.ts";

/**
 * Accuracy without any fine-tuning against remaining MACs: criteria × recoveries × fractions. Results are kept in a JSON
 * file and what is there already is not measured again; the table is printed from it.
 */
const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "resnet56-cifar10" },
    keep: { type: "string", default: "0.75,0.6,0.5,0.4,0.25" },
    criteria: { type: "string", default: "dense,random,l1,l2,fpgm,wanda,obspa" },
    recoveries: { type: "string", default: "none,norm,bias,lsq" },
    calibration: { type: "string", default: "512" },
    test: { type: "string", default: "10000" },
    seed: { type: "string", default: "0" },
    threads: { type: "string", default: "2" },
    device: { type: "string", default: "cpu" },
    out: { type: "string", default: "docs/results/accuracy.json" },
    print: { type: "boolean", default: false },
  },
});

interface Row {
  readonly model: string;
  readonly criterion: string;
  readonly recovery: string;
  readonly keep: number;
  readonly macs: number;
  readonly params: number;
  readonly dropped: number;
  readonly accuracy: number;
  /** Accuracy on the test images behind the first 1,000. */
  readonly unseen: number | null;
  readonly samples: number;
  readonly calibration: number;
  readonly seed: number;
  /** What answered the test images; "cpu" where a row does not say. */
  readonly device?: string;
  readonly seconds: number;
}

const device = options.device === "webgpu" ? "webgpu" : "cpu";

/** Test images that choices were made on. */
const SEEN = 1000;

const data = resolve(process.env["ESPALIER_DATA"] ?? join(import.meta.dirname, "../../shared/data"));
const out = resolve(options.out);
const rows: Row[] = existsSync(out) ? JSON.parse(readFileSync(out, "utf8")) : [];
if (!options.print) await measure();
print();

async function measure(): Promise<void> {
  const threads = Number(options.threads);
  const runtime = await openRuntime({ device: "cpu", threads, worker: false });
  // Choosing and repairing run on the processor; the images are answered by the device that was asked for.
  const scorer = device === "cpu" ? runtime : await openRuntime({ device, threads, worker: false });
  const batchSize = device === "cpu" ? 50 : 250;
  const model = await readOnnx(await fileSource(join(data, "models", `${options.model}.onnx`)));
  const analysis = await analyse(model.graph, runtime);
  const form = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], inputs: analysis.graph.inputs };
  const seed = Number(options.seed);
  const limit = Number(options.calibration);
  const calibration = await openData(join(data, "cifar10/train-10k.bin"), { ...form, limit, seed });
  const test = await openData(join(data, "cifar10/test.bin"), { ...form, limit: Number(options.test) });
  const batch = { batchSize: 64 };
  const residual = onResidual(analysis);
  const inner = analysis.coupling.groups.filter((group) => group.blocked.length === 0 && !residual(group));
  let selector: Selector | undefined;
  // What was chosen while this project was built was chosen on the first 1,000: the others are counted apart.
  const seen = take(test, SEEN);
  const unseen = test.count > SEEN ? from(test, SEEN) : null;
  const score = async (graph: Graph) => {
    const wide = await widened(runtime, graph, 8);
    const first = await accuracy(scorer, wide, seen, { batchSize });
    if (unseen === null) return { accuracy: first.value, unseen: null };
    const others = await accuracy(scorer, wide, unseen, { batchSize });
    const all = (first.value * first.n + others.value * others.n) / (first.n + others.n);
    return { accuracy: all, unseen: others.value };
  };

  const criteria = options.criteria.split(",");
  if (criteria.includes("dense") && find("dense", "none", 1) === undefined) {
    const start = performance.now();
    const found = await score(analysis.graph);
    const cost = analysis.cost.total();
    keep({ ...row("dense", "none", 1), macs: 1, params: cost.params, dropped: 0, ...found }, start);
  }
  for (const criterion of criteria.filter((name) => name !== "dense")) {
    for (const share of options.keep.split(",").map(Number)) {
      const missing = options.recoveries.split(",").filter((name) => find(criterion, name, share) === undefined);
      if (missing.length === 0) continue;
      const start = performance.now();
      const target = { kind: "macs", keep: share } as const;
      let dropped: Parameters<typeof dropBranches>[1] = [];
      let masks: ReadonlyMap<Group, Uint8Array>;
      if (criterion === "obspa") {
        selector ??= await unitSelector({ runtime, analysis, groups: inner, calibration, ...batch });
        ({ masks, dropped } = selector.select(target));
      } else {
        const scores = await scoresOf(analysis, inner, criterion, seed);
        const counts = allocateUnits(scores, analysis.coupling, analysis.cost, target, unitAllocationDefaults);
        masks = unitMasks(scores, counts);
      }
      const cutGraph = await cut(analysis.graph, analysis.coupling, analysis.facts, masks);
      const pruned = dropBranches(cutGraph, dropped, analysis.facts.types);
      const cost = (await analyse(pruned, runtime)).cost.total();
      const macs = cost.macs / analysis.cost.total().macs;
      for (const name of missing) {
        const begun = performance.now();
        const kept = keptPositions(analysis.coupling, masks);
        const context = { runtime, original: analysis, kept, pruned, calibration, job: {}, ...batch };
        const graph = await recoveryOf(name).apply(context);
        const made = performance.now();
        const found = await score(graph);
        const seconds = made - begun + (begun - start) / missing.length;
        keep(
          {
            ...row(criterion, name, share),
            macs,
            params: cost.params,
            dropped: dropped.length,
            ...found,
          },
          performance.now() - seconds,
        );
      }
    }
  }
  if (scorer !== runtime) await scorer.close();
  await runtime.close();

  function row(criterion: string, recovery: string, share: number) {
    return {
      model: options.model,
      criterion,
      recovery,
      keep: share,
      samples: test.count,
      calibration: calibration.count,
      seed,
      device,
    };
  }

  async function scoresOf(a: Analysis, groups: readonly Group[], name: string, by: number) {
    const criterion = criterionOf(name, by);
    const byParameter = new Map(a.matrices.map((matrix) => [matrix.parameter, matrix]));
    const matrices = [...byParameter.values()];
    const measured = await statisticsFor(a, matrices, criterion, calibration, { runtime, ...batch });
    return unitScores(a.graph, groups, byParameter, criterion, readerOf(measured), groupDefaults);
  }
}

/** The samples from a position on. */
function from(dataset: IndexedDataset, first: number): IndexedDataset {
  return indexed({
    ...dataset,
    count: dataset.count - first,
    gather: (positions) => dataset.gather(positions.map((position) => position + first)),
  });
}

function criterionOf(name: string, seed: number): Criterion<Statistic> {
  switch (name) {
    case "random":
      return random(seed);
    case "l1":
      return magnitude(1);
    case "l2":
      return magnitude(2);
    case "fpgm":
      return geometricMedian();
    case "wanda":
      return wanda();
    default:
      throw new Error(`no criterion called ${name}`);
  }
}

function recoveryOf(name: string): Recovery {
  switch (name) {
    case "none":
      return none;
    case "norm":
      return normEstimation();
    case "bias":
      return biasCompensation();
    case "lsq":
      return leastSquares();
    default:
      throw new Error(`no recovery called ${name}`);
  }
}

function find(criterion: string, recovery: string, share: number): Row | undefined {
  return rows.find(
    (r) =>
      r.model === options.model &&
      r.criterion === criterion &&
      r.recovery === recovery &&
      r.keep === share &&
      r.samples === Number(options.test) &&
      r.seed === Number(options.seed),
  );
}

function keep(found: Omit<Row, "seconds">, start: number): void {
  const done = { ...found, seconds: Math.round((performance.now() - start) / 100) / 10 };
  rows.push(done);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `[\n${rows.map((each) => `  ${JSON.stringify(each)}`).join(",\n")}\n]\n`);
  process.stderr.write(
    `${done.criterion} ${done.recovery} ${done.keep}: ${(100 * done.accuracy).toFixed(2)} % in ${done.seconds} s\n`,
  );
}

/** Tables of each model: a line for each criterion and recovery, a column for each fraction of the MACs. */
function print(): void {
  for (const model of new Set(rows.map((each) => each.model))) {
    const own = rows.filter((each) => each.model === model && each.samples === Number(options.test));
    const dense = own.find(({ criterion }) => criterion === "dense");
    table(`${model}, all images, dense ${percent(dense?.accuracy)}`, own, ({ accuracy: all }) => all);
    const best = own.filter(({ criterion, recovery }) => criterion === "obspa" && recovery === "lsq");
    const title = `${model}, images behind the first ${SEEN}, dense ${percent(dense?.unseen)}`;
    table(title, best, ({ unseen }) => unseen);
  }
}

function table(title: string, own: readonly Row[], value: (row: Row) => number | null): void {
  const pruned = own.filter((row) => row.keep < 1);
  const shares = [...new Set(pruned.map((each) => each.keep))].sort((a, b) => b - a);
  const lines = [
    title,
    "",
    `| criterion | recovery | ${shares.map((share) => `${100 * share} %`).join(" | ")} |`,
    `|---|---|${shares.map(() => "---:|").join("")}`,
  ];
  for (const criterion of options.criteria.split(",")) {
    for (const recovery of options.recoveries.split(",")) {
      const line = pruned.filter((r) => r.criterion === criterion && r.recovery === recovery);
      if (line.length === 0) continue;
      const cells = shares.map((share) => {
        const found = line.filter((r) => r.keep === share).map(value);
        const all = found.filter((each) => each !== null);
        const mean = percent(all.length === 0 ? null : all.reduce((sum, each) => sum + each, 0) / all.length);
        return all.length < 2 ? mean : `${mean} (${percent(Math.min(...all))} to ${percent(Math.max(...all))})`;
      });
      lines.push(`| ${criterion} | ${recovery} | ${cells.join(" | ")} |`);
    }
  }
  process.stdout.write(`${lines.join("\n")}\n\n`);
}

function percent(share: number | null | undefined): string {
  return share === undefined || share === null ? "" : (100 * share).toFixed(2);
}
