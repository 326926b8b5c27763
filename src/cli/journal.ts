import * as z from "zod";
import {
  type CompareRow,
  EspalierError,
  type Journal,
  type SensitivityPoint,
  type TrainedDraw,
} from "../index.node.ts";
import type { Host } from "./host.ts";

const latency = z.object({ median: z.number(), p10: z.number(), p90: z.number() });

const measured = z.object({
  params: z.number(),
  nonzero: z.number(),
  macs: z.number(),
  bytes: z.number(),
  gzipBytes: z.number().nullable(),
  latencyMs: latency.nullable(),
});

const fidelity = z.object({
  topAgreement: z.number().nullable(),
  kl: z.number().nullable(),
  cosine: z.number(),
  relativeError: z.number(),
  samples: z.number(),
});

export const pointSchema: z.ZodType<SensitivityPoint> = z.object({
  group: z.string(),
  units: z.number(),
  sparsity: z.number(),
  kept: z.number(),
  macs: z.number(),
  params: z.number(),
  fidelity,
});

export const rowSchema: z.ZodType<CompareRow> = z.object({
  method: z.string(),
  amount: z.object({
    sparsity: z.number().optional(),
    keepMacs: z.number().optional(),
    keepParams: z.number().optional(),
    granularity: z.string().optional(),
    roundTo: z.union([z.number(), z.literal("auto")]).optional(),
  }),
  before: measured.nullable(),
  after: measured.nullable(),
  fidelity: fidelity.nullable(),
  metric: z.object({ name: z.string(), before: z.number(), after: z.number(), n: z.number() }).nullable(),
  failed: z.string().nullable(),
});

export const drawSchema: z.ZodType<TrainedDraw> = z.object({
  really: z.number(),
  macsLeft: z.number(),
  accuracy: z.number(),
  nll: z.number(),
  cost: z.object({
    forwardMacs: z.number(),
    backwardMacs: z.number(),
    samples: z.number(),
    bytes: z.number(),
    seconds: z.number(),
  }),
  seconds: z.number(),
});

/**
 * A journal in a file of JSON lines. The first says what was asked; parts of another request are refused. A last line
 * that a killed run left half-written is left out.
 */
export async function fileJournal<T>(
  path: string,
  request: Readonly<Record<string, unknown>>,
  schema: z.ZodType<T>,
  host: Host,
): Promise<Journal<T>> {
  const header = JSON.stringify({ espalier: request });
  const text = (await host.readText(path)) ?? "";
  // What a killed run left half-written is dropped, so that every line of the file is whole again.
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  const parts = new Map<string, T>();
  const part = z.object({ key: z.string(), value: schema });
  const [first = "", ...lines] = whole.split("\n");
  if (whole === "" ? !`${header}\n`.startsWith(text) : first !== header) {
    throw new EspalierError(
      "request",
      `--resume ${path}`,
      "expected the journal of the same request, got another's.",
      "Name a new file, or repeat the options of the run that it belongs to.",
    );
  }
  for (const [i, line] of lines.entries()) {
    if (line === "") continue;
    const parsed = part.safeParse(jsonOf(line));
    if (!parsed.success) {
      throw new EspalierError("format", `${path}:${i + 2}`, "expected a finished part, got another line.");
    }
    parts.set(parsed.data.key, parsed.data.value);
  }
  if (whole === "") await host.writeText(path, `${header}\n`);
  else if (whole !== text) await host.writeText(path, whole);
  return {
    get: (key) => parts.get(key),
    add: async (key, value) => {
      parts.set(key, value);
      await host.appendLine(path, JSON.stringify({ key, value }));
    },
  };
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
