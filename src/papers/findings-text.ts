import { reproductionOn } from "../claims/paper.ts";
import {
  type Check,
  type Findings,
  type Further,
  type FurtherYardstick,
  furtherYardsticks,
  isLoss,
  type Measurement,
  type Yardstick,
} from "../claims/reproduction.ts";
import { mean } from "../tensor/statistics.ts";
import type { AnyPaper } from "./registry.ts";

/** A run's findings as a section in Markdown: claim, verdict, what was expected, and every measurement. */
export function findingsSection(paper: AnyPaper, findings: Findings, command: string): string {
  const { dense, measurements, checks, controls, verdict, budget, by } = findings;
  const further = furtherOf(dense.further);
  const what = { macs: "MACs", weights: "weights", params: "parameters" }[budget];
  const unit = by === "loss" ? "nats less" : "points";
  const { on, claim } = reproductionOn(paper, findings.testbed);
  return `## ${paper.id}${on === null ? "" : `, ${on}`}: ${verdict}

${paper.cite.title} (${paper.cite.year})

- Claim: ${claim}
- Setting: ${findings.setting}. ${percent(dense.accuracy)} before pruning (nll ${dense.nll.toFixed(3)}, ${dense.samples} labels${further.map((name) => `; ${furtherText(name, dense.further)}`).join("")}).
- Command: \`${command}\`, ${Math.round(findings.seconds)} s

| expected | at | difference in ${unit} (95 % over draws) | draws won | holds |
| --- | --- | --- | --- | --- |
${checks.map((one) => checkRow(one, by)).join("\n")}
${controlTable(controls)}
| arm | ${what} removed | really | MACs left, zeros skipped | accuracy | each draw${by === "loss" ? ", nll" : ""} | nll | above dense${further.map((name) => ` | ${name}`).join("")} | GMACs | bytes moved |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |${" --- |".repeat(further.length)}
${measurements.map((one) => measurementRow(one, findings)).join("\n")}
`;
}

const preface = `# What reproductions found

Written by \`espalier papers run ID --out FILE\`; no number was typed. Shares and sample counts are in the command; what was chosen after seeing a run is in the log. Every table also has
random removal and global magnitude at the same budget; where arms are trained from nothing, a random choice that stays and one
cut by global magnitude halfway, the latter also for as long as an arm took: there GMACs are those of all runs of an arm,
forward and backward, zeros counted like other weights. An expectation holds when the mean difference over draws reaches its
margin and, where the margin is not negative, every draw agrees; a paper is *reproduced* when all hold, *partly* when some do or some were asked for at no share.
Arms without anything drawn are run once. With 2,000 test images one accuracy is good to about two points, a paired difference
to less. GMACs and bytes are what the ledger counted in one run of the method; where a column says so, its report's comparison on the
calibration inputs was counted too.
`;

/** The page of results with a paper's section put in, in the place of its older one; other sections stay. */
export function resultsPage(page: string, section: string): string {
  const idOf = (text: string): string => /^## ([^:\n]*)/.exec(text)?.[1] ?? "";
  const others = page.split(/^(?=## )/m).filter((text) => text.startsWith("## ") && idOf(text) !== idOf(section));
  const sections = [...others, section].map((text) => text.trim()).sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  return [preface, ...sections.map((text) => `${text}\n`)].join("\n");
}

function controlTable(controls: readonly Check[]): string {
  if (controls.length === 0) return "";
  const rows = controls.map(({ expectation, removed, difference, interval, wins, draws }) => {
    const cells = [
      expectation.better,
      percent(100 * removed),
      differenceText(difference, interval, "accuracy"),
      `${wins} of ${draws}`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return `
| beside global magnitude with the same compute | at | difference in points (95 % over draws) | draws won |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function differenceText(difference: number, interval: Check["interval"], by: Yardstick): string {
  const [digits, ends] = isLoss(by) ? [3, 3] : [2, 1];
  const range = interval === null ? "" : ` (${interval.low.toFixed(ends)} to ${interval.high.toFixed(ends)})`;
  return `${difference < 0 ? "" : "+"}${difference.toFixed(digits)}${range}`;
}

/** What was measured besides, in one order. */
function furtherOf(values: Further | undefined): readonly FurtherYardstick[] {
  return furtherYardsticks.filter((name) => values?.[name] !== undefined);
}

function furtherText(name: FurtherYardstick, values: Further | undefined): string {
  const number = furtherNumber(name, values);
  return isLoss(name) ? `${name} ${number}` : `${number} ${name}`;
}

function furtherNumber(name: FurtherYardstick, values: Further | undefined): string {
  const value = mean(values?.[name] ?? []);
  return isLoss(name) ? value.toFixed(3) : percent(value);
}

function checkRow(check: Check, main: Yardstick): string {
  const { expectation, removed, difference, interval, wins, draws, holds } = check;
  const { in: told = main } = expectation;
  const each = typeof told === "string" ? { better: told, than: told } : told;
  const named = (arm: string, yardstick: Yardstick): string => (yardstick === main ? arm : `${arm} (${yardstick})`);
  const [better, than] = [named(expectation.better, each.better), named(expectation.than, each.than)];
  const by = each.better;
  const [up, down] = isLoss(by) ? ["better than", "worse than"] : ["above", "below"];
  const margin =
    expectation.by < 0 ? `not ${-expectation.by} ${down}` : expectation.by === 0 ? up : `${expectation.by} ${up}`;
  const cells = [
    `${better} ${margin} ${than}`,
    percent(100 * removed),
    differenceText(difference, interval, by),
    `${wins} of ${draws}`,
    holds ? "yes" : "no",
  ];
  return `| ${cells.join(" | ")} |`;
}

function measurementRow(measurement: Measurement, { by, dense }: Findings): string {
  const { arm, removed, really, macsLeft, accuracy, nll, cost } = measurement;
  const each = isLoss(by) ? nll.map((value) => value.toFixed(3)) : accuracy.map((value) => value.toFixed(1));
  const above = mean(nll) - dense.nll;
  const cells = [
    arm,
    percent(100 * removed),
    percent(100 * really),
    percent(100 * macsLeft),
    percent(mean(accuracy)),
    each.length < 2 ? "" : each.join(", "),
    mean(nll).toFixed(3),
    `${above < 0 ? "" : "+"}${above.toFixed(3)}`,
    ...furtherOf(dense.further).map((name) => furtherNumber(name, measurement.further)),
    ((cost.forwardMacs + cost.backwardMacs) / 1e9).toFixed(1),
    `${(cost.bytes / 2 ** 20).toFixed(0)} MiB`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function percent(value: number): string {
  return `${value.toFixed(1)} %`;
}
