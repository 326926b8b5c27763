import type { CheckpointReport, PartsLeft, StagedLayer } from "../stream/report.ts";
import { amountBars, shareBars } from "./charts.ts";
import { loadsPart } from "./loads-part.ts";
import { metricFigure, share, short } from "./numbers.ts";
import { figure, type Html, html, page, section, tableOf } from "./page.ts";
import { secondsPart } from "./seconds-part.ts";

/** Matrices beyond this many are left out of the table; the JSON has them all. */
const LISTED = 400;

/** The report of a checkpoint that was pruned stage by stage as one HTML page with plots; it needs no network and runs no script. */
export function checkpointHtml(report: CheckpointReport): string {
  const { model, type, layers, skipped, metric, device, seed, loads } = report;
  const content: Html[] = [headline(report)];
  const { parts, advice } = report;
  if (advice.length > 0)
    content.push(section("Advice", html`<ul>${advice.map((line) => html`<li>${line}</li>`)}</ul>`));
  if (metric !== null) content.push(section("Before and after", metricPlot(metric)));
  content.push(section("What is left", sizeTable(report)));
  if (parts.length > 0) content.push(section("Parts that went", ...parts.map((each, i) => partsOf(each, i))));
  if (layers.length > 0) {
    content.push(
      section(
        "By stage",
        leftBy(layers, ({ stage }) => stage, "stages"),
      ),
      section("By kind of matrix", leftBy(layers, kindOf, "kinds"), matrices(layers)),
    );
  }
  if (skipped.length > 0) content.push(section("What stays whole", left(skipped)));
  if (loads.length > 0) content.push(section("What loads it", loadsPart(loads)));
  content.push(section("How it was made", provenance(report)));
  const under = `${type}, seed ${seed}, on ${device.name} with ${device.threads} threads`;
  return page(`${model}, pruned`, under, ...content);
}

function headline({ before, pruned, params, nonzero, metric, peakBytes, layers, parts }: CheckpointReport): Html {
  const cards = [
    ...(parts.length === 0 ? [] : [figure(share(params, before.params), "of the parameters are left"), goneOf(parts)]),
    ...(layers.length === 0 && parts.length > 0
      ? []
      : [
          figure(share(1 - pruned.after / Math.max(1, pruned.before)), `of ${layers.length} matrices are zero`),
          figure(share(nonzero, params), "of all parameters are not zero"),
        ]),
  ];
  if (metric !== null) {
    const { name, before: was, after } = metric;
    cards.push(figure(metricFigure(metric, after), `${name} after, ${metricFigure(metric, was)} before`));
  }
  if (peakBytes !== null) cards.push(figure(short(peakBytes, "B"), "of memory at most"));
  return html`<div class="figures">${cards}</div>`;
}

function metricPlot(metric: NonNullable<CheckpointReport["metric"]>): Html {
  const { name, before, after, n } = metric;
  const rows = [
    { name: "before", value: before, text: metricFigure(metric, before), before: true },
    { name: "after", value: after, text: metricFigure(metric, after) },
  ];
  const on = `${n} ${name === "perplexity" ? "tokens" : name === "bits per byte" ? "bytes" : "samples"}`;
  return html`${amountBars(rows, "metric")}<p class="note">On ${on}, the same for both.</p>`;
}

/** How many of the first kind of parts went. */
function goneOf(parts: readonly PartsLeft[]): Html {
  const what = parts[0]?.what ?? "";
  const same = parts.filter((each) => each.what === what);
  const gone = same.reduce((sum, each) => sum + each.before - each.after, 0);
  const count = same.reduce((sum, each) => sum + each.before, 0);
  return figure(`${gone} of ${count}`, `${what} went`);
}

/** What each part of a set was worth, and which went. */
function partsOf({ name, what, before, after, gone, scores }: PartsLeft, index: number): Html {
  const told = `${before - after} of the ${before} ${what} of ${name} went${gone.length === 0 ? "" : `: ${gone.slice(0, LISTED).join(", ")}${gone.length > LISTED ? ", .." : ""}`}.`;
  const most = Math.max(...scores.map(Math.abs));
  if (scores.length === 0 || scores.length > LISTED || !(most > 0) || Math.min(...scores) < 0)
    return html`<p>${told}</p>`;
  const out = new Set(gone);
  const rows = scores.map((value, i) => ({
    ...{ name: `${i}${out.has(i) ? "" : ", kept"}`, value, text: value.toPrecision(3) },
    before: !out.has(i),
  }));
  return html`<p>${told}</p>${amountBars(rows, `parts-${index}`)}<p class="note">Scores; those that are least go first.</p>`;
}

function sizeTable({ before, params, nonzero, pruned, bytes, layers, parts }: CheckpointReport): Html {
  const rows = [
    ["parameters", short(before.params), short(params), share(params, before.params)],
    ...(layers.length === 0 && parts.length > 0
      ? []
      : [
          ["not zero", short(before.params), short(nonzero), share(nonzero, before.params)],
          ["of them in pruned matrices", short(pruned.before), short(pruned.after), share(pruned.after, pruned.before)],
        ]),
    ["bytes; zeros are stored too", short(before.bytes, "B"), short(bytes, "B"), share(bytes, before.bytes)],
  ];
  return tableOf(["", "before", "after", "left"], rows);
}

/** Where a matrix lies in its stage; experts and other numbered parts of it are of one kind. */
function kindOf({ name, stage }: StagedLayer): string {
  const inside = name.startsWith(`${stage}.`) ? name.slice(stage.length + 1) : name;
  return inside.replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "*");
}

/** What is left of the weights that have the same key, in the order in which they come. */
function leftBy(layers: readonly StagedLayer[], key: (layer: StagedLayer) => string, id: string): Html {
  const sums = new Map<string, { before: number; after: number }>();
  for (const layer of layers) {
    const sum = sums.get(key(layer)) ?? { before: 0, after: 0 };
    sums.set(key(layer), { before: sum.before + layer.before, after: sum.after + layer.after });
  }
  const rows = [...sums].map(([name, { before, after }]) => ({ name, share: after / Math.max(1, before) }));
  return html`${shareBars(rows, id)}<p class="note">Weights of pruned matrices that are not zero.</p>`;
}

function matrices(layers: readonly StagedLayer[]): Html {
  const rows = layers
    .slice(0, LISTED)
    .map(({ name, before, after }) => [name, short(before), short(after), share(after, before)]);
  const more = layers.length > rows.length ? `, the first ${rows.length} of ${layers.length}` : "";
  return html`<details><summary>Every matrix${more}</summary>${tableOf(["matrix", "weights", "not zero", "left"], rows)}</details>`;
}

function left(skipped: CheckpointReport["skipped"]): Html {
  const rows = skipped.map(({ name, reason }) => [name, reason]);
  const count = `${rows.length} ${rows.length === 1 ? "matrix" : "matrices"}, each with its reason`;
  return html`<details><summary>${count}</summary>${tableOf(["matrix", "because"], rows)}</details>`;
}

function provenance(report: CheckpointReport): Html {
  const { model, type, plan, inputs, calibration, device, resumed, memory, peakBytes, seconds, seed } = report;
  const rows: string[][] = [
    ["model", model],
    ["model_type", type],
    ...settingRows(plan),
    ...(calibration === null ? [] : [["measured on", `${calibration}, behind ${inputs} blocks`]]),
    ["seed", String(seed)],
    ["windows at once", String(device.batch)],
    ...(resumed === 0 ? [] : [["stages finished by an earlier run", String(resumed)]]),
    ...(memory === null ? [] : [["memory allowed", short(memory.limit, "B")]]),
    ...(memory === null ? [] : [["most that was counted of it", short(memory.counted, "B")]]),
    ...(peakBytes === null ? [] : [["most memory of the process, mapped files included", short(peakBytes, "B")]]),
  ];
  return html`${tableOf(["what", "value"], rows)}${secondsPart(seconds)}`;
}

/** Every setting in a row; those of several steps with the numbers of these. */
function settingRows(settings: object, step = ""): string[][] {
  return Object.entries(settings).flatMap(([name, value]): string[][] => {
    if (value === undefined) return [];
    const parts: readonly unknown[] = Array.isArray(value) ? value : [];
    const steps = parts.filter((part) => typeof part === "object" && part !== null);
    if (steps.length === 0) return [[`${step}${name}`, wordsOf(value)]];
    return steps.flatMap((each, i) => settingRows(each, `${i + 1}. `));
  });
}

/** A setting as a reader takes it in: short values as they are, tables by their size. */
function wordsOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "–" : value.join(", ");
  const entries = Object.entries(value);
  return entries.length > 8 ? `${entries.length} entries` : entries.map(([key, each]) => `${key} ${each}`).join(", ");
}
