import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Law, Paper } from "../claims/paper.ts";
import type { OptionValue } from "../claims/plan-options.ts";
import { withLabels } from "../data/from-tensors.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { type Pruned, prune } from "../pipeline/prune.ts";
import { looksAtInputs } from "../pipeline/statistics.ts";
import type { Plan } from "../plans/plan.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import { load } from "../tensor/tensor.ts";
import { madeUpText } from "../testbeds/made-up-text.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { chainInputs, tinyChain, tinyInputs, tinyNet } from "../testbeds/tiny-net.ts";
import { papers, pruningPapers } from "./registry.ts";

let runtime: Runtime;
let analysis: Analysis;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
  analysis = await analyse(tinyNet().onnx.graph, runtime);
});
afterAll(() => runtime.close());

type Settings = Readonly<Record<string, OptionValue>>;

/** The defaults, and every word of every option once. */
function variants({ options }: Pick<Paper, "options">): readonly Settings[] {
  const others = Object.entries(options).flatMap(([name, { words, initial }]) =>
    words.filter((word) => word !== initial).map((word): Settings => ({ [name]: word })),
  );
  return [{}, ...others];
}

/** Every combination of words. */
function combinations({ options }: Pick<Paper, "options">): readonly Settings[] {
  return Object.entries(options).reduce<readonly Settings[]>(
    (found, [name, { words }]) =>
      words.length === 0 ? found : found.flatMap((one) => words.map((word): Settings => ({ ...one, [name]: word }))),
    [{}],
  );
}

/** What a plan is tried on: whole branches need a network that has several. */
function modelFor(plan: Plan): Model {
  if (isOfTokens(plan)) return language;
  return plan.kind === "branches" ? tinyChain() : tinyNet();
}

/** Some recoveries know language models alone. */
const isOfTokens = ({ recovery }: Plan): boolean => recovery.some(({ tokens }) => tokens === true);
const words = { vocabulary: 24, width: 8, layers: 2, heads: 2, kvHeads: 1, inner: 12, tied: true };
const language = modelFrom("language", modelOf(checkpointModel(llamaCheckpoint(words, "f32")).graph().graph));

const answers = Array.from({ length: 48 }, (_, i) => i % 4);

function run(plan: Plan): Promise<Pruned> {
  const inputs = (seed?: number) => {
    if (isOfTokens(plan)) return madeUpText(12, 96, words.vocabulary, seed ?? 0);
    const plain = plan.kind === "branches" ? chainInputs(48, seed) : tinyInputs(48, seed);
    // Fine-tuning alone needs labels; plans with gradients go by the model's own answers without them.
    return plan.recovery.some(({ id }) => id === "finetune") ? withLabels(plain, answers, "drawn") : plain;
  };
  const options = { runtime, calibration: inputs(), general: inputs(7), seed: 3, measure: false };
  return prune(modelFor(plan), plan, options);
}

/** A plan without what repairs the rest, so that only the choice is left. */
function bare(plan: Plan): Plan {
  return { ...plan, recovery: [] };
}

async function weightsOf(pruned: Pruned): Promise<ReadonlyMap<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const [name, ref] of pruned.model.onnx.graph.constants) {
    if (ref.dtype === "f32") found.set(name, toFloat32(await load(ref)));
  }
  return found;
}

/** Sets inside which weights or units compete: each may miss its share by half a unit. */
function competitions(plan: Plan): number {
  if (plan.kind === "units") return plan.allocation.scope === "global" ? 1 : analysis.coupling.groups.length;
  // Two branches of a block go together.
  if (plan.kind === "branches") return plan.span ?? 1;
  if (plan.kind === "ranks" || plan.scope === "global") return 1;
  const rows = analysis.matrices.reduce((sum, matrix) => sum + matrix.rows, 0);
  return plan.scope === "row" ? rows : analysis.matrices.length;
}

const laws: Readonly<Record<Law, (plan: (sparsity: number) => Plan) => Promise<void>>> = {
  zeroIsIdentity: async (plan) => {
    const none = bare(plan(0));
    expect(await (await run(none)).model.encode()).toEqual(await modelFor(none).encode());
  },
  meetsFraction: async (plan) => {
    for (const sparsity of [0.25, 0.6]) {
      const made = plan(sparsity);
      const { report } = await run(bare(made));
      const counted = made.kind === "units" || made.kind === "ranks" ? made.target : null;
      if (counted !== null && counted.kind !== "sparsity" && counted.kind !== "latency") {
        const [before, after] = [report.before[counted.kind], report.after[counted.kind]];
        const full = analysis.cost.total()[counted.kind];
        // The dearest unit is a channel of the residual sum: an eighth of nearly everything.
        expect(after / before).toBeLessThanOrEqual(1 - sparsity);
        expect(after / before).toBeGreaterThan(1 - sparsity - 0.25);
        expect(before).toBe(full);
        continue;
      }
      const total = report.layers.reduce((sum, { before }) => sum + before, 0);
      const gone = total - report.layers.reduce((sum, { after }) => sum + after, 0);
      expect(Math.abs(gone - sparsity * total)).toBeLessThanOrEqual(0.5 * competitions(made) + 0.5);
    }
  },
  nests: async (plan) => {
    const [less, more] = [await run(bare(plan(0.3))), await run(bare(plan(0.6)))];
    if (plan(0.3).kind === "units") {
      for (const [group, mask] of less.masks) {
        const other = more.masks.get(group);
        for (const [unit, keep] of mask.entries()) if (keep === 0) expect(other?.[unit]).toBe(0);
      }
      expect(more.masks.size).toBeGreaterThan(0);
      return;
    }
    if (plan(0.3).kind === "branches") {
      const gone = ({ report }: Pruned): readonly string[] =>
        report.layers.filter(({ after }) => after === 0).map(({ name }) => name);
      expect(gone(less).length).toBeGreaterThan(0);
      expect(gone(more).length).toBeGreaterThan(gone(less).length);
      expect(gone(more)).toEqual(expect.arrayContaining([...gone(less)]));
      return;
    }
    const [loose, tight] = [await weightsOf(less), await weightsOf(more)];
    let zeros = 0;
    for (const [name, values] of loose) {
      for (const [i, value] of values.entries()) {
        if (value !== 0) continue;
        zeros++;
        expect(tight.get(name)?.[i]).toBe(0);
      }
    }
    expect(zeros).toBeGreaterThan(100);
  },
};

/** What a plan shows of its record, so that records cannot say otherwise. */
function seenIn(plan: Plan) {
  if (plan.kind === "branches") {
    const data = plan.means || plan.criterion.id !== "random" ? "unlabelled" : "none";
    const update = plan.means || plan.recovery.length > 0;
    return { speedup: "structured", data, scope: "global", update } as const;
  }
  if (plan.kind === "ranks") {
    const data = plan.recovery.some((recovery) => recovery.needsData) ? "unlabelled" : "none";
    return { speedup: "structured", data, scope: "global", update: plan.recovery.length > 0 } as const;
  }
  const measures = plan.kind === "weights" && (plan.sweep !== undefined || plan.allocator?.needsData === true);
  const needsData = measures || looksAtInputs(plan.criterion) || plan.recovery.some((recovery) => recovery.needsData);
  const scope =
    plan.kind === "units"
      ? plan.coarse !== undefined
        ? "allocated"
        : plan.allocation.scope === "global"
          ? "global"
          : "local"
      : plan.allocator !== undefined || plan.profile !== "uniform"
        ? "allocated"
        : plan.scope === "global"
          ? "global"
          : "local";
  return {
    speedup: plan.kind === "units" ? "structured" : plan.pattern.kind === "n:m" ? "semi-structured" : "unstructured",
    data: needsData ? "unlabelled" : "none",
    scope,
    update: plan.recovery.length > 0 || (plan.kind === "weights" && plan.sweep !== undefined),
  } as const;
}

function checkRecord(paper: Pick<Paper, "record" | "options" | "plan">): void {
  const { record } = paper;
  const seen = combinations(paper).map((settings) => seenIn(paper.plan(settings)));
  const sorted = (words: readonly string[]): readonly string[] => [...new Set(words)].sort();
  expect(sorted(record.speedup)).toEqual(sorted(seen.map(({ speedup }) => speedup)));
  // A plan with gradients takes labels where there are some; without any it follows the model's own answers.
  const asked = record.gradients && record.data.includes("labelled") ? "labelled" : "unlabelled";
  expect(sorted(record.data)).toEqual(sorted(seen.map(({ data }) => (data === "unlabelled" ? asked : data))));
  expect(sorted(record.scope)).toEqual(sorted(seen.map(({ scope }) => scope)));
  expect(record.weightUpdate).toBe(seen.some(({ update }) => update));
  expect(record.recovery.includes("none")).toBe(seen.some(({ update }) => !update));
  if (!record.gradients && !record.data.includes("labelled")) expect(record.supervision).not.toContain("supervised");
  for (const words of Object.values(record)) if (Array.isArray(words)) expect(new Set(words).size).toBe(words.length);
}

it("every file of a paper is in the table, under its own name", () => {
  const not = new Set(["registry", "reproduce", "catalogue", "findings-text"]);
  const files = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => name.slice(0, -3))
    .filter((name) => !not.has(name));
  expect(papers.map(({ id }) => id)).toEqual(files.sort());
});

/** What a composition has no need of: loops, tensors, and looking at a plan to decide. */
const arithmetic = /\b(for|while|do) ?[({]|\.(map|reduce|forEach|filter)\(|Float(32|64)Array|Math\./;

it("no paper holds a loop or tensor arithmetic", () => {
  for (const { id } of papers)
    expect(readFileSync(join(import.meta.dirname, `${id}.ts`), "utf8")).not.toMatch(arithmetic);
  expect("for (const w of weights) sum += w;").toMatch(arithmetic);
  expect("weights.map((w) => w * 2)").toMatch(arithmetic);
});

describe.each(pruningPapers.map((paper) => [paper.id, paper] as const))("%s", (_, paper) => {
  it("says what it is", () => {
    expect(paper.summary).toMatch(/\.$/);
    expect(paper.cite.year).toBeGreaterThan(1985);
    expect(paper.cite.arxiv === null || /^\d{4}\.\d{4,5}$/.test(paper.cite.arxiv)).toBe(true);
    for (const text of [paper.golden, ...paper.reproductions.map(({ claim }) => claim), ...paper.departures])
      expect(text).toMatch(/\.$/);
    checkRecord(paper);
  });

  it("refuses settings that it does not have", () => {
    expect(() => paper.plan({ sparsety: 0.5 })).toThrow('Did you mean "sparsity"?');
    expect(() => paper.plan({ sparsity: 1.5 })).toThrow("from 0 to 1");
  });

  it.each(variants(paper).map((settings) => [JSON.stringify(settings), settings] as const))(
    "same seed, same bytes: %s",
    async (_name, settings) => {
      const plan = paper.plan({ ...settings, sparsity: 0.4 });
      const first = await (await run(plan)).model.encode();
      expect(await (await run(plan)).model.encode()).toEqual(first);
      expect(first).not.toEqual(await modelFor(plan).encode());
    },
  );

  for (const law of ["zeroIsIdentity", "meetsFraction", "nests"] as const) {
    const reason = paper.exempt?.[law];
    it.skipIf(reason !== undefined)(`${law}${reason === undefined ? "" : `: ${reason}`}`, async () => {
      expect.hasAssertions();
      await laws[law]((sparsity) => paper.plan({ sparsity }));
    });
  }
});

describe("the suite catches", () => {
  const planOf = (id: string) => (sparsity: number) =>
    pruningPapers.find((paper) => paper.id === id)?.plan({ sparsity }) ?? fail();
  const fail = (): never => {
    throw new Error("no such paper");
  };

  it("a plan that removes something at sparsity 0", async () => {
    await expect(laws.zeroIsIdentity((sparsity) => planOf("global-mp")(sparsity + 0.1))).rejects.toThrow();
  });
  it("a plan that removes too little", async () => {
    await expect(laws.meetsFraction((sparsity) => planOf("global-mp")(sparsity * 0.9))).rejects.toThrow();
    await expect(laws.meetsFraction((sparsity) => planOf("depgraph")(sparsity * 0.5))).rejects.toThrow();
  });
  it("kept sets that do not nest", async () => {
    await expect(laws.nests((sparsity) => planOf(sparsity < 0.5 ? "global-mp" : "wanda")(sparsity))).rejects.toThrow();
  });
  it("a record that hides its need for data, or claims speed", () => {
    const wanda = pruningPapers.find((paper) => paper.id === "wanda") ?? fail();
    expect(() => checkRecord({ ...wanda, record: { ...wanda.record, data: ["none"] } })).toThrow();
    expect(() => checkRecord({ ...wanda, record: { ...wanda.record, speedup: ["structured"] } })).toThrow();
    expect(() => checkRecord({ ...wanda, record: { ...wanda.record, weightUpdate: true } })).toThrow();
  });
});
