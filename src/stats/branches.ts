import type { Branch } from "../coupling/branches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Draft } from "../graph/draft.ts";
import { edit } from "../graph/edit.ts";
import type { TensorType } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat32, toInts } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { featuresFirst, sumLast } from "./taps/unfold.ts";

/** What a residual branch does to what passes it. */
export interface BranchStatistics {
  /** Block influence: the mean over tokens or positions of the distance of bypass and sum; no direction counts 0.5. */
  readonly influence: number;
  /** Mean of what the branch adds, for each feature. */
  readonly mean: Float64Array;
}

/** How block influence is measured. */
export interface InfluenceOptions {
  /** "cosine": 1 − cos(bypass, sum) (ShortGPT, Eq. 1); "angle": arccos of it, as a share of half a turn (Gromov et al. 2024). */
  readonly distance: "cosine" | "angle";
  /** Tokens that count: all, or the last of each text. */
  readonly tokens: "all" | "last";
  /** Leaves out the first token, which many models give a direction that nothing turns. */
  readonly excludeFirst: boolean;
}

const influenceDefaults: InfluenceOptions = { distance: "cosine", tokens: "all", excludeFirst: false };

/** Measures all branches in one pass over the data, reduced inside the runtime. */
export async function branchStatistics(
  runtime: Runtime,
  analysis: Analysis,
  branches: readonly Branch[],
  data: Dataset,
  options: Job & { readonly batchSize: number } & Partial<InfluenceOptions>,
): Promise<ReadonlyMap<Branch, BranchStatistics>> {
  const { graph, facts } = analysis;
  const opset = graph.opsets.get("") ?? 1;
  const draft = edit(graph);
  const taps = branches.flatMap((branch) => {
    const type = facts.types.get(branch.sum);
    if (type === undefined) return [];
    const passed = { x: branch.bypass, y: branch.sum, axis: branch.axis, features: branch.features, type };
    const influence = tapInfluence(draft, opset, passed, options);
    const added = featuresFirst(draft, branch.branch, branch.axis, type);
    const outputs = {
      sum: draft.op("Identity", [sumLast(draft, opset, added)], {}, draft.fresh("tap_sum")),
      extent: draft.op("Shape", [added], {}, draft.fresh("tap_extent")),
    };
    draft.output(outputs.sum, "f32");
    draft.output(outputs.extent, "i64");
    return [{ branch, influence, outputs, sum: new Float64Array(branch.features), count: 0 }];
  });
  const names = taps.flatMap(({ influence, outputs }) => [...influence.outputs, ...Object.values(outputs)]);
  const session = await runtime.compile({ ...draft.finish(), valueInfo: new Map() });
  try {
    let done = 0;
    for await (const batch of data.batches(options.batchSize)) {
      step(options, "measure branches", done, data.count);
      const values = await session.run(batch.inputs, names);
      for (const tap of taps) add(tap, values);
      done += batch.count;
    }
    step(options, "measure branches", done, data.count);
  } finally {
    await session.release();
  }
  return new Map(
    taps.map(({ branch, influence, sum, count }) => [
      branch,
      { influence: influence.result(), mean: sum.map((n) => n / count) },
    ]),
  );
}

/** A value before and after something, alike in all but their numbers. */
export interface Passed {
  readonly x: string;
  readonly y: string;
  /** Axis that counts features, and how many these are. */
  readonly axis: number;
  readonly features: number;
  readonly type: TensorType;
}

/** Block influence of what lies between two values of a graph, summed inside the runtime. */
export interface InfluenceTap {
  readonly outputs: readonly string[];
  /** Takes what a run gave for `outputs`. */
  readonly add: (values: ReadonlyMap<string, HostTensor>) => void;
  /** The mean over all tokens that counted. */
  result(): number;
}

/** Writes what measures block influence behind a graph, as outputs of it. */
export function tapInfluence(
  draft: Draft,
  opset: number,
  { x, y, axis, features, type }: Passed,
  options: Partial<InfluenceOptions> = {},
): InfluenceTap {
  const how = { ...influenceDefaults, ...options };
  const counted = (name: string): string =>
    featuresFirst(draft, someTokens(draft, opset, name, axis, type, how), axis, type);
  const [before, after] = [counted(x), counted(y)];
  const ones = draft.float32(Array<number>(features).fill(1), [1, features]);
  const overFeatures = (a: string, b: string): string => draft.op("MatMul", [ones, draft.op("Mul", [a, b])]);
  const norms = draft.op("Sqrt", [draft.op("Mul", [overFeatures(before, before), overFeatures(after, after)])]);
  const none = draft.op("Equal", [norms, draft.float32([0], [])]);
  const cosine = draft.op("Where", [
    none,
    draft.float32([0.5], []),
    draft.op("Div", [overFeatures(before, after), draft.op("Where", [none, draft.float32([1], []), norms])]),
  ]);
  const distance = sumLast(draft, opset, distanceOf(draft, cosine, how.distance));
  const sum = draft.op("Identity", [distance], {}, draft.fresh("tap_influence"));
  const extent = draft.op("Shape", [before], {}, draft.fresh("tap_counted"));
  draft.output(sum, "f32");
  draft.output(extent, "i64");
  let [total, tokens] = [0, 0];
  return {
    outputs: [sum, extent],
    add: (values) => {
      const [one, size] = [values.get(sum), values.get(extent)];
      if (one === undefined || size === undefined) return;
      total += toFloat32(one)[0] ?? 0;
      tokens += toInts(size)[1] ?? 0;
    },
    result: () => total / tokens,
  };
}

/** The value at the tokens that count: those along every axis that counts neither samples nor features. */
function someTokens(
  draft: Draft,
  opset: number,
  value: string,
  features: number,
  { shape }: TensorType,
  { tokens, excludeFirst }: InfluenceOptions,
): string {
  const from = tokens === "last" ? -1 : excludeFirst ? 1 : 0;
  const axes = [...shape.keys()].filter((axis) => axis > 0 && axis !== features);
  if (from === 0 || axes.length === 0) return value;
  if (opset < 10) {
    const message = `expected operator set 10 or later for some tokens, got ${opset}.`;
    throw new EspalierError(
      "request",
      "block influence",
      message,
      "Convert the model with a newer opset, or take all tokens.",
    );
  }
  const each = (n: number): string => draft.int64(axes.map(() => n));
  return draft.op("Slice", [value, each(from), each(Number.MAX_SAFE_INTEGER), draft.int64(axes)]);
}

function distanceOf(draft: Draft, cosine: string, distance: InfluenceOptions["distance"]): string {
  const number = (n: number): string => draft.float32([n], []);
  if (distance === "cosine") return draft.op("Sub", [number(1), cosine]);
  const within = draft.op("Max", [draft.op("Min", [cosine, number(1)]), number(-1)]);
  return draft.op("Mul", [draft.op("Acos", [within]), number(1 / Math.PI)]);
}

function add(
  tap: {
    readonly influence: InfluenceTap;
    readonly outputs: { readonly [K in "sum" | "extent"]: string };
    readonly sum: Float64Array;
    count: number;
  },
  values: ReadonlyMap<string, HostTensor>,
): void {
  tap.influence.add(values);
  const [all, size] = [values.get(tap.outputs.sum), values.get(tap.outputs.extent)];
  if (all === undefined || size === undefined) return;
  for (const [i, n] of toFloat32(all).entries()) tap.sum[i] = (tap.sum[i] ?? 0) + n;
  tap.count += toInts(size)[1] ?? 0;
}
