import type { Feeds, Graph } from "../graph/graph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";

/** How far the smaller model is from the masked original on the same inputs. */
export interface LawResult {
  readonly maxAbsDiff: number;
  /** Largest difference of any output divided by that output's largest magnitude. */
  readonly relative: number;
  readonly tolerance: number;
  readonly passed: boolean;
  /** Batches that were compared. */
  readonly batches: number;
}

/** Largest relative difference that counts as float error in 32 bits over a deep network. */
export const LAW_TOLERANCE = 1e-4;

/** Runs both graphs on the feeds and compares every float output. */
export async function checkLaw(
  runtime: Runtime,
  reference: Graph,
  small: Graph,
  feeds: readonly Feeds[],
  tolerance = LAW_TOLERANCE,
): Promise<LawResult> {
  const a = await runtime.compile(reference);
  try {
    const b = await runtime.compile(small);
    try {
      let maxAbsDiff = 0;
      let relative = 0;
      for (const feed of feeds) {
        const expected = await a.run(feed);
        const got = await b.run(feed);
        for (const [name, value] of expected) {
          if (!isFloat(value.dtype)) continue;
          const other = got.get(name);
          if (other === undefined || other.bytes.length !== value.bytes.length) {
            throw new EspalierError(
              "law",
              name,
              `expected ${value.bytes.length} bytes as in the original, got ${other?.bytes.length ?? "none"}.`,
            );
          }
          const { difference, magnitude } = farthest(toFloat64(value), toFloat64(other));
          maxAbsDiff = Math.max(maxAbsDiff, difference);
          relative = Math.max(relative, magnitude > 0 ? difference / magnitude : difference);
        }
      }
      return { maxAbsDiff, relative, tolerance, passed: relative <= tolerance, batches: feeds.length };
    } finally {
      await b.release();
    }
  } finally {
    await a.release();
  }
}

/** The largest difference and the largest magnitude of the first. A value that is not finite proves nothing, so it counts as infinitely far, even from its like. */
export function farthest(a: Float64Array, b: Float64Array): { difference: number; magnitude: number } {
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    const d = Math.abs(x - y);
    if (Number.isFinite(x)) magnitude = Math.max(magnitude, Math.abs(x));
    difference = Math.max(difference, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
  }
  return { difference, magnitude };
}
