import type { Branch } from "../coupling/branches.ts";
import type { Dataset } from "../data/dataset.ts";
import { edit } from "../graph/edit.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { toFloat32, toInts } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { featuresFirst, sumLast } from "./unfold.ts";

/** What a residual branch does to what passes it. */
export interface BranchStatistics {
  /** Block influence: the mean over tokens or positions of 1 − cos(bypass, sum) (ShortGPT, Eq. 1); no direction counts 0.5. */
  readonly influence: number;
  /** Mean of what the branch adds, for each feature. */
  readonly mean: Float64Array;
}

/** Measures all branches in one pass over the data, reduced inside the runtime. */
export async function branchStatistics(
  runtime: Runtime,
  analysis: Analysis,
  branches: readonly Branch[],
  data: Dataset,
  options: Job & { readonly batchSize: number },
): Promise<ReadonlyMap<Branch, BranchStatistics>> {
  const { graph, facts } = analysis;
  const opset = graph.opsets.get("") ?? 1;
  const draft = edit(graph);
  const taps = branches.flatMap((branch) => {
    const type = facts.types.get(branch.sum);
    if (type === undefined) return [];
    const [x, y, added] = [branch.bypass, branch.sum, branch.branch].map((name) =>
      featuresFirst(draft, name, branch.axis, type),
    );
    if (x === undefined || y === undefined || added === undefined) return [];
    const ones = draft.float32(Array<number>(branch.features).fill(1), [1, branch.features]);
    const overFeatures = (a: string, b: string): string => draft.op("MatMul", [ones, draft.op("Mul", [a, b])]);
    const norms = draft.op("Sqrt", [draft.op("Mul", [overFeatures(x, x), overFeatures(y, y)])]);
    const none = draft.op("Equal", [norms, draft.float32([0], [])]);
    const cosine = draft.op("Where", [
      none,
      draft.float32([0.5], []),
      draft.op("Div", [overFeatures(x, y), draft.op("Where", [none, draft.float32([1], []), norms])]),
    ]);
    const influence = draft.op("Sub", [draft.float32([1], []), cosine]);
    const outputs = {
      influence: draft.op("Identity", [sumLast(draft, opset, influence)], {}, draft.fresh("tap_influence")),
      sum: draft.op("Identity", [sumLast(draft, opset, added)], {}, draft.fresh("tap_sum")),
      extent: draft.op("Shape", [added], {}, draft.fresh("tap_extent")),
    };
    const f32 = "f32" as const;
    draft.output(outputs.influence, f32);
    draft.output(outputs.sum, f32);
    draft.output(outputs.extent, "i64");
    return [{ branch, outputs, influence: 0, sum: new Float64Array(branch.features), count: 0 }];
  });
  const names = taps.flatMap(({ outputs }) => [outputs.influence, outputs.sum, outputs.extent]);
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
      { influence: influence / count, mean: sum.map((n) => n / count) },
    ]),
  );
}

function add(
  tap: {
    readonly outputs: { readonly influence: string; readonly sum: string; readonly extent: string };
    influence: number;
    readonly sum: Float64Array;
    count: number;
  },
  values: ReadonlyMap<string, HostTensor>,
): void {
  const { influence, sum, extent } = tap.outputs;
  const [one, all, size] = [values.get(influence), values.get(sum), values.get(extent)];
  if (one === undefined || all === undefined || size === undefined) return;
  tap.influence += toFloat32(one)[0] ?? 0;
  for (const [i, n] of toFloat32(all).entries()) tap.sum[i] = (tap.sum[i] ?? 0) + n;
  tap.count += toInts(size)[1] ?? 0;
}
