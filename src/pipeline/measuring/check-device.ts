import type { Feeds } from "../../graph/graph.ts";
import type { Analysis } from "../../models/analysis.ts";
import { type Agreement, agreement } from "../../runtime/agreement.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";

/**
 * Compares a device with a processor on a sample before its results decide anything; null where the device is one.
 * Throws `runtime` when they disagree.
 */
export async function checkDevice(
  runtime: Runtime,
  { graph }: Analysis,
  feeds: readonly Feeds[],
): Promise<Agreement | null> {
  const reference = await runtime.reference?.();
  if (reference === undefined) return null;
  try {
    const found = await agreement(runtime, reference, graph, feeds);
    if (found.agrees) return found;
    const expected = `expected ${runtime.device} to agree with ${reference.device} within ${found.tolerance}`;
    throw new EspalierError(
      "runtime",
      found.output,
      `${expected} on a sample, got ${found.relative.toExponential(2)}.`,
      `Results on this device cannot be trusted; choose --device ${reference.device}.`,
    );
  } finally {
    await reference.close();
  }
}
