import type { Graph } from "../../graph/graph.ts";
import { type Analysis, analyse } from "../../models/analysis.ts";
import type { Model } from "../../models/model.ts";
import type { Runtime, Session } from "../../runtime/runtime.ts";
import { judgePair } from "../../stats/answers/metric.ts";
import { bitsOf, byteLengthOf, isFloat } from "../../tensor/dtype.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { bytesOf, load, sameShape, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import type { SettledOptions } from "../prune.ts";
import { fileSize } from "./file-size.ts";
import { latencyFeeds } from "./latency-feeds.ts";
import type { Measured, Report } from "./report.ts";

/** Models above this many bytes are not compressed to learn their gzip size. */
const GZIP_LIMIT = 256 * 2 ** 20;

/** Size, work and interleaved latency of the original and the pruned model. */
export async function measurePair(
  original: Model,
  analysis: Analysis,
  small: Model,
  options: SettledOptions,
): Promise<
  Pick<Report, "before" | "after" | "device" | "fidelity" | "metric" | "peakMemoryBytes"> & { advice: string[] }
> {
  const { runtime } = options;
  const after = haveSameSizes(analysis.graph, small.onnx.graph)
    ? analysis
    : await analyse(small.onnx.graph, runtime, { shapes: options.shapes });
  const batch = options.latencyBatch ?? 1;
  const latency =
    options.measure === false
      ? null
      : await latencies([original.onnx.graph, small.onnx.graph], analysis, runtime, batch);
  const [one, two] = await Promise.all([sizeAndWork(original, analysis), sizeAndWork(small, after)]);
  const before: Measured = { ...one, latencyMs: latency?.[0] ?? null };
  const now: Measured = { ...two, latencyMs: latency?.[1] ?? null };
  return {
    before,
    after: now,
    device: { name: runtime.device, threads: runtime.threads, batch },
    ...(await compared(original.onnx.graph, small.onnx.graph, options)),
    peakMemoryBytes: null,
    advice: [
      ...adviceFor(before, now),
      ...(latency === null || canRepack([original.onnx.graph, small.onnx.graph])
        ? []
        : [
            "Latency was measured with both models mapped from their files, since they would not fit into memory a second time: with weights that the runtime repacks, both run faster.",
          ]),
    ],
  };
}

/** True for graphs that differ in numbers alone: their sizes and their work are the same. */
function haveSameSizes(a: Graph, b: Graph): boolean {
  if (a.nodes !== b.nodes || a.constants.size !== b.constants.size) return false;
  return [...a.constants].every(([name, { dtype, shape }]) => {
    const other = b.constants.get(name);
    return other?.dtype === dtype && sameShape(other.shape, shape);
  });
}

/** Weights above this many bytes are left where they are mapped while latency is measured. */
const REPACK_LIMIT = 2 ** 30;

/** True where the weights of all graphs together fit into memory a second time, as the runtime repacks them. */
function canRepack(graphs: readonly Graph[]): boolean {
  let bytes = 0;
  for (const { constants } of graphs) for (const ref of constants.values()) bytes += bytesOf(ref);
  return bytes <= REPACK_LIMIT;
}

/** Latency of graphs with the same inputs, measured in turn. */
export async function latencies(
  graphs: readonly Graph[],
  analysis: Analysis,
  runtime: Runtime,
  batch: number,
): Promise<readonly NonNullable<Measured["latencyMs"]>[]> {
  const feeds = await latencyFeeds(analysis, batch);
  const sessions: Session[] = [];
  try {
    const repack = canRepack(graphs);
    for (const graph of graphs) sessions.push(await runtime.compile(graph, { repack }));
    const jobs = sessions.map((session) => ({ session, feeds }));
    const measured = await runtime.measure(jobs, { maxSeconds: 4 * graphs.length });
    return measured.map(({ medianMs, p10Ms, p90Ms }) => ({ median: medianMs, p10: p10Ms, p90: p90Ms }));
  } finally {
    for (const session of sessions) await session.release();
  }
}

async function sizeAndWork(model: Model, analysis: Analysis): Promise<Omit<Measured, "latencyMs">> {
  const { params, macs } = analysis.cost.total();
  let stored = 0;
  let zeros = 0;
  for (const ref of model.onnx.graph.constants.values()) {
    stored += bytesOf(ref);
    if (ref.shape.length > 0 && isFloat(ref.dtype) && bitsOf(ref.dtype) > 0) {
      zeros += await zerosIn(ref);
    }
  }
  if (stored > GZIP_LIMIT) return { params, nonzero: params - zeros, macs, bytes: stored, gzipBytes: null };
  return { params, nonzero: params - zeros, macs, ...(await fileSize(model.onnx)) };
}

/** Numbers that are looked at together; more stay in their file. */
const STRETCH = 1 << 20;

async function zerosIn(ref: TensorRef): Promise<number> {
  const { dtype, at } = ref;
  const size = sizeOf(ref.shape);
  const whole = at === undefined || ref.resident !== undefined || bitsOf(dtype) % 8 !== 0 ? await load(ref) : null;
  let count = 0;
  for (let from = 0; from < size; from += STRETCH) {
    const shape = [Math.min(STRETCH, size - from)];
    const [start, length] = [byteLengthOf(dtype, from), byteLengthOf(dtype, shape[0] ?? 0)];
    const bytes = whole?.bytes.subarray(start, start + length) ?? (await at?.source.read(at.offset + start, length));
    const values = toFloat32({ dtype, shape, bytes: bytes ?? new Uint8Array(0) });
    for (let i = 0; i < values.length; i++) if (values[i] === 0) count++;
  }
  return count;
}

/** Agreement on calibration inputs, or on the evaluation data where there is some, and what its labels say. */
async function compared(
  original: Graph,
  small: Graph,
  options: SettledOptions,
): Promise<Pick<Report, "fidelity" | "metric">> {
  const data = options.evaluation ?? options.calibration ?? null;
  if (data === null || options.compare === false) return { fidelity: null, metric: null };
  return judgePair(options.runtime, original, small, data, options);
}

/** Plain sentences on what the numbers mean. */
function adviceFor(before: Measured, after: Measured): string[] {
  const advice: string[] = [];
  if (after.params === before.params && after.nonzero < before.nonzero) {
    advice.push(
      "Weights were set to zero, not removed: the file is as large as before and ONNX Runtime is no faster. It compresses better; for a smaller and faster model remove units (--granularity channel).",
    );
  }
  if (before.latencyMs !== null && after.latencyMs !== null && after.macs < before.macs) {
    const work = after.macs / before.macs;
    const time = after.latencyMs.median / before.latencyMs.median;
    if (time > work + 0.1) {
      const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;
      advice.push(
        `${percent(work)} of the multiply-accumulates remain, but ${percent(time)} of the time: kernels work in steps of channels, often 8 or 16, and some time has nothing to do with widths. A share of the time as the target (--keep-latency) finds the widths that pay.`,
      );
    }
  }
  return advice;
}
