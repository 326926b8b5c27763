import type { Report } from "../pipeline/measuring/report.ts";
import { shareBars, timings, widthBars } from "./charts.ts";
import { loadsPart } from "./loads-part.ts";
import { figures, metricFigure, share, short } from "./numbers.ts";
import { figure, fileName, type Html, html, page, raw, section, tableOf } from "./page.ts";
import { secondsPart } from "./seconds-part.ts";
import { trainingPart } from "./training-part.ts";

/** Groups beyond this many are left out of the plot and named in its note; the table of the JSON has them all. */
const PLOTTED = 120;

/** What the bars of each kind of layer show. */
const titles: Readonly<Record<Report["layers"][number]["kind"], string>> = {
  units: "Widths",
  branches: "Widths",
  weights: "Weights that are not zero",
  ranks: "Ranks",
  parts: "Parts that are left",
};

/** The report of a pruning as one HTML page with plots; it needs no network and runs no script. */
export function reportHtml(report: Report): string {
  const { before, after, device, layers, blocked, advice } = report;
  const under = `${report.method}, seed ${report.seed}, on ${device.name} with ${device.threads} threads${report.command === "" ? "" : `, by ${report.command}`}`;
  const content: Html[] = [headline(report)];
  if (advice.length > 0)
    content.push(section("Advice", html`<ul>${advice.map((line) => html`<li>${line}</li>`)}</ul>`));
  content.push(section("What is left", leftPlot(report), sizeTable(report)));
  if (before.latencyMs !== null && after.latencyMs !== null) {
    content.push(
      section(
        "Time of a run",
        timings([
          { name: "before", ...before.latencyMs },
          { name: "after", ...after.latencyMs },
        ]),
        html`<p class="note">Median and p10 to p90 of runs in turn, batch ${device.batch}, ${device.threads} threads, ${device.name}.</p>`,
      ),
    );
  }
  content.push(section("Proof", proof(report)));
  for (const training of report.training) content.push(section(`Training: ${training.name}`, trainingPart(training)));
  content.push(section(titles[layers[0]?.kind ?? "units"], widths(report)));
  if (blocked.length > 0) {
    const rows = blocked.map(({ name, reasons }) => [name, reasons.join("; ")]);
    content.push(
      section(
        "What stays whole",
        html`<details><summary>${blocked.length} ${blocked.length === 1 ? "group" : "groups"}, each with its reason</summary>${tableOf(["group", "because"], rows)}</details>`,
      ),
    );
  }
  if (report.loads !== undefined && report.loads.length > 0) {
    content.push(section("What loads it", loadsPart(report.loads)));
  }
  content.push(section("How it was made", provenance(report)));
  return page(`${fileName(report.model)}, pruned`, under, ...content);
}

function headline({ before, after, fidelity, metric, law }: Report): Html {
  const cards = [
    figure(share(after.macs, before.macs), "of the multiply-accumulates left"),
    figure(share(after.params, before.params), "of the parameters left"),
  ];
  if (before.latencyMs !== null && after.latencyMs !== null) {
    const ratio = after.latencyMs.median / before.latencyMs.median;
    cards.push(figure(share(ratio), "of the time of a run", ratio < 1 ? "good" : "bad"));
  }
  if (metric !== null)
    cards.push(
      figure(metricFigure(metric, metric.after), `${metric.name} after, ${metricFigure(metric, metric.before)} before`),
    );
  else if (fidelity !== null) {
    if (fidelity.topAgreement !== null) cards.push(figure(share(fidelity.topAgreement), "same answer as the original"));
    else cards.push(figure(figures(fidelity.relativeError), "relative error of the outputs"));
  }
  if (law !== null)
    cards.push(figure(law.passed ? "held" : "broken", "removed equals masked", law.passed ? "good" : "bad"));
  return html`<div class="figures">${cards}</div>`;
}

function leftPlot({ before, after }: Report): Html {
  const rows = [
    { name: "multiply-accumulates", from: before.macs, to: after.macs },
    { name: "parameters", from: before.params, to: after.params },
    { name: "parameters that are not zero", from: before.nonzero, to: after.nonzero },
    { name: "bytes", from: before.bytes, to: after.bytes },
    { name: "bytes in gzip", from: before.gzipBytes, to: after.gzipBytes },
  ];
  return shareBars(
    rows.flatMap(({ name, from, to }) =>
      from === null || to === null || from === 0 ? [] : [{ name, share: to / from }],
    ),
  );
}

function sizeTable({ before, after }: Report): Html {
  const row = (name: string, a: number | null, b: number | null, unit = ""): string[] => [
    name,
    a === null ? "–" : short(a, unit),
    b === null ? "–" : short(b, unit),
    share(b, a),
  ];
  return tableOf(
    ["", "before", "after", "left"],
    [
      row("multiply-accumulates of a sample", before.macs, after.macs),
      row("parameters", before.params, after.params),
      row("not zero", before.nonzero, after.nonzero),
      row("bytes", before.bytes, after.bytes, "B"),
      row("bytes in gzip", before.gzipBytes, after.gzipBytes, "B"),
    ],
  );
}

function proof({ law, fidelity, metric, nearTies }: Report): Html {
  const rows: string[][] = [];
  if (law !== null) {
    rows.push([
      "removed against masked, relative difference",
      figures(law.relative),
      `allowed ${figures(law.tolerance)}`,
    ]);
    rows.push(["removed against masked, largest difference", figures(law.maxAbsDiff), `${law.batches} batches`]);
  }
  if (fidelity !== null) {
    const on = `${fidelity.samples} inputs`;
    if (fidelity.topAgreement !== null) rows.push(["same answer as the original", share(fidelity.topAgreement), on]);
    if (fidelity.kl !== null) rows.push(["divergence of the answers (KL, nats)", figures(fidelity.kl), on]);
    rows.push(["relative error of the outputs", figures(fidelity.relativeError), on]);
    rows.push(["cosine of the outputs", fidelity.cosine.toFixed(5), on]);
  }
  if (metric !== null) {
    const on = `${metric.n} ${metric.name === "perplexity" ? "tokens" : "samples"}`;
    rows.push([`${metric.name} before`, metricFigure(metric, metric.before), on]);
    rows.push([`${metric.name} after`, metricFigure(metric, metric.after), on]);
  }
  if (nearTies > 0) rows.push(["units that another device may decide otherwise", `${nearTies}`, "near ties"]);
  if (rows.length === 0)
    return html`<p class="note">No data was given, and nothing was cut that had to be checked.</p>`;
  const missing =
    fidelity === null && metric === null
      ? html`<p class="note">Without data nothing is known of how near the answers are. Give --calib or --eval.</p>`
      : raw("");
  return html`${tableOf(["figure", "value", "on"], rows)}${missing}`;
}

function widths({ layers }: Report): Html {
  const shown = layers.slice(0, PLOTTED);
  const smaller = layers.filter(({ before, after }) => after < before).length;
  const more = layers.length > shown.length ? ` The plot shows the first ${shown.length}.` : "";
  return html`${widthBars(shown)}<p class="note">${smaller} of ${layers.length} became smaller.${more}</p>`;
}

function provenance({ model, method, command, seed, versions, seconds, peakMemoryBytes }: Report): Html {
  const rows: string[][] = [
    ["model", model],
    ["method", method],
    ["seed", String(seed)],
    ...(command === "" ? [] : [["command", command]]),
    ...Object.entries(versions).map(([name, version]) => [name, version]),
    ...(peakMemoryBytes === null ? [] : [["most memory", short(peakMemoryBytes, "B")]]),
  ];
  return html`${tableOf(["what", "value"], rows)}${secondsPart(seconds)}`;
}
