import type { Feeds, Graph } from "../graph/graph.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import type { Device, Runtime } from "./runtime.ts";

/** How far a device's results are from those of a processor on the same inputs. */
export interface Agreement {
  readonly device: Device;
  readonly reference: Device;
  readonly maxAbsDiff: number;
  /** Largest difference of any output divided by that output's largest magnitude. */
  readonly relative: number;
  /** The output that differs most, by `relative`. */
  readonly output: string;
  readonly tolerance: number;
  readonly agrees: boolean;
}

/** Kernels of graphics processors sum in another order and with other roundings; more than this is a wrong result. */
const TOLERANCE = 1e-3;

/** Runs a graph on both and compares every float output. Throws `runtime` where the sizes of an output differ. */
export async function agreement(
  runtime: Runtime,
  reference: Runtime,
  graph: Graph,
  feeds: readonly Feeds[],
  tolerance = TOLERANCE,
): Promise<Agreement> {
  let maxAbsDiff = 0;
  let relative = 0;
  let output = graph.outputs[0]?.name ?? "";
  const results = await outputsOf(runtime, graph, feeds);
  for (const [i, expected] of (await outputsOf(reference, graph, feeds)).entries()) {
    for (const [name, value] of expected) {
      if (!isFloat(value.dtype)) continue;
      const other = results[i]?.get(name);
      if (other === undefined || other.bytes.length !== value.bytes.length) {
        const sizes = `expected ${value.bytes.length} bytes as on ${reference.device}, got ${other?.bytes.length ?? "none"}`;
        throw new EspalierError("runtime", name, `${sizes}.`, `Choose --device ${reference.device}.`);
      }
      const { difference, magnitude } = compare(toFloat64(value), toFloat64(other));
      const share = magnitude > 0 ? difference / magnitude : difference;
      maxAbsDiff = Math.max(maxAbsDiff, difference);
      if (share > relative) {
        relative = share;
        output = name;
      }
    }
  }
  return {
    device: runtime.device,
    reference: reference.device,
    maxAbsDiff,
    relative,
    output,
    tolerance,
    agrees: relative <= tolerance,
  };
}

async function outputsOf(runtime: Runtime, graph: Graph, feeds: readonly Feeds[]): Promise<readonly Feeds[]> {
  const session = await runtime.compile(graph);
  try {
    const outputs: Feeds[] = [];
    for (const feed of feeds) outputs.push(await session.run(feed));
    return outputs;
  } finally {
    await session.release();
  }
}

/** What is not finite in the same way on both is the model's own; on one of them only, it is infinitely far. */
function compare(a: Float64Array, b: Float64Array): { difference: number; magnitude: number } {
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    if (Number.isFinite(x)) magnitude = Math.max(magnitude, Math.abs(x));
    if (Object.is(x, y)) continue;
    const d = Math.abs(x - y);
    difference = Math.max(difference, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
  }
  return { difference, magnitude };
}
