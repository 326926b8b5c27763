import { liveBytes } from "../graph/live-bytes.ts";
import type { CheckpointModel } from "../models/checkpoint/checkpoint-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Need } from "../stats/tap-matrices.ts";
import { EspalierError } from "../tensor/error.ts";
import { bytesOf } from "../tensor/tensor.ts";

/** How a run is laid out so that it stays within a memory. */
export interface MemoryLayout {
  /** Windows that run at once. */
  readonly batchSize: number;
  /** Hidden states lie on disk. */
  readonly spill: boolean;
  /** What the run is expected to take at most. */
  readonly bytes: number;
}

/** What a run has to find room for. */
export interface MemoryNeeds {
  readonly windows: number;
  readonly time: number;
  readonly needs: readonly Need[];
  /** Windows that run at once, at most. */
  readonly most: number;
}

/** The process and the runtime before anything is loaded. */
const base = 220e6;
/** Copies of a stage's weights: as read, beside the runtime, pruned, and those of the next stage. */
const weightCopies = 4;
/** Sessions that hold on to their working memory, and what their allocators round up. */
const arenas = 2 * 1.25;
/** Numbers of a Gram matrix at once, in bytes of each: sums in f64, and parts of them on their way in f32. */
const gramBytes = 16;

/**
 * The largest batch with which a run stays below `limit` bytes, hidden states in memory where they fit and on disk where not.
 * Throws `request` that says how much the smallest batch takes.
 */
export async function memoryLayout(
  model: CheckpointModel,
  runtime: Runtime,
  wanted: MemoryNeeds,
  limit: number,
): Promise<MemoryLayout> {
  const { windows, time, needs, most } = wanted;
  const { width } = model.outline;
  let [weights, one, gram] = [0, 0, 0];
  const seen = new Set<string>();
  for (const stage of model.stages.filter(({ role }) => role === "block")) {
    const refs = [...stage.parameters.keys()].flatMap((name) => model.checkpoint.tensors.get(name) ?? []);
    weights = Math.max(
      weights,
      refs.reduce((sum, ref) => sum + bytesOf(ref), 0),
    );
    const key = refs.map(({ dtype, shape }) => `${dtype} ${shape}`).join();
    if (seen.has(key)) continue;
    seen.add(key);
    const graph = stage.graph();
    const types = await runtime.types(graph, new Map([[stage.input.name, { dtype: "f32", shape: [1, time, width] }]]));
    one = Math.max(one, liveBytes(graph, types));
    const columns = refs.flatMap(({ shape }) => (shape.length === 2 ? (shape[1] ?? 0) ** 2 : []));
    // Matrices that read the same inputs share a Gram matrix; which those are is not looked at here.
    if (needs.includes("gram")) gram = Math.max(gram, gramBytes * columns.reduce((sum, n) => sum + n, 0));
  }
  const hidden = 4 * windows * time * width;
  const fixed = base + weightCopies * weights + gram;
  const batch = 4 * time * width * 3 + one * arenas;
  for (const spill of [false, true]) {
    const rest = limit - fixed - (spill ? 0 : hidden);
    const batchSize = Math.min(most, Math.floor(rest / batch));
    if (batchSize >= 1) return { batchSize, spill, bytes: limit - rest + batchSize * batch };
  }
  const least = Math.ceil((fixed + batch) / 1e6);
  const message = `expected at least ${least} MB for one window of ${time} tokens, got ${Math.floor(limit / 1e6)} MB.`;
  throw new EspalierError("request", "--memory", message, "Give more memory or a shorter --window.");
}
