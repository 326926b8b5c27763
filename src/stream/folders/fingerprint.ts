import type { Dataset } from "../../data/dataset.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import type { CheckpointPlan } from "../../plans/checkpoint-plan.ts";
import { bytesOf } from "../../tensor/tensor.ts";
import { tokenBatches } from "../stages/windows.ts";

/** A plan as JSON: what decides which weights, units, parts or tokens go. */
export function planText(plan: CheckpointPlan): Readonly<Record<string, unknown>> {
  if (plan.kind === "parts" || plan.kind === "tokens") {
    const { kind: _, criterion, ...settings } = plan;
    return { criterion, ...settings };
  }
  if (plan.kind === "units") {
    const { criterion, scores, selection, target, allocation, units, recovery } = plan;
    const repairs = recovery.map(({ id }) => id);
    return { criterion: criterion.id, scores, selection, target, allocation, units, recovery: repairs };
  }
  const { criterion, pattern, scope, profile, sparsity, floor, table, sweep, sweeping } = plan;
  const shares = table === undefined ? undefined : Object.fromEntries(table);
  return { criterion: criterion.id, pattern, scope, profile, sparsity, floor, sweep, sweeping, table: shares };
}

/** What tells a checkpoint from another without reading its weights: config, names, types, shapes and places. */
export async function checkpointPrint({ checkpoint }: CheckpointModel): Promise<string> {
  const places = [...checkpoint.tensors].map(([name, ref]) => [
    name,
    ref.dtype,
    ref.shape,
    bytesOf(ref),
    ref.at?.offset,
    ref.at?.source.size,
  ]);
  return digest([new TextEncoder().encode(JSON.stringify([checkpoint.config, places]))]);
}

/** Windows of tokens, counted, and what tells them from others. */
export interface WindowFacts {
  readonly count: number;
  /** Tokens of the longest. */
  readonly time: number;
  readonly print: string;
}

/** Counts windows of tokens and checks them. Throws like `tokenBatches`. */
export async function windowFacts(model: CheckpointModel, data: Dataset): Promise<WindowFacts> {
  let [count, longest, print] = [0, 0, ""];
  for await (const { tokens, batch } of tokenBatches(model, data, 64)) {
    const [windows = 0, time = 0] = tokens.shape;
    count += windows;
    longest = Math.max(longest, time);
    // A chain of prints, so that no more than a batch is in memory.
    const parts = [new TextEncoder().encode(`${print} ${tokens.shape}`), tokens.bytes];
    const { labels } = batch;
    if (labels !== undefined) parts.push(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
    print = await digest(parts);
  }
  return { count, time: longest, print };
}

/** SHA-256, the first 16 bytes in hexadecimal digits. */
async function digest(parts: readonly Uint8Array[]): Promise<string> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
