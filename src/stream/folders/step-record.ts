import * as z from "zod";
import type { ReportPart } from "../../pipeline/measuring/join-parts.ts";
import type { Metric } from "../../stats/answers/metric.ts";
import type { CheckpointReport, CheckpointRun } from "../report.ts";

/** What a step of several did, as it is noted when it is finished. */
export interface StepRecord extends ReportPart {
  /** Numbers of the matrices' stages, where single weights went. */
  readonly stages: Readonly<Record<string, string>>;
  readonly inputs: "pruned" | "dense" | null;
  readonly calibration: string | null;
  readonly resumed: number;
  /** Windows that ran at once. */
  readonly batch: number;
  readonly memory: CheckpointReport["memory"];
  readonly metric: Metric | null;
}

/** What the report of a step says of it alone. */
export function recordOf({ kind, report }: CheckpointRun): StepRecord {
  if (kind === "units") {
    const { method, layers, law, nearTies, blocked, training, seconds, advice } = report;
    const none = {
      stages: {},
      inputs: null,
      calibration: null,
      resumed: 0,
      metric: null,
      memory: null,
      batch: report.device.batch,
    };
    return { method, layers, law, nearTies, blocked, training, seconds, advice, ...none };
  }
  const { plan, layers, skipped, seconds, inputs, calibration, resumed, metric, memory, device } = report;
  return {
    method: String(plan["criterion"]),
    layers: layers.map(({ stage: _, ...layer }) => ({ ...layer, kind: "weights" })),
    blocked: skipped.map(({ name, reason }) => ({ name, reasons: [reason] })),
    ...{ law: null, nearTies: 0, training: [], advice: [] },
    stages: Object.fromEntries(layers.map(({ name, stage }) => [name, stage])),
    ...{ seconds, inputs, calibration, resumed, metric, memory, batch: device.batch },
  };
}

const numbers = z.record(z.string(), z.number());

/** A record as it was noted. */
export const recordSchema: z.ZodType<StepRecord> = z.object({
  method: z.string(),
  layers: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(["units", "branches", "weights", "ranks"]),
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
  stages: z.record(z.string(), z.string()),
  inputs: z.enum(["pruned", "dense"]).nullable(),
  calibration: z.string().nullable(),
  resumed: z.number(),
  batch: z.number(),
  memory: z.object({ limit: z.number(), counted: z.number() }).nullable(),
  metric: z.object({ name: z.string(), before: z.number(), after: z.number(), n: z.number() }).nullable(),
});
