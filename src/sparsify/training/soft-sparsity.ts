import type { Matrix } from "../../coupling/matrices.ts";
import type { Graph } from "../../graph/graph.ts";
import { linear } from "../../schedule/sparsity-schedule.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { load } from "../../tensor/tensor.ts";
import type { Among } from "../../train/reparameterisations/among.ts";
import type { Use } from "../../train/reparameterisations/apply.ts";
import { softMask, topMask } from "../../train/reparameterisations/soft-mask.ts";
import { slotName } from "../../train/step.ts";
import type { RunSnapshot } from "../../train/train.ts";
import type { TrainedGraph, TrainGraphOptions } from "../../train/train-graph.ts";
import { prunedMasks, zeroed } from "./mask-moves.ts";

/** Masks that follow from the weights at every step while these go on learning, what is masked too. Points are shares of the run. */
export interface SoftSparsity {
  /** Of all weights, in the end; N of M decide it where they do. */
  readonly sparsity: number;
  readonly pattern:
    | { readonly kind: "element" }
    | { readonly kind: "n:m"; readonly keep: number; readonly of: number }
    /** Whole rows of matrices: filters, neurons; those that make answers stay. */
    | { readonly kind: "row" };
  /** "soft": the mask is a sigmoid of the distance to the threshold; "hard": 0 or 1, gradients pass as if it were 1. */
  readonly forward: "soft" | "hard";
  /** Width of the soft border, as a share of the mean square of what competes. */
  readonly temperature: number;
  /** Before this, training is dense; at it, one threshold for the whole model decides the shares of layers. */
  readonly from: number;
  /** Shares of layers rise from 0 to here. */
  readonly until: number;
  /** From here on masks are 0 or 1 and stay. */
  readonly harden: number;
}

export interface SoftSparsityOptions {
  /** A part of the run. */
  readonly part: (more: Partial<TrainGraphOptions>) => Promise<TrainedGraph>;
  readonly updates: number;
  /** Matrices whose weights may go, each once. */
  readonly matrices: readonly Matrix[];
  /** Parameters behind which no other matrix comes. */
  readonly heads: ReadonlySet<string>;
}

/** Trains densely, then under soft masks whose share rises, then under the masks that these have become (PDP, Cho et al. 2023). */
export async function softSparsity(plan: SoftSparsity, options: SoftSparsityOptions): Promise<Graph> {
  const { part, updates } = options;
  const at = (share: number): number => Math.round(share * updates);
  const dense = await part({ until: at(plan.from) });
  const shares = await sharesOf(dense.graph, plan, options);
  const soft = await part({
    resume: dense.last,
    until: at(plan.harden),
    uses: usesOf(plan, options),
    fed: ({ parameters: [name = ""] }, point) =>
      linear((point - plan.from) / Math.max(plan.until - plan.from, 1 / updates), shares.get(name) ?? 0),
  });
  if (at(plan.harden) >= updates) return soft.graph;
  const masks = await supports(soft.graph, [...shares.keys()]);
  const { graph } = await part({
    resume: hardened(soft.last, masks),
    masks: new Map([...masks].map(([name, mask]) => [name, fromFloats("f32", shapeOf(soft.graph, name), mask)])),
  });
  return graph;
}

/** What competes in a matrix; null where the pattern does not fit. */
function amongOf(
  { parameter, shape, inputs, outputs }: Matrix,
  pattern: SoftSparsity["pattern"],
  heads: ReadonlySet<string>,
): Among | null {
  if (pattern.kind === "element") return pattern;
  if (pattern.kind === "row") return heads.has(parameter) ? null : { kind: "slices", axis: outputs[0] ?? 0 };
  const axis = inputs[0] ?? 0;
  return (shape[axis] ?? 0) % pattern.of === 0 ? { ...pattern, axis } : null;
}

function usesOf(plan: SoftSparsity, { matrices, heads }: SoftSparsityOptions): readonly Use[] {
  return matrices.flatMap((matrix) => {
    const among = amongOf(matrix, plan.pattern, heads);
    if (among === null) return [];
    const { temperature } = plan;
    const by =
      plan.forward === "soft"
        ? softMask({ sparsity: "fed", among, temperature, relative: true })
        : topMask({ sparsity: "fed", among });
    return [{ parameters: [matrix.parameter], by }];
  });
}

/** The share of each matrix that one threshold for all magnitudes removes. */
async function sharesOf(
  graph: Graph,
  { sparsity, pattern }: SoftSparsity,
  { matrices, heads }: SoftSparsityOptions,
): Promise<ReadonlyMap<string, number>> {
  const layers = [];
  for (const matrix of matrices) {
    const { parameter: name, shape } = matrix;
    const ref = graph.constants.get(name);
    if (ref === undefined || amongOf(matrix, pattern, heads) === null) continue;
    const weights = toFloat32(await load(ref));
    layers.push({ name, shape, weights, mask: new Uint8Array(weights.length).fill(1) });
  }
  if (layers.length === 0) {
    throw new EspalierError("request", "soft masks", "expected a matrix that the pattern fits, got none.");
  }
  return new Map(
    [...prunedMasks(layers, sparsity, "global")].map(([name, mask]) => [
      name,
      1 - mask.reduce((sum, alive) => sum + alive, 0) / mask.length,
    ]),
  );
}

function shapeOf(graph: Graph, name: string): readonly number[] {
  return graph.constants.get(name)?.shape ?? [];
}

/** 1 where a weight is not zero. */
async function supports(graph: Graph, names: readonly string[]): Promise<ReadonlyMap<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const name of names) {
    const ref = graph.constants.get(name);
    if (ref !== undefined)
      found.set(
        name,
        toFloat32(await load(ref)).map((value) => +(value !== 0)),
      );
  }
  return found;
}

/** A snapshot whose masked weights are zero, with what the optimiser remembers of them. */
function hardened(snapshot: RunSnapshot, masks: ReadonlyMap<string, Float32Array>): RunSnapshot {
  const tensors = new Map(snapshot.tensors);
  for (const [name, tensor] of snapshot.tensors) {
    const mask = masks.get(name.slice(name.indexOf(":") + 1));
    if (mask === undefined) continue;
    tensors.set(name, fromFloats("f32", tensor.shape, zeroed(toFloat32(tensor), Uint8Array.from(mask))));
  }
  for (const [name, mask] of masks) {
    const shape = snapshot.tensors.get(name)?.shape ?? [];
    tensors.set(slotName("mask", name), fromFloats("f32", shape, mask));
  }
  return { ...snapshot, tensors };
}
