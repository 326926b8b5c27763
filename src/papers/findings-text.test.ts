import { expect, it } from "vitest";
import { type Findings, verdictOf } from "../claims/reproduction.ts";
import { adviceOn, papersWhere } from "./catalogue.ts";
import { findingsSection, resultsPage } from "./findings-text.ts";
import { paperNamed, papers } from "./registry.ts";

const findings: Findings = {
  testbed: "tiny",
  setting: "a setting",
  dense: { accuracy: 91.25, nll: 0.3, samples: 2000 },
  budget: "weights",
  by: "accuracy",
  measurements: [
    {
      arm: "Wanda",
      removed: 0.5,
      really: 0.5,
      macsLeft: 0.25,
      accuracy: [80, 82],
      nll: [0.5, 0.7],
      cost: { forwardMacs: 2.5e9, backwardMacs: 0, samples: 128, bytes: 2 ** 21, seconds: 1 },
    },
  ],
  checks: [
    {
      expectation: { better: "Wanda", than: "magnitude", at: [0.5], by: 1 },
      removed: 0.5,
      difference: -2.5,
      interval: { low: -4, high: -1 },
      wins: 0,
      draws: 2,
      holds: false,
    },
  ],
  controls: [],
  verdict: "not at this scale",
  seconds: 61,
};

it("a section says what was expected, measured and found", () => {
  const text = findingsSection(paperNamed("wanda"), findings, "espalier papers run wanda");
  expect(text).toContain("## wanda: not at this scale");
  expect(text).toContain("| Wanda 1 above magnitude | 50.0 % | -2.50 (-4.0 to -1.0) | 0 of 2 | no |");
  expect(text).toContain("| Wanda | 50.0 % | 50.0 % | 25.0 % | 81.0 % | 80.0, 82.0 | 0.600 | +0.300 | 2.5 | 2 MiB |");
});

it("what was measured besides stands in columns of its own", () => {
  const [measurement = expect.fail()] = findings.measurements;
  const [check = expect.fail()] = findings.checks;
  const text = findingsSection(
    paperNamed("wanda"),
    {
      ...findings,
      by: "loss",
      dense: { ...findings.dense, further: { written: [100], "general loss": [1.5] } },
      measurements: [{ ...measurement, further: { written: [20, 30], "general loss": [2, 3] } }],
      checks: [
        { ...check, expectation: { ...check.expectation, in: "general loss" } },
        { ...check, expectation: { ...check.expectation, in: { better: "chosen", than: "written" } } },
      ],
    },
    "espalier papers run wanda",
  );
  expect(text).toContain("labels; general loss 1.500; 100.0 % written).");
  expect(text).toContain("| nll | above dense | general loss | written | GMACs |");
  expect(text).toContain("| 0.600 | +0.300 | 2.500 | 25.0 % | 2.5 |");
  expect(text).toContain("| Wanda (general loss) 1 better than magnitude (general loss) | 50.0 % | -2.500 ");
  expect(text).toContain("| Wanda (chosen) 1 above magnitude (written) | 50.0 % | -2.50 ");
});

it("a control with the same compute has a table of its own, and only where there is one", () => {
  const [check = expect.fail()] = findings.checks;
  const control = { ...check, difference: 0.75, wins: 2 };
  const text = findingsSection(paperNamed("wanda"), { ...findings, controls: [control] }, "espalier papers run wanda");
  expect(text).toContain("same compute");
  expect(text).toContain("| Wanda | 50.0 % | +0.75 (-4.0 to -1.0) | 2 of 2 |");
  expect(findingsSection(paperNamed("wanda"), findings, "espalier papers run wanda")).not.toContain("same compute");
});

it("a newer section takes the place of the older one, others stay, in order", () => {
  const page = resultsPage(resultsPage("", "## wanda: partly\n\nformer\n"), "## spa: reproduced\n\nfirst\n");
  const newer = resultsPage(page, "## wanda: reproduced\n\nnew\n");
  expect(newer.match(/^## .*$/gm)).toEqual(["## spa: reproduced", "## wanda: reproduced"]);
  expect(newer).toContain("first");
  expect(newer).not.toContain("former");
  expect(resultsPage(newer, "## wanda: reproduced\n\nnew\n")).toBe(newer);
});

it("a verdict is of all, some or none", () => {
  const verdict = (...holds: boolean[]) => verdictOf(holds.map((held) => ({ holds: held })));
  expect([verdict(true, true), verdict(true, false), verdict(false, false), verdict()]).toEqual([
    "reproduced",
    "partly",
    "not at this scale",
    "not at this scale",
  ]);
});

it("papers are found by the words of their records", () => {
  const ids = (...where: string[]) => papersWhere(papers, where).map(({ id }) => id);
  expect(ids()).toEqual(papers.map(({ id }) => id));
  const found = ids("speedup=structured", "data=none");
  expect(found).toEqual(expect.arrayContaining(["depgraph", "spa"]));
  for (const { id, record } of papers)
    expect(found.includes(id)).toBe(record.speedup.includes("structured") && record.data.includes("none"));
  expect(() => ids("speedup=structurd")).toThrow('Did you mean "structured"?');
  expect(() => ids("speed=structured")).toThrow("expected one of removes");
  expect(() => paperNamed("wandaa")).toThrow('Did you mean "wanda"?');
});

it("advice follows from the record", () => {
  expect(adviceOn(paperNamed("wanda")).join(" ")).toMatch(/zero.*unlabelled inputs/);
  expect(adviceOn(paperNamed("depgraph")).join(" ")).not.toMatch(/zero|inputs/);
});
