import type { TensorType } from "../../graph/graph.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import { lifted } from "../../models/checkpoint/lift.ts";
import { castAfterLookup } from "../../ops/storage/cast-after-lookup.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Need } from "../../stats/taps/tap-matrices.ts";
import { EspalierError } from "../../tensor/error.ts";
import { bytesOf, sizeOf } from "../../tensor/tensor.ts";
import { backwardGraph, type GradientNeed } from "../stages/backward-session.ts";
import { stageKinds } from "../stages/stage-kinds.ts";
import { grownBytes } from "./grown-bytes.ts";

/** How a run is laid out so that it stays within a memory. */
export interface MemoryLayout {
  /** Windows that run at once. */
  readonly batchSize: number;
  /** The next stage is read while this one is worked on. */
  readonly ahead: boolean;
  /** What is set aside for the process, and for the runtime as `Room` has it. */
  readonly process: number;
  readonly forward: number;
  readonly backward: number;
  /** Bytes of hidden states that are held in memory; the others lie on disk. */
  readonly hidden: number;
  /** What the run takes at most. */
  readonly bytes: number;
}

/** What a run has to find room for. */
export interface MemoryNeeds {
  readonly windows: number;
  readonly time: number;
  readonly needs: readonly Need[];
  /** What is measured of the gradients, one after the other. */
  readonly gradients: readonly GradientNeed[];
  /** The head runs too, as where the result is measured. */
  readonly head: boolean;
  /** Windows that run at once, at most. */
  readonly most: number;
}

/** The process and the runtime before anything is loaded, and what is freed and not yet collected besides weights. */
const base = 280e6;
/** Copies of a stage's weights: as read, beside the runtime, pruned, and one that is freed and not yet collected. */
const weightCopies = 4;
/** What allocators keep of freed memory. */
const allocated = 1.25;
/** Numbers of a Gram matrix at once, in bytes of each: sums in f64, and parts of them on their way in f32. */
const gramBytes = 16;
/** Copies of a stage's gradients in float32: here and beside the runtime, sums and means. */
const gradientCopies = 4;

/** What one stage takes, in bytes. */
interface StageBytes {
  readonly weights: number;
  /** Its parameters in float32. */
  readonly wide: number;
  /** What the runtime works with: whatever the batch, and for each window of it. */
  readonly work: number;
  readonly window: number;
  readonly gram: number;
  /** What the runtime works with backward, one window at a time. */
  readonly backward: number;
}

/**
 * The largest batch with which a run stays below `limit` bytes, the next stage read ahead and hidden states in memory where there is
 * room. Throws `request` that says how much the smallest batch takes.
 */
export async function memoryLayout(
  model: CheckpointModel,
  runtime: Runtime,
  wanted: MemoryNeeds,
  limit: number,
): Promise<MemoryLayout> {
  return layoutWithin(
    await stageBytes(model, runtime, wanted),
    { width: model.outline.width, depth: model.stages.filter(({ role }) => role === "block").length },
    wanted,
    limit,
  );
}

/** The same from what each kind of stage takes of a model of this width and number of blocks. */
export function layoutWithin(
  stages: Awaited<ReturnType<typeof stageBytes>>,
  { width, depth }: { readonly width: number; readonly depth: number },
  { windows, time, gradients, most }: MemoryNeeds,
  limit: number,
): MemoryLayout {
  const blocks = stages.filter(({ role }) => role === "block").map(({ bytes }) => bytes);
  const ends = stages.filter(({ role }) => role !== "block").map(({ bytes }) => bytes);
  const largest = (of: readonly StageBytes[], bytes: (one: StageBytes) => number): number =>
    Math.max(0, ...of.map(bytes));
  /** A batch on its way: what goes in, what comes out, and a copy between threads. */
  const io = 3 * 4 * time * width;
  const at = (batchSize: number, ahead: boolean) => {
    const all = [...blocks, ...ends];
    // What is set aside for the runtime is the same for every stage, and for one window at a time on the way back.
    const forward = largest(all, ({ work, window }) => allocated * (work + batchSize * window));
    const backward = largest(all, ({ backward, work, window }) => Math.max(backward, allocated * (work + window)));
    const copies = 2 + +ahead;
    const means = 2 * gradients.length;
    const pruning = largest(
      blocks,
      ({ weights, gram, wide }) => (weightCopies + +ahead) * weights + gram + means * wide,
    );
    const passing = largest(ends, ({ weights }) => copies * weights);
    const slopes = largest(all, ({ weights, wide }) => copies * weights + gradientCopies * wide);
    const process = base + batchSize * io;
    return {
      ...{ batchSize, ahead, process, forward, backward },
      bytes: process + Math.max(forward + Math.max(pruning, passing), gradients.length === 0 ? 0 : backward + slopes),
    };
  };
  for (let batchSize = most; batchSize >= 1; batchSize--) {
    const found = [at(batchSize, true), at(batchSize, false)].find(({ bytes }) => bytes <= limit);
    if (found === undefined) continue;
    // Every stage forward and the gradients between them are kept for the way back.
    const kept = gradients.length === 0 ? 1 : depth + 2;
    const hidden = Math.min(limit - found.bytes, 4 * windows * time * width * kept);
    return { ...found, hidden, bytes: found.bytes + hidden };
  }
  const least = Math.ceil(at(1, false).bytes / 1e6);
  const message = `expected at least ${least} MB for one window of ${time} tokens, got ${Math.floor(limit / 1e6)} MB.`;
  throw new EspalierError("request", "--memory", message, "Give more memory or a shorter --window.");
}

/** What each kind of stage takes. */
export async function stageBytes(
  model: CheckpointModel,
  runtime: Runtime,
  { time, needs, gradients, head }: MemoryNeeds,
): Promise<readonly { readonly role: Stage["role"]; readonly bytes: StageBytes }[]> {
  const { width } = model.outline;
  const kinds = stageKinds(model, runtime);
  const [gradient] = gradients;
  const seen = new Set<unknown>();
  const found: { role: Stage["role"]; bytes: StageBytes }[] = [];
  for (const stage of model.stages) {
    if (stage.role === "head" && !head && gradient === undefined) continue;
    const placed = kinds.place(stage);
    if (seen.has(placed.kind)) continue;
    seen.add(placed.kind);
    const refs = placed.tensors.flatMap((name) => model.checkpoint.tensors.get(name) ?? []);
    const [one = 0, two = 0] = await Promise.all(
      [1, 2].map((batch) => workingBytes(model, runtime, stage, batch, time)),
    );
    const columns = refs.flatMap(({ shape }) => (shape.length === 2 ? [shape[1] ?? 0] : []));
    const widest = Math.max(0, ...columns);
    // Matrices that read the same inputs share a Gram matrix; which those are is not looked at here. The factor of one comes to it.
    const gram = columns.reduce((sum, n) => sum + gramBytes * n ** 2, 8 * widest ** 2);
    const wide = refs.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
    const matrices = new Set(placed.kind.tensors.filter((_, i) => refs[i]?.shape.length === 2));
    const isBlock = stage.role === "block";
    const summed: ReadonlySet<string> = isBlock ? matrices : new Set();
    const backward =
      gradient === undefined || stage.role === "embedding"
        ? 0
        : await grownBytes((length) => backwardGraph(runtime, placed, width, length, summed, gradient), time);
    found.push({
      role: stage.role,
      bytes: {
        weights: refs.reduce((sum, ref) => sum + bytesOf(ref), 0),
        wide: gradient === undefined ? 0 : wide,
        work: 2 * one - two,
        // What is measured is turned and squared beside the stage.
        window: two - one + (isBlock ? 2 * 4 * time * widest : 0),
        gram: isBlock && needs.includes("gram") ? gram : 0,
        backward: allocated * backward,
      },
    });
  }
  await kinds.release();
  return found;
}

/** The most that values of a stage take at once while a batch of windows runs through it. */
async function workingBytes(
  model: CheckpointModel,
  runtime: Runtime,
  stage: Stage,
  batch: number,
  time: number,
): Promise<number> {
  const graph = castAfterLookup(lifted({ ...stage.graph(), valueInfo: new Map() }, model.parameters).graph);
  const hidden = stage.role === "embedding" ? [] : [model.outline.width];
  return grownBytes(async (length) => {
    const inputs = graph.inputs.map(({ name, dtype, dims = [] }): [string, TensorType] => {
      const given = name === stage.input.name ? [batch, length, ...hidden] : null;
      return [name, { dtype: dtype ?? "f32", shape: given ?? dims.map((n) => (typeof n === "number" ? n : 1)) }];
    });
    return { graph, types: await runtime.types(graph, new Map(inputs)) };
  }, time);
}
