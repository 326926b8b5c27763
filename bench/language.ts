import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prunable } from "../src/allocation/prunable.ts";
import { patternNamed } from "../src/claims/plan-options.ts";
import { branchesOf } from "../src/coupling/branches.ts";
import type { Matrix } from "../src/coupling/matrices.ts";
import type { MatrixStatistics, Statistic } from "../src/criteria/criterion.ts";
import { random } from "../src/criteria/weights/random.ts";
import { sample } from "../src/data/subset.ts";
import type { Graph } from "../src/graph/graph.ts";
import { type Analysis, analyse } from "../src/models/analysis.ts";
import { flap } from "../src/papers/flap.ts";
import { gblmPruner } from "../src/papers/gblm-pruner.ts";
import { llmPruner } from "../src/papers/llm-pruner.ts";
import { mawWidth } from "../src/papers/maw-width.ts";
import { shortgpt } from "../src/papers/shortgpt.ts";
import { sparsegpt } from "../src/papers/sparsegpt.ts";
import { wanda } from "../src/papers/wanda.ts";
import { phaseClock } from "../src/pipeline/measuring/phase-clock.ts";
import { prune } from "../src/pipeline/prune.ts";
import { looksAtInputs, type Measured, readerOf, statisticsFor } from "../src/pipeline/statistics.ts";
import { needsOf, zeroWeights } from "../src/pipeline/zero-weights.ts";
import { layered } from "../src/plans/layered.ts";
import { layers, structured } from "../src/plans/methods.ts";
import type { Plan, UnitPlan, WeightPlan } from "../src/plans/plan.ts";
import { biasCompensation } from "../src/recovery/bias.ts";
import { leastSquares } from "../src/recovery/lsq.ts";
import { lowRankUpdates } from "../src/recovery/perp.ts";
import type { Recovery } from "../src/recovery/recovery.ts";
import { openProducts } from "../src/runtime/open-products.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { spansOf } from "../src/search/choose-branches.ts";
import { looksAtData } from "../src/testbeds/bench/baselines.ts";
import { classify } from "../src/testbeds/bench/classify.ts";
import { type LanguagePlace, openLanguage } from "../src/testbeds/language.node.ts";
import { openTestbed } from "../src/testbeds/open.node.ts";
import { type Cell, drawnOnce, keyOf, languagePage, type Part, type Run } from "./language-page.ts";

/**
 * What pruning costs a language model: excess loss in nats and perplexity of single weights (shares and N:M), of heads and neurons with
 * several recoveries, and of whole blocks. Finished cells are kept in the JSON beside the page and are not measured again, so that
 * it goes on where it was stopped, or with more draws.
 *
 * Usage: ESPALIER_DATA=.. npx tsx bench/language.ts --testbed stories260k --minutes 10
 *        ESPALIER_DATA=.. npx tsx bench/language.ts --folder DIR --name tinylm --domain wikitext
 *        npx tsx bench/language.ts --print
 */
const { values: options } = parseArgs({
  options: {
    testbed: { type: "string" },
    folder: { type: "string" },
    name: { type: "string" },
    domain: { type: "string", default: "wikitext" },
    parts: { type: "string", default: "weights,units,depth" },
    draws: { type: "string", default: "3" },
    // Recoveries that train take long, so that units have draws of their own, and can be left to another run.
    "unit-draws": { type: "string", default: "1" },
    recoveries: { type: "string", default: "none,bias,lsq,LoRA" },
    calibration: { type: "string", default: "64" },
    samples: { type: "string", default: "40" },
    window: { type: "string", default: "256" },
    updates: { type: "string", default: "60" },
    batch: { type: "string", default: "8" },
    minutes: { type: "string" },
    threads: { type: "string", default: "1" },
    out: { type: "string", default: "docs/results/language.json" },
    print: { type: "boolean", default: false },
  },
});

const calibration = Number(options.calibration);
const samples = Number(options.samples);
const window = Number(options.window);
const updates = Number(options.updates);
const batch = Number(options.batch);
const out = resolve(options.out);
const runs: Run[] = existsSync(out) ? JSON.parse(readFileSync(out, "utf8")) : [];

const stop = options.minutes === undefined ? Number.POSITIVE_INFINITY : Number(options.minutes) * 60_000;

if (!options.print) await measure();
save();

function save(): void {
  mkdirSync(dirname(out), { recursive: true });
  for (const [path, text] of [
    [out, `${JSON.stringify(runs, null, 1)}\n`],
    [out.replace(/\.json$/, ".md"), languagePage(runs)],
  ] as const) {
    writeFileSync(`${path}.part`, text);
    renameSync(`${path}.part`, path);
  }
}

/** A cell that is still to be measured: how the graph comes about, and what of its budget really went. */
interface Job extends Pick<Cell, "part" | "method" | "column" | "recovery" | "draw"> {
  readonly make: () => Promise<{ readonly graph: Graph; readonly really: number }>;
}

async function measure(): Promise<void> {
  const start = performance.now();
  const runtime = await openRuntime({ threads: Number(options.threads), worker: false });
  const testbed = await opened();
  if ("absent" in testbed) throw new Error(testbed.absent);
  const { model, pool, test } = testbed;
  const analysis = await analyse(model.onnx.graph, runtime);
  const products = openProducts(runtime);
  const told = { calibration, window, updates, batch, samples: test.count };
  let run = runs.find(({ id }) => id === testbed.id);
  if (run === undefined) {
    const { nll, accuracy, samples: tokens } = await classify(runtime, analysis.graph, test, 8);
    run = { id: testbed.id, description: testbed.description, told, dense: { nll, accuracy, tokens }, cells: [] };
    runs.push(run);
    save();
  } else if (JSON.stringify(run.told) !== JSON.stringify(told)) {
    throw new Error(`${out} holds ${testbed.id} at ${JSON.stringify(run.told)}, asked for ${JSON.stringify(told)}.`);
  }
  const { cells, dense } = run;
  const done = new Set(cells.map(keyOf));
  const jobs = jobsOf(analysis).filter((job) => !done.has(keyOf(job)));
  const spent = new Map<Part, { seconds: number; count: number }>();
  for (const [i, job] of jobs.entries()) {
    const begun = performance.now();
    if (begun - start > stop) {
      console.error(`${jobs.length - i} cells are left; the same command goes on.`);
      break;
    }
    const { graph, really } = await job.make();
    const { nll, accuracy } = await classify(runtime, graph, test, 8);
    const seconds = (performance.now() - begun) / 1000;
    const { part, method, column, recovery, draw } = job;
    cells.push({ part, method, column, recovery, draw, really, nll, accuracy, seconds });
    save();
    const own = spent.get(part) ?? { seconds: 0, count: 0 };
    spent.set(part, { seconds: own.seconds + seconds, count: own.count + 1 });
    const left = jobs.slice(i + 1).reduce((sum, next) => {
      const known = spent.get(next.part) ?? { seconds, count: 1 };
      return sum + known.seconds / known.count;
    }, 0);
    const label = `${part} ${method} ${column}${recovery === "none" ? "" : ` + ${recovery}`}, draw ${draw}`;
    const above = nll - dense.nll;
    console.error(
      `${i + 1} of ${jobs.length}: ${label}: ${above < 0 ? "" : "+"}${above.toFixed(3)} nats in ${seconds.toFixed(1)} s, about ${(left / 60).toFixed(0)} min left`,
    );
  }
  await products.release();
  await runtime.close();

  /** All cells in their order: draw by draw, so that what is there when it stops has all methods. */
  function jobsOf(a: Analysis): readonly Job[] {
    const parts = new Set(options.parts.split(","));
    const all: Job[] = [];
    for (let draw = 0; draw < Number(options.draws); draw++) {
      if (parts.has("weights")) all.push(...weightJobs(a, draw));
      if (parts.has("depth")) all.push(...depthJobs(a, draw));
      if (parts.has("units") && draw < Number(options["unit-draws"])) all.push(...unitJobs(draw));
    }
    // What is not drawn is measured once.
    return all.filter(({ draw, method }) => draw === 0 || !drawnOnce.has(method));
  }

  function drawOf(draw: number) {
    return sample(pool, Math.min(calibration, Math.floor(pool.count / 2)), draw);
  }

  function weightJobs(a: Analysis, draw: number): readonly Job[] {
    const chosen = prunable(a.graph, a.matrices, "no-head", () => false);
    const size = chosen.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    const columns: readonly (readonly [string, number, "element" | "2:4" | "4:8"])[] = [
      ...[0.3, 0.5, 0.6, 0.7].map((share) => [`${Math.round(100 * share)} %`, share, "element"] as const),
      ["2:4", 0.5, "2:4"],
      ["4:8", 0.5, "4:8"],
    ];
    // What is measured at the inputs and by backward passes is the same for all methods and shares.
    const measured = new Map<string, Promise<Measured>>();
    const part = (needs: readonly Statistic[]): Promise<Measured> => {
      const key = needs.join();
      const found =
        measured.get(key) ??
        statisticsFor(a, chosen, { id: key, needs }, drawOf(draw), { runtime, batchSize: 8, seed: draw });
      measured.set(key, found);
      return found;
    };
    const read = async (needs: readonly Statistic[]) => {
      const gradients = needs.filter((need) => need.startsWith("gradient"));
      const inputs = needs.length > gradients.length ? await part(["inputMeanSquare", "gram"]) : undefined;
      const slopes = gradients.length > 0 ? await part(gradients) : undefined;
      const of = (matrix: Matrix): Partial<MatrixStatistics> => ({
        ...inputs?.matrices.get(matrix),
        ...slopes?.matrices.get(matrix),
      });
      return readerOf({ matrices: new Map(chosen.map((matrix) => [matrix, of(matrix)])), vectors: new Map() });
    };
    return columns.flatMap(([column, sparsity, pattern]) => {
      const settings = { sparsity, pattern, among: "no-head" };
      const bare = { ...layered(sparsity, "uniform", "no-head"), pattern: patternNamed(pattern) };
      const methods: Readonly<Record<string, Plan>> = {
        random: { ...bare, criterion: random(draw) },
        magnitude: bare,
        Wanda: wanda.plan(settings),
        GBLM: gblmPruner.plan(settings),
        SparseGPT: sparsegpt.plan(settings),
      };
      return Object.entries(methods).map(([method, plan]): Job => {
        if (plan.kind !== "weights") throw new Error(`${method} prunes no weights`);
        return { part: "weights", method, column, recovery: "none", draw, make: () => zeroed(a.graph, plan) };
      });
    });

    async function zeroed(graph: Graph, plan: WeightPlan) {
      const needs = needsOf(plan);
      const reader = await read(looksAtInputs({ needs }) ? needs : []);
      const sparse = await zeroWeights(graph, chosen, plan, reader, { clock: phaseClock(), products });
      const gone = sparse.layers.reduce((sum, { before, after }) => sum + before - after, 0);
      return { graph: sparse.graph, really: gone / size };
    }
  }

  function unitJobs(draw: number): readonly Job[] {
    const settings = { length: { updates }, batchSize: batch, rate: 1e-3 };
    const repairs: Readonly<Record<string, readonly Recovery[]>> = {
      none: [],
      bias: [biasCompensation()],
      lsq: [leastSquares()],
      LoRA: [lowRankUpdates({ settings })],
    };
    const asked = new Set(options.recoveries.split(","));
    return [0.2, 0.4].flatMap((sparsity) => {
      const methods: Readonly<Record<string, Plan>> = {
        random: { ...structured({ keepParams: 1 - sparsity, criterion: random(draw) }), units: "inner" },
        magnitude: { ...structured({ keepParams: 1 - sparsity }), units: "inner" },
        MAW: mawWidth.plan({ sparsity, of: "params" }),
        FLAP: flap.plan({ sparsity, bias: "none" }),
        "LLM-Pruner": llmPruner.plan({ sparsity }),
      };
      return Object.entries(methods).flatMap(([method, plan]) => {
        if (plan.kind !== "units") throw new Error(`${method} removes no units`);
        // Units are chosen once for all recoveries.
        let chosen: Promise<UnitPlan["given"]> | undefined;
        const choice = () => {
          chosen ??= pruned(plan, draw).then(({ masks }) => masks);
          return chosen;
        };
        const own =
          method === "random" || method === "magnitude"
            ? ["none"]
            : Object.keys(repairs).filter((name) => asked.has(name));
        return own.map(
          (recovery): Job => ({
            ...{ part: "units", method, column: `${Math.round(100 * sparsity)} %`, recovery, draw },
            make: async () => {
              const given = await choice();
              return pruned(
                { ...plan, ...(given === undefined ? {} : { given }), recovery: repairs[recovery] ?? [] },
                draw,
              );
            },
          }),
        );
      });
    });
  }

  function depthJobs(a: Analysis, draw: number): readonly Job[] {
    const blocks = spansOf(branchesOf(a.graph, a.coupling, a.facts), 2).length;
    return [1, 2, 3].flatMap((count) => {
      const sparsity = count / blocks;
      const methods: Readonly<Record<string, Plan>> = {
        random: { ...layers({ criterion: "random", sparsity }), span: 2 },
        last: { ...layers({ criterion: "last", sparsity }), span: 2 },
        ShortGPT: shortgpt.plan({ sparsity }),
      };
      return Object.entries(methods).map(([method, plan]): Job => {
        const column = count === 1 ? "1 block" : `${count} blocks`;
        return { part: "depth", method, column, recovery: "none", draw, make: () => pruned(plan, draw) };
      });
    });
  }

  async function pruned(plan: Plan, draw: number) {
    const data = looksAtData(plan) ? drawOf(draw) : null;
    const result = await prune(model, plan, {
      runtime,
      calibration: data,
      // Recoveries that train see all of the pool, which is not measured on.
      training: plan.recovery.some(({ id }) => id === "lora") ? pool : data,
      seed: draw,
      batchSize: 8,
      measure: false,
      compare: false,
    });
    const { before, after } = result.report;
    return { graph: result.model.onnx.graph, really: 1 - after.params / before.params, masks: result.masks };
  }
}

async function opened() {
  if (options.folder === undefined) return openTestbed(options.testbed ?? "stories260k", { samples });
  const domains = ["wikitext", "linux", "drama", "stories"] as const;
  const domain = domains.find((name) => name === options.domain);
  if (domain === undefined) throw new Error(`--domain: expected one of ${domains.join(", ")}, got ${options.domain}.`);
  const place: LanguagePlace = {
    checkpoint: resolve(options.folder),
    data: resolve(process.env["ESPALIER_DATA"] ?? join(import.meta.dirname, "../../shared/data")),
    domain,
    pool: ["pool"],
    window,
    hint: "Give --folder a checkpoint, and ESPALIER_DATA a folder with text.",
  };
  return openLanguage(`${options.name ?? basename(place.checkpoint)}-${domain}`, place, samples);
}
