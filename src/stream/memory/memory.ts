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
  /** Windows that run at once, at least and at most. */
  readonly least: number;
  readonly most: number;
}

/** What the process has with its runtime and a plan, before anything is read; what comes to it is data. */
const usual = 100e6;
/**
 * What comes to it: 32 MB of freed arrays, in this thread and in the runtime's, until they are collected, and some that
 * are freed late; what the heaps grow by; what allocators keep.
 */
const growth = 180e6;
/** What a process has beyond the usual is told apart in steps, so that the same run is laid out alike. */
const stepBytes = 32e6;
/** Copies of the weights of a stage that passes on what comes in: as read, beside the runtime, and one that is freed late. */
const readCopies = 3;
/** The same of one that is pruned: the pruned ones, and one more that is freed late. */
const weightCopies = 5;
/** What allocators keep of freed memory. */
const allocated = 1.25;
/** Numbers of a Gram matrix at once, in bytes of each: sums in f64, and parts of them on their way in f32. */
const gramBytes = 16;
/** What a sweep by the widest takes beside it: the factor, what it is made from, and room for products. */
const factorBytes = 20;
/** Copies of what gradients are made from and summed in: here, beside the runtime, and those of the stage before, which are freed late. */
const gradientCopies = 3;

/** What one stage takes, in bytes. */
interface StageBytes {
  readonly weights: number;
  /** What its gradients are made from and summed in: parameters and matrices in float32. */
  readonly slopes: number;
  /** Its matrices in float32, where their gradients are measured. */
  readonly means: number;
  /** What the runtime works with: whatever the batch, and for each window of it. */
  readonly work: number;
  readonly window: number;
  readonly gram: number;
  /** What the runtime works with backward, one window at a time. */
  readonly backward: number;
}

/**
 * The largest batch with which a run stays below `limit` bytes, the next stage read ahead and hidden states in memory where there is
 * room. `taken` tells what the process has already. Throws `request` that says how much the smallest batch takes.
 */
export async function memoryLayout(
  model: CheckpointModel,
  runtime: Runtime,
  wanted: MemoryNeeds,
  { limit, taken }: { readonly limit: number; readonly taken: () => Promise<number> },
): Promise<MemoryLayout> {
  const stages = await stageBytes(model, runtime, wanted);
  const depth = model.stages.filter(({ role }) => role === "block").length;
  return layoutWithin(stages, { width: model.outline.width, depth }, wanted, { limit, taken: await taken() });
}

/** The same from what each kind of stage takes of a model of this width and number of blocks. */
export function layoutWithin(
  stages: Awaited<ReturnType<typeof stageBytes>>,
  { width, depth }: { readonly width: number; readonly depth: number },
  { windows, time, gradients, least, most }: MemoryNeeds,
  { limit, taken }: { readonly limit: number; readonly taken: number },
): MemoryLayout {
  const blocks = stages.filter(({ role }) => role === "block").map(({ bytes }) => bytes);
  const ends = stages.filter(({ role }) => role !== "block").map(({ bytes }) => bytes);
  const largest = (of: readonly StageBytes[], bytes: (one: StageBytes) => number): number =>
    Math.max(0, ...of.map(bytes));
  /** A batch on its way: what goes in, what comes out, and a copy between threads. */
  const io = 3 * 4 * time * width;
  const base = usual + growth + stepBytes * Math.ceil(Math.max(0, taken - usual) / stepBytes);
  const labels = gradients.length === 0 ? 0 : 4 * windows * time;
  const at = (batchSize: number, ahead: boolean) => {
    const all = [...blocks, ...ends];
    // What is set aside for the runtime is the same for every stage, and for one window at a time on the way back.
    const forward = largest(all, ({ work, window }) => allocated * (work + batchSize * window));
    const backward = largest(all, ({ backward, work, window }) => Math.max(backward, allocated * (work + window)));
    const copies = readCopies + +ahead;
    const read = 2 * gradients.length;
    const pruning = largest(
      blocks,
      ({ weights, gram, means }) => (weightCopies + +ahead) * weights + gram + read * means,
    );
    const passing = largest(ends, ({ weights }) => copies * weights);
    const back = largest(all, ({ weights, slopes }) => copies * weights + gradientCopies * slopes);
    const process = base + batchSize * io;
    return {
      ...{ batchSize, ahead, process, forward, backward },
      bytes:
        process + Math.max(forward + Math.max(pruning, passing), gradients.length === 0 ? 0 : backward + back + labels),
    };
  };
  for (let batchSize = most; batchSize >= least; batchSize--) {
    const found = [at(batchSize, true), at(batchSize, false)].find(({ bytes }) => bytes <= limit);
    if (found === undefined) continue;
    // Every stage forward and the gradients between them are kept for the way back.
    const kept = gradients.length === 0 ? 1 : depth + 2;
    const hidden = Math.min(limit - found.bytes, 4 * windows * time * width * kept);
    return { ...found, hidden, bytes: found.bytes + hidden };
  }
  const mb = Math.ceil(at(least, false).bytes / 1e6);
  const run = least === 1 ? "one window" : `${least} windows`;
  const message = `expected at least ${mb} MB for ${run} of ${time} tokens, got ${Math.floor(limit / 1e6)} MB.`;
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
    // Matrices that read the same inputs share a Gram matrix; which those are is not looked at here.
    const gram = columns.reduce((sum, n) => sum + gramBytes * n ** 2, factorBytes * widest ** 2);
    const wide = (of: typeof refs): number => of.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
    const matrices = new Set(placed.kind.tensors.filter((_, i) => refs[i]?.shape.length === 2));
    const isBlock = stage.role === "block";
    const summed: ReadonlySet<string> = isBlock ? matrices : new Set();
    const isMade = gradient !== undefined && stage.role !== "embedding";
    const means = isMade && isBlock ? wide(refs.filter(({ shape }) => shape.length === 2)) : 0;
    const backward =
      gradient === undefined || !isMade
        ? 0
        : await grownBytes((length) => backwardGraph(runtime, placed, width, length, summed, gradient), time);
    found.push({
      role: stage.role,
      bytes: {
        weights: refs.reduce((sum, ref) => sum + bytesOf(ref), 0),
        slopes: isMade ? wide(refs) + means : 0,
        means,
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
