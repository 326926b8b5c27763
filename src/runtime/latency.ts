import type { Latency } from "./runtime.ts";

/** Median, 10th and 90th percentile of times in milliseconds, interpolated between neighbours. */
export function latencyOf(times: readonly number[]): Latency {
  const sorted = Float64Array.from(times).sort();
  return {
    medianMs: percentile(sorted, 0.5),
    p10Ms: percentile(sorted, 0.1),
    p90Ms: percentile(sorted, 0.9),
    runs: sorted.length,
  };
}

function percentile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const a = sorted[low] ?? Number.NaN;
  const b = sorted[Math.min(low + 1, sorted.length - 1)] ?? a;
  return a + (at - low) * (b - a);
}
