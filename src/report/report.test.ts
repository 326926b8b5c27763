import { describe, expect, test } from "vitest";
import type { Load } from "../models/loaders/will-load.ts";
import type { Measured, Report } from "../pipeline/measuring/report.ts";
import type { TrainReport } from "../recipes/train-recipe.ts";
import type { CheckpointReport } from "../stream/report.ts";
import type { CompareReport, CompareRow } from "../studies/compare.ts";
import { checkpointHtml } from "./checkpoint-html.ts";
import { compareHtml } from "./compare-html.ts";
import { html, raw } from "./page.ts";
import { reportHtml } from "./report-html.ts";
import { sensitivityHtml } from "./sensitivity-html.ts";
import { trainHtml } from "./train-html.ts";

const hostile = `</text><script>alert(1)</script><img src=x onerror="alert(2)">'"&`;

const measured = (share: number): Measured => ({
  params: 1000 * share,
  nonzero: 900 * share,
  macs: 5e6 * share,
  bytes: 4000 * share,
  gzipBytes: 3000 * share,
  latencyMs: { median: 2 * share, p10: 1.9 * share, p90: 2.5 * share },
});

const fidelity = { topAgreement: 0.914, kl: 0.02, cosine: 0.99, relativeError: 0.1, samples: 64 };

const loads = (name: string): readonly Load[] => [
  { loader: "transformers", version: "1", reads: "checkpoint", verdict: "loads", findings: [] },
  {
    loader: "vllm",
    version: "2",
    reads: "checkpoint",
    verdict: "refused",
    findings: [
      {
        severity: "refused",
        expected: name,
        got: "a width of 15",
        because: name,
        nearest: { hidden_size: [12, 16] },
        original: true,
      },
    ],
  },
];

function checkpoint(name: string): CheckpointReport {
  const layer = (stage: string, part: string, after: number) => ({
    name: `${stage}.${part}`,
    stage,
    before: 1000,
    after,
  });
  return {
    model: name,
    type: name,
    plan: { criterion: name, pattern: { kind: name }, sparsity: 0.5, table: undefined },
    inputs: "pruned",
    calibration: name,
    seed: 7,
    device: { name, threads: 2, batch: 4 },
    before: { params: 9000, bytes: 18_000 },
    params: 8000,
    parts: [{ name, what: name, before: 4, after: 3, gone: [2], scores: [1, 0.25, 0.125, 2] }],
    law: null,
    advice: [name],
    pruned: { before: 6000, after: 3300 },
    nonzero: 5300,
    bytes: 16_000,
    metric: { name: "perplexity", before: 7.31, after: 9.12, n: 640 },
    loads: loads(name),
    layers: [
      ...[layer("h.0", "experts.0.up", 500), layer("h.0", "experts.1.up", 100), layer("h.0", "down", 750)],
      ...[layer("h.1", "experts.0.up", 500), layer("h.1", "experts.1.up", 900), layer("h.1", name, 550)],
    ],
    skipped: [{ name, reason: name }],
    resumed: 1,
    seconds: { prune: 1.5, [name]: 12.25 },
    memory: { limit: 3e9, counted: 2.5e9 },
    peakBytes: 2.75e9,
  };
}

function report(name: string): Report {
  return {
    model: name,
    method: name,
    command: name,
    seed: 7,
    versions: { [name]: name },
    device: { name, threads: 2, batch: 1 },
    before: measured(1),
    after: measured(0.437),
    layers: [{ name, kind: "units", before: 32, after: 13 }],
    fidelity,
    metric: { name, before: 0.9, after: 0.85, n: 100 },
    law: { maxAbsDiff: 1e-6, relative: 1e-7, tolerance: 1e-4, passed: true, batches: 2 },
    agreement: null,
    nearTies: 0,
    blocked: [{ name, reasons: [name] }],
    loads: loads(name),
    training: [
      {
        name,
        data: name,
        updates: 2,
        epochs: 0.5,
        samples: 256,
        seconds: 1,
        trained: 90,
        trainable: 100,
        forwardMacs: 1e6,
        backwardMacs: 2e6,
        points: [
          { update: 1, rate: 0.1, values: { loss: 2, [name]: 1.5 } },
          { update: 2, rate: 0.05, values: { loss: 1, [name]: 0.5 } },
        ],
      },
    ],
    baselines: [],
    seconds: { [name]: 1.5 },
    peakMemoryBytes: null,
    advice: [name],
  };
}

function training(name: string): TrainReport {
  const { command, seed, versions, metric } = report(name);
  const [first = expect.fail()] = report(name).training;
  const device = { name, threads: 2 };
  return { model: name, command, objective: name, seed, versions, device, training: first, metric };
}

function comparison(name: string): CompareReport {
  const row = (keepMacs: number): CompareRow => ({
    method: name,
    amount: { keepMacs },
    before: measured(1),
    after: measured(keepMacs),
    fidelity,
    metric: null,
    failed: null,
  });
  const failed = { ...row(0.1), before: null, after: null, fidelity: null, failed: name };
  return {
    model: name,
    seed: 0,
    device: { name, threads: 1, batch: 1 },
    data: name,
    rows: [row(0.75), row(0.5), failed],
  };
}

const pages = {
  report: (name: string) => reportHtml(report(name)),
  checkpoint: (name: string) => checkpointHtml(checkpoint(name)),
  compare: (name: string) => compareHtml(comparison(name)),
  train: (name: string) => trainHtml(training(name)),
  sensitivity: (name: string) =>
    sensitivityHtml({
      model: name,
      criterion: name,
      data: name,
      sparsities: [0.5],
      points: [{ group: name, units: 4, sparsity: 0.5, kept: 2, macs: 0.5, params: 0.5, fidelity }],
    }),
};

/** Markup that a name brought in, if any. */
const broughtIn = (page: string): readonly string[] =>
  ["<script", "<img", 'onerror="', "</text><"].filter((piece) => page.includes(piece));

describe("pages", () => {
  test.each(Object.entries(pages))("%s: a hostile name stays text everywhere", (_, page) => {
    expect(broughtIn(page(hostile)).filter((piece) => piece !== "</text><")).toEqual([]);
    expect(page(hostile)).toContain("&lt;script&gt;");
  });

  test("a page that does not escape is caught", () => {
    expect(broughtIn(html`<p>${raw(hostile)}</p>`.html)).not.toEqual([]);
  });

  test.each(Object.entries(pages))("%s: the page asks nothing of the network and has its plots", (_, page) => {
    const text = page("model.onnx");
    expect(text).not.toMatch(/(src|href)="?(https?:)?\/\//);
    expect(text).not.toContain("@import");
    expect(text).toContain("<svg");
    expect(text).not.toContain("NaN");
    expect(text).not.toContain("#0102");
    expect(text.match(/<section>/g)?.length).toBe(text.match(/<\/section>/g)?.length);
  });

  test("figures of the report are on the page", () => {
    const text = reportHtml(report("net"));
    for (const figure of ["43.7 %", "91.4 %", "90.0 %", "85.0 %", "13 of 32", "1.00e-7"])
      expect(text).toContain(figure);
  });

  test("what of a checkpoint went where, what it cost and what it took is on its page", () => {
    const text = checkpointHtml(checkpoint("net"));
    const said = ["45.0 %", "66.3 %", "7.31", "9.12", "12.3 s", "13.8 s in all phases", "2.75 GB", "3.00 GB"];
    for (const figure of said) expect(text).toContain(figure);
    // By stage 1350 and 1950 of 3000 weights; experts of all stages are one kind, 2000 of 4000.
    const [, stages = ""] = text.split("By stage");
    for (const row of ["h.0", "h.1", "45.0 %", "65.0 %"]) expect(stages).toContain(`>${row}<`);
    const [, kinds = ""] = text.split("By kind of matrix");
    for (const row of ["experts.*.up", "50.0 %", "75.0 %", "55.0 %"]) expect(kinds).toContain(`>${row}<`);
    const plan = {
      steps: [
        { criterion: "wanda", ignore: [] },
        { criterion: "l1", ignore: ["a.*", "b"] },
      ],
    };
    const stepped = checkpointHtml({ ...checkpoint("net"), plan });
    for (const row of ["1. criterion</td><td>wanda", "2. criterion</td><td>l1", "2. ignore</td><td>a.*, b"])
      expect(stepped).toContain(row);
    // Planted fault: a matrix more, whose share is another.
    const { layers } = checkpoint("net");
    const [first = expect.fail()] = layers;
    const more = checkpointHtml({ ...checkpoint("net"), layers: [...layers, { ...first, after: 0 }] });
    expect(more.split("By stage")[1]).not.toContain(">45.0 %<");
  });

  test("what loads a checkpoint, and why another program does not, is on both its pages", () => {
    for (const text of [checkpointHtml(checkpoint("net")), reportHtml(report("net"))]) {
      expect(text).toContain("The nearest that it takes: hidden_size = 12 or 16. The original has the same.");
      expect(text).toContain("<td>transformers 1</td><td>loads</td>");
    }
    expect(reportHtml({ ...report("net"), loads: [] })).not.toContain("What loads it");
  });

  test("ids of drawings are told apart on every page", () => {
    for (const page of Object.values(pages)) {
      const ids = [...page("net").matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test("what was trained, and how it went, is on the page of a training and of a pruning", () => {
    for (const text of [trainHtml(training("net")), reportHtml(report("net"))]) {
      for (const figure of ["90, 90.0 %", "1.00 M, 2.00 M", "256", "updates"]) expect(text).toContain(figure);
    }
    expect(reportHtml({ ...report("net"), training: [] })).not.toContain("Training:");
  });

  test("an empty report still is a page", () => {
    const bare: Report = {
      ...report("net"),
      before: { ...measured(1), latencyMs: null, gzipBytes: null, macs: 0 },
      after: { ...measured(1), latencyMs: null, gzipBytes: null, macs: 0 },
      layers: [],
      fidelity: null,
      metric: null,
      law: null,
      blocked: [],
      advice: [],
    };
    expect(reportHtml(bare)).not.toMatch(/NaN|Infinity/);
    const none = { metric: null, layers: [], skipped: [], loads: [], seconds: {}, memory: null, peakBytes: null };
    const nothing = { params: 0, nonzero: 0, pruned: { before: 0, after: 0 }, calibration: null, inputs: null };
    expect(checkpointHtml({ ...checkpoint("net"), ...none, ...nothing })).not.toMatch(/NaN|Infinity/);
  });

  test("the same report gives the same page", () => {
    for (const page of Object.values(pages)) expect(page("net")).toBe(page("net"));
  });
});
