import { describe, expect, test } from "vitest";
import type { Measured, Report } from "../pipeline/measuring/report.ts";
import type { TrainReport } from "../recipes/train-recipe.ts";
import type { CompareReport, CompareRow } from "../studies/compare.ts";
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
  });

  test("the same report gives the same page", () => {
    expect(reportHtml(report("net"))).toBe(reportHtml(report("net")));
  });
});
