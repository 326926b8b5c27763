import * as z from "zod";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { ReportPart } from "../../pipeline/measuring/join-parts.ts";
import type { Metric } from "../../stats/answers/metric.ts";
import type { CheckpointReport, CheckpointRun, PartsLeft } from "../report.ts";

/** What a step of several did, as it is noted when it is finished. */
export interface StepRecord extends ReportPart {
  /** Numbered parts that went; their sets, like matrices with zeros, have the names that they had before any step. */
  readonly parts: readonly PartsLeft[];
  readonly inputs: "pruned" | "dense" | null;
  readonly calibration: string | null;
  readonly resumed: number;
  /** Windows that ran at once. */
  readonly batch: number;
  readonly memory: CheckpointReport["memory"];
  readonly metric: Metric | null;
}

/** What the report of a step says of it alone. `model` is what it was made from. */
export function recordOf(model: CheckpointModel, { kind, report }: CheckpointRun): StepRecord {
  if (kind === "units") {
    const { method, layers, law, nearTies, blocked, training, seconds, advice } = report;
    const none = { parts: [], inputs: null, calibration: null, resumed: 0, metric: null, memory: null };
    return { method, layers, law, nearTies, blocked, training, seconds, advice, ...none, batch: report.device.batch };
  }
  const { plan, skipped, seconds, inputs, calibration, resumed, metric, memory, device, law, advice } = report;
  const parts = report.parts.map((each) => ({ ...each, name: originalSet(model, each.name) }));
  const names = model.checkpoint.kept?.names;
  const matrices = report.layers.map(({ name, before, after }) => ({ name: names?.get(name) ?? name, before, after }));
  return {
    method: [plan["part"], plan["criterion"]].filter((word) => word !== undefined).join(" "),
    layers: [
      ...parts.map(({ name, before, after }) => ({ name, kind: "parts" as const, before, after })),
      ...matrices.map((each) => ({ ...each, kind: "weights" as const })),
    ],
    blocked: skipped.map(({ name, reason }) => ({ name: names?.get(name) ?? name, reasons: [reason] })),
    ...{ law, nearTies: 0, training: [], advice, parts },
    ...{ seconds, inputs, calibration, resumed, metric, memory, batch: device.batch },
  };
}

/** A set of parts under the name that it had before blocks went. */
function originalSet({ outline, checkpoint }: CheckpointModel, name: string): string {
  const number = outline.blocks.findIndex(({ path }) => name.startsWith(`${path}.`));
  const path = outline.blocks[number]?.path;
  const before = checkpoint.kept?.blocks?.[number];
  if (path === undefined || before === undefined) return name;
  return `${path.slice(0, path.length - String(number).length)}${before}${name.slice(path.length)}`;
}

/** What became of parts in several steps: a set that lost some twice is told once. */
export function joinPartsLeft(steps: readonly StepRecord[]): readonly PartsLeft[] {
  const joined = new Map<string, PartsLeft>();
  for (const { parts } of steps) {
    for (const part of parts) {
      const key = `${part.what} of ${part.name}`;
      const first = joined.get(key);
      if (first === undefined) {
        joined.set(key, part);
        continue;
      }
      const out = new Set(first.gone);
      const left = Array.from({ length: first.before }, (_, number) => number).filter((number) => !out.has(number));
      const more = part.gone.flatMap((number) => left[number] ?? []);
      joined.set(key, { ...first, after: part.after, gone: [...first.gone, ...more].sort((a, b) => a - b) });
    }
  }
  return [...joined.values()];
}

const numbers = z.record(z.string(), z.number());

/** A record as it was noted. */
export const recordSchema: z.ZodType<StepRecord> = z.object({
  method: z.string(),
  layers: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(["units", "branches", "weights", "ranks", "parts"]),
      before: z.number(),
      after: z.number(),
    }),
  ),
  law: z
    .object({
      maxAbsDiff: z.number(),
      relative: z.number(),
      tolerance: z.number(),
      passed: z.boolean(),
      batches: z.number(),
    })
    .nullable(),
  nearTies: z.number(),
  blocked: z.array(z.object({ name: z.string(), reasons: z.array(z.string()) })),
  training: z.array(
    z.object({
      ...{ name: z.string(), data: z.string() },
      ...{ updates: z.number(), epochs: z.number(), samples: z.number(), seconds: z.number() },
      ...{ trained: z.number(), trainable: z.number(), forwardMacs: z.number(), backwardMacs: z.number() },
      points: z.array(z.object({ update: z.number(), rate: z.number(), values: numbers })),
      best: z.object({ update: z.number(), loss: z.number() }).exactOptional(),
    }),
  ),
  seconds: numbers,
  advice: z.array(z.string()),
  parts: z.array(
    z.object({
      ...{ name: z.string(), what: z.string(), before: z.number(), after: z.number() },
      ...{ gone: z.array(z.number()), scores: z.array(z.number()) },
    }),
  ),
  inputs: z.enum(["pruned", "dense"]).nullable(),
  calibration: z.string().nullable(),
  resumed: z.number(),
  batch: z.number(),
  memory: z.object({ limit: z.number(), counted: z.number() }).nullable(),
  metric: z.object({ name: z.string(), before: z.number(), after: z.number(), n: z.number() }).nullable(),
});
