import { stringify } from "yaml";
import { modelCard } from "../../formats/checkpoint/model-card.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { Load } from "../../models/loaders/will-load.ts";
import type { Report } from "../../pipeline/measuring/report.ts";
import type { Metric } from "../../stats/answers/metric.ts";
import type { LawResult } from "../../surgery/law.ts";
import type { CheckpointReport, PartsLeft } from "../report.ts";

/** How the result is made again. */
export interface Making {
  /** The recipe of it as YAML that can be run, where it was made by one; `batch` is how many windows ran at once. */
  readonly recipe?: (batch: number) => string;
}

/**
 * README.md of a checkpoint that was pruned stage by stage. It states nothing that a run which was resumed, or one into another folder, would
 * say otherwise.
 */
export function cardOfStages(model: CheckpointModel, report: CheckpointReport, making: Making): string {
  const { pruned, params, nonzero, plan, metric, loads, calibration, seed, inputs, device, before, parts, law } =
    report;
  const share = (100 * (1 - pruned.after / Math.max(1, pruned.before))).toFixed(1);
  const figures = new Map([
    ["parameters", parts.length === 0 ? String(params) : `${params} of ${before.params}`],
    ...(report.layers.length === 0 ? [] : [["of them not zero", String(nonzero)] as const]),
    ...lawRows(law),
    ...metricRows(metric),
    ...loadRows(loads),
  ]);
  return modelCard({
    ...namesOf(model),
    summary: [
      ...(parts.length === 0
        ? []
        : [
            partsGone(parts),
            ...(params < before.params ? ["kept-indices.json says what of the original is left."] : report.advice),
          ]),
      ...(report.layers.length === 0
        ? []
        : [`${share} % of the weights of ${report.layers.length} matrices are zero.`]),
      ...(parts.length === 0 ? ["Shapes are those of the original."] : []),
    ].join(" "),
    ...recipeOf(making, device.batch, { ...plan, calibration, inputs, seed, device }),
    figures,
    ...pipelineOf(model),
  });
}

/** README.md of a checkpoint with fewer units, whose plan has these settings. */
export function cardOfUnits(
  model: CheckpointModel,
  settings: Readonly<Record<string, unknown>>,
  report: Report,
  making: Making,
): string {
  const { before, after, layers, metric, law, fidelity, loads = [], seed, training } = report;
  const groups = layers.filter(({ kind }) => kind === "units");
  const smaller = groups.filter((layer) => layer.after < layer.before).length;
  const figures = new Map([
    ["parameters", `${after.params} of ${before.params}`],
    ...(groups.length === layers.length ? [] : [["of them not zero", String(after.nonzero)] as const]),
    ["multiply-accumulates", `${after.macs} of ${before.macs}`],
    ...lawRows(law),
    ...(fidelity === null ? [] : [["relative error of the answers", fidelity.relativeError.toPrecision(3)] as const]),
    ...metricRows(metric),
    ...training.map(({ name, updates }) => [name, `${updates} updates`] as const),
    ...loadRows(loads),
  ]);
  const { name, threads, batch } = report.device;
  return modelCard({
    ...namesOf(model),
    summary: `${smaller} of ${groups.length} groups of channels, neurons and heads are smaller than the original's. kept-indices.json says which of its positions are left.`,
    ...recipeOf(making, batch, { ...settings, seed, device: { name, threads } }),
    figures,
    ...pipelineOf(model),
  });
}

/** Where the original is from, the name that its config remembers or that of its folder; and a title made of it. */
function namesOf({ checkpoint: { config, name } }: CheckpointModel): { readonly base: string; readonly title: string } {
  const from = config["_name_or_path"];
  const base = typeof from === "string" && /^[\w.-]+\/[\w.-]+$/.test(from) ? from : name;
  return { base, title: `${base.slice(base.lastIndexOf("/") + 1)}-pruned` };
}

/** The recipe as it can be run, and every setting with the value that it had in the end. */
function recipeOf(
  { recipe }: Making,
  batch: number,
  settings: Readonly<Record<string, unknown>>,
): { readonly recipe?: string; readonly settled: string } {
  const settled = stringify(JSON.parse(JSON.stringify(settings)));
  if (recipe === undefined) return { settled };
  return { recipe: `# Saved as recipe.yaml where its paths lead: espalier run recipe.yaml\n${recipe(batch)}`, settled };
}

/** How many of the numbered parts of a checkpoint went. */
function partsGone(parts: readonly PartsLeft[]): string {
  const kinds = new Map<string, { gone: number; all: number }>();
  for (const { what, before, after } of parts) {
    const sum = kinds.get(what) ?? { gone: 0, all: 0 };
    kinds.set(what, { gone: sum.gone + before - after, all: sum.all + before });
  }
  return [...kinds].map(([what, { gone, all }]) => `${gone} of ${all} ${what} went.`).join(" ");
}

function lawRows(law: LawResult | null): readonly (readonly [string, string])[] {
  return law === null ? [] : [["difference from the original with masks", law.relative.toExponential(1)]];
}

function metricRows(metric: Metric | null): readonly (readonly [string, string])[] {
  if (metric === null) return [];
  const { name, before, after, n } = metric;
  return [[name, `${after.toPrecision(5)} (${before.toPrecision(5)} before, n = ${n})`]];
}

/** What loaders make of it, as their rules say, and what they do without that the original had; nothing here was tried. */
function loadRows(loads: readonly Load[]): readonly (readonly [string, string])[] {
  const refused = loads.filter(({ verdict }) => verdict === "refused").map(({ loader }) => loader);
  const rest = loads.filter(({ verdict }) => verdict !== "refused").map(({ loader }) => loader);
  return [
    ...(rest.length === 0 ? [] : [["sizes that are taken by", rest.join(", ")] as const]),
    ...(refused.length === 0 ? [] : [["sizes that are refused by", refused.join(", ")] as const]),
    ...loads.flatMap(({ loader, findings }) => {
      const limits = findings.filter(({ severity, original }) => severity === "limited" && !original);
      if (limits.length === 0) return [];
      const said = limits.map(({ expected, got }) => `expected ${expected}, got ${got}`).join("; ");
      return [[`limits in ${loader}`, said] as const];
    }),
  ];
}

function pipelineOf({ kind }: CheckpointModel): { readonly pipeline?: string } {
  const pipelines = { decoder: "text-generation", encoder: "feature-extraction", vision: "image-feature-extraction" };
  return { pipeline: pipelines[kind] };
}
